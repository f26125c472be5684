"""The table of bijectors that every property is checked on: a plan, an event shape, a context shape.

A new bijector gets its entries here; ``tests/test_registry.py`` fails for one that has none.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch.distributions import constraints, transforms

import flowtorch.bijectors as bij
import flowtorch.convert as convert
import flowtorch.parameters as params
from tests.maps import FIXED, LEARNABLE, MADE, NET


class Case(NamedTuple):
    """What ``check_bijector`` is called with."""

    plan: bij.Bijector
    shape: tuple[int, ...]
    context_shape: tuple[int, ...] | None = None


RESIDUAL_NET = params.DenseNN((8, 8, 8), nonlinearity=torch.nn.SiLU, residual=True)
BLOCKS = convert.ResidualMADE(9, nonlinearity=torch.nn.Tanh)
RESIDUAL_NN = convert.ResidualNN(8, nonlinearity=torch.nn.Tanh)
RESIDUAL_MADE = params.MADE((9, 9, 9), nonlinearity=torch.nn.ELU, residual=True, skip_connections=True)


def two_layers(in_features: int, out_features: int) -> torch.nn.Module:
    """A network of the user's own."""
    hidden = torch.nn.Linear(in_features, 9)
    return torch.nn.Sequential(hidden, torch.nn.Tanh(), torch.nn.Linear(9, out_features))


def driven(name: str, plan: bij.Elementwise) -> dict[str, Case]:
    """An elementwise map in every family, on events of no, one and two dimensions, on one coordinate too."""
    # What stays must live where what moves does.
    bounded = None if name != "temperature sigmoid" else bij.Sigmoid()
    coupling = bij.Coupling(plan, NET, untouched=bounded)
    # (2, 2): of (2, 3) points, one coordinate is never negative, and the leaky ReLU does not move it.
    cases = {
        "free": Case(plan, (2, 2)),
        "free, scalar": Case(plan, ()),
        "from the context": Case(replace(plan, params_fn=NET), (2,), (3,)),  # type: ignore[call-arg]
        "autoregressive": Case(bij.Autoregressive(plan, MADE), (2, 2)),
        "autoregressive, one coordinate": Case(bij.Autoregressive(plan, MADE), (1,)),
        "autoregressive, one coordinate, context": Case(bij.Autoregressive(plan, MADE), (1,), (2,)),
        "coupling": Case(coupling, (2, 2), (2,)),
        "coupling, one coordinate": Case(coupling, (1,), (2,)),
    }
    return {f"{name}, {how}": case for how, case in cases.items()}


QUADRATIC = LEARNABLE["rational quadratic spline"]

CASES: dict[str, Case] = {
    # Fixed
    "exp, scalar": Case(bij.Exp(), ()),
    "sigmoid, scalar, context ignored": Case(bij.Sigmoid(), (), (2,)),
    "softplus": Case(bij.Softplus(), (3, 1, 2)),
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
    "affine, sigmoid": Case(bij.Affine(scale_fn="sigmoid", sigmoid_bias=0.5), (2,)),
    "affine, clamped": Case(bij.Affine(scale_fn="exp", clamp_values=True, log_scale_min_clip=-2.0), (2,)),
    "affine, unbounded": Case(bij.Affine(log_scale_min_clip=-float("inf"), log_scale_max_clip=float("inf")), (2,)),
    "affine, by the default net": Case(bij.Affine(), (2,), (3,)),
    "affine, by a residual net": Case(bij.Affine(RESIDUAL_NET), (2, 3), (3,)),
    "affine, free despite a context": Case(bij.Affine(params.Tensor()), (2, 3), (3,)),
    "affine, by the user's net": Case(bij.Affine(params.Network(two_layers)), (2, 3), (2, 2)),
    "scale, exp, from the context": Case(bij.Scale(NET, scale_fn="exp"), (), (2,)),
    "spline with limits": Case(
        bij.Spline(count_bins=3, bound=4.0, min_bin_width=0.1, min_bin_height=0.05, min_derivative=0.1, min_lambda=0.2),
        (2,),
    ),
    "spline, a box for each coordinate": Case(
        bij.Autoregressive(
            bij.QuadraticSpline(
                count_bins=3, bound=((1.0, (-2.0, 1.0), 3.0), (2.0, (0.5, 4.0), (-1.0, 2.5))), tails=None
            ),
            MADE,
        ),
        (2, 3),
    ),
    "softclip, scalar": Case(bij.Softclip(), ()),
    "sine, scalar": Case(bij.Sin(), ()),
    "quantiles of a normal": Case(bij.Invert(bij.CDF("normal", loc=1.0, scale=2.0)), (2,)),
    # Every elementwise map
    **{f"{name}, fixed": Case(plan, (2, 3)) for name, plan in FIXED.items()},
    **{how: case for name, plan in LEARNABLE.items() for how, case in driven(name, plan).items()},
    # Autoregressive
    "affine autoregressive": Case(bij.AffineAutoregressive(MADE), (4,)),
    "affine autoregressive, default": Case(bij.AffineAutoregressive(), (3,)),
    "affine autoregressive, context": Case(bij.AffineAutoregressive(MADE, scale_fn="exp"), (3,), (2,)),
    "affine autoregressive, gated": Case(bij.AffineAutoregressive(MADE, scale_fn="sigmoid", gated=True), (3,)),
    "affine autoregressive, one coordinate of two axes": Case(bij.AffineAutoregressive(MADE), (1, 1), (2,)),
    "affine autoregressive, order": Case(bij.AffineAutoregressive(params.MADE((9,), permutation=(2, 0, 1))), (3,)),
    "affine autoregressive, passes": Case(bij.AffineAutoregressive(replace(MADE, passes=2)), (5,), (2,)),
    "spline autoregressive, graph": Case(
        bij.SplineAutoregressive(replace(MADE, adjacency=((0, 0, 1), (1, 0, 0), (0, 0, 0))), count_bins=3), (3,)
    ),
    "affine autoregressive, graph of the context": Case(
        bij.AffineAutoregressive(replace(MADE, adjacency=((0, 0, 1, 0), (1, 0, 1, 1))), dim=0), (2, 3), (2,)
    ),
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
    # Coupling
    "affine coupling": Case(bij.AffineCoupling(NET), (5,)),
    "affine coupling, default": Case(bij.AffineCoupling(), (3,), (2,)),
    "affine coupling, alternate": Case(bij.AffineCoupling(RESIDUAL_NET, mask="alternate", swap=True), (2, 3), (2,)),
    "affine coupling, mask": Case(bij.AffineCoupling(NET, mask=((True, False, False), (True, True, False))), (2, 3)),
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
    # By their usual names; each map is in every family above
    **{
        f"{type(plan).__name__} by name": Case(plan, (3,), (2,))
        for plan in (
            bij.NeuralAutoregressive(MADE, count_components=3, steps=12),
            bij.DenseNeuralAutoregressive(MADE, hidden_dims=(3,), steps=12),
            bij.UnconstrainedMonotonicAutoregressive(MADE, hidden_dims=(6,), nodes=16, steps=8),
            bij.PolynomialAutoregressive(MADE, degree=1, steps=12),
            bij.BernsteinAutoregressive(MADE, order=4, steps=12),
            bij.MixtureAutoregressive(MADE, count_components=3, steps=12),
            bij.CircularSplineAutoregressive(MADE, count_bins=3),
            bij.CubicSplineAutoregressive(MADE, count_bins=3),
            bij.MixtureCoupling(NET, count_components=3, steps=12),
            bij.BernsteinCoupling(NET, order=4, steps=12),
            bij.CircularSplineCoupling(NET, count_bins=3),
            bij.LinearSplineCoupling(NET, count_bins=3),
            bij.QuadraticSplineCoupling(NET, count_bins=3),
            bij.CubicSplineCoupling(NET, count_bins=3),
        )
    },
    # Vectors
    "planar": Case(bij.Planar(), (3,)),
    "planar, context": Case(bij.Planar(NET), (2, 3), (2,)),
    "planar, leaky relu": Case(bij.Planar(nonlinearity="leaky_relu", dim=0), (2, 3)),
    "radial": Case(bij.Radial(), (2, 3)),
    "radial, context": Case(bij.Radial(NET, dim=-1), (2, 3), (2,)),
    "sylvester, householder": Case(bij.Sylvester(count_transforms=2), (3,)),
    "sylvester, orthogonal": Case(bij.Sylvester(NET, kind="orthogonal", rank=2), (2, 2), (2,)),
    "sylvester, triangular": Case(bij.Sylvester(kind="triangular", flip=True, dim=0), (3, 2)),
    # Linear: triangular factors
    "lower Cholesky affine": Case(bij.LowerCholeskyAffine(), (3,)),
    "lower Cholesky affine, one coordinate": Case(bij.LowerCholeskyAffine(), (1,)),
    "lower Cholesky affine, from the context": Case(bij.LowerCholeskyAffine(NET), (2, 3), (2,)),
    "lower Cholesky affine, along an axis": Case(
        bij.LowerCholeskyAffine(NET, dim=0, bias=False, scale_fn="exp"), (3, 2), (2,)
    ),
    "LU": Case(bij.LU(), (3,)),
    "LU, permuted": Case(bij.LU(permutation=(2, 0, 1), bias=True, clamp_values=True), (3,)),
    "LU, permutation drawn, from the context": Case(bij.LU(NET, permutation=None), (2, 3), (2,)),
    "LU, along an axis": Case(bij.LU(dim=-1, bias=True), (2, 3)),
    "LU, along an axis, from the context": Case(bij.LU(NET, dim=-1, scale_fn="sigmoid"), (2, 3), (2,)),
    "channel permute": Case(bij.GeneralizedChannelPermute(), (3, 2, 2)),
    "channel permute, from the context": Case(bij.GeneralizedChannelPermute(NET, bias=True), (3, 2, 2), (2,)),
    "channel permute, from a permutation": Case(bij.GeneralizedChannelPermute(initial="permutation"), (4,)),
    "channel permute, last axis": Case(bij.GeneralizedChannelPermute(dim=-1, permutation="identity"), (2, 3)),
    # Linear: rotations, spectra, low rank
    "householder": Case(bij.Householder(count_transforms=3), (2, 3)),
    "householder, from the context": Case(bij.Householder(NET, count_transforms=2), (3,), (2,)),
    "qr": Case(bij.QR(), (3,)),
    "qr, from the context": Case(bij.QR(NET, bias=True, count_transforms=2), (3,), (2,)),
    "svd": Case(bij.SVD(), (2, 3)),
    "svd, from the context": Case(bij.SVD(NET, scale_fn="exp", dim=-1), (2, 3), (2,)),
    "orthogonal, cayley": Case(bij.Orthogonal(), (2, 3)),
    "orthogonal, exponential, from the context": Case(bij.Orthogonal(NET, method="exponential"), (3,), (2,)),
    "matrix exponential": Case(bij.MatrixExponential(), (3,)),
    "matrix exponential, weight": Case(bij.MatrixExponential(normalization="weight", bound=1.5), (2, 3)),
    "matrix exponential, spectral, from the context": Case(
        bij.MatrixExponential(NET, normalization="spectral", bound=1.5), (3,), (2,)
    ),
    "diagonal plus low rank": Case(bij.DiagonalPlusLowRank(rank=2), (2, 3)),
    "diagonal plus low rank, from the context": Case(bij.DiagonalPlusLowRank(NET, bias=True), (3,), (2,)),
    # Linear: fixed
    "discrete cosine": Case(bij.DiscreteCosine(), (3,)),
    "discrete cosine, by the Fourier transform": Case(bij.DiscreteCosine(), (129,)),
    "discrete cosine, smooth, by the Fourier transform": Case(bij.DiscreteCosine(0.5), (130,)),
    "discrete cosine, smooth, along an axis": Case(bij.DiscreteCosine(-1.5, dim=0), (3, 2), (2,)),
    "discrete cosine, smooth, flattened": Case(bij.DiscreteCosine(0.7, dim=None), (2, 3)),
    "haar": Case(bij.Haar(), (2, 3)),
    "haar, flipped, along an axis": Case(bij.Haar(dim=0, flip=True), (5, 2), (2,)),
    "haar, by levels": Case(bij.Haar(dim=None), (131,)),
    "whiten": Case(bij.Whiten((1.0, -2.0), ((1.0, 0.5), (-0.3, 0.2))), (2,)),
    "whiten, along an axis": Case(bij.Whiten((1.0, -2.0), ((1.0, 0.5), (-0.3, 0.2)), dim=0), (2, 3)),
    # Residual: compiled, all steps of the inverse are unrolled, 35 of them here and 241 by default
    "residual": Case(bij.Residual((12, 10), lipschitz=0.5), (3,)),
    "residual, context": Case(bij.Residual((9,), nonlinearity="elu", lipschitz=0.5), (2, 3), (2,)),
    "residual, linear": Case(bij.Residual((), lipschitz=0.5), (4,), (2,)),
    "residual, one coordinate": Case(bij.Residual((9, 9, 9), nonlinearity="tanh", lipschitz=0.5), (1,), (2,)),
    "residual, inverted": Case(bij.Invert(bij.Residual((9, 8), nonlinearity="softplus", lipschitz=0.5)), (4,), (2,)),
    "residual, images": Case(bij.ConvResidual((4,), lipschitz=0.5), (2, 3, 2), (2,)),
    "residual, images, wide kernels": Case(bij.ConvResidual((4, 3), kernel_size=5, lipschitz=0.5), (1, 3, 4)),
    # Norms
    "act norm": Case(bij.ActNorm(), (2, 3)),
    "act norm, channels": Case(bij.ActNorm(dim=0), (2, 3, 2)),
    "batch norm": Case(bij.BatchNorm(), (3,)),
    "batch norm, channels": Case(bij.BatchNorm(dim=-1), (2, 3)),
    "norms between layers with a context": Case(
        bij.Compose([bij.ActNorm(), bij.AffineCoupling(NET), bij.BatchNorm(), bij.Residual((9,), lipschitz=0.5)]),
        (3,),
        (2,),
    ),
    # Networks of blocks; every activation is in tests/bijectors/test_block_autoregressive.py
    "block autoregressive": Case(bij.BlockAutoregressive((3, 2), steps=8), (3,)),
    "block autoregressive, context": Case(
        bij.BlockAutoregressive((3,), activation="elu", residual="normal", steps=8), (2, 2), (2,)
    ),
    "block autoregressive, the network alone": Case(
        bij.BlockAutoregressive((3,), activation="leaky_relu", residual=None, steps=12), (1,), (2,)
    ),
    "block autoregressive, not onto": Case(
        bij.BlockAutoregressive((3,), activation="sigmoid", residual=None, steps=12), (1,)
    ),
    "block autoregressive along an axis": Case(
        bij.BlockAutoregressive((3,), activation="leaky_tanh", dim=0, steps=8), (2, 3)
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
    "compose with checkpoints": Case(bij.Compose([bij.AffineCoupling(NET), bij.Tanh()], checkpoint=True), (3,), (2,)),
    "nested compositions": Case(bij.Compose([bij.Compose([bij.Affine(), bij.Tanh()]), bij.Invert(bij.Tanh())]), (2,)),
    # Shapes and pieces
    "reshape": Case(bij.Reshape((2, 3), (3, 2)), (2, 3)),
    "reshape, open lengths": Case(bij.Reshape(-1, (2, -1)), (6,), (2,)),
    "reshape, no axis before": Case(bij.Reshape((), 1), (3,)),
    "flatten": Case(bij.Flatten((2, 3)), (2, 3)),
    "transpose": Case(bij.Transpose((2, 0, 1)), (2, 3, 4), (2,)),
    "concatenate": Case(
        bij.Concatenate([bij.Affine(NET), bij.AffineAutoregressive(MADE), bij.Permute()], sizes=(1, None, 2)),
        (5,),
        (2,),
    ),
    "concatenate along an axis": Case(
        bij.Concatenate([bij.Affine(), bij.Spline(count_bins=3)], sizes=(None, 1), dim=0), (3, 2)
    ),
    "concatenate boxes": Case(bij.Concatenate([bij.Exp(), bij.Sigmoid()], sizes=(1, 1)), (2,)),
    "concatenate boxes inverted": Case(
        bij.Invert(bij.Concatenate([bij.Exp(), bij.Sigmoid()], sizes=(1, None), dim=0)), (3, 2)
    ),
    "stack": Case(
        bij.Stack([bij.AffineAutoregressive(MADE), bij.AffineCoupling(NET), bij.Affine()], dim=-1), (2, 3), (2,)
    ),
    "stack scalars": Case(bij.Stack([bij.Exp(), bij.Sigmoid(), bij.Affine()]), (3,)),
    "partial": Case(bij.Partial(bij.AffineAutoregressive(MADE), (0, -1)), (4,), (2,)),
    "partial along an axis": Case(bij.Partial(bij.AffineCoupling(NET), (2, 0), dim=-1), (2, 3)),
    "indexed": Case(bij.Indexed({0: bij.Sigmoid(), (1, 2): bij.CircularSpline(count_bins=3), 3: bij.Exp()}), (5,)),
    "indexed, rest": Case(
        bij.Indexed({(3, 1): bij.AffineAutoregressive(MADE), 0: bij.Exp()}, rest=bij.AffineCoupling(NET)), (5,), (2,)
    ),
    "indexed along an axis": Case(
        bij.Indexed({(-1, 0): bij.AffineAutoregressive(MADE), 1: bij.Affine()}, dim=1), (2, 4)
    ),
    "split": Case(bij.Split(None, bij.AffineAutoregressive(MADE)), (4,)),
    "split, swapped": Case(
        bij.Split(bij.AffineAutoregressive(MADE), bij.SplineCoupling(NET, count_bins=3), 2, swap=True), (5,), (2,)
    ),
    "split along an axis": Case(
        bij.Split(bij.AffineAutoregressive(MADE), bij.Compose([bij.Affine(NET), bij.Exp()]), dim=0), (3, 2), (2, 2)
    ),
    "pieces of pieces": Case(
        bij.Indexed({(0, 1, 2): bij.Split(bij.Affine(), bij.AffineCoupling(NET)), 3: bij.Stack([bij.Exp()])}),
        (5,),
        (2,),
    ),
    # Layers, and sets
    "repeat": Case(bij.Repeat(bij.AffineCoupling(NET), 3), (3,), (2,)),
    "repeat with checkpoints": Case(
        bij.Repeat(bij.Compose([bij.AffineAutoregressive(MADE), bij.Permute()]), 2, checkpoint=True), (2, 3)
    ),
    "sandwich": Case(bij.Sandwich(bij.Householder(), bij.Affine()), (3,)),
    "sandwich, context": Case(bij.Sandwich(bij.LU(NET), bij.AffineCoupling(NET)), (3,), (2,)),
    "sandwich through other sets": Case(bij.Sandwich(bij.Log(), bij.Affine()), (2, 3)),
    "scan": Case(bij.Scan(bij.Compose([bij.AffineCoupling(NET), bij.Permute()]), 3), (3,), (2,)),
    "scan along an axis": Case(
        bij.Scan(bij.Compose([bij.Permute(dim=0), bij.LU(dim=-2, permutation=None)]), 3), (3, 2)
    ),
    "constrain to a box": Case(bij.ConstrainTo(("interval", (-1.0, -math.inf), (math.inf, 2.0))), (2,)),
    "constrain to an interval": Case(bij.ConstrainTo(constraints.unit_interval), (2, 3), (2,)),
    "constrain to order": Case(bij.ConstrainTo("positive_ordered"), (2, 3)),
    "constrain to a simplex": Case(bij.ConstrainTo("simplex"), (2, 3), (2,)),
    "constrain to correlations": Case(bij.ConstrainTo(constraints.corr_cholesky), (6,)),
    "constrain to positive definite": Case(bij.ConstrainTo(constraints.positive_definite), (6,)),
    "from a transform": Case(
        bij.FromTransform(
            transforms.ComposeTransform(
                [transforms.AffineTransform(torch.tensor([1.0, 2.0, 3.0]), 2.0), transforms.ExpTransform()]
            )
        ),
        (3,),
    ),
    # Conditioners of other libraries
    "residual made": Case(bij.AffineAutoregressive(BLOCKS), (2, 2)),
    "residual made, context": Case(bij.AffineAutoregressive(BLOCKS), (3,), (2,)),
    "residual made, inactive first": Case(bij.SplineAutoregressive(replace(BLOCKS, preactivation=False)), (3,), (2,)),
    "residual made, numbers of units": Case(
        bij.AffineAutoregressive(replace(BLOCKS, hidden_features=(0, 5, 4), permutation=(2, 0, 1))), (3,)
    ),
    "residual made, graph": Case(
        bij.AffineAutoregressive(replace(BLOCKS, adjacency=((False,) * 3, (True, False, False), (True, False, False)))),
        (3,),
        (2,),
    ),
    "residual made, one coordinate": Case(bij.AffineAutoregressive(BLOCKS), (1,), (2,)),
    "residual nn": Case(bij.AffineCoupling(RESIDUAL_NN), (3,), (2,)),
    "residual nn, no context": Case(bij.AffineCoupling(replace(RESIDUAL_NN, blocks=1)), (3,)),
    "residual nn of the context": Case(bij.Affine(RESIDUAL_NN), (3,), (2,)),
}
