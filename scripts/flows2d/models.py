"""The flows as each library makes them by default, behind one face: trained, scored, sampled."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

LEARNING_RATE = 1e-3
TORUS = ("ncsf",)  # the plans whose flows live on the torus
# What flowtorch calls them, the quickly trained ones first, with the options that are no default.
PLANS: dict[str, tuple[str, dict[str, Any]]] = {
    "planar": ("planar", {}),
    "radial": ("radial", {}),
    "nice": ("nice", {}),
    "realnvp": ("realnvp", {}),
    "maf": ("maf", {}),
    "gf": ("gf", {}),
    "nsf": ("nsf", {"coupling": False}),
    "nsf, coupling": ("nsf", {"coupling": True}),
    "ncsf": ("ncsf", {}),
    "bpf": ("bpf", {}),
    "sospf": ("sospf", {}),
    "bnaf": ("bnaf", {}),
    "iaf": ("iaf", {}),
    "naf": ("naf", {}),
    "sylvester": ("sylvester", {}),
    "umnn": ("umnn", {}),
    "residual": ("residual", {}),
}


class NotOffered(Exception):
    """A library has no such flow."""


class Model(Protocol):
    """A flow of any library."""

    def parameter_count(self) -> int: ...

    def train(self, batches: torch.Tensor) -> float:
        """Takes a step of Adam for each batch, the learning rate falling to zero along a cosine; the last losses."""

    def log_prob(self, x: torch.Tensor) -> torch.Tensor: ...

    def sample(self, count: int) -> torch.Tensor: ...


@dataclass
class TorchModel:
    """A flow of a library for PyTorch."""

    module: torch.nn.Module
    score: Callable[[torch.Tensor], torch.Tensor]
    draw: Callable[[int], torch.Tensor]

    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.module.parameters())

    def train(self, batches: torch.Tensor) -> float:
        optimizer = torch.optim.Adam(self.module.parameters(), lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(batches))
        losses = []
        for x in batches:
            optimizer.zero_grad()
            loss = -self.score(x).mean()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        return float(torch.stack(losses[-100:]).mean())

    @torch.no_grad()
    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        self.module.eval()
        return torch.cat([self.score(part) for part in x.split(5_000)])

    @torch.no_grad()
    def sample(self, count: int) -> torch.Tensor:
        self.module.eval()
        return self.draw(count)


def build(library: str, plan: str, seed: int) -> Model:
    """Returns the flow. Raises ``NotOffered`` if the library has none such."""
    torch.manual_seed(seed)
    return {"flowtorch": _flowtorch, "zuko": _zuko, "FlowJAX": _flowjax}[library](plan, seed)


def _flowtorch(plan: str, seed: int) -> Model:
    import flowtorch.distributions as dist
    from flowtorch import flows

    name, options = PLANS[plan]
    base: Any = dist.DiagNormal(2)
    if plan in TORUS:
        limit = torch.full((2,), math.pi, dtype=torch.float64)
        base = dist.UniformCircle(2) if hasattr(dist, "UniformCircle") else _uniform(limit)
    flow = dist.Flow(base, getattr(flows, name)(**options)).float()
    return TorchModel(flow, flow.log_prob, lambda n: flow.sample((n,)))


def _uniform(limit: torch.Tensor) -> torch.distributions.Distribution:
    return torch.distributions.Independent(torch.distributions.Uniform(-limit, limit, validate_args=False), 1)


def _zuko(plan: str, seed: int) -> Model:
    import zuko

    validate = torch.distributions.Distribution.set_default_validate_args
    validate(False)  # as zuko has it
    additive = {"univariate": zuko.transforms.AdditiveTransform, "shapes": [()]}
    made: dict[str, Callable[[], Any]] = {
        "nice": lambda: zuko.flows.NICE(2, **additive),  # affine by default
        "realnvp": lambda: zuko.flows.RealNVP(2),
        "maf": lambda: zuko.flows.MAF(2),
        "gf": lambda: zuko.flows.GF(2),
        "nsf": lambda: zuko.flows.NSF(2),  # as couplings, which take two passes, the same in the plane
        "ncsf": lambda: zuko.flows.NCSF(2),
        "bpf": lambda: zuko.flows.BPF(2),
        "sospf": lambda: zuko.flows.SOSPF(2),
        "naf": lambda: zuko.flows.NAF(2),
        "umnn": lambda: zuko.flows.UNAF(2),
    }
    if plan not in made:
        raise NotOffered(plan)
    flow = made[plan]()
    return TorchModel(flow, lambda x: flow().log_prob(x), lambda n: flow().sample((n,)))


def _flowjax(plan: str, seed: int) -> Model:
    from .jax_model import build as build_jax

    return build_jax(plan, seed)


def timed(model: Model, batches: torch.Tensor) -> tuple[float, float]:
    """Trains; returns the mean of the last losses, and the seconds of one core, whoever else is at work."""
    start = time.process_time()
    loss = model.train(batches)
    return loss, time.process_time() - start
