"""Ready-made plans: functions that return one, with defaults that train."""

from .autoregressive import iaf as iaf
from .autoregressive import maf as maf
from .autoregressive import naf as naf
from .autoregressive import umnn as umnn
from .coupling import nice as nice
from .coupling import realnvp as realnvp
from .polynomial import bpf as bpf
from .polynomial import sospf as sospf
from .spline import ncsf as ncsf
from .spline import nsf as nsf
from .stack import stack as stack
from .vector import bnaf as bnaf
from .vector import gf as gf
from .vector import planar as planar
from .vector import radial as radial
from .vector import residual as residual
from .vector import sylvester as sylvester

__all__ = [
    "bnaf",
    "bpf",
    "gf",
    "iaf",
    "maf",
    "naf",
    "ncsf",
    "nice",
    "nsf",
    "planar",
    "radial",
    "realnvp",
    "residual",
    "sospf",
    "stack",
    "sylvester",
    "umnn",
]
