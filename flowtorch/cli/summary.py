"""``flowtorch summary``: what a model's file holds."""

from __future__ import annotations

import argparse
import dataclasses

from . import output
from .model import open_model


def run(given: argparse.Namespace) -> None:
    """Prints columns, how the model was fitted, and its layers."""
    model = open_model(given.model)
    table, about = model.flow.summary(), model.notes.get("fit")
    about = about if isinstance(about, dict) else {}
    columns = [("given", c) for c in model.columns.given] + [("", c) for c in model.columns.chosen]
    names = [c.name if c.name.isprintable() else repr(c.name) for _, c in columns]  # the file may be anyone's
    width = max(map(len, names))
    page = "\n".join(
        f"{name:<{width}}  {c.least:>12.6g} to {c.most:<12.6g} {'; '.join(t for t in (word, c.text()) if t)}".rstrip()
        for name, (word, c) in zip(names, columns, strict=True)
    )
    lines = [("model", f"{given.model}"), ("columns", page)]
    if isinstance(about.get("mean_log_prob"), float):
        lines.append(("score", f"{about['mean_log_prob']:.4f} nats a row, of {about.get('rows_held_out')} held out"))
    if isinstance(about.get("steps"), int):
        lines.append(("fit", f"{about.get('flow')}, {about['steps']:,} steps, seed {about.get('seed')}"))
    found = {
        "model": str(given.model),
        "columns": model.columns.notes(),
        "fit": about,
        "parameters": table.parameters,
        "layers": [dataclasses.asdict(row) for row in table.rows],
    }
    output.say(given.json, found, f"{output.report(lines)}\n\n{table}")
