"""Writes ``website/flows.md``: the table of the divergences, and the pictures."""

from __future__ import annotations

import math
import platform
import statistics
from pathlib import Path
from typing import Any

from . import models, pictures, problems, runs

LIBRARIES = tuple(runs.MADE_WITH)  # the first is ours
Results = dict[tuple[str, str, str], dict[str, Any]]

TEXT = """# Ready-made flows in the plane

How well each plan of `flowtorch.flows` fits each two-dimensional target of `flowtorch.distributions.targets`, and what
other libraries make of the same, all with their defaults: {steps:,} steps of Adam on {batch} fresh draws each, its
learning rate falling from {rate:g} to zero along a cosine; the same draws for all. `scripts/flows_2d` writes this
page.

A number is KL(target || flow): the mean of log p - log q over {held:,} draws that no flow has seen, less is better,
zero is exact. The smallest of each plan and target is bold, with all that lie within two standard errors of it; *none*
says that the flow has no density at some draw; an empty cell that it was not trained. Defaults differ in size, and ours
are among the larger: parameters and time stand beside. *Seconds* are processor time on one core for a training, the
median over targets, with what JAX compiles; other work ran on the machine, so read them as an order of magnitude.

{summary}

{table}

`ncsf` lives on the torus: its targets are scaled to about its size and wound around it (for the checkerboard, which
fills it, this is exact), and its base is uniform. All others start from a standard normal in the plane, which FlowJAX
trains too, as its own fit does. zuko's `NICE` is affine by default; beside `nice` it is given additive maps, and beside
`realnvp` it is `RealNVP` as it comes. The splines of FlowJAX are those of its documentation: 8 knots on [-4, 4]. Its
`iaf` is `masked_autoregressive_flow(invert=False)`. zuko's `NSF` is autoregressive; as couplings it is the same in the
plane.

Standard errors are below {error:.3f} in all but {exceptions}. Neal's funnel has such tails that a few draws of the
{held:,} may decide.

{machine}

## Densities and samples

For each target the density of the target and of each flow, on one scale, and below it {samples:,} samples.

{gallery}
"""


def write(folder: Path, steps: int, seed: int, website: Path) -> None:
    """Writes the page and the pictures beside it."""
    found = {key[:3]: run for key, run in runs.load(folder / "results.jsonl").items() if key[3:] == (steps, seed)}
    for target in problems.PROBLEMS:
        if ("nsf", "zuko", target) in found:  # the same in the plane
            found["nsf, coupling", "zuko", target] = found["nsf", "zuko", target]
    if not found:
        raise SystemExit(f"No results of {steps} steps in {folder}: run scripts/flows_2d train first.")
    drawn = pictures.write(folder, website / "pictures")
    gallery = "\n\n".join(
        f"### {problems.PROBLEMS[target].title.capitalize()}\n\n"
        f"![{problems.PROBLEMS[target].title}: densities and samples](pictures/{name})"
        for target, name in drawn.items()
    )
    loud = sorted(
        {
            problems.PROBLEMS[run["target"]].title
            for run in found.values()
            if math.isfinite(run["kl"]) and run["error"] > 0.03
        }
    )
    page = TEXT.format(
        steps=steps,
        batch=problems.BATCH,
        rate=models.LEARNING_RATE,
        held=problems.HELD_OUT,
        summary=_summary(found),
        table=_table(found),
        error=0.03,
        exceptions=", ".join(loud) or "none",
        machine=_machine(found),
        samples=runs.SAMPLES,
        gallery=gallery,
    )
    (website / "flows.md").write_text(page)


def _table(found: Results) -> str:
    targets = list(problems.PROBLEMS)
    lines = [
        "| plan | library | " + " | ".join(problems.PROBLEMS[t].title for t in targets) + " | parameters | seconds |",
        "|---|---|" + "---:|" * (len(targets) + 2),
    ]
    for plan in models.PLANS:
        heading = f"`{plan}`"
        for library in LIBRARIES:
            row = [found.get((plan, library, target)) for target in targets]
            done = [run for run in row if run is not None]
            if not done:
                continue
            cells = [
                _cell(run, [found.get((plan, other, run["target"])) for other in LIBRARIES]) if run else ""
                for run in row
            ]
            name, heading = heading, ""
            seconds = statistics.median(run["seconds"] for run in done)
            lines.append(
                f"| {name} | {library} | " + " | ".join(cells) + f" | {done[0]['parameters']:,} | {seconds:.0f} |"
            )
    return "\n".join(lines)


def _cell(run: dict[str, Any], rivals: list[dict[str, Any] | None]) -> str:
    if not math.isfinite(run["kl"]):
        return "none"
    best = min((r for r in rivals if r is not None), key=lambda r: r["kl"])
    text = f"{run['kl']:.3f}" if run["kl"] < 100 else f"{run['kl']:.0f}"
    return f"**{text}**" if run["kl"] <= best["kl"] + 2 * max(run["error"], best["error"]) else text


def _summary(found: Results) -> str:
    """How often a flow of ours is nearer to the target than the same of another library."""
    sentences = []
    for library in LIBRARIES[1:]:
        pairs = [(found.get((p, "flowtorch", t)), run) for (p, lib, t), run in found.items() if lib == library]
        both = [(ours["kl"], run["kl"]) for ours, run in pairs if ours is not None]
        if both:
            won = sum(a < b for a, b in both)
            sentences.append(
                f"flowtorch's divergence is the smaller in {won} of {len(both)} comparisons with {library}."
            )
    return " ".join(sentences)


def _machine(found: Results) -> str:
    versions = {k: v for run in found.values() for k, v in run.get("versions", {}).items()}
    cpu = next(iter(run["cpu"] for run in found.values() if run.get("cpu")), "")
    return (
        f"{cpu}, 1 core, float32; Python {platform.python_version()}, "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + "."
    )
