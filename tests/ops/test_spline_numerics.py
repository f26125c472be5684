"""Monotone splines far outside of the box, at its ends and knots, with extreme parameters, and in narrow dtypes."""

from __future__ import annotations

import math

import pytest
import torch

from tests.ops.splines import BOUND, Case, both_ways, every_spline, grid

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@both_ways
@every_spline
def test_outside_it_is_the_identity_with_finite_gradients(case: Case, inverse: bool, dtype: torch.dtype) -> None:
    far = torch.tensor([2.5, 3.0, 1e6, 1e30, math.inf], dtype=dtype)
    x = torch.cat((-far, far)).requires_grad_()
    parameters = [p.requires_grad_() for p in case.draw(10, dtype=dtype)]
    y, log_derivative = case.op(x, *parameters, inverse=inverse)
    assert torch.equal(y, x) and y.dtype == dtype
    assert torch.equal(log_derivative, torch.zeros_like(x))
    gradients = torch.autograd.grad(y.sum() + log_derivative.sum(), [x, *parameters], materialize_grads=True)
    assert torch.equal(gradients[0], torch.ones_like(x))
    assert not any(g.any() for g in gradients[1:])  # NaN would count as true


@both_ways
@every_spline
def test_nan_stays_nan(case: Case, inverse: bool) -> None:
    y, log_derivative = case.op(torch.tensor([math.nan, 0.5]), *case.draw(dtype=torch.float32), inverse=inverse)
    assert y.isnan().tolist() == [True, False]
    # A line has the same slope everywhere in its bin.
    assert log_derivative.isnan().tolist() == [case.smooth, False]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0, 50.0])
@both_ways
@every_spline
def test_points_that_break_formulas_give_finite_results(
    case: Case, inverse: bool, dtype: torch.dtype, scale: float
) -> None:
    parameters = case.draw(bins=8, scale=scale, dtype=dtype, seed=11)
    special = [0.0, 1e-8, BOUND, math.nextafter(BOUND, 0.0), BOUND * (1.0 - 1e-7), 1e3, 1e6]
    knots = case.knots(parameters)[inverse]
    x = torch.tensor([*special, *(-v for v in special), *knots], dtype=dtype)
    beside = torch.cat((x.nextafter(x.new_tensor(-9.0)), x, x.nextafter(x.new_tensor(9.0)))).requires_grad_()
    each = [p.expand(len(beside), *p.shape).clone().requires_grad_() for p in parameters]
    results = case.op(beside, *each, inverse=inverse)
    for result in results:
        assert result.isfinite().all()
        gradients = torch.autograd.grad(result.sum(), [beside, *each], retain_graph=True, materialize_grads=True)
        assert all(g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@both_ways
@every_spline
def test_extreme_parameters_give_finite_results(case: Case, inverse: bool, dtype: torch.dtype) -> None:
    x = grid(400, reach=3.1, dtype=dtype).requires_grad_()
    parameters = [(50.0 * p.sign()).requires_grad_() for p in case.draw(400, bins=8, dtype=dtype, seed=6)]
    y, log_derivative = case.plain(x, *parameters, inverse=inverse)
    assert y.isfinite().all() and log_derivative.isfinite().all()
    gradients = torch.autograd.grad(y.sum() + log_derivative.sum(), [x, *parameters])
    if dtype != torch.float16:  # the true derivatives, 1e5, are beyond float16
        assert all(g.isfinite().all() for g in gradients)
    assert not any(g.isnan().any() for g in gradients)


@every_spline
def test_knots_of_bfloat16_parameters_do_not_collide(case: Case) -> None:
    # Near the bound bfloat16 numbers are 0.0156 apart and the least bins 0.006 wide: computed in bfloat16, a bin would
    # have no width and its log-derivative would be NaN or infinite.
    parameters = case.draw(bins=8, dtype=torch.bfloat16)
    parameters[0] = torch.tensor([20.0] + [0.0] * 7, dtype=torch.bfloat16)
    _, log_derivative = case.plain(torch.linspace(2.9, 3.0, 20).bfloat16(), *parameters)
    assert log_derivative.isfinite().all()


@both_ways
@every_spline
def test_float32_is_as_exact_as_float32_can_be(case: Case, inverse: bool) -> None:
    x, parameters = grid(500, torch.float32), case.draw(500, seed=7, dtype=torch.float32)
    y, log_derivative = case.op(x, *parameters, inverse=inverse)
    exact_y, exact_log = case.op(x.double(), *(p.double() for p in parameters), inverse=inverse)
    # An error in x or in a knot comes out multiplied by the slope.
    scale = torch.finfo(torch.float32).eps * BOUND * (1.0 + exact_log.exp())
    assert ((y - exact_y).abs() / scale).max() < 8.0
    torch.testing.assert_close(log_derivative.double(), exact_log, rtol=0.0, atol=2e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@both_ways
@every_spline
def test_narrow_dtypes_lose_only_the_last_rounding(case: Case, inverse: bool, dtype: torch.dtype) -> None:
    x, parameters = grid(200, dtype), case.draw(200, seed=7, dtype=dtype)
    expected = case.op(x.double(), *(p.double() for p in parameters), inverse=inverse)
    for narrow, exact in zip(case.op(x, *parameters, inverse=inverse), expected, strict=True):
        assert narrow.dtype == dtype
        torch.testing.assert_close(narrow.double(), exact, rtol=0.51 * torch.finfo(dtype).eps, atol=2e-4)
