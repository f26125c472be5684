"""Densities integrate to one: every elementwise map, perturbed by N(0, 1), on bases with ends and without.

Volumes are right only if log-derivatives are: a factor wrong by a thousandth shows.
"""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from torch.distributions import LogNormal, Normal, Uniform

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
from flowtorch import domains
from flowtorch.testing.sampling import perturb
from tests.maps import FIXED, LEARNABLE


def ends(constraint: torch.distributions.constraints.Constraint) -> tuple[float, float]:
    """Where an interval ends; infinities for the line."""
    box = domains.region(constraint)
    return (box.lower[0], box.upper[0]) if isinstance(box, domains.Box) else (-math.inf, math.inf)


def double(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def flows(plan: bij.Elementwise) -> list[tuple[dist.Flow, float, float]]:
    """A flow on a base with ends and one on a base without, and between which points the mass of the base lies."""
    low, high = ends(plan.domain)
    normal = Normal(double(0.0), double(1.0))
    if math.isfinite(low) and math.isfinite(high):
        onto = bij.Compose([bij.SigmoidTo(low=low, high=high), plan])
        return [(dist.Flow(Uniform(double(low), double(high)), plan), low, high), (dist.Flow(normal, onto), -8.0, 8.0)]
    if math.isfinite(low):
        start, end = low + 0.5, low + 3.0
        heavy = LogNormal(double(0.0), double(0.5))
        return [
            (dist.Flow(Uniform(double(start), double(end)), plan), start, end),
            (dist.Flow(heavy, plan), math.exp(-4.0), math.exp(4.0)),
        ]
    return [(dist.Flow(Uniform(double(-2.5), double(2.0)), plan), -2.5, 2.0), (dist.Flow(normal, plan), -8.0, 8.0)]


def integral(flow: dist.Flow, low: float, high: float, panels: int = 8000, nodes: int = 4) -> float:
    """Integrates the density by Gauss-Legendre in the images of equal panels of the base's mass.

    The panels use the forward values only, the density the inverse and its log-derivative only.
    """
    x = torch.linspace(low, high, panels + 1, dtype=torch.float64)
    inside = x.clamp(low + 1e-13 * (high - low), high - 1e-13 * (high - low))
    lower, upper = ends(flow.bijector.codomain)
    finite = [double(v) for v in (lower, upper) if math.isfinite(v)]
    with torch.no_grad():
        edges = torch.sort(torch.cat([flow.bijector.forward(inside), *(v.reshape(1) for v in finite)])).values
        left, width = edges[:-1, None], edges.diff()[:, None]
        points, weights = (torch.from_numpy(v) for v in numpy.polynomial.legendre.leggauss(nodes))
        density = flow.log_prob(left + width * (points + 1.0) / 2.0).exp()
        return float((density * weights * width / 2.0).sum())


@pytest.mark.parametrize("which", [0, 1], ids=["base with ends", "base without"])
@pytest.mark.parametrize("name", [*LEARNABLE, *FIXED])
def test_density_integrates_to_one(name: str, which: int) -> None:
    for seed in range(3 if name in LEARNABLE else 1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            flow, low, high = flows({**LEARNABLE, **FIXED}[name])[which]
        perturb(flow.double(), torch.Generator().manual_seed(seed), scale=1.0)
        assert integral(flow, low, high) == pytest.approx(1.0, abs=1e-4), seed


def test_a_log_derivative_that_is_off_by_a_thousandth_is_seen() -> None:
    flow = dist.Flow(Normal(double(0.0), double(1.0)), bij.Spline()).double()
    right = flow.bijector._inverse_and_log_det

    def wrong(y: torch.Tensor, context: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        x, log_det = right(y, context)
        return x, log_det + 1e-3

    flow.bijector._inverse_and_log_det = wrong  # type: ignore[method-assign]  # that is the point
    assert integral(flow, -8.0, 8.0) == pytest.approx(1.001, abs=1e-5)
