"""Monotone quadratic splines on a box, the identity outside of it."""

from __future__ import annotations

import torch

from ..errors import ShapeError
from ._bins import check_box, ends, find, identity_outside, prepare, sizes, stack_up, take


def quadratic_spline(
    x: torch.Tensor,
    widths: torch.Tensor,
    derivatives: torch.Tensor,
    *,
    bound: float = 3.0,
    min_bin_width: float = 1e-3,
    min_derivative: float = 1e-3,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps each coordinate by a monotone spline whose derivative is continuous and piecewise linear.

    With positive :math:`d_0, \dots, d_K` at the knots, scaled so that the box is mapped onto itself, and
    :math:`\theta = (x - x_k) / w_k` in bin :math:`k` of width :math:`w_k`,

    .. math::
        \frac{dy}{dx} = (1 - \theta)\, d_k + \theta\, d_{k+1}, \qquad
        y = y_k + w_k \left(d_k \theta + \tfrac{1}{2} (d_{k+1} - d_k)\, \theta^2\right), \qquad
        \sum_k w_k \frac{d_k + d_{k+1}}{2} = 2B.

    Outside of ``[-bound, bound]`` it is the identity, and at the ends its derivative is 1, or given too. With all
    parameters 0 it is the identity everywhere. Dtypes narrower than float32 are computed in float32.

    Shapes: ``x`` is ``(*batch, *event)``, ``widths`` ``(*batch, *event, K)``, ``derivatives`` ``(*batch, *event,
    K - 1)`` or, with those at the ends, ``(*batch, *event, K + 1)``; all but the last axis of the parameters broadcasts
    against ``x``, and both results have the broadcast shape.

    Args:
        x: The points, or the images with ``inverse=True``.
        widths: The logarithms of the bins' widths, up to a constant: any real numbers.
        derivatives: The logarithms of the derivatives at the knots, up to a constant: any real numbers.
        bound: The half width of the box.
        min_bin_width: The least width of a bin, as a fraction of the box.
        min_derivative: The least derivative at a knot.
        inverse: Solves for ``x``.

    Returns:
        The value and the log-derivative of the map computed: with ``inverse=True`` it is :math:`\log|dx/dy|`.

    Raises:
        ShapeError: If the last axes do not fit together.
        OptionError: If ``bound`` is not positive, or a minimum is not positive or too large.

    Example:
        >>> quadratic_spline(torch.tensor([-4.0, 0.5]), torch.tensor([0.0, 1.0]), torch.ones(1))
        (tensor([-4.0000,  0.5000]), tensor([0., 0.]))

    References:
        Neural Importance Sampling (Mueller et al., 2019), https://arxiv.org/abs/1808.03856, section 4.2.
    """
    shapes = tuple(widths.shape), tuple(derivatives.shape)
    bins = shapes[0][-1] if shapes[0] else 0
    if bins < 1 or shapes[1][-1:] not in ((bins - 1,), (bins + 1,)):
        raise ShapeError(
            "quadratic_spline: last axes of K >= 1 for widths and of K - 1 or K + 1 for derivatives are expected; got "
            f"{shapes[0]} and {shapes[1]}."
        )
    check_box("quadratic_spline", bins, bound, min_bin_width=min_bin_width, min_derivative=min_derivative)
    dtype = torch.promote_types(x.dtype, widths.dtype)
    shape, clipped, (widths, derivatives) = prepare(x, bound, dtype, widths, derivatives)
    fractions = sizes(widths, 1.0, min_bin_width)
    slopes = min_derivative + (1.0 - min_derivative) * _densities(fractions, derivatives)
    steps = (2.0 * bound) * fractions
    x_knots, y_knots = stack_up(steps, bound), stack_up(steps * _middles(slopes), bound)
    corners = ends(find(clipped, y_knots if inverse else x_knots, shape))
    left, right = take(x_knots, corners, shape).unbind(0)
    bottom, top = take(y_knots, corners, shape).unbind(0)
    d0, d1 = take(slopes, corners, shape).unbind(0)
    width, height, mean = right - left, top - bottom, 0.5 * (d0 + d1)
    if inverse:
        eta = (clipped - bottom) / height
        # The slope at the solution squared: a sum of positive terms, unlike b * b - 4 * a * c.
        slope = torch.sqrt(d0 * d0 * (1.0 - eta) + d1 * d1 * eta)
        value = left + width * (2.0 * mean * eta / (d0 + slope))
        return identity_outside(x, value, -torch.log(slope), bound, dtype)
    theta = (clipped - left) / width
    rest = 1.0 - theta
    value = bottom + height * (theta * (theta + d0 / mean * rest))
    return identity_outside(x, value, torch.log(d0 * rest + d1 * theta), bound, dtype)


def _densities(fractions: torch.Tensor, raw: torch.Tensor) -> torch.Tensor:
    """Returns positive numbers at the knots whose integral by the trapezoidal rule is 1; 1 at ends that are not given.

    Shapes: ``fractions``, that add up to 1, ``(K, ...)``, ``raw`` ``(K - 1, ...)`` or ``(K + 1, ...)``, and the result
    ``(K + 1, ...)``.
    """
    bins = fractions.shape[0]
    if bins == 1 and raw.shape[0] == 0:
        return torch.ones_like(fractions).expand(2, *fractions.shape[1:])
    # Their scale is free: the largest is 1, so that none overflows and the integral does not vanish.
    given = torch.exp(raw - raw.amax(0, keepdim=True).detach())
    if raw.shape[0] > bins:
        return given / (fractions * _middles(given)).sum(0, keepdim=True)
    # An inner knot weighs half of the two bins that it is between; ends of 1 leave this much of the integral to them.
    left_over = 1.0 - 0.5 * (fractions[:1] + fractions[-1:])
    inner = given * (left_over / (given * _middles(fractions)).sum(0, keepdim=True))
    one = torch.ones_like(inner[:1])
    return torch.cat((one, inner, one))


def _middles(values: torch.Tensor) -> torch.Tensor:
    """Returns the means of neighbours."""
    return 0.5 * (values[:-1] + values[1:])
