"""Conditioners: where the numbers that drive a bijector come from."""

from .base import AutoregressiveParameters as AutoregressiveParameters
from .base import AutoregressiveSteps as AutoregressiveSteps
from .base import BoundAutoregressiveParameters as BoundAutoregressiveParameters
from .base import BoundParameters as BoundParameters
from .base import Parameters as Parameters
from .dense_nn import DenseNN as DenseNN
from .made import MADE as DenseAutoregressive  # the name that FlowTorch 0.8 gave it
from .made import MADE as MADE
from .network import Network as Network
from .tensor import Tensor as Tensor

__all__ = [
    "MADE",
    "AutoregressiveParameters",
    "AutoregressiveSteps",
    "BoundAutoregressiveParameters",
    "BoundParameters",
    "DenseAutoregressive",
    "DenseNN",
    "Network",
    "Parameters",
    "Tensor",
]
