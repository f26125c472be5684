"""Flows with the rest of torch: compile, functional_call, copies, states, and other distributions around them."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import distributions as td
from torch.distributions import transforms
from torch.func import functional_call, grad, vmap

import flowtorch.bijectors as bij
from flowtorch.distributions import ConditionalNormal, DiagNormal, Flow
from tests.distributions.helpers import MADE, NET, close, draw, make, normal, same_draws

SHORT = bij.Compose([bij.AffineCoupling(NET), bij.Permute()])
DEEP = bij.Compose([bij.AffineAutoregressive(MADE), bij.Permute(), bij.Spline(count_bins=3), bij.AffineCoupling(NET)])


def t(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def triangle() -> torch.Tensor:
    return torch.eye(3, dtype=torch.float64) + draw(3, 3).tril(-1)


FLOWS = {
    "plain": lambda: make(normal(3), DEEP),
    "conditional": lambda: make(normal(3), bij.Autoregressive(bij.Affine(), MADE), context_shape=2),
    "embedded": lambda: make(
        normal(3), SHORT, context_shape=2, embedding=torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh())
    ),
    "learnt base": lambda: make(DiagNormal(3, t(0.1, 0.2, 0.3), 1.5), SHORT, context_shape=2, learn_base=True),
    "learnt multivariate base": lambda: make(
        td.MultivariateNormal(t(0.1, 0.2, 0.3), scale_tril=triangle()), bij.AffineCoupling(NET), learn_base=True
    ),
    "learnt mixture": lambda: make(
        td.MixtureSameFamily(td.Categorical(t(1.0, 2.0, 3.0)), td.Independent(td.Normal(draw(3, 3), 1.0), 1)),
        bij.AffineCoupling(NET),
        learn_base=True,
    ),
    "conditional base": lambda: make(ConditionalNormal(3, 2, NET).double(), bij.AffineCoupling(NET), context_shape=2),
    "a flow": lambda: make(make(normal(3), bij.AffineCoupling(NET), seed=2), bij.AffineAutoregressive(MADE)),
    "bounded": lambda: make(
        td.Independent(td.Beta(t(1.5, 1.0, 2.0), t(1.0, 2.0, 0.5)), 1),
        bij.Compose([bij.Invert(bij.Sigmoid()), bij.AffineCoupling(NET), bij.Softplus()]),
    ),
    "uniform": lambda: make(td.Independent(td.Uniform(t(-9.0, -9.0, -9.0), t(9.0, 9.0, 9.0)), 1), SHORT),
    "half-lines": lambda: make(
        td.MixtureSameFamily(
            td.Categorical(t(1.0, 2.0)), td.Independent(td.Pareto(t(0.1, 0.2, 0.3).expand(2, 3), 2 * t(1.0)), 1)
        ),
        bij.AffineCoupling(NET),
    ),
    "transformed base": lambda: make(
        td.TransformedDistribution(
            td.Independent(td.Normal(t(0.1, 0.2, 0.3), 1.0), 1),
            [transforms.AffineTransform(t(1.0), t(2.0), event_dim=1), transforms.TanhTransform()],
        ),
        bij.AffineCoupling(NET),
    ),
}


def context_of(flow: Flow) -> torch.Tensor | None:
    return None if flow.context_shape is None else draw(4, *flow.context_shape, seed=8)


@pytest.fixture
def _dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("_dynamo")
@pytest.mark.parametrize("name", FLOWS)
def test_compile_captures_the_call_whole(name: str) -> None:
    flow = FLOWS[name]()
    context = context_of(flow)
    y = torch.cat([flow.sample((2, 4) if context is None else (2,), context), -5 * draw(1, 4, 3)])
    compiled = torch.compile(flow, fullgraph=True, backend="eager")
    for _ in range(2):
        got = compiled(y, context)
        close(got, flow.log_prob(y, context))
    wanted = torch.autograd.grad(flow(y, context)[:2].sum(), list(flow.parameters()))
    for a, b in zip(torch.autograd.grad(got[:2].sum(), list(flow.parameters())), wanted, strict=True):
        close(a, b)
    with torch.no_grad():
        for p in flow.parameters():
            p.mul_(1.1)
    close(compiled(y, context), flow.log_prob(y, context))


@pytest.mark.parametrize("name", FLOWS)
def test_functional_call_uses_what_it_is_given(name: str) -> None:
    flow = FLOWS[name]()
    context = context_of(flow)
    y = flow.sample((4,)) if context is None else flow.sample((), context)
    other = copy.deepcopy(flow)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(1.1)
    state = {**dict(other.named_parameters()), **dict(other.named_buffers())}
    before = flow.log_prob(y, context)
    close(functional_call(flow, state, (y, context)), other.log_prob(y, context))
    close(flow.log_prob(y, context), before)


@pytest.mark.parametrize("name", ["plain", "conditional", "embedded", "learnt base", "conditional base", "bounded"])
def test_gradients_of_each_sample_by_vmap(name: str) -> None:
    flow = FLOWS[name]()
    context = context_of(flow)
    y = flow.sample((4,)) if context is None else flow.sample((), context)
    names = [n for n, _ in flow.named_parameters()]
    values = {n: p.detach() for n, p in flow.named_parameters()}

    def loss(values: dict[str, torch.Tensor], y: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        found: torch.Tensor = functional_call(flow, values, (y, context))
        return found

    per_sample = vmap(grad(loss), in_dims=(None, 0, None if context is None else 0))(values, y, context)
    for i in range(4):
        row = None if context is None else context[i]
        expected = torch.autograd.grad(flow.log_prob(y[i], row), list(flow.parameters()))
        for n, e in zip(names, expected, strict=True):
            close(per_sample[n][i], e)


@pytest.mark.parametrize("name", FLOWS)
def test_copies_pickles_and_states_give_the_same_densities_and_draws(name: str) -> None:
    flow = FLOWS[name]()
    context = context_of(flow)
    y = flow.sample((4,)) if context is None else flow.sample((), context)
    expected = flow.log_prob(y, context)  # before copying: a graph that is kept would not copy
    saved = io.BytesIO()
    torch.save(flow.state_dict(), saved)
    saved.seek(0)
    loaded = FLOWS[name]()
    with torch.no_grad():
        for p in loaded.parameters():
            p.zero_()
    loaded.load_state_dict(torch.load(saved, weights_only=True))
    for other in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow)), loaded):
        close(other.log_prob(y, context), expected)
        assert other.plan == flow.plan and other.event_shape == flow.event_shape
        if context is None:
            same_draws(other, flow)
        else:
            same_draws(other.condition(context), flow.condition(context))
        assert all(p is not q for p, q in zip(other.parameters(), flow.parameters(), strict=True))


def test_a_state_holds_all_that_changes_the_function() -> None:
    flow = make(normal(3), DEEP)
    other = make(normal(3), DEEP, seed=9)
    drawn = [f.bijector.parts[1].permutation.tolist() for f in (flow, other)]  # type: ignore[union-attr]
    y = draw(4, 3)
    other.load_state_dict(flow.state_dict())
    close(other.log_prob(y), flow.log_prob(y))
    assert "bijector.parts.1.permutation" in flow.state_dict() and len(drawn) == 2
    assert {"base.base_distribution.loc", "base.base_distribution.scale"} <= set(flow.state_dict())


# Other distributions around a flow


def test_independent_of_a_flow() -> None:
    flow = make(normal(3), DEEP)
    law = td.Independent(flow.expand((4,)), 1)
    assert law.event_shape == (4, 3) and law.has_rsample and law.sample((2,)).shape == (2, 4, 3)
    y = draw(2, 4, 3)
    close(law.log_prob(y), flow.log_prob(y).sum(-1))
    conditional = make(normal(3), DEEP, context_shape=2)
    contexts = draw(4, 2)
    law = td.Independent(conditional.condition(contexts), 1)
    close(law.log_prob(y), conditional.log_prob(y, contexts).sum(-1))
    assert bool(law.support.check(y).all())


def test_transformed_distribution_of_a_flow() -> None:
    flow = make(normal(3), DEEP)
    law = td.TransformedDistribution(
        flow, [transforms.AffineTransform(1.0, t(2.0, 3.0, 4.0)), transforms.ExpTransform()]
    )
    y = law.sample((5,))
    x = (y.log() - 1.0) / t(2.0, 3.0, 4.0)
    close(law.log_prob(y), flow.log_prob(x) - t(2.0, 3.0, 4.0).log().sum() - y.log().sum(-1))
    assert law.rsample((2,)).requires_grad and law.expand((4,)).sample((2,)).shape == (2, 4, 3)


def test_mixture_of_a_conditional_flow() -> None:
    flow = make(normal(3), DEEP, context_shape=2)
    contexts, weights = draw(4, 2), t(1.0, 2.0, 3.0, 4.0)
    law = td.MixtureSameFamily(td.Categorical(weights), flow.condition(contexts))
    y = law.sample((5,))
    assert law.event_shape == (3,) and y.shape == (5, 3)
    parts = torch.stack([flow.log_prob(y, c) for c in contexts], -1)
    close(law.log_prob(y), (parts + (weights / 10).log()).logsumexp(-1))
    same = td.MixtureSameFamily(td.Categorical(weights), make(normal(3), DEEP).expand((4,)))
    close(same.log_prob(y), make(normal(3), DEEP).log_prob(y))
    law.log_prob(y).sum().backward()
    assert all(p.grad is not None for p in flow.parameters())


def test_a_flow_is_a_distribution_and_a_module() -> None:
    flow = make(normal(3), DEEP)
    assert isinstance(flow, td.Distribution) and isinstance(flow, torch.nn.Module)
    assert flow.arg_constraints == {} and "Flow(" in repr(flow)
    for name in ("mean", "variance", "mode"):
        with pytest.raises(NotImplementedError):
            getattr(flow, name)
    assert hash(flow) == hash(flow) and flow == flow


def test_the_callers_device_and_dtype_are_followed() -> None:
    flow = make(normal(3), DEEP).to(torch.float32)
    assert flow.log_prob(draw(2, 3).float()).dtype == torch.float32
    moved = copy.deepcopy(flow).to("meta")
    assert all(v.device.type == "meta" for v in (*moved.parameters(), *moved.buffers()))
    assert moved.log_prob(torch.empty(4, 3, device="meta")).shape == (4,)
