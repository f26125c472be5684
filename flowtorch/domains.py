"""Which sets lie in which: the interval algebra behind the checks that a flow makes when it is built.

torch's constraints can check a value but cannot be compared: they have no inclusion, and many lose ``==`` in pickling.
Here a constraint is brought to a normal form, an axis-aligned box or else a name with arguments, and inclusion is
decided up to sets of measure zero: ``(0, inf)`` and ``[0, inf)`` are the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias, cast

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

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


Region: TypeAlias = Box | Named
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
    a, b = region(outer), region(inner)
    if isinstance(a, Named) or isinstance(b, Named):
        # What is no box is of lower dimension (a simplex, symmetric matrices) or discrete: a density over the whole
        # space is none over it. Of a set that we know nothing about the user has to know.
        return a == b or (isinstance(a, Box) and a.is_real and b == UNKNOWN)
    lower = _aligned(a.lower, b.lower)
    upper = _aligned(a.upper, b.upper)
    if len(lower[0]) != len(lower[1]) or len(upper[0]) != len(upper[1]):
        return max(a.lower) <= min(b.lower) and max(b.upper) <= min(a.upper)
    return all(x <= y for x, y in zip(*lower, strict=True)) and all(x >= y for x, y in zip(*upper, strict=True))


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
