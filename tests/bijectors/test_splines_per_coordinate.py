"""Splines with a box for each coordinate, however they are driven."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.bijectors.cubic_spline import CubicSpline
from flowtorch.bijectors.linear_spline import LinearSpline
from flowtorch.bijectors.quadratic_spline import QuadraticSpline
from flowtorch.errors import ShapeError
from flowtorch.testing import check_bijector
from flowtorch.testing.sampling import perturb

NET = params.DenseNN((12, 10), nonlinearity=torch.nn.Tanh)
MADE = params.MADE((12, 10), nonlinearity=torch.nn.Tanh)
MADE_IN_ORDER = params.MADE((12, 10), nonlinearity=torch.nn.Tanh, permutation=(3, 0, 5, 1, 2, 4))
BOUND = ((1.0, (-2.0, 1.0), 3.0), (2.0, (0.5, 4.0), (-1.0, 2.5)))
SIDES = (((-1.0, 1.0), (-2.0, 1.0), (-3.0, 3.0)), ((-2.0, 2.0), (0.5, 4.0), (-1.0, 2.5)))
QUICK = ("integrates_to_one", "compile")

every_tail = pytest.mark.parametrize("tails", ["linear", None])


@every_tail
@pytest.mark.parametrize("spline", [LinearSpline, QuadraticSpline, CubicSpline, bij.Spline])
def test_conforms_however_it_is_driven(spline: Callable[..., bij.Elementwise], tails: str | None) -> None:
    plan = spline(count_bins=3, bound=BOUND, tails=tails)
    check_bijector(plan, (2, 3), skip=("integrates_to_one",))
    check_bijector(spline(NET, count_bins=3, bound=BOUND, tails=tails), (2, 3), (2,), skip=QUICK)
    check_bijector(bij.Autoregressive(plan, MADE_IN_ORDER), (2, 3), skip=QUICK)
    check_bijector(bij.Autoregressive(plan, MADE, dim=-1), (2, 3), (2,), skip=QUICK)
    check_bijector(bij.Coupling(plan, NET, mask="alternate"), (2, 3), skip=QUICK)
    check_bijector(bij.Coupling(plan, NET, dim=0), (2, 3), (2,), skip=QUICK)


@every_tail
def test_each_coordinate_moves_in_its_own_box(tails: str | None) -> None:
    inside = torch.tensor([[[0.5, -1.5, 2.0], [-1.9, 3.0, 2.0]]], dtype=torch.float64)
    whole = QuadraticSpline(bound=BOUND, tails=tails).bind((2, 3)).double()
    perturb(whole, torch.Generator().manual_seed(0), 1.0)
    y, log_det = whole.forward_and_log_det(inside)
    total = 0.0
    for i in range(2):
        for j in range(3):
            alone = QuadraticSpline(bound=SIDES[i][j], tails=tails).bind(()).double()
            for mine, theirs in zip(alone.parameters(), whole.parameters(), strict=True):
                mine.data = theirs[i, j].detach().clone()
            part, log_derivative = alone.forward_and_log_det(inside[0, i, j])
            assert y[0, i, j].item() == pytest.approx(part.item(), abs=1e-13)
            total += log_derivative.item()
    assert log_det.item() == pytest.approx(total, abs=1e-12)


def test_outside_of_one_box_is_the_identity_or_nowhere() -> None:
    x = torch.tensor([[0.5, 1.5, 2.0], [-1.9, 0.4, 1e6]], dtype=torch.float64)
    outside = torch.tensor([[False, True, False], [False, True, True]])
    tailed = QuadraticSpline(bound=BOUND).bind((2, 3)).double()
    perturb(tailed, torch.Generator().manual_seed(0), 1.0)
    assert torch.equal(tailed.forward(x) == x, outside)
    boxed = QuadraticSpline(bound=BOUND, tails=None).bind((2, 3)).double()
    y, log_det = boxed.forward_and_log_det(x)
    assert log_det.item() == -torch.inf and bool(boxed.codomain.check(y))


@pytest.mark.parametrize("shape", [(), (3,), (3, 2), (2, 3, 1), (1,)], ids=str)
def test_bounds_have_to_fit_the_event(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"CubicSpline: numbers for each .* event \(.*got numbers of shape \(2, 3\)"):
        CubicSpline(bound=BOUND).bind(shape)


def test_sides_are_exact_in_every_dtype() -> None:
    bound = LinearSpline(bound=(0.1, (0.0, 0.3), 0.7), tails=None).bind((3,))
    assert bound.double().map.numbers.tolist() == [[-0.1, 0.0, -0.7], [0.1, 0.3, 0.7]]
    assert not bound.state_dict().keys() - {"params.values_0", "params.parameters_0", *dict(bound.named_parameters())}
