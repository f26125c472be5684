"""Distribution functions and quantiles of univariate flows against integration and scipy."""

from __future__ import annotations

import itertools
import math

import pytest
import scipy.integrate
import scipy.stats
import torch
from torch import distributions as td
from torch.distributions import transforms

import flowtorch.bijectors as bij
from flowtorch.distributions import ConditionalNormal, DiagNormal, Flow
from flowtorch.errors import NotSupportedError
from tests.distributions.helpers import MADE, NET, QUADRATIC, close, draw, make, normal

F64 = torch.float64
ONE = torch.tensor(1.0, dtype=F64)
SCALAR = td.Normal(0.2 * ONE, 0.9 * ONE)
DOWN = bij.AffineFixed(loc=0.5, scale=-1.5)

# A flow; where its density begins and ends.
FLOWS: dict[str, tuple[Flow, float, float]] = {
    "spline": (make(SCALAR, QUADRATIC), -math.inf, math.inf),
    "decreasing": (make(SCALAR, bij.Compose([QUADRATIC, DOWN])), -math.inf, math.inf),
    "twice decreasing": (make(SCALAR, bij.Compose([DOWN, QUADRATIC, DOWN])), -math.inf, math.inf),
    "exp": (make(SCALAR, bij.Compose([bij.Affine(), bij.Exp()])), 0.0, math.inf),
    "decreasing power": (make(SCALAR, bij.Compose([bij.Exp(), bij.Power(exponent=-0.5)])), 0.0, math.inf),
    "sigmoid": (make(SCALAR, bij.Sigmoid()), 0.0, 1.0),
    "sigmoid moved": (make(SCALAR, bij.Compose([bij.Sigmoid(), bij.AffineFixed(loc=1.0, scale=2.0)])), 1.0, 3.0),
    "negative exp": (make(SCALAR, bij.Compose([bij.Exp(), DOWN])), -math.inf, 0.5),
    "exponential moved": (make(td.Exponential(ONE), bij.AffineFixed(loc=1.0)), 1.0, math.inf),
    "exponential turned": (make(td.Exponential(ONE), DOWN), -math.inf, 0.5),
    "half normal": (make(td.HalfNormal(ONE), bij.AffineFixed()), 0.0, math.inf),
    "uniform": (make(td.Uniform(-ONE, 2 * ONE), bij.AffineFixed(scale=2.0)), -2.0, 4.0),
    "cauchy, inverted": (make(td.Cauchy(ONE, ONE), bij.Invert(QUADRATIC)), -math.inf, math.inf),
    "weibull": (make(td.Weibull(ONE, 2 * ONE), bij.Power(exponent=1.5)), 0.0, math.inf),
    "gamma": (make(td.Gamma(2 * ONE, ONE), bij.Compose([bij.Power(exponent=0.5), DOWN])), -math.inf, 0.5),
    "kumaraswamy": (make(td.Kumaraswamy(2 * ONE, 3 * ONE), bij.Invert(bij.Sigmoid())), -math.inf, math.inf),
    "pareto": (make(td.Pareto(ONE, 3 * ONE), bij.AffineFixed(loc=-2.0)), -1.0, math.inf),
    "mixture": (
        make(
            td.MixtureSameFamily(
                td.Categorical(torch.tensor([0.3, 0.7], dtype=F64)),
                td.Pareto(torch.tensor([1.0, 3.0], dtype=F64), torch.tensor([4.0, 6.0], dtype=F64)),
            ),
            bij.AffineFixed(loc=-2.0),
        ),
        -1.0,
        math.inf,
    ),
    "transformed": (
        make(
            td.TransformedDistribution(td.Exponential(ONE), [transforms.AffineTransform(ONE, -2 * ONE)]),
            bij.AffineFixed(loc=1.0),
        ),
        -math.inf,
        2.0,
    ),
    "diag normal": (make(DiagNormal((), 0 * ONE, ONE), bij.Exp()), 0.0, math.inf),
    "a flow": (make(Flow(td.Exponential(ONE), bij.Power(exponent=0.5)), DOWN), -math.inf, 0.5),
}
HAVE_QUANTILES = [n for n in FLOWS if n not in ("gamma", "mixture")]


@pytest.mark.parametrize("name", FLOWS)
def test_the_cdf_is_the_integral_of_the_density(name: str) -> None:
    flow = FLOWS[name][0]

    def density(v: float) -> float:
        with torch.no_grad():
            return float(flow.log_prob(torch.tensor(v, dtype=F64)).exp())

    # Between neighbouring draws, at the breaks of splines and mixtures too, so that the quadrature is exact enough.
    for a, b in itertools.pairwise(sorted(flow.sample((4,)).tolist())):
        breaks = [v for v in (-2.5, -1.0, 0.0, 1.0, 2.5) if a < v < b] or None
        area, error = scipy.integrate.quad(density, a, b, points=breaks, epsabs=1e-10, limit=200)
        ends = flow.cdf(torch.tensor([a, b], dtype=F64)).detach()
        assert float(ends[1] - ends[0]) == pytest.approx(area, abs=1e-7 + 10 * error)


@pytest.mark.parametrize("name", FLOWS)
def test_the_cdf_rises_from_zero_to_one(name: str) -> None:
    flow, low, high = FLOWS[name]
    grid = torch.linspace(-30, 30, 601, dtype=F64)
    with torch.no_grad():
        values = flow.cdf(grid)
    assert bool((values.diff() >= 0).all())
    assert bool((values[grid <= low] == 0).all()) and bool((values[grid >= high] == 1).all())
    assert values[-1] > 0.9 and values[0] < 0.1
    assert flow.cdf(torch.tensor(math.nan, dtype=F64)).isnan()
    assert flow.cdf(torch.tensor(0.25, dtype=F64)).shape == ()


@pytest.mark.parametrize("name", HAVE_QUANTILES)
def test_quantiles_are_the_inverse_of_the_cdf(name: str) -> None:
    flow = FLOWS[name][0]
    q = torch.tensor([1e-6, 0.1, 0.5, 0.75, 0.999], dtype=F64)
    x = flow.icdf(q)
    assert bool((x.diff() > 0).all())
    close(flow.cdf(x), q)


# torch's Cauchy has finite ones.
@pytest.mark.parametrize("name", [n for n in HAVE_QUANTILES if "cauchy" not in n])
def test_quantiles_of_the_ends_are_the_ends_of_the_support(name: str) -> None:
    flow, low, high = FLOWS[name]
    ends = flow.icdf(torch.tensor([0.0, 1.0], dtype=F64)).detach()
    close(ends, torch.tensor([low, high], dtype=F64))
    assert flow.icdf(torch.tensor([-0.1, 1.1, math.nan], dtype=F64)).isnan().all()


def test_closed_forms() -> None:
    y = torch.tensor([0.1, 0.9, 3.0], dtype=F64)
    lognormal = scipy.stats.lognorm(s=0.9, scale=math.exp(0.2))
    flow = Flow(SCALAR, bij.Exp())
    close(flow.cdf(y), torch.from_numpy(lognormal.cdf(y.numpy())))
    q = torch.tensor([0.1, 0.5, 0.9], dtype=F64)
    close(flow.icdf(q), torch.from_numpy(lognormal.ppf(q.numpy())))
    turned = Flow(SCALAR, DOWN)
    close(turned.cdf(y), torch.from_numpy(scipy.stats.norm(0.5 - 1.5 * 0.2, 1.5 * 0.9).cdf(y.numpy())))


def test_conditional_flows_views_and_bases() -> None:
    flow = make(ConditionalNormal((), 2, NET).double(), bij.Compose([bij.Affine(NET), DOWN]), context_shape=(2,))
    context, y = draw(4, 2), draw(3, 1)
    got = flow.cdf(y, context)
    assert got.shape == (3, 4)
    for i, row in enumerate(context):
        base = flow.base.condition(row)  # type: ignore[operator]
        x = flow.normalize(y[:, 0], row)
        close(got[:, i], 1 - base.base_dist.cdf(x))
    view = flow.condition(context)
    close(view.cdf(y), got)
    close(view.icdf(got), y.expand(3, 4))
    close(flow[:2].cdf(y, context), got)
    assert flow.expand((5, 4)).condition(context).cdf(y[0]).shape == (5, 4)


def test_the_derivative_of_the_cdf_is_the_density() -> None:
    for name in ("spline", "decreasing", "exp", "transformed", "mixture"):
        flow = FLOWS[name][0]
        y = flow.sample((6,)).requires_grad_()
        (slope,) = torch.autograd.grad(flow.cdf(y).sum(), y)
        close(slope, flow.log_prob(y).exp().detach())


def test_vectors_have_none() -> None:
    flow = make(normal(1), bij.AffineAutoregressive(MADE))
    for view in (flow, flow[:1]):
        for what in ("cdf", "icdf"):
            message = rf"{type(view).__name__}.{what}: a flow with event shape \(\) is expected; got \(1,\).*no exact"
            with pytest.raises(NotSupportedError, match=message):
                getattr(view, what)(draw(1))


def test_bases_that_have_none() -> None:
    mixture = FLOWS["mixture"][0]
    with pytest.raises(
        NotSupportedError, match="Flow.icdf: a base with an exact icdf is expected; got MixtureSameFamily"
    ):
        mixture.icdf(0.5 * ONE)
    with pytest.raises(NotSupportedError, match="Flow.cdf: a base with an exact cdf is expected; got StudentT"):
        Flow(td.StudentT(3 * ONE), bij.AffineFixed()).cdf(0.5 * ONE)
