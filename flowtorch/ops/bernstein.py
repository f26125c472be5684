"""Increasing Bernstein polynomials on a box, continued by straight lines."""

from __future__ import annotations

import math
from itertools import accumulate
from operator import mul

import torch
import torch.nn.functional as F

from ..errors import OptionError, ShapeError
from .elementary import SOFTPLUS_THRESHOLD
from .numerical_inverse import STEPS, TOLERANCE, numerical_inverse

MAX_ORDER = 100


def bernstein(
    x: torch.Tensor,
    increments: torch.Tensor,
    offset: torch.Tensor,
    *,
    bound: float = 3.0,
    min_slope: float = 1e-3,
    tolerance: float = TOLERANCE,
    steps: int = STEPS,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps each coordinate by a polynomial in Bernstein's form with increasing coefficients.

    With :math:`t = (x + B) / 2B` on ``[-B, B]``, B = ``bound``,

    .. math::
        y = \sum_{k=0}^n \theta_k b_{k,n}(t), \quad b_{k,n}(t) = \binom{n}{k} t^k (1 - t)^{n-k}, \qquad
        \frac{dy}{dx} = \frac{n}{2B} \sum_{k=0}^{n-1} (\theta_{k+1} - \theta_k) \, b_{k,n-1}(t),

    where :math:`\theta_{k+1} - \theta_k = \tfrac{2B}{n} d_k`, each :math:`d_k` a softplus of an entry of
    ``increments`` and at least ``min_slope``, and :math:`\theta_0 + \theta_n` is twice ``offset``. Outside it goes on
    straight, with slope :math:`d_0` below and :math:`d_{n-1}` above. At all parameters 0 it is the identity. The
    inverse is iterated inside the box, and in closed form outside. Dtypes narrower than float32 are computed in
    float32.

    Shapes: ``x`` and ``offset`` are ``(*batch, *event)``, ``increments`` ``(*batch, *event, n)``; all but this last
    axis broadcasts, and both results have the broadcast shape.

    Args:
        x: The points, or the images with ``inverse=True``.
        increments: What the differences of the coefficients are made of, any real numbers; 0 is a slope of 1.
        offset: The mean of the images of the ends of the box.
        bound: The half width of the box.
        min_slope: The least slope.
        tolerance: That of :func:`numerical_inverse`, in units of the box.
        steps: Those of :func:`numerical_inverse`.
        inverse: Solves for ``x``.

    Returns:
        The value and the log-derivative of the map computed: with ``inverse=True`` it is :math:`\log|dx/dy|`.

    Raises:
        ShapeError: If ``increments`` has no last axis of 1 to 100 entries.
        OptionError: If ``bound`` is not positive, or ``min_slope`` not in (0, 1).

    Example:
        >>> x = torch.tensor([-1e6, 0.5])
        >>> y, _ = bernstein(x, torch.tensor([1.0, -1.0, 2.0]), torch.zeros(()))
        >>> bernstein(y, torch.tensor([1.0, -1.0, 2.0]), torch.zeros(()), inverse=True)[0]
        tensor([-1.0000e+06,  5.0000e-01])

    References:
        Short-Term Density Forecasting of Low-Voltage Load using Bernstein-Polynomial Normalizing Flows (Arpogaus et
        al., 2022), https://arxiv.org/abs/2204.13939, equations 5 and 6.
    """
    if not increments.dim() or not 1 <= increments.shape[-1] <= MAX_ORDER:
        raise ShapeError(
            f"bernstein: increments with a last axis of 1 to {MAX_ORDER} are expected; got {tuple(increments.shape)}."
        )
    if not 0.0 < bound < math.inf:
        raise OptionError(f"bernstein: a positive, finite bound is expected; got {bound}.")
    if not 0.0 < min_slope < 1.0:
        raise OptionError(f"bernstein: 0 < min_slope < 1 is expected; got {min_slope}.")
    dtype = torch.promote_types(x.dtype, increments.dtype)
    wide = torch.promote_types(dtype, torch.float32)
    ndim = 1 + max(x.dim(), increments.dim() - 1)
    raw = increments.to(wide)[(None,) * (ndim - increments.dim())].movedim(-1, 0)
    x, offset, order = x.to(wide), offset.to(wide), raw.shape[0]
    shift = math.log(math.expm1(1.0 - min_slope))  # softplus of it is 1 - min_slope
    slopes = min_slope + F.softplus(raw + shift, threshold=SOFTPLUS_THRESHOLD)
    # In units of the half width, where the box is [-1, 1] and the coefficients are sums of the slopes.
    sums = torch.stack(tuple(accumulate(slopes.unbind(0)))) * (2.0 / order)
    half = 0.5 * sums[-1]
    params = torch.cat((-half.unsqueeze(0), sums[:-1] - half)), slopes * (2.0 / order)
    first, last = slopes[0], slopes[-1]
    u = x / bound
    if inverse:
        u = u - offset / bound
        below, above = u <= -half, u >= half
        inside = torch.where(below | above, torch.zeros_like(u), u)
        zero = torch.zeros_like(inside)
        t, log_derivative = numerical_inverse(
            _polynomial, inside, params, bracket=(zero, zero + 1.0), tolerance=tolerance, steps=steps
        )
        value = torch.where(above, 1.0 + (u - half) / last, torch.where(below, (u + half) / first - 1.0, 2.0 * t - 1.0))
        value, sign = bound * value, -1.0
        log_derivative = log_derivative + math.log(2.0)
    else:
        below, above = u <= -1.0, u >= 1.0
        value, log_derivative = _polynomial((0.5 * (u + 1.0)).clamp(0.0, 1.0), params)
        value = torch.where(above, half + last * (u - 1.0), torch.where(below, first * (u + 1.0) - half, value))
        value, sign = bound * value + offset, 1.0
        log_derivative = log_derivative - math.log(2.0)
    log_derivative = torch.where(
        above, sign * torch.log(last), torch.where(below, sign * torch.log(first), log_derivative)
    )
    return value.to(dtype), log_derivative.to(dtype)


def _polynomial(t: torch.Tensor, params: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the polynomial and the logarithm of its derivative by ``t``, both from the basis of one degree less."""
    lower, differences = params
    degree = lower.shape[0] - 1
    rest = 1.0 - t
    # Running products: powers of 0 with tensor exponents have delicate second derivatives, and cost more.
    rising = list(accumulate([t] * degree, mul, initial=torch.ones_like(t)))
    falling = list(accumulate([rest] * degree, mul, initial=torch.ones_like(t)))
    basis = torch.stack([math.comb(degree, k) * rising[k] * falling[degree - k] for k in range(degree + 1)])
    slope = (basis * differences).sum(0)
    return (basis * lower).sum(0) + t * slope, torch.log((degree + 1) * slope)
