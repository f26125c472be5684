"""``posterior_nn`` and ``likelihood_nn``: units, supports, embeddings, and what simulations say of them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from sbi.neural_nets.embedding_nets import CNNEmbedding, FCEmbedding, PermutationInvariantEmbedding
from sbi.utils import BoxUniform, MultipleIndependent
from torch.distributions import Beta, Dirichlet, Exponential, Gamma

import flowtorch
import flowtorch.bijectors as bij
from flowtorch import flows
from flowtorch.sbi import FlowtorchFlow, likelihood_nn, posterior_nn

PLAN = flows.maf(layers=1, hidden_dims=(8,))
N = 500


def simulations(theta: int = 2, x: tuple[int, ...] = (3,)) -> tuple[torch.Tensor, torch.Tensor]:
    """Far from standard, each coordinate in units of its own."""
    units = torch.logspace(-2, 2, theta)
    return 1e3 * units + units * torch.randn(N, theta), 50 + 7 * torch.randn(N, *x)


def noise(estimator: FlowtorchFlow, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Of a fresh flow, which is the identity but for what it is wrapped in."""
    return estimator.inverse_transform(theta, x).detach()


# --- units


def test_of_a_fresh_posterior_the_simulations_are_standard() -> None:
    theta, x = simulations()
    estimator = posterior_nn(PLAN)(theta, x)
    z = noise(estimator, theta, x)
    torch.testing.assert_close(z.mean(0), torch.zeros(2), rtol=0, atol=0.2)
    torch.testing.assert_close(z.std(0), torch.ones(2), rtol=0, atol=0.2)
    assert estimator.input_shape == (2,) and estimator.condition_shape == (3,)


def test_densities_are_of_theta_in_its_own_units() -> None:
    theta, x = simulations()
    estimator = posterior_nn(bij.AffineFixed(0.0, 1.0))(theta, x)
    normal = torch.distributions.Normal(theta.double().mean(0), theta.double().std(0, correction=0))
    # In single precision: the second coordinate lies 1e3 deviations from zero.
    torch.testing.assert_close(
        estimator.log_prob(theta, x)[0].double(), normal.log_prob(theta.double()).sum(-1), rtol=0, atol=1e-3
    )


def test_of_a_likelihood_x_is_the_input_and_theta_the_condition() -> None:
    theta, x = simulations()
    estimator = likelihood_nn(PLAN)(theta, x)
    assert estimator.input_shape == (3,) and estimator.condition_shape == (2,)
    torch.testing.assert_close(noise(estimator, x, theta).std(0), torch.ones(3), rtol=0, atol=0.2)


def test_structured_is_one_mean_and_deviation_for_all() -> None:
    theta, x = simulations(x=(4, 5))
    estimator = posterior_nn(PLAN, z_score_theta="structured", z_score_x="structured")(theta, x)
    units = estimator.net.plan.parts[-1]
    assert isinstance(units, bij.Standardize)
    assert units.loc == pytest.approx(theta.mean().item(), rel=1e-5)
    assert units.scale == pytest.approx(theta.std().item(), rel=1e-2)
    embedded = estimator.embedding_net(x)
    torch.testing.assert_close(embedded, (x - x.mean()) / x.std(correction=0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("none", ["none", None])
def test_none_leaves_units_alone(none: Any) -> None:
    theta, x = simulations()
    estimator = posterior_nn(bij.AffineFixed(0.0, 1.0), z_score_theta=none, z_score_x=none)(theta, x)
    assert torch.equal(noise(estimator, theta, x), theta)
    assert estimator.embedding_net is None


def test_a_condition_that_does_not_vary_or_is_missing_does_no_harm() -> None:
    theta, x = simulations(x=(4,))
    x[:, 1], x[:, 2] = 1e8 / 3, torch.nan
    x[::2, 3] = torch.inf
    estimator = posterior_nn(PLAN)(theta, x)
    embedded = estimator.embedding_net(x[1::2])
    torch.testing.assert_close(embedded[:, [0, 3]].std(0), torch.ones(2), rtol=0, atol=0.2)
    assert torch.equal(embedded[:, 1], torch.zeros(N // 2)) and embedded[:, 2].isnan().all()


def test_rows_of_the_density_that_are_not_finite_are_left_out_of_account() -> None:
    theta, x = simulations()
    x[:5] = torch.nan
    assert likelihood_nn(PLAN)(theta, x).net.plan == likelihood_nn(PLAN)(theta[5:], x[5:]).net.plan


# --- bounded priors


BOX = BoxUniform(torch.tensor([0.0, 10.0]), torch.tensor([1.0, 20.0]))
PRIORS = {
    "box": BOX,
    "half-lines": torch.distributions.Independent(Exponential(torch.tensor([1.0, 10.0])), 1),
    "real": torch.distributions.MultivariateNormal(torch.zeros(2), 100 * torch.eye(2)),
    "simplex": Dirichlet(torch.tensor([1.0, 2.0, 3.0])),
    "several": MultipleIndependent([BOX, Gamma(torch.ones(1), torch.ones(1)), Beta(torch.ones(1), torch.ones(1))]),
}


@pytest.mark.parametrize("name", PRIORS)
def test_a_flow_that_ends_on_the_priors_support_draws_inside(name: str) -> None:
    prior = PRIORS[name]
    theta = prior.sample((N,))
    x = torch.randn(N, 3)
    estimator = posterior_nn(PLAN, z_score_theta="transform_to_unconstrained", x_dist=prior)(theta, x)
    drawn = estimator.sample((2_000,), x[:2])
    assert prior.support.check(drawn.flatten(0, 1)).float().mean() > 0.999  # ends are wider by a rounding
    z = noise(estimator, theta, x)
    torch.testing.assert_close(z.std(0), torch.ones_like(z[0]), rtol=0, atol=0.2)
    assert estimator.log_prob(drawn[:9], x[:2]).isfinite().all()


def test_draws_of_the_prior_that_fall_on_an_end_have_a_density() -> None:
    theta = BOX.sample((N,))
    theta[:2] = torch.stack([BOX.support.base_constraint.lower_bound, BOX.support.base_constraint.upper_bound])
    x = torch.randn(N, 3)
    estimator = posterior_nn(PLAN, z_score_theta="transform_to_unconstrained", x_dist=BOX)(theta, x)
    loss = estimator.loss(theta[:2], x[:2])
    loss.sum().backward()
    assert loss.isfinite().all() and all(p.grad.isfinite().all() for p in estimator.parameters() if p.grad is not None)


def test_a_plan_may_end_on_the_support_itself() -> None:
    theta, x = BOX.sample((N,)), torch.randn(N, 3)
    plan = bij.Compose([PLAN, bij.ConstrainTo(BOX.support)])
    estimator = posterior_nn(plan, z_score_theta="none")(theta, x)
    assert BOX.support.check(estimator.sample((2_000,), x[:2])).all()


# --- embeddings, and what is started from data


@pytest.mark.parametrize(
    ("shape", "net"),
    [
        ((6,), torch.nn.Identity()),
        ((6,), FCEmbedding(input_dim=6, output_dim=4)),
        ((12, 12), CNNEmbedding(input_shape=(12, 12), output_dim=4)),
        ((5, 6), PermutationInvariantEmbedding(FCEmbedding(input_dim=6, output_dim=4), trial_net_output_dim=4)),
        ((5, 6), None),
    ],
    ids=["identity", "dense", "convolutions", "permutation-invariant", "none, of matrices"],
)
def test_sbis_embedding_networks_are_trained_along(shape: tuple[int, ...], net: torch.nn.Module | None) -> None:
    theta, x = simulations(x=shape)
    estimator = posterior_nn(PLAN, embedding_net=net)(theta, x)
    with torch.no_grad():
        for parameter in estimator.net.bijector.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # the last layers start at zero
    estimator.loss(theta[:9], x[:9]).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in estimator.parameters())


def test_each_estimator_has_an_embedding_of_its_own() -> None:
    net = torch.nn.Linear(3, 2)
    build = posterior_nn(PLAN, z_score_x="none", embedding_net=net)
    one, two = build(*simulations()), build(*simulations())
    assert one.embedding_net is not net and one.embedding_net is not two.embedding_net
    assert torch.equal(one.embedding_net.weight, net.weight)


def test_layers_that_start_from_data_are_started() -> None:
    theta, x = simulations()
    x[:5] = torch.nan
    plan = bij.Compose([bij.ActNorm(), PLAN])  # the first layer sees what the second makes of theta and x
    estimator = posterior_nn(plan, z_score_theta="none")(theta, x)
    torch.testing.assert_close(noise(estimator, theta[5:], x[5:]).std(0), torch.ones(2), rtol=0, atol=1e-2)


# --- the rest


def test_the_default_is_a_spline_flow_for_any_number_of_coordinates() -> None:
    for count in (1, 4):
        theta, x = simulations(count)
        estimator = posterior_nn()(theta, x)
        assert estimator.sample((3,), x[:2]).shape == (3, 2, count)
        assert "Spline" in str(estimator.net.plan)


def test_double_precision_is_kept() -> None:
    theta, x = (t.double() for t in simulations())
    assert posterior_nn(PLAN)(theta, x).loss(theta, x).dtype is torch.float64


def test_builders_are_values() -> None:
    build = posterior_nn(PLAN, z_score_x="structured")
    assert build == posterior_nn(PLAN, z_score_x="structured") != posterior_nn(PLAN)
    assert pickle.loads(pickle.dumps(build)) == build


def test_the_flow_can_be_saved_and_loaded_units_and_all(tmp_path: Any) -> None:
    theta, x = simulations()
    estimator = posterior_nn(PLAN)(theta, x)
    estimator.net.save(tmp_path / "flow.zip")
    loaded = FlowtorchFlow(flowtorch.load(tmp_path / "flow.zip"))
    assert torch.equal(loaded.log_prob(theta, x), estimator.log_prob(theta, x))
