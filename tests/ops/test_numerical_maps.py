"""Maps with numerical inverses: against scipy, mpmath, quadrature and autodiff, and at the extremes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, interpolate, stats

from flowtorch.errors import OptionError, ShapeError
from flowtorch.ops._normal import inverse_log_cdf, log_mills, scaled_tail
from flowtorch.ops.affine import log_scale
from flowtorch.ops.bernstein import bernstein
from flowtorch.ops.deep_sigmoid import deep_sigmoid, logistic_mixture_cdf
from flowtorch.ops.dense_deep_sigmoid import dense_deep_sigmoid
from flowtorch.ops.gaussian_mixture_cdf import gaussian_mixture_cdf
from flowtorch.ops.monotonic_integral import monotonic_integral
from flowtorch.ops.monotonic_network import MonotonicWeights, monotonic_network
from flowtorch.ops.sum_of_squares import sum_of_squares

Op = Callable[..., tuple[torch.Tensor, torch.Tensor]]
BOUND = 2.5
WEIGHTS = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(9))


def wave(t: torch.Tensor, params: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """A small network: smooth, and of any size."""
    w = WEIGHTS.to(t)
    return (torch.tanh(w[0] * t.unsqueeze(-1) + w[1] + params[0].unsqueeze(-1)) * w[2]).sum(-1)


def integral(
    x: torch.Tensor, h: torch.Tensor, offset: torch.Tensor, **options: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    return monotonic_integral(x, wave, (h,), offset, bound=BOUND, rule=24, **options)


def network_weights() -> MonotonicWeights:
    generator = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(shape, dtype=torch.float64, generator=generator)  # noqa: E731
    return MonotonicWeights((draw(5, 1), draw(4, 5), draw(1, 4)), (draw(5), draw(4)), draw(5, 3))


NETWORK = network_weights()


def network(
    x: torch.Tensor, h: torch.Tensor, *params: torch.Tensor, **options: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    weights = MonotonicWeights(
        tuple(w.to(x) for w in NETWORK.raw), tuple(b.to(x) for b in NETWORK.biases), NETWORK.from_conditions.to(x)
    )
    return monotonic_network(x, h, *params, weights, **options)


def polynomial(x: torch.Tensor, *params: torch.Tensor, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return bernstein(x, *params, bound=BOUND, **options)


@dataclass(frozen=True)
class Case:
    """A map and the trailing shapes of its parameters."""

    op: Op
    shapes: tuple[tuple[int, ...], ...]

    def draw(self, *shape: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        drawn = [torch.randn((*shape, *s), generator=generator, dtype=torch.float64) for s in self.shapes]
        return [(scale * p).to(dtype) for p in drawn]


CASES = {
    "bernstein": Case(polynomial, ((7,), ())),
    "sum of squares": Case(sum_of_squares, ((2, 4), ())),
    "deep sigmoid": Case(deep_sigmoid, ((5,), (5,), (5,))),
    "logistic mixture": Case(logistic_mixture_cdf, ((5,), (5,), (5,), (), ())),
    "gaussian mixture": Case(gaussian_mixture_cdf, ((5,), (5,), (5,))),
    "dense deep sigmoid": Case(dense_deep_sigmoid, ((4,), (4,), (4, 4), (3, 4), (3,), (3,), (1, 3))),
    "monotonic integral": Case(integral, ((), ())),
    "monotonic network": Case(network, ((3,), (), (), ())),
}
every_map = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
floats = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)


@every_map
@both_ways
def test_log_derivative_is_that_of_autodiff(case: Case, inverse: bool) -> None:
    x = torch.linspace(-4.0, 4.1, 60, dtype=torch.float64).requires_grad_()
    y, log_derivative = case.op(x, *case.draw(60), inverse=inverse)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_derivative, slope.log(), rtol=1e-9, atol=1e-9)


@every_map
def test_round_trip(case: Case) -> None:
    x, params = torch.linspace(-4.0, 4.1, 60, dtype=torch.float64)[:, None], case.draw(30)
    y, log_derivative = case.op(x, *params)
    back, inverse_log_derivative = case.op(y, *params, inverse=True)
    assert y.shape == log_derivative.shape == back.shape == (60, 30)
    torch.testing.assert_close(back, x.expand_as(back), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(inverse_log_derivative, -log_derivative, rtol=1e-8, atol=1e-8)
    assert bool((y.diff(dim=0) > 0.0).all())


@every_map
@floats
def test_extremes_are_finite_or_infinite_with_the_right_sign(case: Case, dtype: torch.dtype) -> None:
    sides = [0.0, 1e-8, BOUND, BOUND - 1e-6, 1e3, 1e6]
    x = torch.tensor([*sides, *(-v for v in sides)], dtype=dtype)[:, None].requires_grad_()
    params = [p.requires_grad_() for p in case.draw(40, dtype=dtype)]
    y, log_derivative = case.op(x, *params)
    exact_y, exact_log = case.op(x.detach().double(), *(p.detach().double() for p in params))
    fits = exact_y.abs() < torch.finfo(dtype).max
    assert bool(y[fits].isfinite().all()) and bool(log_derivative.isfinite().all())
    assert bool((y[~fits] == torch.sign(exact_y[~fits]) * torch.inf).all())
    torch.testing.assert_close(log_derivative.double(), exact_log, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(y[fits].double(), exact_y[fits], rtol=1e-4, atol=1e-4)
    back, inverse_log = case.op(y, *params, inverse=True)
    assert not bool(back.isnan().any() | inverse_log.isnan().any())
    torch.testing.assert_close(back[fits].double(), x.expand_as(back)[fits].double(), rtol=1e-3, atol=1e-3)
    solved, solved_log = case.op(x, *params, inverse=True)  # the same numbers as images
    assert bool(solved.isfinite().all()) and bool(solved_log.isfinite().all())
    exact_solved, exact_solved_log = case.op(x.detach().double(), *(p.detach().double() for p in params), inverse=True)
    torch.testing.assert_close(solved.double(), exact_solved, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(solved_log.double(), exact_solved_log, rtol=1e-2, atol=1e-2)
    for value, kept in (
        (y, y),
        (log_derivative, log_derivative),
        (back, back[fits]),
        (inverse_log, inverse_log[fits]),
        (solved, solved),
        (solved_log, solved_log),
    ):
        assert value.shape == y.shape
        gradients = torch.autograd.grad(kept.sum(), [x, *params], retain_graph=True, materialize_grads=True)
        assert all(bool(g.isfinite().all()) for g in gradients)


@every_map
def test_second_derivatives(case: Case) -> None:
    x = torch.tensor([-1.3, 0.4], dtype=torch.float64).requires_grad_()
    params = [p.requires_grad_() for p in case.draw(2, scale=0.5)]
    f = lambda x, *p: torch.sin(case.op(x, *p, inverse=True)[0])  # noqa: E731
    assert torch.autograd.gradcheck(f, (x, *params), atol=1e-6)
    assert torch.autograd.gradgradcheck(f, (x, *params), atol=1e-5)


@every_map
def test_derivative_integrates_to_the_rise(case: Case) -> None:
    params = case.draw(scale=0.7)
    f = lambda v: case.op(torch.tensor(v, dtype=torch.float64), *params)  # noqa: E731
    rise = sum(
        integrate.quad(lambda v: f(v)[1].exp().item(), a, a + 0.5, epsabs=1e-12)[0] for a in (0.0, 0.5, 1.0, 1.5)
    )
    assert (f(2.0)[0] - f(0.0)[0]).item() == pytest.approx(rise, abs=1e-8)  # ELUs have kinks, of the second order


@every_map
def test_density_integrates_to_one(case: Case) -> None:
    params = case.draw(4)
    x = torch.linspace(-9.0, 9.0, 4001, dtype=torch.float64)[:, None]
    y, _ = case.op(x, *params)  # unequal steps, in y, over all that a normal base puts there
    z, log_derivative = case.op(y, *params, inverse=True)
    density = torch.exp(log_derivative - 0.5 * z * z) / math.sqrt(2.0 * math.pi)
    total = torch.trapezoid(density, y, dim=0)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0.0, atol=1e-4)


@every_map
@both_ways
def test_narrow_dtypes_and_broadcasting(case: Case, inverse: bool) -> None:
    x = torch.linspace(-2.0, 2.0, 6, dtype=torch.bfloat16).reshape(2, 3, 1)
    params = case.draw(4, scale=0.3, dtype=torch.bfloat16)
    y, log_derivative = case.op(x, *params, inverse=inverse)
    assert y.shape == log_derivative.shape == (2, 3, 4)
    if case.op not in (integral, network):  # whose dtype is that of the weights
        assert y.dtype == log_derivative.dtype == torch.bfloat16
        exact, _ = case.op(x.double(), *(p.double() for p in params), inverse=inverse)
        torch.testing.assert_close(y.double(), exact, rtol=0.01, atol=0.01)


# --- each against its formula


def test_bernstein_is_that_of_scipy() -> None:
    increments, offset = CASES["bernstein"].draw()
    x = torch.linspace(-BOUND, BOUND, 40, dtype=torch.float64)
    slopes = 1e-3 + np.logaddexp(0.0, increments.numpy() + math.log(math.expm1(1.0 - 1e-3)))
    theta = np.concatenate([[0.0], np.cumsum(slopes * 2.0 * BOUND / 7)])
    theta += float(offset) - theta[-1] / 2.0
    expected = interpolate.BPoly(theta[:, None], [-BOUND, BOUND])
    y, log_derivative = polynomial(x, increments, offset)
    assert y.tolist() == pytest.approx(expected(x.numpy()).tolist(), abs=1e-13)
    assert log_derivative.exp().tolist() == pytest.approx(expected.derivative()(x.numpy()).tolist(), rel=1e-12)
    outside, _ = polynomial(torch.tensor([-7.0, 7.0], dtype=torch.float64), increments, offset)
    straight = [theta[0] + slopes[0] * (BOUND - 7.0), theta[-1] + slopes[-1] * (7.0 - BOUND)]
    assert outside.tolist() == pytest.approx(straight, abs=1e-13)


def test_sum_of_squares_is_its_polynomial() -> None:
    coefficients, offset = CASES["sum of squares"].draw()
    a = coefficients.numpy() + np.array([[1.0, -0.03, 0.0, 0.0], [1.0, 0.03, 0.0, 0.0]]) * [
        math.sqrt(0.999 / 2),
        1,
        1,
        1,
    ]
    p = sum((np.polynomial.Polynomial(row) ** 2 for row in a), np.polynomial.Polynomial([1e-3]))
    x = torch.linspace(-3.0, 3.0, 40, dtype=torch.float64)
    y, log_derivative = sum_of_squares(x, coefficients, offset)
    assert y.tolist() == pytest.approx((float(offset) + p.integ()(x.numpy())).tolist(), rel=1e-12)
    assert log_derivative.tolist() == pytest.approx(np.log(p(x.numpy())).tolist(), abs=1e-11)


@pytest.mark.parametrize("v", [-1e6, -200.0, -3.0, 0.0, 0.5, 40.0, 1e6])
def test_mixtures_are_exact_in_the_tails(v: float) -> None:
    logits, raw, locs = CASES["deep sigmoid"].draw(scale=0.8)
    x, spread = torch.tensor(v, dtype=torch.float64), torch.linspace(-0.5, 0.5, 5, dtype=torch.float64)
    with mpmath.workdps(60 if abs(v) < 1e3 else 30):
        w = [mpmath.mpf(t) for t in torch.softmax(logits, 0).tolist()]
        slopes = [mpmath.mpf(t) for t in log_scale(raw, scale_fn="exp").exp().tolist()]
        z = [s * mpmath.mpf(v) + b for s, b in zip(slopes, (locs + spread).tolist(), strict=True)]
        upper = mpmath.fsum(p / (1 + mpmath.exp(-t)) for p, t in zip(w, z, strict=True))
        lower = mpmath.fsum(p / (1 + mpmath.exp(t)) for p, t in zip(w, z, strict=True))
        density = mpmath.fsum(
            p * s / (2 + mpmath.exp(t) + mpmath.exp(-t)) for p, s, t in zip(w, slopes, z, strict=True)
        )
        y, log_derivative = deep_sigmoid(x, logits, raw, locs)
        assert y.item() == pytest.approx(float(mpmath.log(upper / lower)), rel=1e-13, abs=1e-13)
        assert log_derivative.item() == pytest.approx(float(mpmath.log(density / upper / lower)), abs=1e-8)


def test_logistic_mixture_is_that_of_scipy() -> None:
    logits, locs, raw, loc, raw_scale = CASES["logistic mixture"].draw()
    x = np.linspace(-6.0, 6.0, 25)
    m = (locs + torch.linspace(-0.5, 0.5, 5)).numpy()[:, None]
    s = log_scale(raw, scale_fn="exp").exp().numpy()[:, None]
    p = (torch.softmax(logits, 0).numpy()[:, None] * stats.logistic.cdf(x, m, s)).sum(0)
    expected = log_scale(raw_scale, scale_fn="exp").exp().item() * np.log(p / (1.0 - p)) + loc.item()
    y, _ = logistic_mixture_cdf(torch.from_numpy(x), logits, locs, raw, loc, raw_scale)
    assert y.tolist() == pytest.approx(expected.tolist(), rel=1e-9, abs=1e-9)


def test_gaussian_mixture_is_that_of_scipy() -> None:
    logits, locs, raw = CASES["gaussian mixture"].draw()
    spread = torch.linspace(-0.5, 0.5, 5, dtype=torch.float64)
    x = np.linspace(-4.0, 4.0, 25)
    m = (locs + spread).numpy()[:, None]
    s = (log_scale(raw, scale_fn="exp").exp() * torch.sqrt(1 - (spread**2).mean())).numpy()[:, None]
    p = (torch.softmax(logits, 0).numpy()[:, None] * stats.norm.cdf(x, m, s)).sum(0)
    y, _ = gaussian_mixture_cdf(torch.from_numpy(x), logits, locs, raw)
    keep = (p > 1e-6) & (p < 0.99)  # further right the oracle's quantiles are rounded
    assert y.numpy()[keep].tolist() == pytest.approx(stats.norm.ppf(p[keep]).tolist(), abs=1e-10)


@pytest.mark.parametrize("v", [-1e6, -1e3, -31.0, -29.0, -5.0, -1.01, -0.99, 0.0])
def test_normal_tails(v: float) -> None:
    z = torch.tensor(v, dtype=torch.float64, requires_grad=True)
    with mpmath.workdps(40):
        log_p = mpmath.log(mpmath.erfc(-mpmath.mpf(v) / mpmath.sqrt(2)) / 2)
        log_ratio = log_p + mpmath.mpf(v) ** 2 / 2 + mpmath.log(2 * mpmath.pi) / 2
        hazard = mpmath.exp(-log_ratio)
    value = torch.log(scaled_tail(-z)) - 0.5 * z * z
    (first,) = torch.autograd.grad(value, z, create_graph=True)
    (second,) = torch.autograd.grad(first, z)
    assert value.item() == pytest.approx(float(log_p), rel=1e-14)
    assert log_mills(z).item() == pytest.approx(float(log_ratio), abs=1e-12)
    assert first.item() == pytest.approx(float(hazard), rel=1e-13)
    assert second.item() == pytest.approx(float(-hazard * (v + hazard)), rel=1e-11)
    assert inverse_log_cdf(value).item() == pytest.approx(v, rel=1e-14, abs=1e-15)


def test_monotonic_integral_is_that_of_scipy() -> None:
    h, offset = CASES["monotonic integral"].draw()

    def g(t: float) -> float:
        return log_scale(wave(torch.tensor([t], dtype=torch.float64), (h,)), scale_fn="exp").exp().item()

    for v in (-7.0, -BOUND, -1.0, 0.3, 2.0, 6.0):
        inner = max(min(v, BOUND), -BOUND)
        expected = offset.item() + integrate.quad(g, 0.0, inner, epsabs=1e-13)[0] + (v - inner) * g(inner)
        x = torch.tensor(v, dtype=torch.float64)
        y, log_derivative = monotonic_integral(x, wave, (h,), offset, bound=BOUND, rule=48)
        assert y.item() == pytest.approx(expected, abs=2e-9)
        assert integral(x, h, offset)[0].item() == pytest.approx(expected, abs=1e-7)  # 24 nodes
        assert log_derivative.exp().item() == pytest.approx(g(inner), rel=1e-12)


def test_dense_deep_sigmoid_of_one_layer_is_a_deep_sigmoid() -> None:
    logits, raw, biases = CASES["deep sigmoid"].draw()
    x = torch.linspace(-30.0, 30.0, 20, dtype=torch.float64)
    for got, expected in zip(
        dense_deep_sigmoid(x, raw, biases, logits[None]), deep_sigmoid(x, logits, raw, biases), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-13)


def test_dense_deep_sigmoid_is_its_formula() -> None:
    a, b, w, u, a2, b2, w2 = CASES["dense deep sigmoid"].draw()
    s4, s3 = torch.linspace(-0.5, 0.5, 4, dtype=torch.float64), torch.linspace(-0.5, 0.5, 3, dtype=torch.float64)
    slope = lambda raw: log_scale(raw, scale_fn="exp").exp()  # noqa: E731
    x = torch.linspace(-4.0, 4.0, 20, dtype=torch.float64)
    first = torch.sigmoid(slope(a) * x[:, None] + b + s4) @ torch.softmax(w + 2.0 * s4[:, None] * s4, -1).T
    inner = torch.logit(first) @ torch.softmax(u, -1).T
    expected = torch.logit(torch.sigmoid(slope(a2) * inner + b2 + s3) @ torch.softmax(w2, -1).T)[:, 0]
    torch.testing.assert_close(dense_deep_sigmoid(x, a, b, w, u, a2, b2, w2)[0], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["deep sigmoid", "logistic mixture", "gaussian mixture", "dense deep sigmoid"])
@pytest.mark.parametrize("size", [5.0, 50.0])
def test_huge_parameters_give_finite_results(name: str, size: float) -> None:
    """Components far apart leave plateaus in between, where each one's own density is below the least float32."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(200, *s) for s in CASES[name].shapes]
    params = [(size * torch.randn(s, generator=generator)).requires_grad_() for s in shapes]
    x = (10.0 * torch.randn(200, generator=generator)).requires_grad_()
    for inverse in (False, True):
        results = CASES[name].op(x, *params, inverse=inverse)
        gradients = torch.autograd.grad([r.sum() for r in results], [x, *params])
        assert all(bool(t.isfinite().all()) for t in (*results, *gradients))


# --- at zero, and refusals


def test_zeros_are_near_the_identity() -> None:
    x = torch.linspace(-3.0, 3.0, 31, dtype=torch.float64)
    for name, limit in (("bernstein", 1e-14), ("sum of squares", 0.017)):
        y, _ = CASES[name].op(x, *(torch.zeros_like(p) for p in CASES[name].draw()))
        assert float((y - x).abs().max()) <= limit
    for name, low, high in (
        ("deep sigmoid", 0.93, 1.0),
        ("dense deep sigmoid", 0.86, 1.0),
        ("logistic mixture", 0.93, 1.0),
        ("gaussian mixture", 0.97, 1.16),
    ):
        y, log_derivative = CASES[name].op(x, *(torch.zeros_like(p) for p in CASES[name].draw()))
        assert low <= float(log_derivative.exp().min()) <= float(log_derivative.exp().max()) <= high
        assert y[15].item() == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("name", ["deep sigmoid", "logistic mixture", "gaussian mixture", "sum of squares"])
def test_components_do_not_start_equal(name: str) -> None:
    params = [torch.zeros_like(p).requires_grad_() for p in CASES[name].draw()]
    y, log_derivative = CASES[name].op(torch.tensor([0.7, -1.1], dtype=torch.float64).reshape(2), *params)
    gradient = torch.autograd.grad((y * torch.cos(y)).sum() + log_derivative.sum(), params[0])[0]
    rows = gradient.reshape(gradient.shape[0], -1)
    assert len({tuple(r) for r in rows.tolist()}) == len(rows)


def test_refusals() -> None:
    x, k, scalar = torch.zeros(2), torch.zeros(3), torch.zeros(())
    for op in (deep_sigmoid, gaussian_mixture_cdf):
        with pytest.raises(ShapeError, match="one size"):
            op(x, k, torch.zeros(4), k)
    with pytest.raises(ShapeError, match="one size"):
        logistic_mixture_cdf(x, torch.zeros(0), torch.zeros(0), torch.zeros(0), scalar, scalar)
    with pytest.raises(ShapeError, match="1 to 100"):
        bernstein(x, torch.zeros(101), scalar)
    with pytest.raises(ShapeError, match="two last axes"):
        sum_of_squares(x, k, scalar)
    for bad in ({"bound": 0.0}, {"min_slope": 1.0}):
        with pytest.raises(OptionError, match="expected"):
            bernstein(x, k, scalar, **bad)
    with pytest.raises(OptionError, match="min_slope"):
        sum_of_squares(x, torch.zeros(2, 3), scalar, min_slope=0.0)
    for shapes in ((k,), (k, k, torch.zeros(2, 3)), (k, k, torch.zeros(2, 3), torch.zeros(3, 3), k, k, k[None])):
        with pytest.raises(ShapeError, match="one output in the end"):
            dense_deep_sigmoid(x, *shapes)
    weights = MonotonicWeights((torch.zeros(3, 1), torch.zeros(1, 4)), (k,), torch.zeros(3, 2))
    with pytest.raises(ShapeError, match="for biases of sizes"):
        monotonic_network(x, torch.zeros(2), scalar, scalar, scalar, weights)
    with pytest.raises(OptionError, match="bound"):
        monotonic_integral(x, lambda t, p: t, (), scalar, bound=math.inf)
