"""Training on Lightning (extra ``train``): ``fit``, and the modules behind it for a Trainer of your own."""

from .data import Batch as Batch
from .data import Batches as Batches
from .data import Rows as Rows
from .data import TensorData as TensorData
from .diagnosis import where_it_began as where_it_began
from .fit import Fitted as Fitted
from .fit import fit as fit
from .module import FlowModule as FlowModule

__all__ = [
    "Batch",
    "Batches",
    "Fitted",
    "FlowModule",
    "Rows",
    "TensorData",
    "fit",
    "where_it_began",
]
