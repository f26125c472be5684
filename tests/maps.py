"""The table of elementwise maps, each small: what ``tests/cases.py`` drives in every way, and other tests go through.

A new elementwise map gets its entry here; ``tests/test_registry.py`` fails for one that has none.
"""

from __future__ import annotations

import torch

import flowtorch.bijectors as bij
import flowtorch.convert as convert
import flowtorch.parameters as params

# Smooth activations, so that finite differences and second derivatives hold everywhere; small, so that all is quick.
NET = params.DenseNN((12, 10), nonlinearity=torch.nn.Tanh)
MADE = params.MADE((12, 10), nonlinearity=torch.nn.Tanh)

# Numerical inverses take fewer steps than by default: compiled, all are traced.
LEARNABLE: dict[str, bij.Elementwise] = {
    "affine": bij.Affine(),
    "affine, exp": bij.Affine(scale_fn="exp"),
    "affine, gated": bij.Affine(scale_fn="sigmoid", gated=True),
    "shift": bij.Shift(),
    "scale": bij.Scale(),
    "rational linear spline": bij.Spline(count_bins=5),
    "rational quadratic spline": bij.Spline(count_bins=5, order="quadratic", bound=2.0),
    "linear spline": bij.LinearSpline(count_bins=5),
    "quadratic spline": bij.QuadraticSpline(count_bins=5),
    "cubic spline": bij.CubicSpline(count_bins=5),
    "cubic spline, box": bij.CubicSpline(count_bins=4, bound=(-1.0, 2.5), tails=None),
    "rational quadratic spline, box": bij.Spline(count_bins=4, order="quadratic", bound=(-1.0, 2.5), tails=None),
    "rational linear spline, sides": bij.Spline(count_bins=4, bound=(-1.0, 2.5)),
    "circular spline": bij.CircularSpline(count_bins=4),
    "circular shift": bij.CircularShift(),
    # The grid of the kit's integral ends at 30, which many a sinh-arcsinh passes: a smaller bound.
    "sinh-arcsinh": bij.SinhArcsinh(max_tailweight=1.5),
    "tail transform": bij.TailTransform(),
    "signed power": bij.SignedPower(),
    "learnable leaky relu": bij.LearnableLeakyReLU(),
    "temperature sigmoid": bij.TemperatureSigmoid(),
    "bernstein": bij.Bernstein(order=5, steps=16),
    "sum of squares": bij.SumOfSquares(degree=1, steps=16),
    "deep sigmoid": bij.DeepSigmoid(count_components=4, steps=16),
    "dense deep sigmoid": bij.DenseDeepSigmoid(hidden_dims=(4, 3), steps=16),
    "monotonic network": bij.MonotonicNetwork(hidden_dims=(6, 5), count_conditions=3, steps=16),
    "logistic mixture": bij.LogisticMixtureCDF(count_components=4, steps=16),
    "gaussian mixture": bij.GaussianMixtureCDF(count_components=4, steps=16),
    "affine of zuko": convert.ZukoAffine(slope=1e-2),
    "affine of nflows": convert.NflowsAffine(),
    "affine of nflows, sigmoid": convert.NflowsAffine(scale_fn="sigmoid", least=0.1),
    "spline of zuko": convert.ZukoSpline(count_bins=4, bound=2.0),
    "circular spline of zuko": convert.ZukoCircularSpline(count_bins=4),
    "rational linear spline of pyro": convert.PyroSpline(count_bins=4),
    "rational quadratic spline of pyro": convert.PyroSpline(count_bins=4, bound=2.0, order="quadratic"),
    "unconstrained monotonic": bij.UnconstrainedMonotonic(hidden_dims=(6,), nodes=20, steps=12),
}

FIXED: dict[str, bij.Elementwise] = {
    "exp": bij.Exp(),
    "expm1": bij.Expm1(),
    "log": bij.Log(),
    "sigmoid": bij.Sigmoid(),
    "logit": bij.Logit(),
    "tanh": bij.Tanh(),
    "softplus": bij.Softplus(),
    "softsign": bij.Softsign(),
    "softclip": bij.Softclip(bound=3.0),
    "elu": bij.ELU(),
    "leaky relu": bij.LeakyReLU(slope=2.5),
    "power": bij.Power(),
    "power, decreasing": bij.Power(exponent=-0.5),
    "sine": bij.Sin(),
    "arc sine": bij.ArcSin(),
    "sigmoid to": bij.SigmoidTo(low=-1.0, high=3.5),
    "circular shift, given": bij.CircularShift(shift=2.5),
    "cauchy cdf": bij.CauchyCDF(),
    "affine fixed": bij.AffineFixed(loc=1.5, scale=-0.5),
    "standardize": bij.Standardize(loc=1.0, scale=3.0),
    **{
        f"cdf, {name}": bij.CDF(name, loc=0.5, scale=3.0)
        for name in ("normal", "logistic", "laplace", "cauchy", "gumbel")
    },
    "cdf, student's t": bij.CDF("student_t", loc=0.5, scale=3.0, df=2.5),
}
