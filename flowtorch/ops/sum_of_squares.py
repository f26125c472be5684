"""The integral of a sum of squares of polynomials."""

from __future__ import annotations

import math

import torch

from ..errors import OptionError, ShapeError
from .numerical_inverse import STEPS, TOLERANCE, numerical_inverse
from .quadrature import gauss_legendre

# How much the linear coefficients of different polynomials start apart.
TILT = 0.03


def sum_of_squares(
    x: torch.Tensor,
    coefficients: torch.Tensor,
    offset: torch.Tensor,
    *,
    min_slope: float = 1e-3,
    tolerance: float = TOLERANCE,
    steps: int = STEPS,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps each coordinate by a polynomial whose derivative is a sum of squares.

    .. math::
        y = c + \int_0^x \Big( \epsilon + \sum_{k=1}^K p_k(u)^2 \Big) du, \qquad
        p_k(u) = \sum_{l=0}^L a_{kl} u^l, \qquad
        \log \frac{dy}{dx} = \log\Big( \epsilon + \sum_k p_k(x)^2 \Big)

    with :math:`c` = ``offset``, :math:`\epsilon` = ``min_slope`` and :math:`a` = ``coefficients`` plus, in all
    :math:`a_{k0}`, :math:`\sqrt{(1 - \epsilon) / K}` and, in :math:`a_{k1}`, numbers evenly spaced on [-0.03, 0.03]
    (for K = 1, 0): without them all :math:`p_k` would have equal gradients for ever. At all parameters 0 it is the
    identity but for less than :math:`3 \cdot 10^{-4} K |x|^3`. Two squares suffice for any polynomial that is not
    negative. The integral is that of Gauss-Legendre quadrature with L + 1 points, exact for these polynomials, a sum
    of positive terms. The value is infinite where it exceeds the dtype, with gradients of zero; the log-derivative is
    finite. The inverse is iterated. Dtypes narrower than float32 are computed in float32.

    Shapes: ``x`` and ``offset`` are ``(*batch, *event)``, ``coefficients`` ``(*batch, *event, K, L + 1)``; all but
    these last axes broadcasts, and both results have the broadcast shape.

    Args:
        x: The points, or the images with ``inverse=True``.
        coefficients: The coefficients of the polynomials, any real numbers, those of lower powers first.
        offset: The value at 0.
        min_slope: The least slope.
        tolerance: That of :func:`numerical_inverse`.
        steps: Those of :func:`numerical_inverse`.
        inverse: Solves for ``x``.

    Returns:
        The value and the log-derivative of the map computed: with ``inverse=True`` it is :math:`\log|dx/dy|`.

    Raises:
        ShapeError: If ``coefficients`` lacks its two last axes, or one of them is empty.
        OptionError: If ``min_slope`` is not in (0, 1).

    Example:
        >>> x, a = torch.tensor([-2.0, 0.5]), torch.tensor([[0.0, 1.0, -0.5]])
        >>> y, _ = sum_of_squares(x, a, torch.zeros(()))
        >>> sum_of_squares(y, a, torch.zeros(()), inverse=True)[0]
        tensor([-2.0000,  0.5000])

    References:
        Sum-of-Squares Polynomial Flow (Jaini et al., 2019), https://arxiv.org/abs/1905.02325, equation 9.
    """
    if coefficients.dim() < 2 or 0 in coefficients.shape[-2:]:
        raise ShapeError(
            f"sum_of_squares: coefficients with two last axes that are not empty are expected; got "
            f"{tuple(coefficients.shape)}."
        )
    if not 0.0 < min_slope < 1.0:
        raise OptionError(f"sum_of_squares: 0 < min_slope < 1 is expected; got {min_slope}.")
    dtype = torch.promote_types(x.dtype, coefficients.dtype)
    wide = torch.promote_types(dtype, torch.float32)
    ndim = 2 + max(x.dim(), coefficients.dim() - 2)
    a = coefficients.to(wide)[(None,) * (ndim - coefficients.dim())].movedim((-1, -2), (0, 1))  # powers, polynomials
    a = a + _start(a, min_slope)
    x, offset = x.to(wide), offset.to(wide)

    rule = gauss_legendre(a.shape[0])

    def function(v: torch.Tensor, params: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        return _integral(v, params[0], min_slope, rule), _log_slope(v, params[0], min_slope)

    if inverse:
        value, log_derivative = numerical_inverse(function, x - offset, (a,), tolerance=tolerance, steps=steps)
        return value.to(dtype), log_derivative.to(dtype)
    with torch.no_grad():
        infinite = torch.isinf(_integral(x.detach(), a.detach(), min_slope, rule))
    # Computed at 1 instead and then replaced: infinite intermediate results have gradients that are NaN.
    value = _integral(torch.where(infinite, torch.ones_like(x), x), a, min_slope, rule) + offset
    value = torch.where(infinite, torch.copysign(torch.full_like(x, torch.inf), x.detach()), value)
    return value.to(dtype), _log_slope(x, a, min_slope).to(dtype)


def _start(a: torch.Tensor, min_slope: float) -> torch.Tensor:
    """Returns what is added to the coefficients, ``(L + 1, K, 1, ...)``."""
    powers, count = a.shape[:2]
    level = torch.full((1, count), math.sqrt((1.0 - min_slope) / count), dtype=a.dtype, device=a.device)
    tilt = (2.0 * torch.arange(count, dtype=a.dtype, device=a.device) - (count - 1)) * (TILT / max(count - 1, 1))
    start = torch.cat((level, tilt.unsqueeze(0), level.new_zeros((max(powers - 2, 0), count))))[:powers]
    return start.reshape(powers, count, *(1,) * (a.dim() - 2))


def _integral(x: torch.Tensor, a: torch.Tensor, min_slope: float, rule: list[tuple[float, float]]) -> torch.Tensor:
    nodes = torch.tensor([u for u, _ in rule], dtype=x.dtype, device=x.device).reshape(-1, *(1,) * x.dim())
    polynomials, size, largest, least = _polynomials(x * nodes, a, min_slope)
    squares = sum(w * q.square().sum(0) for (_, w), q in zip(rule, polynomials.unbind(1), strict=True))
    # Multiplied in this order nothing overflows that does not have to.
    return x * (squares + least * least) * (largest * size) * (largest * size)


def _log_slope(x: torch.Tensor, a: torch.Tensor, min_slope: float) -> torch.Tensor:
    polynomials, size, largest, least = _polynomials(x.unsqueeze(0), a, min_slope)
    return 2.0 * (torch.log(size) + torch.log(largest)) + torch.log(polynomials[:, 0].square().sum(0) + least * least)


def _polynomials(
    x: torch.Tensor, a: torch.Tensor, min_slope: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the polynomials ``(K, N, ...)`` at ``x``, ``(N, ...)``, and the root of the least slope, both scaled.

    They are divided by the largest power of ``x``, so that no power overflows, and then by the largest of them, so that
    no square does. The two divisors, which also are returned, are constants to differentiation.
    """
    degree = a.shape[0] - 1
    scale = x.detach().abs().amax(0).clamp_min(1.0)
    u, shrink = x / scale, 1.0 / scale
    a = a.unsqueeze(2)
    result, power = a[-1] + torch.zeros_like(u), torch.ones_like(shrink)
    for row in reversed(a[:-1].unbind(0)):
        power = power * shrink
        result = result * u + row * power
    least = math.sqrt(min_slope) * power
    largest = torch.maximum(result.detach().abs().amax((0, 1)), least)
    return result / largest, scale**degree, largest, least / largest
