"""NumPy and pandas, or an error that says how to install them."""

from __future__ import annotations

from typing import Any, TypeAlias

try:
    import numpy as np
    import numpy.typing
    import pandas as pd
except ImportError as error:
    raise ImportError("flowtorch.cli: pandas is expected; pip install 'flowtorch[cli]' installs it.") from error

Array: TypeAlias = np.typing.NDArray[np.float64]
AnyArray: TypeAlias = np.typing.NDArray[Any]

__all__ = ["AnyArray", "Array", "np", "pd"]
