"""Monotone cubic splines of each coordinate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from ..ops.cubic_spline import cubic_spline
from ..parameters import Parameters
from ..specification import register
from ..types import Nested, TensorPair
from .box import Boxed, Tails, check_options


@dataclass(frozen=True, kw_only=True)
class CubicSplineOptions:
    """The options of all plans of such splines."""

    count_bins: int = 8
    bound: Nested = 3.0
    tails: Tails = "linear"
    min_bin_width: float = 1e-3
    min_bin_height: float = 1e-3
    min_derivative: float = 1e-3

    def __post_init__(self) -> None:
        """Checks the options."""
        check_options(self)
        super().__post_init__()  # type: ignore[misc]  # the plan that these are the options of


@register
@final
@dataclass(frozen=True)
class CubicSpline(CubicSplineOptions, Boxed):
    r"""A monotone cubic spline on a box, and the identity outside.

    .. math:: y = y_k + h_k \left(\delta_0\, \theta (1 - \theta)^2 + (3 - \delta_1)\, \theta^2 (1 - \theta)
              + \theta^3\right), \qquad \theta = \frac{x - x_k}{w_k}, \quad
              \delta_0 = \frac{d_k w_k}{h_k}, \quad \delta_1 = \frac{d_{k+1} w_k}{h_k}

    The widths :math:`w_k` and heights :math:`h_k` of the bins are learnable; the slopes :math:`d_k` at the inner knots
    follow from them, by Steffen's rule, which keeps each piece monotone. At the ends the slope is 1, as far as that
    does: it is kept below three slopes of the chord. All parameters at zero give the identity. The inverse is exact to
    rounding: five steps of Halley's method from the inverse of the rational quadratic with the same slopes.

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        count_bins: how many bins.
        bound: where the box ends: a number ``b`` for ``[-b, b]``, a pair ``(low, high)``, or a tuple of one of these
            for each coordinate, nested to the event's shape; a tuple of two numbers is always a pair.
        tails: ``"linear"`` for the identity outside; None for a map of the box alone, with learnable end slopes.
        min_bin_width: the least width of a bin, as a fraction of the box.
        min_bin_height: the least height of a bin, as a fraction of the box.
        min_derivative: the least slope at an end, and how far it stays below three, in slopes of the chord.

    Raises:
        OptionError, OptionTypeError: for options out of range.
        ShapeError: when bound to an event that the bounds of the coordinates do not fit.

    Example:
        >>> bound = CubicSpline(count_bins=4, tails=None).bind((2,))
        >>> sum(p.numel() for p in bound.parameters())
        20

    References:
        Cubic-Spline Flows (Durkan et al., 2019), https://arxiv.org/abs/1906.02145, section 3.1.
    """

    params_fn: Parameters | None = None

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Widths, heights and, without tails, the slopes at the two ends."""
        k = self.count_bins
        return ((k,), (k,), (2,)) if self.tails is None else ((k,), (k,))

    def _spline(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], bound: float, inverse: bool) -> TensorPair:
        return cubic_spline(
            x,
            *params,
            bound=bound,
            min_bin_width=self.min_bin_width,
            min_bin_height=self.min_bin_height,
            min_derivative=self.min_derivative,
            inverse=inverse,
        )

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"a monotone cubic spline of {self.count_bins} bins {self._where}."
