"""Entropies and divergences by draws, beside their closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal
from torch.distributions import kl_divergence as torch_kl

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.distributions.mixture_of_flows import MixtureOfFlows
from flowtorch.objectives import entropy, kl_divergence
from tests.distributions.helpers import NET, close, draw, make, normal


def affine(seed: int, **options: object) -> tuple[Flow, Independent]:
    """A flow and the normal distribution that it is."""
    flow = make(DiagNormal(3), bij.Affine(params.Tensor()), seed=seed, **options)
    loc = flow.bijector.forward(torch.zeros(3).double())
    return flow, Independent(Normal(loc, flow.bijector.forward(torch.ones(3).double()) - loc), 1)


def test_the_entropy_of_a_normal_distribution_and_its_gradient() -> None:
    flow, exact = affine(0)
    torch.manual_seed(0)
    found = entropy(flow, 50_000)
    assert (found.value - exact.entropy()).abs() < 4 * found.error < 0.05
    parameters = list(flow.parameters())
    for got, wanted in zip(
        *(torch.autograd.grad(v, parameters, materialize_grads=True) for v in (found.value, exact.entropy())),
        strict=True,
    ):
        close(got, wanted)
    assert not found.error.requires_grad


def test_the_divergence_of_normal_distributions_and_its_gradients() -> None:
    (p, exact_p), (q, exact_q) = affine(0), affine(1)
    exact = torch_kl(exact_p, exact_q)
    parameters = [*p.parameters(), *q.parameters()]
    wanted = torch.autograd.grad(exact, parameters, retain_graph=True)
    for one, other in ((p, q), (p, exact_q), (exact_p, q)):
        torch.manual_seed(0)
        found = kl_divergence(one, other, 200_000)
        assert (found.value - exact).abs() < 4 * found.error < 0.05
        got = torch.autograd.grad(found.value, parameters, retain_graph=True)
        for g, w in zip(got, wanted, strict=True):
            close(g, w, 0.05)


def test_torch_knows_it_for_flows_and_views() -> None:
    (p, exact_p), (q, exact_q) = affine(0), affine(1)
    exact, other_way = torch_kl(exact_p, exact_q), torch_kl(exact_q, exact_p)
    torch.manual_seed(0)
    for one, other in (
        (p, q),
        (p, exact_q),
        (exact_p, q),
        (p.expand((2,)), q),
        (exact_p, q.expand((2,))),
        (MixtureOfFlows([p]), q),
        (q, MixtureOfFlows([p]).expand(())),
    ):
        error = 5 * kl_divergence(one, other, 1_024).error
        found = torch_kl(one, other)
        assert ((found - (other_way if one is q else exact)).abs() < error).all() and found.shape == error.shape


def test_batches_broadcast_and_contexts_go_to_those_that_take_them() -> None:
    p = make(normal(3), bij.AffineCoupling(NET), context_shape=(2,))
    q = make(normal(3), bij.AffineCoupling(NET), seed=1)
    context = draw(4, 2, seed=1)
    for one, other in ((p, q), (q, p), (p, p), (q, p.condition(context))):
        given = None if other is not p and one is not p else context
        found = kl_divergence(one, other, 200, given)
        assert found.value.shape == found.error.shape == (4,)
    close(kl_divergence(p, p, 200, context).value, torch.zeros(4).double())
    assert entropy(p, 10, context).value.shape == (4,)
    apart = kl_divergence(p, q, 20_000, context)
    single = kl_divergence(p, q, 20_000, context[1])
    assert (apart.value[1] - single.value).abs() < 5 * (apart.error[1] + single.error)


def test_draws_without_gradients_will_do() -> None:
    uniform = torch.distributions.Categorical(logits=torch.zeros(2))
    mixture = torch.distributions.MixtureSameFamily(
        uniform, Normal(torch.tensor([-1.0, 1.0]), torch.tensor([1.0, 1.0]))
    )
    flow = Flow(DiagNormal(()), bij.Affine(params.Tensor()))
    torch.manual_seed(0)
    value, error = kl_divergence(mixture, flow, 20_000)
    y = torch.linspace(-9, 9, 20_001)
    log_p = mixture.log_prob(y)
    exact = torch.trapezoid(log_p.exp() * (log_p - Normal(0.0, 1.0).log_prob(y)), y)
    assert (value - exact).abs() < 4 * error
    value.backward()
    found = entropy(mixture, 20_000)
    assert (found.value + torch.trapezoid(log_p.exp() * log_p, y)).abs() < 4 * found.error


def test_mass_where_the_other_has_none_is_an_infinite_divergence() -> None:
    positive = Flow(DiagNormal(()), bij.Exp())
    found = kl_divergence(Flow(DiagNormal(()), bij.Affine()), positive, 100)
    assert found.value == math.inf and found.error.isnan()


def test_errors_shrink_with_the_root_of_the_draws() -> None:
    flow, _ = affine(0)
    torch.manual_seed(0)
    ratio = entropy(flow, 1_000).error / entropy(flow, 100_000).error
    assert ratio.item() == pytest.approx(10, rel=0.15)
