"""Maximum likelihood: a weighted mean, of what the flow says when it is called."""

from __future__ import annotations

import pytest
import torch

import flowtorch.bijectors as bij
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.objectives import maximum_likelihood
from tests.distributions.helpers import close, draw, make, normal

X = draw(6, 3)


@pytest.fixture
def flow() -> Flow:
    return make(normal(3), bij.AffineAutoregressive())


def test_it_is_the_negative_mean_of_the_log_likelihoods(flow: Flow) -> None:
    close(maximum_likelihood(flow, X), -sum(flow.log_prob(x) for x in X) / 6)


def test_weights_count_rows_and_only_their_ratios_matter(flow: Flow) -> None:
    weights = torch.tensor([2.0, 1.0, 0.0, 3.0, 0.0, 0.0], dtype=torch.float64)
    repeated = X[[0, 0, 1, 3, 3, 3]]
    close(maximum_likelihood(flow, X, weights=weights), maximum_likelihood(flow, repeated))
    close(maximum_likelihood(flow, X, weights=10 * weights), maximum_likelihood(flow, repeated))


def test_weights_of_a_column_hold_for_the_whole_row_of_the_batch(flow: Flow) -> None:
    x, weights = X.reshape(2, 3, 3), torch.tensor([[1.0], [3.0]])
    found = maximum_likelihood(flow, x, weights=weights)
    close(found, (maximum_likelihood(flow, x[0]) + 3 * maximum_likelihood(flow, x[1])) / 4)


def test_rows_of_weight_zero_may_lie_outside_the_support() -> None:
    flow = Flow(DiagNormal(()), bij.Exp())
    x = torch.tensor([1.0, -1.0, 2.0])
    assert maximum_likelihood(flow, x).isinf()
    found = maximum_likelihood(flow, x, weights=torch.tensor([1.0, 0.0, 1.0]))
    close(found, maximum_likelihood(flow, x[[0, 2]]), 1e-6)


def test_the_context_is_the_rows_own() -> None:
    flow = make(normal(3), bij.AffineAutoregressive(), context_shape=(2,))
    context = draw(6, 2, seed=1)
    expected = -torch.stack([flow.log_prob(x, c) for x, c in zip(X, context, strict=True)]).mean()
    close(maximum_likelihood(flow, X, context), expected)
    close(maximum_likelihood(flow.condition(context), X), expected)


def test_a_module_is_called_and_so_wrapped_ones_can_be_trained(flow: Flow) -> None:
    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flow, self.calls = flow, 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return flow(x)

    wrapped = Wrapped()
    maximum_likelihood(wrapped, X).backward()
    assert wrapped.calls == 1
    assert all(p.grad is not None for p in flow.parameters())


def test_it_compiles_to_one_graph_with_weights(flow: Flow) -> None:
    weights = torch.arange(6.0)
    compiled = torch.compile(maximum_likelihood, fullgraph=True, backend="eager")
    close(compiled(flow, X, weights=weights), maximum_likelihood(flow, X, weights=weights))


def test_gradients_for_each_row_by_vmap(flow: Flow) -> None:
    named = dict(flow.named_parameters())

    class Loss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flow = flow

        def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            return maximum_likelihood(self.flow, x[None], weights=w[None])

    loss = Loss()

    def of_row(named: dict[str, torch.Tensor], x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(loss, {f"flow.{k}": v for k, v in named.items()}, (x, w))

    rows = torch.func.vmap(torch.func.grad(of_row), (None, 0, 0))(named, X, torch.ones(6).double())
    maximum_likelihood(flow, X).backward()
    for name, parameter in named.items():
        assert parameter.grad is not None
        close(rows[name].mean(0), parameter.grad)
