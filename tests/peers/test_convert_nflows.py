"""Flows of nflows and what they are converted to score and sample alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from flowtorch.convert import from_nflows
from tests.convert.agree import Origin, agrees, is_a_flow_like_any_other, perturb

pytest.importorskip("nflows")
# What the peers do is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

from nflows import distributions, flows, transforms  # noqa: E402
from nflows.nn.nets import ResidualNet  # noqa: E402


def net(context: int | None) -> Callable[[int, int], Any]:
    return lambda i, o: ResidualNet(i, o, 16, context_features=context, activation=F.elu, dropout_probability=0.1)


def alternate(size: int, start: int = 0) -> list[int]:
    return [(i + start) % 2 for i in range(size)]


def splines(**options: Any) -> dict[str, Any]:
    return {"num_bins": 6, "tails": "linear", "tail_bound": 3.0, "min_derivative": 1e-2, **options}


def affine(size: int, context: int | None, **options: Any) -> Any:
    return transforms.MaskedAffineAutoregressiveTransform(size, 20, context, **options)


LAYERS: dict[str, Callable[[int, int | None], list[Any]]] = {
    "MAF": lambda d, c: [
        transforms.RandomPermutation(d),
        affine(d, c),
        transforms.ReversePermutation(d),
        affine(d, c, activation=torch.tanh, num_blocks=1, dropout_probability=0.1),
    ],
    "IAF": lambda d, c: [transforms.InverseTransform(affine(d, c)), transforms.IdentityTransform()],
    "NSF, autoregressive": lambda d, c: [
        transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
            features=d, hidden_features=20, context_features=c, **splines()
        ),
        transforms.LULinear(d, identity_init=False),
    ],
    "NSF, coupling": lambda d, c: [
        transforms.PiecewiseRationalQuadraticCouplingTransform(
            alternate(d), net(c), apply_unconditional_transform=True, **splines()
        ),
        transforms.InverseTransform(transforms.LULinear(d)),
        transforms.PiecewiseRationalQuadraticCouplingTransform(alternate(d, 1), net(c), **splines()),
    ],
    "RealNVP": lambda d, c: [
        transforms.AffineCouplingTransform(alternate(d), net(c)),
        transforms.AdditiveCouplingTransform(alternate(d, 1), net(c)),
        transforms.ActNorm(d),
        transforms.InverseTransform(
            transforms.CompositeTransform([transforms.BatchNorm(d), transforms.RandomPermutation(d)])
        ),
        transforms.PointwiseAffineTransform(torch.arange(d) * 1.0, torch.arange(d) + 1.0),
    ],
}
# nflows gives feedforward blocks no context but through an activation of its own.
FEEDFORWARD = [
    lambda d: affine(d, None, use_residual_blocks=False),
    lambda d: transforms.InverseTransform(affine(d, None, use_residual_blocks=False, random_mask=True)),
]


def origin_of(flow: Any, size: int, context: int, dtype: torch.dtype) -> Origin:
    flow = flow.to(dtype).eval()
    perturb(flow)

    def push(z: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        found: torch.Tensor = flow._transform.inverse(z, flow._embedding_net(c))[0]
        return found

    return Origin(flow.log_prob, push, lambda: from_nflows(flow), size, context)


def origin(name: str, size: int, context: int, dtype: torch.dtype = torch.float64) -> Origin:
    torch.manual_seed(0)
    layers = transforms.CompositeTransform(LAYERS[name](size, context or None))
    return origin_of(flows.Flow(layers, distributions.StandardNormal([size])), size, context, dtype)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("size", "context"), [(2, 0), (2, 2), (3, 2), (7, 0), (7, 3)])
def test_densities_and_samples_are_the_same(name: str, size: int, context: int) -> None:
    agrees(origin(name, size, context), samples=1e-6 if "NSF" in name else None)


@pytest.mark.parametrize("name", ["MAF", "RealNVP"])
def test_densities_and_samples_are_the_same_in_float32(name: str) -> None:
    agrees(origin(name, 3, 2, torch.float32), 1e-4, torch.float32)


@pytest.mark.parametrize("name", LAYERS)
def test_it_is_a_flow_like_any_other(name: str) -> None:
    is_a_flow_like_any_other(origin(name, 3, 2))


@pytest.mark.parametrize("layer", FEEDFORWARD)
@pytest.mark.parametrize("size", [2, 3, 7])
def test_feedforward_blocks(layer: Callable[[int], Any], size: int) -> None:
    torch.manual_seed(0)
    flow = flows.Flow(layer(size), distributions.StandardNormal([size]))
    agrees(origin_of(flow, size, 0, torch.float64))


def test_an_embedding_comes_along() -> None:
    torch.manual_seed(0)
    flow = flows.Flow(affine(3, 4), distributions.StandardNormal([3]), torch.nn.Linear(5, 4)).double()
    made = from_nflows(flow, context_shape=5)
    x, context = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, 5, dtype=torch.float64)
    torch.testing.assert_close(made.log_prob(x, context), flow.log_prob(x, context))
    assert made.embedding is not flow._embedding_net


def test_a_learnt_base_stays_one() -> None:
    torch.manual_seed(0)
    flow = flows.Flow(affine(3, None), distributions.DiagonalNormal([3]))
    perturb(flow)
    made = from_nflows(flow)
    x = torch.randn(50, 3)
    torch.testing.assert_close(made.log_prob(x), flow.log_prob(x), rtol=1e-5, atol=1e-5)
    assert sum(p.numel() for p in made.base.parameters()) == 6


@pytest.mark.parametrize("make", [flows.MaskedAutoregressiveFlow, flows.SimpleRealNVP])
def test_ready_made_flows(make: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    flow = make(4, 16, 3, 2, batch_norm_between_layers=True).double().eval()
    perturb(flow)
    agrees(Origin(flow.log_prob, lambda z, c: flow._transform.inverse(z)[0], lambda: from_nflows(flow), 4))
