"""Which sets lie in which: the interval algebra behind the checks that a flow makes when it is built.

torch's constraints can check a value but cannot be compared: they have no inclusion, and many lose ``==`` in pickling.
Here a constraint is brought to a normal form, an axis-aligned box or else a name with arguments, and inclusion is
decided up to sets of measure zero: ``(0, inf)`` and ``[0, inf)`` are the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from .types import numel

_INFINITY = math.inf


@dataclass(frozen=True)
class Box:
    """The product of intervals ``[lower, upper]``: one pair for all coordinates, or one a coordinate (row-major)."""

    lower: tuple[float, ...] = (-_INFINITY,)
    upper: tuple[float, ...] = (_INFINITY,)

    @property
    def is_real(self) -> bool:
        """Whether this is the whole space."""
        return all(a == -_INFINITY for a in self.lower) and all(b == _INFINITY for b in self.upper)

    def __str__(self) -> str:
        if len(set(self.lower)) == 1 and len(set(self.upper)) == 1:
            a, b = self.lower[0], self.upper[0]
            return "real" if self.is_real else f"({a:g}, {b:g})"
        pairs = [f"({a:g}, {b:g})" for a, b in zip(*_aligned(self.lower, self.upper), strict=True)]
        return " x ".join(pairs if len(pairs) <= 4 else [*pairs[:3], f"... ({len(pairs)} coordinates)"])


@dataclass(frozen=True)
class Named:
    """A set that is not a box (a simplex, positive-definite matrices, integers), compared by name and arguments."""

    name: str
    arguments: tuple[float, ...] = ()
    discrete: bool = False

    def __str__(self) -> str:
        inside = ", ".join(f"{a:g}" for a in self.arguments)
        return f"{self.name}({inside})" if inside else self.name


class Within(Constraint):
    """A set of which only a larger one is known, of the same dimension: what a map gives that is not onto.

    It lies wherever the larger one does, and nothing but itself is known to lie in it.

    Args:
        within: the larger set.
    """

    is_discrete = False

    def __init__(self, within: Constraint) -> None:
        self.within = within
        super().__init__()

    @property
    def event_dim(self) -> int:  # type: ignore[override]  # torch has a class attribute
        """How many dimensions an event has."""
        return self.within.event_dim

    def check(self, value: torch.Tensor) -> torch.Tensor:
        """Returns whether events lie in the larger set, as they must."""
        return cast(torch.Tensor, self.within.check(value))

    def __repr__(self) -> str:
        return f"Within({self.within!r})"


class Undetermined(Constraint):
    """A set that is not known before the event's shape is: until then it is taken to fit anything.

    Args:
        event_dim: how many dimensions an event has at least.
    """

    is_discrete = False

    def __init__(self, event_dim: int) -> None:
        self._event_dim = event_dim
        super().__init__()

    @property
    def event_dim(self) -> int:  # type: ignore[override]  # torch has a class attribute
        """How many dimensions an event has at least."""
        return self._event_dim

    def check(self, value: torch.Tensor) -> torch.Tensor:
        """Returns true for each event, none being known to lie outside."""
        return torch.ones(value.shape[: value.dim() - self.event_dim], dtype=torch.bool, device=value.device)

    def __repr__(self) -> str:
        return f"Undetermined({self.event_dim})"


class Intervals(Constraint):
    """Events of a shape with an interval for each coordinate; see :func:`intervals`."""

    is_discrete = False

    def __init__(self, lower: tuple[float, ...], upper: tuple[float, ...], shape: torch.Size) -> None:
        self.box, self.shape = Box(lower, upper), shape
        super().__init__()

    @property
    def event_dim(self) -> int:  # type: ignore[override]  # torch has a class attribute
        """How many dimensions an event has."""
        return len(self.shape)

    @property
    def lower_bound(self) -> torch.Tensor:
        """The lower ends."""
        return (
            torch.tensor(self.box.lower, dtype=torch.float64, device="cpu").expand(numel(self.shape)).view(self.shape)
        )

    @property
    def upper_bound(self) -> torch.Tensor:
        """The upper ends."""
        return (
            torch.tensor(self.box.upper, dtype=torch.float64, device="cpu").expand(numel(self.shape)).view(self.shape)
        )

    def check(self, value: torch.Tensor) -> torch.Tensor:
        """Returns for each event whether all its coordinates lie between their ends."""
        inside = (value >= self.lower_bound.to(value)) & (value <= self.upper_bound.to(value))
        return inside.flatten(-len(self.shape)).all(-1) if self.shape else inside

    def __repr__(self) -> str:
        return f"Intervals({self.box}, shape={tuple(self.shape)})"


class Joint(Constraint):
    """Events whose pieces lie each in a set of its own.

    Args:
        parts: a set for each piece, over at most the piece.
        indices: for each piece where it lies along the axis.
        shape: the event's shape.
        dim: the axis; None for the flattened event.
    """

    is_discrete = False

    def __init__(
        self, parts: Sequence[Constraint], indices: Sequence[Sequence[int]], shape: torch.Size, dim: int | None = None
    ) -> None:
        self.parts, self.indices, self.shape = tuple(parts), tuple(map(tuple, indices)), shape
        self.dim = None if dim is None else dim % len(shape)
        super().__init__()

    @property
    def event_dim(self) -> int:  # type: ignore[override]  # torch has a class attribute
        """How many dimensions an event has."""
        return len(self.shape)

    def pieces(self, value: torch.Tensor) -> list[torch.Tensor]:
        """Returns the pieces of ``(*batch, *shape)``, each ``(*batch, *piece)``."""
        n = len(self.shape)
        if self.dim is None:
            value, axis = value.reshape(*value.shape[: value.dim() - n], numel(self.shape)), -1
        else:
            axis = self.dim - n
        at = [torch.tensor(index, dtype=torch.long, device=value.device) for index in self.indices]
        return [value.index_select(axis, index) for index in at]

    def check(self, value: torch.Tensor) -> torch.Tensor:
        """Returns for each event whether every piece lies in its set."""
        dims = 1 if self.dim is None else len(self.shape)
        inside = torch.ones(value.shape[: value.dim() - len(self.shape)], dtype=torch.bool, device=value.device)
        for part, piece in zip(self.parts, self.pieces(value), strict=True):
            inside = inside & lift(part, dims).check(piece)
        return inside

    def region(self) -> Region:
        """Returns the normal form: a box coordinate by coordinate if all parts are boxes."""
        place = torch.arange(numel(self.shape), device="cpu").reshape(self.shape)
        lower, upper = [-_INFINITY] * place.numel(), [_INFINITY] * place.numel()
        for part, where in zip(self.parts, self.pieces(place), strict=True):
            box = box_of(part, where.shape)
            if box is None:
                return Named("product of " + " and ".join(describe(p) for p in self.parts))
            for i, a, b in zip(where.flatten().tolist(), box.lower, box.upper, strict=True):
                lower[i], upper[i] = a, b
        return _short(tuple(lower), tuple(upper))

    def __repr__(self) -> str:
        return f"Joint({list(self.parts)}, {list(self.indices)}, shape={tuple(self.shape)}, dim={self.dim})"


Region: TypeAlias = Box | Named
# What is taken to fit anything until shapes are known.
UNDETERMINED = Named("depends on the event's shape")
# A set that depends on what we cannot see.
UNKNOWN = Named("unknown")


def _aligned(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    n = max(len(a), len(b))
    return (a * n if len(a) == 1 else a), (b * n if len(b) == 1 else b)


def _numbers(bound: torch.Tensor | float) -> tuple[float, ...]:
    values = bound.detach().reshape(-1).tolist() if isinstance(bound, torch.Tensor) else [bound]
    return tuple(float(v) for v in (values[:1] if len(set(values)) == 1 else values))


def region(constraint: Constraint) -> Region:
    """Returns the normal form of ``constraint``, whatever its event dimensions."""
    base = getattr(constraint, "base_constraint", None)  # independent, and the support of a mixture
    if base is not None:
        return region(base)
    if isinstance(constraint, Undetermined):
        return UNDETERMINED
    if isinstance(constraint, Intervals):
        return _short(constraint.box.lower, constraint.box.upper)
    if isinstance(constraint, Joint):
        return constraint.region()
    within = getattr(constraint, "within", None)  # a part of a larger set that is known by a test alone
    if within is not None:
        larger = region(within)
        return larger if hasattr(within, "within") else Named(f"a part of {larger}")
    parts = getattr(constraint, "cseq", None)  # cat and stack
    if parts is not None:
        return _join([region(p) for p in parts], getattr(constraint, "lengths", [1] * len(parts)))
    name = type(constraint).__name__.strip("_")
    if constraints.is_dependent(constraint):
        return UNKNOWN
    if constraint.is_discrete:
        return Named(name, _arguments(constraint), discrete=True)
    lower = getattr(constraint, "lower_bound", None)
    upper = getattr(constraint, "upper_bound", None)
    if lower is None and upper is None and type(constraint) is not type(constraints.real):
        return Named(name, _arguments(constraint))
    return Box((-_INFINITY,) if lower is None else _numbers(lower), (_INFINITY,) if upper is None else _numbers(upper))


def _join(parts: list[Region], lengths: list[int]) -> Region:
    boxes = [p for p in parts if isinstance(p, Box)]
    if len(boxes) < len(parts):
        return Named("product of " + " and ".join(str(p) for p in parts), discrete=any(_is_discrete(p) for p in parts))
    if all(b == boxes[0] for b in boxes):
        return boxes[0]
    pairs = [_aligned(b.lower, b.upper) for b in boxes]
    lower = [a * n if len(a) == 1 else a for (a, _), n in zip(pairs, lengths, strict=True)]
    upper = [b * n if len(b) == 1 else b for (_, b), n in zip(pairs, lengths, strict=True)]
    return Box(sum(lower, ()), sum(upper, ()))


def _is_discrete(found: Region) -> bool:
    return isinstance(found, Named) and found.discrete


def _arguments(constraint: Constraint) -> tuple[float, ...]:
    values = [v for _, v in sorted(vars(constraint).items()) if isinstance(v, torch.Tensor | int | float)]
    return tuple(x for v in values for x in _numbers(v))


def includes(outer: Constraint, inner: Constraint) -> bool:
    """Returns whether ``inner`` lies in ``outer`` up to a set of measure zero.

    Example:
        >>> from torch.distributions import constraints
        >>> includes(constraints.real, constraints.unit_interval)
        True
        >>> includes(constraints.unit_interval, constraints.positive)
        False
    """
    within = getattr(_unwrapped(inner), "within", None)
    if within is not None:
        return includes(outer, within)
    p, q = _unwrapped(outer), _unwrapped(inner)
    if isinstance(p, Joint) and isinstance(q, Joint) and (p.indices, p.shape, p.dim) == (q.indices, q.shape, q.dim):
        return all(map(includes, p.parts, q.parts))
    a, b = region(outer), region(inner)
    if UNDETERMINED in (a, b):
        return True
    if isinstance(a, Named) or isinstance(b, Named):
        # What is no box is of lower dimension (a simplex, symmetric matrices) or discrete: a density over the whole
        # space is none over it. Of a set that we know nothing about the user has to know.
        return a == b or (isinstance(a, Box) and a.is_real and b == UNKNOWN)
    lower = _aligned(a.lower, b.lower)
    upper = _aligned(a.upper, b.upper)
    if len(lower[0]) != len(lower[1]) or len(upper[0]) != len(upper[1]):
        return _at_most(max(a.lower), min(b.lower)) and _at_most(max(b.upper), min(a.upper))
    return all(map(_at_most, *lower)) and all(map(_at_most, *reversed(upper)))


def _at_most(x: float, y: float) -> bool:
    # Or they differ as a number and its float32 rounding do: a float32 pi is larger than pi.
    return x <= y or math.isclose(x, y, rel_tol=2.0**-23)


def _unwrapped(constraint: Constraint) -> Constraint:
    while hasattr(constraint, "base_constraint"):
        constraint = constraint.base_constraint
    return constraint


def is_real(constraint: Constraint) -> bool:
    """Returns whether ``constraint`` is the whole space."""
    found = region(constraint)
    return isinstance(found, Box) and found.is_real


def describe(constraint: Constraint) -> str:
    """Returns ``constraint`` as a short text: ``real``, ``(0, inf)``, ``Simplex``."""
    return str(region(constraint))


def lift(constraint: Constraint, event_dim: int) -> Constraint:
    """Returns ``constraint`` over at least ``event_dim`` event dimensions."""
    missing = event_dim - constraint.event_dim
    return constraints.independent(constraint, missing) if missing > 0 else constraint


def box_of(constraint: Constraint, shape: torch.Size) -> Box | None:
    """Returns the box of events of ``shape``, with a pair for each coordinate; None for what is no box."""
    found, n = region(constraint), numel(shape)
    if not isinstance(found, Box):
        return None
    lower, upper = _aligned(found.lower, found.upper)
    if len(lower) == 1:
        return Box(lower * n, upper * n)
    # Numbers for the last axes serve every position of the others.
    return Box(lower * (n // len(lower)), upper * (n // len(lower))) if n % len(lower) == 0 else None


def intervals(lower: Sequence[float], upper: Sequence[float], shape: torch.Size) -> Constraint:
    """Returns the box of events of ``shape`` with these ends, row-major, or with one pair for all coordinates.

    Example:
        >>> describe(intervals((0.0, 1.0), (1.0, float("inf")), torch.Size((2,))))
        '(0, 1) x (1, inf)'
    """
    box = _short(tuple(lower), tuple(upper))
    if len(box.lower) > 1 or len(box.upper) > 1:
        return Intervals(*_aligned(box.lower, box.upper), shape)
    a, b = box.lower[0], box.upper[0]
    one: Constraint = constraints.interval(a, b)
    if b == _INFINITY:
        one = constraints.real if a == -_INFINITY else constraints.greater_than(a)
    elif a == -_INFINITY:
        one = constraints.less_than(b)
    return lift(one, len(shape))


def _short(lower: tuple[float, ...], upper: tuple[float, ...]) -> Box:
    same = len(set(lower)) == 1 and len(set(upper)) == 1
    return Box(lower[:1], upper[:1]) if same else Box(lower, upper)


def middle(box: Box) -> tuple[float, ...]:
    """Returns a point inside ``box``: the middle, or one away from the only bound, coordinate by coordinate."""
    points = []
    for a, b in zip(*_aligned(box.lower, box.upper), strict=True):
        if a > -_INFINITY and b < _INFINITY:
            points.append(0.5 * (a + b))
        elif a > -_INFINITY:
            points.append(a + 1.0)
        else:
            points.append(b - 1.0 if b < _INFINITY else 0.0)
    return tuple(points)
