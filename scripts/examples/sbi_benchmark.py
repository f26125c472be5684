"""Neural posterior estimation by sbi with flowtorch's flows: two tasks of the benchmark sbibm, scored as it scores.

From pairs of prior and simulator sbi trains the default flow of ``flowtorch.sbi.posterior_nn``, with sbi's own
settings. At observations of the benchmark a classifier is to tell 10,000 draws of it from as many of the true
posterior: its accuracy (C2ST) is 0.5 at best, 1 at worst. Needs sbi (``pip install -e '.[sbi]'``) and the benchmark's
observations and true draws: its wheel (``pip download --no-deps sbibm==1.1.0``, MIT), which is read as it is, or those
of its first observation in a file of numpy's, as ``<task>_obs`` and ``<task>_ref``.

Benchmarking Simulation-Based Inference (Lueckmann et al., 2021), https://arxiv.org/abs/2101.04653, appendices M and T.

    python scripts/examples/sbi_benchmark.py sbibm-1.1.0-py2.py3-none-any.whl        # both tasks, three seeds
"""

from __future__ import annotations

import argparse
import bz2
import math
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sbi.inference import NPE, DirectPosterior
from sbi.neural_nets import posterior_nn as posterior_nn_of_sbi
from sbi.utils import BoxUniform
from sbi.utils.metrics import c2st
from sbi.utils.tracking import TensorBoardTracker
from torch.distributions import Distribution, MultivariateNormal
from torch.utils.tensorboard.writer import SummaryWriter

from flowtorch.sbi import posterior_nn


class Task(NamedTuple):
    """A task of the benchmark, and the mean C2ST it gives for NPE with 10,000 simulations."""

    prior: Distribution
    simulate: Callable[[torch.Tensor], torch.Tensor]
    published: float


def moon(theta: torch.Tensor) -> torch.Tensor:
    """A point on a half-ring, moved by the parameters; the sign of their sum leaves no trace."""
    angle = math.pi * (torch.rand(len(theta)) - 0.5)
    radius = 0.1 + 0.01 * torch.randn(len(theta))
    ring = torch.stack([radius * angle.cos() + 0.25, radius * angle.sin()], -1)
    return ring + torch.stack([-theta.sum(-1).abs(), theta[:, 1] - theta[:, 0]], -1) / math.sqrt(2)


def shifted(theta: torch.Tensor) -> torch.Tensor:
    """The parameters with noise of variance 0.1."""
    return theta + math.sqrt(0.1) * torch.randn_like(theta)


TASKS = {
    "two_moons": Task(BoxUniform(-torch.ones(2), torch.ones(2)), moon, 0.606),
    "gaussian_linear": Task(MultivariateNormal(torch.zeros(10), 0.1 * torch.eye(10)), shifted, 0.552),
}
ESTIMATORS = {"flowtorch": posterior_nn, "sbi": lambda: posterior_nn_of_sbi("nsf")}
MARGIN = 0.03


def given(path: Path, task: str, observation: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns an observation and draws of the true posterior at it."""
    if path.suffix == ".npz":
        if observation != 1:
            raise SystemExit(f"{path} is taken to hold the first observation only; the wheel has ten.")
        with np.load(path, allow_pickle=False) as file:
            return torch.tensor(file[f"{task}_obs"]), torch.tensor(file[f"{task}_ref"])
    folder = f"sbibm/tasks/{task}/files/num_observation_{observation}"
    with zipfile.ZipFile(path) as wheel:
        texts = (
            wheel.read(f"{folder}/observation.csv"),
            bz2.decompress(wheel.read(f"{folder}/reference_posterior_samples.csv.bz2")),
        )
    at, reference = (
        torch.tensor(np.loadtxt(text.decode().splitlines(), delimiter=",", skiprows=1, dtype=np.float32))
        for text in texts
    )
    return at, reference


def train(task: Task, estimator: str, simulations: int) -> DirectPosterior:
    """Returns the posterior that sbi finds, for any observation."""
    theta = task.prior.sample((simulations,))
    x = task.simulate(theta)
    with tempfile.TemporaryDirectory() as logs:
        tracker = TensorBoardTracker(SummaryWriter(logs))
        trainer = NPE(task.prior, ESTIMATORS[estimator](), tracker=tracker, show_progress_bars=False)
        trainer.append_simulations(theta, x).train()
    return trainer.build_posterior()


def score(reference: torch.Tensor, found: torch.Tensor) -> float:
    """Returns the C2ST as sbibm defines it: by five-fold cross-validation of a network without early stopping."""
    width = 10 * reference.shape[1]
    network = {"activation": "relu", "solver": "adam", "hidden_layer_sizes": (width, width), "max_iter": 10_000}
    return float(c2st(reference, found, seed=1, n_folds=5, classifier="mlp", classifier_kwargs=network))


def run(name: str, seed: int, options: argparse.Namespace) -> list[float]:
    """Trains once, prints and returns the scores at all observations."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    started = time.perf_counter()
    posterior = train(TASKS[name], options.estimator, options.simulations)
    seconds = time.perf_counter() - started
    scores = []
    for observation in options.observations:
        at, reference = given(options.source, name, observation)
        found = posterior.sample((len(reference),), x=at, show_progress_bars=False)
        scores.append(score(reference, found))
    shown = " ".join(f"{c:.3f}" for c in scores)
    print(f"  {name}, seed {seed}, trained in {seconds:.0f} s: C2ST {shown}", flush=True)
    return scores


def main() -> None:
    """Prints a line for each task and seed, and one for each task."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="the benchmark's wheel, or a file of numpy's with its draws")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--observations", nargs="+", type=int, choices=range(1, 11), default=[1], metavar="1..10")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--simulations", type=int, default=10_000)
    parser.add_argument("--estimator", choices=ESTIMATORS, default="flowtorch", help="sbi has a spline flow of its own")
    options = parser.parse_args()
    for name in options.tasks:
        report(name, [np.mean(run(name, seed, options)) for seed in options.seeds], options.simulations)


def report(name: str, means: Sequence[float], simulations: int) -> None:
    """Prints the scores of all seeds, means over observations, beside the published one."""
    published = TASKS[name].published
    limit = published + MARGIN
    print(
        f"{name}, {simulations:,} simulations: C2ST {min(means):.3f} to {max(means):.3f}; published mean "
        f"{published:.3f}, with a margin {limit:.3f}: {'within' if max(means) <= limit else 'NOT within'}",
        flush=True,
    )


if __name__ == "__main__":
    main()
