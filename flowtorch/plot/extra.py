"""Matplotlib, or an error that says how to install it; NumPy comes with it."""

from __future__ import annotations

try:
    import numpy as np
    from matplotlib.axes import Axes as Axes
    from matplotlib.colors import LogNorm as LogNorm
    from matplotlib.colors import Normalize as Normalize
    from matplotlib.figure import Figure as Figure
    from matplotlib.figure import SubFigure as SubFigure
    from matplotlib.layout_engine import ConstrainedLayoutEngine as ConstrainedLayoutEngine
    from matplotlib.lines import Line2D as Line2D
    from matplotlib.patches import FancyBboxPatch as FancyBboxPatch
    from matplotlib.patches import Patch as Patch
    from numpy.typing import ArrayLike as ArrayLike
    from numpy.typing import NDArray as NDArray
except ImportError as error:
    raise ImportError("flowtorch.plot: Matplotlib is expected; pip install 'flowtorch[plot]' installs it.") from error

Array = NDArray[np.float64]
