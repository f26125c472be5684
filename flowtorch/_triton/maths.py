"""Functions that kernels are made of; as in _native/vector.h. None is from libdevice, which the interpreter lacks."""
# mypy: ignore-errors
# What is decorated by triton.jit is a language of its own, in which types of arguments are not written.

import triton
import triton.language as tl


@triton.jit
def divide(a, b):
    """Returns ``a / b`` rounded correctly; of float32 the operator has an error of up to two units."""
    if b.dtype == tl.float64:
        return a / b
    else:
        return tl.div_rn(a, b)


@triton.jit
def root(x):
    """Returns the square root, rounded correctly."""
    if x.dtype == tl.float64:
        return tl.sqrt(x)
    else:
        return tl.sqrt_rn(x)


@triton.jit
def clamp(x, least, most):
    """Returns ``x`` or the bound that it is beyond; NaN stays NaN."""
    x = tl.where(x < least, least, x)
    return tl.where(x > most, most, x)


@triton.jit
def _reduced_expm1(x):
    # x = n log(2) + r with |r| <= log(2) / 2; returns exp(r) - 1 by its Taylor series, and n.
    n = tl.floor(x * 1.44269504088896340736 + 0.5)
    if x.dtype == tl.float64:
        r = (x - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6
        terms: tl.constexpr = 13
    else:
        r = (x - n * 0.693359375) - n * -2.12194440e-4
        terms: tl.constexpr = 7
    tail = r * (1.0 / terms)
    for k in tl.static_range(terms - 1, 1, -1):
        tail = (tail + 1.0) * (r * (1.0 / k))
    return tail * r + r, n


@triton.jit
def _power_of_two(n):
    if n.dtype == tl.float64:
        return ((n.to(tl.int64) + 1023) << 52).to(tl.float64, bitcast=True)
    else:
        return ((n.to(tl.int32) + 127) << 23).to(tl.float32, bitcast=True)


@triton.jit
def exp(x):
    """Returns the exponential; Triton's own of float32 loses digits in proportion to ``x``."""
    if x.dtype == tl.float64:
        return tl.exp(x)
    else:
        tail, n = _reduced_expm1(clamp(x, -105.0, 90.0))
        half = tl.floor(0.5 * n)  # in two steps, so that the least and the largest results are right
        return (1.0 + tail) * _power_of_two(half) * _power_of_two(n - half)


@triton.jit
def softplus(x):
    """Returns ``log(1 + exp(x))``, and ``x`` from 40 on."""
    e = exp(tl.where(x > 40.0, 40.0, x))
    rounded = 1.0 + e
    lost = e - (rounded - 1.0)
    return tl.where(x > 40.0, x, tl.log(rounded) + lost / rounded)


@triton.jit
def sigmoid(x):
    """Returns ``1 / (1 + exp(-x))``."""
    e = exp(-tl.abs(x))
    return divide(tl.where(x < 0.0, e, 1.0), 1.0 + e)


@triton.jit
def tanh(x):
    """Returns the hyperbolic tangent."""
    tail, n = _reduced_expm1(clamp(2.0 * tl.abs(x), 0.0, 80.0))
    scale = _power_of_two(n)
    e = scale * tail + (scale - 1.0)  # exp(2 |x|) - 1, without cancellation where n = 0
    result = divide(e, e + 2.0)
    return tl.where(x < 0.0, -result, result)
