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
