"""Flows of zuko and what they are converted to score and sample alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from flowtorch.convert import from_zuko
from tests.convert.agree import Origin, agrees, is_a_flow_like_any_other, perturb

zuko = pytest.importorskip("zuko")
# What the peers do is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

NARROW, WIDE = {"hidden_features": (5,)}, {"hidden_features": (16, 24)}
Spline = partial(zuko.transforms.MonotonicRQSTransform, bound=2.0)


def graph(size: int, context: int) -> torch.Tensor:
    """A graph without cycles, with ones on the diagonal, and columns for the context."""
    generator = torch.Generator().manual_seed(2)
    lower = torch.tril(torch.rand(size, size, generator=generator) < 0.6)
    lower |= torch.eye(size, dtype=torch.bool) | torch.diag(torch.ones(size - 1, dtype=torch.bool), -1)
    order = torch.randperm(size, generator=generator)
    seen = torch.rand(size, context, generator=generator) < 0.5
    return torch.cat([lower[order][:, order], seen], 1)


def alone(layer: Any, size: int) -> Any:
    return zuko.flows.Flow([layer], zuko.flows.NSF(size).base)


FLOWS: dict[str, Callable[[int, int], Any]] = {
    "MAF": lambda d, c: zuko.flows.MAF(d, c, **WIDE),
    "MAF, random orders, narrow": lambda d, c: zuko.flows.MAF(d, c, randperm=True, activation=torch.nn.ELU, **NARROW),
    "MAF, no hidden layers": lambda d, c: zuko.flows.MAF(d, c, hidden_features=()),
    "MAF, residual": lambda d, c: zuko.flows.MAF(d, c, hidden_features=(24, 24), residual=True),
    "MAF, two passes": lambda d, c: zuko.flows.MAF(d, c, passes=2, randperm=True, **WIDE),
    "MAF, residual in two passes": lambda d, c: zuko.flows.MAF(d, c, passes=2, hidden_features=(24,), residual=True),
    "NSF": lambda d, c: zuko.flows.NSF(d, c, bins=5, **WIDE),
    "NSF, three passes": lambda d, c: zuko.flows.NSF(d, c, bins=4, slope=1e-2, passes=3, transforms=2, **WIDE),
    "NICE": lambda d, c: zuko.flows.NICE(d, c, randmask=True, **WIDE),
    "NICE, splines": lambda d, c: zuko.flows.NICE(d, c, univariate=Spline, shapes=[(4,), (4,), (3,)], **NARROW),
    "graph": lambda d, c: alone(zuko.flows.MaskedAutoregressiveTransform(d, c, adjacency=graph(d, 0), **WIDE), d),
    "graph with context": lambda d, c: alone(
        zuko.flows.MaskedAutoregressiveTransform(d, c, adjacency=graph(d, c), **WIDE), d
    ),
    "elementwise": lambda d, c: alone(zuko.flows.gaussianization.ElementWiseTransform(d, c, **WIDE), d),
    "compositions": lambda d, c: alone(zuko.lazy.LazyComposedTransform(zuko.flows.NSF(d, c, **NARROW).transform), d),
}


def origin(name: str, size: int, context: int, dtype: torch.dtype = torch.float64) -> Origin:
    torch.manual_seed(0)
    flow = FLOWS[name](size, context).to(dtype)
    perturb(flow)
    return Origin(
        lambda x, c: flow(c).log_prob(x),
        lambda z, c: flow(c).transform.inv(z),
        lambda: from_zuko(flow),
        size,
        context,
    )


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize(("size", "context"), [(2, 0), (3, 2), (7, 0), (7, 3)])
def test_densities_and_samples_are_the_same(name: str, size: int, context: int) -> None:
    agrees(origin(name, size, context), samples=None if "MAF" in name else 1e-6)


@pytest.mark.parametrize("name", ["MAF", "NICE", "MAF, residual"])
def test_densities_and_samples_are_the_same_in_float32(name: str) -> None:
    agrees(origin(name, 3, 2, torch.float32), 1e-4, torch.float32)


@pytest.mark.parametrize("name", FLOWS)
def test_it_is_a_flow_like_any_other(name: str) -> None:
    is_a_flow_like_any_other(origin(name, 3, 2))


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("kind", ["MAF", "NSF", "NICE"])
def test_one_coordinate(kind: str, context: int) -> None:
    flow = getattr(zuko.flows, kind)(1, context).double()
    push = Origin(lambda x, c: flow(c).log_prob(x), lambda z, c: flow(c).transform.inv(z), lambda: from_zuko(flow), 1)
    push.context = context
    agrees(push, samples=1e-6)


@pytest.mark.parametrize(("size", "context"), [(1, 0), (3, 0), (3, 2)])
def test_circular_flows_are_the_same_on_the_circle(size: int, context: int) -> None:
    torch.manual_seed(0)
    flow = zuko.flows.NCSF(size, context, bins=5).double()
    perturb(flow)
    made = from_zuko(flow)
    x = math.pi * (2.0 * torch.rand(500, size, dtype=torch.float64) - 1.0)
    given = torch.randn(500, context, dtype=torch.float64) if context else None
    # zuko's base reaches 1e-5 beyond the circle on both sides.
    expected = flow(given).log_prob(x) + size * math.log1p(1e-5 / math.pi)
    torch.testing.assert_close(made.log_prob(x, given), expected, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(made.normalize(x, given), flow(given).transform(x).detach(), rtol=1e-9, atol=1e-9)


def test_a_learnt_base_stays_one() -> None:
    base = zuko.lazy.UnconditionalDistribution(zuko.distributions.DiagNormal, torch.ones(3), 2.0 * torch.ones(3))
    flow = zuko.flows.Flow(zuko.flows.MAF(3).transform, base)
    made = from_zuko(flow)
    x = torch.randn(50, 3)
    torch.testing.assert_close(made.log_prob(x), flow().log_prob(x), rtol=1e-5, atol=1e-5)
    assert sum(p.numel() for p in made.base.parameters()) == 6


@pytest.mark.parametrize("training", [True, False])
def test_modes_stay_as_they_were(training: bool) -> None:
    flow = zuko.flows.MAF(3).train(training)
    made = from_zuko(flow)
    assert {m.training for m in flow.modules()} == {m.training for m in made.modules()} == {training}


def test_networks_come_out_about_as_wide() -> None:
    autoregressive = from_zuko(zuko.flows.MAF(16, hidden_features=(64, 128))).plan.parts[0].plan
    assert all(w <= 1.2 * given for w, given in zip(autoregressive.params_fn.hidden_dims, (64, 128), strict=True))
    residual = from_zuko(zuko.flows.MAF(16, hidden_features=(64, 64), residual=True)).plan.parts[0].plan
    assert sum(residual.params_fn.hidden_features) == 64
