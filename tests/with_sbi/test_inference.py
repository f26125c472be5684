"""sbi's inference with flowtorch's flows, on a linear Gaussian problem, against the exact posterior and likelihood."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from sbi.diagnostics import run_sbc
from sbi.diagnostics.lc2st import LC2ST_NF
from sbi.inference import NPE, NPE_B, DirectPosterior, EnsemblePosterior
from sbi.inference.posteriors.posterior_parameters import MCMCPosteriorParameters, VIPosteriorParameters
from sbi.utils import BoxUniform, RestrictedPrior, get_density_thresholder
from torch.distributions import Independent, MultivariateNormal, StudentT

import flowtorch.distributions as dist
from flowtorch import flows
from flowtorch.sbi import FlowtorchFlow, likelihood_nn, posterior_nn
from tests.with_sbi.linear import OBSERVED, PRIOR, QUICK, SMALL, exact, likelihood, nle, npe, pairs, simulate


@pytest.fixture(scope="module")
def trained() -> NPE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return npe(posterior_nn(SMALL), *pairs(4_000))


@pytest.fixture
def posterior(trained: NPE) -> DirectPosterior:
    return trained.build_posterior().set_default_x(OBSERVED)


def divergence(posterior: DirectPosterior, at: torch.Tensor = OBSERVED) -> float:
    """From the exact posterior, in nats."""
    truth = exact(at[0])
    theta = truth.sample((5_000,))
    return float((truth.log_prob(theta) - posterior.log_prob(theta, x=at)).mean())


def agree(draws: torch.Tensor, truth: MultivariateNormal, within: float = 0.25) -> None:
    """Whether mean and deviations are those of the truth, in units of its deviations."""
    torch.testing.assert_close((draws.mean(0) - truth.mean) / truth.stddev, torch.zeros(2), rtol=0, atol=within)
    torch.testing.assert_close(draws.std(0) / truth.stddev, torch.ones(2), rtol=0, atol=within)


# --- posterior estimation


def test_the_posterior_is_found_at_any_observation(posterior: DirectPosterior) -> None:
    assert divergence(posterior) < 0.05
    assert divergence(posterior, simulate(PRIOR.sample((1,)))) < 0.1
    agree(posterior.sample((5_000,), show_progress_bars=False), exact(OBSERVED[0]), within=0.15)


def test_many_observations_go_at_once(posterior: DirectPosterior) -> None:
    theta, x = pairs(6)
    assert posterior.sample_batched((50,), x=x, show_progress_bars=False).shape == (50, 6, 2)
    one_by_one = torch.cat([posterior.log_prob(theta[i : i + 1], x=x[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(posterior.log_prob_batched(theta[None], x=x)[0], one_by_one)


def test_its_mode_is_the_posteriors_mean(posterior: DirectPosterior) -> None:
    truth = exact(OBSERVED[0])
    mode = posterior.map(num_iter=200, num_to_optimize=10, num_init_samples=200)[0]
    torch.testing.assert_close((mode - truth.mean) / truth.stddev, torch.zeros(2), rtol=0, atol=0.3)


@pytest.mark.parametrize("method", ["mcmc", "rejection", "importance"])
def test_sbis_other_samplers_take_it(trained: NPE, method: Any) -> None:
    posterior = trained.build_posterior(sample_with=method).set_default_x(OBSERVED)
    options = {"num_chains": 20, "warmup_steps": 20, "thin": 1} if method == "mcmc" else {}
    agree(posterior.sample((1_000,), show_progress_bars=False, **options), exact(OBSERVED[0]))


def test_copies_and_pickles_score_alike(posterior: DirectPosterior) -> None:
    theta = PRIOR.sample((5,))
    for again in (copy.deepcopy(posterior), pickle.loads(pickle.dumps(posterior))):
        assert torch.equal(again.log_prob(theta), posterior.log_prob(theta))


def test_ensembles_mix_it(posterior: DirectPosterior) -> None:
    other = npe(posterior_nn(SMALL), *pairs(1_000)).build_posterior().set_default_x(OBSERVED)
    ensemble = EnsemblePosterior([posterior, other]).set_default_x(OBSERVED)
    agree(ensemble.sample((2_000,), show_progress_bars=False), exact(OBSERVED[0]))
    theta = PRIOR.sample((5,))
    mixed = torch.logsumexp(torch.stack([posterior.log_prob(theta), other.log_prob(theta)]), 0) - np.log(2)
    torch.testing.assert_close(ensemble.log_prob(theta), mixed, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", [NPE, NPE_B])
def test_a_second_round_of_proposals_corrects_for_them(method: Any) -> None:
    trainer = method(PRIOR, density_estimator=posterior_nn(SMALL), show_progress_bars=False)
    theta, x = pairs(1_000)
    trainer.append_simulations(theta, x, proposal=PRIOR).train(**QUICK)
    proposal = trainer.build_posterior().set_default_x(OBSERVED)
    theta = proposal.sample((1_000,), show_progress_bars=False)
    trainer.append_simulations(theta, simulate(theta), proposal=proposal).train(**QUICK)
    assert divergence(trainer.build_posterior()) < 0.15


def test_a_truncated_prior_proposes(trained: NPE, posterior: DirectPosterior) -> None:
    inside = get_density_thresholder(posterior, quantile=1e-3, num_samples_to_estimate_support=10_000)
    restricted = RestrictedPrior(PRIOR, inside, sample_with="rejection")
    theta = restricted.sample((2_000,), show_progress_bars=False)
    again = NPE(PRIOR, density_estimator=posterior_nn(SMALL), show_progress_bars=False)
    again.append_simulations(theta, simulate(theta)).train(**QUICK)
    assert divergence(again.build_posterior()) < 0.1


def test_within_a_bounded_prior_nothing_leaks_and_the_density_is_right() -> None:
    prior = BoxUniform(torch.tensor([4.0, -3.0]), torch.tensor([6.0, -2.0]))
    theta = prior.sample((4_000,))
    x = simulate(theta)
    plan = flows.nsf(layers=1, hidden_dims=(32,))
    build = posterior_nn(plan, z_score_theta="transform_to_unconstrained", x_dist=prior)
    trainer = NPE(prior, density_estimator=build, show_progress_bars=False)
    estimator = trainer.append_simulations(theta, x).train(**QUICK)
    posterior = trainer.build_posterior().set_default_x(OBSERVED)
    assert float(posterior.leakage_correction(OBSERVED)) > 0.999
    # By Bayes' rule on a grid.
    grid = torch.cartesian_prod(torch.linspace(4, 6, 101)[:-1] + 0.01, torch.linspace(-3, -2, 101)[:-1] + 0.005)
    truth = likelihood(grid).log_prob(OBSERVED).softmax(0)
    found = estimator.log_prob(grid[:, None], OBSERVED)[:, 0].detach().exp() * 2e-4
    assert abs(float(found.sum()) - 1) < 0.01
    assert float((truth * (truth / found).log()).sum()) < 0.15


def test_a_flow_of_ones_own_is_a_line() -> None:
    def build(theta: torch.Tensor, x: torch.Tensor) -> FlowtorchFlow:
        base = Independent(StudentT(30.0, torch.zeros(2)), 1)
        return FlowtorchFlow(dist.Flow(base, SMALL, context_shape=x.shape[1:], embedding=torch.nn.BatchNorm1d(3)))

    assert divergence(npe(build, *pairs(4_000)).build_posterior()) < 0.2


# --- likelihood estimation


@pytest.fixture(scope="module")
def of_likelihood() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nle(likelihood_nn(SMALL), *pairs(4_000))


def test_the_likelihood_is_found(of_likelihood: Any) -> None:
    theta, x = pairs(5_000)
    found = of_likelihood._neural_net.log_prob(x, theta)[0].detach()
    assert float((likelihood(theta).log_prob(x) - found).mean()) < 0.05


@pytest.mark.parametrize("trials", [1, 5])
def test_the_posterior_follows_from_it_by_mcmc_of_one_trial_or_several(of_likelihood: Any, trials: int) -> None:
    observed = simulate(torch.tensor([5.0, -2.5]).expand(trials, 2))
    parameters = MCMCPosteriorParameters(method="slice_np_vectorized", num_chains=20, warmup_steps=20, thin=2)
    posterior = of_likelihood.build_posterior(posterior_parameters=parameters)
    agree(posterior.sample((600,), x=observed, show_progress_bars=False), exact(*observed), within=0.35)


def test_and_by_gradients(of_likelihood: Any) -> None:
    posterior = of_likelihood.build_posterior(
        sample_with="vi", posterior_parameters=VIPosteriorParameters(q="gaussian")
    ).set_default_x(OBSERVED)
    posterior.train(learning_rate=1e-2, max_num_iters=300, show_progress_bar=False, quality_control=False)
    agree(posterior.sample((2_000,), show_progress_bars=False), exact(OBSERVED[0]), within=0.3)


# --- diagnostics


@pytest.mark.filterwarnings("ignore:Capping max_sampling_batch_size")
def test_ranks_of_simulation_based_calibration_are_uniform(posterior: DirectPosterior) -> None:
    theta, x = pairs(300)
    ranks, _ = run_sbc(theta, x, posterior, num_posterior_samples=100, show_progress_bar=False)
    torch.testing.assert_close(
        ranks.float().mean(0) / 100, torch.full((2,), 0.5), rtol=0, atol=0.08
    )  # 0.017 a deviation


def test_the_local_two_sample_test_looks_at_the_flows_noise(posterior: DirectPosterior) -> None:
    theta, x = pairs(300)
    drawn = posterior.sample_batched((1,), x=x, show_progress_bars=False, max_sampling_batch_size=10)[0]
    test = LC2ST_NF(
        prior_samples=theta,
        xs=x,
        posterior_samples=drawn,
        flow_inverse_transform=posterior.posterior_estimator.inverse_transform,
        flow_base_dist=MultivariateNormal(torch.zeros(2), torch.eye(2)),
        num_eval=200,
        num_trials_null=1,
    )
    test.train_on_observed_data(verbosity=0)
    assert test.get_statistic_on_observed_data(x_o=OBSERVED) < 0.05
