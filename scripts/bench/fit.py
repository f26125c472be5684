"""The throughput of ``flowtorch.train.fit`` beside that of a loop written by hand, on the same data and flow.

    python scripts/bench/fit.py                          # on 6 synthetic columns
    python scripts/bench/fit.py --data power.npz         # on the first array of a file of numpy's

The two take turns, each on a new copy of the flow for as many steps, on one thread; what counts is the median of the
rounds' ratios. A call of ``fit`` is timed as a whole, with all that it does before and after the steps.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from pathlib import Path

import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.train import fit


def by_hand(flow: dist.Flow, x: torch.Tensor, batch: int, steps: int) -> None:
    """The loop that one would write."""
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3, fused=True)
    order, place = torch.randperm(len(x)), 0
    for _ in range(steps):
        if place + batch > len(x):
            order, place = torch.randperm(len(x)), 0
        optimizer.zero_grad()
        loss = -flow.log_prob(x[order[place : place + batch]]).mean()
        loss.backward()
        optimizer.step()
        place += batch


def by_fit(flow: dist.Flow, x: torch.Tensor, batch: int, steps: int) -> None:
    """The same with ``fit``."""
    fit(
        flow,
        x,
        batch_size=batch,
        max_steps=steps,
        validation=None,
        clip_norm=None,
        schedule="constant",
        initialize=False,
        progress=False,
        trainer={"accelerator": "cpu"},
    )


def by_fit_with_all(flow: dist.Flow, x: torch.Tensor, batch: int, steps: int) -> None:
    """``fit`` with its defaults: a tenth held back and validated at the end, clipping, and a schedule."""
    fit(flow, x, batch_size=batch, max_steps=steps, progress=False, trainer={"accelerator": "cpu"})


def synthetic(rows: int) -> torch.Tensor:
    """Six columns with heavy tails that depend on each other."""
    z = torch.randn(rows, 6, generator=torch.Generator().manual_seed(0))
    return torch.cat([z[:, :1], torch.sinh(z[:, 1:] * 0.7) + 0.5 * z[:, :1]], -1)


def load(path: Path) -> torch.Tensor:
    """The first table of a file, or the household power data as the MAF paper takes them, in units of their spread."""
    import numpy as np

    found = np.load(path)
    if isinstance(found, np.ndarray) or "gap" not in found.files:
        table = found if isinstance(found, np.ndarray) else next(found[k] for k in found.files if found[k].ndim == 2)
    else:
        random, learnt = np.random.RandomState(0), found["split"] == 0
        n = len(learnt)
        gap = found["gap"] / 1000 + 0.001 * random.rand(n)
        voltage = found["voltage"] / 100 + 0.01 * random.rand(n)
        table = np.stack([gap, voltage, *(found["sm"].T + random.rand(3, n)), found["minute"]], 1)[learnt]
    table = (table - table.mean(0)) / table.std(0)
    return torch.from_numpy(table.astype("float32"))


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    torch.set_num_threads(1)
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    x = synthetic(200_000) if options.data is None else load(options.data)
    torch.manual_seed(1)
    layers = [bij.Invert(bij.SplineAutoregressive(params.MADE(hidden_dims=(128, 128)))) for _ in range(3)]
    start = dist.Flow(dist.DiagNormal(x.shape[1]), bij.Compose(layers))
    ways = {"by hand": by_hand, "fit": by_fit, "fit, its defaults": by_fit_with_all}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(copy.deepcopy(start), x, options.batch, 3)  # what is done once is done
    for r in range(options.rounds):
        for name, way in list(ways.items())[:: 1 if r % 2 == 0 else -1]:
            flow = copy.deepcopy(start)
            torch.manual_seed(r)
            began = clock()
            way(flow, x, options.batch, options.steps)
            seconds[name].append(clock() - began)
    print(f"\n{len(x)} rows of {x.shape[1]} columns, batches of {options.batch}, {options.steps} steps a round")
    for name, found in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(seconds["by hand"], found, strict=True))
        rows = options.batch * options.steps / statistics.median(found)
        print(f"{name:20} {rows:10,.0f} rows/s   {100 * ratio:6.1f} % of the throughput by hand")


if __name__ == "__main__":
    main()
