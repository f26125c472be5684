"""Small flows in float64, away from their initial values, and what they are compared with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats
import torch
from torch.distributions import Distribution, Independent, Normal

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.distributions import Flow
from flowtorch.testing import autodiff_log_det, perturb

# Small and smooth: finite differences hold everywhere.
NET = params.DenseNN((7, 6), nonlinearity=torch.nn.Tanh)
MADE = params.MADE((7, 6), nonlinearity=torch.nn.Tanh)
QUADRATIC = bij.Spline(count_bins=4, order="quadratic", bound=2.5)
TOLERANCE = 1e-8


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers in float64, the same for the same seed."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def normal(*shape: int) -> Distribution:
    """A float64 base with another mean and deviation in each coordinate."""
    size = math.prod(shape)
    loc = torch.linspace(-0.4, 0.7, size, dtype=torch.float64).reshape(shape)
    scale = torch.linspace(0.8, 1.3, size, dtype=torch.float64).reshape(shape)
    return Independent(Normal(loc, scale), len(shape))


def make(base: Distribution | torch.nn.Module, plan: bij.Bijector, *, seed: int = 0, **options: Any) -> Flow:
    """A float64 flow whose parameters are away from where they start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow = Flow(base, plan, **options).double()
    perturb(flow, torch.Generator().manual_seed(seed))
    return flow


def close(got: torch.Tensor, expected: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    """Fails unless shapes, types and values agree; NaN equals NaN."""
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


def density_by_autodiff(flow: Flow, y: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
    """The log-density from the preimage and the determinant of the Jacobian that autodiff finds there."""
    x = flow.normalize(y, context)
    log_det = autodiff_log_det(lambda v: flow.bijector.forward(v, context), x, flow.event_shape)
    return flow.base_dist.log_prob(x) - log_det


def integral(log_prob: Callable[[torch.Tensor], torch.Tensor], low: float, high: float, count: int = 20001) -> float:
    """The integral of a univariate density by the trapezium rule, exact to rounding where its ends vanish smoothly."""
    grid = torch.linspace(low, high, count, dtype=torch.float64)
    with torch.no_grad():
        return float(torch.trapezoid(log_prob(grid).exp(), grid))


def same_draws(a: Distribution, b: Distribution, shape: tuple[int, ...] = (5,)) -> None:
    """Fails unless two distributions draw the same under the same seed."""
    found = []
    for d in (a, b):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            found.append(d.sample(torch.Size(shape)))
    close(found[0], found[1])


def follows(law: Distribution, drawn: torch.Tensor) -> bool:
    """Whether draws look like those of a univariate distribution, by the Kolmogorov-Smirnov test."""

    def cdf(v: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return law.cdf(torch.from_numpy(v)).numpy()

    return bool(scipy.stats.kstest(drawn.numpy(), cdf).pvalue > 0.01)
