"""Events in another shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, final

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from .. import domains, options
from ..errors import OptionError, OptionTypeError, ShapeError
from ..specification import register
from ..types import ShapeLike, TensorPair, numel
from .bound import BoundBijector
from .rearrangement import Rearrangement


@register
@final
@dataclass(frozen=True)
class Reshape(Rearrangement):
    r"""The last axes of the event in another shape, row-major.

    .. math:: y_{flat} = x_{flat}, \qquad \log|\det dy/dx| = 0

    In each of the two shapes one length may be -1, for any that the event may have: ``Reshape(-1, (3, -1))`` makes
    ``(12,)`` into ``(3, 4)``, and ``Reshape((28, 28), -1)`` each ``(..., 28, 28)`` into ``(..., 784)``. Axes in front
    of those that ``before`` counts stay as they are.

    Args:
        before: the lengths of the last axes before ``forward``; an integer for one axis.
        after: their lengths after it.

    Raises:
        OptionError: for lengths below 1 other than one -1, or numbers of coordinates that differ.
        OptionTypeError: for what is no shape.
        ShapeError: when bound to an event that ``before`` does not fit.

    Example:
        >>> bound = Reshape(-1, (2, -1)).bind((6,))
        >>> bound.forward(torch.arange(6.0)).tolist()
        [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    """

    before: ShapeLike
    after: ShapeLike

    def __post_init__(self) -> None:
        before, after = (_as_lengths("Reshape", name, getattr(self, name), minimum=-1) for name in ("before", "after"))
        # What the other shape says is filled in: then both have an open length, or neither has.
        if -1 not in after:
            before = _filled(before, numel(after)) or before
        elif -1 not in before:
            after = _filled(after, numel(before)) or after
        if (-1 in before) != (-1 in after) or (-1 not in before and numel(before) != numel(after)):
            raise OptionError(
                f"Reshape: two shapes of as many coordinates are expected; got before={before}, after={after}."
            )
        object.__setattr__(self, "before", before)
        object.__setattr__(self, "after", after)

    @property
    def _lengths(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return cast("tuple[tuple[int, ...], tuple[int, ...]]", (self.before, self.after))

    @property
    def min_event_dim(self) -> int:  # type: ignore[override]  # it depends on the shape
        """How many axes there are before ``forward``."""
        return len(self._lengths[0])

    def dims_before(self, needed: int) -> int:
        """Returns how many axes an event has at least whose image has ``needed``."""
        return max(self.min_event_dim, needed - len(self._lengths[1]) + len(self._lengths[0]))

    def dims_after(self, dims: int) -> int:
        """Returns how many axes the image of an event of ``dims`` has."""
        return dims + len(self._lengths[1]) - len(self._lengths[0])

    @property
    def codomain(self) -> Constraint:
        """What ``forward`` gives, over as many axes as it makes."""
        return domains.lift(constraints.real, len(self._lengths[1]))

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape after ``forward``."""
        return _reshaped(shape, *self._lengths)

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape before ``forward``."""
        return _reshaped(shape, *reversed(self._lengths))

    def sources(self, shape: torch.Size) -> Sequence[int]:
        """Returns for each coordinate after ``forward`` which one before it is: the same, row-major."""
        return range(numel(shape))

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundReshape:
        return BoundReshape(self, shape, context_shape)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = x with its last axes {self.before} as {self.after}, row-major."


@register
@final
@dataclass(frozen=True)
class Flatten(Rearrangement):
    r"""The event as one vector, row-major.

    .. math:: y = x_{flat}, \qquad \log|\det dy/dx| = 0

    A vector does not tell the shape that it comes from: where an inverse is bound, as in ``Invert(Flatten((2, 3)))``,
    ``before`` must say it.

    Args:
        before: the event's shape before ``forward``; None for any of at least one axis.

    Raises:
        OptionError, OptionTypeError: for what is no shape.
        ShapeError: when bound to an event of another shape; when an inverse is bound without ``before``.

    Example:
        >>> Flatten().bind((2, 3)).forward(torch.zeros(5, 2, 3)).shape
        torch.Size([5, 6])
    """

    before: ShapeLike | None = None

    def __post_init__(self) -> None:
        if self.before is not None:
            object.__setattr__(self, "before", _as_lengths("Flatten", "before", self.before, minimum=1))

    @property
    def _before(self) -> tuple[int, ...] | None:
        return cast("tuple[int, ...] | None", self.before)

    @property
    def min_event_dim(self) -> int:  # type: ignore[override]  # it depends on the shape
        """How many axes there are before ``forward``, at least 1 where that is not said."""
        return 1 if self._before is None else len(self._before)

    def dims_before(self, needed: int) -> int:
        """Returns how many axes an event has at least, as its image has one whatever they are."""
        return self.min_event_dim

    def dims_after(self, dims: int) -> int:
        """Returns 1, for a vector."""
        return 1

    @property
    def codomain(self) -> Constraint:
        """All vectors."""
        return domains.lift(constraints.real, 1)

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the shape of the vector."""
        if self._before is not None and shape != self._before:
            raise ShapeError(f"Flatten: an event of shape {self.before} is expected; got {tuple(shape)}.")
        return torch.Size((numel(shape),))

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape before ``forward``."""
        if self._before is None:
            raise ShapeError(
                f"Flatten: the event's shape, as in Flatten((2, 3)), is expected where it is inverted; got none for a "
                f"vector {tuple(shape)}."
            )
        if shape != (numel(self._before),):
            raise ShapeError(f"Flatten: a vector of {numel(self._before)} is expected; got event {tuple(shape)}.")
        return torch.Size(self._before)

    def sources(self, shape: torch.Size) -> Sequence[int]:
        """Returns for each coordinate after ``forward`` which one before it is: the same, row-major."""
        return range(numel(shape))

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundReshape:
        return BoundReshape(self, shape, context_shape)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = x as one vector, row-major."


class BoundReshape(BoundBijector[Rearrangement]):
    """The bound form of both."""

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._as(x, self.shape, self.out_shape)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._as(y, self.out_shape, self.shape)

    @staticmethod
    def _as(x: torch.Tensor, old: torch.Size, new: torch.Size) -> TensorPair:
        batch = x.shape[: x.dim() - len(old)]
        return x.reshape(batch + new), x.new_zeros(batch)

    @property
    def sign(self) -> int:
        """+1: flattened, nothing moves."""
        return 1


def _as_lengths(who: str, name: str, value: object, minimum: int) -> tuple[int, ...]:
    lengths = (value,) if isinstance(value, int) else value
    if isinstance(lengths, str) or not isinstance(lengths, Sequence):
        raise OptionTypeError(f"{who}: {name} is expected to be a shape such as (2, 3); got {options.short(value)}.")
    for n in lengths:
        options.integer(who, f"each length of {name}", n, minimum=minimum)
    if 0 in lengths or lengths.count(-1) > 1:
        raise OptionError(f"{who}: lengths of at least 1, and one -1 at most, are expected in {name}; got {lengths}.")
    return tuple(lengths)


def _filled(lengths: tuple[int, ...], total: int) -> tuple[int, ...] | None:
    """Returns the lengths with the open one filled in, or None if they cannot come to ``total`` coordinates."""
    known = numel([n for n in lengths if n != -1])
    filled = tuple(total // known if n == -1 else n for n in lengths)
    return filled if numel(filled) == total else None


def _reshaped(shape: torch.Size, old: tuple[int, ...], new: tuple[int, ...]) -> torch.Size:
    """Returns ``shape`` with its last axes, which fit ``old``, as ``new``."""
    cut = len(shape) - len(old)
    tail = shape[max(cut, 0) :]
    fits = cut >= 0 and _filled(old, numel(tail)) == tuple(tail)
    found = _filled(new, numel(tail)) if fits else None
    if found is None:
        raise ShapeError(
            f"Reshape: an event whose last axes {old} can be made {new} is expected; got event shape {tuple(shape)}."
        )
    return shape[:cut] + torch.Size(found)
