"""Monotone rational splines of each coordinate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, final

import torch

from .. import ops, options
from ..parameters import Parameters
from ..specification import register
from ..types import Nested, TensorPair
from .box import Boxed, Tails, check_options

Order: TypeAlias = Literal["linear", "quadratic"]


@dataclass(frozen=True, kw_only=True)
class SplineOptions:
    """The options of all plans of rational splines."""

    count_bins: int = 8
    bound: Nested = 3.0
    order: Order = "linear"
    min_bin_width: float = 1e-3
    min_bin_height: float = 1e-3
    min_derivative: float = 1e-3
    min_lambda: float = 0.025
    tails: Tails = "linear"

    def __post_init__(self) -> None:
        """Checks the options."""
        who = type(self).__name__
        check_options(self)
        options.one_of(who, "order", self.order, ("linear", "quadratic"))
        options.number(who, "min_lambda", self.min_lambda, above=0.0, below=0.5)
        super().__post_init__()  # type: ignore[misc]  # the plan that these are the options of


@register
@final
@dataclass(frozen=True)
class Spline(SplineOptions, Boxed):
    r"""A monotone rational spline on ``[-bound, bound]`` and the identity outside.

    The box is cut into ``count_bins`` bins of learnable widths and heights, with learnable slopes at the inner knots
    and slope 1 at the ends; without tails, the box is all there is, and the slopes at its ends are learnable too.
    Between two knots the map is a quotient of quadratics (``order="quadratic"``) or two quotients of linear functions
    that meet at a learnable point (``order="linear"``). For the first, with :math:`\xi` the position within bin
    :math:`k`, :math:`s_k` its mean slope, :math:`\delta` the slopes at its knots:

    .. math:: y = y_k + \frac{(y_{k+1} - y_k)(s_k \xi^2 + \delta_k \xi (1 - \xi))}
              {s_k + (\delta_{k+1} + \delta_k - 2 s_k) \xi (1 - \xi)}

    All parameters at zero give the identity.

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        count_bins: how many bins.
        bound: where the box ends and the identity begins; standardise the data so that little lies outside. A number
            ``b`` for ``[-b, b]``, a pair ``(low, high)``, or a tuple of one of these for each coordinate, nested to the
            event's shape; a tuple of two numbers is always a pair.
        order: ``"linear"`` or ``"quadratic"``.
        min_bin_width: the least width of a bin, as a fraction of the box.
        min_bin_height: the least height of a bin, as a fraction of the box.
        min_derivative: the least slope at an inner knot.
        min_lambda: the least distance, in bins, of a bin's dividing point from its ends (linear order).
        tails: ``"linear"`` for the identity outside; None for a map of the box alone.

    Raises:
        OptionError, OptionTypeError: for options out of range.
        ShapeError: when bound to an event that the bounds of the coordinates do not fit.

    Example:
        >>> bound = Spline(count_bins=4, order="quadratic").bind((2,))
        >>> sum(p.numel() for p in bound.parameters())
        22

    References:
        Neural Spline Flows (Durkan et al., 2019), https://arxiv.org/abs/1906.04032, eq. 4.
        Invertible Generative Modeling using Linear Rational Splines (Dolatabadi et al., 2020), https://arxiv.org/abs/2001.05168.
    """

    params_fn: Parameters | None = None

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Widths, heights, slopes and, for the linear order, the dividing points."""
        k = self.count_bins
        slopes = k + 1 if self.tails is None else k - 1
        return ((k,), (k,), (slopes,), (k,)) if self.order == "linear" else ((k,), (k,), (slopes,))

    def _spline(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], bound: float, inverse: bool) -> TensorPair:
        if self.order == "quadratic":
            widths, heights, derivatives = params
            return ops.rational_quadratic_spline(
                x,
                widths,
                heights,
                derivatives,
                bound=bound,
                min_bin_width=self.min_bin_width,
                min_bin_height=self.min_bin_height,
                min_derivative=self.min_derivative,
                inverse=inverse,
            )
        widths, heights, derivatives, lambdas = params
        return ops.rational_linear_spline(
            x,
            widths,
            heights,
            derivatives,
            lambdas,
            bound=bound,
            min_bin_width=self.min_bin_width,
            min_bin_height=self.min_bin_height,
            min_derivative=self.min_derivative,
            min_lambda=self.min_lambda,
            inverse=inverse,
        )

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"a monotone rational {self.order} spline of {self.count_bins} bins {self._where}."

    def explain(self) -> str:
        """Returns how it is structured, how many parameters it has and how gradients flow, in words."""
        k, linear, boxed = self.count_bins, self.order == "linear", self.tails is None
        least = f"at least {self.min_bin_width:g} and {self.min_bin_height:g} of the box"
        ends = "those at the ends among them" if boxed else "those at the ends being 1"
        cuts = (
            f", and {k} points that cut the bins in two, {self.min_lambda:g} or more from their ends" if linear else ""
        )
        outside = "" if boxed else "; outside, x gets them as they are, and the parameters none"
        return super().explain() + (
            f"\n  Structure: the box has K = {k} bins between {k + 1} knots, cumulative sums of softmaxes of K widths "
            f"and of K heights ({least}). There are {self.param_shapes[2][0]} slopes at knots, {ends}{cuts}."
            f"\n  Parameters: {4 if linear else 3} K {'+' if boxed else '-'} 1 for each coordinate, all at zero for "
            "the identity. Alone, they are free or from the context; in Autoregressive(Spline()) also from the "
            "coordinates before, by MADE(); in Coupling(Spline()) from those that stay, by DenseNN()."
            "\n  Gradients: in the box they go by the formula of the bin that x, or y, is in: to it, to the slopes at "
            f"the two knots{' and the cut' if linear else ''}, and through cumulative sums and softmaxes to all "
            f"widths and heights{outside}."
        )
