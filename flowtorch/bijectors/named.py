"""The well-known pairs of a family and a map, by their names."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import final

from ..parameters import Parameters
from ..specification import register
from .affine import Affine, AffineOptions, Shift
from .autoregressive import AutoregressiveFamily
from .coupling import CouplingFamily, Mask
from .elementwise import Elementwise
from .spline import Spline, SplineOptions


@register
@final
@dataclass(frozen=True)
class AffineAutoregressive(AffineOptions, AutoregressiveFamily):
    r"""``Autoregressive(Affine(...), params_fn)``: location and scale from the coordinates before.

    .. math:: y_i = s_i(x_{<i}, c)\, x_i + \mu_i(x_{<i}, c), \qquad \log|\det dy/dx| = \sum_i \log s_i

    As it stands it is an inverse autoregressive flow, which samples in one pass; ``Invert(AffineAutoregressive())`` is
    a masked autoregressive flow, which scores in one pass. The network is ``params_fn``: change it, or add and remove
    layers, with ``AffineAutoregressive(MADE(hidden_dims=(64, 64, 64)))``.

    Args:
        params_fn: an autoregressive conditioner; ``MADE()`` by default.
        dim: the axis along which it is autoregressive; None for the flattened event.
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
    _: KW_ONLY
    dim: int | None = None

    def _elementwise(self) -> Affine:
        return self.affine()


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
        count_bins: how many bins; see :class:`Spline`, as for all that follow.
        bound: where the box ends and the identity begins.
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
    _: KW_ONLY
    dim: int | None = None

    def _elementwise(self) -> Spline:
        return self.spline()


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
    _: KW_ONLY
    mask: Mask = "half"
    split: int | None = None
    swap: bool = False
    dim: int | None = None
    untouched: Elementwise | None = None

    def _elementwise(self) -> Affine:
        return self.affine()


@register
@final
@dataclass(frozen=True)
class SplineCoupling(SplineOptions, CouplingFamily):
    r"""``Coupling(Spline(...), params_fn)``: a rational spline of one part with parameters from the other.

    .. math:: y_A = x_A, \quad y_B = f(x_B; \theta(x_A, c)), \qquad \log|\det dy/dx| = \sum_{i \in B} \log f'(x_i;
    \theta_i)

    Args:
        params_fn: the conditioner; ``DenseNN()`` by default.
        mask: what is left untouched, see :class:`Coupling`.
        split: instead of a mask, how many coordinates from the front are untouched.
        swap: exchanges the two parts.
        dim: the axis that is split; None for the flattened event.
        untouched: an elementwise map of the part that drives; the paper has a spline there.
        count_bins: how many bins; see :class:`Spline`, as for all that follow.
        bound: where the box ends and the identity begins.
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
    _: KW_ONLY
    mask: Mask = "half"
    split: int | None = None
    swap: bool = False
    dim: int | None = None
    untouched: Elementwise | None = None

    def _elementwise(self) -> Spline:
        return self.spline()


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
    _: KW_ONLY
    mask: Mask = "half"
    split: int | None = None
    swap: bool = False
    dim: int | None = None
    untouched: Elementwise | None = None

    def _elementwise(self) -> Shift:
        return Shift()
