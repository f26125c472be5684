"""Fits a spline flow to a table within a budget of time, and compares it with a Gaussian on rows held out."""

from __future__ import annotations

import copy
import math
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params

from .lattice import Lattice
from .table import TableError

CHECKS = 40  # how often the rows for stopping are scored in a run
PATIENCE = 12  # so many scores without a new best end the run
EPOCHS = 150  # small tables are through before the time is
CHUNK = 4096


@dataclass(frozen=True)
class Budget:
    """What a fit may cost, and where its randomness starts."""

    seconds: float
    seed: int
    max_steps: int = 10**9


@dataclass(frozen=True)
class Split:
    """Rows, at random: to train on, to stop by, and to score at the end."""

    train: np.ndarray
    stop: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Result:
    """A fitted flow and its mean log-likelihood per row held out, in nats and data units, beside a Gaussian's."""

    flow: dist.Flow
    dtype: torch.dtype
    score: float
    gaussian: float
    error: float  # of the difference: its standard error
    rows: tuple[int, int, int]
    steps: int
    seconds: float
    noisy: bool  # whether columns were dequantised
    dependent: list[int]  # columns that are all but linear functions of each other: then there is no Gaussian


def split_rows(values: np.ndarray, seed: int, most: int | None = None) -> Split:
    """Shuffles the rows and cuts them: a tenth, at most 20,000, to score; a tenth, at most 5,000, to stop by."""
    order = np.random.default_rng(seed).permutation(len(values))[:most]
    tenth = max(4, len(order) // 10)
    test, stop = min(tenth, 20_000), min(tenth, 5_000)
    return Split(values[order[test + stop :]], values[order[test : test + stop]], values[order[:test]])


def step_sizes(lattices: list[Lattice | None]) -> np.ndarray:
    """The step of each column, 0 where it has no lattice."""
    return np.array([0.0 if lattice is None else lattice.step for lattice in lattices])


def dequantise(values: np.ndarray, lattices: list[Lattice | None], seed: int) -> np.ndarray:
    """Adds uniform noise of one step to each column on a lattice."""
    return np.asarray(values + step_sizes(lattices) * np.random.default_rng([seed, 1]).random(values.shape))


def make_plan(train: np.ndarray, names: list[str]) -> bij.Compose:
    """Autoregressive layers, in turn in the order of the columns and in reverse, then the data's units.

    Three spline layers, and next to the data an affine one, linear in the columns before: what a Gaussian knows. Each
    is inverted, so that it scores rows in one pass and draws them column by column. The box of the last splines holds
    all of the data; the layers before see something close to a standard normal.
    """
    rows, columns = train.shape
    units = bij.Standardize.from_data(torch.from_numpy(train), names=names)
    farthest = float(np.abs((train - train.mean(0)) / train.std(0)).max())
    width, bins = (128, 16) if rows >= 20_000 else (64, 12) if rows >= 2_000 else (32, 8)
    forth = tuple(range(columns))
    back = forth[::-1]
    layers: list[bij.Bijector] = []
    for order, bound in ((back, 4.0), (forth, 4.0), (back, min(max(4.0, 1.05 * farthest), 40.0))):
        network = params.MADE(hidden_dims=(width, width), permutation=order)
        spline = bij.SplineAutoregressive(network, count_bins=bins, bound=bound, order="quadratic")
        layers.append(bij.Invert(spline))
    linear = params.MADE(hidden_dims=(), permutation=forth)
    return bij.Compose([*layers, bij.Invert(bij.AffineAutoregressive(linear)), units])


def fit(split: Split, lattices: list[Lattice | None], names: list[str], budget: Budget) -> Result:
    """Trains until the time is up or the rows for stopping score no better, and keeps the best state."""
    started = time.perf_counter()
    torch.manual_seed(budget.seed)
    steps = step_sizes(lattices)
    noisy = dequantise(split.train, lattices, budget.seed)
    flat = [name for name, low, high in zip(names, noisy.min(0), noisy.max(0), strict=True) if low == high]
    if flat:
        raise TableError(f"columns with one value in all rows drawn for training: {', '.join(flat)}. Leave them out.")
    dtype = working_type(noisy, steps)
    flow = dist.Flow(dist.DiagNormal(noisy.shape[1:]), make_plan(noisy, names)).to(dtype)

    rows, step = torch.from_numpy(split.train).to(dtype), torch.from_numpy(steps).to(dtype)
    stop = torch.from_numpy(dequantise(split.stop, lattices, budget.seed + 1)).to(dtype)
    test = dequantise(split.test, lattices, budget.seed + 2)
    batch = min(512, max(32, len(rows) // 8))
    last = min(budget.max_steps, max(1_000, EPOCHS * len(rows) // batch))
    optimizer = torch.optim.Adam(flow.parameters(), lr=3e-3)
    best, best_state, checked, waited = -math.inf, copy.deepcopy(flow.state_dict()), 0, 0
    done, taken, loss = 0.0, 0, torch.tensor(0.0)
    order, place = torch.randperm(len(rows)), 0

    layout = "{l_bar}{bar}| {elapsed}{postfix}"
    quiet = 0.2 if sys.stderr.isatty() else 15.0
    with tqdm(total=100, desc="fitting", bar_format=layout, mininterval=quiet) as bar:
        while done < 1.0 and waited < PATIENCE:
            if place + batch > len(order):
                order, place = torch.randperm(len(rows)), 0
            x = rows[order[place : place + batch]]
            x = x + step * torch.rand_like(x)  # fresh noise for every batch
            place += batch

            optimizer.param_groups[0]["lr"] = 3e-3 * min(1.0, (taken + 1) / 100) * (1 + math.cos(math.pi * done)) / 2
            loss = -flow.log_prob(x).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
            optimizer.step()

            taken += 1
            done = min(1.0, max(taken / last, (time.perf_counter() - started) / budget.seconds))
            if int(done * CHECKS) > checked or done == 1.0:
                checked, waited = int(done * CHECKS), waited + 1
                score = float(log_prob(flow, stop).mean())
                if score > best:
                    best, best_state, waited = score, copy.deepcopy(flow.state_dict()), 0
                bar.set_postfix_str(f"nats a row: train {-loss.item():.2f}, held out {score:.2f}", refresh=False)
            bar.update(100 * done - bar.n)
    flow.load_state_dict(best_state)

    reference, dependent = gaussian(noisy, test)
    scores = log_prob(flow, torch.from_numpy(test).to(dtype)).double().numpy()
    return Result(
        flow=flow,
        dtype=dtype,
        score=float(scores.mean()),
        gaussian=float(reference.mean()),
        error=float((scores - reference).std() / math.sqrt(len(test))),
        rows=(len(split.train), len(split.stop), len(split.test)),
        steps=taken,
        seconds=time.perf_counter() - started,
        noisy=bool(steps.any()),
        dependent=dependent,
    )


def working_type(values: np.ndarray, steps: np.ndarray) -> torch.dtype:
    """float64 where float32 is too coarse for a column's spread or step, or has no such numbers; else float32."""
    largest, spread = np.abs(values).max(0), values.std(0)
    finest = np.where(steps > 0, np.minimum(spread, 20 * steps), spread)
    coarse = largest * float(np.finfo(np.float32).eps) > 1e-3 * finest
    return torch.float64 if bool((coarse | (largest > 1e30) | (spread < 1e-30)).any()) else torch.float32


def log_prob(flow: dist.Flow, rows: torch.Tensor) -> torch.Tensor:
    """Scores rows in pieces, so that memory stays small."""
    with torch.no_grad():
        return torch.cat([flow.log_prob(piece) for piece in rows.split(CHUNK)])


def sample(result: Result, count: int, seed: int) -> np.ndarray:
    """Draws rows from the fitted flow."""
    torch.manual_seed(seed)
    with torch.no_grad():
        pieces = [result.flow.sample((min(CHUNK, count - i),)) for i in range(0, count, CHUNK)]
    return torch.cat(pieces).double().numpy()


def gaussian(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Log-likelihoods of rows under the Gaussian with the mean and full covariance of others.

    Worked out in standardised units, as columns may differ by many orders of magnitude. Where the rows do not vary in
    some direction there is no such Gaussian: NaN, and the columns behind it.
    """
    mean, scale = train.mean(0), train.std(0)
    z, t = (train - mean) / scale, (test - mean) / scale
    values, vectors = np.linalg.eigh(z.T @ z / len(z))
    degenerate = vectors[:, values < 1e-8]
    if degenerate.size:
        return np.full(len(test), np.nan), np.flatnonzero((np.abs(degenerate) > 0.1).any(1)).tolist()
    distance = ((t @ vectors) ** 2 / values).sum(1)
    log_det = np.log(values).sum() + 2 * np.log(scale).sum()
    return -0.5 * (distance + log_det + len(mean) * math.log(2 * math.pi)), []
