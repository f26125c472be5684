"""Networks that know nothing of flows."""

from .dense import Dense as Dense
from .dependence import Dependence as Dependence
from .masked import MaskedDense as MaskedDense
from .masked import MaskedDenseSteps as MaskedDenseSteps
from .masked import MaskedLinear as MaskedLinear

__all__ = ["Dense", "Dependence", "MaskedDense", "MaskedDenseSteps", "MaskedLinear"]
