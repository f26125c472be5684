"""Importance estimates: integrals, moments, errors that hold, and the index of the tail."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal

import flowtorch.bijectors as bij
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.objectives import importance_estimate
from tests.distributions.helpers import MADE, NET, close, draw, make, normal

MEAN = torch.tensor([0.3, -0.8, 0.5], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.5, 0.2, 0.0], [0.2, 0.4, -0.1], [0.0, -0.1, 0.3]], dtype=torch.float64)
TARGET = MultivariateNormal(MEAN, COVARIANCE)
LOG_Z = 2.5


def target(y: torch.Tensor) -> torch.Tensor:
    return TARGET.log_prob(y) + LOG_Z


@pytest.fixture
def flow() -> Flow:
    return make(normal(3), bij.AffineAutoregressive(MADE))


def test_log_z_and_moments_are_the_targets(flow: Flow) -> None:
    torch.manual_seed(0)
    found = importance_estimate(flow, target, 200_000)
    assert (found.log_z - LOG_Z).abs() < 4 * found.log_z_error < 0.1
    close(found.mean, MEAN, 0.03)
    close(found.covariance, COVARIANCE, 0.03)
    assert found.samples.shape == (200_000, 3) and found.log_weights.shape == (200_000,)


def test_all_figures_are_those_of_the_weights(flow: Flow) -> None:
    found = importance_estimate(flow, target, 50)
    y = found.samples
    weights = (target(y) - flow.log_prob(y)).exp().detach()
    close(found.log_weights.exp(), weights)
    close(found.log_z, weights.mean().log())
    close(found.effective_size, weights.sum() ** 2 / weights.square().sum())
    close(found.log_z_error, weights.std() / weights.mean() / math.sqrt(50))
    shares = weights / weights.sum()
    close(found.mean, shares @ y)
    close(found.covariance, torch.cov(y.T, correction=0, aweights=shares))


def test_the_standard_error_is_the_spread_of_the_estimates() -> None:
    torch.manual_seed(0)
    found = [importance_estimate(MultivariateNormal(MEAN, 1.5 * COVARIANCE), target, 500) for _ in range(400)]
    spread = torch.stack([f.log_z for f in found]).std()
    assert spread == pytest.approx(torch.stack([f.log_z_error for f in found]).mean().item(), rel=0.1)


def test_a_flow_that_is_the_target_is_worth_all_its_draws(flow: Flow) -> None:
    found = importance_estimate(flow, lambda y: flow.log_prob(y) + LOG_Z, 1_000)
    assert found.log_z.item() == pytest.approx(LOG_Z)
    assert found.effective_size.item() == pytest.approx(1_000)
    assert found.log_z_error.item() == pytest.approx(0.0, abs=1e-6)
    assert not found.log_z.requires_grad


def test_a_narrow_flow_is_told_by_the_index_of_the_tail() -> None:
    torch.manual_seed(0)
    narrow, wide = (Flow(DiagNormal(2, scale=s), bij.AffineCoupling()) for s in (0.5, 1.2))
    standard = Independent(Normal(torch.zeros(2), torch.ones(2)), 1).log_prob
    # w = exp(3 |y|² / 2) for y ~ N(0, 1/4): P(w > t) = t^(-4/3), k = 3/4
    assert importance_estimate(narrow, standard, 100_000).pareto_k.item() == pytest.approx(0.75, abs=0.15)
    assert importance_estimate(wide, standard, 100_000).pareto_k.item() < 0.3


def test_expectations_are_of_any_function_and_with_either_weights(flow: Flow) -> None:
    torch.manual_seed(0)
    found = importance_estimate(flow, target, 20_000)
    close(found.expectation(lambda y: y), found.mean)
    outer = found.expectation(lambda y: y[..., :, None] * y[..., None, :])
    close(outer - found.mean[:, None] * found.mean, found.covariance)
    assert found.expectation(lambda y: y[..., 0] > 0.3).item() == pytest.approx(0.5, abs=0.03)
    smoothed = found.expectation(lambda y: y, smoothed=True)
    close(smoothed, found.smoothed_log_weights.softmax(0) @ found.samples)
    assert (smoothed != found.mean).all()
    close(smoothed, found.mean, 0.05)


def test_a_batch_of_contexts_has_a_figure_each() -> None:
    flow = make(normal(2, 3), bij.AffineCoupling(NET), context_shape=(2,))
    context = draw(4, 2, seed=1)

    def matrix(y: torch.Tensor) -> torch.Tensor:
        return -(y - 0.1).square().flatten(-2).sum(-1)

    torch.manual_seed(0)
    found = importance_estimate(flow, matrix, 300, context)
    assert found.mean.shape == (4, 2, 3) and found.covariance.shape == (4, 6, 6)
    assert {f.shape for f in (found.log_z, found.log_z_error, found.effective_size, found.pareto_k)} == {(4,)}
    shares = found.log_weights[:, 2].softmax(0)
    rows = found.samples[:, 2].flatten(1)
    close(found.mean[2].flatten(), shares @ rows)
    close(found.covariance[2], torch.cov(rows.T, correction=0, aweights=shares))


def test_scalar_events_have_a_variance() -> None:
    found = importance_estimate(Flow(DiagNormal(()), bij.Affine()), Normal(0.0, 1.0).log_prob, 100)
    assert found.mean.shape == () and found.covariance.shape == (1, 1)


def test_chunks_bound_what_is_scored_at_a_time(flow: Flow) -> None:
    sizes = []

    def noted(y: torch.Tensor) -> torch.Tensor:
        sizes.append(len(y))
        return target(y)

    found = importance_estimate(flow, noted, 25, chunk_size=10)
    assert sizes == [10, 10, 5]
    close(found.log_weights, target(found.samples) - flow.log_prob(found.samples).detach())


def test_any_distribution_will_do() -> None:
    torch.manual_seed(0)
    found = importance_estimate(MultivariateNormal(MEAN, 2 * COVARIANCE), target, 20_000)
    assert (found.log_z - LOG_Z).abs() < 4 * found.log_z_error


def test_zero_weights_count_as_draws_and_none_at_all_is_told(flow: Flow) -> None:
    torch.manual_seed(0)
    found = importance_estimate(flow, lambda y: torch.where(y[..., 0] > MEAN[0], target(y), -math.inf), 100_000)
    assert (found.log_z - LOG_Z + math.log(2)).abs() < 4 * found.log_z_error  # one half of a normal distribution
    nothing = importance_estimate(flow, lambda y: target(y) - math.inf, 100)
    assert nothing.log_z == -math.inf and nothing.effective_size == 0 and nothing.pareto_k == math.inf
    assert nothing.mean.isnan().all()
