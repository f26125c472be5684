"""Embeddings of the context: once a call, any module, any batch of contexts, untouched by construction."""

from __future__ import annotations

import copy

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.distributions import ConditionalNormal, Flow
from flowtorch.errors import ContextError, OptionTypeError
from tests.distributions.helpers import MADE, NET, close, draw, make, normal

LAYERS = bij.Compose(
    [bij.AffineCoupling(NET), bij.AffineAutoregressive(MADE), bij.Affine(NET), bij.AffineCoupling(NET)]
)


class Counting(torch.nn.Module):
    """Counts its calls, and remembers the shapes it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 4)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(context.shape))
        return self.linear(context).tanh()


def counted(base: object = None, **options: object) -> tuple[Flow, Counting]:
    embedding = Counting()
    flow = make(base or normal(2), LAYERS, context_shape=3, embedding=embedding, **options)  # type: ignore[arg-type]
    embedding.seen.clear()
    return flow, embedding


def test_it_is_applied_before_all_layers_see_the_context() -> None:
    flow, embedding = counted()
    y, context = draw(5, 2), draw(5, 3)
    plain = Flow(normal(2), LAYERS, context_shape=4).double()
    plain.load_state_dict({k: v for k, v in flow.state_dict().items() if not k.startswith("embedding")})
    close(flow.log_prob(y, context), plain.log_prob(y, embedding(context)))
    assert flow.context_shape == (3,) and flow.bijector.context_shape == (4,)


CALLS = {
    "log_prob": lambda f, c: f.log_prob(draw(5, 2), c),
    "call": lambda f, c: f(draw(5, 2), c),
    "sample": lambda f, c: f.sample((2,), c),
    "rsample": lambda f, c: f.rsample((2,), c),
    "rsample_and_log_prob": lambda f, c: f.rsample_and_log_prob((2,), c),
    "normalize": lambda f, c: f.normalize(draw(5, 2), c),
    "rnormalize": lambda f, c: f.rnormalize(draw(5, 2), c),
    "initialize": lambda f, c: f.initialize(draw(5, 2), c),
    "slice": lambda f, c: f[:3].log_prob(draw(5, 2), c),
    "expanded": lambda f, c: f.expand((5,)).sample((2,), c),
}


@pytest.mark.parametrize("conditional_base", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_it_is_called_once_whatever_the_number_of_layers(name: str, conditional_base: bool) -> None:
    flow, embedding = counted(ConditionalNormal(2, 4, NET) if conditional_base else None)
    CALLS[name](flow, draw(5, 3))
    assert embedding.seen == [(5, 3)]


def test_views_at_a_context_call_it_once_a_call_with_the_parameters_of_the_time() -> None:
    flow, embedding = counted()
    view, y = flow.condition(draw(5, 3)), draw(5, 2)
    assert embedding.seen == []
    before = view.log_prob(y).detach()
    assert embedding.seen == [(5, 3)]
    view.expand((7, 5)).sample((2,))
    assert embedding.seen == [(5, 3)] * 2
    with torch.no_grad():
        embedding.linear.weight.add_(1.0)
    assert bool(((view.log_prob(y) - before).abs() > 1e-6).all())
    for _ in range(2):  # a held graph would fail the second time
        view.log_prob(y).sum().backward()
    assert embedding.linear.weight.grad is not None and bool(embedding.linear.weight.grad.any())


@pytest.mark.parametrize("batch", [(), (5,), (2, 5), (4, 1, 5), (0,)])
def test_contexts_of_any_batch_shape_are_given_to_it_with_one_batch_dimension(batch: tuple[int, ...]) -> None:
    flow, embedding = counted()
    context = draw(*batch, 3)
    drawn = flow.sample((6,), context)
    assert drawn.shape == (6, *batch, 2)
    assert embedding.seen == [(context.numel() // 3, 3)]
    rows = flow.log_prob(drawn, context).reshape(6, -1)
    for i, row in enumerate(context.reshape(-1, 3)):
        close(rows[:, i], flow.log_prob(drawn.reshape(6, -1, 2)[:, i], row))


def test_convolutions() -> None:
    embedding = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.Tanh(), torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten()
    )
    flow = make(normal(2), LAYERS, context_shape=(1, 5, 4), embedding=embedding)
    assert flow.bijector.context_shape == (12,)
    images = draw(3, 2, 1, 5, 4)
    assert flow.sample((4,), images).shape == (4, 3, 2, 2)
    y = draw(2)
    close(flow.log_prob(y, images)[1, 0], flow.log_prob(y, images[1, 0]))


def test_what_it_gives_may_have_any_shape() -> None:
    flow = make(normal(2), LAYERS, context_shape=(6,), embedding=torch.nn.Unflatten(1, (2, 3)))
    assert flow.bijector.context_shape == (2, 3) and flow.sample((), draw(5, 6)).shape == (5, 2)
    plan = bij.AffineCoupling(NET)
    scalars = make(normal(2), plan, context_shape=(1,), embedding=torch.nn.Flatten(-2))  # takes the last two for one
    assert scalars.bijector.context_shape == () and scalars.sample((), draw(5, 1)).shape == (5, 2)


@pytest.mark.parametrize("training", [True, False])
def test_construction_leaves_batch_norm_and_dropout_as_they_were(training: bool) -> None:
    frozen = torch.nn.BatchNorm1d(4).eval()
    embedding = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5), frozen, torch.nn.Linear(4, 4)
    )
    embedding.train(training)
    frozen.eval()
    before = copy.deepcopy(embedding.state_dict())
    random = torch.random.get_rng_state()
    flow = Flow(normal(2), bij.Affine(params.Tensor()), context_shape=3, embedding=embedding)
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in flow.embedding.state_dict().items())  # type: ignore[union-attr]
    assert [m.training for m in embedding] == [training, training, training, False, training]
    assert all(p.grad is None for p in embedding.parameters())


def test_batch_norm_sees_each_batch_once_in_training() -> None:
    norm = torch.nn.BatchNorm1d(3)
    flow = make(normal(2), LAYERS, context_shape=3, embedding=norm)
    flow.log_prob(draw(5, 2), draw(5, 3))
    assert norm.num_batches_tracked.item() == 1
    flow.eval()
    flow.log_prob(draw(5, 2), draw(5, 3))
    assert norm.num_batches_tracked.item() == 1


def test_its_parameters_are_the_flows() -> None:
    flow, embedding = counted()
    assert {id(p) for p in embedding.parameters()} <= {id(p) for p in flow.parameters()}
    flow.log_prob(draw(5, 2), draw(5, 3)).sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in embedding.parameters())
    flow.float()
    assert embedding.linear.weight.dtype == torch.float32


def test_labels_through_a_table_of_vectors() -> None:
    flow = make(normal(2), LAYERS, context_shape=(), embedding=torch.nn.Embedding(5, 4))
    labels, y = torch.tensor([[0, 3, 4], [1, 2, 3]]), draw(3, 2)
    assert flow.bijector.context_shape == (4,) and flow.sample((6,), labels).shape == (6, 2, 3, 2)
    got = flow.log_prob(y, labels)
    close(got[1, 2], flow.log_prob(y[2], torch.tensor(3)))
    close(flow.condition(labels).log_prob(y), got)
    assert abs(float((got[0, 1] - flow.log_prob(y[1], torch.tensor(2))).detach())) > 1e-4


def test_an_embedding_that_fails_says_why_itself() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        Flow(normal(2), LAYERS, context_shape=3, embedding=torch.nn.Linear(4, 4))


def test_refusals() -> None:
    with pytest.raises(ContextError, match="a context_shape is expected along with an embedding; got None"):
        Flow(normal(2), LAYERS, embedding=torch.nn.Identity())
    with pytest.raises(OptionTypeError, match="embedding is expected to be a Module; got the class Identity"):
        Flow(normal(2), LAYERS, context_shape=3, embedding=torch.nn.Identity)  # type: ignore[arg-type]
    with pytest.raises(OptionTypeError, match="embedding is expected to be a Module; got function"):
        Flow(normal(2), LAYERS, context_shape=3, embedding=lambda c: c)  # type: ignore[arg-type]
    words = r"an embedding that returns a tensor \(N, \*embedded\) for N = 1 contexts is expected; got"
    for bad in (torch.nn.Flatten(0), torch.nn.LSTM(3, 4, batch_first=True)):
        with pytest.raises(ContextError, match=words):
            Flow(normal(2), LAYERS, context_shape=(2, 3), embedding=bad)
