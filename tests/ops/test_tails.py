"""Maps with parameters for skewness, tails and slopes: against mpmath, scipy and autodiff."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import mpmath
import pytest
import torch
from scipy import stats

from flowtorch.ops import tails
from tests.ops import exactness
from tests.ops.exactness import Exact

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


def _number(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: torch.full((), value, dtype=x.dtype, device=x.device)


def _with(op: Callable[..., tuple[torch.Tensor, torch.Tensor]], *values: float) -> Callable[..., object]:
    def applied(x: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        return op(x, *(_number(v)(x) for v in values), inverse=inverse)

    return applied


def _sinh_arcsinh(e: float, log_d: float) -> Exact:
    def u(x: mpmath.mpf) -> mpmath.mpf:
        return mpmath.exp(mpmath.mpf(log_d)) * (mpmath.asinh(x) + e)

    return Exact(
        _with(tails.sinh_arcsinh, e, log_d),  # type: ignore[arg-type]  # partial of it
        lambda x: mpmath.sinh(u(x)),
        lambda x: mpmath.exp(mpmath.mpf(log_d)) * mpmath.cosh(u(x)) / mpmath.sqrt(1 + x * x),
    )


def _tail(left: float, right: float) -> Exact:
    def parts(x: mpmath.mpf) -> tuple[mpmath.mpf, mpmath.mpf, mpmath.mpf]:
        log_index = mpmath.mpf(left if x < 0 else right)
        return mpmath.sign(x), mpmath.exp(log_index), mpmath.erfc(abs(x) / mpmath.sqrt(2))

    def value(x: mpmath.mpf) -> mpmath.mpf:
        s, index, ratio = parts(x)
        # The power as one of the logarithm: erfc at 1e6 is exp(-5e11), which mpmath can hold.
        return s * mpmath.expm1(-index * mpmath.log(ratio)) / index

    def slope(x: mpmath.mpf) -> mpmath.mpf:
        _, index, ratio = parts(x)
        return mpmath.sqrt(2 / mpmath.pi) * mpmath.exp(-x * x / 2 - (index + 1) * mpmath.log(ratio))

    return Exact(_with(tails.tail_transform, left, right), value, slope)  # type: ignore[arg-type]  # partial of it


def _power(log_p: float) -> Exact:
    return Exact(
        _with(tails.signed_power, log_p),  # type: ignore[arg-type]  # partial of it
        lambda x: mpmath.sign(x) * ((1 + abs(x)) ** mpmath.exp(log_p) - 1) / mpmath.exp(log_p),
        lambda x: (1 + abs(x)) ** (mpmath.exp(log_p) - 1),
    )


def _steep(log_t: float) -> Exact:
    def y(x: mpmath.mpf) -> mpmath.mpf:
        return 1 / (1 + mpmath.exp(-mpmath.exp(log_t) * x))

    return Exact(
        _with(tails.temperature_sigmoid, log_t),  # type: ignore[arg-type]  # partial of it
        y,
        lambda x: mpmath.exp(log_t) * y(x) * y(-x),
        codomain=(0.0, 1.0),
        upward=(-2.5, -1.2, -0.4, -1e-3, 1e-3, 0.7, 1.5, 2.5),
    )


@pytest.mark.parametrize("parameters", [(0.0, 0.0), (0.7, 0.4), (-1.5, -1.0), (3.0, 1.3)], ids=str)
def test_sinh_arcsinh(parameters: tuple[float, float]) -> None:
    case = _sinh_arcsinh(*parameters)
    exactness.all_checks(case)
    exactness.inverse_survives_extremes(case, (-1e6, -1e3, -1e-8, 0.0, 1e-8, 1e3, 1e6))
    if parameters[1] < 1.0:
        exactness.integrates_to_one(case, exactness.standard_normal)


@pytest.mark.parametrize("parameters", [(-3.0, -1.0), (0.0, -4.0), (-0.5, 0.6)], ids=str)
def test_tail_transform(parameters: tuple[float, float]) -> None:
    case = _tail(*parameters)
    exactness.is_exact(case)
    exactness.agrees_with_autodiff(case)
    exactness.survives_extremes(case)
    exactness.has_the_manners_of_an_op(case)
    exactness.compiles(case)
    exactness.inverse_survives_extremes(case, (-1e30, -1e6, -1e3, -1e-8, 0.0, 1e-8, 1e3, 1e6, 1e30))


@pytest.mark.parametrize("log_p", [0.0, 1.0, -1.3, 1e-9])
def test_signed_power(log_p: float) -> None:
    case = _power(log_p)
    exactness.all_checks(case)
    exactness.inverse_survives_extremes(case, (-1e6, -1e3, -1e-8, 0.0, 1e-8, 1e3, 1e6))
    exactness.integrates_to_one(case, exactness.standard_normal)


@pytest.mark.parametrize("log_t", [0.0, 0.8, -1.2])
def test_temperature_sigmoid(log_t: float) -> None:
    case = _steep(log_t)
    exactness.all_checks(case)
    exactness.inverse_survives_extremes(case, (1.2e-38, 1e-8, 0.5, 1.0 - 2.0**-24))
    exactness.integrates_to_one(case, exactness.standard_normal)


@pytest.mark.parametrize("index", [0.05, 0.5, 1.5])
def test_tail_transform_makes_a_generalised_pareto_of_a_normal(index: float) -> None:
    log_index = torch.tensor(math.log(index), dtype=torch.float64)
    y = torch.tensor([0.0, 1e-8, 0.3, 2.0, 50.0, 1e4, 1e8], dtype=torch.float64)
    for sign in (1, -1):
        x, log_derivative = tails.tail_transform(sign * y, log_index, log_index, inverse=True)
        expected = stats.genpareto(index).logpdf(y.numpy()) - math.log(2.0)
        got = exactness.standard_normal(x) + log_derivative
        torch.testing.assert_close(got, torch.from_numpy(expected), rtol=1e-11, atol=1e-11)
        assert stats.norm.sf(sign * x.numpy()) == pytest.approx(0.5 * stats.genpareto(index).sf(y.numpy()), rel=1e-10)


def test_tail_transform_is_inverted_where_erfc_is_zero() -> None:
    log_index = torch.tensor(math.log(0.005), dtype=torch.float64)
    x = torch.tensor([-400.0, -60.0, -38.0, -10.0, 0.5, 1.0, 4.0, 8.0, 20.0, 39.0, 500.0], dtype=torch.float64)
    y, log_derivative = tails.tail_transform(x, log_index, log_index)
    back, inverse_log_derivative = tails.tail_transform(y, log_index, log_index, inverse=True)
    torch.testing.assert_close(back, x, rtol=1e-13, atol=0.0)
    torch.testing.assert_close(inverse_log_derivative, -log_derivative, rtol=1e-11, atol=0.0)


def test_half_normal_quantile_at_every_scale() -> None:
    energy = torch.logspace(-12, 8, 4001, dtype=torch.float64)
    z, log_ratio = tails._half_normal_quantile(energy)
    again, _ = tails._half_normal_energy(z)
    torch.testing.assert_close(again, energy, rtol=2e-14, atol=0.0)
    torch.testing.assert_close(log_ratio, energy - 0.5 * z * z, rtol=1e-9, atol=1e-7)
    single = tails._half_normal_quantile(energy.float())[0]
    torch.testing.assert_close(
        single.double(), tails._half_normal_quantile(energy.float().double())[0], rtol=1e-6, atol=0.0
    )


@pytest.mark.parametrize(
    "op", [tails.sinh_arcsinh, tails.tail_transform, tails.signed_power, tails.temperature_sigmoid]
)
def test_gradients_of_the_parameters(op: Callable[..., tuple[torch.Tensor, torch.Tensor]]) -> None:
    count = 2 if op in (tails.sinh_arcsinh, tails.tail_transform) else 1
    parameters = tuple(
        torch.tensor([[0.3], [-0.4]], dtype=torch.float64, requires_grad=True) + 0.1 * i for i in range(count)
    )
    x = torch.tensor([0.2, 0.45, 0.7], dtype=torch.float64, requires_grad=True)
    for inverse in (False, True):
        y, log_derivative = op(x, *parameters, inverse=inverse)
        assert y.shape == log_derivative.shape == (2, 3)
        assert torch.autograd.gradcheck(partial(op, inverse=inverse), (x, *parameters))
        assert torch.autograd.gradgradcheck(partial(op, inverse=inverse), (x, *parameters), atol=1e-4)


def test_smooth_bound() -> None:
    raw = torch.tensor([-math.inf, -1e6, -50.0, 0.0, 1e-8, 50.0, math.inf], requires_grad=True)
    y = tails.smooth_bound(raw, 2.0)
    assert (y.abs() <= 2.0).all() and y[3] == 0.0 and y[4] == raw[4]
    assert torch.autograd.grad(y.sum(), raw)[0].isfinite().all()
