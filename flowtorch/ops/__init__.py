"""Pure functions on tensors, the only place with formulas.

Each one maps ``x`` coordinate by coordinate, takes ``inverse=True`` for the other direction, and returns the value and
the log-derivative of the map it computed. None reduces, branches on data or changes its inputs.
"""

from .affine import affine as affine
from .affine import log_scale as log_scale
from .bernstein import bernstein as bernstein
from .bounded import scaled_sigmoid as scaled_sigmoid
from .bounded import sin as sin
from .bounded import softclip as softclip
from .cdf import cdf as cdf
from .circular import circular_shift as circular_shift
from .cubic_spline import cubic_spline as cubic_spline
from .deep_sigmoid import deep_sigmoid as deep_sigmoid
from .deep_sigmoid import logistic_mixture_cdf as logistic_mixture_cdf
from .dense_deep_sigmoid import dense_deep_sigmoid as dense_deep_sigmoid
from .elementary import elu as elu
from .elementary import exp as exp
from .elementary import leaky_relu as leaky_relu
from .elementary import power as power
from .elementary import sigmoid as sigmoid
from .elementary import softplus as softplus
from .elementary import tanh as tanh
from .gaussian_mixture_cdf import gaussian_mixture_cdf as gaussian_mixture_cdf
from .linear_spline import linear_spline as linear_spline
from .logarithms import expm1 as expm1
from .monotonic_integral import monotonic_integral as monotonic_integral
from .monotonic_network import MonotonicWeights as MonotonicWeights
from .monotonic_network import monotonic_network as monotonic_network
from .numerical_inverse import InverseReport as InverseReport
from .numerical_inverse import numerical_inverse as numerical_inverse
from .numerical_inverse import numerical_inverse_report as numerical_inverse_report
from .quadratic_spline import quadratic_spline as quadratic_spline
from .quadrature import clenshaw_curtis as clenshaw_curtis
from .quadrature import gauss_legendre as gauss_legendre
from .rational_spline import rational_linear_spline as rational_linear_spline
from .rational_spline import rational_quadratic_spline as rational_quadratic_spline
from .sum_of_squares import sum_of_squares as sum_of_squares
from .tails import signed_power as signed_power
from .tails import sinh_arcsinh as sinh_arcsinh
from .tails import smooth_bound as smooth_bound
from .tails import tail_transform as tail_transform
from .tails import temperature_sigmoid as temperature_sigmoid

__all__ = [
    "InverseReport",
    "MonotonicWeights",
    "affine",
    "bernstein",
    "cdf",
    "circular_shift",
    "clenshaw_curtis",
    "cubic_spline",
    "deep_sigmoid",
    "dense_deep_sigmoid",
    "elu",
    "exp",
    "expm1",
    "gauss_legendre",
    "gaussian_mixture_cdf",
    "leaky_relu",
    "linear_spline",
    "log_scale",
    "logistic_mixture_cdf",
    "monotonic_integral",
    "monotonic_network",
    "numerical_inverse",
    "numerical_inverse_report",
    "power",
    "quadratic_spline",
    "rational_linear_spline",
    "rational_quadratic_spline",
    "scaled_sigmoid",
    "sigmoid",
    "signed_power",
    "sin",
    "sinh_arcsinh",
    "smooth_bound",
    "softclip",
    "softplus",
    "sum_of_squares",
    "tail_transform",
    "tanh",
    "temperature_sigmoid",
]
