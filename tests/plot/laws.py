"""Flows and distributions that are drawn in the tests."""

from __future__ import annotations

import torch
from torch.distributions import Independent, Normal

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params


def flow(shape: int | tuple[int, ...] = 2, **options: object) -> dist.Flow:
    """A flow of three layers, away from the identity."""
    layers = [
        bij.AffineCoupling(params.DenseNN((8,))),
        bij.Permute(tuple(range(torch.Size((shape,) if isinstance(shape, int) else shape).numel()))[::-1]),
        bij.AffineAutoregressive(params.MADE((8,))),
    ]
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        made = dist.Flow(dist.DiagNormal(shape), bij.Compose(layers), **options)  # type: ignore[arg-type]
        for p in made.parameters():
            p += 0.3 * torch.randn(p.shape)
    return made


def conditional() -> dist.Flow:
    return flow(context_shape=(3,))


def contexts(count: int) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(2))


def own_draws(count: int) -> tuple[dist.Flow, torch.Tensor, torch.Tensor]:
    """A conditional flow, and a draw of its own for each of some contexts."""
    made, given = conditional(), contexts(count)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return made, made.sample(context=given), given


def normals(loc: torch.Tensor, scale: torch.Tensor | float) -> Independent:
    """A batch of normal distributions of vectors."""
    return Independent(Normal(loc, torch.as_tensor(scale).expand(loc.shape)), 1)
