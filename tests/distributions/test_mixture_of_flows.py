"""``MixtureOfFlows``: densities against the sum of its components', draws against its density."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import distributions as td

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch import domains
from flowtorch.distributions import ConditionalNormal, DiagNormal, Flow
from flowtorch.distributions.mixture_of_flows import MixtureOfFlows
from flowtorch.distributions.resampled import ResampledBase
from flowtorch.testing import perturb
from tests.distributions.helpers import MADE, NET, close, draw, follows, integral, make, normal, same_draws

WEIGHTS = (0.5, 0.3, 0.2)


def flows(n: int = 2, **options: object) -> list[Flow]:
    """Three flows of different plans, far enough apart to be told from one another."""
    plans = [
        bij.AffineAutoregressive(MADE),
        bij.AffineCoupling(NET),
        bij.Compose([bij.AffineFixed(loc=4.0), bij.Affine(NET) if options else bij.Affine()]),
    ]
    return [make(normal(n), plan, seed=k, **options) for k, plan in enumerate(plans)]  # type: ignore[arg-type]


def mixture(**options: object) -> MixtureOfFlows:
    return MixtureOfFlows(flows(), weights=WEIGHTS, **options)  # type: ignore[arg-type]


def conditional() -> MixtureOfFlows:
    """With weights and components from the context."""
    found = MixtureOfFlows(flows(context_shape=2), weights=WEIGHTS, params_fn=NET).double()
    assert found.gate is not None
    perturb(found.gate, torch.Generator().manual_seed(0))
    return found


def test_the_density_is_the_weighted_sum() -> None:
    found, y = mixture(), draw(4, 3, 2)
    expected = sum(w * flow.log_prob(y).exp() for w, flow in zip(WEIGHTS, found.flows, strict=True))
    close(found.log_prob(y), expected.log())  # type: ignore[union-attr]
    close(found(y), found.log_prob(y))
    close(found.log_weights().exp(), torch.tensor(WEIGHTS, dtype=torch.float64))


def test_weights_and_components_from_a_context() -> None:
    found, y, context = conditional(), draw(3, 1, 2), draw(4, 2, seed=1)
    weights = found.log_weights(context).exp()
    assert weights.shape == (4, 3) and not torch.allclose(weights[0], weights[1])
    close(weights.sum(-1), torch.ones(4).double())
    expected = sum(weights[:, k] * flow.log_prob(y, context).exp() for k, flow in enumerate(found.flows))
    close(found.log_prob(y, context), expected.log())  # type: ignore[union-attr]
    close(found.condition(context).log_prob(y), found.log_prob(y, context))


def test_a_fresh_network_gives_the_weights_it_starts_from() -> None:
    found = MixtureOfFlows(flows(), weights=WEIGHTS, params_fn=NET, context_shape=(4,))
    close(found.log_weights(draw(5, 4)).exp(), torch.tensor(WEIGHTS, dtype=torch.float64).expand(5, 3))
    assert found.sample((6,), draw(5, 4)).shape == (6, 5, 2)


def test_responsibilities_are_bayes_rule() -> None:
    found, y = mixture(), draw(5, 2)
    joint = torch.stack([w * f.log_prob(y).exp() for w, f in zip(WEIGHTS, found.flows, strict=True)], -1)
    close(found.responsibilities(y), joint / joint.sum(-1, keepdim=True))
    assert conditional().responsibilities(y, draw(5, 2)).shape == (5, 3)


def test_draws_follow_the_density_of_a_univariate_mixture() -> None:
    parts = [
        make(td.Normal(m.double(), 1.0), bij.Spline(count_bins=4), seed=i)
        for i, m in enumerate(torch.tensor([-3.0, 2.0]))
    ]
    found = MixtureOfFlows(parts, weights=(1.0, 3.0))
    assert abs(integral(found.log_prob, -15.0, 15.0) - 1.0) < 1e-6
    x = found.sample((4000,))
    assert follows(found, x) and not follows(parts[0], x)
    y = draw(5, 3)
    close(torch.func.vmap(torch.func.grad(found.cdf))(y.flatten()), found.log_prob(y.flatten()).exp())


def test_each_draw_has_the_context_of_its_own_row() -> None:
    low, high = (td.Independent(td.Normal(v * torch.ones(1).double(), 0.1), 1) for v in (0.0, 100.0))
    parts = [Flow(base, bij.Shift(params.DenseNN(())), context_shape=1) for base in (low, high)]
    with torch.no_grad():
        for part in parts:
            for p in part.bijector.parameters():
                p.fill_(1.0 if p.dim() == 2 else 0.0)  # a shift by the context itself
    found = MixtureOfFlows(parts).double()
    context = 10.0 * torch.arange(6).double().reshape(2, 3, 1)
    for x in (found.sample((50,), context), found.condition(context).sample((50,))):
        assert x.shape == (50, 2, 3, 1)
        which = (x - context).round(decimals=0) > 50
        assert 60 < int(which.sum()) < 240  # of 300
        assert bool(((x - context - 100 * which).abs() < 1).all())
    one = found.sample((50,), context[0, 1])
    assert one.shape == (50, 1) and bool(((one - 10) % 100).add(50).remainder(100).sub(50).abs().lt(1).all())


def test_shapes_of_draws() -> None:
    found, context = conditional(), draw(4, 2)
    assert mixture().sample().shape == (2,) and mixture().sample((3, 5)).shape == (3, 5, 2)
    assert mixture().expand((4, 1)).sample((3,)).shape == (3, 4, 1, 2)
    assert mixture().expand((4,)).log_prob(draw(2)).shape == (4,)
    assert found.sample((3,), context).shape == (3, 4, 2) and found.sample((0,), context).shape == (0, 4, 2)
    assert found.sample((3,), context[:0]).shape == (3, 0, 2)
    assert found.condition(context).expand((5, 4)).sample((3,)).shape == (3, 5, 4, 2)
    assert found.expand((5, 4)).condition(context).sample().shape == (5, 4, 2)
    assert found.condition(context).batch_shape == (4,) and found.batch_shape == ()


def test_components_with_a_batch() -> None:
    parts = [make(td.Independent(td.Normal(draw(4, 3) + 9 * k, 1.0), 1), bij.AffineCoupling(NET)) for k in range(2)]
    found = MixtureOfFlows([*parts, normal(3)])
    assert found.batch_shape == (4,) and found.sample((5,)).shape == (5, 4, 3)
    y = draw(5, 4, 3)
    expected = torch.stack([law.log_prob(y) for law in (*parts, normal(3))]).logsumexp(0) - math.log(3)
    close(found.log_prob(y), expected)
    mean = MixtureOfFlows(parts, weights=(1.0, 1e-9)).sample((4000,)).mean(0)
    assert bool(((mean - parts[0].sample((4000,)).mean(0)).abs() < 0.15).all())


def test_components_of_any_kind() -> None:
    resampled = ResampledBase(2, NET).double().eval()
    base = ConditionalNormal(2, 3, NET).double()
    wide = td.MultivariateNormal(torch.zeros(2).double(), 9 * torch.eye(2).double())
    found = MixtureOfFlows([flows()[0], resampled, base, wide, mixture()])
    y, context = draw(5, 2), draw(5, 3)
    laws = (flows()[0], resampled, base.condition(context), wide, mixture())
    close(found.log_prob(y, context), torch.stack([law.log_prob(y) for law in laws]).logsumexp(0) - math.log(5))
    assert found.context_shape == (3,) and found.sample((7,), context).shape == (7, 5, 2)
    assert "flows.3.loc" in found.state_dict()
    names = [row.layer for row in found.summary().rows]
    assert names[:2] == ["0: base: Independent", "0: AffineAutoregressive"] and "3: MultivariateNormal" in names
    assert "4: 1: AffineCoupling" in names
    assert found.summary().parameters == sum(p.numel() for p in found.parameters())


def test_supports_are_joined() -> None:
    zero, one = torch.zeros(2).double(), torch.ones(2).double()
    boxes = [td.Independent(td.Uniform(zero + k, one + k), 1) for k in (0, 2)]
    apart = MixtureOfFlows(boxes, weights=(1.0, 1.0))
    y = torch.tensor([[0.5, 0.5], [2.5, 2.5], [1.5, 1.5], [math.nan, 0.5]], dtype=torch.float64)
    found = apart.log_prob(y)
    close(found[:2].exp(), torch.tensor([0.5, 0.5]).double())
    assert found[2] == -math.inf and found[3].isnan()
    (gradient,) = torch.autograd.grad(apart.log_prob(y[:3]).clamp(min=-9.0).sum(), apart.logits)
    assert bool(gradient.isfinite().all())
    assert apart.support.check(y).tolist() == [True, True, False, False]
    assert not domains.is_real(apart.support) and domains.includes(td.constraints.positive, apart.support)
    assert apart.expand((4,)).support.check(y).tolist() == [True, True, False, False]
    with pytest.raises(ValueError, match=r"got support a part of \(0, 3\)"):
        Flow(apart, bij.Logit())
    assert domains.is_real(mixture().support) and domains.is_real(MixtureOfFlows([boxes[0], normal(2)]).support)
    assert bool(apart.responsibilities(y)[2].isnan().all())
    strict = MixtureOfFlows(boxes, validate_args=True)
    with pytest.raises(ValueError, match="got 1 of 3 of none"):
        strict.log_prob(y[:3])


def test_gradients_reach_everything() -> None:
    for found, context in ((mixture(), None), (conditional(), draw(5, 2))):
        found.log_prob(draw(5, 2), context).sum().backward()
        assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in found.parameters())
    fixed = mixture(learn_weights=False)
    assert "logits" in fixed.state_dict() and all(not n.endswith("logits") for n, _ in fixed.named_parameters())


def test_stratified_draws_give_the_expectation_and_its_gradient() -> None:
    locs = (-1.0, 2.0)
    parts = [Flow(DiagNormal(1, loc=torch.tensor(m).double()), bij.Affine()).double() for m in locs]
    found = MixtureOfFlows(parts, weights=(0.25, 0.75)).double()
    y, log_prob, log_weight = found.rsample_stratified((20000,))
    assert y.shape == (2, 20000, 1)
    close(log_prob, found.log_prob(y))
    close(log_weight.exp()[:, 0], torch.tensor([0.25, 0.75]).double())
    # E[y^2] is the sum of w (m^2 + 1); its gradient to the weights' logits w_k (m_k^2 + 1 - E[y^2]).
    value = (log_weight.exp() * y.square().sum(-1)).sum(0).mean()
    expected = sum(w * (m * m + 1) for w, m in zip((0.25, 0.75), locs, strict=True))
    assert abs(value.item() - expected) < 0.1
    found.zero_grad()
    value.backward()
    assert found.logits.grad is not None
    slope = [w * (m * m + 1 - expected) for w, m in zip((0.25, 0.75), locs, strict=True)]
    assert bool((found.logits.grad - torch.tensor(slope).double()).abs().lt(0.1).all())
    assert all(p.grad is not None for flow in found.flows for p in flow.parameters())


def test_stratified_draws_with_contexts() -> None:
    found, context = conditional(), draw(4, 2)
    y, log_prob, log_weight = found.rsample_stratified((5, 6), context)
    assert y.shape == (3, 5, 6, 4, 2) and log_prob.shape == log_weight.shape == (3, 5, 6, 4)
    close(log_weight[:, 0, 0].T, found.log_weights(context))
    close(log_prob, found.log_prob(y, context))


def test_copies_of_one_plan_are_independent() -> None:
    found = MixtureOfFlows.of(ResampledBase(2, NET), bij.AffineAutoregressive(MADE), 3, context_shape=4)
    assert len(found.flows) == 3 and found.context_shape == (4,)
    pointers = [p.data_ptr() for p in found.parameters()]
    assert len(set(pointers)) == len(pointers)
    learnt = MixtureOfFlows.of(DiagNormal(2), bij.Affine(), 2, learn_base=True)
    assert sum(p.numel() for p in learnt.parameters()) == 2 + 2 * (4 + 4)


def test_it_follows_copies_states_and_dtypes() -> None:
    found = mixture()
    other = MixtureOfFlows([make(normal(2), f.plan, seed=9) for f in flows()]).double()
    other.load_state_dict(found.state_dict())
    y = draw(5, 2)
    for same in (other, copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        close(same.log_prob(y), found.log_prob(y))
        same_draws(same, found)
    assert found.float().log_prob(y.float()).dtype == found.sample((2,)).dtype == torch.float32


def test_as_the_base_of_a_flow() -> None:
    for base, options, context in ((mixture(), {}, None), (conditional(), {"context_shape": 2}, draw(4, 2))):
        flow = make(base, bij.AffineCoupling(NET), seed=3, **options)  # type: ignore[arg-type]
        y = flow.sample((5,), context)
        x, log_det = flow.bijector.inverse_and_log_det(y, context)
        close(flow.log_prob(y, context), base.log_prob(x, context) + log_det)
        assert not flow.has_rsample or options
        assert flow.summary().rows[0].layer == "base: MixtureOfFlows"


def test_it_starts_from_data() -> None:
    data = 3.0 + draw(200, 2)
    found = MixtureOfFlows.of(normal(2), bij.Compose([bij.AffineCoupling(NET), bij.ActNorm()]), 2).double()
    before = found.log_prob(data).mean().item()
    found.initialize(data)
    assert found.log_prob(data).mean().item() > before + 1.0


@pytest.mark.parametrize("kind", ["plain", "conditional"])
def test_compiled_densities(kind: str) -> None:
    found, context = (mixture(), None) if kind == "plain" else (conditional(), draw(5, 2))
    compiled = torch.compile(found, fullgraph=True, backend="eager")
    y = draw(5, 2)
    close(compiled(y, context), found.log_prob(y, context))


def test_it_learns_clusters() -> None:
    data = (0.3 * draw(600, 2) + 4.0 * (draw(600, 1, seed=1) > 0)).float()
    parts = [Flow(DiagNormal(2, loc=m), bij.Affine()) for m in (-1.0, 3.0)]
    found = MixtureOfFlows(parts)
    optimizer = torch.optim.Adam(found.parameters(), lr=5e-2)
    for _ in range(150):
        optimizer.zero_grad()
        (-found(data).mean()).backward()
        optimizer.step()
    share = (data[:, 0] > 2).float()
    assert bool((found.responsibilities(data)[:, 1].round() == share).all())
    assert abs(found.log_weights()[1].exp().item() - share.mean().item()) < 0.02
