"""The rational quadratic spline; formulas and names as in ops/rational_spline.py and _native/rational_quadratic.h."""
# mypy: ignore-errors
# Functions decorated by triton.jit are of a language of their own, in which types of arguments are not written.

from typing import Any, NamedTuple

import triton
import triton.language as tl

from .elements import elements, load, store
from .maths import divide, root
from .spline import BinGradient, locate, store_gradients


class Place(NamedTuple):
    """Where a point is in its bin, and what both the value and the slope there are made of."""

    theta: Any
    rest: Any
    near: Any
    cross: Any
    far: Any
    denominator: Any
    numerator: Any


@triton.jit
def _solve(eta, d0, d1):
    # Theta and its complement at height eta of the bin: of the two forms of the root the one in which nothing cancels.
    below = 1.0 - eta
    r = d0 * below - d1 * eta
    discriminant = r * r + 4.0 * eta * below
    tiny: tl.constexpr = 2.2250738585072014e-308 if r.dtype == tl.float64 else 1.1754943508222875e-38
    discriminant = tl.where(discriminant < tiny, tiny, discriminant)
    positive = r >= 0.0
    larger = tl.abs(r) + root(discriminant)
    smaller = 2.0 * tl.where(positive, eta, below)
    total = smaller + larger
    smaller, larger = divide(smaller, total), divide(larger, total)
    return tl.where(positive, smaller, larger), tl.where(positive, larger, smaller)


@triton.jit
def _place(point, bin, INVERSE: tl.constexpr):
    d0, d1 = bin.slope0, bin.slope1
    if INVERSE:
        theta, rest = _solve(divide(point - bin.bottom, bin.height), d0, d1)
    else:
        theta = divide(point - bin.left, bin.width)
        rest = 1.0 - theta
    near, cross, far = rest * rest, theta * rest, theta * theta
    denominator = near + far + (d0 + d1) * cross
    numerator = d0 * near + 2.0 * cross + d1 * far
    return Place(theta, rest, near, cross, far, denominator, numerator)


@triton.jit(do_not_specialize=["count", "columns"])
def forward(
    count,
    columns,
    x,
    widths,
    heights,
    derivatives,
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
    q = _place(point, bin, OPTIONS.inverse)
    square = q.denominator * q.denominator
    if OPTIONS.inverse:
        result = bin.left + bin.width * q.theta
        slope = divide(bin.width * square, bin.height * q.numerator)
    else:
        result = bin.bottom + bin.height * divide(q.far + bin.slope0 * q.cross, q.denominator)
        slope = divide(bin.height * q.numerator, bin.width * square)
    outside = tl.abs(points) >= OPTIONS.bound
    store(value, those, tl.where(outside, points, result))
    store(log_derivative, those, tl.where(outside, 0.0, tl.log(slope)))


@triton.jit(do_not_specialize=["count", "columns"])
def backward(
    count,
    columns,
    x,
    widths,
    heights,
    derivatives,
    grad_value,
    grad_log,
    by_x,
    by_widths,
    by_heights,
    by_derivatives,
    OPTIONS: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Stores the gradients of the inputs; what the formulas are is said in _native/rational_quadratic.h."""
    those = elements(count, columns, BLOCK, WIDE)
    points = load(x, those)
    width_shares, height_shares, point, bin = locate(points, widths, heights, derivatives, those, OPTIONS)
    q = _place(point, bin, OPTIONS.inverse)
    outside = tl.abs(points) >= OPTIONS.bound
    grad_points = load(grad_value, those)
    gv = tl.where(outside, 0.0, grad_points)
    gl = tl.where(outside, 0.0, load(grad_log, those))
    if OPTIONS.inverse:
        gl = -gl  # the logarithm of the slope of the inverse is minus that of the slope at theta
    d0, d1, theta, cross = bin.slope0, bin.slope1, q.theta, q.cross
    inverse_n, inverse_d = divide(1.0, q.numerator), divide(1.0, q.denominator)
    lower = (q.far + d0 * cross) * inverse_d
    upper = (q.near + d1 * cross) * inverse_d
    twice = 2.0 * cross * inverse_d
    bend = ((1.0 - d0) * q.rest - (1.0 - d1) * theta) * inverse_n
    by_theta = 2.0 * gl * (bend - (d0 + d1 - 2.0) * (q.rest - theta) * inverse_d)
    by_d0 = gl * (q.near * inverse_n - twice)
    by_d1 = gl * (q.far * inverse_n - twice)
    by_width, by_height = -gl, gl  # times the width and the height
    if OPTIONS.inverse:
        by_theta += gv * bin.width
        by_eta = by_theta * inverse_n * q.denominator  # one factor D stays in lower and upper
        by_d0 -= by_eta * cross * upper
        by_d1 += by_eta * cross * lower
        by_point = divide(by_eta * q.denominator, bin.height)
        by_width += gv * theta * bin.width
        by_height -= by_point * lower * bin.height
        by_left, by_bottom = gv, -by_point
    else:
        by_q = gv * bin.height * inverse_d
        by_theta += by_q * q.numerator * inverse_d
        by_d0 += by_q * cross * upper
        by_d1 -= by_q * cross * lower
        by_point = divide(by_theta, bin.width)
        by_width -= by_theta * theta
        by_height += gv * lower * bin.height
        by_left, by_bottom = -by_point, gv
    by_stretch = by_d0 * d0 + by_d1 * d1  # the derivatives are in units of height / width
    by_right = divide(by_width + by_stretch, bin.width)
    by_top = divide(by_height - by_stretch, bin.height)
    store(by_x, those, tl.where(outside, grad_points, by_point))
    g = BinGradient(by_left - by_right, by_right, by_bottom - by_top, by_top, by_d0, by_d1)
    store_gradients(by_widths, by_heights, by_derivatives, those, width_shares, height_shares, bin, g, OPTIONS)
