"""The numerical inverse: against closed forms, finite differences and its own report."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.polynomial.legendre import leggauss

from flowtorch.errors import OptionError
from flowtorch.ops.numerical_inverse import numerical_inverse, numerical_inverse_report
from flowtorch.ops.quadrature import clenshaw_curtis, gauss_legendre

Params = tuple[torch.Tensor, ...]
# Torch's own, raised once in a process, when forward-mode differentiation is used first.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


def sinh(x: torch.Tensor, params: Params) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = params
    log_cosh = x.abs() + torch.log1p(torch.exp(-2.0 * x.abs())) - math.log(2.0)
    return torch.sinh(x) * a.exp() + b, log_cosh + a


def exact(y: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.asinh((y - b) * torch.exp(-a))


def mixed(x: torch.Tensor, params: Params) -> tuple[torch.Tensor, torch.Tensor]:
    """No closed form."""
    a, b = params
    return x * a.exp() + torch.tanh(3.0 * x + b), torch.log(a.exp() + 3.0 / torch.cosh(3.0 * x + b) ** 2)


def draw(n: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, generator=generator, dtype=torch.float64).to(dtype) for _ in range(3)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_equals_the_closed_form_far_out_too(dtype: torch.dtype) -> None:
    a, b, _ = draw(50, dtype)
    y = torch.tensor([0.0, 1e-8, -1e-8, 1.0, -3.0, 1e3, -1e3, 1e6, -1e6], dtype=dtype)[:, None]
    report = numerical_inverse_report(sinh, y, (a, b))
    limit = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(report.x, exact(y, a, b), rtol=limit, atol=limit)
    assert bool(report.converged.all()) and int(report.steps.max()) <= 20
    assert float((report.residual.abs() / (1.0 + y.abs())).max()) < 100 * limit
    log_derivative = -sinh(exact(y, a, b), (a, b))[1]
    torch.testing.assert_close(report.log_derivative, log_derivative, rtol=10 * limit, atol=10 * limit)


def test_a_given_bracket_may_have_the_solution_at_its_ends() -> None:
    y = torch.tensor([0.0, 1.0, 0.25], dtype=torch.float64)
    ends = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    x, _ = numerical_inverse(lambda v, p: (v * v, torch.log(2.0 * v)), y, bracket=ends)
    torch.testing.assert_close(x, y.sqrt(), rtol=1e-12, atol=1e-10)  # at 0 the slope is 0: the tolerance


def test_first_and_second_derivatives_are_those_of_the_implicit_function() -> None:
    y, a, b = (t.requires_grad_() for t in draw(4))
    both = lambda y, a, b: numerical_inverse(mixed, y, (a, b))  # noqa: E731
    assert torch.autograd.gradcheck(both, (y, a, b))
    assert torch.autograd.gradgradcheck(both, (y, a, b))
    found = torch.autograd.grad(numerical_inverse(sinh, y, (a, b))[0].sum(), (y, a, b))
    expected = torch.autograd.grad(exact(y, a, b).sum(), (y, a, b))
    for g, e in zip(found, expected, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-12, atol=1e-12)


def test_gradients_reach_what_the_function_closes_over() -> None:
    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    x, _ = numerical_inverse(lambda v, p: (v * weight, torch.log(weight).expand_as(v)), torch.ones(1).double())
    (gradient,) = torch.autograd.grad(x.sum(), weight)
    assert gradient.item() == pytest.approx(-1.0 / 0.49)


def test_works_under_transforms_and_compilation() -> None:
    y, a, b = draw(5)
    scalar = lambda y, a, b: sum(numerical_inverse(mixed, y, (a, b)))  # noqa: E731
    mapped = torch.func.vmap(torch.func.grad(scalar, (0, 1, 2)))(y, a, b)
    leaves = [t.clone().requires_grad_() for t in (y, a, b)]
    expected = torch.autograd.grad(sum(t.sum() for t in numerical_inverse(mixed, leaves[0], tuple(leaves[1:]))), leaves)
    for g, e in zip(mapped, expected, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-10, atol=1e-10)
    _, tangent = torch.func.jvp(lambda v: numerical_inverse(mixed, v, (a, b))[0], (y,), (torch.ones_like(y),))
    reverse = torch.autograd.grad(numerical_inverse(mixed, leaves[0], (a, b))[0].sum(), leaves[0])[0]
    torch.testing.assert_close(tangent, reverse, rtol=1e-10, atol=1e-10)
    with torch.no_grad():
        _, again = torch.func.jvp(lambda v: numerical_inverse(mixed, v, (a, b))[0], (y,), (torch.ones_like(y),))
    torch.testing.assert_close(again, tangent)
    torch._dynamo.reset()
    compiled = torch.compile(lambda y: numerical_inverse(mixed, y, (a, b), steps=12), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(y), numerical_inverse(mixed, y, (a, b)), rtol=1e-10, atol=1e-10)
    torch._dynamo.reset()


def test_reports_what_did_not_converge() -> None:
    y = torch.tensor([0.5, 1.5], dtype=torch.float64)  # tanh does not reach the second

    def tanh(x: torch.Tensor, params: Params) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tanh(x), -2.0 * torch.log(torch.cosh(x.clamp(-300.0, 300.0)))

    report = numerical_inverse_report(tanh, y)
    assert report.converged.tolist() == [True, False] or abs(report.residual[1].item()) == pytest.approx(0.5)
    assert report.residual.abs().tolist() == pytest.approx([0.0, 0.5], abs=1e-12)
    few = numerical_inverse_report(mixed, torch.tensor([1e4]).double(), (torch.zeros(1), torch.zeros(1)), steps=1)
    assert not bool(few.converged.any()) and few.steps.tolist() == [1]


def test_infinity_and_nan_go_through_alone() -> None:
    y = torch.tensor([math.inf, 1.0, -math.inf, math.nan], dtype=torch.float64)
    x, log_derivative = numerical_inverse(sinh, y, (torch.zeros(4).double(), torch.zeros(4).double()))
    assert x[[0, 2]].tolist() == [math.inf, -math.inf] and x[1].item() == pytest.approx(math.asinh(1.0))
    assert x.isnan().tolist() == log_derivative.isnan().tolist() == [False, False, False, True]


@pytest.mark.parametrize("bad", [{"tolerance": 0.0}, {"tolerance": math.nan}, {"steps": 0}, {"expansions": 0}])
def test_refuses_bad_options(bad: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="expected"):
        numerical_inverse(sinh, torch.zeros(1), (torch.zeros(1), torch.zeros(1)), **bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2, 5, 32, 64])
def test_gauss_legendre_is_that_of_numpy(count: int) -> None:
    nodes, weights = leggauss(count)
    found = gauss_legendre(count)
    assert [u for u, _ in found] == pytest.approx(((nodes + 1.0) / 2.0).tolist(), abs=1e-14)
    assert [w for _, w in found] == pytest.approx((weights / 2.0).tolist(), abs=1e-14)


@pytest.mark.parametrize("count", [1, 2, 3, 6, 33])
def test_clenshaw_curtis_is_exact_below_its_count(count: int) -> None:
    found = clenshaw_curtis(count)
    for degree in range(count):
        assert sum(w * u**degree for u, w in found) == pytest.approx(1.0 / (degree + 1.0), abs=1e-14)
    if count > 1:
        angles = np.arange(count) * math.pi / (count - 1)
        assert [u for u, _ in found] == pytest.approx((0.5 - 0.5 * np.cos(angles)).tolist(), abs=1e-15)
