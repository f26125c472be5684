"""German credit: the posterior of a logistic regression by variational inference, beside a long run's figures.

A thousand applicants of 24 features each: P(bad | x) = sigmoid(-b x), b ~ N(0, 10²) for each of the 25 coefficients,
with features divided by their deviations. The flow starts at the posterior's mode, with its curvature (Laplace's
approximation) as a fixed last layer; the reverse divergence does the rest.
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections.abc import Callable
from pathlib import Path

import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.flows as flows
import flowtorch.objectives as objectives

DATA = Path(__file__).parents[1] / "data" / "german_credit.csv.gz"
# By a long run of another program: log Z ± 0.002; means and deviations of 10,000 draws of Markov chains.
LOG_Z = -585.100
# fmt: off
MEAN = [
    -3.3612, 0.7423, -0.4254, 0.4179, -0.1259, 0.3713, 0.1820, 0.1539, -0.0139, -0.1838, 0.1123, 0.2269, -0.1235,
    -0.0309, 0.1371, 0.2957, -0.2824, 0.3037, -0.3156, -0.2811, -0.1253, 0.0603, 0.0945, 0.0219, 0.0212,
]
STD = [
    1.1905, 0.0902, 0.1040, 0.0944, 0.1097, 0.0960, 0.0933, 0.0827, 0.0916, 0.1054, 0.0978, 0.0787, 0.0953,
    0.0872, 0.0958, 0.1192, 0.0843, 0.1043, 0.1237, 0.1120, 0.1402, 0.1455, 0.0912, 0.1308, 0.1269,
]
# fmt: on
LogDensity = Callable[[torch.Tensor], torch.Tensor]


def posterior(path: Path) -> LogDensity:
    """Returns the log-density of labels and coefficients."""
    with gzip.open(path, "rt") as file:
        next(file)  # the columns' names
        table = torch.tensor([[float(entry) for entry in line.split(",")] for line in file], dtype=torch.float64)
    x, bad = table[:, :-1], table[:, -1]
    x = torch.cat([torch.ones(len(x), 1).double(), x / x.std(0, correction=0)], 1)
    signed = (x * (1 - 2 * bad)[:, None]).T  # P(label | x) = sigmoid(b x), with the sign of the label
    prior = torch.distributions.Normal(0.0, 10.0)

    def log_density(b: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.logsigmoid(b @ signed.to(b)).sum(-1) + prior.log_prob(b).sum(-1)

    return log_density


def laplace(log_density: LogDensity, size: int) -> bij.Whiten:
    """Returns the map from standard normal values to Laplace's approximation, found by Newton's method."""
    mode = torch.zeros(size, dtype=torch.float64)
    slope = torch.func.grad(log_density)
    curvature = torch.func.jacrev(slope)
    for _ in range(20):
        mode = mode - torch.linalg.solve(curvature(mode), slope(mode))
    return bij.Whiten(mode, torch.linalg.cholesky(torch.linalg.inv(-curvature(mode))))


def fit(log_density: LogDensity, steps: int, batch: int, rate: float = 5e-3) -> dist.Flow:
    """Trains a flow by the reverse divergence."""
    layers = flows.realnvp(layers=4, nonlinearity=torch.nn.Tanh).parts
    plan = bij.Compose([*layers, bij.LowerCholeskyAffine(), laplace(log_density, 25)])
    flow = dist.Flow(dist.DiagNormal(25), plan)
    optimizer = torch.optim.Adam(flow.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    started = time.perf_counter()
    for step in range(steps):
        optimizer.zero_grad()
        loss = objectives.reverse_kl(flow, log_density, batch)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % max(steps // 5, 1) == 0 or step == steps - 1:
            print(f"step {step:5}   ELBO {-loss.item():9.4f}   {time.perf_counter() - started:4.0f} s", flush=True)
    return flow


def report(flow: dist.Flow, log_density: LogDensity, count: int) -> None:
    """Prints what draws of the flow say, as they are and weighted."""
    found = objectives.importance_estimate(flow, log_density, count, chunk_size=5_000)
    elbo, log_z = found.log_weights.double().mean().item(), found.log_z.item()
    error = found.log_weights.double().std().item() / count**0.5
    print(f"\n{count:,} draws: effective size {found.effective_size:,.0f}, Pareto k {found.pareto_k:.2f}")
    print(f"  log Z of the long run  {LOG_Z:.3f}")
    print(f"  ELBO            {elbo:.4f} ± {error:.4f}   within 0.02: {yes(abs(elbo - LOG_Z) <= 0.02)}")
    print(f"  weighted log Z  {log_z:.4f} ± {found.log_z_error:.4f}   within 0.01: {yes(abs(log_z - LOG_Z) <= 0.01)}")
    y = found.samples.double()
    for name, mean, std in (
        ("draws of the flow", y.mean(0), y.std(0)),
        ("weighted draws", found.mean.double(), found.covariance.double().diagonal().sqrt()),
    ):
        off = (mean - torch.tensor(MEAN)).abs().max().item()
        ratio = (std / torch.tensor(STD) - 1).abs().max().item()
        verdict = yes(off <= 0.05 and ratio <= 0.05)
        print(f"  {name}: means within {off:.3f}, deviations within {ratio:.1%}; within 0.05 and 5 %: {verdict}")


def yes(fact: bool) -> str:
    """Returns it in a word."""
    return "yes" if fact else "no"


def main() -> None:
    """Trains, prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--draws", type=int, default=100_000)
    parser.add_argument("--data", type=Path, default=DATA, help="a gzipped table: 24 features and a label, 1 for bad")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    log_density = posterior(options.data)
    report(fit(log_density, options.steps, options.batch), log_density, options.draws)


if __name__ == "__main__":
    main()
