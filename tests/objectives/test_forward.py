"""The forward divergence by weighted draws: its value, and the gradient of a weighted likelihood."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal
from torch.distributions import kl_divergence as exact_kl

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.objectives import forward_kl
from tests.distributions.helpers import MADE, NET, close, draw, make, normal

LOC = torch.tensor([0.3, -0.5, 0.6], dtype=torch.float64)
TARGET = Independent(Normal(LOC, torch.full_like(LOC, 0.7)), 1)
WIDE = Independent(Normal(LOC, torch.full_like(LOC, 1.5)), 1)
LOG_Z = 2.5


def target(y: torch.Tensor) -> torch.Tensor:
    return TARGET.log_prob(y) + LOG_Z


@pytest.mark.parametrize("proposal", [None, WIDE], ids=["itself", "wide"])
def test_value_and_gradient_of_normal_distributions_are_the_closed_form(proposal: Independent | None) -> None:
    flow = Flow(DiagNormal(3), bij.Affine(params.Tensor())).double()  # N(0, 1)
    loc = flow.bijector.forward(torch.zeros(3).double())
    scale = flow.bijector.forward(torch.ones(3).double()) - loc
    exact = exact_kl(TARGET, Independent(Normal(loc, scale), 1))
    torch.manual_seed(0)
    found = forward_kl(flow, target, 400_000, proposal=proposal)
    close(found, exact, 0.02)
    parameters = list(flow.parameters())
    for got, wanted in zip(*(torch.autograd.grad(v, parameters) for v in (found, exact)), strict=True):
        close(got, wanted, 0.02)


def test_the_gradient_is_that_of_the_weighted_likelihood_of_fixed_draws() -> None:
    flow = make(normal(3), bij.AffineAutoregressive(MADE))
    torch.manual_seed(1)
    y = flow.sample((20,))
    weights = (target(y) - flow.log_prob(y)).detach().softmax(0)
    expected = torch.autograd.grad(-(weights * flow.log_prob(y)).sum(), list(flow.parameters()))
    torch.manual_seed(1)
    found = torch.autograd.grad(forward_kl(flow, target, 20), list(flow.parameters()))
    for got, wanted in zip(found, expected, strict=True):
        close(got, wanted)


def test_a_flow_that_is_the_target_has_no_divergence_and_no_gradient() -> None:
    flow = make(normal(3), bij.AffineAutoregressive(MADE))
    constant = flow.log_prob

    def itself(y: torch.Tensor) -> torch.Tensor:
        return constant(y) + LOG_Z

    assert forward_kl(flow, itself, 50).item() == pytest.approx(0.0, abs=1e-12)


def test_the_target_gets_no_gradients_from_it() -> None:
    flow = make(normal(3), bij.AffineAutoregressive(MADE))
    shift = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    forward_kl(flow, lambda y: target(y - shift), 5).backward()
    assert shift.grad is None


@pytest.mark.parametrize("kind", ["itself", "without a batch", "with the batch"])
def test_each_context_has_weights_of_its_own(kind: str) -> None:
    flow = make(normal(3), bij.AffineCoupling(NET), context_shape=(2,))
    context = draw(4, 2, seed=1)
    law = flow.condition(context)
    proposal = {"itself": None, "without a batch": WIDE, "with the batch": WIDE.expand((4,))}[kind]
    torch.manual_seed(1)
    y = law.sample((30,)) if proposal is None else WIDE.sample((30, 4))
    log_proposal = law.log_prob(y) if proposal is None else WIDE.log_prob(y)
    weights = (target(y) - log_proposal).exp()
    shares = weights / weights.sum(0)
    expected = (shares * (target(y) - law.log_prob(y))).sum(0) - weights.mean(0).log()
    torch.manual_seed(1)
    close(forward_kl(flow, target, 30, context, proposal=proposal), expected.mean())


def test_weights_of_zero_are_left_out_and_gradients_stay_finite() -> None:
    flow = make(normal(3), bij.AffineAutoregressive(MADE))

    def half(y: torch.Tensor) -> torch.Tensor:
        return torch.where(y[..., 0] > 0, target(y), -math.inf)

    loss = forward_kl(flow, half, 100)
    assert loss.isfinite()
    assert all(g.isfinite().all() for g in torch.autograd.grad(loss, list(flow.parameters())))
    nothing = forward_kl(flow, lambda y: target(y) - math.inf, 100)
    assert nothing == math.inf
    assert all((g == 0).all() for g in torch.autograd.grad(nothing, list(flow.parameters())))


def test_mass_where_the_flow_has_none_is_an_infinite_divergence() -> None:
    flow = Flow(DiagNormal(()), bij.Compose([bij.Affine(params.Tensor()), bij.Exp()]))
    assert forward_kl(flow, Normal(0.0, 1.0).log_prob, 100, proposal=Normal(0.0, 1.0)) == math.inf


def test_it_covers_both_modes_where_the_reverse_divergence_takes_one() -> None:
    def modes(y: torch.Tensor) -> torch.Tensor:
        return torch.stack([Normal(m, 0.5).log_prob(y) for m in (-2.0, 2.0)]).logsumexp(0)

    torch.manual_seed(0)
    flow = Flow(Normal(0.5, 1.0), bij.Affine(params.Tensor()))
    optimizer = torch.optim.Adam(flow.parameters(), 0.05)
    for _ in range(200):
        optimizer.zero_grad()
        forward_kl(flow, modes, 500, proposal=Normal(0.0, 4.0)).backward()
        optimizer.step()
    y = flow.sample((20_000,))  # of the moments of both modes: mean 0, variance 4 + 1/4
    assert y.mean().abs() < 0.15 and (y.std() - 4.25**0.5).abs() < 0.15
