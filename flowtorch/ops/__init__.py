"""Pure functions on tensors, the only place with formulas.

Each one maps ``x`` coordinate by coordinate, takes ``inverse=True`` for the other direction, and returns the value and
the log-derivative of the map it computed. None reduces, branches on data or changes its inputs.
"""

from .affine import affine as affine
from .affine import log_scale as log_scale
from .elementary import elu as elu
from .elementary import exp as exp
from .elementary import leaky_relu as leaky_relu
from .elementary import power as power
from .elementary import sigmoid as sigmoid
from .elementary import softplus as softplus
from .elementary import tanh as tanh
from .rational_spline import rational_linear_spline as rational_linear_spline
from .rational_spline import rational_quadratic_spline as rational_quadratic_spline

__all__ = [
    "affine",
    "elu",
    "exp",
    "leaky_relu",
    "log_scale",
    "power",
    "rational_linear_spline",
    "rational_quadratic_spline",
    "sigmoid",
    "softplus",
    "tanh",
]
