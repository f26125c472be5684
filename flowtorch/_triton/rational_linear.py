"""The rational linear spline; formulas and names as in ops/rational_spline.py and _native/rational_linear.h."""
# mypy: ignore-errors
# Functions decorated by triton.jit are of a language of their own, in which types of arguments are not written.

from typing import Any, NamedTuple

import triton
import triton.language as tl

from .elements import elements, load, load_bin, store, store_bins
from .maths import divide, root, sigmoid
from .spline import BinGradient, locate, store_gradients


class Place(NamedTuple):
    """Where a point is in its bin, which is two parts, each seen from its own end.

    ``near`` is the distance from there, ``image`` where it is mapped to, both in units of the bin.
    """

    first: Any
    sigma: Any
    cut: Any
    root0: Any
    root1: Any
    middle: Any
    near: Any
    part: Any
    root: Any
    denominator: Any
    image: Any
    log_slope_root: Any


@triton.jit
def _place(point, bin, lambdas, those, OPTIONS: tl.constexpr):
    sigma = sigmoid(load_bin(lambdas, those, bin.which, True))
    cut = OPTIONS.min_lambda + (1.0 - 2.0 * OPTIONS.min_lambda) * sigma
    root0, root1 = root(bin.slope0), root(bin.slope1)
    middle = cut * root0 + (1.0 - cut) * root1
    if OPTIONS.inverse:
        near = divide(point - bin.bottom, bin.height)
        first = near * middle <= cut * root0
    else:
        near = divide(point - bin.left, bin.width)
        first = near <= cut
    near = tl.where(first, near, 1.0 - near)
    part = tl.where(first, cut, 1.0 - cut)
    r = tl.where(first, root0, root1)
    if OPTIONS.inverse:
        denominator = r * (part * r - near * middle) + near
        ratio = divide(part, denominator)
        image = ratio * near
    else:
        denominator = part - near + r * middle * near
        ratio = divide(part, denominator)
        image = ratio * r * r * near
    return Place(first, sigma, cut, root0, root1, middle, near, part, r, denominator, image, ratio * r)


@triton.jit(do_not_specialize=["count", "columns"])
def forward(
    count,
    columns,
    x,
    widths,
    heights,
    derivatives,
    lambdas,
    value,
    log_derivative,
    OPTIONS: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Stores values and log-derivatives."""
    those = elements(count, columns, BLOCK, WIDE)
    points = load(x, those)
    _, _, point, bin = locate(points, widths, heights, derivatives, those, OPTIONS)
    q = _place(point, bin, lambdas, those, OPTIONS)
    if OPTIONS.inverse:
        result = tl.where(q.first, bin.left + bin.width * q.image, bin.right - bin.width * q.image)
        stretch = bin.stretch
    else:
        result = tl.where(q.first, bin.bottom + bin.height * q.image, bin.top - bin.height * q.image)
        stretch = divide(bin.height, bin.width)
    outside = tl.abs(points) >= OPTIONS.bound
    store(value, those, tl.where(outside, points, result))
    store(log_derivative, those, tl.where(outside, 0.0, tl.log(stretch * q.log_slope_root * q.log_slope_root)))


@triton.jit(do_not_specialize=["count", "columns"])
def backward(
    count,
    columns,
    x,
    widths,
    heights,
    derivatives,
    lambdas,
    grad_value,
    grad_log,
    by_x,
    by_widths,
    by_heights,
    by_derivatives,
    by_lambdas,
    OPTIONS: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Stores the gradients of the inputs; what the formulas are is said in _native/rational_linear.h."""
    those = elements(count, columns, BLOCK, WIDE)
    points = load(x, those)
    width_shares, height_shares, point, bin = locate(points, widths, heights, derivatives, those, OPTIONS)
    q = _place(point, bin, lambdas, those, OPTIONS)
    outside = tl.abs(points) >= OPTIONS.bound
    grad_points = load(grad_value, those)
    gv = tl.where(outside, 0.0, grad_points)
    gl = tl.where(outside, 0.0, load(grad_log, those))
    u, p, r, m, inverse_d = q.near, q.part, q.root, q.middle, divide(1.0, q.denominator)
    by_image = tl.where(q.first, gv, -gv)  # the second part is measured downwards
    if OPTIONS.inverse:
        by_image *= bin.width
    else:
        by_image *= bin.height
    curve = by_image * inverse_d * inverse_d
    twice = 2.0 * gl
    by_u = by_image * q.log_slope_root * q.log_slope_root
    if OPTIONS.inverse:
        bend, by_root = 1.0 - r * m, 2.0 * p * r - u * m  # the derivatives of D by u and r
        by_p = curve * u * u * bend + twice * (divide(1.0, p) - r * r * inverse_d)
        by_r = -curve * p * u * by_root + twice * (divide(1.0, r) - by_root * inverse_d)
        by_m = curve * p * u * u * r + twice * r * u * inverse_d
    else:
        bend = r * m - 1.0
        by_p = curve * r * r * u * u * bend + twice * (divide(1.0, p) - inverse_d)
        by_r = curve * p * r * u * (2.0 * q.denominator - r * m * u) + twice * (divide(1.0, r) - m * u * inverse_d)
        by_m = -curve * p * r * r * r * u * u - twice * r * u * inverse_d
    by_u -= twice * bend * inverse_d
    by_cut = tl.where(q.first, by_p, -by_p) + by_m * (q.root0 - q.root1)
    by_root0 = tl.where(q.first, by_r, 0.0) + by_m * q.cut
    by_root1 = tl.where(q.first, 0.0, by_r) + by_m * (1.0 - q.cut)
    by_near = tl.where(q.first, by_u, -by_u)
    position = tl.where(q.first, u, 1.0 - u)
    by_stretch = 0.5 * (by_root0 * q.root0 + by_root1 * q.root1)
    by_first, by_second, nothing = tl.where(q.first, gv, 0.0), tl.where(q.first, 0.0, gv), tl.zeros_like(gv)
    by_width, by_height = by_stretch, -by_stretch  # times the width and the height
    if OPTIONS.inverse:
        by_point = divide(by_near, bin.height)
        by_width += by_image * q.image + gl
        by_height -= by_near * position + gl
        by_left, by_right, by_bottom, by_top = by_first, by_second, -by_point, nothing
    else:
        by_point = divide(by_near, bin.width)
        by_width -= by_near * position + gl
        by_height += by_image * q.image + gl
        by_left, by_right, by_bottom, by_top = -by_point, nothing, by_first, by_second
    through_width, through_height = divide(by_width, bin.width), divide(by_height, bin.height)
    store(by_x, those, tl.where(outside, grad_points, by_point))
    g = BinGradient(
        by_left - through_width,
        by_right + through_width,
        by_bottom - through_height,
        by_top + through_height,
        0.5 * divide(by_root0, q.root0),
        0.5 * divide(by_root1, q.root1),
    )
    store_gradients(by_widths, by_heights, by_derivatives, those, width_shares, height_shares, bin, g, OPTIONS)
    by_raw = by_cut * (1.0 - 2.0 * OPTIONS.min_lambda) * q.sigma * (1.0 - q.sigma)
    k = tl.arange(0, OPTIONS.padded)[:, None]
    by_raws = tl.where(k == bin.which[None, :], by_raw[None, :], 0.0)
    store_bins(by_lambdas, those, by_raws, OPTIONS.bins, OPTIONS.padded)
