"""The elementary monotone functions, with log-derivatives that neither overflow nor cancel."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from ..errors import OptionError
from .fused import run_fixed

# Above the threshold torch's softplus returns its argument: at its default of 20 a float64 is wrong in the tenth digit,
# from 37 on right to rounding, and exp(40) is finite in float32. F.logsigmoid has no threshold, but under nested vmap
# its derivative resizes an output, with a warning (torch 2.13).
SOFTPLUS_THRESHOLD = 40.0


def exp(x: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps the real line onto the positive numbers.

    .. math::
        y = e^x, \qquad \log \left|\frac{dy}{dx}\right| = x, \qquad x = \log y

    Shapes: both results have the shape of ``x``.

    Args:
        x: Any real number; with ``inverse=True``, a positive number.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The value, forward at least the smallest normal number so that it stays positive, and the log-derivative of the
        map computed.

    Example:
        >>> exp(torch.tensor([0.0, 1.0]))
        (tensor([1.0000, 2.7183]), tensor([0., 1.]))
    """
    if inverse:
        value = torch.log(x)
        return value, -value
    return run_fixed("exp", _exp, x)


def sigmoid(x: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps the real line onto the open unit interval.

    .. math::
        y = \sigma(x) = \frac{1}{1 + e^{-x}}, \qquad
        \log \left|\frac{dy}{dx}\right| = \log \sigma(x) + \log \sigma(-x), \qquad x = \log \frac{y}{1 - y}

    Shapes: both results have the shape of ``x``.

    Args:
        x: Any real number; with ``inverse=True``, a number strictly between 0 and 1.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The value, forward never rounded to 0 or 1, and the log-derivative of the map computed.

    Example:
        >>> sigmoid(torch.tensor([0.0, 20.0]))
        (tensor([0.5000, 1.0000]), tensor([ -1.3863, -20.0000]))
    """
    if inverse:
        return torch.logit(x), -(torch.log(x) + torch.log1p(-x))
    return run_fixed("sigmoid", _sigmoid, x)


def tanh(x: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps the real line onto the interval between -1 and 1.

    .. math::
        y = \tanh x, \qquad \log \left|\frac{dy}{dx}\right| = \log(4\, \sigma(2x)\, \sigma(-2x)), \qquad
        x = \tfrac{1}{2} \log \frac{1 + y}{1 - y}

    Shapes: both results have the shape of ``x``.

    Args:
        x: Any real number; with ``inverse=True``, a number strictly between -1 and 1.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The value, forward never rounded to -1 or 1, and the log-derivative of the map computed.

    Example:
        >>> tanh(torch.tensor([0.0, 20.0]))
        (tensor([0.0000, 1.0000]), tensor([  0.0000, -38.6137]))
    """
    if inverse:
        return torch.atanh(x), -(torch.log1p(x) + torch.log1p(-x))
    return run_fixed("tanh", _tanh, x)


def softplus(x: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps the real line onto the positive numbers, growing linearly.

    .. math::
        y = \log(1 + e^x), \qquad \log \left|\frac{dy}{dx}\right| = \log \sigma(x), \qquad x = y + \log(1 - e^{-y})

    Shapes: both results have the shape of ``x``.

    Args:
        x: Any real number; with ``inverse=True``, a positive number.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The value, forward at least the smallest normal number so that it stays positive, and the log-derivative of the
        map computed.

    Example:
        >>> softplus(torch.tensor([0.0, 2.0]))
        (tensor([0.6931, 2.1269]), tensor([-0.6931, -0.1269]))
    """
    if inverse:
        # log(exp(y) - 1) overflows for large y and, written with exp rather than expm1, is -inf for small y.
        log_derivative = -torch.log(-torch.expm1(-x))
        return x - log_derivative, log_derivative
    return run_fixed("softplus", _softplus_map, x)


def elu(x: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps the real line onto the numbers above -1: the identity where positive.

    .. math::
        y = \begin{cases} x, & x > 0 \\ e^x - 1, & x \le 0 \end{cases}, \qquad
        \log \left|\frac{dy}{dx}\right| = \min(x, 0), \qquad
        x = \begin{cases} y, & y > 0 \\ \log(1 + y), & y \le 0 \end{cases}

    Shapes: both results have the shape of ``x``.

    Args:
        x: Any real number; with ``inverse=True``, a number above -1.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The value, forward never rounded to -1, and the log-derivative of the map computed.

    Example:
        >>> elu(torch.tensor([2.0, -1.0]))
        (tensor([ 2.0000, -0.6321]), tensor([ 0., -1.]))

    References:
        Fast and Accurate Deep Network Learning by Exponential Linear Units (Clevert et al., 2015),
        https://arxiv.org/abs/1511.07289, with alpha = 1.
    """
    if inverse:
        negative = torch.log1p(x.clamp_max(0.0))
        return torch.where(x > 0.0, x, negative), -negative
    return run_fixed("elu", _elu, x)


def leaky_relu(
    x: torch.Tensor, slope: float | torch.Tensor, *, inverse: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Multiplies negative numbers by a slope.

    .. math::
        y = \begin{cases} x, & x \ge 0 \\ a x, & x < 0 \end{cases}, \qquad
        \log \left|\frac{dy}{dx}\right| = \begin{cases} 0, & x \ge 0 \\ \log a, & x < 0 \end{cases}

    Shapes: ``x`` and ``slope`` broadcast; both results have the broadcast shape.

    Args:
        x: Any real number.
        slope: The slope :math:`a > 0`: a number, or a tensor of numbers.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The value and the log-derivative of the map computed.

    Raises:
        OptionError: If ``slope`` is a number that is not positive; the entries of a tensor are not looked at.

    Example:
        >>> leaky_relu(torch.tensor([3.0, -4.0]), 0.5)
        (tensor([ 3., -2.]), tensor([ 0.0000, -0.6931]))

    References:
        Rectifier Nonlinearities Improve Neural Network Acoustic Models (Maas et al., 2013),
        https://ai.stanford.edu/~amaas/papers/relu_hybrid_icml2013_final.pdf, equation 2.
    """
    if isinstance(slope, torch.Tensor):
        return _leaky_relu(x, slope, torch.log(slope), inverse)
    if not slope > 0.0:
        raise OptionError(f"leaky_relu: a slope above 0 is expected; got {slope}.")

    def reference(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return _leaky_relu(x, slope, x.new_full((), math.log(slope)), inverse)

    return reference(x) if inverse else run_fixed("leaky_relu", reference, x, slope)


def _leaky_relu(
    x: torch.Tensor, slope: float | torch.Tensor, log_slope: torch.Tensor, inverse: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    negative = x < 0.0
    value = torch.where(negative, x / slope if inverse else x * slope, x)
    # The comparison is False for NaN, so that the log-derivative of NaN would be 0.
    flat = torch.where(torch.isnan(x), x, torch.zeros_like(x))
    return value, torch.where(negative, -log_slope if inverse else log_slope, flat)


def power(
    x: torch.Tensor, exponent: float | torch.Tensor, *, inverse: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Raises positive numbers to a power.

    .. math::
        y = x^p, \qquad \log \left|\frac{dy}{dx}\right| = \log|p| + (p - 1) \log x, \qquad x = y^{1/p}

    Shapes: ``x`` and ``exponent`` broadcast; both results have the broadcast shape.

    Args:
        x: A positive number, in both directions.
        exponent: The power :math:`p`, not 0: a number, or a tensor of numbers.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The value, at least the smallest normal number so that it stays positive, and the log-derivative of the map
        computed.

    Raises:
        OptionError: If ``exponent`` is the number 0; the entries of a tensor are not looked at.

    Example:
        >>> power(torch.tensor([1.0, 4.0]), 0.5)
        (tensor([1., 2.]), tensor([-0.6931, -1.3863]))
    """
    if isinstance(exponent, torch.Tensor):
        p = 1.0 / exponent if inverse else exponent
        log_p = torch.log(torch.abs(p))
        return torch.pow(x, p).clamp_min(_tiny(x)), log_p + (p - 1.0) * torch.log(x)
    if exponent == 0.0:
        raise OptionError("power: an exponent other than 0 is expected; got 0.")
    q = 1.0 / exponent if inverse else exponent
    return torch.pow(x, q).clamp_min(_tiny(x)), math.log(abs(q)) + (q - 1.0) * torch.log(x)


def _exp(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # Beyond the dtype infinity with gradient 0: an infinite gradient makes all weights NaN.
    limit = log_of_largest(x)
    value = torch.where(x > limit, torch.inf, torch.exp(x.clamp_max(limit)))
    return value.clamp_min(_tiny(x)), x.clone()  # a clone: no result shares memory with an input


def _sigmoid(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # Two terms rather than x - 2 softplus(x), which is inf - inf at infinity.
    return torch.sigmoid(x).clamp(_tiny(x), _below_one(x)), -(_softplus(x) + _softplus(-x))


def _tanh(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # log(1 - tanh(x)^2) is -inf as soon as tanh rounds to 1; in terms of the sigmoid, 1 - tanh(x)^2 is a product.
    log_derivative = 2.0 * math.log(2.0) - (_softplus(2.0 * x) + _softplus(-2.0 * x))
    return torch.tanh(x).clamp(-_below_one(x), _below_one(x)), log_derivative


def _softplus_map(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return _softplus(x).clamp_min(_tiny(x)), -_softplus(-x)


def _elu(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return F.elu(x).clamp_min(-_below_one(x)), x.clamp_max(0.0)


def _softplus(x: torch.Tensor) -> torch.Tensor:
    """Returns log(1 + exp(x)), right to rounding everywhere."""
    return F.softplus(x, threshold=SOFTPLUS_THRESHOLD)


def log_of_largest(x: torch.Tensor) -> float:
    """Returns what the exponential just holds in the dtype."""
    info = torch.finfo(x.dtype)
    return math.log(info.max) * (1.0 - info.eps)  # rounded to the dtype, the logarithm itself may be too large


def _tiny(x: torch.Tensor) -> float:
    """Returns the smallest positive normal number of the dtype."""
    return torch.finfo(x.dtype).tiny


def _below_one(x: torch.Tensor) -> float:
    """Returns the largest number below 1 of the dtype."""
    return 1.0 - torch.finfo(x.dtype).eps / 2.0
