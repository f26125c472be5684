"""A linear Gaussian problem, of which the posterior is known, and how sbi is run on it here."""

from __future__ import annotations

from typing import Any

import torch
from sbi.inference import NLE, NPE
from torch.distributions import MultivariateNormal

from flowtorch import flows

MATRIX = torch.tensor([[1.0, 0.5], [-0.3, 1.0], [0.2, 0.7]])
NOISE = 0.5
PRIOR = MultivariateNormal(torch.tensor([5.0, -2.0]), torch.diag(torch.tensor([9.0, 0.25])))
OBSERVED = torch.tensor([[5.0, -3.0, -1.0]])
SMALL = flows.maf(layers=1, hidden_dims=(32,))
# Adam to a plateau, in a second or two.
QUICK: dict[str, Any] = {"training_batch_size": 100, "learning_rate": 5e-3, "stop_after_epochs": 5}


def simulate(theta: torch.Tensor) -> torch.Tensor:
    return theta @ MATRIX.T + NOISE * torch.randn(len(theta), 3)


def exact(*observed: torch.Tensor) -> MultivariateNormal:
    """The posterior at one observation, or at several that are independent."""
    precision = PRIOR.precision_matrix + len(observed) * MATRIX.T @ MATRIX / NOISE**2
    at = PRIOR.precision_matrix @ PRIOR.loc + MATRIX.T @ torch.stack(observed).sum(0) / NOISE**2
    return MultivariateNormal(torch.linalg.solve(precision, at), precision_matrix=precision)


def likelihood(theta: torch.Tensor) -> MultivariateNormal:
    return MultivariateNormal(theta @ MATRIX.T, NOISE**2 * torch.eye(3))


def pairs(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    theta = PRIOR.sample((count,))
    return theta, simulate(theta)


def npe(build: Any, theta: torch.Tensor, x: torch.Tensor) -> NPE:
    """Trained, of simulations of the prior."""
    trainer = NPE(PRIOR, density_estimator=build, show_progress_bars=False)
    trainer.append_simulations(theta, x).train(**QUICK)
    return trainer


def nle(build: Any, theta: torch.Tensor, x: torch.Tensor) -> NLE:
    trainer = NLE(PRIOR, density_estimator=build, show_progress_bars=False)
    trainer.append_simulations(theta, x).train(**QUICK)
    return trainer
