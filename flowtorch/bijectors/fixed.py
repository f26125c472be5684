"""Elementwise maps without parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from .. import ops, options
from ..errors import OptionError
from ..specification import register
from ..types import TensorPair
from .elementwise import Fixed

Params = tuple[torch.Tensor, ...]


@register
@final
@dataclass(frozen=True)
class Exp(Fixed):
    r"""The exponential, from the reals to the positive numbers.

    .. math:: y = e^x, \qquad \log|dy/dx| = x

    Example:
        >>> Exp().bind((2,)).forward(torch.zeros(2)).tolist()
        [1.0, 1.0]
    """

    codomain: ClassVar[Constraint] = constraints.positive

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        return ops.exp(x, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = exp(x)."


@register
@final
@dataclass(frozen=True)
class Sigmoid(Fixed):
    r"""The logistic function, from the reals to the unit interval.

    .. math:: y = \frac{1}{1 + e^{-x}}, \qquad \log|dy/dx| = \log y + \log(1 - y)

    Example:
        >>> Sigmoid().bind((2,)).forward(torch.zeros(2)).tolist()
        [0.5, 0.5]
    """

    codomain: ClassVar[Constraint] = constraints.unit_interval

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        return ops.sigmoid(x, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = 1 / (1 + exp(-x))."


@register
@final
@dataclass(frozen=True)
class Tanh(Fixed):
    r"""The hyperbolic tangent, from the reals to (-1, 1).

    .. math:: y = \tanh x, \qquad \log|dy/dx| = \log(1 - y^2)

    Example:
        >>> Tanh().bind((2,)).forward(torch.zeros(2)).tolist()
        [0.0, 0.0]
    """

    codomain: ClassVar[Constraint] = constraints.interval(-1.0, 1.0)

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        return ops.tanh(x, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = tanh(x)."


@register
@final
@dataclass(frozen=True)
class Softplus(Fixed):
    r"""The softplus, from the reals to the positive numbers.

    .. math:: y = \log(1 + e^x), \qquad \log|dy/dx| = -\log(1 + e^{-x})

    Example:
        >>> round(Softplus().bind((1,)).forward(torch.zeros(1)).item(), 4)
        0.6931
    """

    codomain: ClassVar[Constraint] = constraints.positive

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        return ops.softplus(x, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = log(1 + exp(x))."


@register
@final
@dataclass(frozen=True)
class ELU(Fixed):
    r"""The exponential linear unit, from the reals to (-1, inf).

    .. math:: y = \begin{cases} x & x > 0 \\ e^x - 1 & x \le 0 \end{cases}, \qquad \log|dy/dx| = \min(x, 0)

    Example:
        >>> ELU().bind((2,)).forward(torch.tensor([2.0, 0.0])).tolist()
        [2.0, 0.0]

    References:
        Fast and Accurate Deep Network Learning by Exponential Linear Units (Clevert et al., 2016),
        https://arxiv.org/abs/1511.07289, with alpha = 1.
    """

    codomain: ClassVar[Constraint] = constraints.greater_than(-1.0)

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        return ops.elu(x, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = x above 0, exp(x) - 1 below."


@register
@final
@dataclass(frozen=True)
class LeakyReLU(Fixed):
    r"""The leaky rectifier: the identity above 0, a smaller slope below.

    .. math:: y = \begin{cases} x & x \ge 0 \\ a x & x < 0 \end{cases}, \qquad
              \log|dy/dx| = \begin{cases} 0 & x \ge 0 \\ \log a & x < 0 \end{cases}

    Args:
        slope: :math:`a > 0`.

    Raises:
        OptionError, OptionTypeError: for a slope that is not positive.

    Example:
        >>> LeakyReLU(slope=0.5).bind((2,)).forward(torch.tensor([2.0, -2.0])).tolist()
        [2.0, -1.0]
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        options.number("LeakyReLU", "slope", self.slope, above=0.0)

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        return ops.leaky_relu(x, self.slope, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = x above 0, {self.slope:g} x below."


@register
@final
@dataclass(frozen=True)
class Power(Fixed):
    r"""A power, from the positive numbers to the positive numbers.

    .. math:: y = x^p, \qquad \log|dy/dx| = \log|p| + (p - 1) \log x

    Args:
        exponent: :math:`p \ne 0`; a negative one turns the order round.

    Raises:
        OptionError, OptionTypeError: for an exponent that is zero or not finite.

    Example:
        >>> Power(exponent=2.0).bind((2,)).forward(torch.tensor([2.0, 3.0])).tolist()
        [4.0, 9.0]
    """

    exponent: float = 2.0
    domain: ClassVar[Constraint] = constraints.positive
    codomain: ClassVar[Constraint] = constraints.positive

    def __post_init__(self) -> None:
        options.number("Power", "exponent", self.exponent)
        if self.exponent == 0:
            raise OptionError("Power: exponent is expected not to be 0, which has no inverse; got 0.")

    @property
    def increasing(self) -> bool:  # type: ignore[override]  # depends on the exponent
        """Whether the exponent is positive."""
        return self.exponent > 0

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        return ops.power(x, self.exponent, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = x^{self.exponent:g}."
