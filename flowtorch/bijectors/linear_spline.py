"""Monotone piecewise linear splines of each coordinate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from ..ops.linear_spline import linear_spline
from ..parameters import Parameters
from ..specification import register
from ..types import Nested, TensorPair
from .box import Boxed, Tails, check_options


@dataclass(frozen=True, kw_only=True)
class LinearSplineOptions:
    """The options of all plans of such splines."""

    count_bins: int = 8
    bound: Nested = 3.0
    tails: Tails = "linear"
    min_bin_height: float = 1e-3

    def __post_init__(self) -> None:
        """Checks the options."""
        check_options(self)
        super().__post_init__()  # type: ignore[misc]  # the plan that these are the options of


@register
@final
@dataclass(frozen=True)
class LinearSpline(LinearSplineOptions, Boxed):
    r"""A monotone spline of straight pieces over equal bins of a box, and the identity outside.

    .. math:: y = y_k + (y_{k+1} - y_k) \frac{x - x_k}{x_{k+1} - x_k}, \qquad
              \frac{dy}{dx} = \frac{y_{k+1} - y_k}{x_{k+1} - x_k}

    The heights of the bins are learnable; their widths are not, as the density jumps at the knots, and the gradient of
    a knot's place would not see it. All parameters at zero give the identity.

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        count_bins: how many bins.
        bound: where the box ends: a number ``b`` for ``[-b, b]``, a pair ``(low, high)``, or a tuple of one of these
            for each coordinate, nested to the event's shape; a tuple of two numbers is always a pair.
        tails: ``"linear"`` for the identity outside; None for a map of the box alone.
        min_bin_height: the least height of a bin, as a fraction of the box.

    Raises:
        OptionError, OptionTypeError: for options out of range.
        ShapeError: when bound to an event that the bounds of the coordinates do not fit.

    Example:
        >>> bound = LinearSpline(count_bins=4, bound=(0.0, 1.0), tails=None).bind((2,))
        >>> bound.forward(torch.tensor([0.25, 0.7])).tolist()
        [0.25, 0.699999988079071]

    References:
        Neural Importance Sampling (Mueller et al., 2019), https://arxiv.org/abs/1808.03856, section 4.1.
    """

    params_fn: Parameters | None = None

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Heights."""
        return ((self.count_bins,),)

    def _spline(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], bound: float, inverse: bool) -> TensorPair:
        return linear_spline(x, *params, bound=bound, min_bin_height=self.min_bin_height, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"a monotone linear spline of {self.count_bins} equal bins {self._where}."
