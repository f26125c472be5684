"""Two pieces, the second given the first: the density factorises, the Jacobian is block triangular."""

from __future__ import annotations

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch import domains
from flowtorch.bijectors import BoundBijector
from flowtorch.bijectors.split import BoundSplit, Split
from flowtorch.errors import DomainError, ShapeError
from flowtorch.testing import autodiff_jacobian, perturb

NET = params.DenseNN((8,), nonlinearity=torch.nn.Tanh)
MADE = params.MADE((8,), nonlinearity=torch.nn.Tanh)
AUTOREGRESSIVE = bij.AffineAutoregressive(MADE)
Shape = tuple[int, ...]


def bind(plan: bij.Bijector, shape: Shape, context: Shape | None = None) -> BoundSplit:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bound: BoundBijector[bij.Bijector] = plan.bind(shape, context).double()
    perturb(bound, torch.Generator().manual_seed(0))
    assert isinstance(bound, BoundSplit)
    return bound


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("swap", [False, True], ids=["in order", "swapped"])
@pytest.mark.parametrize("context", [None, (2, 1)], ids=str)
def test_the_second_part_is_conditioned_on_the_first_piece_as_moved(swap: bool, context: Shape | None) -> None:
    bound = bind(Split(AUTOREGRESSIVE, bij.SplineCoupling(NET, count_bins=3), 2, swap=swap), (5,), context)
    x, given = draw(3, 5), None if context is None else draw(3, *context)
    x_a, x_b = (x[:, 2:], x[:, :2]) if swap else (x[:, :2], x[:, 2:])
    first, second = bound.parts
    assert (first.shape, second.shape) == (x_a.shape[1:], x_b.shape[1:])
    y_a, log_det_a = first.forward_and_log_det(x_a, given)
    joint = y_a if given is None else torch.cat([y_a, given.flatten(1)], 1)
    y_b, log_det_b = second.forward_and_log_det(x_b, joint)
    y = torch.cat([y_b, y_a] if swap else [y_a, y_b], 1)
    got = bound.forward_and_log_det(x, given)
    torch.testing.assert_close(got, (y, log_det_a + log_det_b), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(bound.inverse_and_log_det(y, given), (x, -log_det_a - log_det_b), rtol=1e-8, atol=1e-8)


def test_the_density_is_the_product_of_a_marginal_and_a_conditional() -> None:
    flow = dist.Flow(dist.DiagNormal(4), Split(AUTOREGRESSIVE, bij.AffineCoupling(NET), size=2)).double()
    perturb(flow, torch.Generator().manual_seed(1))
    marginal = dist.Flow(dist.DiagNormal(2), AUTOREGRESSIVE).double()
    conditional = dist.Flow(dist.DiagNormal(2), bij.AffineCoupling(NET), context_shape=(2,)).double()
    first, second = flow.bijector.parts  # type: ignore[attr-defined]  # a BoundSplit
    marginal.bijector.load_state_dict(first.state_dict())
    conditional.bijector.load_state_dict(second.state_dict())
    y = draw(6, 4)
    expected = marginal.log_prob(y[:, :2]) + conditional.log_prob(y[:, 2:], y[:, :2])
    torch.testing.assert_close(flow.log_prob(y), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("swap", [False, True], ids=["in order", "swapped"])
def test_the_jacobian_is_block_triangular(swap: bool) -> None:
    bound = bind(Split(AUTOREGRESSIVE, AUTOREGRESSIVE, 2, swap=swap), (5,))
    jacobian = autodiff_jacobian(bound.forward, draw(3, 5), bound.shape)
    above, below = jacobian[:, :2, 2:], jacobian[:, 2:, :2]
    zero, full = (below, above) if swap else (above, below)
    assert not zero.any() and bool((full != 0).any(0).all())
    assert bound.sign == 1


def test_with_an_elementwise_plan_it_is_a_coupling() -> None:
    split, coupling = bind(Split(None, bij.Affine(NET), 2), (5,)), bij.AffineCoupling(NET, split=2).bind((5,)).double()
    coupling.load_state_dict(dict(zip(coupling.state_dict(), split.state_dict().values(), strict=True)))
    x = draw(3, 5)
    torch.testing.assert_close(split.forward_and_log_det(x), coupling.forward_and_log_det(x), rtol=1e-12, atol=1e-12)
    assert torch.equal(split.forward(x)[:, :2], x[:, :2])


def test_along_an_axis_pieces_keep_their_other_axes() -> None:
    bound = bind(Split(bij.Affine(), AUTOREGRESSIVE, dim=0), (3, 2), (2,))
    assert [part.shape for part in bound.parts] == [(2, 2), (1, 2)]  # half, the larger if odd
    assert [part.context_shape for part in bound.parts] == [(2,), (6,)]
    flat = bind(Split(None, AUTOREGRESSIVE), (3, 3))
    assert [part.shape for part in flat.parts] == [(4,)]
    x = draw(2, 4, 3, 2)
    torch.testing.assert_close(bound.inverse(bound.forward(x, draw(2)), draw(2)), x, rtol=1e-8, atol=1e-8)


def test_it_nests() -> None:
    deep = Split(None, Split(AUTOREGRESSIVE, Split(bij.Affine(), bij.Affine(NET))))
    bound, x = bind(deep, (8,), (2,)), draw(3, 8)
    second = bound.parts[0]
    assert isinstance(second, BoundSplit) and second.context_shape == (6,)
    assert second.parts[1].context_shape == (8,)
    y, log_det = bound.forward_and_log_det(x, draw(3, 2))
    torch.testing.assert_close(bound.inverse_and_log_det(y, draw(3, 2)), (x, -log_det), rtol=1e-8, atol=1e-8)


def test_costs_follow_from_the_parts() -> None:
    assert Split(None, bij.AffineCoupling()).cheap == "both"
    assert Split(bij.Affine(), AUTOREGRESSIVE).cheap == "forward"
    assert Split(bij.Invert(AUTOREGRESSIVE), bij.Affine()).cheap == "inverse"
    assert Split(None, bij.BernsteinAutoregressive()).exactness == "numerical"


def test_both_parts_are_started_from_data() -> None:
    norms = bij.Compose([bij.ActNorm(), bij.AffineCoupling(NET), bij.ActNorm()])
    for plan in (Split(norms, norms), bij.Invert(Split(norms, norms, swap=True))):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            bound = plan.bind((4,)).double()
        y = 3 + 2 * draw(200, 4)
        with torch.no_grad():
            bound.initialize(y)
        x = bound.inverse(y)
        torch.testing.assert_close(x.mean(0), torch.zeros(4).double(), rtol=0, atol=1e-6)
        torch.testing.assert_close(x.std(0), torch.ones(4).double(), rtol=0.01, atol=0)


def test_sets_are_those_of_the_parts() -> None:
    plan = Split(bij.Sigmoid(), bij.Compose([AUTOREGRESSIVE, bij.Exp()]), 1)
    assert domains.describe(plan.bind((3,)).codomain) == "(0, 1) x (0, inf) x (0, inf)"
    swapped = Split(bij.Sigmoid(), bij.Exp(), 1, swap=True)
    assert domains.describe(swapped.bind((3,)).codomain) == "(0, inf) x (0, 1) x (0, 1)"
    with pytest.raises(DomainError, match=r"Compose: part 1 .* part 0 \(Split\)"):
        bij.Compose([swapped, Split(bij.Invert(bij.Sigmoid()), bij.Log(), 1)]).bind((3,))
    bij.Compose([swapped, Split(bij.Invert(bij.Sigmoid()), bij.Log(), 1, swap=True)]).bind((3,))


def test_rows_explanations_and_errors_say_which_part() -> None:
    plan = Split(bij.Exp(), AUTOREGRESSIVE, 2)
    assert [row.layer for row in plan.check((4,)).rows] == ["Split first: Exp", "Split second: AffineAutoregressive"]
    assert plan.explain().startswith("Split: y_A = f(x_A; c), y_B = g(x_B; (y_A, c)), A being the first 2.\nfirst: Exp")
    assert Split(None, bij.Affine(), swap=True, dim=1).describe() == (
        "y_A = x_A, y_B = g(x_B; (y_A, c)), B being the first half along axis 1."
    )
    with pytest.raises(ShapeError, match=r"^Split second \(Permute\): Permute: permutation has 2 entries"):
        Split(None, bij.Permute((1, 0))).bind((3,))
