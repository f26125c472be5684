"""Training: repeated steps on the same tensor, nothing stale, and a fit to a law that is known."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import distributions as td

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from tests.distributions.helpers import MADE, NET, close, draw, make, normal

PLANS = {
    "autoregressive": bij.AffineAutoregressive(MADE),
    "masked": bij.Invert(bij.SplineAutoregressive(MADE, count_bins=3)),
    "coupling": bij.AffineCoupling(NET),
    "spline": bij.Spline(params.Tensor(), count_bins=3),
    "several": bij.Compose([bij.Affine(params.Tensor()), bij.Softplus(), bij.Invert(bij.Softplus())]),
}


@pytest.mark.parametrize("name", PLANS)
def test_several_steps_on_the_same_tensor_lower_the_loss(name: str) -> None:
    flow, data = make(normal(3), PLANS[name], context_shape=2), draw(50, 3) * 0.2 + 1.0
    context = draw(50, 2)
    optimizer = torch.optim.Adam(flow.parameters(), 1e-2)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = -flow.log_prob(data, context).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("name", PLANS)
def test_deepcopy_after_log_prob_and_after_a_draw(name: str) -> None:
    flow, y = make(normal(3), PLANS[name]), draw(4, 3)
    flow.log_prob(y).sum().backward()
    flow.rsample_and_log_prob((4,))
    view = flow.expand((4,))
    view.log_prob(y)
    close(copy.deepcopy(flow).log_prob(y), flow.log_prob(y))
    close(copy.deepcopy(view).log_prob(y), view.log_prob(y))


@pytest.mark.parametrize("name", PLANS)
def test_nothing_is_stale_after_a_parameter_has_changed(name: str) -> None:
    flow = make(normal(3), PLANS[name])
    y = flow.rsample((4,)).detach()
    x, before = flow.normalize(y), flow.log_prob(y).detach()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.3)
    fresh = make(normal(3), PLANS[name], seed=5)
    fresh.load_state_dict(flow.state_dict())
    assert not torch.allclose(flow.log_prob(y), before) and not torch.allclose(flow.normalize(y), x)
    close(flow.log_prob(y), fresh.log_prob(y))
    close(flow.normalize(y), fresh.normalize(y))


def test_gradients_accumulate_over_calls() -> None:
    flow, y = make(normal(3), bij.AffineCoupling(NET)), draw(6, 3)
    (expected,) = torch.autograd.grad(flow.log_prob(y).sum(), [next(flow.parameters())])
    for part in y.split(2):
        flow.log_prob(part).sum().backward()
    got = next(flow.parameters()).grad
    assert got is not None
    close(got, expected)


def test_the_tensors_given_are_left_as_they_are() -> None:
    flow = make(normal(3), PLANS["masked"], context_shape=2)
    y, context = draw(4, 3), draw(4, 2)
    kept = y.clone(), context.clone()
    flow.log_prob(y, context)
    flow.normalize(y, context)
    flow.sample((2,), context)
    assert torch.equal(y, kept[0]) and torch.equal(context, kept[1])


def test_a_flow_finds_a_law_by_sampling_from_itself() -> None:
    # Variational inference: the target is a correlated normal, which two linear couplings can be exactly.
    target = td.MultivariateNormal(torch.tensor([1.0, -2.0]).double(), torch.tensor([[1.0, 0.6], [0.6, 0.8]]).double())
    linear = params.DenseNN(())
    plan = bij.Compose([bij.AdditiveCoupling(linear), bij.Affine(scale_fn="exp")])
    flow = dist.Flow(dist.DiagNormal(2, torch.zeros(2).double()), plan)
    optimizer = torch.optim.Adam(flow.parameters(), 0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    for _ in range(300):
        optimizer.zero_grad()
        y, log_prob = flow.rsample_and_log_prob((64,))
        (log_prob - target.log_prob(y)).mean().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        y, log_prob = flow.rsample_and_log_prob((1000,))
        # At the optimum the integrand is constant, so that the estimate has no noise.
        assert float((log_prob - target.log_prob(y)).mean()) == pytest.approx(0.0, abs=1e-3)


def test_the_first_lines_anyone_runs() -> None:
    base_dist = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2), torch.ones(2)), 1)
    bijectors = bij.AffineAutoregressive()
    flow = dist.Flow(base_dist, bijectors)
    opt = torch.optim.Adam(flow.parameters(), lr=5e-3)
    y = 5.0 + 0.5 * torch.randn(1000, 2)
    first = loss = -flow.log_prob(y).mean()
    for _ in range(30):
        opt.zero_grad()
        loss = -flow.log_prob(y).mean()
        loss.backward()
        opt.step()
    assert loss.item() < first.item() - 5.0 and math.isfinite(loss.item())
