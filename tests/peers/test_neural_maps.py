"""Neural and polynomial maps against those of zuko and Pyro, with the parameters carried over.

Theirs differ in how raw numbers become parameters, and in clipping: the functions are compared where they coincide.
"""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from flowtorch.ops.bernstein import bernstein
from flowtorch.ops.deep_sigmoid import deep_sigmoid
from flowtorch.ops.gaussian_mixture_cdf import gaussian_mixture_cdf
from flowtorch.ops.monotonic_integral import monotonic_integral
from flowtorch.ops.monotonic_network import MonotonicWeights, monotonic_network
from flowtorch.ops.sum_of_squares import sum_of_squares

X = torch.linspace(-2.9, 2.9, 30, dtype=torch.float64)
close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)


@pytest.fixture(autouse=True)
def double_precision() -> None:
    torch.manual_seed(0)


def draw(*shape: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(shape, dtype=torch.float64)


def inverse_softplus(v: torch.Tensor) -> torch.Tensor:
    return v + torch.log(-torch.expm1(-v))


def before_bounds(log_scale: torch.Tensor) -> torch.Tensor:
    """What our ``log_scale`` bounds to this, within (-5, 3)."""
    limit = torch.where(log_scale < 0.0, 5.0, 3.0)
    return limit * torch.atanh(log_scale / limit)


def spread(count: int) -> torch.Tensor:
    """By how much our components start apart."""
    return torch.linspace(-0.5, 0.5, count, dtype=torch.float64)


def test_bernstein_is_that_of_zuko() -> None:
    transforms = pytest.importorskip("zuko.transforms")
    bound, raw = 3.0, draw(9)
    theirs = transforms.BernsteinTransform(theta=raw, bound=bound)
    theta = theirs.theta
    order = len(theta) - 1
    slopes = theta.diff() * order / (2.0 * bound)
    increments = inverse_softplus(slopes - 1e-3) - math.log(math.expm1(1.0 - 1e-3))
    found = bernstein(X, increments, 0.5 * (theta[0] + theta[-1]), bound=bound)
    for got, expected in zip(found, theirs.call_and_ladj(X), strict=True):
        close(got, expected.detach())
    outside = torch.tensor([-5.0, 4.0], dtype=torch.float64)  # their lines start 1e-6 within the box
    close(bernstein(outside, increments, 0.5 * (theta[0] + theta[-1]), bound=bound)[0], theirs(outside), rtol=1e-4)


def test_sum_of_squares_is_that_of_zuko() -> None:
    transforms = pytest.importorskip("zuko.transforms")
    bound, a = 10.0, draw(3, 5)
    theirs = transforms.SOSPolynomialTransform(a, slope=1e-3, bound=bound)
    # Theirs is a mean of squares of 1 + p(x / bound), ours a sum of squares of polynomials that start apart.
    ours = a / bound ** torch.arange(5, dtype=torch.float64)
    ours[:, 0] += 1.0
    ours = ours / math.sqrt(3.0)
    ours[:, 0] -= math.sqrt((1.0 - 1e-3) / 3.0)
    ours[:, 1] -= torch.linspace(-0.03, 0.03, 3, dtype=torch.float64)
    found = sum_of_squares(X, ours, torch.zeros((), dtype=torch.float64), min_slope=1e-3)
    for got, expected in zip(found, theirs.call_and_ladj(X), strict=True):
        close(got, expected)


def test_deep_sigmoid_is_that_of_pyro() -> None:
    transforms = pytest.importorskip("pyro.distributions.transforms")
    a, w, b = draw(6, 30), draw(6, 30), draw(6, 30)
    theirs = transforms.NeuralAutoregressive(lambda x: (a, w, b), hidden_units=6)
    y = theirs._call(X)
    raw_slopes = before_bounds(torch.nn.functional.softplus(a).log())
    found = deep_sigmoid(X, w.T, raw_slopes.T, b.T - spread(6))
    close(found[0], y)
    close(found[1].sum(), theirs.log_abs_det_jacobian(X, y))


def test_gaussian_mixture_is_that_of_zuko() -> None:
    transforms = pytest.importorskip("zuko.transforms")
    shift, scale = draw(5), draw(5, scale=0.5)
    theirs = transforms.GaussianizationTransform(shift, scale)
    variance = (spread(5) ** 2).mean()
    raw = before_bounds(-scale - 0.5 * torch.log1p(-variance))
    y, log_derivative = gaussian_mixture_cdf(X, torch.zeros(5).double(), -shift * (-scale).exp() - spread(5), raw)
    # They shrink what they take the quantile of, about 1/2, so that it is never 0 or 1; so does this.
    shrunk = torch.erfinv((1.0 - 1e-6) * torch.erf(y * math.sqrt(0.5))) * math.sqrt(2.0)
    expected, expected_log = theirs.call_and_ladj(X)
    close(shrunk, expected)
    close(log_derivative + math.log1p(-1e-6) + 0.5 * (shrunk**2 - y**2), expected_log)


def test_monotonic_integral_is_that_of_zuko() -> None:
    transforms = pytest.importorskip("zuko.transforms")
    w = draw(3, 6, scale=0.5)

    def log_g(t: torch.Tensor) -> torch.Tensor:
        return (torch.tanh(w[0] * t.unsqueeze(-1) + w[1]) * w[2]).sum(-1)

    theirs = transforms.UnconstrainedMonotonicTransform(lambda t: log_g(t).exp(), n=24)
    offset = torch.zeros((), dtype=torch.float64)
    found = monotonic_integral(X, lambda t, p: before_bounds(log_g(t)), (), offset, rule=24)
    for got, expected in zip(found, theirs.call_and_ladj(X), strict=True):
        close(got, expected, rtol=1e-12, atol=1e-12)


def test_monotonic_network_holds_that_of_zuko() -> None:
    flows = pytest.importorskip("zuko.flows.neural")
    network = flows.MNN(signal=4, hidden_features=(8, 6)).double()
    first, _, second, _, last = network.network
    signal = draw(30, 4)
    expected, expected_log = network(signal).call_and_ladj(X)
    # Weights of theirs are absolute values, of ours a softplus over the number of inputs; ours has no last bias, and
    # mixes in a share of the identity.
    matrices = first.weight[:, :1], second.weight, last.weight
    raw = tuple(inverse_softplus(m.abs() * m.shape[1]) - math.log(math.expm1(1.0)) for m in matrices)
    weights = MonotonicWeights(raw, (first.bias, second.bias), first.weight[:, 1:].abs())
    zero = torch.zeros((), dtype=torch.float64)
    y, log_derivative = monotonic_network(X, signal, zero, zero, zero + 1.0, weights)
    share = 0.99 * torch.sigmoid(torch.tensor(1.0 + math.log(0.1 / 0.89), dtype=torch.float64))
    close(y, (1.0 - share) * X + share * (expected - last.bias))
    close(log_derivative.exp(), 1.0 - share + share * expected_log.exp())
