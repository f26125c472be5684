"""Extreme points: every elementwise map at zero, next to it, at the ends of its box, and far outside.

Results are finite wherever the exact one is finite in the dtype, else infinite with the right sign, and never NaN.
Gradients, of points and parameters, are finite.
"""

from __future__ import annotations

import math

import pytest
import torch

import flowtorch.bijectors as bij
from flowtorch import domains
from flowtorch.testing.sampling import perturb
from tests.maps import FIXED, LEARNABLE

MAPS = {**LEARNABLE, **FIXED}
every_map = pytest.mark.parametrize("name", MAPS)
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])


def bind(plan: bij.Elementwise, dtype: torch.dtype, scale: float) -> bij.BoundBijector[bij.Bijector]:
    """The map of one coordinate, its parameters in both dtypes the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bound = plan.bind(())
    perturb(bound.float(), torch.Generator().manual_seed(1), scale)
    return bound.to(dtype)


def points(plan: bij.Elementwise, dtype: torch.dtype, inverse: bool) -> torch.Tensor:
    """Zero, its neighbours, the ends of a box, and far out: those of them in the domain, or codomain."""
    sides = getattr(plan, "bound", 1.0)
    sides = sides if isinstance(sides, tuple) else (-sides, sides)
    knots = [k * side for k in (0.5, 1.0, 1.0 + 1e-6) for side in sides]
    x = torch.tensor([0.0, *knots, *(s * v for v in (1e-8, 30.0, 1e3, 1e6) for s in (-1.0, 1.0))], dtype=dtype)
    region = domains.region(plan.codomain if inverse else plan.domain)
    if isinstance(region, domains.Box) and not region.is_real:
        low, high = region.lower[0], region.upper[0]
        near = [v + d for v, d in ((low, 1e-6), (high, -1e-6)) if math.isfinite(v)]
        x = torch.cat([x, torch.tensor(near, dtype=dtype)])
        x = x[(x > low) & (x < high)]
    return x


def run(
    bound: bij.BoundBijector[bij.Bijector], x: torch.Tensor, inverse: bool
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Value, log-derivative, and the gradients of both by the points and all parameters."""
    x = x.clone().requires_grad_()
    y, log_det = bound.inverse_and_log_det(x) if inverse else bound.forward_and_log_det(x)
    inputs = [x, *bound.parameters()]
    gradients = [
        gradient
        for result in (y, log_det)
        if result.requires_grad
        for gradient in torch.autograd.grad(result.sum(), inputs, retain_graph=True, allow_unused=True)
        if gradient is not None
    ]
    return y.detach(), log_det.detach(), gradients


@both_ways
@both_dtypes
@every_map
@pytest.mark.parametrize("scale", [0.0, 1.0], ids=["as made", "perturbed"])
def test_extreme_points(name: str, dtype: torch.dtype, inverse: bool, scale: float) -> None:
    plan = MAPS[name]
    x = points(plan, dtype, inverse)
    y, log_det, gradients = run(bind(plan, dtype, scale), x, inverse)
    assert not y.isnan().any() and not log_det.isnan().any(), (x, y, log_det)
    for gradient in gradients:
        assert gradient.isfinite().all(), (x, gradients)
    exact, _, _ = run(bind(plan, torch.float64, scale), x.double(), inverse)
    largest = torch.finfo(dtype).max
    small, large = exact.abs() < 0.5 * largest, exact.abs() > 1.01 * largest
    assert y[small].isfinite().all(), (x, y, exact)
    assert torch.equal(y[large], exact[large].sign().to(dtype) * math.inf), (x, y, exact)


@both_ways
@both_dtypes
@every_map
def test_nan_stays_nan_in_its_own_place(name: str, dtype: torch.dtype, inverse: bool) -> None:
    plan = MAPS[name]
    bound = bind(plan, dtype, 0.5)
    x = torch.tensor([math.nan, *points(plan, dtype, inverse)[:1].tolist()], dtype=dtype)
    y, log_det, _ = run(bound, x, inverse)
    assert (y.isnan() | log_det.isnan()).tolist() == [True, False]
