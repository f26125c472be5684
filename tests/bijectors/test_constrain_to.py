"""``ConstrainTo``: against torch's transforms, and against autodiff Jacobians of the free coordinates."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch
from torch.distributions import biject_to, constraints, transform_to
from torch.distributions.constraints import Constraint

import flowtorch
import flowtorch.bijectors as bij
import flowtorch.distributions as dist
from flowtorch import domains
from flowtorch.bijectors.constrain_to import KINDS, ConstrainTo
from flowtorch.testing import check_bijector

INFINITY = math.inf
ENDS = torch.tensor([-1.0, 0.0, -INFINITY]), torch.tensor([3.0, INFINITY, 2.0])
INTERVALS: dict[str, Constraint] = {
    "real": constraints.real,
    "positive": constraints.positive,
    "nonnegative": constraints.nonnegative,
    "greater than": constraints.greater_than(2.5),
    "less than": constraints.less_than(-1.0),
    "unit": constraints.unit_interval,
    "interval": constraints.interval(-2.0, 5.0),
    "half-open": constraints.half_open_interval(0.0, 3.0),
    "an interval for each": constraints.interval(
        torch.tensor([-1.0, 0.0], dtype=torch.float64), torch.tensor([3.0, 0.5], dtype=torch.float64)
    ),
}
# How many free coordinates make a vector or matrix of size 3.
FREE = {name: kind.free(3) for name, kind in KINDS.items()}


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- the kit


@pytest.mark.parametrize("name", INTERVALS)
def test_intervals_conform(name: str) -> None:
    check_bijector(ConstrainTo(INTERVALS[name]), (2,))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("lead", [(), (2,)], ids=["one", "two"])
def test_vectors_and_matrices_conform(name: str, lead: tuple[int, ...]) -> None:
    plan, shape = ConstrainTo(name), (*lead, FREE[name])
    check_bijector(plan, shape)


@pytest.mark.parametrize("name", ["simplex", "corr_cholesky"])
def test_inverses_conform(name: str) -> None:
    inverse = bij.Invert(ConstrainTo(name))
    check_bijector(inverse, ConstrainTo(name).forward_shape(torch.Size((3,))))


# --- against torch


def oracle(name: str) -> torch.distributions.Transform:
    constraint = KINDS[name].constraint
    found: torch.distributions.Transform = (biject_to if name in ("simplex", "corr_cholesky") else transform_to)(
        constraint
    )
    return found


@pytest.mark.parametrize("name", INTERVALS)
def test_intervals_are_torch_s(name: str) -> None:
    bound, theirs, x = ConstrainTo(INTERVALS[name]).bind((2,)), biject_to(INTERVALS[name]), draw(5, 2)
    y, log_det = bound.double().forward_and_log_det(x)
    torch.testing.assert_close(y, theirs(x).double(), rtol=1e-12, atol=1e-12)
    expected = theirs.log_abs_det_jacobian(x, y).expand(5, 2).sum(-1)
    torch.testing.assert_close(log_det, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(bound.inverse(y), theirs.inv(y), rtol=1e-12, atol=1e-12)
    assert domains.describe(bound.codomain) == domains.describe(INTERVALS[name])


@pytest.mark.parametrize("name", ["simplex", "corr_cholesky", "lower_cholesky", "positive_definite"])
def test_vectors_and_matrices_are_torch_s(name: str) -> None:
    bound, theirs, x = (
        ConstrainTo(KINDS[name].constraint).bind((FREE[name],)).double(),
        oracle(name),
        draw(5, FREE[name]),
    )
    given = x if name in ("simplex", "corr_cholesky") else KINDS["lower_triangular"].op(x)[0]
    y, log_det = bound.forward_and_log_det(x)
    torch.testing.assert_close(y, theirs(given), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(bound.forward(bound.inverse(theirs(given))), y, rtol=1e-12, atol=1e-12)
    if name in ("simplex", "corr_cholesky"):
        torch.testing.assert_close(log_det, theirs.log_abs_det_jacobian(given, y), rtol=1e-10, atol=1e-10)


# --- against the Jacobian of the free coordinates


def free(name: str, y: torch.Tensor) -> torch.Tensor:
    """The entries that determine the others."""
    n = y.shape[-1]
    if name == "simplex":
        return y[..., :-1]
    if "ordered" in name:
        return y
    strict = name in ("corr_cholesky", "correlation")
    return torch.stack([y[..., i, j] for i in range(n) for j in range(i + (0 if strict else 1))], -1)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size", [2, 4])
def test_the_log_det_is_that_of_the_free_coordinates(name: str, size: int) -> None:
    count = KINDS[name].free(size)
    bound = ConstrainTo(name).bind((count,)).double()
    for x in draw(3, count):
        y, log_det = bound.forward_and_log_det(x)
        jacobian = torch.autograd.functional.jacobian(lambda v: free(name, bound.forward(v)), x)
        torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian).logabsdet, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(bound.inverse_and_log_det(y)[1], -log_det, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", KINDS)
def test_second_derivatives_hold_where_one_starts(name: str) -> None:
    """At zero, where functions of the absolute value have kinks that hide."""
    count = KINDS[name].free(3)
    bound = ConstrainTo(name).bind((count,)).double()

    def both(x: torch.Tensor) -> torch.Tensor:
        y, log_det = bound.forward_and_log_det(x)
        return y.sin().sum() + log_det.sin()

    x = torch.zeros(count, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(both, x) and torch.autograd.gradgradcheck(both, x)


def test_intervals_at_zero_have_the_derivatives_that_they_have_elsewhere() -> None:
    bound = ConstrainTo(constraints.interval(*ENDS)).bind((3,)).double()
    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(bound.forward_and_log_det, x)
    assert torch.autograd.gradgradcheck(bound.forward_and_log_det, x)


# --- numbers


@pytest.mark.parametrize("name", ["simplex", "corr_cholesky", "ordered", "positive_ordered", "lower_cholesky"])
def test_far_out_in_float32(name: str) -> None:
    """What is nearly at a corner comes back, as sums from the end do not cancel."""
    bound = ConstrainTo(name).bind((FREE[name],))
    x = (
        8.0 * draw(200, FREE[name]).sign() * torch.rand(200, FREE[name], generator=torch.Generator().manual_seed(1))
    ).float()
    exact = ConstrainTo(name).bind((FREE[name],)).double()
    y, log_det = bound.forward_and_log_det(x)
    expected, expected_log_det = exact.forward_and_log_det(x.double())
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(log_det.double(), expected_log_det, rtol=1e-5, atol=1e-4)
    if "ordered" not in name:  # where a small step after a large number is rounded away
        torch.testing.assert_close(bound.inverse(y), x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("x", [-1e3, 1e3])
def test_intervals_never_round_to_their_ends(x: float) -> None:
    low, high = torch.tensor([0.0, 1.0, -3.0]), torch.tensor([1.0, INFINITY, 4.0])
    bound = ConstrainTo(constraints.interval(low, high)).bind((3,))
    y = bound.forward(torch.tensor([x, min(x, 50.0), x]))
    assert bool(((y > low) & (y < high)).all())
    assert bool(bound.inverse(y).isfinite().all())


# --- outside


OUTSIDE: dict[str, list[list[float]] | list[float]] = {
    "simplex": [0.5, 0.6, -0.1],
    "ordered": [0.0, 2.0, 1.0],
    "positive_ordered": [-1.0, 2.0, 3.0],
    "lower_triangular": [[1.0, 0.1], [0.0, 1.0]],
    "symmetric": [[1.0, 0.1], [0.0, 1.0]],
    "lower_cholesky": [[1.0, 0.0], [0.0, -1.0]],
    "positive_definite": [[1.0, 2.0], [2.0, 1.0]],
    "corr_cholesky": [[1.0, 0.0], [0.5, 0.5]],
    "correlation": [[1.0, 0.5], [0.5, 2.0]],
}


@pytest.mark.parametrize("name", KINDS)
def test_outside_the_log_det_is_minus_infinity_and_gradients_are_finite(name: str) -> None:
    outside = torch.tensor(OUTSIDE[name], dtype=torch.float64)
    size = len(OUTSIDE[name])
    bound = ConstrainTo(name).bind((KINDS[name].free(size),)).double()
    good = bound.forward(draw(KINDS[name].free(size)))
    y = torch.stack([good, outside, torch.full_like(good, math.nan)]).requires_grad_()
    x, log_det = bound.inverse_and_log_det(y)
    assert log_det.isfinite().tolist() == [True, False, False]
    assert torch.isneginf(log_det[1]) and log_det[2].isnan() and bool(x[2].isnan().all())
    assert bool(x[:2].isfinite().all()) and bool(bound.codomain.check(bound.forward(x[1])))
    (gradient,) = torch.autograd.grad(x[:2].sum() + log_det[0], y)
    assert bool(gradient[:2].isfinite().all())
    assert not bool(bound.codomain.check(outside))


# --- the plan


def test_what_is_stored_is_a_value() -> None:
    assert ConstrainTo(constraints.simplex).constraint == ("simplex",)
    assert ConstrainTo(constraints.independent(constraints.simplex, 1)) == ConstrainTo("simplex")
    assert ConstrainTo(constraints.positive).constraint == ("interval", 0.0, INFINITY)
    assert ConstrainTo(constraints.real_vector) == ConstrainTo(constraints.real)
    assert ConstrainTo(constraints.positive_semidefinite) == ConstrainTo(constraints.positive_definite)
    box = ConstrainTo(constraints.interval(*ENDS))
    assert box.constraint == ("interval", (-1.0, 0.0, -INFINITY), (3.0, INFINITY, 2.0))
    same = constraints.cat([constraints.positive, constraints.unit_interval], lengths=[1, 2])
    assert ConstrainTo(same).constraint == ("interval", (0.0, 0.0, 0.0), (INFINITY, 1.0, 1.0))
    assert ConstrainTo(constraints.stack([constraints.positive, constraints.positive])) == ConstrainTo(
        constraints.positive
    )
    assert ConstrainTo(constraints.interval(torch.zeros(3), 1.0)) == ConstrainTo(constraints.unit_interval)
    for constraint in itertools.chain(INTERVALS.values(), (kind.constraint for kind in KINDS.values())):
        plan = ConstrainTo(constraint)
        assert flowtorch.plan_from_dict(json.loads(json.dumps(plan.to_dict(), allow_nan=False))) == plan
        assert ConstrainTo(plan.codomain) == plan
        assert plan.describe() in plan.explain()


def test_shapes() -> None:
    size = torch.Size
    for name, kind in KINDS.items():
        plan, dims = ConstrainTo(name), kind.constraint.event_dim
        shape = plan.forward_shape(size((2, FREE[name])))
        assert shape == (2, *(3,) * dims) and plan.inverse_shape(shape) == (2, FREE[name])
    assert ConstrainTo(constraints.interval(*ENDS)).min_event_dim == 1
    assert ConstrainTo(constraints.positive).min_event_dim == 0


def test_a_box_with_ends_of_its_own_for_each_coordinate() -> None:
    """At the end of a flow, and of the last axis of a larger event."""
    bound = ConstrainTo(constraints.interval(*ENDS)).bind((2, 3)).double()
    y, log_det = bound.forward_and_log_det(draw(2, 3))
    expected = [bij.SigmoidTo(-1.0, 3.0), bij.Exp(), bij.Compose([bij.Exp(), bij.AffineFixed(2.0, -1.0)])]
    columns = [plan.bind((2,)).forward_and_log_det(draw(2, 3)[:, i]) for i, plan in enumerate(expected)]
    torch.testing.assert_close(y, torch.stack([c[0] for c in columns], -1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_det, sum(c[1] for c in columns), rtol=1e-12, atol=1e-12)
    assert bound.sign == 1 and ConstrainTo(constraints.interval(*ENDS)).bind((3,)).sign == -1
    back, log_det = bound.inverse_and_log_det(y.index_fill(0, torch.tensor([1]), 2.5))
    assert torch.isneginf(log_det) and bool(back.isfinite().all())


def test_flows_over_constrained_sets() -> None:
    base = dist.DiagNormal((2,))
    flow = dist.Flow(base, bij.Compose([bij.AffineAutoregressive(), ConstrainTo(constraints.simplex)]))
    y = flow.sample((5,))
    assert y.shape == (5, 3) and bool(flow.support.check(y).all())
    assert bool(flow.log_prob(y).isfinite().all())
    assert bool(torch.isneginf(flow.log_prob(y + 0.1)).all())
    # The density of a Dirichlet, by change of variables to its own coordinates.
    dirichlet = torch.distributions.Dirichlet(torch.tensor([2.0, 3.0, 4.0]))
    free = dist.Flow(dirichlet, bij.Invert(ConstrainTo(constraints.simplex)))
    x = torch.linspace(-8.0, 8.0, 161)
    total = free.log_prob(torch.cartesian_prod(x, x)).exp().sum() * 0.1**2
    torch.testing.assert_close(total, torch.tensor(1.0), rtol=0, atol=1e-3)
