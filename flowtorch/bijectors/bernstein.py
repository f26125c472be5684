"""Bernstein polynomials of each coordinate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from .. import options
from ..ops.bernstein import MAX_ORDER, bernstein
from ..parameters import Parameters
from ..specification import register
from ..types import TensorPair
from .elementwise import Elementwise
from .numerical import NumericalOptions


@dataclass(frozen=True, kw_only=True)
class BernsteinOptions(NumericalOptions):
    """The options of all plans of this map."""

    order: int = 16
    bound: float = 3.0
    min_slope: float = 1e-3

    def __post_init__(self) -> None:
        """Checks the options."""
        who = type(self).__name__
        options.integer(who, "order", self.order, minimum=1)
        options.number(who, "order", self.order, below=MAX_ORDER + 1)
        options.number(who, "bound", self.bound, above=0.0)
        options.number(who, "min_slope", self.min_slope, above=0.0, below=1.0)
        super().__post_init__()


@register
@final
@dataclass(frozen=True)
class Bernstein(BernsteinOptions, Elementwise):
    r"""An increasing polynomial in Bernstein's form on ``[-bound, bound]``, continued by straight lines.

    .. math:: y = \sum_{k=0}^n \theta_k \binom{n}{k} t^k (1 - t)^{n-k}, \quad t = \frac{x + B}{2B}, \qquad
              \frac{dy}{dx} = \frac{n}{2B} \sum_{k=0}^{n-1} (\theta_{k+1} - \theta_k) \binom{n-1}{k} t^k (1 - t)^{n-1-k}

    The coefficients :math:`\theta_k` increase. All parameters at zero give the identity. The inverse is iterated within
    the box, in closed form outside.

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        order: the degree of the polynomial, at most 100.
        bound: where the straight lines begin.
        min_slope: the least slope.
        tolerance: how small a Newton step ends the search for the inverse, relative to the box.
        steps: how many steps; fewer are taken in eager mode if they suffice.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> y, log_det = Bernstein(order=4).bind((2,)).forward_and_log_det(torch.tensor([1.0, 20.0]))
        >>> [round(v, 5) for v in y.tolist()]
        [1.0, 20.0]

    References:
        Short-Term Density Forecasting of Low-Voltage Load using Bernstein-Polynomial Normalizing Flows (Arpogaus et
        al., 2022), https://arxiv.org/abs/2204.13939, eq. 5-6.
    """

    params_fn: Parameters | None = None

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The increments of the coefficients, and an offset."""
        return (self.order,), ()

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        return bernstein(
            x,
            *params,
            bound=self.bound,
            min_slope=self.min_slope,
            tolerance=self.tolerance,
            steps=self.steps,
            inverse=inverse,
        )

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"a Bernstein polynomial of degree {self.order} on [-{self.bound:g}, {self.bound:g}], straight outside."
