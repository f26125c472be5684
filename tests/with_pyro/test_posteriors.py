"""Two posteriors of the literature by ``AutoFlow``, beside the figures of ``scripts/examples``."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pyro
import pyro.distributions as pd
import pytest
import torch
from pyro.infer import SVI, Predictive, Trace_ELBO

from flowtorch import flows
from flowtorch.bijectors import Bijector
from flowtorch.pyro import AutoFlow

pytestmark = pytest.mark.slow
PLAN = flows.realnvp(layers=4, nonlinearity=torch.nn.Tanh)


def example(name: str) -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fitted(model: Callable[[], None], plan: Bijector, steps: int, laplace: bool = False) -> AutoFlow:
    guide = AutoFlow(model, plan, laplace=laplace)
    # Draws far out have gradients that Adam's averages would not get over for a thousand steps.
    optimizer = pyro.optim.ClippedAdam({"lr": 3e-3, "clip_norm": 2.0, "lrd": 0.05 ** (1 / steps)})
    svi = SVI(model, guide, optimizer, Trace_ELBO(128, vectorize_particles=True))
    for _ in range(steps):
        svi.step()
    return guide


def draws(model: Callable[[], None], guide: AutoFlow, sites: tuple[str, ...]) -> torch.Tensor:
    found = Predictive(model, guide=guide, num_samples=100_000, parallel=True, return_sites=sites)()
    return torch.cat([found[site].reshape(100_000, -1) for site in sites], -1).double()


def test_eight_schools() -> None:
    schools = example("eight_schools")

    def model() -> None:
        mu = pyro.sample("mu", pd.Normal(0.0, 5.0))
        tau = pyro.sample("tau", pd.HalfCauchy(5.0))
        with pyro.plate("schools", 8):
            z = pyro.sample("z", pd.Normal(0.0, 1.0))
            theta = pyro.deterministic("theta", mu + tau * z)
            pyro.sample("y", pd.Normal(theta, schools.ERRORS.float()), obs=schools.EFFECTS.float())

    guide = fitted(model, PLAN, steps=1_200)
    found, truth = draws(model, guide, ("theta", "mu", "tau")), schools.exact()
    assert (found.mean(0) - truth.mean).abs().max() < 0.1
    assert (found.std(0) / truth.std - 1).abs().max() < 0.1


def test_german_credit() -> None:
    credit = example("german_credit")
    with gzip.open(credit.DATA, "rt") as file:
        next(file)
        table = torch.tensor([[float(entry) for entry in line.split(",")] for line in file])
    x, bad = table[:, :-1], table[:, -1]
    x = torch.cat([torch.ones(len(x), 1), x / x.std(0, correction=0)], 1)

    def model() -> None:
        b = pyro.sample("b", pd.Normal(0.0, 10.0).expand([25]).to_event(1))
        pyro.sample("bad", pd.Bernoulli(logits=-(b @ x.mT)).to_event(1), obs=bad)

    guide = fitted(model, PLAN, steps=500, laplace=True)
    found = draws(model, guide, ("b",))
    assert (found.mean(0) - torch.tensor(credit.MEAN)).abs().max() < 0.1
    assert (found.std(0) / torch.tensor(credit.STD) - 1).abs().max() < 0.1
