"""The examples with Pyro, and of a policy for soft actor-critic: short runs of what ``scripts/examples`` does."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pyro
import pytest
import torch

import flowtorch.distributions as dist

FOLDER = Path(__file__).parents[2] / "scripts" / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"scripts_examples_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]), pyro.get_param_store().scope():
        torch.manual_seed(0)
        yield


def test_a_policys_log_probabilities_and_gradients_are_those_of_finite_differences() -> None:
    found = example("soft_actor_critic").check()
    assert found.log_prob < 1e-12 and found.action < 1e-8 and found.parameter < 1e-8


def test_the_check_of_gradients_can_fail() -> None:
    script = example("soft_actor_critic")
    real = script._differences
    script._differences = lambda function, of: real(function, of) + 1e-3
    assert script.check().parameter > 1e-4


class Bandit:
    """Episodes of one step: the reward is -(action - state)²."""

    states, actions, steps = 1, 1, 1

    def start(self, seed: int) -> torch.Tensor:
        self.state = torch.rand(1) - 0.5
        return self.state

    def move(self, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        reward = -5 * (action - self.state).square()
        self.state = torch.rand(1) - 0.5
        return self.state, reward


def test_an_agent_learns_where_the_reward_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = example("soft_actor_critic")
    for name, value in {"Pendulum": Bandit, "RANDOM_STEPS": 100, "DISCOUNT": 0.0, "BATCH": 64, "RATE": 3e-3}.items():
        monkeypatch.setattr(script, name, value)
    agent, curve = script.train(seed=0, steps=400, minutes=1.0)
    assert len(curve) == 400 and "return" in capsys.readouterr().out
    state = torch.linspace(-0.4, 0.4, 9)[:, None]
    best = agent.policy.bijector.forward(torch.zeros(9, 1), state)
    assert (best - state).abs().max() < 0.2
    _, log_prob = agent.policy.rsample_and_log_prob((), state)
    assert log_prob.shape == (9,)


def test_a_mixture_is_fitted_from_traces_and_drawn(tmp_path: Path) -> None:
    script = example("pyro_mixture")
    flow = script.fit(script.forward, steps=150)
    found = script.measure(flow, count=4_000)
    assert isinstance(flow, dist.Flow) and found.forward < 0.1
    torch.testing.assert_close(found.shares, script.WEIGHTS, atol=0.06, rtol=0)
    script.draw(tmp_path, {"Trace_ELBO": flow, "forward, from traces": flow})
    assert {path.name for path in tmp_path.iterdir()} == {"pyro_mixture_densities.png", "pyro_mixture_layers.png"}


def test_a_mixture_is_fitted_by_the_lower_bound() -> None:
    script = example("pyro_mixture")
    untrained = script.measure(script.fit(script.LOSSES["Trace_ELBO"], steps=1), count=4_000)
    trained = script.measure(script.fit(script.LOSSES["Trace_ELBO"], steps=60), count=4_000)
    assert trained.reverse < 0.5 * untrained.reverse
