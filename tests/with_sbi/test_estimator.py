"""``FlowtorchFlow`` is what sbi's own estimators are, and its densities are the flow's."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from sbi.neural_nets.estimators import ConditionalDensityEstimator
from sbi.neural_nets.estimators.shape_handling import reshape_to_batch_event, reshape_to_sample_batch_event

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
from flowtorch.sbi import FlowtorchFlow


class Counting(torch.nn.Linear):
    """Counts the rows that it is called with."""

    rows = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.rows += len(x)
        return super().forward(x)


def flow(event: tuple[int, ...] = (2,), context: tuple[int, ...] = (3,), **options: torch.nn.Module) -> dist.Flow:
    made = dist.Flow(dist.DiagNormal(event), bij.AffineAutoregressive(), context_shape=context, **options)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


@pytest.fixture
def estimator() -> FlowtorchFlow:
    return FlowtorchFlow(flow())


def test_it_is_one_of_sbis_and_says_its_shapes(estimator: FlowtorchFlow) -> None:
    assert isinstance(estimator, ConditionalDensityEstimator)
    assert (estimator.input_shape, estimator.condition_shape) == ((2,), (3,))
    assert estimator.embedding_net is None


@pytest.mark.parametrize("event", [(2,), (4, 3)], ids=["vectors", "matrices"])
@pytest.mark.parametrize("context", [(3,), (5, 2)], ids=["of vectors", "of matrices"])
def test_it_scores_samples_of_a_batch_as_the_flow_does_one_by_one(
    event: tuple[int, ...], context: tuple[int, ...]
) -> None:
    net = flow(event, context).double()
    estimator = FlowtorchFlow(net)
    theta, x = torch.randn(7, 4, *event, dtype=torch.float64), torch.randn(4, *context, dtype=torch.float64)
    found = estimator.log_prob(theta, x)
    assert found.shape == (7, 4)
    one_by_one = [net.log_prob(theta[i, j], x[j]) for i in range(7) for j in range(4)]
    torch.testing.assert_close(found, torch.stack(one_by_one).reshape(7, 4))
    torch.testing.assert_close(estimator.loss(theta[0], x), -found[0])
    assert estimator.log_prob(theta[0], x).shape == (1, 4)
    torch.testing.assert_close(estimator.log_prob(theta, x.expand(7, *x.shape)), found)


@pytest.mark.parametrize("of_samples", [1, 5])
def test_a_condition_or_an_input_of_one_serves_the_whole_batch(estimator: FlowtorchFlow, of_samples: int) -> None:
    theta, x = torch.randn(of_samples, 4, 2), torch.randn(4, 3)
    torch.testing.assert_close(estimator.log_prob(theta, x[:1]), estimator.log_prob(theta, x[:1].expand(4, 3)))
    torch.testing.assert_close(
        estimator.log_prob(theta[:, :1], x), estimator.log_prob(theta[:, :1].expand(-1, 4, 2), x)
    )


def test_it_takes_what_sbis_own_reshaping_gives(estimator: FlowtorchFlow) -> None:
    theta, x = torch.randn(6, 2), torch.randn(3)
    of_samples = reshape_to_sample_batch_event(theta, estimator.input_shape, leading_is_sample=True)
    assert estimator.log_prob(of_samples, reshape_to_batch_event(x, estimator.condition_shape)).shape == (6, 1)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ((4, 2), r"a context of shape ... with context \(3,\) is expected; got \(4, 2\)"),
        ((5, 3), "broadcasts ... is expected"),
    ],
    ids=["another shape", "another batch"],
)
def test_conditions_that_do_not_fit_are_refused(
    estimator: FlowtorchFlow, condition: tuple[int, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words.replace(" ... ", ".*")):
        estimator.log_prob(torch.randn(7, 4, 2), torch.randn(condition))


def test_it_draws_at_each_condition_and_scores_its_draws(estimator: FlowtorchFlow) -> None:
    x = torch.randn(4, 3)
    drawn = estimator.sample((5_000,), x)
    assert drawn.shape == (5_000, 4, 2) and not drawn.requires_grad
    # The noise that the draws are made of is standard normal; of 5,000 the deviation of a mean is 0.014.
    noise = estimator.inverse_transform(drawn, x).detach()
    torch.testing.assert_close(noise.mean(0), torch.zeros(4, 2), rtol=0, atol=0.07)
    torch.testing.assert_close(noise.std(0), torch.ones(4, 2), rtol=0, atol=0.07)
    theta, log_prob = estimator.sample_and_log_prob(torch.Size((5, 6)), x)
    assert theta.shape == (5, 6, 4, 2) and theta.requires_grad
    torch.testing.assert_close(log_prob, estimator.net.log_prob(theta, x))


def test_a_condition_is_embedded_once_however_many_inputs_are_scored_at_it() -> None:
    embedding = Counting(3, 2)
    estimator = FlowtorchFlow(flow(embedding=embedding))
    assert estimator.embedding_net is embedding
    embedding.rows = 0
    estimator.log_prob(torch.randn(100, 4, 2), torch.randn(4, 3))
    estimator.sample((100,), torch.randn(4, 3))
    assert embedding.rows == 8


def test_a_copy_a_pickle_and_a_state_are_the_same_density(estimator: FlowtorchFlow) -> None:
    theta, x = torch.randn(7, 4, 2), torch.randn(4, 3)
    loaded = FlowtorchFlow(flow())
    loaded.load_state_dict(estimator.state_dict())
    for again in (copy.deepcopy(estimator), pickle.loads(pickle.dumps(estimator)), loaded):
        assert torch.equal(again.log_prob(theta, x), estimator.log_prob(theta, x))
    double = estimator.double()
    assert double.log_prob(theta.double(), x.double()).dtype is torch.float64
