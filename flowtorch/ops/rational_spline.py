"""Monotone rational splines on a box, the identity outside of it."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F

from ..errors import OptionError, ShapeError
from . import fused
from ._bins import check_box, ends, find, identity_outside, knots, prepare, take
from .elementary import SOFTPLUS_THRESHOLD


def rational_quadratic_spline(
    x: torch.Tensor,
    widths: torch.Tensor,
    heights: torch.Tensor,
    derivatives: torch.Tensor,
    *,
    bound: float = 3.0,
    min_bin_width: float = 1e-3,
    min_bin_height: float = 1e-3,
    min_derivative: float = 1e-3,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps each coordinate by a monotone spline whose pieces are quotients of two quadratics.

    In bin :math:`k`, with :math:`\theta = (x - x_k) / (x_{k+1} - x_k)`, the slope of the chord
    :math:`s = (y_{k+1} - y_k) / (x_{k+1} - x_k)`, and the derivatives at the knots in units of it,
    :math:`\delta_0 = d_k / s` and :math:`\delta_1 = d_{k+1} / s`,

    .. math::
        y &= y_k + (y_{k+1} - y_k)
             \frac{\theta^2 + \delta_0 \theta (1 - \theta)}{q}, \qquad
        q = \theta^2 + (1 - \theta)^2 + (\delta_0 + \delta_1) \theta (1 - \theta), \\
        \frac{dy}{dx} &= s \, \frac{\delta_1 \theta^2 + 2 \theta (1 - \theta) + \delta_0 (1 - \theta)^2}{q^2}.

    Outside of ``[-bound, bound]`` it is the identity, and at the ends its derivative is 1, or given too. With all
    parameters 0 and equal minima it is the identity everywhere. Dtypes narrower than float32 are computed in float32.

    Shapes: ``x`` is ``(*batch, *event)``, ``widths`` and ``heights`` ``(*batch, *event, K)``, ``derivatives``
    ``(*batch, *event, K - 1)`` or, with those at the ends, ``(*batch, *event, K + 1)``; all but the last axis of the
    parameters broadcasts against ``x``, and both results have the broadcast shape.

    Args:
        x: The points, or the images with ``inverse=True``.
        widths: The logarithms of the bins' widths, up to a constant: any real numbers.
        heights: The logarithms of the bins' heights, up to a constant: any real numbers.
        derivatives: What the derivatives at the knots are made of, any real numbers; 0 is a derivative of 1.
        bound: The half width of the box.
        min_bin_width: The least width of a bin, as a fraction of the box.
        min_bin_height: The least height of a bin, as a fraction of the box.
        min_derivative: The least derivative at a knot.
        inverse: Solves for ``x``.

    Returns:
        The value and the log-derivative of the map computed: with ``inverse=True`` it is :math:`\log|dx/dy|`.

    Raises:
        ShapeError: If the last axes do not fit together.
        OptionError: If ``bound`` is not positive, or a minimum is not positive or too large.

    Example:
        >>> x, flat = torch.tensor([-4.0, 0.5]), torch.zeros(2)
        >>> rational_quadratic_spline(x, flat, flat, torch.ones(1))
        (tensor([-4.0000,  0.7316]), tensor([0.0000, 0.2180]))

    References:
        Neural Spline Flows (Durkan et al., 2019), https://arxiv.org/abs/1906.04032, equations 4 and 5 divided by the
        slope of the chord.
    """
    _check(
        "rational_quadratic_spline", widths, heights, derivatives, bound, min_bin_width, min_bin_height, min_derivative
    )
    reference = partial(
        _reference_quadratic,
        bound=bound,
        min_bin_width=min_bin_width,
        min_bin_height=min_bin_height,
        min_derivative=min_derivative,
        inverse=inverse,
    )
    parameters = widths, heights, derivatives
    options = bound, min_bin_width, min_bin_height, min_derivative, inverse
    return fused.run("rational_quadratic_spline", reference, x, parameters, options)


def rational_linear_spline(
    x: torch.Tensor,
    widths: torch.Tensor,
    heights: torch.Tensor,
    derivatives: torch.Tensor,
    lambdas: torch.Tensor,
    *,
    bound: float = 3.0,
    min_bin_width: float = 1e-3,
    min_bin_height: float = 1e-3,
    min_derivative: float = 1e-3,
    min_lambda: float = 0.025,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps each coordinate by a monotone spline whose pieces are quotients of two linear functions, two to a bin.

    With :math:`\theta, \delta_0, \delta_1` as in :func:`rational_quadratic_spline`, a bin is cut at
    :math:`\theta = \lambda`, and with :math:`w = \lambda \sqrt{\delta_0} + (1 - \lambda) \sqrt{\delta_1}` its first
    part is

    .. math::
        y = y_k + (y_{k+1} - y_k) \frac{\lambda \delta_0 \theta}{q}, \qquad
        \frac{dy}{dx} = s \frac{\lambda^2 \delta_0}{q^2}, \qquad
        q = \lambda - \theta + \sqrt{\delta_0} \, w \, \theta.

    The second part is the first one seen from the other end of the bin: :math:`1 - \theta, 1 - \lambda, \delta_1` in
    place of :math:`\theta, \lambda, \delta_0`, and :math:`y` measured downwards from :math:`y_{k+1}`. Outside of
    ``[-bound, bound]`` it is the identity, and at the ends its derivative is 1, or given too. With all parameters 0 and
    equal minima it is the identity everywhere. Dtypes narrower than float32 are computed in float32.

    Shapes: ``x`` is ``(*batch, *event)``, ``widths``, ``heights`` and ``lambdas`` ``(*batch, *event, K)``,
    ``derivatives`` ``(*batch, *event, K - 1)`` or, with those at the ends, ``(*batch, *event, K + 1)``; all but the
    last axis of the parameters broadcasts against ``x``, and both results have the broadcast shape.

    Args:
        x: The points, or the images with ``inverse=True``.
        widths: The logarithms of the bins' widths, up to a constant: any real numbers.
        heights: The logarithms of the bins' heights, up to a constant: any real numbers.
        derivatives: What the derivatives at the knots are made of, any real numbers; 0 is a derivative of 1.
        lambdas: What the cuts of the bins are made of, any real numbers; 0 is the middle.
        bound: The half width of the box.
        min_bin_width: The least width of a bin, as a fraction of the box.
        min_bin_height: The least height of a bin, as a fraction of the box.
        min_derivative: The least derivative at a knot.
        min_lambda: How close a cut may come to the ends of its bin, as a fraction of the bin.
        inverse: Solves for ``x``.

    Returns:
        The value and the log-derivative of the map computed: with ``inverse=True`` it is :math:`\log|dx/dy|`.

    Raises:
        ShapeError: If the last axes do not fit together.
        OptionError: If ``bound`` is not positive, or a minimum is not positive or too large.

    Example:
        >>> x, flat = torch.tensor([-4.0, 0.5]), torch.zeros(2)
        >>> rational_linear_spline(x, flat, flat, torch.ones(1), flat)
        (tensor([-4.0000,  0.7381]), tensor([0.0000, 0.2279]))

    References:
        Invertible Generative Modeling using Linear Rational Splines (Dolatabadi et al., 2020),
        https://arxiv.org/abs/2001.05168, the spline of section 3 with the weights of the knots taken as
        :math:`1 / \sqrt{\delta}`.
    """
    _check("rational_linear_spline", widths, heights, derivatives, bound, min_bin_width, min_bin_height, min_derivative)
    if lambdas.shape[-1:] != widths.shape[-1:]:
        raise ShapeError(
            f"rational_linear_spline: lambdas with a last axis of {widths.shape[-1]} are expected; "
            f"got {tuple(lambdas.shape)}."
        )
    if not 0.0 < min_lambda <= 0.5:
        raise OptionError(f"rational_linear_spline: 0 < min_lambda <= 0.5 is expected; got {min_lambda}.")
    reference = partial(
        _reference_linear,
        bound=bound,
        min_bin_width=min_bin_width,
        min_bin_height=min_bin_height,
        min_derivative=min_derivative,
        min_lambda=min_lambda,
        inverse=inverse,
    )
    parameters = widths, heights, derivatives, lambdas
    options = bound, min_bin_width, min_bin_height, min_derivative, min_lambda, inverse
    return fused.run("rational_linear_spline", reference, x, parameters, options)


def _reference_quadratic(
    x: torch.Tensor,
    widths: torch.Tensor,
    heights: torch.Tensor,
    derivatives: torch.Tensor,
    *,
    bound: float,
    min_bin_width: float,
    min_bin_height: float,
    min_derivative: float,
    inverse: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes :func:`rational_quadratic_spline` for arguments that were checked."""
    dtype = torch.promote_types(x.dtype, widths.dtype)
    shape, clipped, (widths, heights, derivatives) = prepare(x, bound, dtype, widths, heights, derivatives)
    lattice = knots(widths, bound, min_bin_width), knots(heights, bound, min_bin_height)
    piece = _find_bin(clipped, shape, *lattice, derivatives, min_derivative, inverse)
    d0, d1 = piece.slopes.unbind(0)
    if inverse:
        theta, rest = solve_rational_quadratic((clipped - piece.bottom) / piece.height, d0, d1)
    else:
        theta = (clipped - piece.left) / piece.width
        rest = 1.0 - theta
    # Sums of positive terms only: nothing cancels, and the quotient cannot become negative by rounding.
    near, cross, far = rest * rest, theta * rest, theta * theta
    denominator = near + far + (d0 + d1) * cross
    numerator = d0 * near + 2.0 * cross + d1 * far
    if inverse:
        value = piece.left + piece.width * theta
        derivative = piece.width * denominator * denominator / (piece.height * numerator)
    else:
        value = piece.bottom + piece.height * ((far + d0 * cross) / denominator)
        derivative = piece.height * numerator / (piece.width * denominator * denominator)
    return identity_outside(x, value, torch.log(derivative), bound, dtype)


def _reference_linear(
    x: torch.Tensor,
    widths: torch.Tensor,
    heights: torch.Tensor,
    derivatives: torch.Tensor,
    lambdas: torch.Tensor,
    *,
    bound: float,
    min_bin_width: float,
    min_bin_height: float,
    min_derivative: float,
    min_lambda: float,
    inverse: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes :func:`rational_linear_spline` for arguments that were checked."""
    dtype = torch.promote_types(x.dtype, widths.dtype)
    shape, clipped, (widths, heights, derivatives, lambdas) = prepare(
        x, bound, dtype, widths, heights, derivatives, lambdas
    )
    lattice = knots(widths, bound, min_bin_width), knots(heights, bound, min_bin_height)
    piece = _find_bin(clipped, shape, *lattice, derivatives, min_derivative, inverse)
    cut = min_lambda + (1.0 - 2.0 * min_lambda) * torch.sigmoid(take(lambdas, piece.which, shape)[0])
    root0, root1 = torch.sqrt(piece.slopes).unbind(0)
    middle = cut * root0 + (1.0 - cut) * root1
    # The part of the bin, seen from its own end: `near` is the distance from there, up to `part`.
    if inverse:
        near = (clipped - piece.bottom) / piece.height
        first = near * middle <= cut * root0
    else:
        near = (clipped - piece.left) / piece.width
        first = near <= cut
    near = torch.where(first, near, 1.0 - near)
    part = torch.where(first, cut, 1.0 - cut)
    root = torch.where(first, root0, root1)
    if inverse:
        # At the cut part * root - near * middle cancels, but near is there to add it to.
        ratio = part / (root * (part * root - near * middle) + near)
        near = ratio * near
        value = torch.where(first, piece.left + piece.width * near, piece.right - piece.width * near)
        stretch = piece.width / piece.height
    else:
        ratio = part / (part - near + root * middle * near)
        near = ratio * root * root * near
        value = torch.where(first, piece.bottom + piece.height * near, piece.top - piece.height * near)
        stretch = piece.height / piece.width
    ratio = ratio * root
    return identity_outside(x, value, torch.log(stretch * ratio * ratio), bound, dtype)


class _Bin(NamedTuple):
    """The bin of each point: its number, corners and sizes, and the two derivatives in units of the chord's slope."""

    which: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor
    bottom: torch.Tensor
    top: torch.Tensor
    width: torch.Tensor
    height: torch.Tensor
    slopes: torch.Tensor


def _check(
    who: str,
    widths: torch.Tensor,
    heights: torch.Tensor,
    derivatives: torch.Tensor,
    bound: float,
    min_bin_width: float,
    min_bin_height: float,
    min_derivative: float,
) -> None:
    """Refuses what would otherwise give NaN, or an error about sizes in the middle of the computation."""
    shapes = tuple(widths.shape), tuple(heights.shape), tuple(derivatives.shape)
    bins = shapes[0][-1] if shapes[0] else 0
    if bins < 1 or shapes[1][-1:] != (bins,) or shapes[2][-1:] not in ((bins - 1,), (bins + 1,)):
        raise ShapeError(
            f"{who}: last axes of K >= 1 for widths and heights and of K - 1 or K + 1 for derivatives are expected; "
            f"got {shapes[0]}, {shapes[1]} and {shapes[2]}."
        )
    check_box(
        who, bins, bound, min_bin_width=min_bin_width, min_bin_height=min_bin_height, min_derivative=min_derivative
    )


def _find_bin(
    clipped: torch.Tensor,
    shape: torch.Size,
    x_knots: torch.Tensor,
    y_knots: torch.Tensor,
    derivatives: torch.Tensor,
    min_derivative: float,
    inverse: bool,
) -> _Bin:
    """Finds the bin of each point among ``x_knots``, or ``y_knots`` with ``inverse``."""
    index = find(clipped, y_knots if inverse else x_knots, shape)
    corners = ends(index)
    left, right = take(x_knots, corners, shape).unbind(0)
    bottom, top = take(y_knots, corners, shape).unbind(0)
    width, height = right - left, top - bottom
    if derivatives.shape[0] < x_knots.shape[0]:
        # A raw 0 is a derivative of 1, so zeros stand for the ends of the box, where the spline meets the identity.
        end = derivatives.new_zeros((1, *derivatives.shape[1:]))
        derivatives = torch.cat((end, derivatives, end))
    raw = take(derivatives, corners, shape)
    shift = math.log(math.expm1(1.0 - min_derivative))  # softplus of it is 1 - min_derivative
    slopes = (min_derivative + F.softplus(raw + shift, threshold=SOFTPLUS_THRESHOLD)) * (width / height)
    return _Bin(index, left, right, bottom, top, width, height, slopes)


def solve_rational_quadratic(
    eta: torch.Tensor, d0: torch.Tensor, d1: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Returns the theta of :func:`rational_quadratic_spline` at height ``eta`` of the bin, and ``1 - theta``.

    With :math:`r = \delta_0 (1 - \eta) - \delta_1 \eta` the discriminant is :math:`D = r^2 + 4 \eta (1 - \eta)`, a sum
    of positive terms, unlike :math:`b^2 - 4 a c`, and the root and its complement are

    .. math::
        \theta = \frac{2 \eta}{2 \eta + r + \sqrt{D}}, \qquad
        1 - \theta = \frac{2 (1 - \eta)}{2 (1 - \eta) - r + \sqrt{D}}.

    Nothing cancels in the first where :math:`r \ge 0`, nor in the second where :math:`r < 0`.
    """
    below = 1.0 - eta
    r = d0 * below - d1 * eta
    # The clamp only matters where r * r underflows: the gradient of the square root is infinite at 0.
    discriminant = (r * r + 4.0 * eta * below).clamp_min(torch.finfo(r.dtype).tiny)
    positive = r >= 0.0
    # torch.where and not r.abs(): the gradient of abs is 0 at r = 0, the middle of every straight bin.
    far = torch.where(positive, r, -r) + torch.sqrt(discriminant)
    near = 2.0 * torch.where(positive, eta, below)
    total = near + far
    near, far = near / total, far / total
    return torch.where(positive, near, far), torch.where(positive, far, near)
