"""This library."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params

from ..cases import Case
from ..model import NotOffered, TorchModel, fixed_model

# Sizes as the peers have them.
MAPS: dict[str, Callable[[Case], bij.Elementwise]] = {
    "affine": lambda case: bij.Affine(),
    "shift": lambda case: bij.Shift(),
    "signed_power": lambda case: bij.SignedPower(),
    "rational_quadratic": lambda case: bij.Spline(count_bins=case.bins, order="quadratic"),
    "rational_linear": lambda case: bij.Spline(count_bins=case.bins, order="linear"),
    "linear": lambda case: bij.LinearSpline(count_bins=case.bins),
    "quadratic": lambda case: bij.QuadraticSpline(count_bins=case.bins),
    "cubic": lambda case: bij.CubicSpline(count_bins=case.bins),
    "circular": lambda case: bij.CircularSpline(count_bins=case.bins),
    "bernstein": lambda case: bij.Bernstein(order=16, bound=5.0),
    "sum_of_squares": lambda case: bij.SumOfSquares(degree=4, count_polynomials=3),
    "deep_sigmoid": lambda case: bij.DeepSigmoid(count_components=16),
    "monotonic_network": lambda case: bij.MonotonicNetwork(hidden_dims=(64, 64), count_conditions=16),
    "unconstrained_monotonic": lambda case: bij.UnconstrainedMonotonic(
        hidden_dims=(64, 64), nonlinearity=torch.nn.ELU, count_conditions=16, nodes=32, bound=10.0
    ),
    "gaussian_mixture_cdf": lambda case: bij.GaussianMixtureCDF(count_components=8),
}
FIXED: dict[str, Callable[[], bij.Bijector]] = {
    "exp": bij.Exp,
    "sigmoid": bij.Sigmoid,
    "tanh": bij.Tanh,
    "softplus": bij.Softplus,
    "elu": bij.ELU,
    "leaky_relu": bij.LeakyReLU,
    "softclip": bij.Softclip,
    "normal_cdf": bij.CDF,
    "cauchy_cdf": bij.CauchyCDF,
}


def elementwise(case: Case) -> bij.Elementwise:
    """Returns the plan of the map."""
    try:
        return MAPS[case.map](case)
    except AttributeError as error:  # an older checkout
        raise NotOffered(str(error)) from error


def plan(case: Case) -> bij.Bijector:
    """Returns the plan of the flow."""
    layers: list[bij.Bijector] = []
    for index in range(case.layers):
        layer: bij.Bijector
        if case.structure == "coupling":
            layer = bij.Coupling(elementwise(case), params.DenseNN(hidden_dims=case.hidden), swap=index % 2 == 1)
        else:
            layer = bij.Autoregressive(elementwise(case), params.MADE(hidden_dims=case.hidden))
        # A map goes fast forward; data is what comes last.
        layers.append(bij.Invert(layer) if case.direction == "density" else layer)
        if case.map == "circular":
            layers.append(bij.CircularShift(shift=math.pi))
    return bij.Compose(layers)


def build(case: Case) -> TorchModel:
    """Returns the model."""
    if case.structure == "elementwise":
        return fixed_model(FIXED[case.map]().bind((case.dim,)).forward_and_log_det, case)
    if case.map == "circular":
        # Below pi, which float32 rounds up and so out of the domain.
        edges = torch.nextafter(torch.full((case.dim,), math.pi), torch.tensor(0.0))
        base = torch.distributions.Independent(torch.distributions.Uniform(-edges, edges), 1)
    else:
        base = dist.DiagNormal(case.dim)
    flow = dist.Flow(base, plan(case))
    return TorchModel(flow.parameters(), flow.log_prob, lambda n: flow.sample((n,)), lambda n: flow.rsample((n,)))
