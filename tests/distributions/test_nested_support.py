"""Bases made of others: what torch leaves to validation is right here without it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as td
from torch.distributions import constraints, transforms

import flowtorch.bijectors as bij
from flowtorch.distributions import Flow
from tests.distributions.helpers import NET, close, draw, integral, make

F64 = torch.float64


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=F64)


def one() -> torch.Tensor:
    return torch.tensor(1.0, dtype=F64)


def half_lines() -> td.Distribution:
    """Two Pareto distributions: from 1 on, and from 3 on."""
    return td.MixtureSameFamily(td.Categorical(row(0.25, 0.75)), td.Pareto(row(1.0, 3.0), row(4.0, 6.0)))


def two_intervals() -> td.Distribution:
    return td.MixtureSameFamily(td.Categorical(row(0.25, 0.75)), td.Uniform(row(0.0, 2.0), row(1.0, 4.0)))


def test_a_mixture_is_positive_where_any_component_is() -> None:
    flow = make(two_intervals(), bij.AffineFixed())
    y = row(-0.5, 0.5, 1.5, 3.0, 4.5)
    expected = row(0.0, 0.25, 0.0, 0.375, 0.0).log()
    close(flow.log_prob(y), expected)
    assert flow.support.check(y).tolist() == [False, True, False, True, False]
    drawn = flow.sample((200,))
    assert bool(flow.log_prob(drawn).isfinite().all()) and bool(flow.support.check(drawn).all())


def test_components_of_a_mixture_are_masked_one_by_one() -> None:
    flow = make(half_lines(), bij.AffineFixed())
    # Below 3 only the first has a density, 4 y^-5.
    close(flow.log_prob(row(0.5, 2.0)), row(-math.inf, math.log(0.25 * 4 * 2.0**-5)))
    close(flow.log_prob(row(5.0)), row(math.log(0.25 * 4 * 5.0**-5 + 0.75 * 6 * 3.0**6 * 5.0**-7)))
    # The trapezium rule sees the jumps at 1 and 3 through one cell each.
    assert integral(flow.log_prob, 0.0, 100.0, 400001) == pytest.approx(1.0, abs=2e-3)


def test_a_mixture_of_vectors_with_bounds_of_their_own() -> None:
    low = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 5.0]], dtype=F64)
    components = td.Independent(td.Uniform(low, low + row(1.0, 2.0)), 1)
    flow = make(td.MixtureSameFamily(td.Categorical(row(1.0, 1.0, 2.0)), components), bij.AffineCoupling(NET))
    x = torch.tensor([[0.5, 1.5], [2.5, 1.5], [5.5, 1.5], [5.5, 6.5]], dtype=F64)
    y, log_det = (t.detach() for t in flow.bijector.forward_and_log_det(x))
    close(flow.log_prob(y), row(0.125, 0.125, 0.0, 0.25).log() - log_det)
    assert flow.support.check(y).tolist() == [True, True, False, True]
    y.requires_grad_()
    for g in torch.autograd.grad(flow.log_prob(y).sum(), [y, *flow.parameters()]):
        assert bool(g.isfinite().all())


def test_gradients_of_learnt_mixtures_are_finite_where_no_component_has_a_density() -> None:
    base = td.MixtureSameFamily(td.Categorical(row(0.25, 0.75)), td.Weibull(row(1.0, 3.0), row(1.5, 2.5)))
    flow = make(base, bij.AffineFixed(), learn_base=True)
    density = flow.log_prob(row(-1.0, 2.0))
    assert density[0] == -torch.inf and density[1].isfinite()
    for g in torch.autograd.grad(density.sum(), list(flow.parameters())):
        assert bool(g.isfinite().all()) and bool(g.any())


def test_mixtures_with_a_batch_become_an_event() -> None:
    base = td.MixtureSameFamily(
        td.Categorical(torch.ones(2, 2, dtype=F64)),
        td.Uniform(torch.tensor([[0.0, 2.0], [5.0, 7.0]], dtype=F64), torch.tensor([[1.0, 3.0], [6.0, 8.0]]).double()),
    )
    flow = make(base, bij.AdditiveCoupling(NET))
    x = torch.tensor([[0.5, 5.5], [2.5, 7.5], [0.5, 2.5]], dtype=F64)
    y = flow.bijector.forward(x).detach()
    close(flow.log_prob(y), row(0.25, 0.25, 0.0).log())
    assert flow.event_shape == (2,) and flow.support.check(y).tolist() == [True, True, False]


MOVED = {
    "affine of an exponential": (
        lambda: td.TransformedDistribution(td.Exponential(one()), [transforms.AffineTransform(one(), 2 * one())]),
        1.0,
        math.inf,
    ),
    "exp in between": (
        lambda: td.TransformedDistribution(
            td.Normal(0 * one(), one()), [transforms.ExpTransform(), transforms.AffineTransform(one(), -one())]
        ),
        -math.inf,
        1.0,
    ),
    "sigmoid of a uniform": (
        lambda: td.TransformedDistribution(td.Uniform(-one(), one()), [transforms.SigmoidTransform()]),
        1 / (1 + math.e),
        1 / (1 + 1 / math.e),
    ),
    "a transform undone": (
        lambda: td.TransformedDistribution(td.Uniform(one(), 2 * one()), [transforms.ExpTransform().inv]),
        0.0,
        math.log(2.0),
    ),
    "none": (lambda: td.TransformedDistribution(td.Uniform(one(), 2 * one()), []), 1.0, 2.0),
}


@pytest.mark.parametrize("name", MOVED)
def test_a_transformed_distribution_is_positive_where_it_draws(name: str) -> None:
    base, low, high = MOVED[name]
    flow = make(base(), bij.AffineFixed())
    a, b = max(low, -40.0), min(high, 40.0)
    inside = torch.linspace(a, b, 9, dtype=F64)[1:-1]
    outside = row(*([low - 0.5] if low > -math.inf else []), *([high + 0.5] if high < math.inf else []))
    y = torch.cat([inside, outside]).requires_grad_()
    density = flow.log_prob(y)
    assert torch.equal(density.detach() > -torch.inf, torch.tensor([True] * 7 + [False] * len(outside)))
    close(density[:7].detach(), base().log_prob(inside))
    assert torch.equal(flow.support.check(y), density.detach() > -torch.inf)
    assert bool(torch.autograd.grad(density.sum() + y.sum(), y)[0].isfinite().all())
    assert flow.log_prob(row(math.nan)).isnan().all()
    drawn = flow.sample((50,))
    assert bool(flow.support.check(drawn).all())
    cdf = flow.cdf(torch.cat([outside, drawn]))
    assert cdf[: len(outside)].tolist() == [float(p > b) for p in outside.tolist()]
    assert bool(((cdf >= 0) & (cdf <= 1)).all())


def test_the_ends_of_a_saturated_transform_have_no_density() -> None:
    base = td.TransformedDistribution(td.Normal(0 * one(), one()), [transforms.TanhTransform()])
    flow = make(base, bij.AffineFixed(scale=2.0))
    y = row(-2.0, 2.0, 0.0).requires_grad_()
    density = flow.log_prob(y)
    close(density.detach(), row(-math.inf, -math.inf, -0.5 * math.log(2 * math.pi) - math.log(2.0)))
    assert bool(torch.autograd.grad(density.sum(), y)[0].isfinite().all())


def test_transforms_that_cover_everything_leave_the_whole_space() -> None:
    base = td.TransformedDistribution(td.Normal(0 * one(), one()), [transforms.AffineTransform(one(), 2 * one())])
    assert Flow(base, bij.Exp()).support is constraints.positive


def test_vectors_through_transforms_of_vectors() -> None:
    base = td.TransformedDistribution(
        td.Exponential(torch.ones(3, dtype=F64)),
        [transforms.IndependentTransform(transforms.AffineTransform(row(1.0, 2.0, 3.0), 2.0), 1)],
    )
    flow = make(base, bij.AffineFixed(loc=1.0))
    y = torch.tensor([[3.0, 4.0, 5.0], [3.0, 2.5, 5.0]], dtype=F64)
    expected = td.Exponential(one()).log_prob(row(0.5, 0.5, 0.5)).sum() - 3 * math.log(2)
    close(flow.log_prob(y), torch.stack([expected, torch.tensor(-math.inf, dtype=F64)]))
    assert flow.support.check(y).tolist() == [True, False]


def test_von_mises_lives_on_one_turn_of_the_circle() -> None:
    flow = make(td.VonMises(0.3 * one(), 2 * one()), bij.AffineFixed(loc=10.0))
    assert integral(flow.log_prob, 10 - math.pi, 10 + math.pi) == pytest.approx(1.0, abs=1e-6)
    assert flow.log_prob(row(10 - 4.0, 10 + 4.0)).tolist() == [-math.inf, -math.inf]
    assert not flow.support.check(row(14.0)) and flow.support.check(row(13.0))


class Unsaid(td.Normal):
    """A distribution whose support depends on what cannot be seen."""

    support = constraints.dependent


class Minimal(td.Distribution):
    """A distribution that does not speak of its support."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__(torch.Size(), torch.Size(), validate_args=False)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        return -value.abs() - math.log(2.0)


@pytest.mark.filterwarnings("ignore:Flow. the base's:UserWarning")
@pytest.mark.parametrize("base", [Unsaid(0 * one(), one()), Minimal()], ids=["dependent", "none"])
def test_a_base_that_does_not_say_its_support_is_taken_at_its_word(base: td.Distribution) -> None:
    flow = make(base, bij.Exp())
    y = draw(4).exp()
    base._validate_args = False  # torch's own cannot check this support
    close(flow.log_prob(y), base.log_prob(y.log()) - y.log())
    assert flow.support is constraints.positive and flow.log_prob(row(-1.0)) == -torch.inf
    with pytest.raises(ValueError, match=r"its domain is \(0, inf\), got support unknown"):
        Flow(base, bij.Power())


@pytest.mark.filterwarnings("ignore:Flow. the base's:UserWarning")
def test_unknown_supports_within_others() -> None:
    unsaid = Unsaid(torch.zeros(2, dtype=F64), 1.0)
    independent = make(td.Independent(unsaid, 1), bij.AffineFixed())
    close(independent.log_prob(row(0.0, 0.0)), torch.tensor(-math.log(2 * math.pi), dtype=F64))
    mixed = make(td.MixtureSameFamily(td.Categorical(row(1.0, 1.0)), unsaid), bij.AffineFixed())
    close(mixed.log_prob(row(0.0)), row(-0.5 * math.log(2 * math.pi)))
    moved = make(td.TransformedDistribution(unsaid, [transforms.AffineTransform(one(), one())]), bij.AdditiveCoupling())
    assert moved.log_prob(row(1.0, 1.0)).isfinite() and moved.support.check(row(1.0, 1.0))
