"""The well-known pairs of the coupling family and a map, by their names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ..parameters import Parameters
from ..specification import register
from .affine import Affine, AffineOptions, Shift
from .bernstein import Bernstein, BernsteinOptions
from .circular_spline import CircularSpline, CircularSplineOptions
from .coupling import CouplingFamily
from .cubic_spline import CubicSpline, CubicSplineOptions
from .linear_spline import LinearSpline, LinearSplineOptions
from .logistic_mixture_cdf import LogisticMixtureCDF
from .numerical import MixtureOptions
from .quadratic_spline import QuadraticSpline, QuadraticSplineOptions
from .spline import Spline, SplineOptions


@register
@final
@dataclass(frozen=True)
class AffineCoupling(AffineOptions, CouplingFamily):
    r"""``Coupling(Affine(...), params_fn)``: location and scale of one part from the other.

    .. math:: y_A = x_A, \quad y_B = s(x_A, c)\, x_B + \mu(x_A, c), \qquad \log|\det dy/dx| = \sum_{i \in B} \log s_i

    Args:
        params_fn: the conditioner; ``DenseNN()`` by default.
        mask: what is left untouched, see :class:`Coupling`.
        split: instead of a mask, how many coordinates from the front are untouched.
        swap: exchanges the two parts.
        dim: the axis that is split; None for the flattened event.
        untouched: an elementwise map of the part that drives.
        scale_fn: see :class:`Affine`, as for all that follow.
        clamp_values: clamps the log-scale hard.
        log_scale_min_clip: the bound of the log-scale from below.
        log_scale_max_clip: the bound of the log-scale from above.
        sigmoid_bias: what is added under the sigmoid.
        gated: the gated update of inverse autoregressive flow; needs ``scale_fn="sigmoid"``.

    Raises:
        OptionError, OptionTypeError, DomainError: for options out of range.

    Example:
        >>> import torch
        >>> AffineCoupling(mask="alternate", swap=True).bind((4,)).forward(torch.ones(4)).shape
        torch.Size([4])

    References:
        Density estimation using Real NVP (Dinh et al., 2017), https://arxiv.org/abs/1605.08803, eq. 4-8.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> Affine:
        return self._with_my_options(Affine)


@register
@final
@dataclass(frozen=True)
class AdditiveCoupling(CouplingFamily):
    r"""``Coupling(Shift(), params_fn)``: a shift of one part by a function of the other; it keeps volumes.

    .. math:: y_A = x_A, \quad y_B = x_B + \mu(x_A, c), \qquad \log|\det dy/dx| = 0

    Args:
        params_fn: the conditioner; ``DenseNN()`` by default.
        mask: what is left untouched, see :class:`Coupling`.
        split: instead of a mask, how many coordinates from the front are untouched.
        swap: exchanges the two parts.
        dim: the axis that is split; None for the flattened event.
        untouched: an elementwise map of the part that drives.

    Raises:
        OptionError, OptionTypeError, DomainError: for options out of range.

    Example:
        >>> import torch
        >>> AdditiveCoupling().bind((4,)).forward_and_log_det(torch.ones(4))[1].item()
        0.0

    References:
        NICE: Non-linear Independent Components Estimation (Dinh et al., 2015), https://arxiv.org/abs/1410.8516, sec.
        3.2.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> Shift:
        return Shift()


@register
@final
@dataclass(frozen=True)
class SplineCoupling(SplineOptions, CouplingFamily):
    r"""``Coupling(Spline(...), params_fn)``: a rational spline of one part with parameters from the other.

    .. math:: y_A = x_A, \quad y_B = f(x_B; \theta(x_A, c)), \qquad
              \log|\det dy/dx| = \sum_{i \in B} \log f'(x_i; \theta_i)

    Args:
        params_fn: the conditioner; ``DenseNN()`` by default.
        mask: what is left untouched, see :class:`Coupling`.
        split: instead of a mask, how many coordinates from the front are untouched.
        swap: exchanges the two parts.
        dim: the axis that is split; None for the flattened event.
        untouched: an elementwise map of the part that drives; the paper has a spline there.
        count_bins: how many bins; see :class:`Spline`, as for all that follow.
        bound: where the box ends.
        tails: ``"linear"`` for the identity outside; None for a map of the box alone.
        order: ``"linear"`` or ``"quadratic"``.
        min_bin_width: the least width of a bin, as a fraction of the box.
        min_bin_height: the least height of a bin, as a fraction of the box.
        min_derivative: the least slope at an inner knot.
        min_lambda: the least distance of a bin's dividing point from its ends (linear order).

    Raises:
        OptionError, OptionTypeError, DomainError: for options out of range.

    Example:
        >>> import torch
        >>> from flowtorch.bijectors import Spline
        >>> SplineCoupling(count_bins=16, untouched=Spline()).bind((4,)).forward(torch.ones(4)).shape
        torch.Size([4])

    References:
        Neural Spline Flows (Durkan et al., 2019), https://arxiv.org/abs/1906.04032, sec. 3.2.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> Spline:
        return self._with_my_options(Spline)


@register
@final
@dataclass(frozen=True)
class MixtureCoupling(MixtureOptions, CouplingFamily):
    r"""``Coupling(LogisticMixtureCDF(...), params_fn)`` by its usual name.

    .. math:: y_A = x_A, \quad y_B = f(x_B; \theta(x_A, c)), \qquad
              \log|\det dy/dx| = \sum_{i \in B} \log f'(x_i; \theta_i)

    with :math:`f` the logit of the distribution function of a mixture of logistics.

    Args:
        params_fn: the conditioner; ``DenseNN()`` by default.
        mask: what is left untouched, see :class:`Coupling`.
        split: instead of a mask, how many coordinates from the front are untouched.
        swap: exchanges the two parts.
        dim: the axis that is split; None for the flattened event.
        untouched: an elementwise map of the part that drives.
        count_components: see :class:`LogisticMixtureCDF`, as for all that follow.
        tolerance, steps: those of the search for the inverse.

    Raises:
        OptionError, OptionTypeError, DomainError: for options out of range.

    Example:
        >>> import torch
        >>> MixtureCoupling(count_components=4).bind((4,)).forward(torch.ones(4)).shape
        torch.Size([4])

    References:
        Flow++ (Ho et al., 2019), https://arxiv.org/abs/1902.00275, eq. 12-15.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> LogisticMixtureCDF:
        return self._with_my_options(LogisticMixtureCDF)


@register
@final
@dataclass(frozen=True)
class BernsteinCoupling(BernsteinOptions, CouplingFamily):
    r"""``Coupling(Bernstein(...), params_fn)`` by its usual name.

    .. math:: y_A = x_A, \quad y_B = f(x_B; \theta(x_A, c)), \qquad
              \log|\det dy/dx| = \sum_{i \in B} \log f'(x_i; \theta_i)

    with :math:`f` a Bernstein polynomial.

    Args:
        params_fn: the conditioner; ``DenseNN()`` by default.
        mask: what is left untouched, see :class:`Coupling`.
        split: instead of a mask, how many coordinates from the front are untouched.
        swap: exchanges the two parts.
        dim: the axis that is split; None for the flattened event.
        untouched: an elementwise map of the part that drives.
        order: see :class:`Bernstein`, as for all that follow.
        bound: where the box ends.
        min_slope: the least slope.
        tolerance, steps: those of the search for the inverse.

    Raises:
        OptionError, OptionTypeError, DomainError: for options out of range.

    Example:
        >>> import torch
        >>> BernsteinCoupling(order=8).bind((4,)).forward(torch.ones(4)).shape
        torch.Size([4])

    References:
        Short-Term Density Forecasting of Low-Voltage Load using Bernstein-Polynomial Normalizing Flows (Arpogaus
        et al., 2022), https://arxiv.org/abs/2204.13939, for the map.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> Bernstein:
        return self._with_my_options(Bernstein)


@register
@final
@dataclass(frozen=True)
class CircularSplineCoupling(CircularSplineOptions, CouplingFamily):
    r"""``Coupling(CircularSpline(...), params_fn)`` by its usual name.

    .. math:: y_A = x_A, \quad y_B = f(x_B; \theta(x_A, c)), \qquad
              \log|\det dy/dx| = \sum_{i \in B} \log f'(x_i; \theta_i)

    with :math:`f` a rational quadratic spline around the circle.

    Args:
        params_fn: the conditioner; ``DenseNN()`` by default.
        mask: what is left untouched, see :class:`Coupling`.
        split: instead of a mask, how many coordinates from the front are untouched.
        swap: exchanges the two parts.
        dim: the axis that is split; None for the flattened event.
        untouched: an elementwise map of the part that drives.
        count_bins: see :class:`CircularSpline`, as for all that follow.
        min_bin_width, min_bin_height, min_derivative: the least of each.

    Raises:
        OptionError, OptionTypeError, DomainError: for options out of range.

    Example:
        >>> import torch
        >>> CircularSplineCoupling(count_bins=4).bind((4,)).forward(torch.ones(4)).shape
        torch.Size([4])

    References:
        Normalizing Flows on Tori and Spheres (Rezende et al., 2020), https://arxiv.org/abs/2002.02428, sec. 2.2.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> CircularSpline:
        return self._with_my_options(CircularSpline)


@register
@final
@dataclass(frozen=True)
class LinearSplineCoupling(LinearSplineOptions, CouplingFamily):
    r"""``Coupling(LinearSpline(...), params_fn)`` by its usual name.

    .. math:: y_A = x_A, \quad y_B = f(x_B; \theta(x_A, c)), \qquad
              \log|\det dy/dx| = \sum_{i \in B} \log f'(x_i; \theta_i)

    with :math:`f` a monotone linear spline.

    Args:
        params_fn: the conditioner; ``DenseNN()`` by default.
        mask: what is left untouched, see :class:`Coupling`.
        split: instead of a mask, how many coordinates from the front are untouched.
        swap: exchanges the two parts.
        dim: the axis that is split; None for the flattened event.
        untouched: an elementwise map of the part that drives.
        count_bins: see :class:`LinearSpline`, as for all that follow.
        bound: where the box ends.
        tails: what is outside of it.
        min_bin_height: the least height of a bin.

    Raises:
        OptionError, OptionTypeError, DomainError: for options out of range.

    Example:
        >>> import torch
        >>> LinearSplineCoupling(count_bins=4).bind((4,)).forward(torch.ones(4)).shape
        torch.Size([4])

    References:
        Neural Importance Sampling (Mueller et al., 2019), https://arxiv.org/abs/1808.03856, sec. 4.1.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> LinearSpline:
        return self._with_my_options(LinearSpline)


@register
@final
@dataclass(frozen=True)
class QuadraticSplineCoupling(QuadraticSplineOptions, CouplingFamily):
    r"""``Coupling(QuadraticSpline(...), params_fn)`` by its usual name.

    .. math:: y_A = x_A, \quad y_B = f(x_B; \theta(x_A, c)), \qquad
              \log|\det dy/dx| = \sum_{i \in B} \log f'(x_i; \theta_i)

    with :math:`f` a monotone quadratic spline.

    Args:
        params_fn: the conditioner; ``DenseNN()`` by default.
        mask: what is left untouched, see :class:`Coupling`.
        split: instead of a mask, how many coordinates from the front are untouched.
        swap: exchanges the two parts.
        dim: the axis that is split; None for the flattened event.
        untouched: an elementwise map of the part that drives.
        count_bins: see :class:`QuadraticSpline`, as for all that follow.
        bound: where the box ends.
        tails: what is outside of it.
        min_bin_width: the least width of a bin.
        min_derivative: the least slope at a knot.

    Raises:
        OptionError, OptionTypeError, DomainError: for options out of range.

    Example:
        >>> import torch
        >>> QuadraticSplineCoupling(count_bins=4).bind((4,)).forward(torch.ones(4)).shape
        torch.Size([4])

    References:
        Neural Importance Sampling (Mueller et al., 2019), https://arxiv.org/abs/1808.03856, sec. 4.2.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> QuadraticSpline:
        return self._with_my_options(QuadraticSpline)


@register
@final
@dataclass(frozen=True)
class CubicSplineCoupling(CubicSplineOptions, CouplingFamily):
    r"""``Coupling(CubicSpline(...), params_fn)`` by its usual name.

    .. math:: y_A = x_A, \quad y_B = f(x_B; \theta(x_A, c)), \qquad
              \log|\det dy/dx| = \sum_{i \in B} \log f'(x_i; \theta_i)

    with :math:`f` a monotone cubic spline.

    Args:
        params_fn: the conditioner; ``DenseNN()`` by default.
        mask: what is left untouched, see :class:`Coupling`.
        split: instead of a mask, how many coordinates from the front are untouched.
        swap: exchanges the two parts.
        dim: the axis that is split; None for the flattened event.
        untouched: an elementwise map of the part that drives.
        count_bins: see :class:`CubicSpline`, as for all that follow.
        bound: where the box ends.
        tails: what is outside of it.
        min_bin_width, min_bin_height, min_derivative: the least of each.

    Raises:
        OptionError, OptionTypeError, DomainError: for options out of range.

    Example:
        >>> import torch
        >>> CubicSplineCoupling(count_bins=4).bind((4,)).forward(torch.ones(4)).shape
        torch.Size([4])

    References:
        Cubic-Spline Flows (Durkan et al., 2019), https://arxiv.org/abs/1906.02145, sec. 3.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> CubicSpline:
        return self._with_my_options(CubicSpline)
