"""Soft actor-critic with a flow as its policy: checked by finite differences, then swinging up a pendulum.

The policy pushes normal noise through an affine coupling and a Sylvester map, both driven by the state, and a tanh: a
density over actions in (-1, 1) that has a draw and its log-probability in one pass, which is all that the algorithm
asks of it. Needs gymnasium (``pip install gymnasium``) but for the checks.

    python scripts/examples/soft_actor_critic.py --check     # log-probabilities and gradients
    python scripts/examples/soft_actor_critic.py             # the same, then Pendulum-v1, for at most 12 minutes

Soft Actor-Critic Algorithms and Applications (Haarnoja et al., 2018), https://arxiv.org/abs/1812.05905, algorithm 1,
with the temperature learnt; a flow in place of the normal: Improving Exploration in SAC with Normalizing Flows Policies
(Ward et al., 2019), https://arxiv.org/abs/1906.02771.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params

DISCOUNT, AVERAGING, RATE, BATCH, RANDOM_STEPS = 0.99, 0.005, 1e-3, 128, 1_000


def make_policy(states: int, actions: int, hidden: int = 64) -> dist.Flow:
    """Returns the density of actions in (-1, 1), given a state."""
    net = params.DenseNN((hidden, hidden))
    plan = bij.Compose([bij.AffineCoupling(net), bij.Sylvester(net), bij.Tanh()])
    return dist.Flow(dist.DiagNormal(actions), plan, context_shape=states)


class Checked(NamedTuple):
    """Largest differences that were found."""

    log_prob: float
    action: float
    parameter: float


def check(states: int = 3, actions: int = 3) -> Checked:
    """Compares log-probabilities with autodiff's Jacobian, and gradients with central differences, in float64.

    The gradients are those that training takes: of the log-probability of a draw and of a function of it, through the
    draw, by the noise it was made of and by each parameter.
    """
    torch.manual_seed(0)
    policy = make_policy(states, actions, hidden=8).double()
    with torch.no_grad():
        for parameter in policy.parameters():  # away from the identity, where it starts
            parameter.add_(0.3 * torch.randn_like(parameter))
    state, noise = torch.randn(states).double(), torch.randn(actions).double()

    def draw(noise: torch.Tensor) -> torch.Tensor:
        return policy.bijector.forward(noise, state)

    jacobian = torch.func.jacrev(draw)(noise)
    by_hand = torch.distributions.Normal(0.0, 1.0).log_prob(noise).sum() - torch.linalg.slogdet(jacobian).logabsdet
    log_prob = (policy.log_prob(draw(noise), state) - by_hand).abs().item()

    def objective() -> torch.Tensor:
        y, log_det = policy.bijector.forward_and_log_det(noise, state)
        log_prob = policy.base_dist.log_prob(noise) - log_det
        return 0.2 * log_prob - (y.sin() * torch.arange(1, actions + 1).to(y)).sum()

    noise.requires_grad_()
    parameters = [noise, *policy.parameters()]
    gradients = torch.autograd.grad(objective(), parameters)
    off = [(g - _differences(objective, p)).abs().max().item() for g, p in zip(gradients, parameters, strict=True)]
    return Checked(log_prob, off[0], max(off[1:]))


@torch.no_grad()
def _differences(function: Callable[[], torch.Tensor], of: torch.Tensor, step: float = 1e-5) -> torch.Tensor:
    found = torch.zeros_like(of)
    flat, out = of.view(-1), found.view(-1)
    for i in range(flat.numel()):
        kept = flat[i].item()
        flat[i] = kept + step
        above = function().item()
        flat[i] = kept - step
        out[i] = (above - function().item()) / (2 * step)
        flat[i] = kept
    return found


class Memory:
    """The transitions of the past: states, actions, rewards, next states."""

    def __init__(self, size: int, states: int, actions: int) -> None:
        self.rows, self.count = torch.empty(size, 2 * states + actions + 1), 0
        self.sizes = [states, actions, 1, states]

    def add(self, *parts: torch.Tensor) -> None:
        """Keeps one, in the place of the oldest."""
        self.rows[self.count % len(self.rows)] = torch.cat(parts)
        self.count += 1

    def draw(self, count: int) -> tuple[torch.Tensor, ...]:
        """Returns some."""
        return self.rows[torch.randint(min(self.count, len(self.rows)), (count,))].split(self.sizes, -1)


class Agent:
    """Policy, two critics, their slow averages, and the temperature, with a step of training for all."""

    def __init__(self, states: int, actions: int) -> None:
        self.policy = make_policy(states, actions)
        self.critics = torch.nn.ModuleList(_critic(states + actions) for _ in range(2))
        self.averages = copy.deepcopy(self.critics)
        self.log_temperature = torch.zeros((), requires_grad=True)
        self.target_entropy = -float(actions)
        self.of_policy = torch.optim.Adam(self.policy.parameters(), RATE)
        self.of_critics = torch.optim.Adam(self.critics.parameters(), RATE)
        self.of_temperature = torch.optim.Adam([self.log_temperature], RATE)

    def learn(self, state: torch.Tensor, action: torch.Tensor, reward: torch.Tensor, after: torch.Tensor) -> float:
        """Takes one step of each optimiser; returns the policy's entropy."""
        temperature = self.log_temperature.detach().exp()
        with torch.no_grad():
            y, log_prob = self.policy.rsample_and_log_prob((), after)
            aim = reward.squeeze(-1) + DISCOUNT * (_least(self.averages, after, y) - temperature * log_prob)
        pair = torch.cat([state, action], -1)
        _step(self.of_critics, sum((critic(pair).squeeze(-1) - aim).square().mean() for critic in self.critics))

        y, log_prob = self.policy.rsample_and_log_prob((), state)
        _step(self.of_policy, (temperature * log_prob - _least(self.critics, state, y)).mean())
        entropy = -log_prob.detach().mean()
        _step(self.of_temperature, self.log_temperature * (entropy - self.target_entropy))
        with torch.no_grad():
            for slow, fast in zip(self.averages.parameters(), self.critics.parameters(), strict=True):
                slow.lerp_(fast, AVERAGING)
        return entropy.item()

    @torch.no_grad()
    def best(self, state: torch.Tensor) -> torch.Tensor:
        """Returns where the policy sends the middle of the noise."""
        return self.policy.bijector.forward(torch.zeros(self.policy.event_shape), state)


def _critic(inputs: int, hidden: int = 64) -> torch.nn.Module:
    linear, relu = torch.nn.Linear, torch.nn.ReLU
    return torch.nn.Sequential(linear(inputs, hidden), relu(), linear(hidden, hidden), relu(), linear(hidden, 1))


def _least(critics: torch.nn.ModuleList, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    pair = torch.cat([state, action], -1)
    return torch.minimum(*(critic(pair).squeeze(-1) for critic in critics))


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor | int) -> None:
    optimizer.zero_grad()
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    optimizer.step()


class Pendulum:
    """Gymnasium's ``Pendulum-v1`` in tensors: (cos, sin, speed / 8) of a torque in (-1, 1), rewards divided by 10."""

    states, actions, steps = 3, 1, 200

    def __init__(self) -> None:
        import gymnasium

        self.env = gymnasium.make("Pendulum-v1")
        self.scale = torch.tensor([1.0, 1.0, 1 / 8])

    def start(self, seed: int) -> torch.Tensor:
        """Returns the first state of an episode."""
        return self._state(self.env.reset(seed=seed)[0])

    def move(self, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the next state and the reward."""
        seen, reward, *_ = self.env.step(2 * action.numpy())
        return self._state(seen), torch.tensor([float(reward) / 10])

    def _state(self, seen: object) -> torch.Tensor:
        return torch.as_tensor(seen, dtype=torch.float32) * self.scale


def returns(agent: Agent, world: Pendulum, episodes: int) -> torch.Tensor:
    """Returns what the agent's best actions earn in each of some episodes, always the same ones."""
    found = torch.zeros(episodes)
    for episode in range(episodes):
        state = world.start(10_000 + episode)
        for _ in range(world.steps):
            state, reward = world.move(agent.best(state))
            found[episode] += 10 * reward.item()
    return found


def train(seed: int, steps: int, minutes: float) -> tuple[Agent, list[tuple[int, float]]]:
    """Trains until the steps or the minutes of processor time are over; returns episodes' returns on the way, too."""
    torch.manual_seed(seed)
    world, started = Pendulum(), time.process_time()
    agent, memory = Agent(world.states, world.actions), Memory(steps, world.states, world.actions)
    curve, entropy = [], 0.0
    for step in range(steps):
        if step % world.steps == 0:
            state, earned = world.start(seed * 1_000 + step // world.steps), 0.0
        random = step < RANDOM_STEPS
        action = 2 * torch.rand(world.actions) - 1 if random else agent.policy.sample((), state)
        after, reward = world.move(action)
        memory.add(state, action, reward, after)
        state, earned = after, earned + 10 * reward.item()
        if not random:
            entropy = agent.learn(*memory.draw(BATCH))
        if step % world.steps == world.steps - 1:
            curve.append((step + 1, earned))
            if len(curve) % 5 == 0:
                spent = time.process_time() - started
                mean = sum(r for _, r in curve[-5:]) / 5
                print(f"step {step + 1:6,}   return {mean:7.0f}   entropy {entropy:6.2f}   {spent:4.0f} s", flush=True)
                if spent > 60 * minutes:
                    break
    return agent, curve


def draw(path: Path, agent: Agent, curve: list[tuple[int, float]]) -> None:
    """Writes the picture of the returns, and of the policy over angles for a few speeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
    axes[0].plot(*zip(*curve, strict=True), marker=".")
    axes[0].set(title="return of each episode", xlabel="steps")
    angles, actions = torch.linspace(-torch.pi, torch.pi, 181), torch.linspace(-0.999, 0.999, 201)
    for axis, speed in zip(axes[1:], (-4.0, 0.0, 4.0), strict=True):
        state = torch.stack([angles.cos(), angles.sin(), torch.full_like(angles, speed / 8)], -1)
        with torch.no_grad():
            log_prob = agent.policy.log_prob(actions[:, None, None].expand(-1, len(angles), 1), state)
        extent = (-180.0, 180.0, -2.0, 2.0)
        density = (log_prob - log_prob.amax(0)).exp()  # angle by angle: where it is all but certain the density is high
        axis.imshow(density.sqrt().numpy(), origin="lower", extent=extent, aspect="auto", cmap="magma")
        axis.set(title=f"policy at speed {speed:g}", xlabel="angle from upright, degrees", xticks=range(-180, 181, 90))
    axes[1].set(ylabel="torque")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Checks, trains, prints the figures, draws."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="nothing but the checks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=12.0, help="of processor time")
    parser.add_argument("--out", type=Path, default=Path("examples_output"))
    options = parser.parse_args()
    found = check()
    print(f"log-probability against the Jacobian: {found.log_prob:.1e}; gradients against differences: by the noise")
    print(f"{found.action:.1e}, by parameters {found.parameter:.1e}")
    if options.check:
        return
    torch.set_num_threads(1)
    agent, curve = train(options.seed, options.steps, options.minutes)
    after = returns(agent, Pendulum(), 20)
    print(f"\n20 episodes without noise: return {after.mean():.0f} ± {after.std():.0f}, lowest {after.min():.0f}")
    options.out.mkdir(parents=True, exist_ok=True)
    draw(options.out / "soft_actor_critic.png", agent, curve)
    print(f"wrote {options.out / 'soft_actor_critic.png'}")


if __name__ == "__main__":
    main()
