"""The increasing function v + (k - 1) tanh v, whose slope at 0 is k > 0: what planar and Sylvester maps share."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ._modes import differentiating
from ._own_backward import own_backward
from .elementary import SOFTPLUS_THRESHOLD

# From the first guess below four steps lead to rounding in float64, for all slopes from 1e-8 to 1e8; one to spare.
STEPS = 5


def slope_at_zero(raw: torch.Tensor) -> torch.Tensor:
    """Returns k = exp(arsinh(raw)) = raw + sqrt(1 + raw^2): any positive number; 1, and increasing by 1, at raw = 0.

    A softplus or an exponential underflows to a slope of 0, with a log-determinant of minus infinity, where this is
    1 / (2 |raw|) still.
    """
    return torch.exp(torch.asinh(raw))


def slope_gradient(raw: torch.Tensor) -> torch.Tensor:
    """Returns dk / draw."""
    return slope_at_zero(raw) / torch.sqrt(1.0 + raw**2)


def tanh_slopes(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the derivative of tanh at v, without cancellation, and 1 less it."""
    return 4.0 * torch.sigmoid(2.0 * v) * torch.sigmoid(-2.0 * v), torch.tanh(v) ** 2


def mixed(k: torch.Tensor, slope: torch.Tensor | float, rest: torch.Tensor | float) -> torch.Tensor:
    """Returns 1 + (k - 1) h' from h' and 1 - h': a sum of positive numbers, which keeps its digits next to 0."""
    return k * slope + rest


def tanh_root(t: torch.Tensor, raw: torch.Tensor) -> torch.Tensor:
    """Returns v with v + (k - 1) tanh v = t, k = :func:`slope_at_zero` of ``raw``; both broadcast."""
    return own_backward(_plain, _fast, _backward, t, raw)[0]


def tanh_root_value(t: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """Returns the root of :func:`tanh_root` to rounding, without derivatives.

    For t > 0 the function is concave if k > 1 and convex if not. So Newton's steps, kept within a bracket, are on one
    side of the root from the second one on, and monotone: with a good first guess a few are always enough.
    """
    size, m = t.abs(), k - 1.0  # the function is odd
    steep, quotient, rest = m > 0.0, size / k, size - m
    low = torch.where(steep, torch.maximum(rest, quotient), size)
    high = torch.where(steep, size, torch.minimum(rest, quotient))
    v = torch.where(steep, _guess_concave(size, m), _guess_convex(size, k)).clamp(low, high)
    for _ in range(STEPS):
        h = torch.tanh(v)
        # As tanh_slopes says, for less; but where cosh overflows, its derivative would be NaN.
        v = (v - (v + m * h - size) / mixed(k, torch.cosh(v) ** -2, h * h)).clamp(low, high)
    return torch.where(t < 0.0, -v, v)


def _plain(t: torch.Tensor, raw: torch.Tensor) -> tuple[torch.Tensor]:
    with torch.no_grad():
        (v,), _ = _fast(t.detach(), raw.detach())
    v = v.detach()
    if differentiating():
        k = slope_at_zero(raw)
        # A step of value zero carries the first derivatives, those of the implicit function theorem; another one, the
        # second.
        for _ in range(2):
            step = (v + (k - 1.0) * torch.tanh(v) - t) / mixed(k, *tanh_slopes(v))
            v = v - (step - step.detach())
    return (v,)


def _fast(t: torch.Tensor, raw: torch.Tensor) -> tuple[tuple[torch.Tensor], tuple[torch.Tensor]]:
    v = tanh_root_value(t, slope_at_zero(raw))
    return (v,), (v,)


def _backward(
    tensors: tuple[torch.Tensor, ...], saved: tuple[torch.Tensor, ...], gradients: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, ...]:
    (_, raw), (v,) = tensors, saved
    by_t = gradients[0] / mixed(slope_at_zero(raw), *tanh_slopes(v))
    return by_t, -by_t * torch.tanh(v) * slope_gradient(raw)


def _guess_concave(t: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    """With tanh v = 1 - 2 exp(-2v), the root is W(4 m exp(2d)) / 2 - d, d = m - t; Winitzki's approximation of W."""
    d = m - t
    log_x = torch.log(4.0 * m.clamp_min(torch.finfo(m.dtype).tiny)) + 2.0 * d
    log_1_x = F.softplus(log_x, threshold=SOFTPLUS_THRESHOLD)
    return 0.5 * log_1_x * (1.0 - torch.log1p(log_1_x) / (2.0 + log_1_x)) - d


def _guess_convex(t: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """With tanh v = v - v^3 / 3, the cubic k v + v^3 / 3 = t has a root below; substituting it gives a better one."""
    k = k.clamp_max(1.0)  # where it is larger, the other guess is taken
    cubic = 2.0 * k.sqrt() * torch.sinh(torch.asinh(1.5 * t / k**1.5) / 3.0)
    return t + (1.0 - k) * torch.tanh(torch.maximum(cubic, t))
