"""Where densities are positive: supports, what lies outside, gradients there, NaN, and validation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as td
from torch.distributions import constraints

import flowtorch.bijectors as bij
from flowtorch.distributions import Flow
from flowtorch.errors import DomainError
from tests.distributions.helpers import MADE, NET, close, draw, make, normal


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def uniform(*shape: int) -> td.Distribution:
    low = torch.zeros(shape, dtype=torch.float64)
    return td.Independent(td.Uniform(low, low + 1), len(shape))


def exponential(*shape: int) -> td.Distribution:
    return td.Independent(td.Exponential(torch.full(shape, 2.0, dtype=torch.float64)), len(shape))


TWICE = bij.AffineFixed(scale=2.0)
SCALAR = normal()
# A flow, its support if that is a box, points inside, points outside.
FLOWS: dict[str, tuple[Flow, constraints.Constraint | None, list[float], list[float]]] = {
    "exp": (make(SCALAR, bij.Exp()), constraints.positive, [0.1, 7.0], [-1.0, 0.0]),
    "sigmoid": (make(SCALAR, bij.Sigmoid()), constraints.unit_interval, [0.1, 0.9], [-1.0, 0.0, 1.0, 2.0]),
    "tanh": (make(SCALAR, bij.Tanh()), constraints.interval(-1.0, 1.0), [-0.9, 0.3], [-1.0, 1.5]),
    "elu": (make(SCALAR, bij.ELU()), constraints.greater_than(-1.0), [-0.9, 3.0], [-1.5, -1.0]),
    "inverted": (make(exponential(), bij.Invert(bij.Softplus())), constraints.real, [-9.0, 2.0], []),
    "power of an exponential": (make(exponential(), bij.Power()), constraints.positive, [0.1, 9.0], [-0.5]),
    "sigmoid doubled": (make(SCALAR, bij.Compose([bij.Sigmoid(), TWICE])), None, [0.1, 1.9], [-0.1, 2.1]),
    "negative exp": (
        make(SCALAR, bij.Compose([bij.Exp(), bij.AffineFixed(loc=1.0, scale=-1.0)])),
        None,
        [-5.0, 0.9],
        [1.1, 4.0],
    ),
    "uniform doubled": (make(uniform(), TWICE), None, [0.1, 1.9], [-0.1, 2.1]),
    "exponential moved": (make(exponential(), bij.AffineFixed(loc=1.0)), None, [1.1, 5.0], [0.9, -3.0]),
    "exponential exponentiated": (make(exponential(), bij.Exp()), None, [1.1, 5.0], [0.9, -3.0]),
    # Powers of negative numbers are NaN, and so are their slopes.
    "weibull moved": (
        make(td.Weibull(number(1.0), number(1.5)), bij.AffineFixed(loc=1.0)),
        None,
        [1.1, 5.0],
        [0.9, -3.0],
    ),
    "uniform through a spline": (make(uniform(), bij.Spline(count_bins=3)), None, [], [-1.0, 4.0]),
}


@pytest.mark.parametrize("name", FLOWS)
def test_support_and_density_agree(name: str) -> None:
    flow, box, inside, outside = FLOWS[name]
    if box is not None:
        assert type(flow.support) is type(box) and str(flow.support) == str(box)
    points = torch.tensor([*inside, *outside], dtype=torch.float64)
    expected = torch.tensor([True] * len(inside) + [False] * len(outside))
    density = flow.log_prob(points)
    assert torch.equal(torch.isfinite(density), expected) and torch.equal(density == -torch.inf, ~expected)
    # A closed box holds its boundary, where the density is 0.
    strict = [p for p in points.tolist() if not (box is not None and p in (0.0, 1.0, -1.0))]
    assert flow.support.check(torch.tensor(strict).double()).tolist() == [p in inside for p in strict]
    drawn = flow.sample((100,))
    assert bool(flow.support.check(drawn).all()) and bool(flow.log_prob(drawn).isfinite().all())
    assert flow.support.event_dim == 0 and flow.support.is_discrete is False


@pytest.mark.parametrize("name", FLOWS)
def test_single_numbers_are_scored_as_batches_are(name: str) -> None:
    flow, _, inside, outside = FLOWS[name]
    for point in (*inside, *outside):
        assert flow.log_prob(number(point)).shape == ()
        close(flow.log_prob(number(point)), flow.log_prob(number(point)[None])[0])
        assert flow.support.check(number(point)).shape == ()


@pytest.mark.parametrize("name", FLOWS)
def test_gradients_outside_are_finite(name: str) -> None:
    flow, _, inside, outside = FLOWS[name]
    y = torch.tensor([*inside, *outside, 1e6, -1e6], dtype=torch.float64, requires_grad=True)
    density = flow.log_prob(y) + 0 * y  # in some the density is constant
    wanted = [y, *flow.parameters()]
    for g in torch.autograd.grad(density.masked_fill(density == -torch.inf, 0.0).sum(), wanted, retain_graph=True):
        assert bool(g.isfinite().all())
    for g in torch.autograd.grad(density.sum(), wanted):
        assert bool(g.isfinite().all())


@pytest.mark.parametrize("name", FLOWS)
def test_nan_in_nan_out(name: str) -> None:
    flow, _, inside, _ = FLOWS[name]
    y = torch.tensor([math.nan, *inside], dtype=torch.float64)
    density = flow.log_prob(y)
    assert density[0].isnan() and not density[1:].isnan().any()
    strict = make(flow.base_dist, flow.plan, validate_args=True)
    assert strict.log_prob(y)[0].isnan()
    if not isinstance(flow.support, type(constraints.real)):
        assert not flow.support.check(y)[0]


@pytest.mark.parametrize("name", [n for n, f in FLOWS.items() if f[3]])
def test_validation_refuses_what_lies_outside_and_counts_it(name: str) -> None:
    flow, _, inside, outside = FLOWS[name]
    strict = Flow(flow.base_dist, flow.plan, validate_args=True)
    strict.load_state_dict(flow.state_dict())
    y = torch.tensor([*inside, *outside], dtype=torch.float64)
    message = rf"Flow.log_prob: values in the support .* are expected; got {len(outside)} of {len(y)} outside"
    with pytest.raises(DomainError, match=message):
        strict.log_prob(y)
    if inside:
        close(strict.log_prob(torch.tensor(inside).double()), flow.log_prob(torch.tensor(inside).double()))


def test_validation_names_the_support() -> None:
    for plan, text in ((bij.Exp(), r"\(0, inf\)"), (bij.Compose([bij.Sigmoid(), TWICE]), "a part of real")):
        with pytest.raises(DomainError, match=rf"the support {text} are expected; got 1 of 1 outside"):
            Flow(normal(), plan, validate_args=True).log_prob(number(-1.0))
    view = Flow(normal(), bij.Exp(), context_shape=(2,), validate_args=True).condition(draw(2))
    with pytest.raises(DomainError, match="FlowView.log_prob: values in the support"):
        view.log_prob(number(-1.0))


def test_of_vectors_one_coordinate_outside_is_enough() -> None:
    flow = make(normal(3), bij.Compose([bij.AffineAutoregressive(MADE), bij.Exp()]))
    y = torch.tensor([[1.0, 2.0, 3.0], [1.0, -2.0, 3.0], [1.0, math.nan, 3.0], [-1.0, math.nan, 3.0]]).double()
    density = flow.log_prob(y)
    assert density[0].isfinite() and density[1] == -torch.inf and density[2:].isnan().all()
    assert flow.support.check(y).tolist() == [True, False, False, False]
    assert flow.support.event_dim == 1


def test_bounded_vectors_through_a_coupling() -> None:
    flow = make(uniform(3), bij.AffineCoupling(NET))
    x = torch.tensor([[0.5, 0.5, 0.5], [0.5, 0.5, 1.5], [-0.5, 0.5, 0.5]]).double()
    y = flow.bijector.forward(x).detach().requires_grad_()
    density = flow.log_prob(y)
    assert torch.equal(density == -torch.inf, torch.tensor([False, True, True]))
    close(density[0], flow.bijector.inverse_and_log_det(y)[1][0])  # the uniform's own density is 1
    assert flow.support.check(y).tolist() == [True, False, False]
    assert all(bool(g.isfinite().all()) for g in torch.autograd.grad(density.sum(), [y, *flow.parameters()]))


def test_bases_with_a_batch_are_masked_entry_by_entry() -> None:
    low = torch.tensor([[0.0, 0.0], [0.0, 2.0], [-1.0, 0.0]], dtype=torch.float64)
    base = td.Independent(td.Uniform(low, low + 1), 1)
    flow = make(base, TWICE)
    y = torch.tensor([1.0, 1.0], dtype=torch.float64)
    expected = [-2 * math.log(2.0), -math.inf, -math.inf]
    close(flow.log_prob(y), torch.tensor(expected, dtype=torch.float64))
    close(flow.log_prob(y.expand(5, 1, 2)), torch.tensor(expected, dtype=torch.float64).expand(5, 3))
    assert flow.support.check(y).tolist() == [True, False, False]


def test_the_support_at_a_context_is_where_that_density_is_positive() -> None:
    flow = make(uniform(3), bij.AffineCoupling(NET), context_shape=(2,))
    contexts = 3 * draw(4, 2)
    y = flow.sample((50,), contexts)
    for i, context in enumerate(contexts):
        view = flow.condition(context)
        assert bool(view.support.check(y[:, i]).all())
        assert torch.equal(view.support.check(y[:, 0]), view.log_prob(y[:, 0]) > -torch.inf)
    with pytest.raises(ValueError, match="Flow.support: a context"):
        flow.support.check(y)


def test_support_of_bounded_coordinates_within_a_domain() -> None:
    low = torch.tensor([0.0, -1.0]).double()
    flow = Flow(td.Independent(td.Uniform(low, torch.tensor([0.5, 1.0]).double()), 1), bij.Invert(bij.Tanh()))
    y = torch.tensor([[0.2, -0.7], [-0.2, 0.7], [0.8, 0.5]]).double().atanh()
    assert flow.support.check(y).tolist() == [True, False, False]
    assert repr(flow.support).startswith("Part(within=")
