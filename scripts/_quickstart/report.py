"""The words and numbers that ``scripts/quickstart`` prints, and the table of samples."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np

from .fit import Result, step_sizes
from .lattice import Heavy, Lattice
from .table import Table

INDENT = " " * 11


def about_table(table: Table, name: str, credit: tuple[str, ...] = ()) -> str:
    """What was read."""
    rows, columns = table.values.shape
    lines = [f"table      {name}: {rows:,} rows, {columns} column{'s' * (columns > 1)}"]
    lines += [INDENT + line for line in credit]
    if not table.has_header:
        lines.append(f"{INDENT}no header: columns are called 'column 1' and so on")
    lines += [INDENT + note for note in table.notes]
    return "\n".join(lines)


def about_columns(names: list[str], lattices: list[Lattice | None], heavy: list[Heavy | None]) -> str:
    """Which columns lie on a lattice, and which have values that are too common for a density."""
    by_step: dict[str, list[str]] = {}
    for name, lattice in zip(names, lattices, strict=True):
        if lattice is not None:
            by_step.setdefault(f"{lattice.step:.6g}", []).append(name)
    lines = ["lattice    no column's values lie on a lattice"]
    if by_step:
        lines = ["lattice    the values of these columns lie on one: dequantised, uniform noise of one step is added"]
        lines += [f"{INDENT}  step {step}: {', '.join(found)}" for step, found in by_step.items()]
    for name, value in zip(names, heavy, strict=True):
        if value is not None:
            lines.append(
                f"warning    {name!r}: {value.share:.0%} of the rows are exactly {value.value:.6g}, {value.repeats:.0%}"
                f" repeat a value.\n{INDENT}No density has such points: the flow spikes there, its figure means little."
            )
    return "\n".join(lines)


def headline(result: Result) -> str:
    """The comparison in one line."""
    difference = result.score - result.gaussian
    if math.isnan(result.gaussian):
        return f"validation log-likelihood per row: flow {result.score:.2f} nats".replace(" -", " \N{MINUS SIGN}")
    flow, gaussian = (f"{value:.2f}".replace("-", "\N{MINUS SIGN}") for value in (result.score, result.gaussian))
    above = f"{difference:+.2f}".replace("-", "\N{MINUS SIGN}")
    return f"validation log-likelihood per row: flow {flow}, full-covariance Gaussian {gaussian} nats ({above})"


def about_fit(result: Result, names: list[str], smoke: bool) -> str:
    """How the fit went, and how good it is."""
    train, stop, test = result.rows
    difference, kind = result.score - result.gaussian, str(result.dtype).removeprefix("torch.")
    lines = [
        f"fit        {result.steps:,} steps in {result.seconds:.0f} s, {kind}",
        f"{INDENT}rows: {train:,} to train on, {stop:,} to choose the step to keep, {test:,} held out",
        "",
        str(result.flow.summary()),
        "",
        "validation log-likelihood per row (held out), nats, in the table's units" + ", dequantised" * result.noisy,
        f"{INDENT}flow                      {result.score:10.3f}",
    ]
    if result.dependent:
        columns = [repr(names[i]) for i in result.dependent]
        found = ", ".join(columns[:6]) + f" and {len(columns) - 6} more" * (len(columns) > 6)
        lines += [
            f"{INDENT}full-covariance Gaussian        none: the covariance is singular",
            "",
            f"warning    {found}: some are linear functions of the others in the {train:,} rows to train on.",
            f"{INDENT}Such rows have no density, the flow's figure means little. Leave columns out or bring more rows.",
        ]
    else:
        lines += [
            f"{INDENT}full-covariance Gaussian  {result.gaussian:10.3f}",
            f"{INDENT}difference                {difference:+10.3f}  (standard error {result.error:.3f})",
            "",
        ]
        if difference < -2 * result.error:
            lines.append("note       the flow is below the Gaussian: too few rows for its columns or too few --seconds")
    if smoke:
        lines.append("smoke      a run to see that everything works; the figures mean nothing")
    return "\n".join(lines)


def samples_csv(samples: np.ndarray, table: Table, lattices: list[Lattice | None], digits: int) -> str:
    """Samples with the header of the table, on the lattices of its columns; constant columns are put back."""
    columns: dict[str, list[str]] = {}
    for name, values, lattice in zip(table.names, samples.T, lattices, strict=True):
        if lattice is None:
            columns[name] = [f"{value:.{digits}g}" for value in values.tolist()]
        else:
            columns[name] = [lattice.text(value) for value in lattice.floor(values).tolist()]
    for name, constant in table.constants.items():
        columns[name] = [f"{constant:.15g}"] * len(samples)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if table.has_header:
        writer.writerow(table.header)
    writer.writerows(zip(*(columns[name] for name in table.header), strict=True))
    return stream.getvalue()


def about_files(out: Path, table: Table, lattices: list[Lattice | None], samples: np.ndarray, shown: int) -> str:
    """What was written."""
    low, high = table.values.min(0), table.values.max(0) + step_sizes(lattices)
    beyond = float(((samples < low) | (samples > high)).any(1).mean())
    columns = len(table.names)
    limit = f" (the first {shown} of {columns} columns)" if columns > shown else ""
    floored = "; values of lattice columns are rounded down to the lattice" if any(lattices) else ""
    return "\n".join(
        [
            f"picture    {out / 'quickstart.png'}: data and samples{limit}",
            f"samples    {out / 'samples.csv'}: {len(samples):,} rows{floored}",
            f"{INDENT}{beyond:.1%} of the rows have a value outside the range of the table's; they are kept",
        ]
    )
