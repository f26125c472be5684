"""Monotone splines of angles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch.distributions.constraints import Constraint

from .. import ops
from ..parameters import Parameters
from ..specification import register
from ..types import TensorPair
from .box import check_options, within
from .circular import CircularShift
from .elementwise import Elementwise


@dataclass(frozen=True, kw_only=True)
class CircularSplineOptions:
    """The options of all plans of such splines."""

    count_bins: int = 8
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
class CircularSpline(CircularSplineOptions, Elementwise):
    r"""A monotone rational quadratic spline of each angle in :math:`[-\pi, \pi)`, as smooth at the seam as elsewhere.

    .. math:: f(-\pi) = -\pi, \qquad f(\pi) = \pi, \qquad f'(-\pi) = f'(\pi)

    Between two knots it is that of ``Spline(order="quadratic")``. The widths and heights of the bins are learnable, and
    the slopes at all knots, the seam among them, which is one knot. As the seam stays where it is, compose it with
    ``CircularShift`` to move it. All parameters at zero give the identity. The end itself, a set of measure zero,
    counts as outside.

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        count_bins: how many bins.
        min_bin_width: the least width of a bin, as a fraction of the circle.
        min_bin_height: the least height of a bin, as a fraction of the circle.
        min_derivative: the least slope at a knot.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> from flowtorch.bijectors import CircularShift, Compose
        >>> flow = Compose([CircularShift(), CircularSpline(count_bins=4), CircularShift()]).bind((2,))
        >>> sum(p.numel() for p in flow.parameters())
        28

    References:
        Normalizing Flows on Tori and Spheres (Rezende et al., 2020), https://arxiv.org/abs/2002.02428, section 2.1.2.
    """

    domain: ClassVar[Constraint] = CircularShift.domain
    codomain: ClassVar[Constraint] = CircularShift.domain

    params_fn: Parameters | None = None

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Widths, heights and slopes: as many knots as bins, as there are on a circle."""
        k = self.count_bins
        return (k,), (k,), (k,)

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        widths, heights, derivatives = params
        y, log_derivative = ops.rational_quadratic_spline(
            x,
            widths,
            heights,
            torch.cat((derivatives, derivatives[..., :1]), -1),
            bound=math.pi,
            min_bin_width=self.min_bin_width,
            min_bin_height=self.min_bin_height,
            min_derivative=self.min_derivative,
            inverse=inverse,
        )
        return within(y, -math.pi, math.pi), log_derivative

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"a monotone rational quadratic spline of {self.count_bins} bins around the circle."
