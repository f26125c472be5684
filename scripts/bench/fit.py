"""The throughput of ``flowtorch.train.fit`` beside that of a loop written by hand, on the same data and flow.

    python scripts/bench/fit.py                                     # on 6 synthetic columns
    python scripts/bench/fit.py --data power_trainval.npz           # on the household power data, or a table of numpy's

``fit`` has all its defaults: a tenth of the rows held back and validated after each epoch, clipping, a schedule, early
stopping, a look at every gradient whether it is finite. The loop by hand has none of that. They take turns, each on a
new copy of the flow for as many steps, on one thread; what counts is the median of the rounds' ratios, for the whole
call with all that it does before, between and after the steps, and for the median step alone.
"""

from __future__ import annotations

import argparse
import copy
import functools
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.train import fit

Clock = Callable[[], float]


def by_hand(flow: dist.Flow, x: torch.Tensor, batch: int, steps: int, clock: Clock) -> list[float]:
    """The loop that one would write; returns when each step began."""
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3, fused=True)
    order, place, began = torch.randperm(len(x)), 0, []
    for _ in range(steps):
        began.append(clock())
        if place + batch > len(x):
            order, place = torch.randperm(len(x)), 0
        optimizer.zero_grad()
        loss = -flow.log_prob(x[order[place : place + batch]]).mean()
        loss.backward()
        optimizer.step()
        place += batch
    return began


def by_fit(
    flow: dist.Flow, x: torch.Tensor, batch: int, steps: int, clock: Clock, progress: bool = False
) -> list[float]:
    """The same, and more, with ``fit``."""
    noting = Noting(clock)
    options = {"accelerator": "cpu", "callbacks": noting}
    fit(flow, x, batch_size=batch, max_steps=steps, progress=progress, trainer=options)
    return noting.began


class Noting(Callback):
    """Notes when steps begin."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.began: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        """Notes one."""
        self.began.append(self.clock())


WAYS = {"by hand": by_hand, "fit": by_fit, "fit, with its bar": functools.partial(by_fit, progress=True)}


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
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    torch.set_num_threads(1)
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    x = synthetic(200_000) if options.data is None else load(options.data)
    torch.manual_seed(1)
    layer = bij.Invert(bij.SplineAutoregressive(params.MADE(hidden_dims=(128, 128))))
    start = dist.Flow(dist.DiagNormal(x.shape[1]), bij.Compose([layer] * options.layers))
    calls: dict[str, list[float]] = {name: [] for name in WAYS}
    steps: dict[str, list[float]] = {name: [] for name in WAYS}
    for way in WAYS.values():
        way(copy.deepcopy(start), x[: 3 * options.batch], options.batch, 3, clock)  # what is done once is done
    for r in range(options.rounds):
        for name, way in list(WAYS.items())[:: 1 if r % 2 == 0 else -1]:
            flow = copy.deepcopy(start)
            torch.manual_seed(r)
            began = clock()
            found = way(flow, x, options.batch, options.steps, clock)
            calls[name].append(clock() - began)
            steps[name].append(statistics.median(b - a for a, b in itertools.pairwise(found)))
    print(f"\n{len(x)} rows of {x.shape[1]} columns, batches of {options.batch}, {options.steps} steps a call")
    for name in WAYS:
        whole, step = (
            statistics.median(a / b for a, b in zip(of["by hand"], of[name], strict=True)) for of in (calls, steps)
        )
        rows, ms = options.batch * options.steps / statistics.median(calls[name]), 1000 * statistics.median(steps[name])
        print(f"{name:18} {rows:9,.0f} rows/s  {100 * whole:5.1f} %   {ms:8.2f} ms a step  {100 * step:5.1f} %")


if __name__ == "__main__":
    main()
