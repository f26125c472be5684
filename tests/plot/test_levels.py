"""PIT and credibility against closed forms, and uniform where the flow is right."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Normal

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
from flowtorch.plot import credibility, pit

from .laws import flow, normals, own_draws

LOC, SCALE = torch.tensor([1.0, -2.0, 0.0]), torch.tensor([0.5, 2.0, 1.0])


def draws_of(law: torch.distributions.Distribution, *shape: int) -> torch.Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return law.sample(torch.Size(shape))


def p_value(u: torch.Tensor) -> float:
    """Of the coordinate that is the least uniform; coordinates depend on each other, rows do not."""
    return min(float(stats.kstest(column.numpy(), "uniform").pvalue) for column in u.reshape(len(u), -1).T)


def test_pit_is_the_cumulative_distribution_function_but_for_the_noise_of_draws() -> None:
    x = draws_of(normals(LOC, SCALE), 300)
    found = pit(normals(LOC, SCALE), x)
    exact = stats.norm.cdf(x.numpy(), LOC.numpy(), SCALE.numpy())
    assert found.shape == (300, 3) and found.dtype == torch.float64
    assert np.abs(found.numpy() - exact).max() < 4 * 0.5 / math.sqrt(20 * 300)


def test_pit_of_each_row_at_its_own_context() -> None:
    loc = torch.linspace(-3, 3, 50).reshape(50, 1) * torch.tensor([1.0, 2.0])
    x = draws_of(normals(loc, 0.7))
    found = pit(normals(loc, 0.7), x, draws=5000)
    assert np.abs(found.numpy() - stats.norm.cdf(x.numpy(), loc.numpy(), 0.7)).max() < 4 * 0.5 / math.sqrt(5000)


def test_pit_of_a_univariate_flow_is_its_cdf() -> None:
    univariate = dist.Flow(Normal(1.0, 2.0), bij.Spline())
    x = torch.linspace(-4, 6, 11)
    assert torch.equal(pit(univariate, x), univariate.cdf(x).detach().double())


def test_pit_of_a_univariate_flow_without_a_cdf_is_by_draws() -> None:
    law = dist.Flow(torch.distributions.StudentT(4.0), bij.Affine())
    x = torch.linspace(-4, 4, 21)
    assert np.abs(pit(law, x, draws=20_000).numpy() - stats.t.cdf(x.numpy(), 4)).max() < 4 * 0.5 / math.sqrt(20_000)


@pytest.mark.parametrize("draws", [3, 500])
def test_pit_of_a_flows_own_draws_is_uniform_for_any_number_of_draws(draws: int) -> None:
    law, x, context = own_draws(1000)
    assert p_value(pit(law, x, context, draws=draws)) > 1e-3
    assert p_value(pit(flow(), draws_of(flow(), 1000), draws=draws)) > 1e-3


def test_pit_is_not_uniform_where_the_flow_is_too_narrow_or_off() -> None:
    law, x, context = own_draws(1000)
    middle = law.condition(context).sample((200,)).mean(0)
    assert p_value(pit(law, middle + 1.4 * (x - middle), context, draws=200)) < 1e-6
    assert p_value(pit(law, x + 0.3, context, draws=200)) < 1e-6


def test_credibility_of_a_normal_distribution_is_that_of_chi_squared() -> None:
    x = draws_of(normals(LOC, SCALE), 300)
    found = credibility(normals(LOC, SCALE), x)
    exact = stats.chi2.cdf((((x - LOC) / SCALE) ** 2).sum(-1).numpy(), 3)
    assert found.shape == (300,) and np.abs(found.numpy() - exact).max() < 4 * 0.5 / math.sqrt(20 * 300)


def test_credibility_of_each_row_at_its_own_context() -> None:
    loc = torch.linspace(-3, 3, 50).reshape(50, 1) * torch.tensor([1.0, 2.0])
    x = draws_of(normals(loc, 0.7))
    exact = stats.chi2.cdf((((x - loc) / 0.7) ** 2).sum(-1).numpy(), 2)
    assert np.abs(credibility(normals(loc, 0.7), x, draws=5000).numpy() - exact).max() < 4 * 0.5 / math.sqrt(5000)


def test_credibility_of_a_flows_own_draws_is_uniform_and_of_others_not() -> None:
    law, x, context = own_draws(1000)
    assert p_value(credibility(law, x, context, draws=200)) > 1e-3
    assert p_value(credibility(flow(), draws_of(flow(), 1000))) > 1e-3
    middle = law.condition(context).sample((200,)).mean(0)
    assert p_value(credibility(law, middle + 1.3 * (x - middle), context, draws=200)) < 1e-6


def test_rows_outside_of_the_support_are_least_credible() -> None:
    inside = dist.Flow(dist.DiagNormal(2), bij.Exp())
    found = credibility(inside, [[-1.0, 1.0], [1.0, 1.0]])
    assert found[0] > 0.99 and found[1] < 0.9


@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_draws_a_few_at_a_time_say_the_same(chunk_size: int) -> None:
    x = draws_of(normals(LOC, SCALE), 20)
    exact = stats.norm.cdf(x.numpy(), LOC.numpy(), SCALE.numpy())
    many = normals(LOC.expand(20, 3), SCALE)
    for law in (normals(LOC, SCALE), many):
        found = pit(law, x, draws=2000, chunk_size=chunk_size)
        assert np.abs(found.numpy() - exact).max() < 4 * 0.5 / math.sqrt(2000)


def test_events_of_more_dimensions_and_arrays_of_numbers() -> None:
    law = flow((2, 3))
    x = draws_of(law, 40)
    assert pit(law, x).shape == (40, 2, 3) and credibility(law, x).shape == (40,)
    assert torch.equal(pit(law, x.numpy()), pit(law, x))


def test_flows_in_double_precision_take_numbers_in_single() -> None:
    law, x, context = own_draws(50)
    double = law.double()
    found = pit(double, x, context.numpy(), draws=100)
    assert torch.equal(found, pit(double, x.double(), context.double(), draws=100))


def test_the_seed_says_what_is_drawn() -> None:
    law, x, context = own_draws(50)
    assert torch.equal(pit(law, x, context, seed=5), pit(law, x, context, seed=5))
    assert not torch.equal(pit(law, x, context, seed=5), pit(law, x, context, seed=6))
