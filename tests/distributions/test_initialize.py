"""``initialize``: layers that are started from data, last to first, each from what those after it make of the data."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

import flowtorch.bijectors as bij
from flowtorch.bijectors import Bijector, BoundBijector, Compose, Invert
from flowtorch.distributions import Flow
from flowtorch.errors import ContextError, OptionTypeError, ShapeError
from tests.distributions.helpers import NET, close, draw, make, normal

ORDER: list[str] = []


@dataclass(frozen=True)
class Started(Bijector):
    """Affine by coordinate, the identity until it takes location and scale from data."""

    label: str = "one"

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundStarted:
        return BoundStarted(self, shape, context_shape)


class BoundStarted(BoundBijector[Started]):
    def __init__(self, plan: Started, shape: torch.Size, context_shape: torch.Size | None) -> None:
        super().__init__(plan, shape, context_shape)
        self.loc = torch.nn.Parameter(torch.zeros(shape))
        self.log_scale = torch.nn.Parameter(torch.zeros(shape))

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        return self.loc + self.log_scale.exp() * x, self.log_scale.sum().expand(x.shape[: x.dim() - len(self.shape)])

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        log_det = -self.log_scale.sum().expand(y.shape[: y.dim() - len(self.shape)])
        return (y - self.loc) / self.log_scale.exp(), log_det

    def initialize(self, y: torch.Tensor, context: torch.Tensor | None = None) -> None:
        super().initialize(y, context)
        ORDER.append(self.plan.label)
        assert not torch.is_grad_enabled()
        rows = y.reshape(-1, *self.shape)
        self.loc.copy_(rows.mean(0))
        self.log_scale.copy_(rows.std(0, correction=0).log())


@pytest.fixture(autouse=True)
def _forget() -> None:
    ORDER.clear()


def is_standard(x: torch.Tensor) -> None:
    rows = x.reshape(-1, x.shape[-1])
    close(rows.mean(0), torch.zeros_like(rows[0]))
    close(rows.std(0, correction=0), torch.ones_like(rows[0]))


def data() -> torch.Tensor:
    return torch.tensor([5.0, -2.0, 0.3]) + draw(40, 3) * torch.tensor([2.0, 0.1, 30.0])


def test_alone() -> None:
    flow, y = Flow(normal(3), Started()).double(), data()
    close(flow.normalize(y), y)  # the identity until then
    assert flow.initialize(y) is None
    is_standard(flow.normalize(y))
    assert all(p.requires_grad and p.grad is None for p in flow.parameters())


def test_batches_of_any_shape_and_one_initialisation() -> None:
    flow, y = Flow(normal(3), Started()).double(), data()
    flow.initialize(y.reshape(4, 10, 3))
    before = flow.log_prob(y)
    flow.sample((5,))
    flow.log_prob(2 * y)  # nothing is started within log_prob
    close(flow.log_prob(y), before)
    is_standard(flow.normalize(y))


def test_in_a_composition_the_last_layer_is_started_first() -> None:
    plan = Compose([Started("first"), bij.Tanh(), bij.Invert(bij.Tanh()), Started("second"), bij.Permute((2, 0, 1))])
    flow, y = Flow(normal(3), plan).double(), data()
    flow.initialize(y)
    assert ORDER == ["second", "first"]
    parts = flow.bijector.parts  # type: ignore[union-attr]
    after_second = parts[3].inverse(y[..., [1, 2, 0]])
    is_standard(after_second)
    # The first sees what the second has already standardised, so it has nothing left to do.
    close(parts[0].loc.detach(), torch.zeros(3, dtype=torch.float64))
    close(parts[0].log_scale.detach(), torch.zeros(3, dtype=torch.float64))


def test_each_layer_is_started_from_what_those_after_it_make_of_the_data() -> None:
    flow = make(normal(3), Compose([Started("first"), bij.AffineCoupling(NET), Started("second")]))
    y = data()
    flow.initialize(y)
    parts = flow.bijector.parts  # type: ignore[union-attr]
    is_standard(parts[2].inverse(y))
    is_standard(flow.normalize(y))


def test_within_nested_compositions_and_inverses() -> None:
    plan = Compose([Compose([Started("a"), Started("b")]), Invert(Started("c")), Invert(Compose([Started("d")]))])
    flow, y = Flow(normal(3), plan).double(), data()
    flow.initialize(y)
    assert ORDER == ["d", "c", "b", "a"]
    is_standard(flow.normalize(y))


def test_with_a_context() -> None:
    embedding = torch.nn.Linear(2, 4).double()
    plan = Compose([Started("first"), bij.AffineCoupling(NET), Started("second")])
    flow = make(normal(3), plan, context_shape=(2,), embedding=embedding)
    y, context = data(), draw(40, 2)
    flow.initialize(y, context)
    is_standard(flow.normalize(y, context))
    with pytest.raises(ContextError, match="Flow.initialize: a context"):
        flow.initialize(y)


def test_flows_without_such_layers_take_the_call() -> None:
    for plan in (bij.AffineCoupling(NET), Compose([bij.AffineCoupling(NET), bij.Reverse()])):
        flow, y = make(normal(3), plan), data()
        before = flow.log_prob(y)
        flow.initialize(y)
        close(flow.log_prob(y), before)


def test_data_that_do_not_fit_are_refused() -> None:
    flow = Flow(normal(3), Compose([Started(), bij.Reverse()])).double()
    with pytest.raises(ShapeError, match=r"initialize: a tensor .*event \(3,\) is expected; got \(5, 4\)"):
        flow.initialize(draw(5, 4))
    with pytest.raises(OptionTypeError, match="initialize: a tensor is expected"):
        flow.initialize([1.0])  # type: ignore[arg-type]
    with pytest.raises(ContextError, match="no context is expected"):
        flow.initialize(data(), draw(2))


def test_what_was_started_is_in_the_state() -> None:
    flow, y = Flow(normal(3), Started()).double(), data()
    flow.initialize(y)
    other = Flow(normal(3), Started()).double()
    other.load_state_dict(flow.state_dict())
    close(other.log_prob(y), flow.log_prob(y))


@pytest.mark.parametrize("inner", [bij.ActNorm(), Compose([bij.Residual((5,)), bij.ActNorm(), bij.Reverse()])], ids=str)
def test_within_an_inverse_what_leads_to_the_base_is_standardised(inner: Bijector) -> None:
    flow, y = Flow(normal(3), Invert(inner)).double(), data()
    flow.initialize(y)
    is_standard(flow.normalize(y))
    twice = Flow(normal(3), Invert(Invert(inner))).double()
    assert twice.initialize(y) is None
    is_standard(twice.normalize(y))


def test_containers_are_stochastic_if_a_part_is() -> None:
    noisy = bij.Residual((5,), trace="roulette")
    for plan, expected in ((noisy, True), (bij.Residual((5,)), False), (bij.Tanh(), False)):
        for outer in (Invert(plan), Compose([bij.Reverse(), plan]), Compose([Invert(plan)])):
            assert outer.bind((3,)).stochastic == expected
