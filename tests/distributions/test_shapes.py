"""One rule: ``sample_shape + broadcast(context batch, base batch_shape) + event_shape``; densities drop the event."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import distributions as td

import flowtorch.bijectors as bij
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.errors import BaseError, ContextError, OptionTypeError, ShapeError
from tests.distributions.helpers import MADE, NET, close, draw, make, normal


def batched(batch: tuple[int, ...], event: tuple[int, ...]) -> td.Distribution:
    loc = draw(*batch, *event, seed=9)
    return td.Independent(td.Normal(loc, (0.3 * loc).exp()), len(event))


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(torch.broadcast_shapes(*shapes))


COMBINATIONS = list(
    itertools.product(
        [(), (2,), (4, 1)],  # draws
        [(), (5,), (3, 5)],  # the base's batch
        [None, (), (5,), (3, 1), (2, 1, 5)],  # the context's batch
        [(3,), (2, 3)],  # events
    )
)


@pytest.mark.parametrize(("draws", "batch", "given", "event"), COMBINATIONS)
def test_the_rule(
    draws: tuple[int, ...], batch: tuple[int, ...], given: tuple[int, ...] | None, event: tuple[int, ...]
) -> None:
    context_shape = None if given is None else (2, 1)
    flow = make(batched(batch, event), bij.AffineCoupling(NET), context_shape=context_shape)
    context = None if given is None else draw(*given, 2, 1, seed=1)
    full = broadcast(batch, given or ())
    for law, args in ((flow, (context,)), (flow if context is None else flow.condition(context), ())):
        assert law.event_shape == event
        for method in (law.sample, law.rsample):
            assert method(draws, *args).shape == draws + full + event
        y, log_prob = law.rsample_and_log_prob(draws, *args)
        assert y.shape == draws + full + event and log_prob.shape == draws + full
        again = law.log_prob(y, *args)
        assert again.shape == draws + full
        close(again.detach(), log_prob.detach())
        assert law.normalize(y, *args).shape == draws + full + event


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_each_entry_of_a_batch_is_its_own_distribution(batch: tuple[int, ...]) -> None:
    base = batched((2, 3), (4,))
    flow = make(base, bij.AffineAutoregressive(MADE), context_shape=(2,))
    y, context = draw(*batch, 4, seed=2), draw(3, 2, seed=1)
    got = flow.log_prob(y, context)
    assert got.shape == (2, 3)
    y = y.expand(2, 3, 4)
    for i, j in itertools.product(range(2), range(3)):
        component = td.Normal(base.base_dist.loc[i, j], base.base_dist.scale[i, j])
        x, log_det = flow.bijector.inverse_and_log_det(y[i, j], context[j])
        close(got[i, j], component.log_prob(x).sum() + log_det)


def test_values_and_contexts_broadcast_both_ways() -> None:
    flow = make(normal(3), bij.AffineAutoregressive(MADE), context_shape=(2,))
    y, context = draw(4, 3), draw(5, 2, seed=1)
    table = flow.log_prob(y[:, None], context)
    assert table.shape == (4, 5)
    for i, j in itertools.product(range(4), range(5)):
        close(table[i, j], flow.log_prob(y[i], context[j]))


def test_scalar_events_have_no_dimension() -> None:
    flow = make(normal(), bij.Affine(NET), context_shape=(2,))
    assert flow.event_shape == () and flow.sample((4,), draw(3, 2)).shape == (4, 3)
    assert flow.log_prob(torch.tensor(0.5).double(), draw(2)).shape == ()


@pytest.mark.parametrize("plan", [bij.AffineAutoregressive(MADE), bij.AffineCoupling(NET)], ids=["made", "coupling"])
def test_batch_dimensions_are_moved_into_the_event_where_the_plan_needs_vectors(plan: bij.Bijector) -> None:
    loc = draw(4, 3, seed=9)
    flow = make(td.Normal(loc, 1.0), plan)
    assert flow.event_shape == (3,) and flow.batch_shape == (4,)
    expected = make(td.Independent(td.Normal(loc, 1.0), 1), plan)
    expected.load_state_dict(flow.state_dict())
    y = draw(4, 3)
    close(flow.log_prob(y), expected.log_prob(y))
    # As torch's own TransformedDistribution does it.
    of_torch = td.TransformedDistribution(td.Normal(loc, 1.0), [flow.bijector], validate_args=False)
    assert (of_torch.batch_shape, of_torch.event_shape) == (flow.batch_shape, flow.event_shape)
    close(flow.log_prob(y), of_torch.log_prob(y))


def test_a_base_with_batch_dimensions_under_an_elementwise_plan_is_refused_with_the_remedy() -> None:
    base = td.Normal(torch.zeros(2, 3), torch.ones(2, 3))
    words = r"without batch dimensions is expected under Spline.*batch shape \(2, 3\).*Independent\(base, 2\)"
    with pytest.raises(ShapeError, match=words + r" or dist.DiagNormal\(\(2, 3\)\)"):
        Flow(base, bij.Spline())
    assert Flow(td.Independent(base, 2), bij.Spline()).event_shape == (2, 3)
    assert Flow(DiagNormal((2, 3)), bij.Spline()).event_shape == (2, 3)
    # An event of its own beside a batch is no such case.
    assert Flow(td.Independent(base, 1), bij.Spline()).batch_shape == (2,)


def test_too_few_dimensions_are_refused() -> None:
    words = r"at least 1 event dimensions is expected by AffineCoupling; got event shape \(\) and batch shape \(\)"
    with pytest.raises(ShapeError, match=words):
        Flow(td.Normal(0.0, 1.0), bij.AffineCoupling())


def test_a_module_with_batch_dimensions_cannot_have_them_moved() -> None:
    inner = Flow(td.Independent(td.Normal(torch.zeros(4, 3), 1.0), 1), bij.AffineCoupling())
    matrix = bij.AffineFixed(scale=((1.0, 2.0, 3.0),) * 4)
    with pytest.raises(BaseError, match=r"event dimensions of its own is expected by AffineFixed; got batch \(4,\)"):
        Flow(inner, matrix)


@pytest.mark.parametrize("method", ["log_prob", "normalize", "rnormalize"])
def test_events_of_the_wrong_shape_are_refused(method: str) -> None:
    flow = Flow(normal(3), bij.AffineCoupling())
    for wrong in (draw(4), draw(5, 2), draw()):
        with pytest.raises(ShapeError, match=r"event \(3,\) is expected; got \("):
            getattr(flow, method)(wrong)
    with pytest.raises(OptionTypeError, match="a tensor is expected; got list"):
        getattr(flow, method)([0.0, 1.0, 2.0])
    with pytest.raises(OptionTypeError, match="a floating-point tensor is expected; got torch.int64"):
        getattr(flow, method)(torch.ones(3, dtype=torch.int64))


METHODS = ("log_prob", "normalize", "rnormalize", "sample", "rsample", "rsample_and_log_prob", "cdf", "icdf")


@pytest.mark.parametrize("method", METHODS)
def test_contexts_that_are_missing_unexpected_or_misshapen_are_refused_by_every_method(method: str) -> None:
    with_context = Flow(normal(), bij.Affine(NET), context_shape=(2,)).double()
    without = Flow(normal(), bij.Affine())
    argument = () if "sample" in method else draw(5)
    for view in (with_context, with_context[:1]):
        call = getattr(view, method)
        with pytest.raises(ContextError, match=rf"Flow.{method}: .*with context \(2,\) is expected; got none"):
            call(argument)
        with pytest.raises(ContextError, match=r"with context \(2,\) is expected; got \(5, 3\)"):
            call(argument, draw(5, 3))
        with pytest.raises(ContextError, match=r"with context \(2,\) is expected; got list"):
            call(argument, [0.0, 1.0])
        if "sample" not in method:
            with pytest.raises(ContextError, match=r"broadcasts with the values' batch \(5,\).*got batch \(4,\)"):
                call(argument, draw(4, 2))
    with pytest.raises(ContextError, match="no context is expected, as none was declared"):
        getattr(without, method)(argument, draw(5, 2))
    with pytest.raises(ContextError, match="no context is expected, as this view holds one"):
        getattr(with_context.condition(draw(2)), method)(argument, draw(2))


def test_a_context_that_does_not_broadcast_with_the_bases_batch_is_refused() -> None:
    flow = Flow(batched((5,), (3,)), bij.AffineCoupling(), context_shape=(2,))
    for call in (lambda c: flow.sample((), c), flow.condition):
        with pytest.raises(ContextError, match=r"batch \(5,\) is expected; got batch \(4,\)"):
            call(draw(4, 2))


def test_a_context_given_to_a_flow_of_fixed_maps_only_gives_its_batch() -> None:
    flow = Flow(normal(2), bij.Exp(), context_shape=(2,))
    assert flow.sample((3,), draw(4, 2)).shape == (3, 4, 2)
    assert flow.log_prob(draw(2).exp(), draw(4, 2)).shape == (4,)
