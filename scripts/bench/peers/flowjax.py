"""FlowJAX, jitted. It is run in a process of its own: see ``worker.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import paramax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import Normal
from flowjax.flows import coupling_flow, masked_autoregressive_flow

from ..cases import Case, Measure
from ..model import NotOffered, Run

OPTIMIZER = optax.adam(1e-6)


@eqx.filter_jit
def log_prob(flow: Any, x: jax.Array) -> jax.Array:
    """Returns the log-densities."""
    return flow.log_prob(x)


@eqx.filter_jit
def sample(flow: Any, key: jax.Array, n: int) -> jax.Array:
    """Returns ``n`` samples."""
    return flow.sample(key, (n,))


@eqx.filter_jit
def train(flow: Any, state: Any, x: jax.Array) -> tuple[Any, Any]:
    """Returns the flow and Adam's state after a step."""
    gradients = eqx.filter_grad(lambda f: -paramax.unwrap(f).log_prob(x).mean())(flow)
    updates, state = OPTIMIZER.update(gradients, state)
    return eqx.apply_updates(flow, updates), state


@eqx.filter_jit
def rsample(flow: Any, key: jax.Array, n: int) -> Any:
    """Returns the gradients through ``n`` samples."""
    return eqx.filter_grad(lambda f: (paramax.unwrap(f).sample(key, (n,)) ** 2).mean())(flow)


@dataclass
class JaxModel:
    """A flow of FlowJAX."""

    flow: Any

    def parameter_count(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(self._trained()))

    def _trained(self) -> Any:
        return eqx.filter(self.flow, eqx.is_inexact_array, is_leaf=lambda x: isinstance(x, paramax.NonTrainable))

    def check(self, case: Case) -> None:
        value = log_prob(self.flow, jnp.asarray(case.data().numpy()))
        if value.shape != (case.batch,) or not jnp.isfinite(value).all():
            raise ValueError(f"log_prob: ({case.batch},) finite values are expected; got shape {value.shape}")

    def run(self, measure: Measure, case: Case) -> Run:
        flow, x, key = self.flow, jnp.asarray(case.data().numpy()), jax.random.key(0)
        if measure == "log_prob":
            return lambda: jax.block_until_ready(log_prob(flow, x))
        if measure == "sample":
            return lambda: jax.block_until_ready(sample(flow, key, case.batch))
        if measure == "rsample":
            return lambda: jax.block_until_ready(rsample(flow, key, case.batch))
        state: list[Any] = []

        def step() -> None:
            if not state:
                state[:] = flow, OPTIMIZER.init(eqx.filter(flow, eqx.is_inexact_array))
            state[:] = train(*state, x)
            jax.block_until_ready(state)

        return step


def build(case: Case) -> JaxModel:
    """Returns the model."""
    if case.structure == "elementwise" or case.map not in ("affine", "rational_quadratic"):
        raise NotOffered(case.map)
    family = coupling_flow if case.structure == "coupling" else masked_autoregressive_flow
    options: dict[str, Any] = {}
    if case.map == "rational_quadratic":
        options["transformer"] = RationalQuadraticSpline(knots=case.bins - 1, interval=3.0)  # inner knots
    flow = family(
        jax.random.key(0),
        base_dist=Normal(jnp.zeros(case.dim)),
        flow_layers=case.layers,
        nn_width=case.hidden[0],
        nn_depth=len(case.hidden),
        invert=case.direction == "density",
        **options,
    )
    # The base's location and scale stay as they are, as they do in the others.
    return JaxModel(eqx.tree_at(lambda f: f.base_dist, flow, replace_fn=paramax.non_trainable))
