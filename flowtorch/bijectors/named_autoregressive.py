"""The well-known pairs of the autoregressive family and a map, by their names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ..parameters import Parameters
from ..specification import register
from .affine import Affine, AffineOptions
from .autoregressive import AutoregressiveFamily
from .bernstein import Bernstein, BernsteinOptions
from .circular_spline import CircularSpline, CircularSplineOptions
from .cubic_spline import CubicSpline, CubicSplineOptions
from .deep_sigmoid import DeepSigmoid
from .dense_deep_sigmoid import DenseDeepSigmoid, DenseDeepSigmoidOptions
from .logistic_mixture_cdf import LogisticMixtureCDF
from .numerical import MixtureOptions
from .spline import Spline, SplineOptions
from .sum_of_squares import SumOfSquares, SumOfSquaresOptions
from .unconstrained_monotonic import UnconstrainedMonotonic, UnconstrainedMonotonicOptions


@register
@final
@dataclass(frozen=True)
class AffineAutoregressive(AffineOptions, AutoregressiveFamily):
    r"""``Autoregressive(Affine(...), params_fn)``: location and scale from the coordinates before.

    .. math:: y_i = s_i(x_{<i}, c)\, x_i + \mu_i(x_{<i}, c), \qquad \log|\det dy/dx| = \sum_i \log s_i

    Two well-known recipes: ``Invert(AffineAutoregressive())`` is the masked autoregressive flow (MAF), which scores in
    one pass; ``AffineAutoregressive(scale_fn="sigmoid", gated=True)`` the inverse autoregressive flow (IAF) in the
    gated form of its paper, :math:`y = s x + (1 - s) \mu`, which samples in one pass and starts close to the identity.
    Change the network, or add and remove layers, with ``AffineAutoregressive(MADE(hidden_dims=(64, 64, 64)))``.

    Args:
        params_fn: an autoregressive conditioner; ``MADE()`` by default.
        dim: the axis along which it is autoregressive; None for the flattened event.
        inversion: how the inverse is found, see :class:`Autoregressive`.
        scale_fn: see :class:`Affine`, as for all that follow.
        clamp_values: clamps the log-scale hard.
        log_scale_min_clip: the bound of the log-scale from below.
        log_scale_max_clip: the bound of the log-scale from above.
        sigmoid_bias: what is added under the sigmoid.
        gated: the gated update of inverse autoregressive flow; needs ``scale_fn="sigmoid"``.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch
        >>> y, log_det = AffineAutoregressive(scale_fn="exp").bind((3,)).forward_and_log_det(torch.zeros(5, 3))
        >>> log_det.shape
        torch.Size([5])

    References:
        Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016), https://arxiv.org/abs/1606.04934.
        Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017), https://arxiv.org/abs/1705.07057.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> Affine:
        return self._with_my_options(Affine)


@register
@final
@dataclass(frozen=True)
class SplineAutoregressive(SplineOptions, AutoregressiveFamily):
    r"""``Autoregressive(Spline(...), params_fn)``: a rational spline with parameters from the coordinates before.

    .. math:: y_i = f(x_i; \theta_i(x_{<i}, c)), \qquad \log|\det dy/dx| = \sum_i \log f'(x_i; \theta_i)

    The network is ``params_fn``: change it, or add and remove layers, with
    ``SplineAutoregressive(MADE(hidden_dims=(64, 64, 64)))``.

    Args:
        params_fn: an autoregressive conditioner; ``MADE()`` by default.
        dim: the axis along which it is autoregressive; None for the flattened event.
        inversion: how the inverse is found, see :class:`Autoregressive`.
        count_bins: how many bins; see :class:`Spline`, as for all that follow.
        bound: where the box ends.
        tails: ``"linear"`` for the identity outside; None for a map of the box alone.
        order: ``"linear"`` or ``"quadratic"``.
        min_bin_width: the least width of a bin, as a fraction of the box.
        min_bin_height: the least height of a bin, as a fraction of the box.
        min_derivative: the least slope at an inner knot.
        min_lambda: the least distance of a bin's dividing point from its ends (linear order).

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch
        >>> SplineAutoregressive(order="quadratic").bind((3,)).forward(torch.zeros(5, 3)).shape
        torch.Size([5, 3])

    References:
        Neural Spline Flows (Durkan et al., 2019), https://arxiv.org/abs/1906.04032, sec. 3.2.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> Spline:
        return self._with_my_options(Spline)


@register
@final
@dataclass(frozen=True)
class NeuralAutoregressive(MixtureOptions, AutoregressiveFamily):
    r"""``Autoregressive(DeepSigmoid(...), params_fn)`` by its usual name.

    .. math:: y_i = f(x_i; \theta_i(x_{<i}, c)), \qquad \log|\det dy/dx| = \sum_i \log f'(x_i; \theta_i)

    with :math:`f` the logit of a mixture of sigmoids.

    Args:
        params_fn: an autoregressive conditioner; ``MADE()`` by default.
        dim: the axis along which it is autoregressive; None for the flattened event.
        inversion: how the inverse is found, see :class:`Autoregressive`.
        count_components: see :class:`DeepSigmoid`, as for all that follow.
        tolerance, steps: those of the search for the inverse.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch
        >>> NeuralAutoregressive(count_components=4).bind((3,)).forward(torch.zeros(5, 3)).shape
        torch.Size([5, 3])

    References:
        Neural Autoregressive Flows (Huang et al., 2018), https://arxiv.org/abs/1804.00779, sec. 3.1, with DSF.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> DeepSigmoid:
        return self._with_my_options(DeepSigmoid)


@register
@final
@dataclass(frozen=True)
class DenseNeuralAutoregressive(DenseDeepSigmoidOptions, AutoregressiveFamily):
    r"""``Autoregressive(DenseDeepSigmoid(...), params_fn)`` by its usual name.

    .. math:: y_i = f(x_i; \theta_i(x_{<i}, c)), \qquad \log|\det dy/dx| = \sum_i \log f'(x_i; \theta_i)

    with :math:`f` layers of mixtures of sigmoids.

    Args:
        params_fn: an autoregressive conditioner; ``MADE()`` by default.
        dim: the axis along which it is autoregressive; None for the flattened event.
        inversion: how the inverse is found, see :class:`Autoregressive`.
        hidden_dims: see :class:`DenseDeepSigmoid`, as for all that follow.
        tolerance, steps: those of the search for the inverse.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch
        >>> DenseNeuralAutoregressive(hidden_dims=(4,)).bind((3,)).forward(torch.zeros(5, 3)).shape
        torch.Size([5, 3])

    References:
        Neural Autoregressive Flows (Huang et al., 2018), https://arxiv.org/abs/1804.00779, sec. 3.2, with DDSF.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> DenseDeepSigmoid:
        return self._with_my_options(DenseDeepSigmoid)


@register
@final
@dataclass(frozen=True)
class UnconstrainedMonotonicAutoregressive(UnconstrainedMonotonicOptions, AutoregressiveFamily):
    r"""``Autoregressive(UnconstrainedMonotonic(...), params_fn)`` by its usual name.

    .. math:: y_i = f(x_i; \theta_i(x_{<i}, c)), \qquad \log|\det dy/dx| = \sum_i \log f'(x_i; \theta_i)

    with :math:`f` the integral of a positive network.

    Args:
        params_fn: an autoregressive conditioner; ``MADE()`` by default.
        dim: the axis along which it is autoregressive; None for the flattened event.
        inversion: how the inverse is found, see :class:`Autoregressive`.
        hidden_dims: see :class:`UnconstrainedMonotonic`, as for all that follow.
        nonlinearity: the class of the network's activations.
        count_conditions: the length of the conditioning vector.
        nodes: how many nodes the quadrature has.
        quadrature: which rule.
        bound: where the box ends.
        tolerance, steps: those of the search for the inverse.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch
        >>> UnconstrainedMonotonicAutoregressive(hidden_dims=(8,)).bind((3,)).forward(torch.zeros(5, 3)).shape
        torch.Size([5, 3])

    References:
        Unconstrained Monotonic Neural Networks (Wehenkel and Louppe, 2019), https://arxiv.org/abs/1908.05164, sec. 4.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> UnconstrainedMonotonic:
        return self._with_my_options(UnconstrainedMonotonic)


@register
@final
@dataclass(frozen=True)
class PolynomialAutoregressive(SumOfSquaresOptions, AutoregressiveFamily):
    r"""``Autoregressive(SumOfSquares(...), params_fn)`` by its usual name.

    .. math:: y_i = f(x_i; \theta_i(x_{<i}, c)), \qquad \log|\det dy/dx| = \sum_i \log f'(x_i; \theta_i)

    with :math:`f` the integral of a sum of squared polynomials.

    Args:
        params_fn: an autoregressive conditioner; ``MADE()`` by default.
        dim: the axis along which it is autoregressive; None for the flattened event.
        inversion: how the inverse is found, see :class:`Autoregressive`.
        degree: see :class:`SumOfSquares`, as for all that follow.
        count_polynomials: how many are squared and summed.
        min_slope: the least slope.
        tolerance, steps: those of the search for the inverse.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch
        >>> PolynomialAutoregressive(degree=1).bind((3,)).forward(torch.zeros(5, 3)).shape
        torch.Size([5, 3])

    References:
        Sum-of-Squares Polynomial Flow (Jaini et al., 2019), https://arxiv.org/abs/1905.02325, sec. 3.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> SumOfSquares:
        return self._with_my_options(SumOfSquares)


@register
@final
@dataclass(frozen=True)
class BernsteinAutoregressive(BernsteinOptions, AutoregressiveFamily):
    r"""``Autoregressive(Bernstein(...), params_fn)`` by its usual name.

    .. math:: y_i = f(x_i; \theta_i(x_{<i}, c)), \qquad \log|\det dy/dx| = \sum_i \log f'(x_i; \theta_i)

    with :math:`f` a Bernstein polynomial.

    Args:
        params_fn: an autoregressive conditioner; ``MADE()`` by default.
        dim: the axis along which it is autoregressive; None for the flattened event.
        inversion: how the inverse is found, see :class:`Autoregressive`.
        order: see :class:`Bernstein`, as for all that follow.
        bound: where the box ends.
        min_slope: the least slope.
        tolerance, steps: those of the search for the inverse.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch
        >>> BernsteinAutoregressive(order=8).bind((3,)).forward(torch.zeros(5, 3)).shape
        torch.Size([5, 3])

    References:
        Short-Term Density Forecasting of Low-Voltage Load using Bernstein-Polynomial Normalizing Flows (Arpogaus
        et al., 2022), https://arxiv.org/abs/2204.13939.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> Bernstein:
        return self._with_my_options(Bernstein)


@register
@final
@dataclass(frozen=True)
class MixtureAutoregressive(MixtureOptions, AutoregressiveFamily):
    r"""``Autoregressive(LogisticMixtureCDF(...), params_fn)`` by its usual name.

    .. math:: y_i = f(x_i; \theta_i(x_{<i}, c)), \qquad \log|\det dy/dx| = \sum_i \log f'(x_i; \theta_i)

    with :math:`f` the logit of the distribution function of a mixture of logistics.

    Args:
        params_fn: an autoregressive conditioner; ``MADE()`` by default.
        dim: the axis along which it is autoregressive; None for the flattened event.
        inversion: how the inverse is found, see :class:`Autoregressive`.
        count_components: see :class:`LogisticMixtureCDF`, as for all that follow.
        tolerance, steps: those of the search for the inverse.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch
        >>> MixtureAutoregressive(count_components=4).bind((3,)).forward(torch.zeros(5, 3)).shape
        torch.Size([5, 3])

    References:
        Flow++ (Ho et al., 2019), https://arxiv.org/abs/1902.00275, eq. 12-15, for the map.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> LogisticMixtureCDF:
        return self._with_my_options(LogisticMixtureCDF)


@register
@final
@dataclass(frozen=True)
class CircularSplineAutoregressive(CircularSplineOptions, AutoregressiveFamily):
    r"""``Autoregressive(CircularSpline(...), params_fn)`` by its usual name.

    .. math:: y_i = f(x_i; \theta_i(x_{<i}, c)), \qquad \log|\det dy/dx| = \sum_i \log f'(x_i; \theta_i)

    with :math:`f` a rational quadratic spline around the circle.

    Args:
        params_fn: an autoregressive conditioner; ``MADE()`` by default.
        dim: the axis along which it is autoregressive; None for the flattened event.
        inversion: how the inverse is found, see :class:`Autoregressive`.
        count_bins: see :class:`CircularSpline`, as for all that follow.
        min_bin_width, min_bin_height, min_derivative: the least of each.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch
        >>> CircularSplineAutoregressive(count_bins=4).bind((3,)).forward(torch.zeros(5, 3)).shape
        torch.Size([5, 3])

    References:
        Normalizing Flows on Tori and Spheres (Rezende et al., 2020), https://arxiv.org/abs/2002.02428, sec. 2.2.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> CircularSpline:
        return self._with_my_options(CircularSpline)


@register
@final
@dataclass(frozen=True)
class CubicSplineAutoregressive(CubicSplineOptions, AutoregressiveFamily):
    r"""``Autoregressive(CubicSpline(...), params_fn)`` by its usual name.

    .. math:: y_i = f(x_i; \theta_i(x_{<i}, c)), \qquad \log|\det dy/dx| = \sum_i \log f'(x_i; \theta_i)

    with :math:`f` a monotone cubic spline.

    Args:
        params_fn: an autoregressive conditioner; ``MADE()`` by default.
        dim: the axis along which it is autoregressive; None for the flattened event.
        inversion: how the inverse is found, see :class:`Autoregressive`.
        count_bins: see :class:`CubicSpline`, as for all that follow.
        bound: where the box ends.
        tails: what is outside of it.
        min_bin_width, min_bin_height, min_derivative: the least of each.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch
        >>> CubicSplineAutoregressive(count_bins=4).bind((3,)).forward(torch.zeros(5, 3)).shape
        torch.Size([5, 3])

    References:
        Cubic-Spline Flows (Durkan et al., 2019), https://arxiv.org/abs/1906.02145, sec. 3.
    """

    params_fn: Parameters | None = None

    def _elementwise(self) -> CubicSpline:
        return self._with_my_options(CubicSpline)
