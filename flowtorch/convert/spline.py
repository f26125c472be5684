"""Rational splines made of raw numbers in the way of other libraries."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, final

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from .. import ops, options
from ..bijectors import Elementwise
from ..bijectors.spline import Order
from ..parameters import Parameters
from ..specification import register
from ..types import TensorPair
from .affine import soft_clip

# There is no least width, height or slope but for rounding; the formulas ask for one.
LEAST = 1e-18
CIRCLE: Constraint = constraints.half_open_interval(-math.pi, math.pi)


@register
@final
@dataclass(frozen=True)
class ZukoSpline(Elementwise):
    r"""The rational quadratic spline of zuko on ``[-bound, bound]``, and the identity outside.

    Widths, heights and slopes :math:`d` at inner knots are made of raw numbers that are bounded softly first, with
    :math:`c(a, b) = a / (1 + |a / b|)` and :math:`\lambda = -\log \epsilon`; the slope at the ends is 1:

    .. math:: w = 2 B \, \mathrm{softmax}(c(a_w, \lambda / 2)), \quad h = 2 B \, \mathrm{softmax}(c(a_h, \lambda / 2)),
              \quad d = \exp(c(a_d, \lambda))

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        count_bins: how many bins.
        bound: :math:`B`, where the box ends.
        slope: :math:`\epsilon`, which slopes at knots stay above; they stay below the reciprocal.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> ZukoSpline().bind((2,)).forward(torch.tensor([1.0, 6.0])).detach().round(decimals=4).tolist()
        [1.0, 6.0]

    References:
        Neural Spline Flows (Durkan et al., 2019), https://arxiv.org/abs/1906.04032; zuko's ``MonotonicRQSTransform``,
        https://zuko.readthedocs.io/stable/api/zuko.transforms.html.
    """

    params_fn: Parameters | None = None
    _: KW_ONLY
    count_bins: int = 8
    bound: float = 5.0
    slope: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        options.integer("ZukoSpline", "count_bins", self.count_bins, minimum=1)
        options.number("ZukoSpline", "bound", self.bound, above=0.0)
        options.number("ZukoSpline", "slope", self.slope, above=0.0, below=1.0)

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Widths, heights and slopes."""
        return (self.count_bins,), (self.count_bins,), (self.count_bins - 1,)

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        return zuko_spline(x, params, self.bound, self.slope, inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return (
            f"a monotone rational quadratic spline of {self.count_bins} bins on [{-self.bound:g}, {self.bound:g}], the "
            "identity outside."
        )


@register
@final
@dataclass(frozen=True)
class ZukoCircularSpline(Elementwise):
    r"""The circular spline of zuko: half a turn, and then its rational quadratic spline on :math:`[-\pi, \pi]`.

    .. math:: y = s(((x + 2\pi) \bmod 2\pi) - \pi)

    Parameters at zero give half a turn.

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        count_bins: how many bins.
        slope: which slopes at knots stay above; they stay below the reciprocal.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> y = ZukoCircularSpline().bind((2,)).forward(torch.tensor([1.0, -3.0]))
        >>> [round(v, 4) for v in y.tolist()]
        [-2.1416, 0.1416]

    References:
        Normalizing Flows on Tori and Spheres (Rezende et al., 2020), https://arxiv.org/abs/2002.02428; zuko's
        ``CircularRQSTransform``, https://zuko.readthedocs.io/stable/api/zuko.flows.spline.html.
    """

    domain: ClassVar[Constraint] = CIRCLE
    codomain: ClassVar[Constraint] = CIRCLE

    params_fn: Parameters | None = None
    _: KW_ONLY
    count_bins: int = 8
    slope: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        options.integer("ZukoCircularSpline", "count_bins", self.count_bins, minimum=1)
        options.number("ZukoCircularSpline", "slope", self.slope, above=0.0, below=1.0)

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Widths, heights and slopes."""
        return (self.count_bins,), (self.count_bins,), (self.count_bins - 1,)

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        turned = x if inverse else ops.circular_shift(x, math.pi)[0]
        y, log_derivative = zuko_spline(turned, params, math.pi, self.slope, inverse)
        # Also keeps results of the spline from being rounded to the ends.
        return ops.circular_shift(y, math.pi if inverse else 0.0)[0], log_derivative

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"half a turn, and a monotone rational quadratic spline of {self.count_bins} bins on [-pi, pi]."


@register
@final
@dataclass(frozen=True)
class PyroSpline(Elementwise):
    r"""The rational spline of Pyro and of FlowTorch 0.8 on ``[-bound, bound]``, and the identity outside.

    It is :class:`flowtorch.bijectors.Spline` but for the slope at the ends of the box, which is 0.999 there, where it
    meets a slope of 1:

    .. math:: \delta_0 = \delta_K = 1 - 10^{-3}

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        count_bins: how many bins.
        bound: where the box ends.
        order: ``"linear"`` or ``"quadratic"``.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> PyroSpline().bind((2,)).forward(torch.tensor([0.0, 4.0])).detach().round(decimals=4).tolist()
        [0.0, 4.0]

    References:
        Invertible Generative Modeling using Linear Rational Splines (Dolatabadi et al., 2020),
        https://arxiv.org/abs/2001.05168; Pyro's ``Spline``, https://docs.pyro.ai/en/stable/distributions.html.
    """

    params_fn: Parameters | None = None
    _: KW_ONLY
    count_bins: int = 8
    bound: float = 3.0
    order: Order = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        options.integer("PyroSpline", "count_bins", self.count_bins, minimum=1)
        options.number("PyroSpline", "bound", self.bound, above=0.0)
        options.one_of("PyroSpline", "order", self.order, ("linear", "quadratic"))

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Widths, heights, slopes and, for the linear order, the dividing points."""
        k = self.count_bins
        return ((k,), (k,), (k - 1,), (k,)) if self.order == "linear" else ((k,), (k,), (k - 1,))

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        widths, heights, derivatives, *lambdas = params
        # Of the raw numbers those at the ends are given too: the slope is a softplus of them and 1e-3.
        end = derivatives.new_full((*derivatives.shape[:-1], 1), _END)
        spline = ops.rational_linear_spline if lambdas else ops.rational_quadratic_spline
        slopes = torch.cat((end, derivatives, end), -1)
        return spline(x, widths, heights, slopes, *lambdas, bound=self.bound, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return (
            f"a monotone rational {self.order} spline of {self.count_bins} bins on [{-self.bound:g}, {self.bound:g}], "
            "the identity outside."
        )


def zuko_spline(
    x: torch.Tensor, params: tuple[torch.Tensor, ...], bound: float, slope: float, inverse: bool
) -> TensorPair:
    """Applies the spline of :class:`ZukoSpline`."""
    most = -math.log(slope)
    widths, heights, derivatives = (p.to(torch.promote_types(p.dtype, torch.float32)) for p in params)
    y, log_derivative = ops.rational_quadratic_spline(
        x,
        soft_clip(widths, 0.5 * most),
        soft_clip(heights, 0.5 * most),
        raw_slope(torch.exp(soft_clip(derivatives, most)), LEAST),
        bound=bound,
        min_bin_width=LEAST,
        min_bin_height=LEAST,
        min_derivative=LEAST,
        inverse=inverse,
    )
    dtype = torch.promote_types(x.dtype, params[0].dtype)
    return y.to(dtype), log_derivative.to(dtype)


def raw_slope(slope: torch.Tensor, least: float) -> torch.Tensor:
    """Returns what our splines make this slope of, beside the least."""
    rest = slope - least
    # log(expm1(s)) overflows where s is large.
    return rest + torch.log(-torch.expm1(-rest)) - slope_shift(least)


def slope_shift(least: float) -> float:
    """Returns what our splines add to raw slopes, under a softplus and beside the least, so that 0 is a slope of 1."""
    return math.log(math.expm1(1.0 - least))


_END = math.log(math.expm1(1.0 - 2e-3)) - slope_shift(1e-3)
