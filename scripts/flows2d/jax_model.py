"""FlowJAX's flows, jitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import paramax
import torch
from flowjax import flows
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import Normal

from .models import LEARNING_RATE, Model, NotOffered


@dataclass
class JaxModel:
    """A flow of FlowJAX, its base trained too, as its ``fit_to_data`` does."""

    flow: Any

    def parameter_count(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(self._split()[0]))

    def _split(self) -> tuple[Any, Any]:
        kept = lambda leaf: isinstance(leaf, paramax.NonTrainable)  # noqa: E731
        return eqx.partition(self.flow, eqx.is_inexact_array, is_leaf=kept)  # type: ignore[no-any-return]

    def train(self, batches: torch.Tensor) -> float:
        optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, len(batches)))
        free, fixed = self._split()
        state = optimizer.init(free)

        def loss_of(free: Any, x: jax.Array) -> jax.Array:
            return -paramax.unwrap(eqx.combine(free, fixed)).log_prob(x).mean()

        @eqx.filter_jit
        def step(free: Any, state: Any, x: jax.Array) -> tuple[Any, Any, jax.Array]:
            loss, gradients = eqx.filter_value_and_grad(loss_of)(free, x)
            updates, state = optimizer.update(gradients, state)
            return eqx.apply_updates(free, updates), state, loss

        losses = []
        for x in batches.numpy():
            free, state, loss = step(free, state, jnp.asarray(x))
            losses.append(loss)
        self.flow = eqx.combine(free, fixed)
        return float(jnp.stack(losses[-100:]).mean())

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        score = eqx.filter_jit(lambda flow, v: paramax.unwrap(flow).log_prob(v))
        parts = [np.array(score(self.flow, jnp.asarray(part.numpy()))) for part in x.split(5_000)]
        return torch.from_numpy(np.concatenate(parts))

    def sample(self, count: int) -> torch.Tensor:
        draw = eqx.filter_jit(lambda flow, key: paramax.unwrap(flow).sample(key, (count,)))
        return torch.from_numpy(np.array(draw(self.flow, jax.random.key(0))))


def build(plan: str, seed: int) -> Model:
    """Returns the flow. Raises ``NotOffered`` if there is none such."""
    spline = RationalQuadraticSpline(knots=8, interval=4)  # as in the documentation
    made: dict[str, Callable[..., Any]] = {
        "planar": flows.planar_flow,
        "realnvp": flows.coupling_flow,
        "maf": flows.masked_autoregressive_flow,
        "iaf": lambda key, base_dist: flows.masked_autoregressive_flow(key, base_dist=base_dist, invert=False),
        "nsf": lambda key, base_dist: flows.masked_autoregressive_flow(key, base_dist=base_dist, transformer=spline),
        "nsf, coupling": lambda key, base_dist: flows.coupling_flow(key, base_dist=base_dist, transformer=spline),
        "bnaf": flows.block_neural_autoregressive_flow,
    }
    if plan not in made:
        raise NotOffered(plan)
    return JaxModel(made[plan](jax.random.key(seed), base_dist=Normal(jnp.zeros(2))))
