"""Which columns of a table are fitted, and what they are like."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import FileError, OptionError
from .columns import Column, Columns, describe
from .extra import Array, np, pd
from .lattice import find_heavy, find_lattice
from .tables import as_numbers, choose, numbers
from .words import did_you_mean, listed

MIN_ROWS = 20


@dataclass(frozen=True)
class Selected:
    """Rows to fit: the table they are from, what its columns are, numbers, and what there is to tell."""

    frame: pd.DataFrame
    columns: Columns
    values: Array
    context: Array | None
    told: list[tuple[str, str]]


def select(frame: pd.DataFrame, given: argparse.Namespace, periodic: bool) -> Selected:
    """Returns what the options choose of a table.

    Args:
        frame: the table.
        given: the options of ``fit``.
        periodic: whether the flow is one of angles.

    Raises:
        OptionError: for options that name no columns of the table.
        FileError: for a table with cells that are no number, by row and column, or columns that do not vary.
    """
    source, names = str(given.table), list(frame.columns)
    context = choose("option --given", given.given, names)
    chosen = choose("option --columns", given.columns, names) or [name for name in names if name not in context]
    both = [name for name in chosen if name in context]
    if both or not chosen:
        got = f"{listed(both)} in both" if both else "none left"
        raise OptionError(f"option --columns: columns other than those of --given are expected; got {got}.")
    told: list[tuple[str, str]] = []
    if given.drop:
        frame, chosen, told = _dropped(frame, chosen, context, source)
    values = numbers(frame, chosen, source)
    conditions = numbers(frame, context, source) if context else None
    if len(values) < MIN_ROWS:
        raise FileError(f"table: at least {MIN_ROWS} rows are expected in {source!r}; got {len(values)}.")
    flat = [
        n
        for n, cells in zip(chosen + context, (*values.T, *_transposed(conditions)), strict=True)
        if np.ptp(cells) == 0
    ]
    if flat:
        raise FileError(
            f"table: columns that vary are expected in {source!r}; got one value in all rows of {listed(flat)}. Leave "
            "them out with --columns, or with --drop."
        )
    columns = Columns(
        _bounded(_rounded(chosen, values, given.continuous), given.bounds, periodic),
        describe(context, conditions) if conditions is not None else (),
    )
    columns.values(frame, source)  # refuses what is out of bounds
    return Selected(frame, columns, values, conditions, told + _about(columns, values))


def _transposed(values: Array | None) -> Array | tuple[()]:
    return () if values is None else values.T


def _dropped(
    frame: pd.DataFrame, chosen: Sequence[str], context: Sequence[str], source: str
) -> tuple[pd.DataFrame, list[str], list[tuple[str, str]]]:
    """Returns a table without rows that have gaps and columns that are no numbers, and what was left out."""
    cells = {name: as_numbers(frame[name]) for name in (*chosen, *context)}
    told: list[tuple[str, str]] = []
    text = [
        n for n in chosen if bool((np.isnan(cells[n]) & frame[n].notna().to_numpy()).any()) or np.isnan(cells[n]).all()
    ]
    if text:
        told.append(("left out", f"columns that are not numbers: {listed(text)}"))
    kept = [name for name in chosen if name not in text]
    whole = np.logical_and.reduce([np.isfinite(cells[name]) for name in (*kept, *context)], initial=True)
    if not whole.all():
        told.append(("left out", f"{np.sum(~whole):,} of {len(whole):,} rows, with missing values"))
    flat = [name for name in kept if whole.any() and np.ptp(cells[name][whole]) == 0]
    if flat:
        told.append(("left out", f"columns with one value in all rows: {listed(flat)}"))
    kept = [name for name in kept if name not in flat]
    if not kept:
        raise FileError(f"table: a column of numbers that vary is expected in {source!r}; got none.")
    return frame[whole], kept, told


def _rounded(names: Sequence[str], values: Array, continuous: Sequence[str]) -> tuple[Column, ...]:
    """Returns columns, with the steps of those that are rounded."""
    as_they_are = choose("option --continuous", continuous, names)
    return tuple(
        column if column.name in as_they_are else replace(column, lattice=find_lattice(cells))
        for column, cells in zip(describe(names, values), values.T, strict=True)
    )


def _bounded(columns: tuple[Column, ...], bounds: Sequence[str], periodic: bool) -> tuple[Column, ...]:
    """Returns columns with the bounds that options say; a circle is as long as that of radius 1 if they do not."""
    ends = dict.fromkeys((c.name for c in columns), (-math.pi, math.pi) if periodic else (-math.inf, math.inf))
    for text in bounds:
        name, _, interval = text.rpartition("=")
        if name not in ends:
            hint = did_you_mean(name or interval, list(ends))
            raise OptionError(
                f"option --bounds: NAME=LOW:HIGH of a column that is fitted is expected; got {text!r}.{hint}"
            )
        try:
            low, high = (float(end) for end in interval.split(":"))
        except ValueError:
            low, high = math.nan, math.nan
        if not low < high:
            raise OptionError(f"option --bounds: NAME=LOW:HIGH, two numbers in order, is expected; got {text!r}.")
        ends[name] = low, high
    return tuple(_within(column, *ends[column.name], periodic) for column in columns)


def _within(column: Column, low: float, high: float, periodic: bool) -> Column:
    if periodic and column.lattice and column.most < high:
        # Both ends are one point of the circle: there the step that begins at the largest value ends.
        high = max(column.most, high - column.lattice.step)
    return replace(column, low=low, high=high)


def _about(columns: Columns, values: Array) -> list[tuple[str, str]]:
    """Returns what there is to tell of columns: steps, bounds, and values that no density has."""
    told: list[tuple[str, str]] = []
    by_step: dict[str, list[str]] = {}
    for column in columns.chosen:
        if column.lattice:
            by_step.setdefault(f"{column.lattice.step:.6g}", []).append(column.name)
    if by_step:
        text = "these columns are rounded: dequantised, uniform noise of one step is added"
        told.append(
            ("rounded", "\n".join([text, *(f"  step {s}: {', '.join(names)}" for s, names in by_step.items())]))
        )
    bounded = [f"{c.name} in ({c.low:g}, {c.high:g})" for c in columns.chosen if c.bounded]
    if bounded:
        told.append(("bounds", ", ".join(bounded)))
    for column, cells in zip(columns.chosen, values.T, strict=True):
        heavy = find_heavy(cells, column.lattice)
        if heavy:
            told.append(
                (
                    "warning",
                    f"{column.name!r}: {heavy.share:.0%} of the rows are exactly {heavy.value:.6g}, {heavy.repeats:.0%}"
                    " repeat a value.\nNo density has such points: the flow spikes there, and its figure means little.",
                )
            )
    return told
