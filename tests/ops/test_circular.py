"""The shift of angles: against the complex numbers."""

from __future__ import annotations

import math

import pytest
import torch

from flowtorch.ops.circular import circular_shift

ANGLES = torch.linspace(-3.14, 3.14, 41, dtype=torch.float64)


@pytest.mark.parametrize("shift", [0.0, 1e-8, 1.0, -2.5, 10.0, -1e3])
def test_is_a_turn_in_the_plane(shift: float) -> None:
    y, log_derivative = circular_shift(ANGLES, shift)
    turned = torch.polar(torch.ones_like(ANGLES), ANGLES) * torch.polar(*torch.tensor([1.0, shift]).double())
    torch.testing.assert_close(torch.polar(torch.ones_like(y), y), turned, rtol=1e-12, atol=1e-12)
    assert (y.abs() < math.pi).all() and not log_derivative.any()
    torch.testing.assert_close(circular_shift(y, shift, inverse=True)[0], ANGLES, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_values_stay_inside_and_gradients_are_one(dtype: torch.dtype) -> None:
    x = torch.tensor([-3.1, -1e-8, 0.0, 1e-8, 3.1], dtype=dtype, requires_grad=True)
    for shift in (0.0, 3.0, -3.0, 1e3, math.pi):
        y, log_derivative = circular_shift(x, shift)
        assert (y > -math.pi).all() and (y < math.pi).all() and not log_derivative.any()
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert ((gradient == 1) | (gradient == 0)).all()
    assert (circular_shift(torch.tensor([3.0, 1e6]), torch.tensor([1e6, -1e6]))[0].abs() < math.pi).all()


def test_gradient_of_the_shift_and_nan() -> None:
    shift = torch.tensor([[0.5], [3.0]], dtype=torch.float64, requires_grad=True)
    y, log_derivative = circular_shift(ANGLES, shift)
    assert y.shape == log_derivative.shape == (2, 41)
    assert torch.autograd.grad(y.sum(), shift)[0].tolist() == [[41.0], [41.0]]
    assert all(r.isnan().all() for r in circular_shift(torch.tensor([math.nan]), 1.0))
