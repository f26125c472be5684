"""Where the density of a base is positive, and that density, ``-inf`` elsewhere.

torch leaves this to validation, which raises an error. Without it, densities outside are finite, NaN or ``-inf`` as it
happens, their gradients NaN, and the supports of mixtures and of transformed distributions are not what can be drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch.distributions import (
    Distribution,
    Independent,
    MixtureSameFamily,
    Transform,
    TransformedDistribution,
    VonMises,
    constraints,
)
from torch.distributions.constraints import Constraint

from .. import domains
from ..errors import ShapeError


class Part(Constraint):
    """A set known by a test for membership, and a larger one of the same dimension that it lies in.

    Args:
        test: whether each event lies in it.
        within: the larger set, over whole events.
    """

    def __init__(self, test: Callable[[torch.Tensor], torch.Tensor], within: Constraint) -> None:
        self.test, self.within = test, within
        super().__init__()

    @property
    def event_dim(self) -> int:  # type: ignore[override]  # torch has a class attribute
        """How many dimensions an event has."""
        return self.within.event_dim

    def check(self, value: torch.Tensor) -> torch.Tensor:
        """Returns for each event whether it lies in the set."""
        return self.test(value)

    def __repr__(self) -> str:
        return f"Part(within={self.within!r})"


class Union(Constraint):
    """The points that lie in the support of some component of a mixture; torch's own asks for all of them."""

    def __init__(self, base_constraint: Constraint) -> None:
        self.base_constraint = base_constraint
        super().__init__()

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]  # torch has a class attribute
        """Whether the components' is."""
        return self.base_constraint.is_discrete

    @property
    def event_dim(self) -> int:  # type: ignore[override]  # torch has a class attribute
        """How many dimensions an event has."""
        return self.base_constraint.event_dim

    def check(self, value: torch.Tensor) -> torch.Tensor:
        """Returns for each event whether some component can give it."""
        found: torch.Tensor = self.base_constraint.check(value.unsqueeze(-1 - self.event_dim))
        return found.any(-1)


def support_of(base: Distribution | torch.nn.Module) -> Constraint:
    """Returns the support of a base, over whole events; ``dependent`` if it does not say."""
    if isinstance(base, Independent):
        inner = support_of(base.base_dist)
        count = base.reinterpreted_batch_ndims
        return inner if is_unknown(inner) or not count else constraints.independent(inner, count)
    if isinstance(base, MixtureSameFamily):
        inner = support_of(base.component_distribution)
        return inner if is_unknown(inner) else Union(inner)
    if isinstance(base, VonMises):  # torch says the real line, over which its periodic density has no integral
        return constraints.interval(-math.pi, math.pi)
    try:
        declared = cast(Constraint, base.support)
    except (AttributeError, NotImplementedError):  # a module, and a distribution, that say nothing
        return constraints.dependent
    if is_unknown(declared):
        return constraints.dependent
    declared = domains.lift(declared, len(cast(Distribution, base).event_shape))
    # A class derived from it, such as LogNormal, declares what it covers; this one what its last transform covers.
    if type(base) is TransformedDistribution and not _covers(base):
        return Part(partial(_drawn, base), declared)
    return declared


def _covers(base: TransformedDistribution) -> bool:
    reached = support_of(base.base_dist)
    for transform in base.transforms:
        if not domains.includes(reached, transform.domain):
            return False
        reached = transform.codomain
    return True


def is_unknown(constraint: Constraint) -> bool:
    """Returns whether nothing is known of a set."""
    return isinstance(constraint, type(constraints.dependent))  # torch.compile skips torch's own function


def contains(constraint: Constraint, x: torch.Tensor, event_dim: int) -> torch.Tensor:
    """Returns for each event whether it lies in a set; True for NaN, so that NaN goes in and comes out."""
    nan = any_nan(x, event_dim)
    if is_unknown(constraint):
        return torch.ones_like(nan)
    checked: torch.Tensor = constraint.check(x)
    over = event_dim - constraint.event_dim
    return (checked.flatten(-over).all(-1) if over > 0 else checked) | nan


def any_nan(value: torch.Tensor, event_dim: int) -> torch.Tensor:
    """Returns for each event whether it has a NaN."""
    nan = value.isnan()
    return nan.flatten(-event_dim).any(-1) if event_dim else nan


def refuse_batch(who: str, batch: torch.Size, own: torch.Size) -> None:
    """Refuses values of a batch that does not broadcast with that of the distribution itself."""
    if own and own != batch:
        try:
            torch.broadcast_shapes(own, batch)
        except RuntimeError:
            raise ShapeError(
                f"{who}: values of a batch that broadcasts with {tuple(own)} are expected; got batch {tuple(batch)}."
            ) from None


def log_prob_inside(base: Distribution, x: torch.Tensor) -> torch.Tensor:
    """Returns the log-density of a base at points of its support."""
    if isinstance(base, Independent):  # whose own sum fails for empty batches
        return _sum(log_prob_inside(base.base_dist, x), base.reinterpreted_batch_ndims)
    return base.log_prob(x)


def log_prob(base: Distribution, x: torch.Tensor) -> torch.Tensor:
    """Returns the log-density of a base: ``-inf`` outside its support, with finite gradients, and NaN for NaN."""
    if isinstance(base, Independent):
        return _sum(log_prob(base.base_dist, x), base.reinterpreted_batch_ndims)
    event_dim = len(base.event_shape)
    if isinstance(base, MixtureSameFamily):
        parts = log_prob(base.component_distribution, x.unsqueeze(-1 - event_dim))
        outside = torch.isneginf(parts).all(-1)
        # Of nothing but -inf the gradient of logsumexp is NaN.
        parts = torch.where(outside.unsqueeze(-1), 0.0, parts)
        weights = base.mixture_distribution.logits.log_softmax(-1)
        return torch.where(outside, -torch.inf, torch.logsumexp(parts + weights, -1))
    if type(base) is TransformedDistribution:
        before, log_det, inside, event_dim = _undo(base, x)
        found = _sum(log_prob(base.base_dist, before), event_dim - len(base.base_dist.event_shape))
        return torch.where(inside, found + log_det, -torch.inf)
    support = support_of(base)
    inside = contains(support, x, event_dim)
    safe = torch.where(_over_event(inside, event_dim), x, _inner_point(support, x))
    found = torch.where(inside, base.log_prob(safe), -torch.inf)
    return torch.where(any_nan(x, event_dim), torch.nan, found)  # -inf for NaN is what torch's uniform gives


def cdf(base: Distribution, x: torch.Tensor) -> torch.Tensor:
    """Returns the cumulative distribution function of a univariate base: 0 below its support, 1 above."""
    if isinstance(base, Independent):
        return cdf(base.base_dist, x)
    if isinstance(base, MixtureSameFamily):
        return (base.mixture_distribution.probs * cdf(base.component_distribution, x.unsqueeze(-1))).sum(-1)
    if type(base) is TransformedDistribution:
        return _transformed_cdf(base.base_dist, base.transforms, x)
    support = support_of(base)
    if is_unknown(support):
        return base.cdf(x)
    inside = contains(support, x, 0)
    return _clipped(base.cdf(torch.where(inside, x, _inner_point(support, x))), support, x)


def icdf(base: Distribution, q: torch.Tensor) -> torch.Tensor:
    """Returns the quantile function of a univariate base, NaN for what is no probability."""
    if isinstance(base, Independent):
        return icdf(base.base_dist, q)
    return torch.where((q < 0) | (q > 1), torch.nan, base.icdf(q))


def _transformed_cdf(base: Distribution, transforms: list[Transform], y: torch.Tensor) -> torch.Tensor:
    if not transforms:
        return cdf(base, y)
    *before, last = transforms
    safe = torch.where(contains(last.codomain, y, 0), y, _inner_point(last.codomain, y))
    below = _transformed_cdf(base, before, last.inv(safe))
    return _clipped(torch.where(torch.as_tensor(last.sign) > 0, below, 1 - below), last.codomain, y)


def _clipped(below: torch.Tensor, support: Constraint, x: torch.Tensor) -> torch.Tensor:
    lower, upper = _bounds(support)
    below = below if lower is None else torch.where(x <= lower, 0.0, below)
    return below if upper is None else torch.where(x >= upper, 1.0, below)


def _drawn(base: TransformedDistribution, y: torch.Tensor) -> torch.Tensor:
    before, _, inside, event_dim = _undo(base, y)
    return inside & contains(support_of(base.base_dist), before, event_dim)


def _undo(base: TransformedDistribution, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """Goes back through the transforms as torch does, keeping clear of what they cannot give.

    Returns:
        The preimage, log|det dx/dy|, whether all transforms can give ``y``, and how many dimensions the preimage's
        events have.
    """
    event_dim = len(base.event_shape)
    inside = torch.ones_like(any_nan(y, event_dim))
    log_det = torch.zeros_like(inside, dtype=y.dtype)
    for transform in reversed(base.transforms):
        codomain = transform.codomain
        here = contains(codomain, y, event_dim) & _off_boundary(codomain, y, event_dim)
        y = torch.where(_over_event(here, event_dim), y, _inner_point(codomain, y))
        x = transform.inv(y)
        event_dim += transform.domain.event_dim - codomain.event_dim
        log_det = log_det - _sum(transform.log_abs_det_jacobian(x, y), event_dim - transform.domain.event_dim)
        inside, y = inside & here, x
    return y, log_det, inside, event_dim


def _off_boundary(constraint: Constraint, y: torch.Tensor, event_dim: int) -> torch.Tensor:
    # torch's closed intervals hold ends which, as of a sigmoid, only infinite points are mapped to.
    lower, upper = _bounds(constraint)
    on = torch.zeros_like(y, dtype=torch.bool)
    on = on if lower is None else on | (y == lower)
    on = on if upper is None else on | (y == upper)
    return ~(on.flatten(-event_dim).any(-1) if event_dim else on)


def _over_event(mask: torch.Tensor, event_dim: int) -> torch.Tensor:
    return mask.reshape(mask.shape + (1,) * event_dim)


def _sum(x: torch.Tensor, dims: int) -> torch.Tensor:
    return x.flatten(-dims).sum(-1) if dims > 0 else x


def _bounds(constraint: Constraint) -> tuple[torch.Tensor | float | None, torch.Tensor | float | None]:
    while hasattr(constraint, "base_constraint"):
        constraint = constraint.base_constraint
    return getattr(constraint, "lower_bound", None), getattr(constraint, "upper_bound", None)


def _inner_point(constraint: Constraint, x: torch.Tensor) -> torch.Tensor:
    """Returns a point inside a box to stand in for values outside, so that gradients stay finite; else ``x``."""
    lower, upper = _bounds(constraint)
    if lower is None and upper is None:
        return x
    a = torch.as_tensor(-math.inf if lower is None else lower, dtype=x.dtype, device=x.device)
    b = torch.as_tensor(math.inf if upper is None else upper, dtype=x.dtype, device=x.device)
    one_sided = torch.where(a.isfinite(), a + 1, torch.where(b.isfinite(), b - 1, 0.0))
    return torch.where(a.isfinite() & b.isfinite(), a + (b - a) / 2, one_sided)
