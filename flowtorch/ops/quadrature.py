"""Quadrature rules."""

from __future__ import annotations

import math


def gauss_legendre(count: int) -> list[tuple[float, float]]:
    r"""Returns nodes and weights of Gauss-Legendre quadrature on [0, 1].

    .. math:: \int_0^1 f(u) \, du \approx \sum_i w_i f(u_i), \quad P_n(2 u_i - 1) = 0, \quad
              w_i = \frac{1}{(1 - z_i^2) P_n'(z_i)^2}, \quad z_i = 2 u_i - 1

    It is exact for polynomials of degree below twice ``count``. The nodes are found by Newton's method.

    Args:
        count: How many nodes, at least 1.

    Returns:
        Pairs of node and weight, with ascending nodes.

    Example:
        >>> round(sum(w * u**3 for u, w in gauss_legendre(2)), 15)
        0.25
    """
    pairs = []
    for i in range(count):
        z = -math.cos(math.pi * (i + 0.75) / (count + 0.5))
        slope = 1.0
        for _ in range(6):  # quadratic from an error of 1e-2 at most: three would do
            before, value = 1.0, z
            for n in range(2, count + 1):
                before, value = value, ((2 * n - 1) * z * value - (n - 1) * before) / n
            slope = count * (z * value - before) / (z * z - 1.0)
            z -= value / slope
        pairs.append((0.5 * (1.0 + z), 1.0 / ((1.0 - z * z) * slope * slope)))
    return pairs


def clenshaw_curtis(count: int) -> list[tuple[float, float]]:
    r"""Returns nodes and weights of Clenshaw-Curtis quadrature on [0, 1], the ends of which are nodes.

    .. math:: \int_0^1 f(u) \, du \approx \sum_{k=0}^n w_k f(u_k), \quad u_k = \frac{1 - \cos(k \pi / n)}{2}, \quad
              w_k = \frac{c_k}{2 n}
              \Big(1 - \sum_{j=1}^{\lfloor n/2 \rfloor} \frac{b_j}{4 j^2 - 1} \cos \frac{2 j k \pi}{n} \Big)

    with :math:`n` = ``count`` - 1, :math:`c_k` = 1 at the ends and 2 between, :math:`b_j` = 1 where :math:`2 j = n`
    and 2 elsewhere. It is exact for polynomials of degree below ``count``. One node is the midpoint.

    Args:
        count: How many nodes, at least 1.

    Returns:
        Pairs of node and weight, with ascending nodes.

    Example:
        >>> round(sum(w * u**3 for u, w in clenshaw_curtis(4)), 15)
        0.25

    References:
        Is Gauss Quadrature Better than Clenshaw-Curtis? (Trefethen, 2008),
        https://doi.org/10.1137/060659831, section 2.
    """
    n = count - 1
    if n == 0:
        return [(0.5, 1.0)]
    pairs = []
    for k in range(count):
        terms = (
            (1.0 if 2 * j == n else 2.0) / (4 * j * j - 1) * math.cos(2.0 * math.pi * j * k / n)
            for j in range(1, n // 2 + 1)
        )
        weight = (1.0 if k in (0, n) else 2.0) / (2 * n) * (1.0 - math.fsum(terms))
        pairs.append((0.5 * (1.0 - math.cos(math.pi * k / n)), weight))
    return pairs
