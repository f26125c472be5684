"""How pieces of an event lie along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch.distributions.constraints import Constraint

from .. import domains
from ..types import numel


class Cut:
    """How the pieces lie in an event: tensors and sets are taken apart, and put together.

    Args:
        shape: the event's shape.
        dim: the axis; None for the flattened event.
        indices: where each piece lies along it; together all of it, each slice once.
        drops_axis: whether pieces are single slices without the axis.
    """

    def __init__(
        self, shape: torch.Size, dim: int | None, indices: Sequence[tuple[int, ...]], drops_axis: bool
    ) -> None:
        self.shape, self.indices, self.drops_axis = shape, tuple(indices), drops_axis
        self.flat = dim is None and len(shape) != 1
        self.dim = dim
        self.axis = -1 if dim is None else dim % len(shape) - len(shape)  # from the back: batches stand in front
        self.sizes = [len(index) for index in indices]
        self.order = [i for index in indices for i in index]
        self.ordered = self.order == list(range(len(self.order)))

    def shapes(self) -> list[torch.Size]:
        """Returns the shapes of the pieces."""
        whole = list(self.shape) if self.dim is not None else [numel(self.shape)]
        if self.drops_axis:
            del whole[self.axis]
            return [torch.Size(whole)] * len(self.sizes)
        return [resized(whole, self.axis, n) for n in self.sizes]

    def take(self, x: torch.Tensor, order: torch.Tensor | None) -> list[torch.Tensor]:
        """Returns the pieces of ``(*batch, *shape)``, views of it where ``order`` is None."""
        x = x.reshape(*x.shape[: x.dim() - len(self.shape)], numel(self.shape)) if self.flat else x
        if order is not None:
            return [x.index_select(self.axis, index) for index in order.split(self.sizes)]
        return list(x.unbind(self.axis) if self.drops_axis else x.split(self.sizes, self.axis))

    def put(self, pieces: list[torch.Tensor], back: torch.Tensor | None) -> torch.Tensor:
        """Returns ``(*batch, *shape)`` made of the pieces."""
        x = torch.stack(pieces, self.axis) if self.drops_axis else torch.cat(pieces, self.axis)
        x = x if back is None else x.index_select(self.axis, back)
        return x.reshape(*x.shape[:-1], *self.shape) if self.flat else x

    def take_set(self, whole: Constraint) -> list[Constraint] | None:
        """Returns for each piece the set it lies in where events lie in ``whole``; None if that is no product."""
        if isinstance(whole, domains.Joint) and whole.indices == self.indices and whole.shape == self.shape:
            dim = None if self.dim is None else self.dim % len(self.shape)
            if whole.dim == dim and all(isinstance(p, _Slice) for p in whole.parts) == self.drops_axis:
                return [p.base_constraint if isinstance(p, _Slice) else p for p in whole.parts]
        box = domains.box_of(whole, self.shape)
        if box is None:
            return None
        order = None if self.ordered else torch.tensor(self.order, device="cpu")
        places = self.take(torch.arange(numel(self.shape), device="cpu").reshape(self.shape), order)
        sets = []
        for place in places:
            at = place.flatten().tolist()
            sets.append(domains.intervals([box.lower[i] for i in at], [box.upper[i] for i in at], place.shape))
        return sets

    def put_set(self, sets: Sequence[Constraint]) -> Constraint:
        """Returns the events whose pieces lie each in its set; within such a set, if that holds for some piece."""
        known = [s.within if isinstance(s, domains.Within) else s for s in sets]
        held = [_Slice(s, self.axis, len(self.shape)) for s in known] if self.drops_axis else known
        joint: Constraint = domains.Joint(held, self.indices, self.shape, self.dim)
        box = domains.box_of(joint, self.shape)
        whole = joint if box is None else domains.intervals(box.lower, box.upper, self.shape)
        return whole if all(a is b for a, b in zip(known, sets, strict=True)) else domains.Within(whole)


class _Slice(Constraint):
    """A set of slices, with the axis that they lie along."""

    is_discrete = False

    def __init__(self, base_constraint: Constraint, axis: int, event_dim: int) -> None:
        self.base_constraint, self.axis, self._event_dim = base_constraint, axis, event_dim
        super().__init__()

    @property
    def event_dim(self) -> int:  # type: ignore[override]  # torch has a class attribute
        """How many dimensions an event has, the axis among them."""
        return self._event_dim

    def check(self, value: torch.Tensor) -> torch.Tensor:
        """Returns for each event whether its one slice lies in the set."""
        base = domains.lift(self.base_constraint, self._event_dim - 1)
        return cast(torch.Tensor, base.check(value.squeeze(self.axis)))


def resized(shape: Sequence[int], axis: int, size: int) -> torch.Size:
    """Returns ``shape`` with another length along an axis."""
    sizes = list(shape)
    sizes[axis] = size
    return torch.Size(sizes)
