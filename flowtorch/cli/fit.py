"""``flowtorch fit``: from a table to a model."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from typing import Any

from ..errors import DomainError, FileError, OptionError
from . import output, tables
from .extra import AnyArray, Array, np
from .gaussian import conditional_gaussian
from .model import Model, NoisyLikelihood, build, is_periodic, middles
from .plans import make_plan
from .score import about_noise, mean_and_error
from .select import Selected, select
from .words import listed

LOOKS = 50  # how often the rows that choose the weights are scored in a run


def run(given: argparse.Namespace) -> None:
    """Fits, scores the rows held out beside a Gaussian, writes the model, and reports.

    Raises:
        FileError: for a table that cannot be fitted.
    """
    output.check(given.output, given.force)
    if given.hold_out_to:
        output.check(given.hold_out_to, given.force, tables.ENDINGS, option="--hold-out-to")
        if not given.hold_out:
            raise OptionError("option --hold-out-to: rows that are held out are expected; got --hold-out 0.")
    plan = make_plan(given.flow, given.set)
    chosen = select(tables.read(given.table), given, is_periodic(plan))
    learnt, held = _split(len(chosen.values), given)
    values, context = chosen.values, chosen.context
    model_context = None if context is None else context[learnt]
    try:
        flow = build(plan, chosen.columns, values[learnt], model_context, given.seed)
    except DomainError as error:  # constant in the rows drawn, though not in all
        raise FileError(f"table: columns that vary are expected in {str(given.table)!r}; got this: {error}") from error
    lines = [("table", f"{given.table}: {len(values):,} rows, {about(chosen)}"), *chosen.told]
    if not given.json:
        print(output.report(lines), flush=True)

    model = Model(flow, chosen.columns, {})
    fitted, notes = _train(model, values[learnt], model_context, given)
    found: dict[str, Any] = {
        "table": str(given.table),
        "model": str(given.output),
        "flow": given.flow,
        "columns": [column.name for column in chosen.columns.chosen],
        "given": [column.name for column in chosen.columns.given],
        "dequantised": {c.name: c.lattice.step for c in chosen.columns.chosen if c.lattice},
        "dtype": str(next(flow.parameters()).dtype).removeprefix("torch."),
        "parameters": sum(p.numel() for p in flow.parameters()),
        "rows": len(learnt),
        "rows_held_out": len(held),
        "seed": given.seed,
        "notes": {label: text for label, text in chosen.told},
        **notes,
    }
    after = [
        ("fit", fitted),
        ("rows", f"{len(learnt):,} to learn from and to choose the weights by, {len(held):,} held out"),
    ]
    if len(held):
        scores, words = _compare(model, chosen, learnt, held, given.seed)
        found |= scores
        after += words
    saved = Model(flow.eval(), chosen.columns, {"fit": {k: v for k, v in found.items() if k not in ("table", "model")}})
    if given.hold_out_to:
        tables.write(given.hold_out_to, chosen.frame.iloc[held][chosen.columns.names])
        after.append(("held out", f"{given.hold_out_to}: these rows"))
    saved.save(given.output)
    after.append(("model", f"{given.output}: flowtorch sample, score, plot and summary take it"))
    output.say(given.json, found, output.report(after))


def about(chosen: Selected) -> str:
    """Returns what is modelled, in words."""
    columns = chosen.columns
    given = f" given {listed(c.name for c in columns.given)}" if columns.given else ""
    return f"{len(columns.chosen)} columns{given}"


def _split(count: int, given: argparse.Namespace) -> tuple[AnyArray, AnyArray]:
    """Returns the numbers of the rows to learn from and of those held out, drawn by the seed."""
    order = np.random.default_rng(given.seed).permutation(count)
    held = round(given.hold_out * count)
    return np.sort(order[held:]), np.sort(order[:held])


def _train(model: Model, values: Array, context: Array | None, given: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Trains the flow in place; returns how that went, in words and as data."""
    from ..train import fit  # Lightning is imported there, which takes seconds

    rows = len(values)
    batch = given.batch_size or min(512, max(32, rows // 8))
    choosing = min(max(rows / 10, min(100.0, rows / 4)), 5_000.0)  # fewer choose badly
    epoch = math.ceil((rows - choosing) / batch)
    steps = given.max_steps or min(20_000, max(2_000, 100 * epoch))
    shown = sys.stderr.isatty() if given.progress is None else given.progress
    looks = {"val_check_interval": max(20, steps // LOOKS), "check_val_every_n_epoch": None}
    with contextlib.redirect_stdout(sys.stderr):  # the bar: standard output is the report's
        found = fit(
            model.flow,
            model.tensor(middles(model.columns, values)),
            None if context is None else model.tensor(context),
            loss=NoisyLikelihood(model.columns),
            validation=choosing / rows,
            batch_size=batch,
            max_steps=steps,
            learning_rate=given.learning_rate,
            patience=given.patience,
            seed=given.seed,
            progress=shown,
            trainer=looks,
        )
    stopped = ", where it stopped improving" if found.stopped_early else ""
    count, dtype = sum(p.numel() for p in model.flow.parameters()), next(model.flow.parameters()).dtype
    words = (
        f"{given.flow}, {count:,} parameters, {str(dtype).removeprefix('torch.')}: {found.steps:,} steps in "
        f"{found.seconds:.0f} s{stopped}; the weights of step {found.best_step:,} are kept"
    )
    if found.skipped:
        words += f"\n{len(found.skipped)} steps were left out, not being finite: {found.skipped[0][1]}"
    kept = ("steps", "epochs", "seconds", "best_step", "stopped_early")
    return words, {
        **{name: getattr(found, name) for name in kept},
        "losses": {"training": found.train, "validation": found.validation},
    }


def _compare(
    model: Model, chosen: Selected, learnt: AnyArray, held: AnyArray, seed: int
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Returns the scores of the rows held out, beside those of a Gaussian; as data, and in words."""
    contexts = [None if chosen.context is None else chosen.context[rows] for rows in (learnt, held)]
    scores = model.log_prob(chosen.values[held], contexts[1], seed)
    mean, error = mean_and_error(scores)
    noisy = [middles(model.columns, chosen.values[rows]) for rows in (learnt, held)]
    gaussian = conditional_gaussian(noisy, contexts, [c.name for c in (*model.columns.chosen, *model.columns.given)])
    found: dict[str, Any] = {"mean_log_prob": mean, "standard_error": error}
    text = "log-likelihood of a row held out, in nats and the table's units\n"
    text += f"flow                      {mean:12.4f}   standard error {error:.4f}\n"
    warned: list[tuple[str, str]] = []
    if gaussian.dependent:
        text += "full-covariance Gaussian          none, its covariance is singular"
        warned = [
            (
                "warning",
                f"{listed(gaussian.dependent)}: some are linear functions of the others.\nSuch rows have no density, "
                "and the flow's figure means little: leave columns out, or bring more rows.",
            )
        ]
    else:
        other, _ = mean_and_error(gaussian.scores)
        difference, spread = mean_and_error(scores - gaussian.scores)
        text += f"full-covariance Gaussian  {other:12.4f}\n"
        text += f"difference                {difference:+12.4f}   standard error {spread:.4f}"
        found |= {"gaussian_mean_log_prob": other, "difference": difference, "difference_standard_error": spread}
        if difference < -2 * spread:
            warned = [("note", "the flow is below the Gaussian: too few rows for so many columns, or too few steps")]
    return found, [("score", text), *about_noise(model.columns), *warned]
