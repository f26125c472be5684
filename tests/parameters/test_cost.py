"""What going one step at a time costs: each hidden unit and each output once, so sampling is no dearer than scoring."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
from flowtorch._native import loader
from flowtorch.bijectors import BoundAutoregressive, BoundCompose, BoundInvert
from flowtorch.parameters import MADE
from flowtorch.testing import perturb


class Counted(torch.nn.Module):
    """tanh; it counts the units it is given, for one row."""

    seen: int = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Counted.seen += x.shape[-1]
        return x.tanh()


PLANS = {
    "plain": (MADE((12, 10), nonlinearity=Counted), (5,), None),
    "context": (MADE((12, 10), nonlinearity=Counted), (5,), (2,)),
    "residual": (MADE((9, 9, 9), nonlinearity=Counted, residual=True), (4,), (2,)),
    "skip connections": (MADE((9,), nonlinearity=Counted, skip_connections=True), (4,), None),
    "narrow": (MADE((3, 2), nonlinearity=Counted), (5,), None),
    "blocks": (MADE((12, 10), nonlinearity=Counted), (4, 3), None),
}


@pytest.mark.parametrize("name", PLANS)
def test_each_hidden_unit_and_each_output_is_evaluated_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, shape, context_shape = PLANS[name]
    dim = None if len(shape) == 1 else 0
    with torch.random.fork_rng(devices=[]):
        bound = bij.AffineAutoregressive(made, dim=dim).bind(shape, context_shape)
        context = None if context_shape is None else torch.randn(7, *context_shape)
        y = torch.randn(7, *shape)
    perturb(bound, torch.Generator().manual_seed(0))
    rows = 0
    plain = torch.nn.functional.linear

    def counting(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        nonlocal rows
        rows += w.shape[0]
        return plain(x, w, b)

    monkeypatch.setattr(torch.nn.functional, "linear", counting)
    assert isinstance(bound, BoundAutoregressive)
    Counted.seen = 0
    x = bound.inverse(y, context)
    assert Counted.seen == sum(made.hidden_dims)

    # Rows of matrices multiplied: of every hidden unit and every output one, in the layers from the context as well.
    outputs = 2 * math.prod(shape)
    expected = sum(made.hidden_dims) + outputs * (2 if made.skip_connections else 1)
    if context is not None:
        expected += made.hidden_dims[0]
    assert rows == expected
    monkeypatch.undo()
    torch.testing.assert_close(bound.forward(x, context), y, rtol=1e-4, atol=1e-4)  # float32


def one_layer(name: str) -> bij.Bijector:
    net = MADE((128, 128))
    return bij.AffineAutoregressive(net) if name == "affine" else bij.SplineAutoregressive(net, count_bins=8)


def five_layers(name: str) -> dist.Flow:
    """The flow of the claim: five inverted autoregressive layers at D = 64, in float32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = dist.Flow(dist.DiagNormal(64), bij.Compose([bij.Invert(one_layer(name)) for _ in range(5)]))
    perturb(flow, torch.Generator().manual_seed(0), scale=0.3)
    return flow


def multiply_adds(call: object) -> int:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        call()  # type: ignore[operator]
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", ["affine", "spline"])
def test_sampling_costs_no_more_multiply_adds_than_scoring(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "capability", None)  # the counter does not see into operators of ours
    flow, rows = five_layers(name), 16
    value = torch.zeros(rows, 64)
    scoring = multiply_adds(lambda: flow.log_prob(value))
    # The count itself is right: one pass of five networks, 64 -> 128 -> 128 -> 64 times what a coordinate needs. The
    # last layer is in blocks, that for the spline in four, of which the b-th reads b quarters of the units.
    per_coordinate, share = (2, 1.0) if name == "affine" else (8 + 8 + 7 + 8, (1 + 2 + 3 + 4) / 16)
    expected = 5 * rows * (64 * 128 + 128 * 128 + 128 * 64 * per_coordinate * share)
    assert 0.99 * expected < scoring < 1.02 * expected
    with torch.random.fork_rng(devices=[]):
        sampling = multiply_adds(lambda: flow.sample((rows,)))
    assert 0.25 * scoring < sampling <= 1.1 * scoring


@pytest.mark.parametrize("name", ["affine", "spline"])
def test_samples_are_those_of_the_naive_loop(name: str) -> None:
    flow = five_layers(name)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(8, 64, generator=generator)
    with torch.no_grad():
        got = flow.bijector.forward(noise)
        y = noise
        assert isinstance(flow.bijector, BoundCompose)
        for layer in flow.bijector.parts:
            assert isinstance(layer, BoundInvert)
            y = naive_inverse(layer.bijector, y)
    assert not torch.allclose(got, noise, atol=0.1)
    torch.testing.assert_close(got, y, rtol=1e-5, atol=1e-5)


def naive_inverse(bound: bij.BoundBijector[bij.Bijector], y: torch.Tensor) -> torch.Tensor:
    """Solves coordinate by coordinate, the whole conditioner anew for each."""
    assert isinstance(bound, BoundAutoregressive)
    order = bound.params.order
    x, in_order = torch.zeros_like(y), y[:, order]
    for step in range(len(order)):
        found, _ = bound.map(in_order, bound.params(x, None), True)
        x[:, step] = found[:, step]
    return x[:, order.argsort()]
