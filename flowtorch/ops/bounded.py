"""Maps onto or from an interval, whose values never round to its ends."""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F

from ..errors import OptionError
from .elementary import SOFTPLUS_THRESHOLD
from .fused import run_fixed


def softclip(x: torch.Tensor, bound: float = 1.0, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps the real line onto the interval between -bound and bound, with slope 1 at 0.

    .. math::
        y = \frac{x}{1 + |x| / b}, \qquad \log \left|\frac{dy}{dx}\right| = -2 \log(1 + |x| / b), \qquad
        x = \frac{y}{1 - |y| / b}

    Shapes: both results have the shape of ``x``.

    Args:
        x: Any real number; with ``inverse=True``, a number strictly between :math:`-b` and :math:`b`.
        bound: The bound :math:`b > 0`.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The value, forward never rounded to the bound, and the log-derivative of the map computed.

    Raises:
        OptionError: If ``bound`` is not positive.

    Example:
        >>> softclip(torch.tensor([1.0, 3.0]))
        (tensor([0.5000, 0.7500]), tensor([-1.3863, -2.7726]))
    """
    if not bound > 0.0:
        raise OptionError(f"softclip: a bound above 0 is expected; got {bound}.")
    if inverse:
        # bound - |y| is exact near the bound, and there 1 - |y| / bound is not.
        value = x * (bound / (bound - torch.abs(x)))
        return value, 2.0 * torch.log1p(torch.abs(value) / bound)
    return run_fixed("softclip", partial(_softclip, bound=bound), x, bound)


def _softclip(x: torch.Tensor, bound: float) -> tuple[torch.Tensor, torch.Tensor]:
    log_derivative = -2.0 * torch.log1p(torch.abs(x) / bound)
    # Beyond the clamp the quotient is the bound to rounding; without it, infinity gives infinity / infinity.
    info = torch.finfo(x.dtype)
    far = min(4.0 * bound / info.eps, info.max)
    near = x.clamp(-far, far)
    low, high = inside(-bound, bound, x.dtype)
    return (near / (1.0 + torch.abs(near) / bound)).clamp(low, high), log_derivative


def scaled_sigmoid(
    x: torch.Tensor, low: float = 0.0, high: float = 1.0, *, inverse: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps the real line onto the interval between two numbers.

    .. math::
        y = l + (h - l)\, \sigma(x), \qquad
        \log \left|\frac{dy}{dx}\right| = \log(h - l) + \log \sigma(x) + \log \sigma(-x), \qquad
        x = \log \frac{y - l}{h - y}

    Shapes: both results have the shape of ``x``.

    Args:
        x: Any real number; with ``inverse=True``, a number strictly between :math:`l` and :math:`h`.
        low: The lower end :math:`l`.
        high: The upper end :math:`h > l`.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The value, forward never rounded to an end, and the log-derivative of the map computed.

    Raises:
        OptionError: If ``low`` is not below ``high``.

    Example:
        >>> scaled_sigmoid(torch.tensor([0.0, 1.0]), -1.0, 3.0)
        (tensor([1.0000, 1.9242]), tensor([ 0.0000, -0.2402]))
    """
    if not low < high:
        raise OptionError(f"scaled_sigmoid: low < high is expected; got {low} and {high}.")
    width = high - low
    if inverse:
        # One logarithm a side: the quotient of the two differences may be beyond the dtype.
        below, above = torch.log((x - low) / width), torch.log((high - x) / width)
        return below - above, -(below + above) - math.log(width)
    # From the nearer end, or a value close to the other one would lose its digits (as 1 - 1e-20 does).
    near_low = low + width * torch.sigmoid(x)
    near_high = high - width * torch.sigmoid(-x)
    value = torch.where(x < 0.0, near_low, near_high).clamp(*inside(low, high, x.dtype))
    return value, math.log(width) - (
        F.softplus(x, threshold=SOFTPLUS_THRESHOLD) + F.softplus(-x, threshold=SOFTPLUS_THRESHOLD)
    )


def sin(x: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps the interval between :math:`-\pi/2` and :math:`\pi/2` onto that between -1 and 1.

    .. math::
        y = \sin x, \qquad \log \left|\frac{dy}{dx}\right| = \log \cos x, \qquad x = \arcsin y

    Shapes: both results have the shape of ``x``.

    Args:
        x: A number strictly between :math:`-\pi/2` and :math:`\pi/2`; with ``inverse=True``, one strictly between -1
            and 1.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The value, forward never rounded to -1 or 1, and the log-derivative of the map computed.

    Example:
        >>> sin(torch.tensor([0.0, 1.0]))
        (tensor([0.0000, 0.8415]), tensor([ 0.0000, -0.6156]))
    """
    if inverse:
        # 1 - y**2 in one piece loses the digits of 1 - y.
        return torch.asin(x), -0.5 * (torch.log1p(x) + torch.log1p(-x))
    below_one = 1.0 - torch.finfo(x.dtype).eps / 2.0
    return torch.sin(x).clamp(-below_one, below_one), torch.log(torch.cos(x))


def inside(low: float, high: float, dtype: torch.dtype) -> tuple[float, float]:
    """Returns numbers strictly inside an interval after rounding to a dtype, as close to its ends as is safe."""
    info = torch.finfo(dtype)
    return low + max(abs(low) * info.eps, info.tiny), high - max(abs(high) * info.eps, info.tiny)
