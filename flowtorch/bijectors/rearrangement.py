"""Plans that only move coordinates about."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from .. import domains
from .base import Bijector


class Rearrangement(Bijector):
    """A plan that only moves coordinates about; an author of one writes :meth:`sources` beside :meth:`_bind`.

    Every box lies in its domain, and a box that is the same for all coordinates is mapped to itself.
    """

    def sources(self, shape: torch.Size) -> Sequence[int] | None:
        """Returns for each coordinate after ``forward`` which one before it is, row-major; None if that is drawn."""
        return None

    def image(self, given: Constraint, shape: torch.Size | None) -> Constraint:
        """Returns the box with its sides moved; the smallest one around it if they differ and their way is drawn."""
        box = domains.region(given)
        if shape is None or box == domains.UNDETERMINED:
            return _same(box, self.dims_after(self.min_event_dim))
        after = self.forward_shape(shape)
        each, source = domains.box_of(given, shape), self.sources(shape)
        if each is None:
            return domains.Within(domains.lift(constraints.real, len(after)))
        if _even(box):
            return domains.intervals(each.lower, each.upper, after)
        if source is None:
            return domains.Within(domains.intervals((min(each.lower),), (max(each.upper),), after))
        return domains.intervals([each.lower[i] for i in source], [each.upper[i] for i in source], after)

    def preimage(self, wanted: Constraint, shape: torch.Size | None) -> Constraint | None:
        """Returns the box with its sides moved back; the largest one within if they differ and their way is drawn."""
        box = domains.region(wanted)
        if shape is None or box == domains.UNDETERMINED:
            return _same(box, self.min_event_dim)
        each, source = domains.box_of(wanted, self.forward_shape(shape)), self.sources(shape)
        if each is None:
            return None
        if _even(box):
            return domains.intervals(each.lower, each.upper, shape)
        if source is None:
            lower, upper = max(each.lower), min(each.upper)
            return domains.intervals((lower,), (upper,), shape) if lower < upper else None
        back = sorted(range(len(source)), key=lambda i: source[i])
        return domains.intervals([each.lower[i] for i in back], [each.upper[i] for i in back], shape)


def _even(box: domains.Region) -> bool:
    return isinstance(box, domains.Box) and len(box.lower) == len(box.upper) == 1


def _same(box: domains.Region, dims: int) -> Constraint:
    """Returns the box over ``dims`` dimensions, if it is one for all coordinates."""
    if isinstance(box, domains.Box) and _even(box):
        return domains.lift(domains.intervals(box.lower, box.upper, torch.Size()), dims)
    return domains.Undetermined(dims)
