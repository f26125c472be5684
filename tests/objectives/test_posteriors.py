"""Posteriors by the reverse divergence: one in closed form, and the programs of ``scripts/examples`` beside theirs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.distributions import MultivariateNormal

import flowtorch.bijectors as bij
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.objectives import importance_estimate, reverse_kl
from tests.distributions.helpers import close, draw

EXAMPLES = Path(__file__).parents[2] / "scripts" / "examples"


def test_linear_regression_has_its_evidence_and_its_posterior() -> None:
    # y = X b + noise of deviation 0.7, b ~ N(0, 1)
    x, noise = draw(30, 3), draw(30, seed=1)
    y = x @ torch.tensor([1.0, -0.5, 0.2]).double() + 0.7 * noise
    zeros, unit = torch.zeros(30).double(), torch.eye(30).double()
    evidence = MultivariateNormal(zeros, x @ x.T + 0.49 * unit).log_prob(y)
    covariance = torch.linalg.inv(x.T @ x / 0.49 + unit[:3, :3])
    mean = covariance @ x.T @ y / 0.49

    def log_density(b: torch.Tensor) -> torch.Tensor:
        likelihood = torch.distributions.Normal(b @ x.T, 0.7).log_prob(y).sum(-1)
        return likelihood + torch.distributions.Normal(0.0, 1.0).log_prob(b).sum(-1)

    torch.manual_seed(0)
    flow = Flow(DiagNormal(3), bij.LowerCholeskyAffine()).double()
    optimizer = torch.optim.Adam(flow.parameters(), 0.2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 500)
    for _ in range(500):
        optimizer.zero_grad()
        reverse_kl(flow, log_density, 8).backward()
        optimizer.step()
        schedule.step()
    # The flow can be the posterior, so that the path derivative goes all the way: no draw tells otherwise.
    found = importance_estimate(flow, log_density, 100)
    close(found.log_weights, evidence.expand(100), 2e-3)
    close(flow.bijector.forward(torch.zeros(3).double()), mean, 1e-3)


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_german_credit() -> None:
    german = example("german_credit")
    log_density = german.posterior(german.DATA)
    torch.manual_seed(0)
    flow = german.fit(log_density, 600, 128)
    found = importance_estimate(flow, log_density, 50_000, chunk_size=5_000)
    assert found.log_weights.mean().item() == pytest.approx(german.LOG_Z, abs=0.02)
    assert found.log_z.item() == pytest.approx(german.LOG_Z, abs=0.01)
    for mean, std in (
        (found.samples.mean(0), found.samples.std(0)),
        (found.mean, found.covariance.diagonal().sqrt()),
    ):
        assert (mean - torch.tensor(german.MEAN)).abs().max() < 0.05
        assert (std / torch.tensor(german.STD) - 1).abs().max() < 0.05


@pytest.mark.slow
def test_eight_schools() -> None:
    schools = example("eight_schools")
    exact = schools.exact()
    torch.manual_seed(0)
    flow = schools.fit(600)
    found = importance_estimate(flow, schools.log_density, 200_000, chunk_size=20_000)
    assert found.log_weights.mean().item() == pytest.approx(exact.log_z, abs=0.02)
    assert found.log_z.item() == pytest.approx(exact.log_z, abs=0.01)
    values = schools.named(found.samples).double()
    weighted = found.expectation(lambda x: schools.named(x).double())
    spread = found.expectation(lambda x: (schools.named(x).double() - weighted) ** 2).sqrt()
    for mean, std in ((values.mean(0), values.std(0)), (weighted, spread)):
        assert (mean - exact.mean).abs().max() < 0.1
        assert (std / exact.std - 1).abs().max() < 0.1
