"""Log-densities against torch's own transformed distributions, closed forms, autodiff and quadrature."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from torch import distributions as td
from torch.distributions import transforms

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.testing import autodiff_jacobian
from tests.distributions.helpers import MADE, NET, QUADRATIC, close, density_by_autodiff, draw, integral, make, normal

AFFINE = bij.AffineFixed(loc=0.3, scale=-1.7)

OF_TORCH: dict[str, tuple[bij.Bijector, list[transforms.Transform]]] = {
    "affine": (AFFINE, [transforms.AffineTransform(0.3, -1.7)]),
    "exp": (bij.Exp(), [transforms.ExpTransform()]),
    "sigmoid": (bij.Sigmoid(), [transforms.SigmoidTransform()]),
    "tanh": (bij.Tanh(), [transforms.TanhTransform()]),
    "softplus": (bij.Softplus(), [transforms.SoftplusTransform()]),
    "power of exp": (
        bij.Compose([bij.Exp(), bij.Power(exponent=1.5)]),
        [transforms.ExpTransform(), transforms.PowerTransform(torch.tensor(1.5, dtype=torch.float64))],
    ),
    "inverse of an affine": (bij.Invert(AFFINE), [transforms.AffineTransform(0.3, -1.7).inv]),
    "inverse of a sigmoid after a sigmoid": (
        bij.Compose([bij.Sigmoid(), bij.Invert(bij.Sigmoid()), AFFINE]),
        [transforms.AffineTransform(0.3, -1.7)],
    ),
    "four": (
        bij.Compose([AFFINE, bij.Tanh(), bij.AffineFixed(scale=0.5), bij.Exp()]),
        [
            transforms.AffineTransform(0.3, -1.7),
            transforms.TanhTransform(),
            transforms.AffineTransform(0.0, 0.5),
            transforms.ExpTransform(),
        ],
    ),
}


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("name", OF_TORCH)
def test_fixed_maps_give_the_density_of_torchs_transforms(name: str, shape: tuple[int, ...]) -> None:
    plan, of_torch = OF_TORCH[name]
    base = normal(*shape)
    flow = Flow(base, plan)
    expected = td.TransformedDistribution(base, of_torch, validate_args=False)
    y = expected.sample((4, 2))
    got = flow.log_prob(y)
    assert got.shape == (4, 2)
    close(got, expected.log_prob(y))


def test_lognormal_and_logitnormal_are_those_of_scipy() -> None:
    base = td.Normal(torch.tensor(0.3, dtype=torch.float64), torch.tensor(0.8, dtype=torch.float64))
    y = torch.tensor([0.1, 0.9, 3.0], dtype=torch.float64)
    expected = scipy.stats.lognorm(s=0.8, scale=np.exp(0.3)).logpdf(y.numpy())
    close(Flow(base, bij.Exp()).log_prob(y), torch.from_numpy(expected))
    p = np.array([0.1, 0.5, 0.95])
    expected = scipy.stats.norm(0.3, 0.8).logpdf(np.log(p / (1 - p))) - np.log(p * (1 - p))
    close(Flow(base, bij.Sigmoid()).log_prob(torch.from_numpy(p)), torch.from_numpy(expected))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_a_learnt_affine_map_of_a_normal_is_a_normal(shape: tuple[int, ...]) -> None:
    flow = make(normal(*shape), bij.Affine())
    zeros = torch.zeros(shape, dtype=torch.float64)
    shift = flow.bijector.forward(zeros)
    scale = flow.bijector.forward(zeros + 1) - shift
    base = flow.base_dist
    loc, deviation = shift + scale * base.mean, scale * base.variance.sqrt()
    y = draw(6, *shape)
    close(flow.log_prob(y), td.Independent(td.Normal(loc, deviation), len(shape)).log_prob(y))


def test_linear_couplings_of_a_normal_are_a_multivariate_normal() -> None:
    linear = params.DenseNN(())
    plan = bij.Compose(
        [
            bij.AdditiveCoupling(linear),
            bij.AdditiveCoupling(linear, swap=True),
            bij.Permute((2, 0, 4, 1, 3)),
            bij.AffineFixed(loc=(1.0, 2.0, 3.0, 4.0, 5.0), scale=(1.0, -2.0, 0.5, 3.0, -1.0)),
        ]
    )
    flow = make(normal(5), plan)
    zero = torch.zeros(1, 5, dtype=torch.float64)
    matrix = autodiff_jacobian(flow.bijector.forward, zero, flow.event_shape)[0].detach()
    base = flow.base_dist
    loc = flow.bijector.forward(zero)[0] + matrix @ base.mean
    covariance = matrix @ torch.diag(base.variance) @ matrix.T
    y = 3 * draw(2, 4, 5)
    close(flow.log_prob(y), td.MultivariateNormal(loc, covariance).log_prob(y))


PLANS = {
    "autoregressive": (bij.AffineAutoregressive(MADE), (4,)),
    "masked autoregressive": (bij.Invert(bij.AffineAutoregressive(MADE)), (4,)),
    "spline autoregressive": (bij.Autoregressive(QUADRATIC, MADE), (2, 3)),
    "inverted spline autoregressive": (bij.Invert(bij.Autoregressive(bij.Spline(count_bins=4), MADE)), (2, 3)),
    "coupling": (bij.AffineCoupling(NET, mask="alternate"), (5,)),
    "spline coupling": (bij.SplineCoupling(NET, count_bins=4, untouched=QUADRATIC), (2, 3)),
    "elementwise before vectors": (bij.Compose([bij.Tanh(), bij.AffineCoupling(NET), bij.Spline(count_bins=3)]), (3,)),
    "inverse of a composition": (bij.Invert(bij.Compose([bij.AffineCoupling(NET), bij.LeakyReLU(slope=0.3)])), (3,)),
}


@pytest.mark.parametrize("context_shape", [None, (2,)])
@pytest.mark.parametrize("name", PLANS)
def test_learnt_maps_give_the_density_that_autodiff_gives(name: str, context_shape: tuple[int, ...] | None) -> None:
    plan, shape = PLANS[name]
    flow = make(normal(*shape), plan, context_shape=context_shape)
    context = None if context_shape is None else draw(3, *context_shape, seed=1)
    y = flow.sample((3,)) if context is None else flow.sample((), context)
    close(flow.log_prob(y, context), density_by_autodiff(flow, y, context))


@pytest.mark.parametrize("name", ["autoregressive", "spline coupling", "elementwise before vectors"])
def test_the_bound_bijector_within_torchs_transformed_distribution_gives_the_same(name: str) -> None:
    plan, shape = PLANS[name]
    flow = make(normal(*shape), plan, context_shape=(2,))
    context = draw(2, seed=1)
    expected = td.TransformedDistribution(flow.base_dist, [flow.bijector.condition(context)], validate_args=False)
    y = flow.sample((4,), context)
    close(flow.log_prob(y, context), expected.log_prob(y))


@pytest.mark.parametrize("order", ["linear", "quadratic"])
@pytest.mark.parametrize("plan", [lambda s: s, bij.Invert], ids=["forward", "inverse"])
def test_univariate_densities_integrate_to_one(plan: object, order: str) -> None:
    assert callable(plan)
    flow = make(normal(), plan(bij.Spline(count_bins=5, order=order)))
    # The density's slope jumps at the knots: there the trapezium rule is good to the square of the spacing.
    assert integral(flow.log_prob, -12.0, 12.0, 200001) == pytest.approx(1.0, abs=2e-6)


def test_a_bivariate_density_integrates_to_one() -> None:
    flow = make(normal(2), bij.Compose([bij.AffineAutoregressive(MADE), bij.AffineCoupling(NET)]), context_shape=(2,))
    axis = torch.linspace(-20, 20, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        density = flow.log_prob(grid, draw(2, seed=1)).exp().reshape(801, 801)
    total = torch.trapezoid(torch.trapezoid(density, axis), axis)
    assert float(total) == pytest.approx(1.0, abs=1e-8)


def test_calling_the_flow_is_log_prob_and_runs_hooks() -> None:
    flow = make(normal(3), bij.AffineCoupling(NET), context_shape=(2,))
    y, context, seen = draw(4, 3), draw(4, 2, seed=1), []
    flow.register_forward_hook(lambda module, args, out: seen.append(out))
    close(flow(y, context), flow.log_prob(y, context))
    assert len(seen) == 1


def test_normalize_is_the_inverse_of_the_map_and_rnormalize_carries_gradients() -> None:
    flow = make(normal(3), bij.AffineAutoregressive(MADE), context_shape=(2,))
    x, context = draw(4, 3), draw(4, 2, seed=1)
    y = flow.bijector.forward(x, context).detach()
    close(flow.normalize(y, context), x)
    assert not flow.normalize(y, context).requires_grad
    assert flow.rnormalize(y, context).requires_grad
    close(flow.rnormalize(y, context).detach(), x)


def test_of_what_a_flow_has_drawn_the_preimage_is_standard_noise() -> None:
    base = DiagNormal(2, loc=torch.zeros(2, dtype=torch.float64))
    flow = make(base, bij.Compose([bij.AffineAutoregressive(MADE), bij.Spline(count_bins=4)]))
    noise = flow.normalize(flow.sample((4000,)))
    for column in noise.T:
        assert scipy.stats.kstest(column.numpy(), "norm").pvalue > 0.01
    assert abs(float(noise.T.corrcoef()[0, 1])) < 0.05
