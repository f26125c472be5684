"""Expm1 against mpmath and autodiff, and the helpers beside it."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch

from flowtorch.ops.logarithms import expm1, expm1_or_inf, log1p_square
from tests.ops import exactness
from tests.ops.exactness import Exact

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


def test_expm1() -> None:
    case = Exact(expm1, mpmath.expm1, mpmath.exp, codomain=(-1.0, math.inf))
    exactness.all_checks(case)
    exactness.inverse_survives_extremes(case, (-1.0 + 2.0**-24, -1e-8, 0.0, 1e-8, 1e3, 1e6))
    exactness.integrates_to_one(case, exactness.standard_normal)


def test_expm1_never_reaches_the_end() -> None:
    y, log_derivative = expm1(torch.tensor([-200.0, -1e6]))
    assert (y > -1.0).all() and log_derivative.tolist() == [-200.0, -1e6]


def test_beyond_the_dtype_the_gradient_is_zero() -> None:
    x = torch.tensor([88.0, 89.0, math.inf], requires_grad=True)
    y = expm1_or_inf(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert y.isinf().tolist() == [False, True, True]
    assert gradient[0] > 1e38 and gradient[1:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_log1p_square_far_out_and_at_zero(dtype: torch.dtype) -> None:
    x = torch.tensor([0.0, 1e-30, 1e-3, 1.0, -2.0, 1e30, -1e30], dtype=dtype)
    with mpmath.workdps(40):
        expected = [float(mpmath.log1p(mpmath.mpf(v) ** 2)) for v in x.tolist()]
    torch.testing.assert_close(log1p_square(x), torch.tensor(expected, dtype=dtype))
    second = torch.func.grad(torch.func.grad(log1p_square))(torch.zeros((), dtype=dtype))
    assert second.item() == 2.0
