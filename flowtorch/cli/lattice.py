"""Finds columns whose values lie on a lattice, ``offset + step * integer``, and values that carry a mass of their own.

A density fitted to such a column grows without bound at its points. Spreading each value over the step that begins at
it, uniformly, makes a density of the column; its integral over a step is the probability of the value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .extra import AnyArray, Array, np

MAX_DECIMALS = 320
HEAVY = 0.05  # a value that so many rows share is called heavy
FINE = 1e-6  # a step of so many standard deviations is nothing to a density; the digits of numbers always have one
COARSE = 0.02  # a step of so many standard deviations is coarse: its values may be heavy and still have a histogram


@dataclass(frozen=True)
class Lattice:
    """The points ``offset + step * k``; ``decimals`` write them exactly, None where no number of decimals does."""

    step: float
    offset: float
    decimals: int | None

    def floor(self, values: Array) -> Array:
        """Returns the point at which the step that holds each value begins."""
        return self._rounded(np.floor((values - self.offset) / self.step))

    def nearest(self, values: Array) -> Array:
        """Returns the point that is nearest to each value."""
        return self._rounded(np.rint((values - self.offset) / self.step))

    def _rounded(self, index: Array) -> Array:
        points = self.offset + self.step * index
        if self.decimals is not None and self.decimals < 20:  # more of them overflow
            points = np.round(points, self.decimals)
        return points + 0.0  # no "-0"


@dataclass(frozen=True)
class Heavy:
    """A value that a share of the rows has exactly; ``repeats`` of the rows repeat an earlier one."""

    value: float
    share: float
    repeats: float


def find_lattice(values: Array) -> Lattice | None:
    """Returns the coarsest lattice that holds a column, if its values repeat on it or are few and far between."""
    points, counts = np.unique(values, return_counts=True)
    candidates = [_coarsest(points, rounding, least) for rounding, least in _roundings(points)]
    found = max((lattice for lattice in candidates if lattice is not None), key=lambda x: x.step, default=None)
    spread = float(values.std())
    if found is None or found.step < FINE * spread or not (_repeats(counts) or found.step >= COARSE * spread):
        return None
    return found


def find_heavy(values: Array, lattice: Lattice | None) -> Heavy | None:
    """Returns the most common value, if it or many others repeat, and no step of some width takes the spike away."""
    points, counts = np.unique(values, return_counts=True)
    top = int(counts.argmax())
    share, repeats = float(counts[top]) / len(values), 1 - len(points) / len(values)
    spread = lattice is not None and lattice.step >= COARSE * values.std()
    heavy = share >= HEAVY and counts[top] >= 10
    if spread or not (heavy or (lattice is None and repeats >= 2 * HEAVY)):
        return None
    return Heavy(float(points[top]), share, repeats)


def _roundings(points: Array) -> list[tuple[float, float]]:
    """Returns how far off binary numbers may be, and the least step that can be told from that.

    In double precision and, if all values are float32 numbers, maybe printed with nine digits or more, in single.
    """
    largest = float(np.abs(points).max())
    double, single = largest * float(np.finfo(np.float64).eps), largest * float(np.finfo(np.float32).eps)
    out = [(4 * double, 400 * double)]
    if largest < 1e38 and bool((np.abs(points.astype(np.float32) - points) <= 1e-9 * np.abs(points)).all()):
        out.append((single, 25 * single))
    return out


def _coarsest(points: Array, rounding: float, least: float) -> Lattice | None:
    exact = _decimal(points, rounding, least)
    return _equidistant(points, rounding, None if exact is None else exact.step) or exact


def _repeats(counts: AnyArray) -> bool:
    """Returns whether at least one row in a hundred repeats an earlier one, apart from heavy values."""
    light = counts[counts < max(HEAVY * counts.sum(), 2)] if len(counts) > 20 else counts
    return bool(light.sum() - len(light) >= 0.01 * light.sum()) and light.sum() > 0


def _decimal(points: Array, rounding: float, least: float) -> Lattice | None:
    """Returns the coarsest lattice among those of finitely many decimals: exact, by a greatest common divisor."""
    offsets = points - points[0]
    few = offsets[:: max(1, len(offsets) // 50)]
    start = max(0, -math.floor(math.log10(offsets[-1])))
    for decimals in range(start, MAX_DECIMALS):
        unit = 10.0**-decimals
        if unit < least or unit == 0.0:
            return None
        if not (_on(few, unit, rounding) and _on(offsets, unit, rounding)):
            continue
        divisor = int(np.gcd.reduce(np.rint(offsets / unit).astype(np.int64)))
        places = decimals if abs(_off(points[:1], unit)[0]) <= rounding else None
        return Lattice(float(f"{divisor}e-{decimals}"), float(points[0]), places)
    return None


def _equidistant(points: Array, rounding: float, step: float | None) -> Lattice | None:
    """Returns a lattice much coarser than the decimals of its rounded points (thirds), or without any (halves)."""
    margin = 1.05 * step if step is not None else 2 * rounding
    offsets = points - points[0]
    smallest = float(np.diff(points).min())
    if smallest < 50 * margin:
        return None
    for parts in range(1, 13):
        guess = smallest / parts
        if guess < 50 * margin:
            return None
        # The smallest distance is off by up to a margin: refined on ever longer stretches, or far points would not fit.
        reach = guess * 2
        while True:
            near = offsets[offsets <= reach] if reach < offsets[-1] else offsets
            index = np.rint(near / guess)
            if index @ index > 0:
                guess = float(index @ near / (index @ index))
            if len(near) == len(offsets):
                break
            reach *= 4
        if guess >= 50 * margin and _on(offsets, guess, margin) and (step is None or guess > 1.5 * step):
            return Lattice(guess, float(points[0]), None)
    return None


def _off(values: Array, step: float) -> Array:
    return values - step * np.rint(values / step)


def _on(values: Array, step: float, margin: float) -> bool:
    return bool((np.abs(_off(values, step)) <= margin).all())
