"""Fixed maps onto or from an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from .. import options
from ..errors import OptionError
from ..ops import bounded
from ..specification import register
from ..types import TensorPair
from .elementwise import Fixed

Params = tuple[torch.Tensor, ...]
_UNIT: Constraint = constraints.interval(-1.0, 1.0)
_HALF_TURN: Constraint = constraints.interval(-0.5 * math.pi, 0.5 * math.pi)


@register
@final
@dataclass(frozen=True)
class Softsign(Fixed):
    r"""The softsign, from the reals to (-1, 1), with heavier tails than ``Tanh``: it nears the ends like 1/x.

    .. math:: y = \frac{x}{1 + |x|}, \qquad \log|dy/dx| = -2 \log(1 + |x|)

    Example:
        >>> Softsign().bind((2,)).forward(torch.tensor([1.0, -3.0])).tolist()
        [0.5, -0.75]
    """

    codomain: ClassVar[Constraint] = _UNIT

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        return bounded.softclip(x, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = x / (1 + |x|)."


@register
@final
@dataclass(frozen=True)
class Softclip(Fixed):
    r"""A smooth clip, from the reals to (-bound, bound), with slope 1 at 0.

    .. math:: y = \frac{x}{1 + |x| / b}, \qquad \log|dy/dx| = -2 \log(1 + |x| / b)

    Args:
        bound: :math:`b > 0`; what is much smaller is hardly changed.

    Raises:
        OptionError, OptionTypeError: for a bound that is not positive.

    Example:
        >>> Softclip(bound=4.0).bind((2,)).forward(torch.tensor([4.0, -12.0])).tolist()
        [2.0, -3.0]
    """

    bound: float = 5.0

    def __post_init__(self) -> None:
        options.number("Softclip", "bound", self.bound, above=0.0)

    @property
    def codomain(self) -> Constraint:
        """From -bound to bound."""
        return constraints.interval(-float(self.bound), float(self.bound))

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        return bounded.softclip(x, self.bound, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = x / (1 + |x| / {self.bound:g})."


@register
@final
@dataclass(frozen=True)
class SigmoidTo(Fixed):
    r"""The logistic function onto (low, high).

    .. math:: y = l + (h - l)\, \sigma(x), \qquad \log|dy/dx| = \log(h - l) + \log \sigma(x) + \log \sigma(-x)

    Args:
        low: :math:`l`.
        high: :math:`h > l`.

    Raises:
        OptionError, OptionTypeError: for ends that are not finite or not in order.

    Example:
        >>> SigmoidTo(low=-1.0, high=3.0).bind((1,)).forward(torch.zeros(1)).tolist()
        [1.0]
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        options.number("SigmoidTo", "low", self.low)
        options.number("SigmoidTo", "high", self.high)
        if not self.low < self.high:
            raise OptionError(f"SigmoidTo: low < high is expected; got low={self.low} and high={self.high}.")

    @property
    def codomain(self) -> Constraint:
        """From low to high."""
        return constraints.interval(float(self.low), float(self.high))

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        return bounded.scaled_sigmoid(x, self.low, self.high, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = {self.low:g} + {self.high - self.low:g} sigmoid(x)."


@register
@final
@dataclass(frozen=True)
class Sin(Fixed):
    r"""The sine, from :math:`(-\pi/2, \pi/2)` to (-1, 1).

    .. math:: y = \sin x, \qquad \log|dy/dx| = \log \cos x

    Example:
        >>> Sin().bind((1,)).forward(torch.tensor([0.0])).tolist()
        [0.0]
    """

    domain: ClassVar[Constraint] = _HALF_TURN
    codomain: ClassVar[Constraint] = _UNIT

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        return bounded.sin(x, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = sin(x)."


@register
@final
@dataclass(frozen=True)
class ArcSin(Fixed):
    r"""The inverse sine, from (-1, 1) to :math:`(-\pi/2, \pi/2)`.

    .. math:: y = \arcsin x, \qquad \log|dy/dx| = -\tfrac{1}{2} \log(1 - x^2)

    Example:
        >>> ArcSin().bind((1,)).forward(torch.tensor([0.0])).tolist()
        [0.0]
    """

    domain: ClassVar[Constraint] = _UNIT
    codomain: ClassVar[Constraint] = _HALF_TURN

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        return bounded.sin(x, inverse=not inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = arcsin(x)."
