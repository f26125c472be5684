"""Pictures (extra ``plot``): densities, data against samples, layers, losses, calibration, the computation itself.

Each function returns a ``matplotlib.figure.Figure``, made without ``pyplot``: no backend is chosen, no style is set,
and nothing needs closing. ``figure.savefig("name.png")`` writes it; after ``%matplotlib inline`` a notebook shows it.
"""

from . import extra as _extra  # noqa: F401  # first: where there is no Matplotlib, there may be no NumPy either
from .calibration import calibration as calibration
from .calibration import coverage as coverage
from .corner import corner as corner
from .density import density as density
from .graph import graph as graph
from .layers import layers as layers
from .levels import credibility as credibility
from .levels import pit as pit
from .losses import losses as losses
from .marginals import marginals as marginals

__all__ = [
    "calibration",
    "corner",
    "coverage",
    "credibility",
    "density",
    "graph",
    "layers",
    "losses",
    "marginals",
    "pit",
]
