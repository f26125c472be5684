"""The conditioners that are not autoregressive, and the layout all share."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import torch

import flowtorch.bijectors as bij
from flowtorch.parameters import BoundParameters, DenseNN, Network, Parameters, Tensor
from flowtorch.parameters.base import ParameterLayout
from flowtorch.testing import perturb
from flowtorch.types import numel

SHAPES = [(2, 3), (2, 3, 4)]  # of each parameter: coordinates (2, 3), trailing () and (4,)


def bind(
    plan: Parameters, input_shape: tuple[int, ...] | None, context_shape: tuple[int, ...] | None
) -> BoundParameters:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bound = plan.bind(SHAPES, input_shape, context_shape, coordinate_dims=2).double()
    perturb(bound, torch.Generator().manual_seed(0))
    return bound


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- Tensor


def test_tensor_holds_one_free_parameter_each_without_a_batch_and_starts_at_zero() -> None:
    bound = Tensor().bind(SHAPES, None, (2,), coordinate_dims=2)
    assert [tuple(p.shape) for p in bound.parameters()] == SHAPES
    assert not any(bool(p.any()) for p in bound.parameters())
    found = bound(None, draw(7, 2))
    assert [p is q for p, q in zip(found, bound.parameters(), strict=True)] == [True, True]


# --- DenseNN


def dense(hidden: tuple[int, ...] = (7, 5), **options: bool) -> DenseNN:
    return DenseNN(hidden, nonlinearity=torch.nn.Tanh, **options)


@pytest.mark.parametrize(
    ("input_shape", "context_shape"), [((3,), None), (None, (2,)), ((3,), (2,)), ((2, 2), (1, 3)), (None, ()), ((), ())]
)
@pytest.mark.parametrize("plan", [dense(), dense(()), dense((6, 6, 6), residual=True)], ids=str)
def test_dense_nn_gives_parameters_of_the_batch_of_input_and_context(
    plan: DenseNN, input_shape: tuple[int, ...] | None, context_shape: tuple[int, ...] | None
) -> None:
    bound = bind(plan, input_shape, context_shape)
    x = None if input_shape is None else draw(5, *input_shape)
    context = None if context_shape is None else draw(5, *context_shape, seed=2)
    found = bound(x, context)
    assert [tuple(p.shape) for p in found] == [(5, *s) for s in SHAPES]
    out = bound.net(*(None if t is None else t.reshape(5, -1) for t in (x, context)))
    assert out.shape == (5, 5 * 6)
    # All numbers of one kind together, coordinates last.
    torch.testing.assert_close(found[0], out[:, :6].reshape(5, 2, 3), rtol=0, atol=0)
    torch.testing.assert_close(found[1], out[:, 6:].reshape(5, 4, 2, 3).movedim(1, -1), rtol=0, atol=0)
    one = bound(None if x is None else x[4], None if context is None else context[4])
    for p, q in zip(one, found, strict=True):
        torch.testing.assert_close(p, q[4], rtol=1e-12, atol=1e-12)


def test_dense_nn_broadcasts_the_batches_of_input_and_context() -> None:
    bound = bind(dense(), (3,), (2,))
    x, context = draw(4, 1, 3), draw(5, 2)
    expected = bound(x.expand(4, 5, 3), context.expand(4, 5, 2))
    for got, wanted in zip(bound(x, context), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("hidden", [(), (7,), (7, 5), (4, 4, 4)], ids=str)
def test_layers_are_added_and_removed_by_hidden_dims(hidden: tuple[int, ...]) -> None:
    bound = bind(dense(hidden), (3,), (2, 2))
    widths = (3 + 4, *hidden, 5 * 6)
    linear = [m for m in bound.modules() if isinstance(m, torch.nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == list(itertools.pairwise(widths))
    assert len([m for m in bound.modules() if isinstance(m, torch.nn.Tanh)]) == len(hidden)


# --- Network


class Recorder(torch.nn.Module):
    """A linear map that keeps what it was given."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(in_features, out_features)
        self.given: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.given.append(x)
        return self.linear(x)


def test_network_gets_input_then_context_flattened_and_gives_all_of_one_kind_together() -> None:
    bound = bind(Network(Recorder), (2, 2), (3,))
    assert (bound.net.linear.in_features, bound.net.linear.out_features) == (4 + 3, 6 + 6 * 4)
    x, context = draw(5, 1, 2, 2), draw(6, 3, seed=2)
    plain, trailing = bound(x, context)
    (given,) = bound.net.given
    assert given.shape == (30, 7)
    row = torch.cat([x[3, 0].reshape(-1), context[2]])
    assert torch.equal(given.reshape(5, 6, 7)[3, 2], row)
    out = (bound.net.linear.weight @ row + bound.net.linear.bias).detach().numpy()
    np.testing.assert_allclose(plain[3, 2].detach().numpy(), out[:6].reshape(2, 3), rtol=1e-12)
    expected = np.moveaxis(out[6:].reshape(4, 2, 3), 0, -1)
    np.testing.assert_allclose(trailing[3, 2].detach().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (0,)], ids=str)
def test_network_sees_one_batch_dimension_whatever_the_batch(batch: tuple[int, ...]) -> None:
    bound = bind(Network(Recorder), None, (3,))
    found = bound(None, draw(*batch, 3))
    assert [tuple(p.shape) for p in found] == [(*batch, *s) for s in SHAPES]
    assert bound.net.given[0].shape == (numel(batch), 3)


def test_network_makes_the_module_anew_at_each_binding() -> None:
    plan = bij.AffineCoupling(Network(Recorder))
    a, b = plan.bind((4,)), plan.bind((4,))
    assert {id(p) for p in a.parameters()}.isdisjoint({id(p) for p in b.parameters()})
    assert pickle.loads(pickle.dumps(plan)) == plan


def test_a_convolution_serves_as_a_conditioner() -> None:
    """Channels are kinds of parameters, the coordinates the image: what the layout is made for."""

    class Conv(torch.nn.Module):
        def __init__(self, in_features: int, out_features: int) -> None:
            super().__init__()
            self.conv = torch.nn.Conv1d(1, out_features // in_features, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x[:, None]).flatten(1)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bound = bij.AffineCoupling(Network(Conv)).bind((8,)).double()
    jacobian = torch.autograd.functional.jacobian(bound, draw(8))
    band = (jacobian[4:, :4] != 0).long()
    distance = (torch.arange(4)[:, None] - torch.arange(4)).abs()
    assert torch.equal(band, (distance <= 1).long())


# --- the layout


def test_parameters_are_views_in_which_coordinates_are_contiguous() -> None:
    layout = ParameterLayout(tuple(torch.Size(s) for s in SHAPES), 2)
    assert (layout.count, layout.per_coordinate, layout.out_features) == (6, 5, 30)
    out = torch.arange(60.0).reshape(2, 5, 6)
    plain, trailing = layout.cut(out)
    assert plain.shape == (2, 2, 3) and trailing.shape == (2, 2, 3, 4)
    for p in (plain, trailing):
        assert p.untyped_storage().data_ptr() == out.untyped_storage().data_ptr()
        assert p.stride()[1:3] == (3, 1)
    assert torch.equal(trailing[1, 1, 2], out[1, 1:, 5])


def test_some_coordinates_can_be_cut() -> None:
    layout = ParameterLayout(tuple(torch.Size(s) for s in SHAPES), 2)
    plain, trailing = layout.cut(torch.arange(30.0).reshape(2, 5, 3), (1, 3))
    assert plain.shape == (2, 1, 3) and trailing.shape == (2, 1, 3, 4)


def test_coordinates_are_all_that_shapes_share_unless_it_is_said() -> None:
    assert Tensor().bind([(2, 3), (2, 3, 4)], None, None).layout.coordinates == (2, 3)
    assert Tensor().bind([(2, 3), (2, 3, 4)], None, None, coordinate_dims=1).layout.trailing == ((3,), (3, 4))
    assert Tensor().bind([(2, 4), (2, 4)], None, None).layout.trailing == ((), ())
