"""The integral of a positive function, by quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch

from ..errors import OptionError
from .affine import log_scale
from .numerical_inverse import STEPS, TOLERANCE, numerical_inverse
from .quadrature import gauss_legendre

Integrand: TypeAlias = Callable[[torch.Tensor, tuple[torch.Tensor, ...]], torch.Tensor]


def monotonic_integral(
    x: torch.Tensor,
    integrand: Integrand,
    params: tuple[torch.Tensor, ...],
    offset: torch.Tensor,
    *,
    bound: float = 5.0,
    rule: Sequence[tuple[float, float]] | int = 32,
    tolerance: float = TOLERANCE,
    steps: int = STEPS,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps each coordinate by the integral of a positive function from 0.

    .. math::
        y = c + \int_0^x g(t; h) \, dt, \qquad \log \frac{dy}{dx} = \log g(x; h)

    with :math:`c` = ``offset`` and :math:`\log g` = :func:`log_scale` of what ``integrand`` returns, within (-5, 3); if
    that is 0, the map is the identity. Within ``[-bound, bound]`` the integral is taken by Gauss-Legendre quadrature;
    outside ``g`` is what it is at the ends, and the map goes on straight. The derivative by ``x`` is, by
    Leibniz' rule, the integrand itself (and not the derivative of the quadrature): the two agree as far as the rule is
    exact, which for smooth functions depends on ``rule`` exponentially. The inverse is iterated.

    Shapes: ``x`` and ``offset`` are ``(*batch, *event)`` and broadcast; both results have the broadcast shape.

    Args:
        x: The points, or the images with ``inverse=True``.
        integrand: Takes points ``(N, *batch, *event)`` and ``params``, and returns as many unbounded numbers.
        params: Handed on to ``integrand``.
        offset: The value at 0.
        bound: Where the straight lines begin.
        rule: Nodes and weights on [0, 1], or how many of Gauss-Legendre's to take.
        tolerance: That of :func:`numerical_inverse`.
        steps: Those of :func:`numerical_inverse`.
        inverse: Solves for ``x``.

    Returns:
        The value and the log-derivative of the map computed: with ``inverse=True`` it is :math:`\log|dx/dy|`.

    Raises:
        OptionError: If ``bound`` is not positive.

    Example:
        >>> x = torch.tensor([-1e6, 1.0])
        >>> monotonic_integral(x, lambda t, params: torch.zeros_like(t), (), torch.tensor(2.0))
        (tensor([-1.0000e+06,  3.0000e+00]), tensor([0., 0.]))

    References:
        Unconstrained Monotonic Neural Networks (Wehenkel and Louppe, 2019), https://arxiv.org/abs/1908.05164, equations
        1 and 5.
    """
    if not 0.0 < bound < math.inf:
        raise OptionError(f"monotonic_integral: a positive, finite bound is expected; got {bound}.")
    pairs = gauss_legendre(rule) if isinstance(rule, int) else rule

    def function(v: torch.Tensor, p: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        inside = v.clamp(-bound, bound)
        fixed = inside.detach()
        points = [*(u * fixed for u, _ in pairs), fixed, inside]
        log_g = log_scale(integrand(torch.stack(points), p))
        *values, here, there = torch.exp(log_g).unbind(0)
        integral = fixed * sum(w * g for (_, w), g in zip(pairs, values, strict=True))
        # Of value zero: the trapezium from the point to itself has the first and second derivatives by x.
        leibniz = (inside - fixed) * (0.5 * (here + there))
        return integral + leibniz + (v - inside) * there, log_g[-1]

    if not inverse:
        value, log_derivative = function(x, params)
        return value + offset, log_derivative
    y = x - offset
    # The integrand lies between exp(-5) and exp(3); a little more for rounding.
    narrow, wide = 0.99 * math.exp(-3.0) * y.detach(), 1.01 * math.exp(5.0) * y.detach()
    return numerical_inverse(
        function, y, params, bracket=(narrow, wide), start=y.detach(), tolerance=tolerance, steps=steps
    )
