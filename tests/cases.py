"""The table of bijectors that every property is checked on: a plan, an event shape, a context shape.

A new bijector gets its entries here; ``tests/test_registry.py`` fails for one that has none.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

import flowtorch.bijectors as bij
import flowtorch.parameters as params


class Case(NamedTuple):
    """What ``check_bijector`` is called with."""

    plan: bij.Bijector
    shape: tuple[int, ...]
    context_shape: tuple[int, ...] | None = None


# Smooth activations, so that finite differences and second derivatives hold everywhere; small, so that all is quick.
NET = params.DenseNN((12, 10), nonlinearity=torch.nn.Tanh)
MADE = params.MADE((12, 10), nonlinearity=torch.nn.Tanh)
RESIDUAL_NET = params.DenseNN((8, 8, 8), nonlinearity=torch.nn.SiLU, residual=True)
RESIDUAL_MADE = params.MADE((9, 9, 9), nonlinearity=torch.nn.ELU, residual=True, skip_connections=True)


def two_layers(in_features: int, out_features: int) -> torch.nn.Module:
    """A network of the user's own."""
    hidden = torch.nn.Linear(in_features, 9)
    return torch.nn.Sequential(hidden, torch.nn.Tanh(), torch.nn.Linear(9, out_features))


LINEAR = bij.Spline(count_bins=5)
QUADRATIC = bij.Spline(count_bins=5, order="quadratic", bound=2.0)

CASES: dict[str, Case] = {
    # Fixed
    "exp": Case(bij.Exp(), (2, 3)),
    "exp, scalar": Case(bij.Exp(), ()),
    "sigmoid": Case(bij.Sigmoid(), (3,)),
    "sigmoid, scalar, context ignored": Case(bij.Sigmoid(), (), (2,)),
    "tanh": Case(bij.Tanh(), (2,)),
    "softplus": Case(bij.Softplus(), (3, 1, 2)),
    "elu": Case(bij.ELU(), (1,)),
    "leaky relu": Case(bij.LeakyReLU(), (2, 3)),
    "leaky relu, steep": Case(bij.LeakyReLU(slope=2.5), ()),
    "power": Case(bij.Power(), (3,)),
    "power, decreasing": Case(bij.Power(exponent=-0.5), ()),
    "affine fixed, numbers": Case(bij.AffineFixed(loc=1.5, scale=-0.5), (2, 3)),
    "affine fixed, tuples": Case(bij.AffineFixed(loc=(1.0, 2.0, 3.0), scale=(0.5, -2.0, 3.0)), (2, 3)),
    "affine fixed, nested": Case(bij.AffineFixed(scale=((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))), (2, 3), (2,)),
    "standardize": Case(bij.Standardize(loc=(1.0, -2.0), scale=(3.0, 0.25)), (2,)),
    "permute, given": Case(bij.Permute((2, 0, 3, 1)), (4,)),
    "permute, drawn": Case(bij.Permute(), (2, 3), (2,)),
    "permute, along an axis": Case(bij.Permute(dim=-1), (2, 5)),
    "reverse": Case(bij.Reverse(), (2, 3)),
    "reverse, along an axis": Case(bij.Reverse(dim=1), (2, 3, 2)),
    # Elementwise: free, and from the context
    "affine": Case(bij.Affine(), (2, 3)),
    "affine, scalar": Case(bij.Affine(), ()),
    "affine, exp": Case(bij.Affine(scale_fn="exp"), (2,)),
    "affine, sigmoid": Case(bij.Affine(scale_fn="sigmoid", sigmoid_bias=0.5), (2,)),
    "affine, gated": Case(bij.Affine(scale_fn="sigmoid", gated=True), (2, 3)),
    "affine, clamped": Case(bij.Affine(scale_fn="exp", clamp_values=True, log_scale_min_clip=-2.0), (2,)),
    "affine, unbounded": Case(bij.Affine(log_scale_min_clip=-float("inf"), log_scale_max_clip=float("inf")), (2,)),
    "affine, from the context": Case(bij.Affine(), (2,), (3,)),
    "affine, by a residual net": Case(bij.Affine(RESIDUAL_NET), (2, 3), (3,)),
    "affine, free despite a context": Case(bij.Affine(params.Tensor()), (2, 3), (3,)),
    "affine, by the user's net": Case(bij.Affine(params.Network(two_layers)), (2, 3), (2, 2)),
    "shift": Case(bij.Shift(), (2, 3)),
    "shift, from the context": Case(bij.Shift(NET), (3,), (2,)),
    "scale": Case(bij.Scale(), (2, 3)),
    "scale, from the context": Case(bij.Scale(NET, scale_fn="exp"), (), (2,)),
    "linear spline": Case(LINEAR, (2, 3)),
    "linear spline, scalar": Case(LINEAR, ()),
    "linear spline, from the context": Case(bij.Spline(NET, count_bins=4), (2,), (3,)),
    "quadratic spline": Case(QUADRATIC, (2, 3)),
    "quadratic spline, scalar": Case(QUADRATIC, ()),
    "quadratic spline, from the context": Case(bij.Spline(NET, count_bins=4, order="quadratic"), (1,), (3,)),
    "spline with limits": Case(
        bij.Spline(count_bins=3, bound=4.0, min_bin_width=0.1, min_bin_height=0.05, min_derivative=0.1, min_lambda=0.2),
        (2,),
    ),
    # More maps: fixed
    "expm1": Case(bij.Expm1(), (2, 3)),
    "log": Case(bij.Log(), (2, 3)),
    "logit": Case(bij.Logit(), (2,)),
    "softsign": Case(bij.Softsign(), (2, 3)),
    "softclip": Case(bij.Softclip(bound=3.0), (2,)),
    "softclip, scalar": Case(bij.Softclip(), ()),
    "sigmoid to": Case(bij.SigmoidTo(low=-1.0, high=3.5), (2, 3)),
    "sine": Case(bij.Sin(), (2, 3)),
    "sine, scalar": Case(bij.Sin(), ()),
    "arc sine": Case(bij.ArcSin(), (1,)),
    "cauchy cdf": Case(bij.CauchyCDF(), (2, 3)),
    "cdf, normal": Case(bij.CDF("normal", loc=1.0, scale=2.0), (2, 3)),
    "cdf, logistic": Case(bij.CDF("logistic", scale=0.5), (1,)),
    "cdf, laplace": Case(bij.CDF("laplace", loc=-0.5), (2,)),
    "cdf, cauchy": Case(bij.CDF("cauchy", loc=0.5, scale=3.0), ()),
    "cdf, gumbel": Case(bij.CDF("gumbel", loc=1.0, scale=3.0), (1,)),
    "quantiles of a normal": Case(bij.Invert(bij.CDF("normal", loc=1.0, scale=2.0)), (2,)),
    "circular shift, given": Case(bij.CircularShift(shift=2.5), (2, 3)),
    # More maps: learnable, however they are driven
    **{
        f"{name}, {how}": case
        for name, plan in {
            "circular shift": bij.CircularShift,
            "sinh-arcsinh": bij.SinhArcsinh,
            "tail transform": bij.TailTransform,
            "signed power": bij.SignedPower,
            "learnable leaky relu": bij.LearnableLeakyReLU,
            "temperature sigmoid": bij.TemperatureSigmoid,
        }.items()
        for how, case in {
            "free": Case(plan(), (2, 3)),
            "scalar": Case(plan(), ()),
            # The grid of the integral ends at 30, which many a sinh-arcsinh passes: a smaller bound.
            "from the context": Case(
                bij.SinhArcsinh(NET, max_tailweight=1.5) if plan is bij.SinhArcsinh else plan(NET), (2,), (3,)
            ),
            # (2, 2): of (2, 3) points, one coordinate is never negative, and the leaky ReLU does not move it.
            "autoregressive": Case(bij.Autoregressive(plan(), MADE), (2, 2)),
            "autoregressive, one coordinate, context": Case(bij.Autoregressive(plan(), MADE), (1,), (2,)),
            "coupling": Case(
                bij.Coupling(plan(), NET, untouched=bij.Sigmoid() if plan is bij.TemperatureSigmoid else None),
                (2, 2),
                (2,),
            ),
        }.items()
    },
    # Autoregressive
    "affine autoregressive": Case(bij.AffineAutoregressive(MADE), (4,)),
    "affine autoregressive, default": Case(bij.AffineAutoregressive(), (3,)),
    "affine autoregressive, context": Case(bij.AffineAutoregressive(MADE, scale_fn="exp"), (3,), (2,)),
    "affine autoregressive, gated": Case(bij.AffineAutoregressive(MADE, scale_fn="sigmoid", gated=True), (3,)),
    "affine autoregressive, one coordinate": Case(bij.AffineAutoregressive(MADE), (1,)),
    "affine autoregressive, one coordinate, context": Case(bij.AffineAutoregressive(MADE), (1, 1), (2,)),
    "affine autoregressive, order": Case(bij.AffineAutoregressive(params.MADE((9,), permutation=(2, 0, 1))), (3,)),
    "affine autoregressive, linear": Case(bij.AffineAutoregressive(params.MADE(())), (3,), (2,)),
    "affine autoregressive, narrow": Case(bij.AffineAutoregressive(params.MADE((3, 2), skip_connections=True)), (5,)),
    "spline autoregressive": Case(bij.SplineAutoregressive(MADE, count_bins=4), (2, 3)),
    "spline autoregressive, residual": Case(
        bij.SplineAutoregressive(RESIDUAL_MADE, count_bins=3, order="quadratic"), (3,), (2,)
    ),
    "spline autoregressive, two coordinates": Case(
        bij.SplineAutoregressive(MADE, count_bins=3, order="quadratic"), (2,)
    ),
    "autoregressive along an axis": Case(bij.Autoregressive(QUADRATIC, RESIDUAL_MADE, dim=0), (3, 2), (2,)),
    "autoregressive along the last axis": Case(bij.Autoregressive(bij.Affine(), MADE, dim=-1), (2, 2, 3)),
    "autoregressive shift": Case(bij.Autoregressive(bij.Shift(), MADE), (2, 3)),
    "autoregressive scale": Case(bij.Autoregressive(bij.Scale(), MADE), (3,), (2,)),
    # Coupling
    "affine coupling": Case(bij.AffineCoupling(NET), (5,)),
    "affine coupling, default": Case(bij.AffineCoupling(), (3,), (2,)),
    "affine coupling, alternate": Case(bij.AffineCoupling(RESIDUAL_NET, mask="alternate", swap=True), (2, 3), (2,)),
    "affine coupling, mask": Case(bij.AffineCoupling(NET, mask=((True, False, False), (True, True, False))), (2, 3)),
    "affine coupling, one coordinate": Case(bij.AffineCoupling(NET), (1,)),
    "affine coupling, one coordinate, context": Case(bij.AffineCoupling(NET), (1,), (2,)),
    "affine coupling, user's net": Case(bij.AffineCoupling(params.Network(two_layers), split=1), (3,), (2,)),
    "affine coupling, free": Case(bij.AffineCoupling(params.Tensor()), (3,)),
    "spline coupling": Case(bij.SplineCoupling(NET, count_bins=4), (2,)),
    "spline coupling, both halves": Case(
        bij.SplineCoupling(NET, count_bins=3, order="quadratic", untouched=QUADRATIC), (2, 3), (2,)
    ),
    "spline coupling, along an axis": Case(bij.SplineCoupling(NET, count_bins=3, dim=-2, swap=True), (2, 3, 2)),
    "additive coupling": Case(bij.AdditiveCoupling(NET), (2, 3)),
    "additive coupling, context": Case(bij.AdditiveCoupling(NET, split=2), (3,), (2,)),
    "additive coupling, scaled": Case(bij.AdditiveCoupling(NET, untouched=bij.Scale()), (3,)),
    "coupling": Case(bij.Coupling(QUADRATIC, NET, mask="alternate"), (5,), (2,)),
    # Numerical inverses, in fewer steps than by default: compiled, all are traced.
    "bernstein": Case(bij.Bernstein(order=5, steps=16), (2, 3)),
    "bernstein, from the context": Case(bij.Bernstein(NET, order=4, bound=2.0, steps=16), (), (3,)),
    "bernstein coupling": Case(bij.Coupling(bij.Bernstein(order=4, steps=16), NET), (2, 3), (2,)),
    "sum of squares": Case(bij.SumOfSquares(steps=16), (2, 3)),
    "sum of squares, from the context": Case(bij.SumOfSquares(NET, degree=1, steps=16), (3,), (2,)),
    "deep sigmoid": Case(bij.DeepSigmoid(count_components=4, steps=16), (2, 3)),
    "deep sigmoid, from the context": Case(bij.DeepSigmoid(NET, count_components=3, steps=16), (), (2,)),
    "deep sigmoid autoregressive": Case(bij.Autoregressive(bij.DeepSigmoid(count_components=3, steps=16), MADE), (2,)),
    "logistic mixture": Case(bij.LogisticMixtureCDF(count_components=4, steps=16), (2, 3)),
    "logistic mixture coupling": Case(
        bij.Coupling(bij.LogisticMixtureCDF(count_components=3, steps=16), NET), (3,), (2,)
    ),
    "gaussian mixture": Case(bij.GaussianMixtureCDF(count_components=4, steps=16), (2, 3)),
    "gaussian mixture, from the context": Case(bij.GaussianMixtureCDF(NET, count_components=3, steps=16), (), (2,)),
    "unconstrained monotonic": Case(bij.UnconstrainedMonotonic(hidden_dims=(6,), nodes=20, steps=12), (2, 3)),
    "unconstrained monotonic coupling": Case(
        bij.Coupling(bij.UnconstrainedMonotonic(hidden_dims=(6,), nodes=20, steps=12), NET), (3,), (2,)
    ),
    # Containers
    "invert an autoregressive map": Case(bij.Invert(bij.AffineAutoregressive(MADE)), (3,), (2,)),
    "invert a fixed map": Case(bij.Invert(bij.Sigmoid()), (2, 3)),
    "invert an inverse": Case(bij.Invert(bij.Invert(bij.Softplus())), (2,)),
    "compose of one": Case(bij.Compose([bij.Invert(bij.SplineAutoregressive(MADE, count_bins=3))]), (3,)),
    "compose of different event dimensions": Case(
        bij.Compose([bij.Affine(), bij.AffineAutoregressive(MADE), bij.Exp()]), (2, 3), (2,)
    ),
    "compose of many": Case(
        bij.Compose(
            [
                bij.Invert(bij.SplineAutoregressive(MADE, count_bins=3)),
                bij.Permute(),
                bij.AffineCoupling(NET),
                bij.Reverse(),
                bij.Standardize(loc=(1.0, 2.0, 3.0), scale=2.0),
                bij.Sigmoid(),
            ]
        ),
        (3,),
        (2,),
    ),
    "invert a composition": Case(bij.Invert(bij.Compose([bij.AffineCoupling(NET), bij.Tanh()])), (3,), (2,)),
    "nested compositions": Case(bij.Compose([bij.Compose([bij.Affine(), bij.Tanh()]), bij.Invert(bij.Tanh())]), (2,)),
}
