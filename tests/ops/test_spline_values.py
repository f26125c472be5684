"""Monotone splines: against the papers' formulas in mpmath, quadrature, autodiff and finite differences."""

from __future__ import annotations

import mpmath
import pytest
import torch
from torch.func import grad, vmap

from flowtorch.ops.cubic_spline import _cubic, _solve
from tests.ops.splines import BOUND, CASES, DERIVATIVE, Case, both_ways, every_spline, grid


@every_spline
def test_agrees_with_the_paper(case: Case) -> None:
    x = grid(50)[:, None].expand(50, 6)
    parameters = case.draw(6)
    parameters[-1 if len(parameters) < 3 else 2][0] = 21.0  # softplus(21) is 21.00000000076: torch's, by default, is 21
    y, log_derivative = case.op(x, *parameters)
    back, inverse_log_derivative = case.op(y, *parameters, inverse=True)
    with mpmath.workdps(30):
        for j in range(6):
            raw = [p[j].tolist() for p in parameters]
            for i, v in enumerate(x[:, j].tolist()):
                exact, slope = case.exact(v, *raw) if abs(v) < BOUND else (v, 1)
                assert y[i, j].item() == pytest.approx(float(exact), abs=1e-13)
                assert log_derivative[i, j].item() == pytest.approx(float(mpmath.log(slope)), abs=1e-12)
                assert back[i, j].item() == pytest.approx(v, abs=1e-12)
                assert inverse_log_derivative[i, j].item() == pytest.approx(-float(mpmath.log(slope)), abs=1e-11)


@both_ways
@every_spline
def test_log_derivative_is_that_of_autodiff(case: Case, inverse: bool) -> None:
    x, parameters = grid(200), case.draw(200, seed=1)
    derivative = vmap(grad(lambda *a: case.op(*a, inverse=inverse)[0]))(x, *parameters)
    torch.testing.assert_close(case.op(x, *parameters, inverse=inverse)[1], derivative.log(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("scale", [1.0, 3.0])
@every_spline
def test_round_trip(case: Case, scale: float) -> None:
    x, parameters = grid(5000), case.draw(5000, bins=8, seed=2, scale=scale)
    y, log_derivative = case.op(x, *parameters)
    back, inverse_log_derivative = case.op(y, *parameters, inverse=True)
    torch.testing.assert_close(back, x, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(inverse_log_derivative, -log_derivative, rtol=1e-9, atol=1e-9)
    forth = case.op(case.op(x, *parameters, inverse=True)[0], *parameters)[0]
    torch.testing.assert_close(forth, x, rtol=1e-10, atol=1e-10)


@both_ways
@every_spline
def test_derivative_integrates_to_the_height_of_the_box(case: Case, inverse: bool) -> None:
    count = 100_000
    middles = (torch.arange(count, dtype=torch.float64) + 0.5) * (2.0 * BOUND / count) - BOUND
    _, log_derivative = case.op(middles[:, None], *case.draw(3, seed=3, scale=0.7), inverse=inverse)
    total = log_derivative.exp().mean(0) * 2.0 * BOUND
    # Of one that jumps at the knots the sum is wrong by up to a step's share.
    assert total.tolist() == pytest.approx([2.0 * BOUND] * 3, rel=1e-7 if case.smooth else 1e-4)


@both_ways
@every_spline
def test_increases_strictly(case: Case, inverse: bool) -> None:
    y, _ = case.op(grid(5000)[:, None], *case.draw(4, seed=4, scale=3.0), inverse=inverse)
    assert (y.diff(dim=0) > 0.0).all()


@both_ways
@every_spline
def test_value_and_derivative_are_continuous_at_knots_and_bounds(case: Case, inverse: bool) -> None:
    parameters = case.draw(seed=5)
    knots = torch.tensor(case.knots(parameters)[inverse], dtype=torch.float64)
    left, right = (case.op(knots + step, *parameters, inverse=inverse) for step in (-1e-9, 1e-9))
    torch.testing.assert_close(left[0], right[0], rtol=0.0, atol=1e-7)
    assert right[0][0].item() == pytest.approx(-BOUND, abs=1e-7)
    assert left[0][-1].item() == pytest.approx(BOUND, abs=1e-7)
    inner = slice(None) if case.level else slice(1, -1)
    jumps = (right[1] - left[1])[inner].abs()
    assert (jumps < 1e-5).all() if case.smooth else (jumps > 0.01).all()
    if case.level:
        assert left[1][-1].item() == pytest.approx(0.0, abs=1e-6)


@both_ways
@every_spline
def test_end_slopes_are_those_given_or_one(case: Case, inverse: bool) -> None:
    parameters = case.draw(seed=5, scale=0.4)
    raw = [p.tolist() for p in parameters]
    at_ends = torch.tensor([-BOUND + 1e-10, BOUND - 1e-10], dtype=torch.float64)
    slopes = case.op(at_ends, *parameters, inverse=inverse)[1].exp()
    exact = [float(case.exact(x, *raw)[1]) for x in (-BOUND, BOUND)]
    assert slopes.tolist() == pytest.approx([1.0 / e if inverse else e for e in exact], rel=1e-7)
    assert (exact == pytest.approx([1.0, 1.0])) == ("2" not in case.sizes and "K + 1" not in case.sizes and case.smooth)


def test_end_slope_of_a_cubic_stays_below_three_chords() -> None:
    # A wide and flat first bin: slope 1 would need a piece that goes down.
    widths, heights = torch.tensor([2.0, 0.0]).double(), torch.tensor([-2.0, 0.0]).double()
    case = CASES["cubic"]
    xs, ys = case.knots([widths, heights])
    chord = (ys[1] - ys[0]) / (xs[1] - xs[0])
    assert 3.0 * chord < 1.0
    _, log_slope = case.op(torch.tensor(-BOUND + 1e-10, dtype=torch.float64), widths, heights)
    assert log_slope.exp().item() == pytest.approx((3.0 - DERIVATIVE) * chord, rel=1e-7)
    y, _ = case.op(grid(1000), widths, heights)
    assert (y.diff() > 0.0).all()


@pytest.mark.parametrize("bins", [1, 2, 5, 8])
@both_ways
@every_spline
def test_zeros_are_the_identity(case: Case, inverse: bool, bins: int) -> None:
    x = grid(101, reach=4.0)
    y, log_derivative = case.plain(x, *(torch.zeros_like(p) for p in case.draw(bins=bins)), inverse=inverse)
    torch.testing.assert_close(y, x, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(log_derivative, torch.zeros_like(x), rtol=0.0, atol=1e-14)


@every_spline
def test_one_bin_without_end_slopes_is_the_identity_whatever_the_parameters(case: Case) -> None:
    x, parameters = grid(50).requires_grad_(), [p.requires_grad_() for p in case.draw(bins=1)]
    y, log_derivative = case.op(x, *parameters)
    if "2" in case.sizes or "K + 1" in case.sizes:
        assert (y - x).abs().max() > 0.1
        return
    torch.testing.assert_close(y, x, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(log_derivative, torch.zeros_like(x), rtol=0.0, atol=1e-14)
    gradients = torch.autograd.grad(y.sum(), [x, *parameters], materialize_grads=True)
    torch.testing.assert_close(gradients[0], torch.ones_like(x))
    for parameter_gradient in gradients[1:]:
        torch.testing.assert_close(parameter_gradient, torch.zeros_like(parameter_gradient), rtol=0.0, atol=1e-13)


def test_cubic_is_solved_for_all_slopes_that_a_bin_may_have() -> None:
    # At the ends of the box up to just under three chords, inside up to two, and down to a thousandth.
    slopes, eta = (torch.logspace(a, b, 50, dtype=torch.float64) for a, b in ((-3.0, 0.3), (-14.0, -0.31)))
    slopes, eta = torch.cat((slopes, 3.0 - slopes)), torch.cat((eta, 1.0 - eta))
    d0, d1, eta = torch.meshgrid(slopes, slopes, eta, indexing="ij")
    theta = _solve(eta, d0, d1)
    value, _ = _cubic(theta, d0, d1)
    assert (value - eta).abs().max() < 1e-15
    assert ((theta > 0.0) & (theta < 1.0)).all()
