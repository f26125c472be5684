"""``Sandwich``: there, on, and back."""

from __future__ import annotations

import math

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch import domains
from flowtorch.bijectors.sandwich import BoundSandwich, Sandwich
from flowtorch.testing import check_bijector, perturb

NET = params.DenseNN((8,), nonlinearity=torch.nn.Tanh)
CASES = {
    "orthogonal": (Sandwich(bij.Householder(), bij.Affine()), (3,), None),
    "with a context": (Sandwich(bij.LU(NET), bij.AffineCoupling(NET)), (3,), (2,)),
    "through other sets": (Sandwich(bij.Log(), bij.Affine()), (2, 3), None),
    "inverted": (bij.Invert(Sandwich(bij.AffineCoupling(NET), bij.Spline(count_bins=3))), (3,), None),
}


def bind(plan: Sandwich, shape: tuple[int, ...]) -> BoundSandwich:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bound = plan.bind(shape).double()
    perturb(bound, torch.Generator().manual_seed(1))
    assert isinstance(bound, BoundSandwich)
    return bound


@pytest.mark.parametrize("name", CASES)
def test_it_conforms(name: str) -> None:
    check_bijector(*CASES[name])


def test_both_uses_of_the_outer_have_the_same_parameters() -> None:
    """An orthogonal map around a diagonal one is a symmetric matrix, which three layers of a Compose are not."""
    bound = bind(Sandwich(bij.Orthogonal(), bij.Scale()), (4,))
    matrix = torch.stack([bound.forward(e) for e in torch.eye(4, dtype=torch.float64)])
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-12)
    assert matrix.tril(-1).abs().max() > 0.01
    scales, _ = torch.linalg.eigh(matrix)
    inner = bound.inner.forward(torch.ones(4, dtype=torch.float64)).sort().values
    torch.testing.assert_close(scales, inner, rtol=1e-10, atol=1e-10)
    assert bound.summary().parameters == sum(row.parameters for row in bound.summary().rows)
    assert [row.layer for row in bound.summary().rows] == ["Sandwich(Orthogonal)", "Scale"]


def test_a_closed_form() -> None:
    """exp(a log x + b) = e^b x^a."""
    bound = bind(Sandwich(bij.Log(), bij.AffineFixed(loc=0.5, scale=3.0)), (2,))
    x = torch.tensor([0.7, 2.0], dtype=torch.float64)
    y, log_det = bound.forward_and_log_det(x)
    torch.testing.assert_close(y, x**3 * math.exp(0.5))
    torch.testing.assert_close(log_det, (3.0 * y / x).log().sum())
    assert bound.sign == 1


def test_what_it_takes_and_gives() -> None:
    plan = Sandwich(bij.Log(), bij.Affine())
    assert domains.describe(plan.domain) == domains.describe(plan.codomain) == "(0, inf)"
    # Of what comes out of an inner that is not onto, only a larger set is known.
    assert domains.describe(Sandwich(bij.Affine(), bij.Tanh()).codomain) == "a part of real"
    assert Sandwich(bij.AffineAutoregressive(), bij.Exp()).cheap == "forward"
    assert "y = g^-1(f(g(x)))" in plan.describe() and "outer" in plan.explain() and "inner" in plan.explain()


def test_initialize_starts_both_from_what_they_meet() -> None:
    bound = bind(Sandwich(bij.AffineFixed(scale=10.0), bij.ActNorm()), (2,))
    data = torch.randn(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for start, go in ((bound.initialize, bound.inverse), (bound.initialize_forward, bound.forward)):
        start(2.0 + 5.0 * data)
        met = 10.0 * go(2.0 + 5.0 * data)  # as the inner gives it
        torch.testing.assert_close(met.mean(0), torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-8)
        torch.testing.assert_close(met.std(0, correction=0), torch.ones(2, dtype=torch.float64), rtol=1e-6, atol=0)
