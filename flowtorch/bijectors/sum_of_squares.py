"""Sum-of-squares polynomials of each coordinate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from .. import options
from ..ops.sum_of_squares import sum_of_squares
from ..parameters import Parameters
from ..specification import register
from ..types import TensorPair
from .elementwise import Elementwise
from .numerical import NumericalOptions


@dataclass(frozen=True, kw_only=True)
class SumOfSquaresOptions(NumericalOptions):
    """The options of all plans of this map."""

    degree: int = 3
    count_polynomials: int = 2
    min_slope: float = 1e-3

    def __post_init__(self) -> None:
        """Checks the options."""
        who = type(self).__name__
        options.integer(who, "degree", self.degree, minimum=0)
        options.integer(who, "count_polynomials", self.count_polynomials, minimum=1)
        options.number(who, "min_slope", self.min_slope, above=0.0, below=1.0)
        super().__post_init__()


@register
@final
@dataclass(frozen=True)
class SumOfSquares(SumOfSquaresOptions, Elementwise):
    r"""A polynomial whose derivative is a sum of squares of polynomials.

    .. math:: y = c + \int_0^x \Big(\epsilon + \sum_{k=1}^K p_k(u)^2\Big) du, \qquad
              \log|dy/dx| = \log\Big(\epsilon + \sum_{k=1}^K p_k(x)^2\Big)

    All parameters at zero give the identity but for a cubic term, below :math:`6 \cdot 10^{-4} |x|^3` for two
    polynomials, by which their gradients differ. Two suffice for any polynomial that is not negative. The inverse is
    iterated. It grows as :math:`x^{2 L + 1}`: standardise the data.

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        degree: the degree L of the polynomials that are squared.
        count_polynomials: how many polynomials.
        min_slope: the least slope.
        tolerance: how small a Newton step ends the search for the inverse, relative to :math:`1 + |x|`.
        steps: how many steps; fewer are taken in eager mode if they suffice.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> bound = SumOfSquares(degree=2).bind((2,))
        >>> [round(v, 3) for v in bound.inverse(bound.forward(torch.tensor([-2.0, 3.0]))).tolist()]
        [-2.0, 3.0]

    References:
        Sum-of-Squares Polynomial Flow (Jaini et al., 2019), https://arxiv.org/abs/1905.02325, eq. 9.
    """

    params_fn: Parameters | None = None

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The coefficients of the polynomials, and an offset."""
        return (self.count_polynomials, self.degree + 1), ()

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        return sum_of_squares(
            x, *params, min_slope=self.min_slope, tolerance=self.tolerance, steps=self.steps, inverse=inverse
        )

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = c + the integral of a sum of {self.count_polynomials} squared polynomials of degree {self.degree}."
