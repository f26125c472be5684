"""How a family sees an event: as one vector, or as slices along one of its axes."""

from __future__ import annotations

import torch

from .. import options
from ..errors import ShapeError
from ..types import numel


class Axis:
    """An event seen as ``size`` slices of shape ``block``: its coordinates, or what lies along axis ``dim``.

    Args:
        shape: the event's shape.
        dim: the axis, from the front or (negative) from the back; None for the flattened event.
        who: the plan's name, for messages.
    """

    def __init__(self, shape: torch.Size, dim: int | None, who: str) -> None:
        if dim is not None and not -len(shape) <= dim < len(shape):
            raise ShapeError(f"{who}: an event with an axis dim={dim} is expected; got event shape {tuple(shape)}.")
        self.shape = shape
        self.dim = None if dim is None else dim % len(shape) - len(shape)  # from the back: batches stand in front
        self.size = numel(shape) if self.dim is None else shape[self.dim]
        rest = [] if self.dim is None else [n for i, n in enumerate(shape) if i != self.dim + len(shape)]
        self.block = torch.Size(rest)

    @property
    def ndim(self) -> int:
        """How many dimensions the split event has."""
        return 1 + len(self.block)

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """Returns ``(*batch, *shape)`` as ``(*batch, size, *block)``."""
        n = len(self.shape)
        if self.dim is None:
            return x if n == 1 else x.reshape(*x.shape[: x.dim() - n], self.size)
        return x.movedim(self.dim, -n)

    def join(self, x: torch.Tensor) -> torch.Tensor:
        """Returns ``(*batch, size, *block)`` as ``(*batch, *shape)``."""
        n = len(self.shape)
        if self.dim is None:
            return x if n == 1 else x.reshape(*x.shape[:-1], *self.shape)
        return x.movedim(-n, self.dim)


def check_dim(who: str, dim: object) -> None:
    """Refuses a ``dim`` that is neither None nor an integer."""
    if dim is not None:
        options.integer(who, "dim", dim)
