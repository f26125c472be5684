"""The integral of a sum of squares of polynomials."""

from __future__ import annotations

import math
from itertools import accumulate
from operator import mul

import torch

from ..errors import OptionError, ShapeError
from .numerical_inverse import STEPS, TOLERANCE, numerical_inverse
from .quadrature import gauss_legendre

# How much the linear coefficients of different polynomials start apart.
TILT = 0.03
# Of factors of coefficients that are zero, or all but: finite, and so times zero.
MAX_EXPONENT = 100.0


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
        return _integral(v, params[0], min_slope, rule)

    if inverse:
        value, log_derivative = numerical_inverse(function, x - offset, (a,), tolerance=tolerance, steps=steps)
    else:
        value, log_derivative = function(x, (a,))
        value = value + offset
    return value.to(dtype), log_derivative.to(dtype)


def _start(a: torch.Tensor, min_slope: float) -> torch.Tensor:
    """Returns what is added to the coefficients, ``(L + 1, K, 1, ...)``."""
    powers, count = a.shape[:2]
    level = torch.full((1, count), math.sqrt((1.0 - min_slope) / count), dtype=a.dtype, device=a.device)
    tilt = (2.0 * torch.arange(count, dtype=a.dtype, device=a.device) - (count - 1)) * (TILT / max(count - 1, 1))
    start = torch.cat((level, tilt.unsqueeze(0), level.new_zeros((max(powers - 2, 0), count))))[:powers]
    return start.reshape(powers, count, *(1,) * (a.dim() - 2))


def _integral(
    x: torch.Tensor, a: torch.Tensor, min_slope: float, rule: list[tuple[float, float]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the integral from 0 to ``x`` and the logarithm of its derivative, for coefficients ``(L + 1, K, ...)``.

    The polynomials at the nodes and at ``x`` are one product of a matrix with the terms ``a x^l``. These are divided by
    a power of two at least as large as any of them, so that neither powers nor squares overflow or underflow.
    """
    degrees = torch.arange(a.shape[0], dtype=x.dtype, device=x.device)
    nodes = torch.tensor([*(u for u, _ in rule), 1.0], dtype=x.dtype, device=x.device)
    weights = torch.tensor([w for _, w in rule], dtype=x.dtype, device=x.device)
    degrees = degrees.reshape(-1, *(1,) * x.dim())
    with torch.no_grad():
        exponent = torch.floor(torch.log2(x.detach().abs().clamp_min(1.0)))
        sizes = torch.log2(a.detach().abs().amax(1)) + degrees * exponent
        shift = torch.ceil(sizes.amax(0).clamp_min(0.5 * math.log2(min_slope)))
        factors = torch.exp2((degrees * exponent - shift).clamp_max(MAX_EXPONENT))
        least, scale = math.sqrt(min_slope) * torch.exp2(-shift), torch.exp2(shift)
        shrink = torch.exp2(-exponent)
    powers = torch.stack(list(accumulate([x * shrink] * (a.shape[0] - 1), mul, initial=torch.ones_like(x))))
    terms = a * (powers * factors).unsqueeze(1)
    matrix = nodes.unsqueeze(1) ** degrees.flatten()
    squares = torch.tensordot(matrix, terms, 1).square().sum(1) + least * least
    # Infinite where it exceeds the dtype, with gradients of zero: infinite intermediate results have none.
    mean = x * torch.tensordot(weights, squares[:-1], 1)
    infinite = torch.isinf(mean.detach() * scale * scale)
    scale = torch.where(infinite, torch.zeros_like(scale), scale)
    value = torch.where(infinite, torch.copysign(torch.full_like(mean, torch.inf), x.detach()), mean * scale * scale)
    return value, torch.log(squares[-1]) + (2.0 * math.log(2.0)) * shift
