"""Softclip, the scaled sigmoid and the sine: against mpmath, torch's transforms and autodiff."""

from __future__ import annotations

import math
from functools import partial

import mpmath
import pytest
import torch
from torch.distributions import transforms as T

from flowtorch.errors import OptionError
from flowtorch.ops.bounded import inside, scaled_sigmoid, sin, softclip
from tests.ops import exactness
from tests.ops.exactness import Exact

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


def _clip(b: float) -> Exact:
    return Exact(
        partial(softclip, bound=b),
        lambda x: x / (1 + abs(x) / mpmath.mpf(b)),
        lambda x: (1 + abs(x) / mpmath.mpf(b)) ** -2,
        codomain=(-b, b),
    )


def _logistic(x: mpmath.mpf) -> mpmath.mpf:
    return 1 / (1 + mpmath.exp(-x))


def _sigmoid(low: float, high: float) -> Exact:
    width = mpmath.mpf(high) - mpmath.mpf(low)
    return Exact(
        partial(scaled_sigmoid, low=low, high=high),
        lambda x: low + width * _logistic(x),
        lambda x: width * _logistic(x) * _logistic(-x),
        codomain=(low, high),
    )


# Near the ends of its domain the sine is as flat as float16 is coarse.
TURN = (-1.5, -1.2, -0.4, -1e-3, 1e-3, 0.7, 1.1, 1.5)
SIN = Exact(
    sin,
    mpmath.sin,
    mpmath.cos,
    domain=(-math.pi / 2, math.pi / 2),
    codomain=(-1.0, 1.0),
    points=TURN,
    extremes=(-1.5, -1e-8, 0.0, 1e-8, 1.5),
)


@pytest.mark.parametrize("bound", [1.0, 0.3, 7.0])
def test_softclip(bound: float) -> None:
    case = _clip(bound)
    exactness.all_checks(case)
    exactness.inverse_survives_extremes(case, (-bound * (1 - 1e-6), -1e-8, 0.0, 1e-8, bound * (1 - 1e-6)))
    exactness.integrates_to_one(case, exactness.standard_normal)


@pytest.mark.parametrize("ends", [(0.0, 1.0), (-1.0, 3.5), (-2.0, 0.0), (5.0, 5.5)], ids=str)
def test_scaled_sigmoid(ends: tuple[float, float]) -> None:
    case = _sigmoid(*ends)
    # With an end at 0 the sigmoid keeps its digits there; a value near another end has few.
    exactness.all_checks(case)
    low, high = ends
    exactness.inverse_survives_extremes(case, (*inside(low, high, torch.float32), 0.5 * (low + high)))
    exactness.integrates_to_one(case, exactness.standard_normal)


def test_scaled_sigmoid_agrees_with_torch() -> None:
    x = torch.linspace(-5, 5, 11, dtype=torch.float64)
    transform = T.ComposeTransform([T.SigmoidTransform(), T.AffineTransform(-1.0, 4.0)])
    y = transform(x)
    expected = y, transform.log_abs_det_jacobian(x, y)
    torch.testing.assert_close(scaled_sigmoid(x, -1.0, 3.0), expected, rtol=1e-12, atol=1e-12)


def test_an_end_at_zero_keeps_its_digits() -> None:
    y = scaled_sigmoid(torch.tensor([-50.0, 50.0]).double(), -2.0, 0.0)[0]
    assert y[1].item() == pytest.approx(-2 * math.exp(-50), rel=1e-14)
    assert scaled_sigmoid(torch.tensor([-50.0]).double())[0].item() == pytest.approx(math.exp(-50), rel=1e-14)


def test_sin() -> None:
    exactness.all_checks(SIN)
    exactness.inverse_survives_extremes(SIN, (-1 + 1e-7, -1e-8, 0.0, 1e-8, 1 - 1e-7))
    exactness.integrates_to_one(SIN, lambda x: torch.log(torch.cos(x) / 2))


def test_sin_at_the_ends_of_each_dtype() -> None:
    for dtype in (torch.float32, torch.float64):
        end = torch.nextafter(torch.tensor(math.pi / 2, dtype=dtype), torch.zeros((), dtype=dtype))
        y, log_derivative = sin(torch.stack([-end, end]))
        assert (y.abs() < 1).all() and log_derivative.isfinite().all()


@pytest.mark.parametrize("dtype", exactness.DTYPES, ids=str)
def test_values_stay_inside_in_every_dtype(dtype: torch.dtype) -> None:
    for low, high in ((0.0, 1.0), (-0.1, 0.1), (-1.0, 3.3), (100.1, 100.9), (-7.7, -1.3)):
        if dtype in (torch.float16, torch.bfloat16) and low > 100:
            continue  # no number of theirs lies between
        a, b = torch.tensor(inside(low, high, dtype), dtype=dtype)
        assert a > low and b < high, (low, high)
        y = scaled_sigmoid(torch.tensor([-1e4, 1e4], dtype=dtype), low, high)[0]
        assert y[0] > low and y[1] < high
        y = softclip(torch.tensor([-6e4, 6e4, -math.inf, math.inf], dtype=dtype), high - low)[0]
        assert (y.abs() < high - low).all()


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(OptionError, match="bound above 0 is expected; got 0"):
        softclip(torch.zeros(1), 0.0)
    with pytest.raises(OptionError, match="low < high is expected; got 1.0 and 1.0"):
        scaled_sigmoid(torch.zeros(1), 1.0, 1.0)
