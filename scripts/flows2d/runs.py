"""One run: a flow of a library trained on a target and scored; and the file that the results are kept in."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import models, problems

CELLS, SAMPLES = 160, 4_000
# The libraries, with the packages that decide what comes out.
MADE_WITH = {"flowtorch": ("flowtorch", "torch"), "zuko": ("zuko", "torch"), "FlowJAX": ("flowjax", "jax")}
Key = tuple[str, str, str, int, int]


def key_of(run: dict[str, Any]) -> Key:
    """Returns what a run is known by; a later run of the same takes the place of an earlier one."""
    return run["plan"], run["library"], run["target"], run["steps"], run["seed"]


def load(path: Path) -> dict[Key, dict[str, Any]]:
    """Returns the results, the last of each key."""
    if not path.exists():
        return {}
    lines = [
        json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")
    ]  # not one that was cut off
    return {key_of(run): run for run in lines}


def append(path: Path, run: dict[str, Any]) -> None:
    """Adds a result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(run) + "\n")


def picture_file(folder: Path, plan: str, target: str) -> Path:
    """Returns where the densities and samples of a flow of ours are kept for the pictures."""
    return folder / "drawn" / f"{plan.replace(', ', '_')}-{target}.npz"


def execute(folder: Path, library: str, plan: str, target: str, steps: int, seed: int) -> dict[str, Any]:
    """Trains and scores. Raises ``models.NotOffered`` if the library has no such flow."""
    torus = plan in models.TORUS
    model = models.build(library, plan, seed)
    batches = problems.training(target, torus, steps, seed)
    torch.manual_seed(seed)
    loss, seconds = models.timed(model, batches)
    run: dict[str, Any] = {"plan": plan, "library": library, "target": target, "steps": steps, "seed": seed}
    run |= score(model, target, torus)
    run |= {"loss": loss, "seconds": round(seconds, 2), "parameters": model.parameter_count()}
    run |= {"versions": {name: importlib.metadata.version(name) for name in MADE_WITH[library]}, "cpu": _cpu()}
    if library == "flowtorch":
        draw(model, target, torus, picture_file(folder, plan, target))
    return run


def score(model: models.Model, target: str, torus: bool) -> dict[str, Any]:
    """Returns KL(target || flow) as a mean over held-out draws, its standard error, and how many have no density."""
    x, log_p = problems.held_out(target, torus)
    excess = log_p - model.log_prob(x).double()
    bad = int((~excess.isfinite()).sum())
    if bad:
        return {"kl": math.inf, "error": math.inf, "bad": bad}
    return {"kl": float(excess.mean()), "error": float(excess.std()) / math.sqrt(len(x)), "bad": 0}


def draw(model: models.Model, target: str, torus: bool, path: Path) -> None:
    """Keeps log-densities on the square that is drawn, and samples."""
    grid = problems.lattice(target, torus, CELLS)
    log_q = model.log_prob(grid.reshape(-1, 2)).view(CELLS, CELLS)
    torch.manual_seed(0)
    samples = model.sample(SAMPLES)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path, log_q=log_q.clamp(-1e4, 1e4).numpy().astype(np.float16), samples=samples.numpy().astype(np.float32)
    )


def _cpu() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
