"""What the tests of elementwise ops share: an op, what it is in exact arithmetic, and the checks that all pass."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import mpmath
import pytest
import torch
from scipy import integrate
from torch.func import grad, hessian, jvp, vmap

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
EXTREMES = (-1e6, -1e3, -30.0, -1e-8, 0.0, 1e-8, 30.0, 1e3, 1e6)
REAL = (-6.0, -2.5, -0.4, -1e-3, 1e-3, 0.7, 3.0, 5.5)


@dataclass(frozen=True)
class Exact:
    """An op of ``(x, inverse=)``, and the same in exact arithmetic."""

    op: Callable[..., tuple[torch.Tensor, torch.Tensor]]
    exact: Callable[[mpmath.mpf], mpmath.mpf]
    slope: Callable[[mpmath.mpf], mpmath.mpf]
    domain: tuple[float, float] = (-math.inf, math.inf)
    codomain: tuple[float, float] = (-math.inf, math.inf)
    points: tuple[float, ...] = REAL
    extremes: tuple[float, ...] = EXTREMES
    upward: tuple[float, ...] | None = None  # those of the points whose images keep their digits

    def x(self, inverse: bool = False, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        """Points of the domain, or of the codomain."""
        if not inverse:
            return torch.tensor(self.points, dtype=dtype)
        return self.op(torch.tensor(self.upward or self.points, dtype=dtype))[0]


def is_exact(case: Exact) -> None:
    """Forward is right to rounding; the inverse solves the exact equation."""
    with mpmath.workdps(60):
        x = case.x()
        y, log_derivative = case.op(x)
        for i, v in enumerate(map(mpmath.mpf, x.tolist())):
            assert y[i].item() == pytest.approx(float(case.exact(v)), rel=2e-14, abs=1e-300), v
            expected = float(mpmath.log(abs(case.slope(v))))
            assert log_derivative[i].item() == pytest.approx(expected, rel=2e-14, abs=1e-14), v
        y = case.x(inverse=True)
        x, log_derivative = case.op(y, inverse=True)
        for i, v in enumerate(map(mpmath.mpf, x.tolist())):
            # What rounding x may do to y, and the rounding of y itself.
            slack = 8 * 2.0**-52 * float(abs(case.slope(v) * v) + abs(case.exact(v))) + 1e-300
            assert abs(y[i].item() - float(case.exact(v))) < slack, v
            expected = -float(mpmath.log(abs(case.slope(v))))
            assert log_derivative[i].item() == pytest.approx(expected, rel=1e-11, abs=1e-12), v


def agrees_with_autodiff(case: Exact) -> None:
    """Log-derivatives are those of automatic differentiation, in both directions, both modes, and the second too."""
    for inverse in (False, True):
        x = case.x(inverse)

        def op(t: torch.Tensor, inverse: bool = inverse) -> tuple[torch.Tensor, torch.Tensor]:
            return case.op(t, inverse=inverse)

        derivative = vmap(grad(lambda t, op=op: op(t)[0]))(x)
        torch.testing.assert_close(op(x)[1], derivative.abs().log(), rtol=1e-9, atol=1e-9)
        (_, _), (tangent, log_tangent) = jvp(op, (x,), (torch.ones_like(x),))
        torch.testing.assert_close(tangent, derivative)
        # (log |f'|)' f' = f''
        second = vmap(hessian(lambda t, op=op: op(t)[0]))(x)
        torch.testing.assert_close(log_tangent * derivative, second, rtol=1e-7, atol=1e-7)
        leaf = x.clone().requires_grad_()
        (reverse,) = torch.autograd.grad(op(leaf)[1].sum(), leaf)
        torch.testing.assert_close(reverse, log_tangent, rtol=1e-7, atol=1e-9)


def survives_extremes(case: Exact) -> None:
    """Finite where the exact result is, infinite with its sign where it is beyond the dtype, never NaN.

    Values stay within the codomain; gradients are finite, where an exact one beyond the dtype is given as 0.
    """
    for dtype in DTYPES:
        largest = mpmath.mpf(torch.finfo(dtype).max)
        x = torch.tensor(case.extremes, dtype=dtype)
        x = x[x.isfinite()].requires_grad_()  # 1e6 is beyond float16
        y, log_derivative = case.op(x)
        with mpmath.workdps(60):
            exact = [case.exact(mpmath.mpf(v)) for v in x.tolist()]
        for got, expected in zip(y.tolist(), exact, strict=True):
            assert not math.isnan(got)
            if abs(expected) > 1.01 * largest:
                assert got == math.copysign(math.inf, expected), (dtype, expected)
            elif abs(expected) < 0.5 * largest:
                assert math.isfinite(got), (dtype, expected)
                loose = {torch.float64: 1e-12, torch.float32: 1e-3}.get(dtype, 1.0)
                assert got == pytest.approx(float(expected), rel=loose, abs=1e-30 + torch.finfo(dtype).eps * 10)
        assert not log_derivative.isnan().any()
        if dtype in (torch.float32, torch.float64):
            assert log_derivative.isfinite().all()
        low, high = case.codomain
        assert (y >= low if low == -math.inf else y > low).all() and (y <= high if high == math.inf else y < high).all()
        for result in (y, log_derivative):
            (gradient,) = torch.autograd.grad(result.sum(), x, retain_graph=True)
            if dtype in (torch.float32, torch.float64):
                assert gradient.isfinite().all(), (dtype, x.tolist(), gradient.tolist())
            assert not gradient.isnan().any()


def inverse_survives_extremes(case: Exact, values: tuple[float, ...]) -> None:
    """The same of the inverse, at given values: finite, as the caller says, with finite gradients."""
    for dtype in (torch.float64, torch.float32):
        y = torch.tensor(values, dtype=dtype, requires_grad=True)
        results = case.op(y, inverse=True)
        for result in results:
            assert result.isfinite().all(), (dtype, result)
            (gradient,) = torch.autograd.grad(result.sum(), y, retain_graph=True)
            assert gradient.isfinite().all(), (dtype, gradient)
        assert (results[0] > case.domain[0]).all() and (results[0] < case.domain[1]).all()


def has_the_manners_of_an_op(case: Exact) -> None:
    """NaN stays NaN; any shape, dtype and device; inputs neither changed nor returned; float32 as good as it can be."""
    for inverse in (False, True):
        point = float(case.x(inverse)[3])
        results = case.op(torch.tensor([math.nan, point]), inverse=inverse)
        assert [r.isnan().tolist() for r in results] == [[True, False]] * 2
        for dtype, shape, device in itertools.product(DTYPES, ((), (0, 3), (2, 1, 3)), ("cpu", "meta")):
            x = torch.full(shape, point, dtype=dtype, device=device)
            for result in case.op(x, inverse=inverse):
                assert (result.shape, result.dtype, result.device) == (x.shape, x.dtype, x.device)
        x = case.x(inverse, torch.float32)
        before = x.clone()
        results = case.op(x, inverse=inverse)
        assert torch.equal(x, before)
        assert all(r.untyped_storage().data_ptr() != x.untyped_storage().data_ptr() for r in results)
        # The conditioning of the map itself: what rounding the input does.
        exact = case.op(x.double(), inverse=inverse)
        for single, double in zip(results, exact, strict=True):
            torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-5)
        strided = case.op(x.expand(2, -1).t(), inverse=inverse)
        torch.testing.assert_close(strided[0], results[0][:, None].expand(-1, 2))


def compiles(case: Exact) -> None:
    """Both directions are captured whole."""
    torch.compiler.reset()
    x, y = case.x(), case.x(inverse=True)

    def both(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        return [*case.op(x), *case.op(y, inverse=True)]

    torch.testing.assert_close(torch.compile(both, fullgraph=True, backend="eager")(x, y), both(x, y))


def integrates_to_one(case: Exact, log_density: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """A density pushed forward integrates to one, by adaptive quadrature over the codomain."""

    def density(y: float) -> float:
        x, log_derivative = case.op(torch.tensor(y, dtype=torch.float64), inverse=True)
        return float(torch.exp(log_density(x) + log_derivative))

    low, high = case.codomain
    middle = float(case.op(torch.tensor(0.5 * sum(case.points[3:5]), dtype=torch.float64))[0])
    total = sum(integrate.quad(density, a, b, limit=200)[0] for a, b in ((low, middle), (middle, high)))
    assert total == pytest.approx(1.0, abs=1e-7)


def standard_normal(x: torch.Tensor) -> torch.Tensor:
    """Its log-density."""
    return -0.5 * x * x - 0.5 * math.log(2.0 * math.pi)


def all_checks(case: Exact) -> None:
    """Every check that needs nothing but the case."""
    is_exact(case)
    agrees_with_autodiff(case)
    survives_extremes(case)
    has_the_manners_of_an_op(case)
    compiles(case)
