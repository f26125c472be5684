"""``flowtorch sample``: rows drawn from a model."""

from __future__ import annotations

import argparse
import sys

from ..errors import OptionError
from . import output, tables
from .columns import Columns
from .extra import Array, np
from .model import open_model
from .words import did_you_mean, listed

COUNT = 1000


def run(given: argparse.Namespace) -> None:
    """Writes, or prints, the rows."""
    if given.output:
        output.check(given.output, given.force, tables.ENDINGS)
    model = open_model(given.model)
    context = _context(given, model.columns)
    rows = model.sample(given.count or COUNT, context, given.seed)
    frame = model.columns.frame(rows, context)
    if given.output:
        tables.write(given.output, frame)
        found = {"model": str(given.model), "rows": len(frame), "output": str(given.output)}
        output.say(given.json, found, f"samples    {given.output}: {len(frame):,} rows of {listed(frame.columns)}")
    elif given.json:
        output.say(True, {"model": str(given.model), "rows": frame.to_dict(orient="records")}, "")
    else:
        frame.to_csv(sys.stdout, index=False)


def _context(given: argparse.Namespace, columns: Columns) -> Array | None:
    """Returns the given columns, a row for each row that is to be drawn; None if the model has none."""
    names = [column.name for column in columns.given]
    if bool(given.given) + bool(given.given_file) != bool(names):
        expected = f"--given, or --given-file, with {listed(names)} is" if names else "no --given or --given-file is"
        got = "both" if given.given and given.given_file else "one" if given.given or given.given_file else "none"
        raise OptionError(f"sample: {expected} expected of this model; got {got}.")
    if not names:
        return None
    if given.given_file:
        context = columns.context(tables.read(given.given_file), str(given.given_file))
        assert context is not None
        context = context.repeat(given.count or 1, axis=0)
    else:
        context = np.tile(_values(given.given, names), (given.count or COUNT, 1))
    for column, cells in zip(columns.given, context.T, strict=True):
        if cells.min() < column.least or cells.max() > column.most:
            between = f"{column.least:g} and {column.most:g}"
            output.warn(f"{column.name!r} was between {between} in the fit; what is drawn beyond is a guess.")
    return context


def _values(words: list[str], names: list[str]) -> Array:
    found: dict[str, float] = {}
    for word in words:
        name, _, text = word.rpartition("=")
        if name not in names:
            raise OptionError(
                f"option --given: name=value of a column that the model is conditioned on is expected; got {word!r}."
                f"{did_you_mean(name or text, names)}"
            )
        try:
            found[name] = float(text)
        except ValueError:
            found[name] = np.nan
        if not np.isfinite(found[name]):
            raise OptionError(f"option --given: a number for {name!r} is expected; got {text!r}.")
    missing = [name for name in names if name not in found]
    if missing:
        raise OptionError(
            f"option --given: a value of each of {listed(names)} is expected; got none of {listed(missing)}."
        )
    return np.array([found[name] for name in names])
