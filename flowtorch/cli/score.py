"""``flowtorch score``: log-likelihoods of rows."""

from __future__ import annotations

import argparse
import math

from . import output, tables
from .columns import Columns
from .extra import Array, np, pd
from .model import open_model


def run(given: argparse.Namespace) -> None:
    """Prints the mean, and writes the scores row by row."""
    if given.output:
        output.check(given.output, given.force, tables.ENDINGS)
    model = open_model(given.model)
    frame, source = tables.read(given.table), str(given.table)
    values, context = model.columns.values(frame, source), model.columns.context(frame, source)
    scores = model.log_prob(values, context, given.seed)
    if given.output:
        tables.write(given.output, pd.DataFrame({"row": np.arange(1, len(scores) + 1), "log_prob": scores}))
    mean, error = mean_and_error(scores)
    found = {
        "model": str(given.model),
        "table": source,
        "rows": len(scores),
        "mean_log_prob": mean,
        "standard_error": error,
        "dequantised": {c.name: c.lattice.step for c in model.columns.chosen if c.lattice},
        "output": str(given.output) if given.output else None,
    }
    lines = [
        ("scores", f"{source}: {len(scores):,} rows"),
        ("mean", f"{mean:.4f} nats a row, standard error {error:.4f}, in the table's units"),
        *about_noise(model.columns),
    ]
    if given.output:
        lines.append(("output", f"{given.output}: row (from 1) and log_prob"))
    output.say(given.json, found, output.report(lines))


def mean_and_error(scores: Array) -> tuple[float, float]:
    """Returns the mean of scores and its standard error."""
    return float(scores.mean()), float(scores.std(ddof=1) / math.sqrt(len(scores))) if len(scores) > 1 else math.nan


def about_noise(columns: Columns) -> list[tuple[str, str]]:
    """Returns what scores mean where columns are rounded."""
    steps = columns.steps[columns.steps > 0]
    if not len(steps):
        return []
    volume = float(np.log(steps).sum())
    text = "rounded columns are dequantised: a score is the log-density of the row with uniform noise of one step added"
    if len(steps) == len(columns.steps):
        text += (
            f".\nPlus {volume:.4f}, the sum of the logs of the steps, it is on average at most the log-probability of "
            "the rounded row"
        )
    return [("note", text)]
