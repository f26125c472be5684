"""Draws: their law, their seeds, one pass with their density, and bases that cannot be drawn with gradients."""

from __future__ import annotations

import pytest
import torch
from torch import distributions as td

import flowtorch.bijectors as bij
from flowtorch.bijectors import BoundBijector
from flowtorch.distributions import ConditionalNormal, Flow
from flowtorch.errors import NotSupportedError, OptionError, OptionTypeError
from tests.distributions.helpers import MADE, NET, QUADRATIC, close, draw, follows, make, normal

FLOWS = {
    "autoregressive": lambda: make(normal(3), bij.AffineAutoregressive(MADE), context_shape=(2,)),
    "masked": lambda: make(normal(3), bij.Invert(bij.SplineAutoregressive(MADE, count_bins=3)), context_shape=(2,)),
    "composed": lambda: make(
        normal(3), bij.Compose([bij.AffineCoupling(NET), bij.Permute(), bij.Exp()]), context_shape=(2,)
    ),
    "conditional base": lambda: make(
        ConditionalNormal(3, 2, NET).double(), bij.AffineCoupling(NET), context_shape=(2,)
    ),
}


def mixture() -> td.Distribution:
    components = td.Independent(td.Normal(draw(4, 3), draw(4, 3, seed=1).exp()), 1)
    return td.MixtureSameFamily(td.Categorical(logits=draw(4, seed=2)), components)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts how often a layer of a coupling is run in each direction."""
    counts = {"forward": 0, "inverse": 0}
    for name in counts:
        method = f"_{name}_and_log_det"
        original = getattr(bij.BoundCoupling, method)

        def counted(self: BoundBijector[bij.Bijector], *args: object, n: str = name, f: object = original) -> object:
            assert callable(f)
            counts[n] += 1
            return f(self, *args)

        monkeypatch.setattr(bij.BoundCoupling, method, counted)
    return counts


@pytest.mark.parametrize("name", FLOWS)
def test_sample_and_rsample_draw_the_same_under_the_same_seed(name: str) -> None:
    flow, context = FLOWS[name](), draw(4, 2, seed=1)
    torch.manual_seed(5)
    a = flow.sample((6,), context)
    torch.manual_seed(5)
    b = flow.rsample((6,), context)
    torch.manual_seed(5)
    c, log_prob = flow.rsample_and_log_prob((6,), context)
    assert not a.requires_grad and b.requires_grad and c.requires_grad
    close(a, b.detach())
    close(a, c.detach())
    close(log_prob, flow.log_prob(c, context))
    assert log_prob.shape == (6, 4)


def test_log_prob_and_draws_each_take_one_pass_of_one_direction(passes: dict[str, int]) -> None:
    flow = make(normal(3), bij.Compose([bij.AffineCoupling(NET), bij.AffineCoupling(NET, swap=True)]))
    for call, expected in (
        (lambda: flow.rsample_and_log_prob((5,)), {"forward": 2, "inverse": 0}),
        (lambda: flow.rsample((5,)), {"forward": 2, "inverse": 0}),
        (lambda: flow.sample((5,)), {"forward": 2, "inverse": 0}),
        (lambda: flow.log_prob(draw(5, 3)), {"forward": 0, "inverse": 2}),
        (lambda: flow.normalize(draw(5, 3)), {"forward": 0, "inverse": 2}),
        (lambda: flow[:1].rsample_and_log_prob((5,)), {"forward": 1, "inverse": 0}),
        (lambda: flow.expand((2,)).rsample_and_log_prob((5,)), {"forward": 2, "inverse": 0}),
    ):
        passes.update(forward=0, inverse=0)
        call()
        assert passes == expected


def test_a_flow_upon_a_flow_draws_and_scores_in_one_pass_too(passes: dict[str, int]) -> None:
    flow = make(make(normal(3), bij.AffineCoupling(NET), seed=1), bij.AffineCoupling(NET, swap=True))
    y, log_prob = flow.rsample_and_log_prob((5,))
    assert passes == {"forward": 2, "inverse": 0}
    close(log_prob, flow.log_prob(y))


def test_draws_follow_the_density() -> None:
    flow = make(normal(), bij.Spline(count_bins=5))
    assert follows(flow, flow.sample((5000,)))


def test_draws_of_a_conditional_flow_follow_each_context() -> None:
    flow = make(normal(), bij.Affine(NET), context_shape=(2,))
    contexts = 20 * draw(3, 2, seed=1)
    drawn = flow.sample((4000,), contexts)
    for column, context in zip(drawn.T, contexts, strict=True):
        assert follows(flow.condition(context), column)
    assert not follows(flow.condition(contexts[0]), drawn[:, 2])


def test_each_entry_of_the_batch_is_drawn_on_its_own() -> None:
    flow = make(normal(2), bij.Autoregressive(QUADRATIC, MADE), context_shape=(2,))
    same = draw(2, seed=1).expand(5, 2)
    for drawn in (flow.sample((3,), same), flow.condition(same).sample((3,)), flow[:1].expand((3, 5)).sample((), same)):
        assert drawn.shape == (3, 5, 2)
        assert len({round(v, 12) for v in drawn[..., 0].reshape(-1).tolist()}) == 15


@pytest.mark.parametrize("name", FLOWS)
def test_expected_values_by_monte_carlo_carry_gradients_to_every_parameter(name: str) -> None:
    flow = FLOWS[name]()
    y, log_prob = flow.rsample_and_log_prob((16,), draw(2, seed=1))
    (y.cos().sum() + log_prob.sum()).backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in flow.parameters())


def test_a_base_without_rsample_is_sampled_without_gradients_only() -> None:
    flow = make(mixture(), bij.AffineCoupling(NET))
    assert not flow.has_rsample and not flow[:1].has_rsample and not flow.expand((2,)).has_rsample
    drawn = flow.sample((7,))
    assert drawn.shape == (7, 3) and not drawn.requires_grad
    for call in (flow.rsample, flow.rsample_and_log_prob, flow[:1].rsample, flow.expand((2,)).rsample_and_log_prob):
        with pytest.raises(NotSupportedError, match=r"a base with rsample is expected; got MixtureSameFamily"):
            call((7,))


def test_has_rsample_is_the_bases() -> None:
    assert Flow(normal(3), bij.AffineCoupling()).has_rsample
    assert Flow(ConditionalNormal(3, 2), bij.AffineCoupling(), context_shape=2).has_rsample
    inner = Flow(mixture(), bij.AffineCoupling(), context_shape=2)
    assert not Flow(inner, bij.AffineCoupling(), context_shape=2).has_rsample
    assert not Flow(td.VonMises(0.0, 1.0), bij.AffineFixed()).has_rsample


def test_draws_of_a_mixture_are_its_draws_mapped() -> None:
    base = mixture()
    flow = make(base, bij.AffineCoupling(NET))
    torch.manual_seed(4)
    drawn = flow.sample((50,))
    torch.manual_seed(4)
    close(drawn, flow.bijector.forward(base.sample((50,))).detach())
    close(flow.log_prob(drawn), base.log_prob(flow.normalize(drawn)) + flow.bijector.inverse_and_log_det(drawn)[1])


@pytest.mark.parametrize("method", ["sample", "rsample"])
def test_a_number_of_draws_may_be_an_int(method: str) -> None:
    flow = make(normal(3), bij.AffineCoupling(NET))
    assert getattr(flow, method)(4).shape == (4, 3)
    assert getattr(flow, method)(torch.Size((0,))).shape == (0, 3)


def test_what_is_drawn_within_no_grad_or_sample_has_no_graph() -> None:
    flow = make(normal(3), bij.AffineCoupling(NET))
    with torch.no_grad():
        y, log_prob = flow.rsample_and_log_prob((4,))
    assert y.grad_fn is None and log_prob.grad_fn is None


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("chunk_size", [1, 4, 10, 100])
def test_draws_in_chunks_are_the_same_draws(name: str, chunk_size: int) -> None:
    flow, context = FLOWS[name](), draw(4, 2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        whole = flow.sample((5, 2), context)
        torch.manual_seed(0)
        chunks = flow.sample((5, 2), context, chunk_size=chunk_size)
        torch.manual_seed(0)
        of_view = flow.condition(context).sample((5, 2), chunk_size=chunk_size)
    close(chunks, whole)
    close(of_view, whole)


def test_chunks_go_through_the_bijector_one_at_a_time(passes: dict[str, int]) -> None:
    make(normal(3), bij.AffineCoupling(NET)).sample((10,), chunk_size=4)
    assert passes == {"forward": 3, "inverse": 0}


def test_chunks_of_no_draws_are_refused() -> None:
    flow = make(normal(3), bij.AffineCoupling(NET))
    with pytest.raises(OptionError, match="Flow.sample: chunk_size is expected to be at least 1; got 0"):
        flow.sample((3,), chunk_size=0)
    with pytest.raises(OptionTypeError, match="Flow.sample: chunk_size"):
        flow.sample((3,), chunk_size=2.5)  # type: ignore[arg-type]  # that is the point
