"""The affine map; formulas and names as in ops/affine.py and _native/affine.h."""
# mypy: ignore-errors
# Functions decorated by triton.jit are of a language of their own, in which types of arguments are not written.

from dataclasses import dataclass

import triton
import triton.language as tl

from .elements import elements, load, store
from .maths import clamp, divide, exp, sigmoid, softplus, tanh


@dataclass(frozen=True)
class Scale:
    """The options of the operator."""

    fn: int  # 0 softplus, 1 exp, 2 sigmoid, with `shift` added to what the first and the last are given
    shift: float
    gated: bool
    clamp_values: bool
    least: float
    most: float
    inverse: bool


@triton.jit
def _bounded(a, slope, SCALE: tl.constexpr):
    # The bound may be infinite; what is computed then, with 1, is thrown away.
    least: tl.constexpr = SCALE.least if SCALE.least > float("-inf") else -1.0
    most: tl.constexpr = SCALE.most if SCALE.most < float("inf") else 1.0
    bound = tl.where(a < 0.0, least, tl.full(a.shape, most, a.dtype))
    tangent = tanh(a / bound)
    value, slope_at = bound * tangent, slope * (1.0 - tangent * tangent)
    if SCALE.least == float("-inf"):
        value, slope_at = tl.where(a < 0.0, a, value), tl.where(a < 0.0, slope, slope_at)
    if SCALE.most == float("inf"):
        value, slope_at = tl.where(a < 0.0, value, a), tl.where(a < 0.0, slope_at, slope)
    return value, slope_at


@triton.jit
def _log_scale(raw, SCALE: tl.constexpr):
    # The logarithm of the scale, and its derivative.
    shifted = raw + SCALE.shift
    if SCALE.fn == 0:
        # log(softplus(a)) = a - exp(a) / 2 + ...: far down, where softplus would underflow, a itself is right.
        log_eps: tl.constexpr = -36.04365338911715 if raw.dtype == tl.float64 else -15.942385
        small = shifted < log_eps
        scale = softplus(tl.where(small, log_eps, shifted))
        a = tl.where(small, shifted, tl.log(scale))
        slope = tl.where(small, 1.0, divide(sigmoid(shifted), scale))
    elif SCALE.fn == 1:
        a = raw
        slope = tl.full(raw.shape, 1.0, raw.dtype)
    else:
        a = -softplus(-shifted)
        slope = sigmoid(-shifted)
    if SCALE.clamp_values:
        return clamp(a, SCALE.least, SCALE.most), slope  # with the gradient of no bound at all
    else:
        return _bounded(a, slope, SCALE)


@triton.jit(do_not_specialize=["count", "columns"])
def forward(
    count,
    columns,
    x,
    loc,
    raw_scale,
    value,
    log_derivative,
    OPTIONS: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Stores values and log-derivatives."""
    those = elements(count, columns, BLOCK, WIDE)
    points, fixed = load(x, those), load(loc, those)
    log_s, _ = _log_scale(load(raw_scale, those), OPTIONS)
    if OPTIONS.inverse:
        log_s = -log_s
    s = exp(log_s)
    if OPTIONS.gated:
        result = s * (points - fixed) + fixed
    elif OPTIONS.inverse:
        result = s * (points - fixed)
    else:
        result = s * points + fixed
    store(value, those, result)
    store(log_derivative, those, log_s)


@triton.jit(do_not_specialize=["count", "columns"])
def backward(
    count,
    columns,
    x,
    loc,
    raw_scale,
    grad_value,
    grad_log,
    by_x,
    by_loc,
    by_raw_scale,
    OPTIONS: tl.constexpr,
    BLOCK: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Stores the gradients of the inputs."""
    those = elements(count, columns, BLOCK, WIDE)
    moved = load(x, those)
    if OPTIONS.gated or OPTIONS.inverse:
        moved -= load(loc, those)
    log_s, slope = _log_scale(load(raw_scale, those), OPTIONS)
    if OPTIONS.inverse:
        log_s = -log_s
        slope = -slope
    gv = load(grad_value, those)
    through_x = gv * exp(log_s)
    if OPTIONS.gated:
        through_loc = gv - through_x
    elif OPTIONS.inverse:
        through_loc = -through_x
    else:
        through_loc = gv
    store(by_x, those, through_x)
    store(by_loc, those, through_loc)
    store(by_raw_scale, those, (through_x * moved + load(grad_log, those)) * slope)
