"""Models that the tests share, with what is known of them."""

from __future__ import annotations

import pyro
import pyro.distributions as pd
import torch
from torch.distributions import constraints

DATA = torch.tensor([[0.3, -1.2], [1.4, 0.4], [-0.5, 2.2]])


def many_kinds(data: torch.Tensor = DATA) -> None:
    """Several sites, in and out of plates that nest, on the whole line and on parts of the space."""
    scale = pyro.sample("scale", pd.LogNormal(0.0, 0.5))
    share = pyro.sample("share", pd.Dirichlet(torch.tensor([2.0, 3.0, 4.0])))
    with pyro.plate("columns", 2, dim=-1):
        level = pyro.sample("level", pd.Normal(0.0, 1.0))
        with pyro.plate("rows", 3, dim=-2):
            rate = pyro.sample("rate", pd.Beta(2.0, 2.0))
            pyro.sample("data", pd.Normal(level * rate + share[..., 0], scale), obs=data)


SITES = {"scale": (), "share": (3,), "level": (2,), "rate": (3, 2)}
SUPPORTS = {
    "scale": constraints.positive,
    "share": constraints.simplex,
    "level": constraints.real,
    "rate": constraints.unit_interval,
}

# b ~ N(0, I), y ~ N(X b, 0.7²): normal, as is its posterior.
X = torch.tensor([[1.0, 0.2, -0.4], [0.3, -1.1, 0.8], [-0.7, 0.5, 1.6], [1.9, 0.3, 0.1], [-0.2, -0.9, -1.3]])
Y = torch.tensor([1.1, -0.3, 0.2, 2.3, -0.8])


def regression() -> None:
    """Linear regression."""
    b = pyro.sample("b", pd.Normal(0.0, 1.0).expand([3]).to_event(1))
    pyro.sample("y", pd.Normal(b @ X.mT, 0.7).to_event(1), obs=Y)


def exact() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the mean and the covariance of the regression's posterior, and its log-evidence."""
    precision = torch.eye(3) + X.mT @ X / 0.49
    covariance = torch.linalg.inv(precision)
    evidence = torch.distributions.MultivariateNormal(torch.zeros(5), X @ X.mT + 0.49 * torch.eye(5))
    return covariance @ X.mT @ Y / 0.49, covariance, evidence.log_prob(Y)
