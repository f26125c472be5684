"""Inverses of block autoregressive maps: what lies outside of the image, what they cost, how they end up."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import flowtorch.bijectors.block_autoregressive as module
import flowtorch.distributions as dist
from flowtorch import domains
from flowtorch.bijectors.block_autoregressive import BlockAutoregressive
from flowtorch.errors import DomainError
from flowtorch.ops.block import ActivationName

from .block_autoregressive import bind, every_form, points

NOT_ONTO: list[tuple[ActivationName, float, float]] = [("tanh", -1.0, 1.0), ("sigmoid", 0.0, 1.0), ("elu", -1.0, 1e9)]

# Onto, or not --------------------------------------------------------------------------------------------------------


@every_form
def test_the_codomain_is_the_reals_only_if_the_map_is_onto(activation: ActivationName, residual: Any) -> None:
    plan = BlockAutoregressive(activation=activation, residual=residual)
    onto = residual is not None or activation in ("leaky_tanh", "leaky_relu")
    assert domains.is_real(plan.codomain) is onto and plan.codomain.event_dim == 1
    base = dist.DiagNormal(2)
    dist.Flow(base, plan)
    if onto:
        dist.Flow(base, plan.inv)
        far = torch.tensor([[-1e5, 1e5, -1e5]], dtype=torch.float64)
        bound = bind(plan)
        torch.testing.assert_close(bound.forward(bound.inverse(far)), far, rtol=1e-8, atol=0.0)
    else:  # its density would integrate to less than one, as in pyro-ppl/numpyro#1655
        with pytest.raises(DomainError, match="a part of real"):
            dist.Flow(base, plan.inv)


@pytest.mark.parametrize(("activation", "low", "high"), NOT_ONTO)
def test_outside_of_the_image(activation: ActivationName, low: float, high: float) -> None:
    """With all weights of a coordinate 1 in sum, the image is that of the activation."""
    bound = bind(BlockAutoregressive((4,), activation=activation, residual=None), (2,), scale=0.0)
    first, last = bound.net.layers
    with torch.no_grad():
        for parameter in (first.weight, last.weight, last.diagonal, last.bias):
            assert parameter is not None
            parameter.zero_()
        # Rows of four equal weights, and of length 1/2, which comes out of the bounds of the scale.
        last.raw_scale.fill_(-5.0 * math.atanh(math.log(2.0) / 5.0))
    inside = 0.5 * (low + min(high, 1.0))
    edges = [low - 1.0, low - 1e-9, low + 1e-6, inside, *([high - 1e-6, high + 1e-9, high + 1.0] if high < 9 else [])]
    y = torch.tensor([[e, inside] for e in edges] + [[inside, e] for e in edges], dtype=torch.float64).requires_grad_()
    x, log_det = bound.inverse_and_log_det(y)
    expected = torch.tensor([e <= low or e >= high for e in edges] * 2)
    assert torch.isneginf(log_det).eq(expected).all() and bool(x.isfinite().all())
    torch.testing.assert_close(bound.forward(x)[~expected], y[~expected])
    assert float(x.detach().abs().max()) < 40.0  # an interior point, not one at the end of the search
    finite = torch.where(expected, 0.0, log_det)
    gradients = torch.autograd.grad(finite.sum() + x.sum(), [y, *bound.parameters()], allow_unused=True)
    assert all(bool(g.isfinite().all()) for g in gradients if g is not None)


def test_what_is_beyond_reach_is_taken_to_lie_outside() -> None:
    bound = bind(BlockAutoregressive(activation="leaky_relu", residual=None))
    x, log_det = bound.inverse_and_log_det(torch.tensor([[1e30, 0.0, 0.0], [1e3, 0.0, 0.0]], dtype=torch.float64))
    assert torch.isneginf(log_det).tolist() == [True, False] and bool(x.isfinite().all())
    # With a share of the identity there is a bracket, however far out.
    far = torch.tensor([[1e30, -1e30, 1e30]], dtype=torch.float64)
    bound = bind(BlockAutoregressive())
    torch.testing.assert_close(bound.forward(bound.inverse(far)), far)


# The inverse ---------------------------------------------------------------------------------------------------------


def test_the_inverse_takes_a_pass_and_a_little_for_each_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = bind(BlockAutoregressive(), (32,))
    y = bound.forward(points(10, 32)).detach()
    evaluations = 0
    evaluate = module.block_map

    def counted(*args: Any) -> Any:
        nonlocal evaluations
        evaluations += 1
        return evaluate(*args)

    monkeypatch.setattr(module, "block_map", counted)
    cost = []
    for direction, value in ((bound.forward_and_log_det, points(10, 32)), (bound.inverse_and_log_det, y)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            direction(value)
        cost.append(counter.get_total_flops())
    assert evaluations < 12 * 32
    assert cost[1] < cost[0]  # half a pass for what is known, the rest for all iterations together


def test_tolerance_and_steps_are_those_of_the_search() -> None:
    x = points(50, 3)

    def error(**options: Any) -> float:
        bound = bind(BlockAutoregressive(residual="normal", **options), scale=1.0)
        return float((bound.inverse(bound.forward(x)) - x).detach().abs().max())

    assert error() < 1e-12
    assert error(steps=1) > 1e-7
    assert 1e-10 < error(tolerance=0.1) < 0.05


@pytest.mark.slow
@every_form
def test_the_inverse_stays_within_its_tolerance_in_training(activation: ActivationName, residual: Any) -> None:
    torch.manual_seed(0)
    bound = BlockAutoregressive(activation=activation, residual=residual).bind((3,)).double()
    optimizer = torch.optim.Adam(bound.parameters(), lr=1e-2)
    x, target = points(64, 3), points(64, 3, seed=3)
    for _ in range(1000):
        optimizer.zero_grad()
        y, log_det = bound.forward_and_log_det(x)
        ((y - target).square().sum(-1) - log_det).mean().backward()
        optimizer.step()
    x = points(256, 3, seed=4)
    with torch.no_grad():
        y, log_det = bound.forward_and_log_det(x)
        back, inverse_log_det = bound.inverse_and_log_det(y)
        again = bound.forward(back)
    torch.testing.assert_close(again, y, rtol=1e-10, atol=1e-10)
    # Alone, the network may be so flat that a digit of y is worth many of x.
    flat = 1.0 if residual is not None else float(torch.exp(-log_det.min()))
    torch.testing.assert_close(back, x, rtol=0.0, atol=1e-10 + 1e-14 * flat)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=0.0, atol=1e-9 + 1e-13 * flat)


def test_a_flow_is_trained_and_sampled() -> None:
    torch.manual_seed(0)
    flow = dist.Flow(dist.DiagNormal(2), BlockAutoregressive().inv)
    optimizer = torch.optim.Adam(flow.parameters(), lr=2e-2)

    def draw(n: int) -> torch.Tensor:  # a crescent, of entropy 2 (log 0.3 + 1.4189)
        first = torch.randn(n)
        return torch.stack([0.3 * first, 0.3 * torch.randn(n) + 3.0 * (0.3 * first) ** 2], 1)

    for _ in range(300):
        optimizer.zero_grad()
        loss = -flow.log_prob(draw(256)).mean()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        assert float(-flow.log_prob(draw(4000)).mean()) < 2.0 * (math.log(0.3) + 1.4189) + 0.08
        x, log_prob = flow.rsample_and_log_prob((100,))
        torch.testing.assert_close(flow.log_prob(x), log_prob, rtol=1e-3, atol=1e-3)
