"""What all monotone splines share: a box cut into bins, the bin of a point, and the identity outside."""

from __future__ import annotations

import math
from itertools import accumulate

import torch

from ..errors import OptionError


def check_box(who: str, bins: int, bound: float, **minima: float) -> None:
    """Refuses a box or least sizes that would give NaN: sizes of bins are fractions of the box, the others below 1."""
    if not 0.0 < bound < math.inf:
        raise OptionError(f"{who}: a positive, finite bound is expected; got {bound}.")
    for name, value in minima.items():
        most = 1.0 / bins if name.startswith("min_bin") else 1.0
        if not 0.0 < value < most:
            raise OptionError(f"{who}: 0 < {name} < {most:g} is expected; got {value}.")


def prepare(
    x: torch.Tensor, bound: float, dtype: torch.dtype, *parameters: torch.Tensor
) -> tuple[torch.Size, torch.Tensor, list[torch.Tensor]]:
    """Returns the broadcast shape, ``x`` clipped to the box, and the parameters with the axis of the bins first.

    Over a last axis shorter than a vector register, 16 floats with AVX-512, torch's softmax on the CPU falls back to
    scalar code, and takes ten to twenty times as long as over the first axis, which is always vectorised.
    """
    if torch.finfo(dtype).bits < 32:
        dtype = torch.float32  # a bin of least width is narrower than the spacing of bfloat16 near the bound
    shape: torch.Size = torch.broadcast_shapes(  # type: ignore[no-untyped-call,unused-ignore]  # torch has no types here
        x.shape, *(p.shape[:-1] for p in parameters)
    )
    ndim = len(shape) + 1
    # Clipped before the maths, so that what the final torch.where throws away far outside has finite gradients.
    clipped = x.to(dtype).clamp(-bound, bound)
    return shape, clipped, [p.to(dtype)[(None,) * (ndim - p.dim())].movedim(-1, 0) for p in parameters]


def sizes(raw: torch.Tensor, total: float, minimum: float) -> torch.Tensor:
    """Returns positive sizes that add up to ``total``, axis first, each at least that fraction of it."""
    least = raw.new_full((), total * minimum)
    return torch.add(least, torch.softmax(raw, 0), alpha=total * (1.0 - raw.shape[0] * minimum))


def stack_up(steps: torch.Tensor, bound: float) -> torch.Tensor:
    """Returns the ``K + 1`` knots of ``K`` bins, axis first; the outer ones are exactly ``-bound`` and ``bound``."""
    end = torch.full_like(steps[0], bound)
    # Not cumsum, which walks down one column after the other: two to five times slower from 16 bins on.
    inner = accumulate(steps.unbind(0)[:-1], initial=-end)
    return torch.stack((*inner, end))


def knots(raw: torch.Tensor, bound: float, minimum: float) -> torch.Tensor:
    """Returns the knots of bins whose sizes have the logarithms ``raw``, up to a constant."""
    return stack_up(sizes(raw, 2.0 * bound, minimum), bound)


def find(points: torch.Tensor, among: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Returns the number of each point's bin among the knots, ``(1, *shape)``."""
    return (points >= among[1:-1]).sum(0, keepdim=True).expand(1, *shape)


def ends(index: torch.Tensor) -> torch.Tensor:
    """Returns the numbers of the two knots of each bin, ``(2, *shape)``."""
    return torch.cat((index, index + 1))


def take(values: torch.Tensor, index: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Returns the entries at ``index`` along the first axis; ``take_along_dim`` fixes dynamic sizes in an export."""
    return values.expand(values.shape[0], *shape).gather(0, index)


def identity_outside(
    x: torch.Tensor, value: torch.Tensor, log_derivative: torch.Tensor, bound: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Puts the identity outside of the box; NaN counts as inside, where it has gone through the maths."""
    outside = x.abs() >= bound
    return (
        torch.where(outside, x, value.to(dtype)),
        log_derivative.to(dtype).masked_fill(outside, 0.0),
    )
