"""Plans side by side: against torch's ``CatTransform`` and ``StackTransform``, and against the parts themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import pytest
import torch
from torch.distributions import transforms as tt

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch import domains
from flowtorch.bijectors import BoundBijector
from flowtorch.bijectors.concatenate import Concatenate, Stack
from flowtorch.bijectors.pieces import BoundPieces
from flowtorch.bijectors.reshape import Reshape
from flowtorch.bijectors.transpose import Transpose
from flowtorch.errors import DomainError, NotSupportedError, ShapeError
from flowtorch.testing import autodiff_jacobian, perturb
from flowtorch.types import TensorPair

NET = params.DenseNN((8,), nonlinearity=torch.nn.Tanh)
MADE = params.MADE((8,), nonlinearity=torch.nn.Tanh)
Shape = tuple[int, ...]


def bind(plan: bij.Bijector, shape: Shape, context: Shape | None = None) -> BoundPieces:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bound: BoundBijector[bij.Bijector] = plan.bind(shape, context).double()
    perturb(bound, torch.Generator().manual_seed(0))
    assert isinstance(bound, BoundPieces)
    return bound


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def agrees(bound: BoundPieces, oracle: tt.Transform, x: torch.Tensor, event_dims: int) -> None:
    """Values and log-dets of both directions are those of a transform of torch that sums over nothing."""
    dims = tuple(range(-event_dims, 0))
    y, log_det = bound.forward_and_log_det(x)
    torch.testing.assert_close(y, oracle(x), rtol=1e-12, atol=1e-12)
    expected = oracle.log_abs_det_jacobian(x, y).sum(dims)
    torch.testing.assert_close(log_det, expected, rtol=1e-10, atol=1e-10)
    back, log_det = bound.inverse_and_log_det(y)
    torch.testing.assert_close((back, log_det), (x, -expected), rtol=1e-10, atol=1e-10)


THREE = [bij.Exp(), bij.Sigmoid(), bij.Invert(bij.Exp())]
TORCH = [tt.ExpTransform(), tt.SigmoidTransform(), tt.ExpTransform().inv]


@pytest.mark.parametrize("dim", [-1, 1, -2, 0], ids=str)
def test_it_is_the_concatenation_of_torch(dim: int) -> None:
    shape = (2, 6) if dim in (-1, 1) else (6, 2)
    oracle = tt.CatTransform(TORCH, dim=dim % 2 - 2, lengths=[1, 3, 2])
    x = draw(4, *shape).abs()
    agrees(bind(Concatenate(THREE, sizes=(1, 3, 2), dim=dim), shape), oracle, x, 2)
    agrees(bind(Concatenate(THREE, sizes=(1, None, 2), dim=dim), shape), oracle, x, 2)


@pytest.mark.parametrize("dim", [0, 1, -1, -2], ids=str)
def test_it_is_the_stack_of_torch(dim: int) -> None:
    shape = (3, 2) if dim in (0, -2) else (2, 3)
    oracle = tt.StackTransform(TORCH, dim=dim % 2 - 2)
    agrees(bind(Stack(THREE, dim=dim), shape), oracle, draw(4, *shape).abs(), 2)


def test_each_part_sees_its_piece_and_the_context() -> None:
    bound = bind(Concatenate([bij.Affine(NET), bij.AffineAutoregressive(MADE)], sizes=(1, 2), dim=0), (3, 2), (2,))
    x, context = draw(5, 3, 2), draw(5, 2, seed=2)
    top, bottom = bound.parts[0], bound.parts[1]
    assert (top.shape, bottom.shape, top.context_shape) == ((1, 2), (2, 2), (2,))
    (y_a, a), (y_b, b) = top.forward_and_log_det(x[:, :1], context), bottom.forward_and_log_det(x[:, 1:], context)
    expected = torch.cat([y_a, y_b], 1), a + b
    torch.testing.assert_close(bound.forward_and_log_det(x, context), expected, rtol=1e-14, atol=1e-14)


def test_a_part_of_a_stack_does_not_see_the_axis() -> None:
    bound = bind(Stack([bij.AffineAutoregressive(MADE), bij.AffineCoupling(NET)], dim=-1), (3, 2))
    x = draw(5, 3, 2)
    (y_a, a), (y_b, b) = (p.forward_and_log_det(x[..., i]) for i, p in enumerate(bound.parts))
    expected = torch.stack([y_a, y_b], -1), a + b
    assert [p.shape for p in bound.parts] == [(3,), (3,)]
    torch.testing.assert_close(bound.forward_and_log_det(x), expected, rtol=1e-14, atol=1e-14)


# Shapes --------------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Broken(bij.Bijector):
    """Stick breaking, which makes vectors one longer."""

    min_event_dim = 1

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        return torch.Size((*shape[:-1], shape[-1] + 1))

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        return torch.Size((*shape[:-1], shape[-1] - 1))

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundBijector[bij.Bijector]:
        return BoundBroken(self, shape, context_shape)


class BoundBroken(BoundBijector[Broken]):
    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        y = tt.StickBreakingTransform()(x)
        log_det = tt.StickBreakingTransform().log_abs_det_jacobian(x, y)
        return y, log_det.flatten(1 - len(self.shape)).sum(-1) if len(self.shape) > 1 else log_det

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        x = tt.StickBreakingTransform().inv(y)
        return x, -self._forward_and_log_det(x, context)[1]


@pytest.mark.parametrize("sizes", [(2, 3), (None, 3), (2, None)], ids=str)
def test_parts_may_change_the_lengths_of_their_pieces(sizes: tuple[int | None, int | None]) -> None:
    plan = Concatenate([Broken(), bij.Exp()], sizes=sizes)
    oracle = tt.CatTransform([tt.StickBreakingTransform(), tt.ExpTransform()], dim=-1, lengths=[2, 3])
    bound, x = bind(plan, (4, 5)), draw(6, 4, 5)
    y, log_det = bound.forward_and_log_det(x)
    assert bound.out_shape == (4, 6) and plan.inverse_shape(torch.Size((4, 6))) == (4, 5)
    expected = [t(x_k) for t, x_k in zip(oracle.transforms, x.split([2, 3], -1), strict=True)]
    torch.testing.assert_close(y, torch.cat(expected, -1), rtol=1e-12, atol=1e-12)
    assert [tuple(index) for index in bound.after.indices] == [(0, 1, 2), (3, 4, 5)]
    back, inverse_log_det = bound.inverse_and_log_det(y)
    torch.testing.assert_close((back, inverse_log_det), (x, -log_det), rtol=1e-8, atol=1e-8)
    inverted = bij.Invert(plan).bind((4, 6))
    assert inverted.out_shape == (4, 5)
    torch.testing.assert_close(inverted.forward_and_log_det(y), (back, inverse_log_det), rtol=1e-12, atol=1e-12)
    with pytest.raises(NotSupportedError, match="Concatenate: the sign of the Jacobian"):
        _ = bound.sign


def test_slices_may_change_their_shapes_alike() -> None:
    plan = Stack([Reshape((4, 3), (3, 4)), Transpose((1, 0))], dim=1)
    bound, x = bind(plan, (4, 2, 3)), draw(5, 4, 2, 3)
    assert bound.out_shape == (3, 2, 4) and plan.inverse_shape(torch.Size((3, 2, 4))) == (4, 2, 3)
    expected = torch.stack([x[:, :, 0].reshape(5, 3, 4), x[:, :, 1].transpose(1, 2)], 2)
    assert torch.equal(bound.forward(x), expected) and torch.equal(bound.inverse(expected), x)


def test_the_sign_is_the_product() -> None:
    flip = bij.AffineFixed(scale=-1.0)
    for plan, shape in (
        (Concatenate([flip, bij.Exp()], sizes=(1, None)), (3,)),
        (Concatenate([flip, bij.Exp()], sizes=(1, None)), (2, 3)),
        (Stack([bij.Exp(), flip]), (2, 3)),
        (Stack([flip, flip], dim=1), (1, 2)),
    ):
        bound = bind(plan, shape)
        jacobian = autodiff_jacobian(bound.forward, draw(1, *shape), bound.shape)[0]
        assert bound.sign == int(torch.linalg.slogdet(jacobian)[0])


# Sets ----------------------------------------------------------------------------------------------------------------


def test_sets_are_followed_piece_by_piece() -> None:
    plan = Concatenate([bij.Exp(), bij.Sigmoid()], sizes=(1, 2))
    bound = plan.bind((3,))
    assert domains.describe(bound.codomain) == "(0, inf) x (0, 1) x (0, 1)"
    bij.Compose([plan, Concatenate([bij.Log(), bij.Invert(bij.Sigmoid())], sizes=(1, None))]).bind((3,))
    # Which coordinates do not fit shows when it is bound, and that some cannot as soon as there is one set for all.
    late = bij.Compose([plan, Concatenate([bij.Log(), bij.Invert(bij.Sigmoid())], sizes=(None, 1))])
    late.bind((3,))
    with pytest.raises(DomainError, match=r"Compose: part 1 .* part 0 \(Concatenate\)"):
        bij.Compose([plan, Concatenate([bij.Invert(bij.Sigmoid()), bij.Log()], sizes=(1, None))]).bind((3,))
    with pytest.raises(DomainError, match=r"part 1 .* \(0, 1\)"):
        bij.Compose([plan, bij.Invert(bij.Sigmoid())])
    even = Concatenate([bij.Exp(), bij.Softplus()], sizes=(1, None))
    assert domains.describe(even.codomain) == "(0, inf)"
    bij.Compose([even, bij.Log()])


@pytest.mark.parametrize("dim", [0, 1], ids=str)
def test_sets_of_slices_have_no_axis(dim: int) -> None:
    plan = Stack([bij.Exp(), bij.AffineFixed(scale=(1.0, -1.0))], dim=dim)
    bound = plan.bind((2, 2))
    y = bound.forward(draw(100, 2, 2))
    found = domains.box_of(bound.codomain, torch.Size((2, 2)))
    assert found is not None
    lower = torch.tensor(found.lower).reshape(2, 2)
    assert torch.equal(lower.select(dim, 0), torch.zeros(2)) and lower.select(dim, 1).isneginf().all()
    assert bool(bound.codomain.check(y).all()) and not bool(bound.codomain.check(-y).any())


def test_sets_that_are_no_boxes_are_kept_for_their_pieces() -> None:
    simplex = torch.distributions.constraints.simplex
    cut = bind(Stack([bij.Exp(), bij.Exp()], dim=1), (3, 2)).before
    whole = cut.put_set([simplex, torch.distributions.constraints.real])
    x = draw(4, 3, 2).softmax(-2)
    assert whole.event_dim == 2
    assert whole.check(x).tolist() == [True] * 4
    assert whole.check(x + 1).tolist() == [False] * 4
    parts = cut.take_set(whole)
    assert parts is not None and parts[0] is simplex
    side_by_side = bind(Concatenate([bij.Exp(), bij.Exp()], sizes=(3, 1)), (4,)).before
    assert side_by_side.take_set(side_by_side.put_set([simplex, simplex])) == [simplex, simplex]
    assert side_by_side.take_set(simplex) is None


def test_what_lies_outside_of_one_piece_is_outside() -> None:
    flow = dist.Flow(dist.DiagNormal(3), Concatenate([bij.Exp(), bij.Sigmoid()], sizes=(1, None)))
    y = torch.tensor([[1.0, 0.5, 0.5], [-1.0, 0.5, 0.5], [1.0, 0.5, 1.5], [1.0, torch.nan, 0.5]])
    got = flow.log_prob(y)
    assert torch.isfinite(got[0]) and torch.isneginf(got[1:3]).all() and got[3].isnan()
    assert flow.support.check(y).tolist() == [True, False, False, False]


# What follows from the parts -----------------------------------------------------------------------------------------


def test_costs_follow_from_the_parts() -> None:
    made, inverted = bij.AffineAutoregressive(), bij.Invert(bij.AffineAutoregressive())
    assert Concatenate([made, bij.Exp()], sizes=(2, 2)).cheap == "forward"
    assert Concatenate([inverted, bij.Exp()], sizes=(2, 2)).cheap == "inverse"
    assert Concatenate([inverted, made], sizes=(2, 2)).cheap == "forward"
    assert Concatenate([bij.Exp(), bij.Affine()], sizes=(2, 2)).cheap == "both"
    assert Concatenate([bij.Exp(), bij.BernsteinAutoregressive()], sizes=(2, 2)).exactness == "numerical"
    assert Concatenate([bij.Exp()], sizes=(2,)).exactness == "exact"
    assert (Concatenate([bij.Exp()], sizes=(2,)).min_event_dim, Stack([made]).min_event_dim) == (1, 2)


def test_every_part_is_started_from_its_piece() -> None:
    bound = bind(Concatenate([bij.ActNorm(), bij.Compose([bij.ActNorm(), bij.Exp()])], sizes=(1, 2)), (3,))
    y = torch.cat([3 + 2 * draw(50, 1), (1 + 0.5 * draw(50, 2, seed=2)).exp()], 1)
    bound.initialize(y)
    x = bound.inverse(y)
    torch.testing.assert_close(x.mean(0), torch.zeros(3).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(x.std(0), torch.ones(3).double(), rtol=0.02, atol=0)
    inverted = bij.Invert(bound.plan).bind((3,)).double()
    y = 3 + 2 * draw(50, 3)
    inverted.initialize(y)
    means = inverted.inverse(y).mean(0)
    torch.testing.assert_close(means[0], torch.zeros(()).double(), rtol=0, atol=1e-6)


def test_rows_and_explanations_say_which_part() -> None:
    plan = Concatenate([bij.Exp(), bij.Compose([bij.Affine(), bij.Tanh()])], sizes=(1, None))
    layers = [row.layer for row in plan.check((3,)).rows]
    assert layers == ["Concatenate part 0: Exp", "Concatenate part 1: Affine", "Concatenate part 1: Tanh"]
    assert [row.shape for row in plan.check((3,)).rows] == [(1,), (2,), (2,)]
    text = plan.explain()
    assert "part 0: Exp: y = exp(x)." in text and "part 1: Compose: 2 parts" in text


def test_errors_name_the_part() -> None:
    with pytest.raises(ShapeError, match=r"^Concatenate part 1 \(Invert\(Permute\)\): Permute: "):
        Concatenate([bij.Exp(), bij.Invert(bij.Permute((1, 0)))], sizes=(1, 3)).bind((4,))
