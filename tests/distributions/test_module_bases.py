"""Bases that are modules: another flow, ``ConditionalNormal``, and a module of the user's own."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import distributions as td
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.distributions import ConditionalNormal, Flow
from flowtorch.errors import ContextError, DomainError, OptionTypeError, ShapeError
from tests.distributions.helpers import MADE, NET, close, draw, make, normal, same_draws


def inner(**options: object) -> Flow:
    return make(normal(3), bij.AffineCoupling(NET), seed=1, **options)  # type: ignore[arg-type]


def test_a_flow_upon_a_flow_is_the_flow_of_both() -> None:
    base = inner()
    flow = make(base, bij.AffineAutoregressive(MADE))
    both = make(normal(3), bij.Compose([bij.AffineCoupling(NET), bij.AffineAutoregressive(MADE)]))
    both.bijector.parts[0].load_state_dict(base.bijector.state_dict())  # type: ignore[union-attr]
    both.bijector.parts[1].load_state_dict(flow.bijector.state_dict())  # type: ignore[union-attr]
    y = flow.sample((5,))
    close(flow.log_prob(y), both.log_prob(y))
    same_draws(flow, both)
    same_draws(flow.expand((4,)), both.expand((4,)))
    assert flow.base is base and flow.base_dist is base


def test_its_parameters_states_and_dtype_are_the_outer_flows() -> None:
    flow = make(inner(), bij.AffineAutoregressive(MADE))
    assert {id(p) for p in flow.base.parameters()} <= {id(p) for p in flow.parameters()}
    flow.log_prob(draw(5, 3)).sum().backward()
    assert all(p.grad is not None for p in flow.parameters())
    other = make(inner(), bij.AffineAutoregressive(MADE), seed=7)
    other.load_state_dict(flow.state_dict())
    for found in (other, copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        close(found.log_prob(draw(5, 3)), flow.log_prob(draw(5, 3)))
        same_draws(found, flow)
    assert Flow(inner(), bij.AffineAutoregressive(MADE)).sample().dtype == torch.float64
    assert flow.float().sample().dtype == torch.float32


def test_an_inner_flow_without_a_context_under_one_with_a_context() -> None:
    flow = make(inner(), bij.AffineCoupling(NET), context_shape=(2,))
    context = draw(4, 2)
    y, log_prob = flow.rsample_and_log_prob((5,), context)
    assert y.shape == (5, 4, 3)
    close(log_prob, flow.log_prob(y, context))


def test_a_conditional_flow_as_base_sees_the_embedded_context() -> None:
    base = inner(context_shape=(4,))
    flow = make(base, bij.AffineCoupling(NET), context_shape=(2,), embedding=torch.nn.Linear(2, 4))
    context = draw(5, 2)
    y, log_prob = flow.rsample_and_log_prob((), context)
    embedded = flow.embedding(context)  # type: ignore[misc]
    x, log_det = flow.bijector.inverse_and_log_det(y, embedded)
    close(log_prob, base.log_prob(x, embedded) + log_det)
    close(flow.condition(context).log_prob(y), log_prob)
    assert flow.sample((6,), context).shape == (6, 5, 3)
    assert flow.condition(context).expand((3, 5)).sample((2,)).shape == (2, 3, 5, 3)
    log_prob.sum().backward()
    assert all(p.grad is not None for p in flow.parameters())


def test_the_context_of_the_base_must_be_that_of_the_flow() -> None:
    base = inner(context_shape=(4,))
    words = r"a context of shape \(4,\), the base's, is expected after any embedding; got "
    for options, got in (
        ({}, "None"),
        ({"context_shape": 2}, r"\(2,\)"),
        ({"context_shape": 4, "embedding": torch.nn.Linear(4, 3)}, r"\(3,\)"),
    ):
        with pytest.raises(ContextError, match=words + got):
            Flow(base, bij.AffineCoupling(), **options)  # type: ignore[arg-type]
    flow = Flow(base, bij.AffineCoupling(), context_shape=4)
    with pytest.raises(ContextError, match=r"Flow.base_dist: a base that needs no context.*Use flow.base.condition"):
        _ = flow.base_dist


def test_supports_of_inner_flows() -> None:
    positive = make(normal(2), bij.Exp(), context_shape=(2,))
    flow = make(positive, bij.Power(), context_shape=(2,))
    assert not flow.support.check(-draw(2).abs()) and str(flow.support) == str(flow.bijector.codomain)
    context, y = draw(2), draw(6, 2).exp()
    x, log_det = flow.bijector.inverse_and_log_det(y, context)
    close(flow.log_prob(y, context), positive.log_prob(x, context) + log_det)
    # Under a map of the whole space, what the inner flow cannot give has no density.
    shifted = make(positive, bij.AffineFixed(loc=1.0), context_shape=(2,))
    points = torch.tensor([[2.0, 3.0], [0.5, 3.0], [math.nan, 3.0]]).double()
    density = shifted.log_prob(points, context)
    assert density[0].isfinite() and density[1] == -torch.inf and density[2].isnan()
    assert shifted.condition(context).support.check(points).tolist() == [True, False, False]
    with pytest.raises(
        DomainError, match=r"layer \(Power\).*base \(Flow\) gives; its domain is \(0, inf\), got support"
    ):
        Flow(inner(), bij.Power())


def test_inner_flows_with_a_bounded_base() -> None:
    low = torch.zeros(2, dtype=torch.float64)
    bounded = Flow(td.Independent(td.Uniform(low, low + 1), 1), bij.AffineFixed(scale=2.0))
    flow = make(bounded, bij.AffineCoupling(NET))
    x = torch.tensor([[0.5, 1.5], [0.5, 2.5]]).double()
    y, log_det = (v.detach() for v in flow.bijector.forward_and_log_det(x))
    close(flow.log_prob(y), torch.tensor([-2 * math.log(2.0), -math.inf]).double() - log_det)
    assert flow.support.check(y).tolist() == [True, False]
    with pytest.raises(DomainError, match="got support a part of real"):
        Flow(bounded, bij.Power())


def test_independent_of_a_flow_with_a_batch() -> None:
    batched = make(td.Independent(td.Normal(draw(4, 3), 1.0), 1), bij.AffineCoupling(NET))
    flow = make(td.Independent(batched, 1), bij.AffineCoupling(NET))
    assert flow.event_shape == (4, 3) and flow.sample((2,)).shape == (2, 4, 3)
    y = draw(5, 4, 3)
    x, log_det = flow.bijector.inverse_and_log_det(y)
    close(flow.log_prob(y), batched.log_prob(x).sum(-1) + log_det)
    assert {id(p) for p in batched.parameters()} <= {id(p) for p in flow.parameters()}


# ConditionalNormal


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_conditional_normal_is_the_normal_its_network_says(shape: tuple[int, ...]) -> None:
    base = ConditionalNormal(shape, (2, 1), NET).double()
    fresh = base.condition(draw(2, 1))
    close(fresh.mean, torch.zeros(shape, dtype=torch.float64))
    close(fresh.variance.sqrt(), torch.full(shape, 1.0001, dtype=torch.float64))
    with torch.no_grad():
        for i, p in enumerate(base.parameters()):
            p.add_(0.3 * draw(*p.shape, seed=i))
    context, y = draw(5, 2, 1), draw(5, *shape)
    law = base.condition(context)
    loc, raw = base.params(None, context)
    scale = (1 + math.expm1(1.0) * raw.exp()).log() + 1e-4
    close(law.log_prob(y), td.Independent(td.Normal(loc, scale), len(shape)).log_prob(y))
    assert law.batch_shape == (5,) and law.event_shape == shape and law.has_rsample
    assert not torch.allclose(law.mean[0], law.mean[1])


def test_conditional_normal_keeps_its_scale_off_zero_for_any_context() -> None:
    base = ConditionalNormal(2, 2).double()
    with torch.no_grad():
        for p in base.parameters():
            p.fill_(-3.0)
    law = base.condition(torch.ones(2).double())
    assert bool((law.variance.sqrt() >= 1e-4).all()) and law.log_prob(law.mean).isfinite()


def test_conditional_normal_under_a_flow() -> None:
    flow = make(ConditionalNormal(3, 2, NET).double(), bij.AffineAutoregressive(MADE), context_shape=2)
    context = draw(4, 2)
    y = flow.sample((5,), context)
    x, log_det = flow.bijector.inverse_and_log_det(y, context)
    close(flow.log_prob(y, context), flow.base.condition(context).log_prob(x) + log_det)  # type: ignore[operator]
    assert flow.batch_shape == () and y.shape == (5, 4, 3)
    assert flow.summary().rows[0].layer == "base: ConditionalNormal"


def test_conditional_normal_refusals() -> None:
    with pytest.raises(ContextError, match=r"ConditionalNormal: .*context \(3,\) is expected; got \(7, 2\)"):
        ConditionalNormal(2, 3).condition(torch.zeros(7, 2))
    with pytest.raises(ContextError, match=r"context \(2, 3\) is expected; got \(3,\)"):
        ConditionalNormal(2, (2, 3)).condition(torch.zeros(3))
    with pytest.raises(OptionTypeError, match=r"params_fn is expected to be a Parameters; got .*DenseNN"):
        ConditionalNormal(2, 3, params.DenseNN)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="a shape has no negative sizes"):
        ConditionalNormal(-2, 3)
    words = r"at least 1 event dimensions is expected by AffineCoupling; got event shape \(\)"
    with pytest.raises(ShapeError, match=words):
        Flow(ConditionalNormal((), 3), bij.AffineCoupling(), context_shape=3)


# A module of the user's own


class Scored(torch.nn.Module):
    """Looks like a distribution, and is a module alone."""

    event_shape, batch_shape, has_rsample = torch.Size((2,)), torch.Size(), True
    support: Constraint = constraints.real_vector

    def __init__(self) -> None:
        super().__init__()
        self.loc = torch.nn.Parameter(torch.tensor([0.5, -0.5], dtype=torch.float64))

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        return td.Normal(self.loc, 1.0).log_prob(x).sum(-1)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> torch.Tensor:  # noqa: B008
        return self.rsample(sample_shape).detach()

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> torch.Tensor:  # noqa: B008
        return self.loc + torch.randn(*sample_shape, 2, dtype=torch.float64)


class Silent(Scored):
    """The same, and says nothing of where it is positive."""

    @property
    def support(self) -> Constraint:  # type: ignore[override]
        raise AttributeError


@pytest.mark.parametrize("kind", [Scored, Silent])
def test_a_module_with_log_prob_is_a_child(kind: type[Scored]) -> None:
    base = kind()
    flow = make(base, bij.AffineCoupling(NET))
    y, log_prob = flow.rsample_and_log_prob((5,))
    close(flow.log_prob(y), log_prob)
    x, log_det = flow.bijector.inverse_and_log_det(y)
    close(log_prob, base.log_prob(x) + log_det)
    log_prob.sum().backward()
    flow.rsample((2,)).sum().backward()
    assert base.loc.grad is not None and any(p is base.loc for p in flow.parameters())
    assert flow.support.check(draw(2)) and flow.has_rsample and flow.summary().rows[0].parameters == 2
