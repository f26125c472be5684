"""Inverses of residual maps: to a tolerance, in so many steps, with gradients, under transforms and exported."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from flowtorch.bijectors import Bijector, Invert
from flowtorch.bijectors.residual import BoundResidual, Residual
from flowtorch.ops.contraction import enough_steps
from flowtorch.testing import perturb

from .residual import BOTH, DENSE, Counted, draw, like, make

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


@BOTH
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-12])
def test_the_inverse_is_within_its_tolerance(plan: Any, shape: tuple[int, ...], tolerance: float) -> None:
    bound = make(replace(plan, tolerance=tolerance, lipschitz=0.95), shape, scale=20.0)
    x = 3.0 * draw(50, *shape)
    with torch.no_grad():
        back = bound.inverse(bound.forward(x))
    error = (back - x).flatten(1).norm(dim=1)
    assert bool((error <= tolerance * (1.0 + x.flatten(1).norm(dim=1))).all())
    assert tolerance < 1e-9 or error.max() > 1e-3 * tolerance  # and not found to more digits than were asked for


def worst(lipschitz: float, **options: Any) -> BoundResidual:
    """A linear map at its constant: iteration is as slow as it can be."""
    bound = make(Residual((), lipschitz=lipschitz, **options), (2,))
    with torch.no_grad():
        bound.net.layers[0].weight.copy_(torch.tensor([[-1.0, 0.0], [0.0, 0.5]]))
        bound.net.layers[0].bias.zero_()
    return bound


@pytest.mark.parametrize("lipschitz", [0.5, 0.9, 0.99])
def test_as_many_steps_are_taken_as_the_worst_case_needs(lipschitz: float, monkeypatch: pytest.MonkeyPatch) -> None:
    bound, calls = worst(lipschitz), Counted(monkeypatch, type(make(DENSE, (2,)).net), "apply_to")
    y = draw(20, 2)
    with torch.no_grad():
        x = bound.inverse(y)
    assert (bound.forward(x) - y).abs().max() < 1e-9
    expected = torch.stack([y[:, 0] / (1.0 - lipschitz), y[:, 1] / (1.0 + 0.5 * lipschitz)], -1)
    torch.testing.assert_close(x, expected, rtol=1e-9, atol=1e-9)
    assert 0.5 * enough_steps(lipschitz, 1e-10) < calls.calls <= enough_steps(lipschitz, 1e-10) + 4


def test_steps_are_limited_where_it_is_asked_for() -> None:
    bound, y = worst(0.9, steps=3), draw(2)
    x = y
    for _ in range(3):
        x = y - (bound.forward(x) - x).detach()
    torch.testing.assert_close(bound.inverse(y).detach(), x)
    assert (bound.forward(bound.inverse(y)) - y).abs().max() > 0.1


def test_steps_end_early_in_eager_mode_and_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = make(DENSE, (4,))
    calls = Counted(monkeypatch, type(bound.net), "apply_to")
    with torch.no_grad():
        bound.inverse(draw(30, 4))
        assert calls.calls / 3 < 60 < enough_steps(0.9, 1e-10)
        calls.calls, single = 0, bound.float()
        x = draw(30, 4).float()
        back = single.inverse(single.forward(x))
    # Rounding is met long before the tolerance of 1e-10.
    assert calls.calls / 3 < 60 and (back - x).abs().max() < 1e-5


def test_each_row_is_solved_as_if_it_were_alone() -> None:
    bound, y = make(DENSE, (4,)), draw(6, 4)
    y[1], y[2] = math.nan, 1e6 * y[2]
    with torch.no_grad():
        together = bound.inverse(y)
        for i in (0, 2, 3, 4, 5):
            torch.testing.assert_close(together[i], bound.inverse(y[i]), rtol=1e-12, atol=1e-12)
    assert together[1].isnan().all()


@BOTH
@pytest.mark.parametrize("context", [None, (2,)], ids=str)
def test_gradients_found_by_iteration_are_those_of_the_linear_solution(
    plan: Any, shape: tuple[int, ...], context: Any
) -> None:
    exact = make(replace(plan, tolerance=1e-13), shape, context)
    results = []
    for bound in (exact, like(exact, trace="roulette"), like(exact, trace="truncated")):
        y = draw(5, *shape).requires_grad_()
        given = [] if context is None else [draw(5, *context, seed=1).requires_grad_()]
        total = 1e-5 * (bound.inverse(y, *given) * draw(5, *shape, seed=2)).sum()
        wanted = [y, *given, *bound.parameters()]
        results.append(torch.autograd.grad(total, wanted, allow_unused=True))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a is not None and b is not None
            torch.testing.assert_close(b, a, rtol=1e-8, atol=1e-14)


def test_small_gradients_are_found_to_the_same_relative_accuracy() -> None:
    bound = make(Residual((9, 8), trace="truncated", tolerance=1e-6), (4,))
    y = draw(5, 4).requires_grad_()
    large, small = (torch.autograd.grad(size * bound.inverse(y).sum(), y)[0] / size for size in (1.0, 1e-9))
    torch.testing.assert_close(small, large, rtol=1e-5, atol=1e-5)


def test_gradients_found_by_iteration_under_transforms_and_compilation() -> None:
    exact = make(Residual((6,), lipschitz=0.3), (3,))
    bound, y, v = like(exact, trace="truncated"), draw(3), draw(3, seed=1)
    expected = torch.autograd.functional.jacobian(exact.inverse, y)
    torch.testing.assert_close(torch.func.jacrev(bound.inverse)(y), expected)
    torch.testing.assert_close(torch.func.jvp(bound.inverse, (y,), (v,))[1], expected @ v)
    mapped = torch.func.vmap(torch.func.grad(lambda t: bound.inverse(t) @ v), randomness="different")
    torch.testing.assert_close(mapped(y[None]), (expected.T @ v)[None])
    leaf = y.clone().requires_grad_()
    compiled = torch.compile(bound.inverse, fullgraph=True, backend="eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(leaf) @ v, leaf)[0], expected.T @ v)


def test_exact_forms_under_transforms() -> None:
    bound, y = make(Residual((6,), lipschitz=0.5, nonlinearity="tanh"), (3,)), draw(3)
    for call in (bound.forward_and_log_det, bound.inverse_and_log_det):

        def log_det(v: torch.Tensor, call: Callable[..., Any] = call) -> torch.Tensor:
            return call(v)[1]

        expected = torch.autograd.functional.hessian(log_det, y)
        torch.testing.assert_close(torch.func.hessian(log_det)(y), expected)
        torch.testing.assert_close(torch.func.jacfwd(torch.func.jacrev(log_det))(y), expected)


@pytest.mark.parametrize("plan", [Residual((6,), lipschitz=0.3), Invert(Residual((6,), lipschitz=0.3))], ids=str)
def test_both_directions_can_be_exported(plan: Bijector) -> None:
    bound, x = plan.bind((3,)).double(), draw(5, 3)
    perturb(bound, torch.Generator().manual_seed(0))
    with torch.no_grad():
        program = torch.export.export(bound, (x,))
        torch.testing.assert_close(program.module()(x), bound.forward(x))
