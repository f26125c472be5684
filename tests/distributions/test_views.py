"""Views - at a context, with a batch, stopped half-way - are distributions that own nothing and follow the flow."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import distributions as td

import flowtorch.bijectors as bij
from flowtorch.distributions import Flow, FlowView
from flowtorch.errors import ContextError, OptionError, OptionTypeError, ShapeError
from tests.distributions.helpers import MADE, NET, close, draw, make, normal, same_draws


def three(context_shape: tuple[int, ...] | None = (2,)) -> Flow:
    plan = bij.Compose([bij.AffineAutoregressive(MADE), bij.Permute(), bij.AffineCoupling(NET)])
    return make(normal(3), plan, context_shape=context_shape)


def test_condition_is_the_flow_at_the_context() -> None:
    flow, context, y = three(), draw(4, 2, seed=1), draw(5, 1, 3)
    view = flow.condition(context)
    assert isinstance(view, td.Distribution) and view.batch_shape == (4,) and view.event_shape == (3,)
    close(view.log_prob(y), flow.log_prob(y, context))
    close(view.normalize(y), flow.normalize(y, context))
    torch.manual_seed(1)
    expected = flow.sample((6,), context)
    torch.manual_seed(1)
    close(view.sample((6,)), expected)


VIEWS = {
    "at a context": lambda f: f.condition(draw(4, 2)),
    "expanded": lambda f: f.expand((4,)).condition(draw(2)),
    "slice": lambda f: f[:2].condition(draw(4, 2)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_own_no_parameters_and_follow_training(name: str) -> None:
    flow, y = three(), draw(4, 3)
    view = VIEWS[name](flow)
    assert isinstance(view, FlowView) and not isinstance(view, torch.nn.Module)
    before = view.log_prob(y).detach()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.1)
    after = view.log_prob(y)
    assert bool(((after - before).abs() > 1e-3).all())
    after.sum().backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in flow.parameters())


def test_a_view_follows_the_flow_to_another_dtype() -> None:
    flow = three(None)
    view = flow[:2]
    flow.float()
    assert view.sample((2,)).dtype == torch.float32


def test_expand_draws_each_entry_on_its_own_and_scores_as_the_flow() -> None:
    flow = three(None)
    view = flow.expand((4, 2))
    assert view.batch_shape == (4, 2) and view.sample((3,)).shape == (3, 4, 2, 3)
    y = draw(4, 2, 3)
    close(view.log_prob(y), flow.log_prob(y))
    # As torch's distributions do, one value is scored by each entry.
    close(view.log_prob(y[0, 0]), flow.log_prob(y[0, 0]).expand(4, 2))
    assert len(set(view.sample()[..., 0].reshape(-1).tolist())) == 8


def test_expand_of_a_base_with_a_batch() -> None:
    base = td.Independent(td.Normal(draw(2, 3), 1.0), 1)
    flow = make(base, bij.AffineCoupling(NET))
    view = flow.expand((4, 2))
    y = draw(2, 3, seed=1)
    close(view.log_prob(y), flow.log_prob(y).expand(4, 2))
    assert view.expand((5, 4, 2)).sample((1,)).shape == (1, 5, 4, 2, 3)


def test_condition_and_expand_in_any_order() -> None:
    flow, context, y = three(), draw(4, 2, seed=1), draw(3)
    expected = flow.log_prob(y, context).expand(5, 4)
    for view in (
        flow.condition(context).expand((5, 4)),
        flow.expand((5, 4)).condition(context),
        flow.expand((4,)).condition(context).expand((5, 4)),
        flow.expand((5, 1)).condition(context),
    ):
        assert view.batch_shape == (5, 4)
        assert view.sample((2,)).shape == (2, 5, 4, 3)
        close(view.log_prob(y), expected)


def test_expanded_views_that_await_a_context_draw_their_batch() -> None:
    view = three().expand((5, 4))
    assert view.sample((2,), draw(4, 2)).shape == (2, 5, 4, 3)
    assert view.log_prob(draw(3), draw(2)).shape == (5, 4)
    assert view.sample((), draw(6, 1, 1, 2)).shape == (6, 5, 4, 3)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_slice_is_the_flow_of_the_first_layers(k: int) -> None:
    flow, context = three(), draw(4, 2, seed=1)
    view = flow[:k]
    layers = flow.bijector.parts[:k]  # type: ignore[union-attr]
    x = draw(4, 3)
    y, total = x, torch.zeros(4, dtype=torch.float64)
    for layer in layers:
        y, log_det = layer.forward_and_log_det(y, context)
        total = total + log_det
    close(view.log_prob(y, context), flow.base_dist.log_prob(x) - total)
    close(view.normalize(y, context), x)
    close(view.condition(context).log_prob(y), view.log_prob(y, context))
    same_draws(view.condition(context), view.expand((4,)).condition(context))


def test_slices_have_the_shape_and_support_of_where_they_stop() -> None:
    flow = Flow(normal(3), bij.Compose([bij.Exp(), bij.Power(), bij.Invert(bij.Exp())]))
    assert bool((flow[:1].sample((5,)) > 0).all())
    outside = torch.tensor([-1.0, 1.0, 1.0]).double()
    assert not flow[:2].support.check(outside) and flow.support.check(outside)
    assert flow[:2].log_prob(outside) == -torch.inf
    assert flow[0:3:1].support.check(outside) and flow[:-1].log_prob(outside) == -torch.inf


def test_a_flow_of_one_layer_has_one_slice() -> None:
    flow, y = make(normal(3), bij.AffineCoupling(NET)), draw(2, 3)
    for view in (flow[:1], flow[:], flow[0:1]):
        close(view.log_prob(y), flow.log_prob(y))
    with pytest.raises(OptionError, match=r"\[:1\] is expected of a flow of one layer; got \[:2\]"):
        flow[:2]


def test_slices_that_are_none_are_refused() -> None:
    flow = three()
    with pytest.raises(OptionTypeError, match=r"a slice \[:k\] is expected; got 1. Layers are in flow.bijector.parts"):
        flow[1]  # type: ignore[index]
    for index in (slice(1, None), slice(1, 2), slice(None, None, -1), slice(None, None, 2)):
        with pytest.raises(OptionError, match=r"a slice \[:k\] from the base is expected; got slice"):
            flow[index]
    with pytest.raises(OptionError, match="at least one of its 3 parts is expected; got none"):
        flow[:0]


def test_condition_is_refused_where_there_is_nothing_to_condition() -> None:
    flow = three()
    with pytest.raises(ContextError, match=r"Flow.condition: no context is expected"):
        three(None).condition(draw(2))
    with pytest.raises(ContextError, match=r"Flow.condition: .*context \(2,\) is expected; got \(4, 3\)"):
        flow.condition(draw(4, 3))
    with pytest.raises(ContextError, match=r"context \(2,\) is expected; got \(4, 3\)"):
        flow[:2].condition(draw(4, 3))
    for view in (flow.condition(draw(2)), three(None)[:1]):
        with pytest.raises(ContextError, match="a view that needs a context is expected; got one that needs none"):
            view.condition(draw(2))
    with pytest.raises(ContextError, match=r"batch \(5,\) is expected; got batch \(4,\)"):
        flow.expand((5,)).condition(draw(4, 2))


def test_batches_that_do_not_expand_are_refused() -> None:
    view = three().condition(draw(4, 2))
    for batch in ((5,), (4, 2), (), (1,)):
        with pytest.raises(ShapeError, match=r"a batch shape that \(4,\) broadcasts to is expected; got \("):
            view.expand(batch)
    with pytest.raises(ShapeError, match="a shape is a sequence of integers"):
        view.expand("no")  # type: ignore[arg-type]


def test_the_gradient_of_a_context_passes_through_the_view() -> None:
    flow, y = three(), draw(4, 3)
    context = draw(4, 2).requires_grad_()
    (got,) = torch.autograd.grad(flow.condition(context).log_prob(y).sum(), context)
    (expected,) = torch.autograd.grad(flow.log_prob(y, context).sum(), context)
    close(got, expected)


def test_views_can_be_copied_pickled_and_printed() -> None:
    view, y = three().condition(draw(4, 2)).expand((5, 4)), draw(3)
    for other in (copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        close(other.log_prob(y), view.log_prob(y))
        same_draws(other, view)
    assert repr(view) == "FlowView(Compose, batch_shape=(5, 4), event_shape=(3,), conditioned)"
    assert repr(three()[:1]) == "FlowView(Compose, batch_shape=(), event_shape=(3,))"


def test_views_keep_the_flows_batch_and_validation() -> None:
    base = td.Independent(td.Normal(draw(4, 3), 1.0), 1)
    flow = make(base, bij.Exp(), context_shape=(2,), validate_args=True)
    assert flow[:1].batch_shape == flow.batch_shape == (4,)
    with pytest.raises(ValueError, match="outside"):
        flow.condition(draw(2)).log_prob(-draw(3).abs())
