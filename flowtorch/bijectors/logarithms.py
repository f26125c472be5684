"""Fixed maps made of exponentials and logarithms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from ..ops import elementary, logarithms
from ..specification import register
from ..types import TensorPair
from .elementwise import Fixed

Params = tuple[torch.Tensor, ...]


@register
@final
@dataclass(frozen=True)
class Expm1(Fixed):
    r"""The exponential less 1, from the reals to (-1, inf).

    .. math:: y = e^x - 1, \qquad \log|dy/dx| = x

    Example:
        >>> Expm1().bind((2,)).forward(torch.zeros(2)).tolist()
        [0.0, 0.0]
    """

    codomain: ClassVar[Constraint] = constraints.greater_than(-1.0)

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        return logarithms.expm1(x, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = exp(x) - 1."


@register
@final
@dataclass(frozen=True)
class Log(Fixed):
    r"""The logarithm, from the positive numbers to the reals.

    .. math:: y = \log x, \qquad \log|dy/dx| = -\log x

    Example:
        >>> Log().bind((2,)).forward(torch.ones(2)).tolist()
        [0.0, 0.0]
    """

    domain: ClassVar[Constraint] = constraints.positive

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        return elementary.exp(x, inverse=not inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = log(x)."


@register
@final
@dataclass(frozen=True)
class Logit(Fixed):
    r"""The logarithm of the odds, from the unit interval to the reals: the inverse of ``Sigmoid``.

    .. math:: y = \log \frac{x}{1 - x}, \qquad \log|dy/dx| = -\log x - \log(1 - x)

    Example:
        >>> Logit().bind((1,)).forward(torch.tensor([0.5])).tolist()
        [0.0]
    """

    domain: ClassVar[Constraint] = constraints.unit_interval

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        return elementary.sigmoid(x, inverse=not inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = log(x / (1 - x))."
