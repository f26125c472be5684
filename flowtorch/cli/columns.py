"""What a model knows of a table's columns: names, steps, bounds; and how that is kept in its file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import FileError
from .extra import AnyArray, Array, np, pd
from .lattice import Lattice
from .tables import numbers, refuse_cells


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Args:
        name: what it is called.
        least: the least value that was seen when the model was fitted.
        most: the largest one.
        low: the least value there can be.
        high: the largest one.
        lattice: where the values lie, if they are rounded.
    """

    name: str
    least: float
    most: float
    low: float = -math.inf
    high: float = math.inf
    lattice: Lattice | None = None

    @property
    def box(self) -> tuple[float, float]:
        """Between what its dequantised values lie: the step that begins at the largest value belongs to it."""
        return self.low, self.high + (self.lattice.step if self.lattice else 0.0)

    @property
    def bounded(self) -> bool:
        """Whether there are bounds."""
        return (self.low, self.high) != (-math.inf, math.inf)

    def outside(self, values: Array) -> AnyArray:
        """Returns where values are that the column cannot have; a bound itself is among them unless it is rounded."""
        if self.lattice:
            return (values < self.low) | (values > self.high)
        return (values <= self.low) | (values >= self.high)

    def off(self, values: Array) -> AnyArray:
        """Returns where values are that are not rounded as the column is."""
        if not self.lattice:
            return np.zeros(values.shape, dtype=bool)
        # Thirds with six decimals are off by more than a rounding error.
        return np.abs(values - self.lattice.nearest(values)) > 0.05 * self.lattice.step

    def text(self) -> str:
        """Returns what there is to say of it, in a few words."""
        bounds = f"{self.low:g} to {self.high:g}" if self.bounded else ""
        step = f"step {self.lattice.step:.6g}, dequantised" if self.lattice else ""
        return "; ".join(part for part in (bounds, step) if part)


@dataclass(frozen=True)
class Columns:
    """The columns of a model.

    Args:
        chosen: those it is a density of.
        given: those it is conditioned on.
    """

    chosen: tuple[Column, ...]
    given: tuple[Column, ...] = ()

    @property
    def names(self) -> list[str]:
        """What a table needs to have."""
        return [column.name for column in (*self.given, *self.chosen)]

    @property
    def steps(self) -> Array:
        """The step of each chosen column, 0 where it is not rounded."""
        return np.array([c.lattice.step if c.lattice else 0.0 for c in self.chosen])

    def values(self, frame: pd.DataFrame, source: str) -> Array:
        """Returns the chosen columns of a table, ``(rows, columns)``.

        Raises:
            FileError: for a column that is not there, and by row and column for cells that are no number, outside
                their bounds or not rounded as those the model was fitted to.
        """
        names = [column.name for column in self.chosen]
        found = numbers(frame, names, source)
        for j, column in enumerate(self.chosen):
            cells, one = found[:, j : j + 1], [column.name]
            strictly = "" if column.lattice else "strictly "
            between = f"values {strictly}between {column.low:g} and {column.high:g}"
            refuse_cells(column.outside(cells), frame, one, between, source)
            if column.lattice:
                steps = f"values in steps of {column.lattice.step:.6g}, as the model was fitted to,"
                refuse_cells(column.off(cells), frame, one, steps, source)
        return found

    def context(self, frame: pd.DataFrame, source: str) -> Array | None:
        """Returns the given columns of a table, None if there are none.

        Raises:
            FileError: for a column that is not there, and by row and column for cells that are no number.
        """
        return numbers(frame, [column.name for column in self.given], source) if self.given else None

    def frame(self, values: Array, context: Array | None) -> pd.DataFrame:
        """Returns a table of what a model drew: rounded down to the steps of columns that have them, within bounds."""
        out: dict[str, Any] = {c.name: context[:, j] for j, c in enumerate(self.given) if context is not None}
        for j, column in enumerate(self.chosen):
            cells = values[:, j]
            if column.lattice:
                cells = np.clip(column.lattice.floor(cells.astype(np.float64)), column.low, column.high)
                whole = column.lattice.decimals == 0 and bool((np.abs(cells) < 2**53).all())
                cells = cells.astype(np.int64) if whole else cells
            elif column.bounded:
                # A sigmoid that is all but 1 is rounded to it.
                ends = (np.asarray(end, dtype=cells.dtype) for end in column.box)
                low, high = (np.nextafter(end, towards) for end, towards in zip(ends, (np.inf, -np.inf), strict=True))
                cells = np.clip(cells, low, high)
            out[column.name] = cells
        return pd.DataFrame(out)

    def notes(self) -> dict[str, Any]:
        """Returns what a model's file keeps of the columns: plain data, None for an infinite bound."""

        def plain(column: Column) -> dict[str, Any]:
            return {k: None if v in (math.inf, -math.inf) else v for k, v in asdict(column).items()}

        return {"chosen": list(map(plain, self.chosen)), "given": list(map(plain, self.given))}


def from_notes(notes: object, source: str) -> Columns:
    """Returns the columns that :meth:`Columns.notes` wrote.

    Raises:
        FileError: for notes that are none of a model's columns.
    """
    try:
        if isinstance(notes, Mapping):
            columns = Columns(*(tuple(map(_column, notes[key])) for key in ("chosen", "given")))
            if columns.chosen and all(map(_is_sound, (*columns.chosen, *columns.given))):
                return columns
    except (TypeError, ValueError, KeyError, OverflowError):
        pass  # as what is no notes at all
    raise FileError(
        f"load: a model that `flowtorch fit` wrote is expected in {source!r}; got a file without a table's columns."
    )


def _column(notes: Mapping[str, Any]) -> Column:
    low = -math.inf if notes["low"] is None else float(notes["low"])
    high = math.inf if notes["high"] is None else float(notes["high"])
    lattice = notes["lattice"]
    if lattice is not None:
        decimals = None if lattice["decimals"] is None else int(lattice["decimals"])
        lattice = Lattice(float(lattice["step"]), float(lattice["offset"]), decimals)
    return Column(notes["name"], float(notes["least"]), float(notes["most"]), low, high, lattice)


def _is_sound(column: Column) -> bool:
    lattice = column.lattice or Lattice(1.0, 0.0, None)
    numbers = (column.least, column.most, lattice.step, lattice.offset)
    return (
        isinstance(column.name, str)
        and all(map(math.isfinite, numbers))
        and lattice.step > 0
        and column.low < column.high
    )


def describe(names: Sequence[str], values: Array) -> tuple[Column, ...]:
    """Returns columns with the range of their values."""
    return tuple(
        Column(name, float(cells.min()), float(cells.max())) for name, cells in zip(names, values.T, strict=True)
    )
