"""Pure functions on tensors, the only place with formulas.

Each one maps ``x`` coordinate by coordinate, takes ``inverse=True`` for the other direction, and returns the value and
the log-derivative of the map it computed. None reduces, branches on data or changes its inputs.
"""

from .affine import affine as affine
from .affine import log_scale as log_scale
from .bounded import scaled_sigmoid as scaled_sigmoid
from .bounded import sin as sin
from .bounded import softclip as softclip
from .cdf import cdf as cdf
from .circular import circular_shift as circular_shift
from .elementary import elu as elu
from .elementary import exp as exp
from .elementary import leaky_relu as leaky_relu
from .elementary import power as power
from .elementary import sigmoid as sigmoid
from .elementary import softplus as softplus
from .elementary import tanh as tanh
from .logarithms import expm1 as expm1
from .rational_spline import rational_linear_spline as rational_linear_spline
from .rational_spline import rational_quadratic_spline as rational_quadratic_spline
from .tails import signed_power as signed_power
from .tails import sinh_arcsinh as sinh_arcsinh
from .tails import smooth_bound as smooth_bound
from .tails import tail_transform as tail_transform
from .tails import temperature_sigmoid as temperature_sigmoid

__all__ = [
    "affine",
    "cdf",
    "circular_shift",
    "elu",
    "exp",
    "expm1",
    "leaky_relu",
    "log_scale",
    "power",
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
    "tail_transform",
    "tanh",
    "temperature_sigmoid",
]
