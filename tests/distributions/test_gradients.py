"""Gradients of densities and of draws against finite differences and against autodiff of explicit formulas."""

from __future__ import annotations

import pytest
import torch
from torch import distributions as td
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.distributions import ConditionalNormal, Flow
from tests.distributions.helpers import close, draw, make, normal

TINY_MADE = params.MADE((4,), nonlinearity=torch.nn.Tanh)
TINY_NET = params.DenseNN((4,), nonlinearity=torch.nn.Tanh)
TINY_SPLINE = bij.Spline(count_bins=3, order="quadratic", bound=4.0)

PLANS = {
    "affine autoregressive": bij.AffineAutoregressive(TINY_MADE),
    "inverted affine autoregressive": bij.Invert(bij.AffineAutoregressive(TINY_MADE, scale_fn="exp")),
    "spline autoregressive": bij.Autoregressive(TINY_SPLINE, TINY_MADE),
    "inverted spline autoregressive": bij.Invert(bij.Autoregressive(TINY_SPLINE, TINY_MADE)),
    "both directions": bij.Compose(
        [bij.AffineAutoregressive(TINY_MADE), bij.Reverse(), bij.Invert(bij.AffineAutoregressive(TINY_MADE))]
    ),
    "coupling": bij.AffineCoupling(TINY_NET),
}


def leaves(flow: Flow) -> tuple[list[str], tuple[torch.Tensor, ...]]:
    names, values = zip(*flow.named_parameters(), strict=True)
    return list(names), tuple(v.detach().clone().requires_grad_() for v in values)


class Drawn(torch.nn.Module):
    """Draws and their densities as a function of the parameters, under one seed."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, context: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return self.flow.rsample_and_log_prob((2,), context)


@pytest.mark.parametrize("context_shape", [None, (2,)])
@pytest.mark.parametrize("name", PLANS)
def test_log_prob_in_value_context_and_parameters(name: str, context_shape: tuple[int, ...] | None) -> None:
    flow = make(normal(3), PLANS[name], context_shape=context_shape)
    names, values = leaves(flow)
    y = draw(2, 3).requires_grad_()
    context = None if context_shape is None else draw(2, *context_shape, seed=1).requires_grad_()

    def density(y: torch.Tensor, context: torch.Tensor | None, *values: torch.Tensor) -> torch.Tensor:
        return functional_call(flow, dict(zip(names, values, strict=True)), (y, context))

    assert gradcheck(density, (y, context, *values), fast_mode=True)


@pytest.mark.parametrize("context_shape", [None, (2,)])
@pytest.mark.parametrize("name", PLANS)
def test_draws_and_their_densities_in_context_and_parameters(name: str, context_shape: tuple[int, ...] | None) -> None:
    flow = make(normal(3), PLANS[name], context_shape=context_shape)
    names, values = leaves(flow)
    drawn = Drawn(flow)
    context = None if context_shape is None else draw(2, *context_shape, seed=1).requires_grad_()

    def pair(context: torch.Tensor | None, *values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        named = {f"flow.{n}": v for n, v in zip(names, values, strict=True)}
        y, log_prob = functional_call(drawn, named, (context,))
        return y, log_prob

    assert gradcheck(pair, (context, *values), fast_mode=True)


@pytest.mark.parametrize("name", ["inverted affine autoregressive", "affine autoregressive", "spline autoregressive"])
def test_second_derivatives_of_log_prob_in_the_value(name: str) -> None:
    flow = make(normal(3), PLANS[name])
    assert gradgradcheck(flow.log_prob, (draw(2, 3).requires_grad_(),), fast_mode=True)


def test_gradients_of_a_learnt_affine_map_are_those_of_the_normal_it_is() -> None:
    flow = make(
        normal(3), bij.Affine(scale_fn="exp", log_scale_min_clip=-float("inf"), log_scale_max_clip=float("inf"))
    )
    loc, log_scale = (p.detach().clone().requires_grad_() for p in flow.bijector.parameters())
    base, y = flow.base_dist, draw(5, 3)
    scale = log_scale.exp()
    explicit = td.Normal(loc + scale * base.mean, scale * base.variance.sqrt()).log_prob(y).sum()
    expected = torch.autograd.grad(explicit, (loc, log_scale))
    found = torch.autograd.grad(flow.log_prob(y).sum(), list(flow.bijector.parameters()))
    for got, wanted in zip(found, expected, strict=True):
        close(got, wanted)


def test_gradients_of_draws_of_a_learnt_affine_map_are_those_of_the_reparameterised_normal() -> None:
    flow = make(
        normal(3), bij.Affine(scale_fn="exp", log_scale_min_clip=-float("inf"), log_scale_max_clip=float("inf"))
    )
    loc, log_scale = (p.detach().clone().requires_grad_() for p in flow.bijector.parameters())
    torch.manual_seed(2)
    noise = flow.base_dist.sample((5,))
    torch.manual_seed(2)
    drawn = flow.rsample((5,))
    explicit = loc + log_scale.exp() * noise
    expected = torch.autograd.grad(explicit.sin().sum(), (loc, log_scale))
    found = torch.autograd.grad(drawn.sin().sum(), list(flow.bijector.parameters()))
    for got, wanted in zip(found, expected, strict=True):
        close(got, wanted)


def test_gradients_reach_a_conditional_base_and_an_embedding() -> None:
    base = ConditionalNormal(2, 4, TINY_NET).double()
    embedding = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh())
    flow = make(base, bij.AffineCoupling(TINY_NET), context_shape=3, embedding=embedding)
    names, values = leaves(flow)
    y, context = draw(2, 2).requires_grad_(), draw(2, 3, seed=1).requires_grad_()

    def density(y: torch.Tensor, context: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return functional_call(flow, dict(zip(names, values, strict=True)), (y, context))

    assert gradcheck(density, (y, context, *values), fast_mode=True)
    grads = torch.autograd.grad(flow.log_prob(y, context).sum(), list(flow.parameters()))
    assert all(bool(g.any()) for g in grads)
