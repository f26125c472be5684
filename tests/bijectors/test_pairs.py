"""Pairs of all plans: those that fit by domain compose, bind and have the right log-det; others are refused by name."""

from __future__ import annotations

import inspect
import warnings
from functools import cache

import pytest
import torch
from torch.distributions import ExpTransform
from torch.distributions.constraints import Constraint

import flowtorch.bijectors as bij
from flowtorch import domains
from flowtorch.bijectors.compose import name
from flowtorch.errors import DomainError, FlowTorchError
from flowtorch.testing import autodiff_log_det
from flowtorch.testing.check import Case
from flowtorch.testing.sampling import sample_in
from tests.cases import CASES

SHAPE, CONTEXT = torch.Size((4,)), torch.Size((2,))
# What the table has for other shapes only.
MORE = [
    bij.Whiten(
        (1.0, -2.0, 0.0, 3.0), ((1.0, 0.5, 0.0, 0.0), (0.0, 0.5, 0.1, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.2, 0.0, 2.0))
    ),
    bij.Stack([bij.Exp(), bij.Sigmoid(), bij.Affine(), bij.Log()]),
    *(
        bij.Flatten(),
        bij.Reshape((2, 2), 4).inv,
        bij.Reshape(-1, (4,)),
        bij.Transpose((0,)),
        bij.FromTransform(ExpTransform()),
    ),
]
NOT_OF_VECTORS = {bij.ConvResidual}
PARTNERS = 3


def bound(plan: bij.Bijector) -> bij.BoundBijector[bij.Bijector]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return plan.bind(SHAPE, CONTEXT).double()


def binds(plan: bij.Bijector) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return bound(plan).out_shape == SHAPE
    except FlowTorchError:
        return False


@cache
def one_of_each() -> dict[str, bij.Bijector]:
    """The first of the table's plans of each class that binds to vectors, and the inverses of those without numbers."""
    found: dict[str, bij.Bijector] = {}
    for plan in (*(case.plan for case in CASES.values()), *MORE):
        if name(plan) not in found and binds(plan):
            found[name(plan)] = plan
    inverted = [bij.Invert(p) for p in found.values() if not list(bound(p).parameters())]
    inverses = {name(p): p for p in inverted if binds(p)}
    return {**inverses, **found}


@cache
def domain_of(plan: bij.Bijector) -> Constraint:
    return bound(plan).domain


def takes(second: bij.Bijector, first: bij.Bijector, domain: Constraint) -> bool:
    """By points: whether whatever is drawn from all over a domain, the first one maps into the second one's."""
    y, box = widely_spread_images(first, domains.describe(domain), domain), domains.box_of(domain_of(second), SHAPE)
    assert box is not None
    return bool(((y >= torch.tensor(box.lower)) & (y <= torch.tensor(box.upper))).all())  # ends are of measure zero


IMAGES: dict[tuple[bij.Bijector, str], torch.Tensor] = {}


def widely_spread_images(plan: bij.Bijector, text: str, domain: Constraint) -> torch.Tensor:
    if (plan, text) not in IMAGES:
        one, generator, context = bound(plan), torch.Generator().manual_seed(0), torch.zeros(CONTEXT).double()
        with torch.no_grad():
            x = [sample_in(domain, torch.Size((300, 4)), generator, scale) for scale in (1.0, 20.0)]
            IMAGES[plan, text] = one.forward(torch.cat(x), context)
    return IMAGES[plan, text]


PAIRS = [(a, b) for a in one_of_each() for b in one_of_each()]
# The plans' own word for which fit; the first test holds it against points.
FITTING = [(a, b) for a, b in PAIRS if one_of_each()[a].preimage(domain_of(one_of_each()[b]), SHAPE)]


def chosen() -> list[tuple[str, str]]:
    """For each plan as the first of a pair, a few that fit after it, others each time."""
    found = []
    for turn, first in enumerate(one_of_each()):
        seconds = [b for a, b in FITTING if a == first]
        found += [(first, seconds[(7 * turn + 31 * i) % len(seconds)]) for i in range(min(PARTNERS, len(seconds)))]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("first", one_of_each())
def test_a_pair_is_composed_if_and_only_if_it_fits_and_else_refused_with_both_names(first: str) -> None:
    plans = one_of_each()
    for second in plans:
        a, b = plans[first], plans[second]
        try:
            domain = bij.Compose([a, b]).domain_at(SHAPE)  # which binding does too
        except DomainError as error:
            assert f"part 0 ({first})" in str(error) and f"part 1 ({second})" in str(error)
            assert not takes(b, a, domain_of(a)), f"{first}, {second}: refused, though all images lie in the domain"
        else:
            assert takes(b, a, domain), f"{first}, {second}: composed, though images lie outside the domain"


@pytest.mark.parametrize(("first", "second"), chosen())
def test_a_pair_that_fits_has_the_log_det_of_its_jacobian(first: str, second: str) -> None:
    plan = bij.Compose([one_of_each()[first], one_of_each()[second]])
    # Two maps that stretch: what rounding loses in the first, the second multiplies. And near the middle of the domain:
    # of what a first map has sent far out, a second one such as the hyperbolic tangent has no slope left.
    case = Case(plan, SHAPE, CONTEXT, tolerance=1e-6, seed=0)
    context, x = case.context((4,)), case.x((4,), scale=0.5)
    y, log_det = case.bound.forward_and_log_det(x, context)
    case.close(log_det, autodiff_log_det(lambda v: case.bound.forward(v, context), x, SHAPE), "forward", slack=10)
    y = y.detach()
    log_det = case.bound.inverse_and_log_det(y, context)[1]
    case.close(log_det, autodiff_log_det(lambda v: case.bound.inverse(v, context), y, SHAPE), "inverse", slack=10)


def test_a_few_hundred_pairs_are_checked_and_all_plans_are_among_them() -> None:
    assert 200 < len(chosen()) < 700
    plans = [getattr(bij, n) for n in bij.__all__]
    concrete = {p for p in plans if isinstance(p, type) and issubclass(p, bij.Bijector) and not inspect.isabstract(p)}
    assert concrete - {type(p) for p in one_of_each().values()} == NOT_OF_VECTORS
