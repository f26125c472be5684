"""Autoregressive maps: against the formula, a naive inverse, and implicit differentiation."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.bijectors import BoundAutoregressive, BoundBijector, BoundElementwise
from flowtorch.errors import NotSupportedError
from flowtorch.testing import autodiff_jacobian, perturb
from flowtorch.types import numel

NET = params.MADE((12, 10), nonlinearity=torch.nn.Tanh)
SPLINE = bij.Spline(count_bins=4, order="quadratic", bound=2.0)


def bind(
    plan: bij.Bijector, shape: tuple[int, ...], context: tuple[int, ...] | None = None, seed: int = 0
) -> BoundBijector[Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bound = plan.bind(shape, context).double()
    perturb(bound, torch.Generator().manual_seed(seed))
    return bound


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("context", [None, (2,)], ids=str)
def test_affine_autoregressive_is_its_formula(context: tuple[int, ...] | None) -> None:
    """y_i = s_i x_i + mu_i with s and mu from the coordinates before, one coordinate at a time."""
    plan = bij.AffineAutoregressive(
        params.MADE((12,), nonlinearity=torch.nn.Tanh, permutation=(2, 0, 3, 1)),
        scale_fn="exp",
        log_scale_min_clip=-float("inf"),
        log_scale_max_clip=float("inf"),
    )
    bound = bind(plan, (4,), context)
    x, given = draw(4), None if context is None else draw(*context)
    expected, total = torch.empty(4, dtype=torch.float64), 0.0
    known = torch.full((4,), 7.0, dtype=torch.float64)  # what is not known yet must not matter
    for step, i in enumerate((2, 0, 3, 1)):
        loc, raw = (p[step].item() for p in bound.params(known, given))
        expected[i] = math.exp(raw) * x[i] + loc
        total += raw
        known[step] = x[i]
    y, log_det = bound.forward_and_log_det(x, given)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    assert log_det.item() == pytest.approx(total, rel=1e-12)


EVENTS: dict[str, tuple[tuple[int, ...], int | None]] = {
    "vector": ((4,), None),
    "flattened": ((2, 3), None),
    "flattened, three dimensions": ((2, 1, 2), None),
    "axis 0": ((3, 2), 0),
    "axis 1": ((2, 3), 1),
    "axis -1": ((2, 3), -1),
    "axis -2 of three": ((2, 3, 2), -2),
    "axis 0 of three": ((3, 2, 1), 0),
}
every_event = pytest.mark.parametrize("name", EVENTS)


def step_of(bound: BoundBijector[Any], shape: tuple[int, ...], dim: int | None) -> torch.Tensor:
    """The step at which each coordinate comes, in the shape of the event, by indices."""
    rank = bound.params.order.argsort()
    index = torch.arange(numel(shape)).reshape(shape)
    if dim is None:
        return rank[index]
    return rank[torch.stack(torch.meshgrid(*map(torch.arange, shape), indexing="ij"))[dim]]


@every_event
@pytest.mark.parametrize("context", [None, (2,)], ids=str)
def test_a_coordinate_depends_on_itself_and_on_slices_before_it(name: str, context: tuple[int, ...] | None) -> None:
    shape, dim = EVENTS[name]
    bound = bind(bij.Autoregressive(SPLINE, NET, dim=dim), shape, context)
    assert isinstance(bound, BoundAutoregressive)
    assert bound.params.order.numel() == (numel(shape) if dim is None else shape[dim])
    step = step_of(bound, shape, dim).reshape(-1)
    may = (step[:, None] > step[None, :]) | torch.eye(len(step), dtype=torch.bool)
    x, given = 0.5 * draw(3, *shape), None if context is None else draw(3, *context)
    for direction in (bound.forward, bound.inverse):
        sees = autodiff_jacobian(lambda v, f=direction: f(v, given), x, bound.shape) != 0
        assert torch.equal(sees.any(0), may)


@every_event
@pytest.mark.parametrize("context", [None, (2,)], ids=str)
def test_inverse_is_that_of_the_naive_loop(name: str, context: tuple[int, ...] | None) -> None:
    shape, dim = EVENTS[name]
    bound = bind(bij.AffineAutoregressive(NET, dim=dim), shape, context)
    y, given = draw(2, 3, *shape), None if context is None else draw(3, *context)
    axis, order = bound.axis, bound.params.order
    in_order = axis.split(y).index_select(-axis.ndim, order)
    x = torch.zeros_like(in_order)
    for _ in range(axis.size):  # after k passes the first k steps are right
        x, log_derivative = bound.map(in_order, bound.params(x, given), True)
    got, log_det = bound.inverse_and_log_det(y, given)
    torch.testing.assert_close(axis.split(got).index_select(-axis.ndim, order), x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_det, log_derivative.flatten(2).sum(-1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("shape", "dim"), [((2, 3), 1), ((2, 3), -1), ((2, 3, 2), 1), ((2, 1, 3), -1)], ids=str)
def test_along_an_axis_is_along_the_first_of_the_event_turned(shape: tuple[int, ...], dim: int) -> None:
    turned = (shape[dim], *(n for i, n in enumerate(shape) if i != dim % len(shape)))
    bound = bind(bij.Autoregressive(SPLINE, NET, dim=dim), shape)
    other = bind(bij.Autoregressive(SPLINE, NET, dim=0), turned, seed=3)
    other.load_state_dict(bound.state_dict())
    x = draw(4, *shape)
    for direction in ("forward_and_log_det", "inverse_and_log_det"):
        y, log_det = getattr(bound, direction)(x)
        expected, expected_log_det = getattr(other, direction)(x.movedim(dim % len(shape) + 1, 1))
        torch.testing.assert_close(y.movedim(dim % len(shape) + 1, 1), expected, rtol=1e-14, atol=1e-14)
        torch.testing.assert_close(log_det, expected_log_det, rtol=1e-14, atol=1e-14)


def test_flattened_is_the_vector_of_the_same_coordinates() -> None:
    bound, other = bind(bij.AffineAutoregressive(NET), (2, 3), (2,)), bind(bij.AffineAutoregressive(NET), (6,), (2,), 3)
    other.load_state_dict(bound.state_dict())
    x, context = draw(4, 2, 3), draw(4, 2)
    y, log_det = bound.forward_and_log_det(x, context)
    torch.testing.assert_close((y.flatten(1), log_det), other.forward_and_log_det(x.flatten(1), context))


def test_named_plans_are_the_family_over_their_map() -> None:
    gated: Any = {"scale_fn": "sigmoid", "gated": True, "sigmoid_bias": 1.0}
    pairs: list[tuple[bij.Bijector, bij.Bijector]] = [
        (bij.AffineAutoregressive(NET, **gated), bij.Autoregressive(bij.Affine(**gated), NET)),
        (bij.SplineAutoregressive(NET, count_bins=4, dim=0), bij.Autoregressive(bij.Spline(count_bins=4), NET, dim=0)),
    ]
    x = draw(4, 3, 2)
    for named, family in pairs:
        a, b = bind(named, (3, 2)), bind(family, (3, 2))
        torch.testing.assert_close(a.forward_and_log_det(x), b.forward_and_log_det(x), rtol=0, atol=0)


@pytest.mark.parametrize("plan", [bij.Affine(), SPLINE], ids=str)
def test_gradients_of_the_inverse_are_those_of_the_implicit_function_theorem(plan: bij.Elementwise) -> None:
    r"""With f(x; p, c) = y held: dx/dy = (df/dx)^-1, and likewise dx/dp = -(df/dx)^-1 df/dp, in p and c."""
    bound = bind(bij.Autoregressive(plan, NET), (3,), (2,))
    y, context, weights = draw(3), draw(2), draw(3, seed=5)
    y.requires_grad_()
    context.requires_grad_()
    leaves = [context, *bound.parameters()]
    x = bound.inverse(y, context)
    got = torch.autograd.grad((weights * x).sum(), [y, *leaves])

    fixed = x.detach().requires_grad_()
    jacobian = torch.autograd.functional.jacobian(lambda v: bound.forward(v, context), fixed)
    adjoint = torch.linalg.solve(jacobian.T, weights)
    torch.testing.assert_close(got[0], adjoint, rtol=1e-10, atol=1e-10)
    expected = torch.autograd.grad(bound.forward(fixed, context), leaves, -adjoint)
    for g, e in zip(got[1:], expected, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(1,), (1, 1)], ids=str)
@pytest.mark.parametrize("context", [None, (2,)], ids=str)
@pytest.mark.parametrize("net", [NET, None, params.MADE((), skip_connections=True)], ids=str)
def test_one_coordinate_moves_by_itself_as_the_context_says(
    net: params.MADE | None, context: tuple[int, ...] | None, shape: tuple[int, ...]
) -> None:
    bound = bind(bij.AffineAutoregressive(net), shape, context)
    assert isinstance(bound, BoundElementwise)
    x, given = draw(4, *shape), None if context is None else draw(4, *context)
    same = bind(bij.Affine(None if context is None else (net or params.MADE()).unordered), shape, context)
    got = bound.forward_and_log_det(x, given)
    torch.testing.assert_close(got, same.forward_and_log_det(x, given), rtol=0, atol=0)
    assert (given is None) or not torch.allclose(bound.forward(x, given.flip(0)), got[0])
    back, _ = bound.inverse_and_log_det(got[0], given)
    torch.testing.assert_close(back, x, rtol=1e-10, atol=1e-10)


def test_one_slice_along_an_axis_moves_all_its_coordinates_by_themselves() -> None:
    bound = bind(bij.AffineAutoregressive(NET, dim=0), (1, 3), (2,))
    assert isinstance(bound, BoundElementwise)
    x, context = draw(4, 1, 3), draw(4, 2)
    jacobian = autodiff_jacobian(lambda v: bound.forward(v, context), x, bound.shape)
    assert torch.equal(jacobian != 0, torch.eye(3, dtype=torch.bool).expand(4, 3, 3))


def test_an_order_that_is_given_is_kept_and_a_drawn_one_is_in_the_state() -> None:
    given = bij.AffineAutoregressive(params.MADE((4,), permutation=(2, 0, 1))).bind((3,))
    assert given.params.order.tolist() == [2, 0, 1]  # type: ignore[union-attr]
    drawn = bij.AffineAutoregressive(params.MADE((4,))).bind((3,))
    assert "params.order" in drawn.state_dict()


def test_layers_are_added_through_params_fn() -> None:
    def count(*hidden: int) -> int:
        return bij.AffineAutoregressive(params.MADE(hidden)).check((4,)).parameters

    assert count(8) == 4 * 8 + 8 + 8 * 8 + 8
    assert count(8, 8) - count(8) == 8 * 8 + 8
    assert count() == 8 * 3 + 8  # nothing comes after the last coordinate
    assert bij.AffineAutoregressive().check((4,)) == bij.AffineAutoregressive(params.MADE((256, 256))).check((4,))


def test_sign_is_that_of_a_triangular_jacobian() -> None:
    assert bind(bij.AffineAutoregressive(NET), (3,)).sign == 1
    x = draw(1, 3)
    jacobian = autodiff_jacobian(bind(bij.AffineAutoregressive(NET), (3,)).forward, x, torch.Size((3,)))
    assert torch.linalg.slogdet(jacobian).sign.item() == 1
    with pytest.raises(NotSupportedError, match="sign"):
        _ = bind(bij.Permute(), (3,)).sign
