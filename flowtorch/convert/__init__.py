"""Trained flows of other libraries as flows of ours, with the same densities and the same samples."""

from .affine import NflowsAffine as NflowsAffine
from .affine import ZukoAffine as ZukoAffine
from .flowtorch08 import from_flowtorch as from_flowtorch
from .nflows import from_nflows as from_nflows
from .pyro import from_pyro as from_pyro
from .residual_made import ResidualMADE as ResidualMADE
from .residual_nn import ResidualNN as ResidualNN
from .spline import PyroSpline as PyroSpline
from .spline import ZukoCircularSpline as ZukoCircularSpline
from .spline import ZukoSpline as ZukoSpline
from .zuko import from_zuko as from_zuko

__all__ = [
    "NflowsAffine",
    "PyroSpline",
    "ResidualMADE",
    "ResidualNN",
    "ZukoAffine",
    "ZukoCircularSpline",
    "ZukoSpline",
    "from_flowtorch",
    "from_nflows",
    "from_pyro",
    "from_zuko",
]
