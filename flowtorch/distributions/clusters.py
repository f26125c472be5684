"""Clusters of data by k-means."""

from __future__ import annotations

import torch

from .. import options
from ..errors import OptionError, ShapeError

_ROWS = 1 << 16  # how many points are compared with all centres at once, which bounds the memory taken


def checked(who: str, x: torch.Tensor, count: int) -> torch.Tensor:
    """Returns data that can be put into clusters, in float64 on the CPU.

    Raises:
        ShapeError: for data that are not ``(N, n)``.
        OptionError, OptionTypeError: for a number of clusters out of range, or data that are not finite.
    """
    options.integer(who, "count_components", count, minimum=1)
    options.instance(who, "x", x, torch.Tensor)
    if x.dim() != 2 or not x.numel():
        raise ShapeError(f"{who}: data of shape (N, n) are expected; got {tuple(x.shape)}.")
    if not x.is_floating_point() or not bool(x.isfinite().all()):
        raise OptionError(f"{who}: data that are finite floating point numbers are expected; got others.")
    return x.detach().cpu().double()


def clusters(
    who: str, x: torch.Tensor, count: int, generator: torch.Generator | None, steps: int = 100
) -> torch.Tensor:
    """Returns for each point ``(N, n)`` the number of its cluster, by k-means from a start by k-means++.

    Args:
        who: who asks, for messages.
        x: the points.
        count: how many clusters.
        generator: where random numbers come from; None for torch's own.
        steps: how often centres are moved at most.

    Raises:
        OptionError: for fewer distinct points than clusters.
    """
    x = x - x.mean(0)  # far from the origin distances would lose their digits
    labels, distance = _nearest(x, _start(who, x, count, generator))
    for _ in range(steps):
        sizes = torch.bincount(labels, minlength=count)
        empty = (sizes == 0).nonzero().flatten()
        # The points furthest from their centres make clusters of those that have none.
        labels[distance.topk(len(empty)).indices] = empty
        moved, distance = _nearest(x, means(x, labels, count))
        if torch.equal(moved, labels):
            break
        labels = moved
    return labels


def covariances(
    x: torch.Tensor, labels: torch.Tensor, count: int, *, full: bool, shared: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns clusters' means, sizes and covariances in float64.

    Args:
        x: the points ``(N, n)``.
        labels: the number of each one's cluster.
        count: how many clusters.
        full: whether covariances are matrices, or the variances of coordinates.
        shared: whether there is one for all clusters. Otherwise each counts one point more, of that one.
    """
    x = x.detach().double()
    loc, sizes = means(x, labels, count), torch.bincount(labels, minlength=count)
    off = x - loc[labels]
    if full:
        scatter = torch.stack([part.mT @ part for part in (off[labels == k] for k in range(count))])
    else:
        scatter = torch.zeros_like(loc).index_add_(0, labels, off.square())
    within = scatter.sum(0) / len(x)
    found = within if shared else (scatter + within) / (sizes + 1).reshape(count, *(1 for _ in within.shape))
    # Coordinates that do not vary, or depend on each other, would make it singular all the same.
    total = x.var(0, correction=0)
    floor = 1e-6 * torch.where(total > 0, total, 1.0)
    return loc, sizes, found + (floor.diag() if full else floor)


def means(x: torch.Tensor, labels: torch.Tensor, count: int) -> torch.Tensor:
    """Returns clusters' means."""
    sizes = torch.bincount(labels, minlength=count).clamp(min=1)
    return x.new_zeros(count, x.shape[1]).index_add_(0, labels, x) / sizes.unsqueeze(-1)


def _nearest(x: torch.Tensor, centers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    found = [torch.cdist(rows, centers).min(-1) for rows in x.split(_ROWS)]
    return torch.cat([f.indices for f in found]), torch.cat([f.values for f in found])


def _start(who: str, x: torch.Tensor, count: int, generator: torch.Generator | None) -> torch.Tensor:
    """Returns points far from each other: each is drawn in proportion to its squared distance from those before."""
    chosen: list[torch.Tensor] = []
    square = x.new_ones(len(x))
    for k in range(count):
        below = square.cumsum(0)
        if not bool(below[-1] > 0):
            raise OptionError(f"{who}: at least {count} distinct points are expected; got {k}.")
        level = torch.rand((1,), dtype=x.dtype, device=x.device, generator=generator) * below[-1]
        index = torch.searchsorted(below, level, right=True).clamp(max=len(x) - 1)
        chosen.append(x[index])
        new = (x - chosen[-1]).square().sum(-1)
        square = new if k == 0 else torch.minimum(square, new)
    return torch.cat(chosen)
