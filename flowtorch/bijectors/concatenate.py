"""Plans side by side along an axis of the event."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, cast, final

import torch

from .. import options
from ..errors import OptionError, OptionTypeError, ShapeError
from ..specification import register
from .axis import Axis
from .base import Bijector
from .cut import Cut, resized
from .pieces import Piece, Pieces, as_parts


@register
@final
@dataclass(frozen=True)
class Concatenate(Pieces):
    r"""Contiguous pieces of the event along an axis, each with a plan of its own.

    .. math:: y = (f_1(x_1), \ldots, f_n(x_n)), \qquad \log|\det dy/dx| = \sum_i \log|\det df_i(x_i)|

    Args:
        parts: the plans, front to back; each sees an event with the axis as long as its piece.
        sizes: how many slices each piece has before ``forward``; at most one may be None, for what is left.
        dim: the axis. Parts may change the length of their pieces along it.

    Raises:
        OptionError, OptionTypeError: for what are no parts, or sizes that are not theirs.
        ShapeError: when bound to an event that the sizes do not fit.

    Example:
        >>> from flowtorch.bijectors import Exp, Sigmoid
        >>> bound = Concatenate([Exp(), Sigmoid()], sizes=(1, None)).bind((3,))
        >>> bound.forward(torch.zeros(3)).tolist()
        [1.0, 0.5, 0.5]
    """

    parts: Sequence[Bijector]
    sizes: Sequence[int | None]
    _: KW_ONLY
    dim: int = -1

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", as_parts("Concatenate", self.parts))
        if isinstance(self.sizes, str) or not isinstance(self.sizes, Sequence):
            raise OptionTypeError(
                f"Concatenate: sizes is expected to be a sequence such as (2, None); got {options.short(self.sizes)}."
            )
        object.__setattr__(self, "sizes", tuple(self.sizes))
        for n in self.sizes:
            if n is not None:
                options.integer("Concatenate", "each of sizes", n, minimum=1)
        if len(self.sizes) != len(self.parts) or self.sizes.count(None) > 1:
            raise OptionError(
                f"Concatenate: a size for each of {len(self.parts)} parts, at most one of them None, is expected; got "
                f"sizes={self.sizes}."
            )
        options.integer("Concatenate", "dim", self.dim)

    def _parts(self) -> Sequence[tuple[str, Bijector | None]]:
        return [(f"part {i}", p) for i, p in enumerate(self.parts)]

    def _pieces(self, axis: Axis) -> list[Piece]:
        sizes = _filled(self.sizes, axis.size)
        return [
            Piece(label, plan, index) for (label, plan), index in zip(self._parts(), _contiguous(sizes), strict=True)
        ]

    def _joined(self, before: Cut, pieces: Sequence[Piece], shapes: Sequence[torch.Size]) -> Cut:
        for piece, old, new in zip(pieces, before.shapes(), shapes, strict=True):
            if len(new) != len(old) or resized(new, before.axis, 0) != resized(old, before.axis, 0):
                raise ShapeError(
                    f"Concatenate {piece.label}: a part that changes the shape {tuple(old)} of its piece along axis "
                    f"{self.dim} at most is expected; got one that makes it {tuple(new)}."
                )
        sizes = [s[before.axis] for s in shapes]
        whole = resized(before.shape, before.axis, sum(sizes))
        return Cut(whole, self.dim, _contiguous(sizes), drops_axis=False)

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape before the parts."""
        axis = Axis(shape, self.dim, "Concatenate").dim
        assert axis is not None  # dim is an integer

        def through(k: int, size: int | None, way: Callable[[Bijector, torch.Size], torch.Size]) -> int | None:
            label, plan = self._parts()[k]
            if size is None:
                return None
            found = Piece(label, plan, ()).through("Concatenate", lambda p: way(p, resized(shape, axis, size)))
            return None if found is None else found[axis]

        # How long each piece is after forward; the one of unknown length has what is left.
        long = [through(k, n, lambda p, s: p.forward_shape(s)) for k, n in enumerate(self.sizes)]
        short = [through(k, n, lambda p, s: p.inverse_shape(s)) for k, n in enumerate(_filled(long, shape[axis]))]
        return resized(shape, axis, sum(n or 0 for n in short))

    def describe(self) -> str:
        """Returns the formula in one line."""
        return (
            f"y = (f_1(x_1), ..., f_{len(self.parts)}(x_{len(self.parts)})), sizes {self.sizes} along axis {self.dim}."
        )


@register
@final
@dataclass(frozen=True)
class Stack(Pieces):
    r"""Slices of the event along an axis, each with a plan of its own that does not see the axis.

    .. math:: y_i = f_i(x_i), \qquad \log|\det dy/dx| = \sum_i \log|\det df_i(x_i)|

    Args:
        parts: the plans, one for each slice.
        dim: the axis. Parts may change the shape of their slices, if all change it alike.

    Raises:
        OptionError, OptionTypeError: for what are no parts.
        ShapeError: when bound to an event with another number of slices.

    Example:
        >>> from flowtorch.bijectors import Exp, Sigmoid
        >>> Stack([Exp(), Sigmoid()]).bind((2, 3)).forward(torch.zeros(2, 3)).tolist()
        [[1.0, 1.0, 1.0], [0.5, 0.5, 0.5]]
    """

    parts: Sequence[Bijector]
    _: KW_ONLY
    dim: int = 0
    _drops_axis: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", as_parts("Stack", self.parts))
        options.integer("Stack", "dim", self.dim)

    def _parts(self) -> Sequence[tuple[str, Bijector | None]]:
        return [(f"part {i}", p) for i, p in enumerate(self.parts)]

    def _pieces(self, axis: Axis) -> list[Piece]:
        if axis.size != len(self.parts):
            raise ShapeError(
                f"Stack: {len(self.parts)} slices along axis {self.dim}, one for each part, are expected; got event "
                f"shape {tuple(axis.shape)}."
            )
        return [Piece(label, plan, (i,)) for i, (label, plan) in enumerate(self._parts())]

    def _joined(self, before: Cut, pieces: Sequence[Piece], shapes: Sequence[torch.Size]) -> Cut:
        if len(set(shapes)) > 1:
            raise ShapeError(
                "Stack: slices of one shape after all parts are expected; got "
                f"{', '.join(str(tuple(s)) for s in shapes)} from slices of an event {tuple(before.shape)}."
            )
        whole = list(shapes[0])
        whole.insert(self.dim if self.dim >= 0 else self.dim + len(whole) + 1, len(shapes))
        return Cut(torch.Size(whole), self.dim, before.indices, drops_axis=True)

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape before the parts."""
        pieces = self._pieces(Axis(shape, self.dim, "Stack"))
        after = Cut(shape, self.dim, [p.indices for p in pieces], drops_axis=True)
        slices = [
            p.through("Stack", lambda plan, s=s: plan.inverse_shape(s))  # type: ignore[misc]  # a default has no type
            for p, s in zip(pieces, after.shapes(), strict=True)
        ]
        return self._joined(after, pieces, cast("list[torch.Size]", slices)).shape

    @property
    def min_event_dim(self) -> int:  # type: ignore[override]  # a plan of parts works it out
        """One more than the most that any part needs."""
        return 1 + max(p.min_event_dim for p in self.parts)

    def dims_before(self, needed: int) -> int:
        """Returns how many axes an event has at least whose image has ``needed``."""
        return 1 + max(p.dims_before(needed - 1) for p in self.parts)

    def dims_after(self, dims: int) -> int:
        """Returns how many axes the image of an event of ``dims`` has."""
        return 1 + self.parts[0].dims_after(dims - 1)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y_i = f_i(x_i) for the {len(self.parts)} slices along axis {self.dim}."


def _contiguous(sizes: Sequence[int]) -> list[tuple[int, ...]]:
    return [tuple(range(end - n, end)) for n, end in zip(sizes, itertools.accumulate(sizes), strict=True)]


def _filled(sizes: Sequence[int | None], size: int) -> list[int]:
    """Returns the sizes with what is left in the place of None, or refuses them."""
    left = size - sum(n or 0 for n in sizes)
    if left < 1 if None in sizes else left != 0:
        raise ShapeError(
            f"Concatenate: pieces of sizes {tuple(sizes)} are expected to fill the axis; got {size} slices."
        )
    return [left if n is None else n for n in sizes]
