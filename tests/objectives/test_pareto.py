"""The fit of a generalised Pareto distribution, and weights with a smoothed tail."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch

from flowtorch.objectives import pareto_smoothed
from flowtorch.objectives.pareto import generalized_pareto
from tests.distributions.helpers import close, draw


@pytest.mark.parametrize("k", [-0.5, 0.0, 0.3, 0.7, 1.2])
@pytest.mark.parametrize("scale", [0.01, 5.0])
def test_the_fit_finds_what_was_drawn(k: float, scale: float) -> None:
    drawn = scipy.stats.genpareto.rvs(k, scale=scale, size=(20_000, 3), random_state=0)
    found_k, found_scale = generalized_pareto(torch.tensor(drawn).sort(0).values)
    close(found_k, torch.full((3,), k).double(), 0.04)
    close(found_scale / scale, torch.ones(3).double(), 0.05)


def test_the_fit_is_near_the_most_likely() -> None:
    drawn = scipy.stats.genpareto.rvs(0.4, size=300, random_state=1)
    k, _, scale = scipy.stats.genpareto.fit(drawn, floc=0)
    found_k, found_scale = generalized_pareto(torch.tensor(drawn).sort(0).values)
    assert found_k.item() == pytest.approx(k, abs=0.03) and found_scale.item() == pytest.approx(scale, rel=0.05)


def test_the_fit_of_ties_is_finite() -> None:
    # Of 110 equal ones the 3rd of 40 nodes, 1 + (1 - sqrt(40 / 2.5)) / 3, is zero, where the likelihood is 0 / 0.
    k, scale = generalized_pareto(torch.ones(110, dtype=torch.float64))
    assert k.isfinite() and k < 0 and scale.isfinite()


# By ``psislw`` of ArviZ 0.17.1 for log-weights that are quantiles of a normal distribution: how many, of which
# deviation, k, the largest of the smoothed log-weights, normalised, and the smallest in the tail.
ARVIZ = [
    (50, 0.3, 0.2339964197, -3.2617330434, -3.7070935275),
    (50, 1.0, 0.379962633, -2.0686274442, -3.5495257622),
    (50, 3.0, 0.7915595324, -0.8274695244, -4.3778770177),
    (1000, 0.3, 0.0361266029, -5.9663315297, -6.5603442428),
    (1000, 1.0, 0.2907530245, -4.1179595582, -6.0978625027),
    (1000, 3.0, 1.0524199737, -1.188281033, -7.127046671),
]


@pytest.mark.parametrize(("count", "deviation", "k", "largest", "smallest"), ARVIZ)
def test_index_and_smoothing_are_those_of_another_program(
    count: int, deviation: float, k: float, largest: float, smallest: float
) -> None:
    quantiles = scipy.stats.norm.ppf((torch.arange(count) + 0.5).double().numpy() / count)
    smoothed, found = pareto_smoothed(torch.tensor(deviation * quantiles))
    tail = math.ceil(min(count / 5, 3 * math.sqrt(count)))
    ends = smoothed.log_softmax(0)[[-1, -tail]]
    close(torch.cat([found[None], ends]), torch.tensor([k, largest, smallest], dtype=torch.float64), 1e-7)


@pytest.mark.parametrize("k", [0.2, 0.6, 1.0])
def test_the_index_of_weights_is_that_of_their_tail(k: float) -> None:
    weights = torch.tensor(scipy.stats.genpareto.rvs(k, size=(100_000, 2), random_state=0))
    smoothed, found = pareto_smoothed(weights.log())
    close(found, torch.full((2,), k).double(), 0.15)
    assert smoothed.shape == weights.shape


def test_only_the_tail_is_smoothed_in_its_order_and_up_to_the_largest() -> None:
    log_weights = 1.5 * draw(1_000, 2)
    smoothed, _ = pareto_smoothed(log_weights)
    tail = math.ceil(3 * math.sqrt(1_000))
    cutoff = log_weights.sort(0).values[-tail - 1]
    below = log_weights <= cutoff
    assert torch.equal(smoothed[below], log_weights[below]) and below.sum() == 2 * (1_000 - tail)
    assert (smoothed != log_weights).sum() >= 2 * tail - 2
    assert torch.equal(smoothed.argsort(0), log_weights.argsort(0))
    assert (smoothed.amax(0) <= log_weights.amax(0)).all() and (smoothed.exp() > cutoff.exp()).sum() == 2 * tail


def test_smoothing_takes_noise_away() -> None:
    # Of N(0, 2) by draws of N(0, 1): k = 3/4, and the mean of the weights is one.
    y = draw(400, 500)
    log_weights = -(y**2) / 8 - math.log(2) + y**2 / 2
    smoothed, k = pareto_smoothed(log_weights)
    plain, smooth = (w.logsumexp(0).exp() / 400 for w in (log_weights, smoothed))
    assert smooth.std() < 0.8 * plain.std()
    assert k.mean() > 0.55


def test_the_scale_of_the_weights_does_not_matter() -> None:
    log_weights = draw(500)
    smoothed, k = pareto_smoothed(log_weights)
    shifted, same = pareto_smoothed(log_weights - 2_000)
    close(shifted + 2_000, smoothed)
    close(same, k)


def test_few_draws_have_no_tail() -> None:
    log_weights = draw(20, 3)
    smoothed, k = pareto_smoothed(log_weights)
    assert torch.equal(smoothed, log_weights) and (k == math.inf).all()


def test_equal_weights_have_no_tail_either_and_no_weights_the_worst() -> None:
    columns = torch.stack([draw(100), torch.zeros(100).double(), torch.full((100,), -math.inf).double()], 1)
    smoothed, k = pareto_smoothed(columns)
    assert k[0].isfinite() and k[1] == -math.inf and k[2] == math.inf
    assert torch.equal(smoothed[:, 1:], columns[:, 1:])


def test_weights_of_zero_and_ties_in_the_tail() -> None:
    few = torch.full((100,), -math.inf).double()
    few[:7] = draw(7)
    ties = torch.where(torch.arange(100) < 10, 1.0, 0.0).double()
    smoothed, k = pareto_smoothed(torch.stack([few, ties], 1))
    assert not k.isnan().any() and not smoothed.isnan().any()
    assert k[0] > 0.7


def test_it_keeps_float32() -> None:
    log_weights = draw(1_000)
    smoothed, k = pareto_smoothed(log_weights.float())
    assert smoothed.dtype == k.dtype == torch.float32
    close(k.double(), pareto_smoothed(log_weights)[1], 1e-3)
