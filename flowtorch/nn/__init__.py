"""Networks that know nothing of flows."""

from .block import BlockDense as BlockDense
from .block import BlockDenseSteps as BlockDenseSteps
from .block import BlockLinear as BlockLinear
from .dense import Dense as Dense
from .dependence import Dependence as Dependence
from .fused_steps import FusedSteps as FusedSteps
from .lipschitz import LipschitzConvolution as LipschitzConvolution
from .lipschitz import LipschitzDense as LipschitzDense
from .masked import MaskedDense as MaskedDense
from .masked import MaskedDenseSteps as MaskedDenseSteps
from .masked_linear import MaskedLinear as MaskedLinear

__all__ = [
    "BlockDense",
    "BlockDenseSteps",
    "BlockLinear",
    "Dense",
    "Dependence",
    "FusedSteps",
    "LipschitzConvolution",
    "LipschitzDense",
    "MaskedDense",
    "MaskedDenseSteps",
    "MaskedLinear",
]
