"""Monotone quadratic splines of each coordinate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from ..ops.quadratic_spline import quadratic_spline
from ..parameters import Parameters
from ..specification import register
from ..types import Nested, TensorPair
from .box import Boxed, Tails, check_options


@dataclass(frozen=True, kw_only=True)
class QuadraticSplineOptions:
    """The options of all plans of such splines."""

    count_bins: int = 8
    bound: Nested = 3.0
    tails: Tails = "linear"
    min_bin_width: float = 1e-3
    min_derivative: float = 1e-3

    def __post_init__(self) -> None:
        """Checks the options."""
        check_options(self)
        super().__post_init__()  # type: ignore[misc]  # the plan that these are the options of


@register
@final
@dataclass(frozen=True)
class QuadraticSpline(QuadraticSplineOptions, Boxed):
    r"""A monotone quadratic spline on a box, its slope piecewise linear and continuous, and the identity outside.

    .. math:: \frac{dy}{dx} = (1 - \theta)\, d_k + \theta\, d_{k+1}, \qquad
              y = y_k + w_k \left(d_k \theta + \tfrac{1}{2} (d_{k+1} - d_k)\, \theta^2\right), \qquad
              \theta = \frac{x - x_k}{w_k}

    The widths :math:`w_k` of the bins and the slopes :math:`d_k` at the inner knots are learnable, the latter up to the
    factor that maps the box onto itself; at the ends the slope is 1. All parameters at zero give the identity. It is
    not ``Spline(order="quadratic")``, whose pieces are quotients of quadratics.

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        count_bins: how many bins.
        bound: where the box ends: a number ``b`` for ``[-b, b]``, a pair ``(low, high)``, or a tuple of one of these
            for each coordinate, nested to the event's shape; a tuple of two numbers is always a pair.
        tails: ``"linear"`` for the identity outside; None for a map of the box alone, with learnable end slopes.
        min_bin_width: the least width of a bin, as a fraction of the box.
        min_derivative: the least slope at a knot.

    Raises:
        OptionError, OptionTypeError: for options out of range.
        ShapeError: when bound to an event that the bounds of the coordinates do not fit.

    Example:
        >>> bound = QuadraticSpline(count_bins=4).bind((2,))
        >>> sum(p.numel() for p in bound.parameters())
        14

    References:
        Neural Importance Sampling (Mueller et al., 2019), https://arxiv.org/abs/1808.03856, section 4.2.
    """

    params_fn: Parameters | None = None

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Widths and slopes."""
        k = self.count_bins
        return (k,), (k + 1 if self.tails is None else k - 1,)

    def _spline(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], bound: float, inverse: bool) -> TensorPair:
        return quadratic_spline(
            x,
            *params,
            bound=bound,
            min_bin_width=self.min_bin_width,
            min_derivative=self.min_derivative,
            inverse=inverse,
        )

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"a monotone quadratic spline of {self.count_bins} bins {self._where}."
