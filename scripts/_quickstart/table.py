"""Reads a table of numbers from delimited text, and says what is wrong with one that cannot be used."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import itertools
import lzma
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

MISSING = frozenset("na n/a #n/a null none nil missing ? - .".split())
DELIMITERS = {"\t": "tab", ";": "semicolon", ",": "comma"}  # in the order in which they are tried
MIN_ROWS = 20
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")
_OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


class TableError(Exception):
    """The table cannot be used; the message is one line for the person who gave it."""


@dataclass(frozen=True)
class Table:
    """Columns of numbers without gaps.

    ``values`` holds the columns that vary; ``header`` and ``constants`` say how to put a row of the file together
    again.
    """

    names: list[str]
    values: np.ndarray
    header: list[str]
    has_header: bool
    constants: dict[str, float]
    notes: list[str] = field(default_factory=list)


@dataclass
class _Column:
    values: array[float] = field(default_factory=lambda: array("d"))
    missing: int = 0
    text: int = 0
    example: str = ""


def read_table(path: Path) -> Table:
    """Returns the table in a file, or raises a TableError that says what is wrong with it."""
    text = _decode(path)
    lines = text.splitlines()
    if not any(line.strip() for line in lines):
        raise TableError(f"{path}: the file is empty.")
    delimiter = _delimiter(lines)
    rows = _rows(text, delimiter, path)
    head = list(itertools.islice(rows, 50))
    has_header = _has_header([cells for _, cells in head], delimiter)
    width = len(head[0][1])
    names = [f"column {i + 1}" for i in range(width)]
    if has_header:
        names = _names(head.pop(0)[1], path)
    columns, count = _columns(itertools.chain(head, rows), width, delimiter, path)
    _refuse_text(columns, names, count, path)
    return _clean(columns, names, has_header, count, path)


def _decode(path: Path) -> str:
    if not path.exists():
        raise TableError(f"{path}: there is no such file.")
    if not path.is_file():
        raise TableError(f"{path}: a file is expected, not a directory or device.")
    try:
        opener = _OPENERS.get(path.suffix.lower(), open)
        stream: IO[bytes]
        with opener(path, "rb") as stream:
            raw = stream.read()
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise TableError(f"{path}: it cannot be read ({error}).") from None
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ["utf-16"]
    elif b"\x00" in raw:
        raise TableError(f"{path}: delimited text is expected; this is a binary file.")
    else:
        encodings = ["utf-8-sig", "cp1252", "latin-1"]
    for encoding in encodings:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise TableError(f"{path}: delimited text is expected; this is not text.")


def _delimiter(lines: list[str]) -> str:
    """The first of tab, semicolon and comma that cuts nearly all of the first lines into one number of cells, above
    1."""
    sample = [line for line in lines[:200] if line.strip()][:100]
    best, best_share = ",", 0.0
    for delimiter in DELIMITERS:
        try:
            widths = Counter(len(cells) for cells in csv.reader(sample, delimiter=delimiter, skipinitialspace=True))
        except csv.Error:
            continue  # reading the rows says where
        width, hits = max(widths.items(), key=lambda item: (item[0] > 1, item[1]))
        share = hits / sum(widths.values()) if width > 1 else 0.0
        if share >= 0.9:
            return delimiter
        if share > best_share:
            best, best_share = delimiter, share
    return best


def _rows(text: str, delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and stripped cells of the lines that are not blank."""
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter, skipinitialspace=True)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise TableError(f"{path}: line {reader.line_num} cannot be read ({error}).") from None


def number(cell: str, delimiter: str = ",") -> float | None:
    """A cell as a number, NaN for a missing one, None for text. Where commas do not delimit, 1,5 is 1.5."""
    try:
        value = float(cell)
    except ValueError:
        if not cell or cell.lower() in MISSING:
            return math.nan
        if delimiter != "," and _DECIMAL_COMMA.fullmatch(cell):
            return float(cell.replace(",", "."))
        return None
    if "_" in cell:
        return None
    return value if math.isfinite(value) else math.nan


def _has_header(rows: list[list[str]], delimiter: str) -> bool:
    """Whether the first row names the columns: text only, or text above a column that is numbers from there on."""
    first = [number(cell, delimiter) for cell in rows[0]]
    if None not in first:
        return False
    if all(value is None or math.isnan(value) for value in first):
        return True
    below = [row for row in rows[1:] if len(row) == len(first)]
    return any(
        value is None and below and all(number(row[i], delimiter) is not None for row in below)
        for i, value in enumerate(first)
    )


def _names(cells: list[str], path: Path) -> list[str]:
    first = cells[0].removeprefix("#").strip()  # as numpy.savetxt marks a header
    names = [name or f"column {i + 1}" for i, name in enumerate([first, *cells[1:]])]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        where = "; ".join(f"{n!r} in columns {_join(i + 1 for i, m in enumerate(names) if m == n)}" for n in twice)
        raise TableError(f"{path}: each column needs a name of its own; duplicated in the header: {where}.")
    return names


def _columns(
    rows: Iterable[tuple[int, list[str]]], width: int, delimiter: str, path: Path
) -> tuple[list[_Column], int]:
    columns = [_Column() for _ in range(width)]
    ragged: list[str] = []
    count = ragged_count = 0
    for line, cells in rows:
        if len(cells) != width:
            ragged_count += 1
            if len(ragged) < 5:
                ragged.append(f"line {line} has {len(cells)}")
            continue
        count += 1
        for column, cell in zip(columns, cells, strict=True):
            value = number(cell, delimiter)
            if value is None:
                column.text += 1
                column.example = column.example or f"line {line}: {_short(cell)!r}"
                value = math.nan
            elif math.isnan(value):
                column.missing += 1
            column.values.append(value)
    if ragged:
        more = f" and {ragged_count - len(ragged)} more lines" if ragged_count > len(ragged) else ""
        kind = DELIMITERS[delimiter]
        raise TableError(
            f"{path}: all rows need the {_count(width, 'cell')} of the first (cut at each {kind}); "
            f"{', '.join(ragged)}{more}."
        )
    return columns, count


def _refuse_text(columns: list[_Column], names: list[str], count: int, path: Path) -> None:
    bad = [(name, c) for name, c in zip(names, columns, strict=True) if c.text]
    if bad:
        listed = "; ".join(f"{name!r} ({c.text} of {count} cells, {c.example})" for name, c in bad)
        raise TableError(f"{path}: columns that are not numbers: {listed}. Leave them out or make numbers of them.")


def _clean(columns: list[_Column], names: list[str], has_header: bool, count: int, path: Path) -> Table:
    """Drops what cannot be fitted, and says so column by column."""
    notes: list[str] = []
    empty = [name for name, c in zip(names, columns, strict=True) if c.missing == count]
    if empty:
        notes.append(f"empty columns, left out: {_quote(empty)}")
    kept = [(name, c) for name, c in zip(names, columns, strict=True) if c.missing < count]
    if not kept:
        raise TableError(f"{path}: there are no numbers below the header; {_count(count, 'row')}.")
    values = np.stack([np.frombuffer(c.values, dtype=np.float64) for _, c in kept], 1)
    whole = ~np.isnan(values).any(1)
    gaps = ", ".join(f"{name!r} {c.missing}" for name, c in kept if c.missing)
    rows = int(whole.sum())
    if gaps:
        notes.append(f"missing values by column: {gaps}; {count - rows} of {count} rows with one are dropped")
    if rows < MIN_ROWS:
        lost = f"; missing values by column: {gaps}" if gaps else ""
        raise TableError(
            f"{path}: at least {MIN_ROWS} rows without missing values are needed; {rows} of {count} are left{lost}."
        )
    values = values[whole]
    low, high = values.min(0), values.max(0)
    flat = low == high
    constants = {name: float(low[i]) for i, (name, _) in enumerate(kept) if flat[i]}
    if constants:
        listed = ", ".join(f"{name!r} = {value:g}" for name, value in constants.items())
        notes.append(f"constant columns, not fitted, written to the samples as they are: {listed}")
    if flat.all():
        raise TableError(f"{path}: at least one column that varies is needed; constant columns: {listed}.")
    varying = [name for i, (name, _) in enumerate(kept) if not flat[i]]
    values = values[:, ~flat]
    with np.errstate(over="ignore", invalid="ignore"):
        size, spread = np.abs(values).max(0), values.std(0)
    wild = [name for i, name in enumerate(varying) if size[i] > 1e100 or not spread[i] > 1e-100]
    if wild:
        raise TableError(f"{path}: numbers between 1e-100 and 1e100 are expected; change the unit of {_quote(wild)}.")
    return Table(varying, values, [name for name, _ in kept], has_header, constants, notes)


def _short(cell: str, width: int = 30) -> str:
    return cell if len(cell) <= width else cell[: width - 3] + "..."


def _quote(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _join(items: Iterable[int]) -> str:
    return ", ".join(str(item) for item in items)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
