"""``flowtorch plot``: a table beside samples of a model, or the losses of its fit."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import FileError, OptionError
from . import output, tables
from .columns import Column
from .extra import Array, np
from .model import Model, dequantised, open_model

ENDINGS = (".png", ".pdf", ".svg")
MOST = 6  # columns in a picture, unless they are named
ROWS = 20_000  # more of them look no different


def run(given: argparse.Namespace) -> None:
    """Draws the picture.

    Raises:
        OptionError: for a table that is missing, or not needed.
        FileError: for a model without losses.
    """
    from .. import plot  # Matplotlib is imported there
    from ..container import replacing

    output.check(given.output, given.force, ENDINGS)
    if given.losses == bool(given.table):
        raise OptionError(f"plot: a table, or --losses, is expected; got {'both' if given.table else 'neither'}.")
    model = open_model(given.model)
    if given.losses:
        figure = plot.losses(_losses(model, str(given.model)), title=str(given.model))
        text = f"{given.output}: the losses of the fit"
    else:
        figure, text = _corner(model, given)
        text = f"{given.output}: {text}"
    with replacing(given.output) as file:
        figure.savefig(file, format=given.output.suffix[1:].lower(), dpi=150)
    output.say(given.json, {"model": str(given.model), "output": str(given.output)}, output.report([("picture", text)]))


def _losses(model: Model, source: str) -> dict[str, list[tuple[int, float]]]:
    notes = model.notes.get("fit")
    losses: Any = notes.get("losses") if isinstance(notes, dict) else None
    try:
        return {str(name): [(int(step), float(loss)) for step, loss in points] for name, points in losses.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise FileError(f"plot: a model with the losses of its fit is expected; got {source!r}, without.") from error


def _corner(model: Model, given: argparse.Namespace) -> tuple[Any, str]:
    from .. import plot

    source, chosen = str(given.table), model.columns.chosen
    names = [column.name for column in chosen]
    shown = tables.choose("option --columns", given.columns, names) or names[:MOST]
    frame = tables.read(given.table)
    frame = frame.iloc[np.sort(np.random.default_rng(given.seed).permutation(len(frame))[:ROWS])]
    values, context = model.columns.values(frame, source), model.columns.context(frame, source)
    samples = model.sample(len(values), context, given.seed).astype(np.float64)
    places = [names.index(name) for name in shown]
    figure = plot.corner(
        dequantised(model.columns, values, given.seed)[:, places],
        samples[:, places],
        labels=[_plain(name) for name in shown],
        bins=[_edges(chosen[j], values[:, j], len(values)) for j in places],
        names=("data", "samples of the flow"),
        title=_plain(f"{given.table.name}: {len(values):,} rows"),
    )
    hidden = f" (the first {MOST} of {len(names)} columns)" if not given.columns and len(names) > MOST else ""
    return figure, f"{len(values):,} rows and as many samples{hidden}"


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # a dollar in a column's name is a dollar


def _edges(column: Column, values: Array, count: int) -> Array | None:
    """Returns edges of bins that each hold equally many points of a rounded column, or the histogram shows combs."""
    if column.lattice is None:
        return None
    low, high = np.quantile(values, [0.001, 0.999])
    most = int(min(60, max(12, 1.6 * np.sqrt(count))))
    step = column.lattice.step
    width = step * max(1.0, np.ceil((high + step - low) / most / step))
    first = column.lattice.offset + width * np.floor((low - column.lattice.offset) / width)
    return np.asarray(first + width * np.arange(int(np.ceil((high + step - first) / width)) + 1))
