"""What the operations refuse of numbers that one gives them by hand: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable

import torch

from flowtorch import ops
from flowtorch.errors import OptionError, ShapeError
from flowtorch.ops.householder import householder
from flowtorch.ops.matrix_exponential import bound_norm
from flowtorch.ops.monotonic_network import MonotonicWeights, monotonic_network
from flowtorch.ops.packed import upper_triangular
from flowtorch.ops.planar import planar
from flowtorch.ops.sylvester import sylvester

X, V = torch.zeros(5), torch.zeros
KNOTS = V(4), V(4), V(3)

REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionError: {
        "rational_quadratic_spline: a positive, finite bound is expected; got -1.0": (
            lambda: ops.rational_quadratic_spline(X, *KNOTS, bound=-1.0)
        ),
        "rational_quadratic_spline: 0 < min_bin_width < 0.25 is expected; got 0.5": (
            lambda: ops.rational_quadratic_spline(X, *KNOTS, min_bin_width=0.5)
        ),
        "rational_linear_spline: 0 < min_lambda <= 0.5 is expected; got 0.7": (
            lambda: ops.rational_linear_spline(X, *KNOTS, V(4), min_lambda=0.7)
        ),
        "log_scale: log_scale_min_clip < 0 < log_scale_max_clip is expected; got 1.0 and 3.0": (
            lambda: ops.affine(X, X, X, log_scale_min_clip=1.0)
        ),
        "log_scale: scale_fn is 'softplus', 'exp' or 'sigmoid'; got 'nope'": (
            lambda: ops.affine(X, X, X, scale_fn="nope")  # type: ignore[arg-type]
        ),
        "bernstein: a positive, finite bound is expected; got 0.0": lambda: ops.bernstein(X, V(4), V(()), bound=0.0),
        "bernstein: 0 < min_slope < 1 is expected; got 2.0": lambda: ops.bernstein(X, V(4), V(()), min_slope=2.0),
        "sum_of_squares: 0 < min_slope < 1 is expected; got 2.0": (
            lambda: ops.sum_of_squares(X, V(2, 3), V(()), min_slope=2.0)
        ),
        "monotonic_integral: a positive, finite bound is expected; got 0.0": (
            lambda: ops.monotonic_integral(X, lambda t, p: t.exp(), (), V(()), bound=0.0)
        ),
        "numerical_inverse: a positive, finite tolerance is expected; got 0.0": (
            lambda: ops.numerical_inverse(lambda x, p: (x, V(5)), X, tolerance=0.0)
        ),
        "numerical_inverse: at least one step and expansion are expected; got 0": (
            lambda: ops.numerical_inverse(lambda x, p: (x, V(5)), X, steps=0)
        ),
        "softclip: a bound above 0 is expected; got 0": lambda: ops.softclip(X, 0.0),
        "scaled_sigmoid: low < high is expected; got 1.0 and 1.0": lambda: ops.scaled_sigmoid(X, 1.0, 1.0),
        "leaky_relu: a slope above 0 is expected; got -0.1": lambda: ops.leaky_relu(X, -0.1),
        "power: an exponent other than 0 is expected; got 0": lambda: ops.power(X, 0.0),
        "cdf: one of normal, ... is expected; got 'uniform'": lambda: ops.cdf(X, "uniform"),  # type: ignore[arg-type]
        "cdf: a scale above 0 is expected; got -1.0": lambda: ops.cdf(X, "normal", scale=-1.0),
        "cdf: df above 0 is expected for 'student_t', and for no other; got None": lambda: ops.cdf(X, "student_t"),
        "planar: nonlinearity is 'tanh' or 'leaky_relu'; got 'relu'": (
            lambda: planar(X, X, X, V(()), nonlinearity="relu")  # type: ignore[arg-type]
        ),
        "bound_norm: a positive bound is expected; got 0.0": lambda: bound_norm(V(2, 2), 0.0, spectral=True),
    },
    ShapeError: {
        "rational_quadratic_spline: last axes of K >= 1 for widths and heights and of K - 1 or K + 1 for": (
            lambda: ops.rational_quadratic_spline(X, V(4), V(4), V(9))
        ),
        "rational_linear_spline: lambdas with a last axis of 4 are expected; got (2,)": (
            lambda: ops.rational_linear_spline(X, *KNOTS, V(2))
        ),
        "quadratic_spline: last axes of K >= 1 for widths and of K - 1 or K + 1 for derivatives": (
            lambda: ops.quadratic_spline(X, V(4), V(9))
        ),
        "cubic_spline: last axes of K >= 1 for widths and heights and of 2 for derivatives": (
            lambda: ops.cubic_spline(X, V(4), V(4), V(3))
        ),
        "linear_spline: heights with a last axis of K >= 1 are expected; got (0,)": lambda: ops.linear_spline(X, V(0)),
        "bernstein: increments with a last axis of 1 to 100 are expected; got (0,)": (
            lambda: ops.bernstein(X, V(0), V(()))
        ),
        "sum_of_squares: coefficients with two last axes that are not empty are expected; got (3,)": (
            lambda: ops.sum_of_squares(X, V(3), V(()))
        ),
        "parameters with last axes of one size, at least 1, are expected; got sizes": (
            lambda: ops.deep_sigmoid(X, V(2), V(3), V(3))
        ),
        "dense_deep_sigmoid: for the first layer parameters (K,), (K,), (outputs, K) are expected": (
            lambda: ops.dense_deep_sigmoid(X, V(2), V(3), V(1, 3))
        ),
        "householder: points (*batch, D) and vectors (*batch, K, D) are expected; got": (
            lambda: householder(X, V(2, 3))
        ),
        "monotonic_network: weights [(4, 1), (1, 4)], and as many ... sizes [4]; got [(3, 1), (1, 3)] and (4, 2)": (
            lambda: monotonic_network(X, V(5, 2), X, X, X, MonotonicWeights((V(3, 1), V(1, 3)), (V(4),), V(4, 2)))
        ),
        "sylvester: a bias of at most 2 numbers is expected; got 3": (
            lambda: sylvester(V(2), None, V(3, 3), V(3, 3), V(3))
        ),
        "upper_triangular: 3 entries on the last axis are expected; got (5,)": lambda: upper_triangular(V(5), 2),
    },
}
