"""The eight schools: a hierarchical posterior by variational inference, beside its exact figures.

Effects of coaching in eight schools, a normal distribution of them, and its unknown mean and width, non-centred:
y_j ~ N(theta_j, sigma_j), theta_j = mu + tau z_j, z_j ~ N(0, 1), mu ~ N(0, 5), tau ~ half-Cauchy(5). Given tau all is
normal, and so everything is an integral over tau, which quadrature solves.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import NamedTuple

import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.flows as flows
import flowtorch.objectives as objectives

# Estimation in Parallel Randomized Experiments (Rubin, 1981), https://doi.org/10.3102/10769986006004377, table 2.
EFFECTS = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0], dtype=torch.float64)
ERRORS = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0], dtype=torch.float64)
NAMES = [*(f"theta[{j}]" for j in range(1, 9)), "mu", "tau"]


class Posterior(NamedTuple):
    """Figures of a posterior: log Z, and means and deviations of theta, mu and tau."""

    log_z: float
    mean: torch.Tensor
    std: torch.Tensor


def log_density(x: torch.Tensor) -> torch.Tensor:
    """Returns the log-density of data and x = (z, mu, log tau)."""
    normal = torch.distributions.Normal
    likelihood = normal(named(x)[..., :8], ERRORS.to(x)).log_prob(EFFECTS.to(x)).sum(-1)
    prior = normal(0.0, 1.0).log_prob(x[..., :8]).sum(-1) + normal(0.0, 5.0).log_prob(x[..., 8])
    return likelihood + prior + half_cauchy(x[..., 9])


def half_cauchy(log_tau: torch.Tensor) -> torch.Tensor:
    """Returns the log-density of log tau, tau ~ half-Cauchy(5)."""
    return math.log(2 / (5 * math.pi)) - torch.nn.functional.softplus(2 * (log_tau - math.log(5))) + log_tau


def named(x: torch.Tensor) -> torch.Tensor:
    """Returns (theta, mu, tau) of (z, mu, log tau)."""
    mu, tau = x[..., 8:9], x[..., 9:].exp()
    return torch.cat([mu + tau * x[..., :8], mu, tau], -1)


def exact() -> Posterior:
    """Returns the posterior's figures, by quadrature over log tau."""
    log_tau = torch.linspace(-30, 12, 42_001, dtype=torch.float64)
    tau = log_tau.exp()[:, None]
    spread = ERRORS**2 + tau**2
    # Given tau: y ~ N(0, spread + 25), then mu, then theta.
    covariance = torch.diag_embed(spread) + 25.0
    log_y = torch.distributions.MultivariateNormal(torch.zeros(8).double(), covariance).log_prob(EFFECTS)
    log_joint = log_y + half_cauchy(log_tau) + math.log(1e-3)  # the step; both ends are negligible
    weights = log_joint.softmax(0)[:, None]
    mu_var = 1 / (1 / 25 + (1 / spread).sum(-1, keepdim=True))
    mu = mu_var * (EFFECTS / spread).sum(-1, keepdim=True)
    share = tau**2 / spread
    mean = torch.cat([share * EFFECTS + (1 - share) * mu, mu, tau], -1)
    var = torch.cat([share * ERRORS**2 + (1 - share) ** 2 * mu_var, mu_var, torch.zeros_like(tau)], -1)
    overall = (weights * mean).sum(0)
    return Posterior(log_joint.logsumexp(0).item(), overall, (weights * (var + mean**2)).sum(0).sub(overall**2).sqrt())


def fit(steps: int, batch: int = 256, rate: float = 5e-3) -> dist.Flow:
    """Trains a flow by the reverse divergence."""
    layers = flows.nsf(coupling=True, layers=6, nonlinearity=torch.nn.Tanh).parts
    flow = dist.Flow(dist.DiagNormal(10), bij.Compose([*layers, bij.LowerCholeskyAffine()]))
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


def report(flow: dist.Flow, truth: Posterior, count: int) -> None:
    """Prints what draws of the flow say, as they are and weighted."""
    found = objectives.importance_estimate(flow, log_density, count, chunk_size=20_000)
    values = named(found.samples).double()
    mean = found.expectation(lambda x: named(x).double())
    std = found.expectation(lambda x: (named(x).double() - mean) ** 2).sqrt()
    elbo = found.log_weights.double().mean().item()
    print(f"\n{count:,} draws: effective size {found.effective_size:,.0f}, Pareto k {found.pareto_k:.2f}")
    print(f"  log Z           exact {truth.log_z:.4f}")
    print(f"  ELBO            {elbo:.4f}, {truth.log_z - elbo:.4f} below it")
    print(f"  weighted log Z  {found.log_z:.4f} ± {found.log_z_error:.4f}")
    print("\n                  exact             draws of the flow      weighted draws")
    rows = zip(NAMES, truth.mean, truth.std, values.mean(0), values.std(0), mean, std, strict=True)
    for name, *pairs in rows:
        m, s, m1, s1, m2, s2 = (v.item() for v in pairs)
        print(f"  {name:<10}{m:8.3f} ± {s:6.3f}      {m1:8.3f} ± {s1:6.3f}      {m2:8.3f} ± {s2:6.3f}")
    for name, m, s in (("draws of the flow", values.mean(0), values.std(0)), ("weighted draws", mean, std)):
        off, ratio = (m - truth.mean).abs().max().item(), (s / truth.std - 1).abs().max().item()
        verdict = "yes" if off <= 0.1 and ratio <= 0.1 else "no"
        print(f"  {name}: means within {off:.3f}, deviations within {ratio:.1%}; within 0.1 and 10 %: {verdict}")


def main() -> None:
    """Trains, prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--draws", type=int, default=400_000)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    report(fit(options.steps), exact(), options.draws)


if __name__ == "__main__":
    main()
