"""Inverses by sweeps over all coordinates: those found step by step, with their gradients, in fewer passes."""

from __future__ import annotations

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.bijectors import BoundBijector
from flowtorch.bijectors.fixed_point import fixed_point
from flowtorch.errors import NotSupportedError
from flowtorch.testing import check_bijector, perturb
from tests.maps import MADE

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
PLANS = {
    "affine": bij.Autoregressive(bij.Affine(), MADE, inversion="parallel"),
    "spline along an axis": bij.Autoregressive(bij.Spline(count_bins=4), MADE, dim=0, inversion="parallel"),
    "onto the unit interval": bij.Autoregressive(bij.TemperatureSigmoid(), MADE, inversion="parallel"),
    "a spline of a box": bij.Autoregressive(bij.Spline(count_bins=4, tails=None), MADE, inversion="parallel"),
}


def both(plan: bij.Autoregressive, context: tuple[int, ...] | None = (2,)) -> list[BoundBijector[bij.Bijector]]:
    """The plan bound, and the same with the same parameters, inverted step by step."""
    sequential = bij.Autoregressive(plan.elementwise, plan.params_fn, dim=plan.dim)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = [p.bind((4, 3), context).double() for p in (plan, sequential)]
    perturb(made[0], torch.Generator().manual_seed(0))
    made[1].load_state_dict(made[0].state_dict())
    return made


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", PLANS)
def test_values_log_dets_and_gradients_are_those_of_the_steps(name: str) -> None:
    made = both(PLANS[name])
    y = made[0].forward(torch.tanh(draw(20, 4, 3)), draw(20, 2, seed=1)).detach()
    results = []
    for bound in made:
        at, context = y.clone().requires_grad_(), draw(20, 2, seed=1).requires_grad_()
        x, log_det = bound.inverse_and_log_det(at, context)
        total = (x * draw(20, 4, 3, seed=2)).sum() + (log_det * draw(20, seed=3)).sum()
        results.append([x, log_det, *torch.autograd.grad(total, [at, context, *bound.parameters()])])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", PLANS)
def test_the_kit(name: str) -> None:
    check_bijector(PLANS[name], (2, 3), (2,), tolerance=1e-7)


def test_outside_of_the_codomain_the_density_is_zero() -> None:
    bound = both(PLANS["onto the unit interval"], None)[0]
    y = torch.full((2, 4, 3), 0.5, dtype=torch.float64)
    y[1, 2, 1] = 1.5
    assert torch.isneginf(bound.inverse_and_log_det(y)[1]).tolist() == [False, True]


def test_short_dependences_take_few_sweeps_and_none_take_more_than_there_are_steps() -> None:
    calls = 0

    def sweep(x: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return 1.0 + 0.5 * torch.cat([torch.zeros(1, dtype=x.dtype), x[:-1] * mask])

    mask = torch.ones(99, dtype=torch.float64)
    x = fixed_point(sweep, torch.zeros(100, dtype=torch.float64), most=100)
    torch.testing.assert_close(x, 2.0 - 0.5 ** torch.arange(100.0, dtype=torch.float64), rtol=1e-6, atol=0.0)
    assert calls < 25
    calls, mask = 0, torch.full((99,), 4.0, dtype=torch.float64)
    x = fixed_point(sweep, torch.zeros(100, dtype=torch.float64), most=100)
    torch.testing.assert_close(x, 2.0 ** torch.arange(1.0, 101.0, dtype=torch.float64) - 1.0)
    assert calls <= 101


def test_second_derivatives_are_refused_rather_than_wrong() -> None:
    bound = both(PLANS["affine"], None)[0]
    y = draw(5, 4, 3).requires_grad_()
    with pytest.raises(NotSupportedError, match="Use inversion='sequential'"):
        torch.autograd.grad(bound.inverse(y).square().sum(), y, create_graph=True)


def test_transforms_and_compilation_go_step_by_step() -> None:
    parallel, sequential = both(PLANS["affine"], None)
    y = draw(4, 3)
    for function in (torch.func.jacrev, torch.func.hessian):
        torch.testing.assert_close(function(parallel.inverse)(y), function(sequential.inverse)(y))
    compiled = torch.compile(parallel.inverse, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(y), sequential.inverse(y))


def test_the_masks_of_made_are_kept() -> None:
    plan = bij.Autoregressive(bij.Affine(), params.MADE((9,), permutation=(2, 0, 1)), inversion="parallel")
    check_bijector(plan, (3,), tolerance=1e-7)
