"""Monotone cubic splines on a box, the identity outside of it."""

from __future__ import annotations

import math

import torch

from ..errors import ShapeError
from ._bins import check_box, find, identity_outside, prepare, sizes, stack_up, take
from .rational_spline import solve_rational_quadratic

# From the guess that it starts from, the search is exact to the rounding of float64 after five of them, for all slopes
# that a bin may have: three within, where they are at most two chords, five at the ends of the box.
_STEPS = 5


def cubic_spline(
    x: torch.Tensor,
    widths: torch.Tensor,
    heights: torch.Tensor,
    derivatives: torch.Tensor | None = None,
    *,
    bound: float = 3.0,
    min_bin_width: float = 1e-3,
    min_bin_height: float = 1e-3,
    min_derivative: float = 1e-3,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps each coordinate by a monotone spline whose pieces are cubics.

    In bin :math:`k` of width :math:`w_k` and height :math:`h_k`, with :math:`s_k = h_k / w_k`,
    :math:`\theta = (x - x_k) / w_k` and the derivatives at the knots in units of the chord's slope,
    :math:`\delta_0 = d_k / s_k` and :math:`\delta_1 = d_{k+1} / s_k`,

    .. math::
        y &= y_k + h_k \left(\delta_0\, \theta (1 - \theta)^2 + (3 - \delta_1)\, \theta^2 (1 - \theta)
             + \theta^3\right), \\
        \frac{dy}{dx} &= s_k \left(\delta_0 (1 - \theta)^2 + 2 (3 - \delta_0 - \delta_1)\, \theta (1 - \theta)
             + \delta_1 \theta^2\right), \\
        d_k &= \min\left(2 s_{k-1},\; 2 s_k,\; \frac{w_k s_{k-1} + w_{k-1} s_k}{w_{k-1} + w_k}\right)
             \quad \text{between the ends}.

    At the ends the derivative is 1, or the largest one below it that keeps the cubic monotone, just under three slopes
    of the chord; or else it is given, as a part of those three. Outside of ``[-bound, bound]`` the map is the identity.
    With all parameters 0 and equal minima it is the identity everywhere. Dtypes narrower than float32 are computed in
    float32.

    Shapes: ``x`` is ``(*batch, *event)``, ``widths`` and ``heights`` ``(*batch, *event, K)``, ``derivatives``
    ``(*batch, *event, 2)``; all but the last axis of the parameters broadcasts against ``x``, and both results have the
    broadcast shape.

    Args:
        x: The points, or the images with ``inverse=True``.
        widths: The logarithms of the bins' widths, up to a constant: any real numbers.
        heights: The logarithms of the bins' heights, up to a constant: any real numbers.
        derivatives: What the derivatives at the two ends are made of, any real numbers; 0 is the slope of the chord.
        bound: The half width of the box.
        min_bin_width: The least width of a bin, as a fraction of the box.
        min_bin_height: The least height of a bin, as a fraction of the box.
        min_derivative: The least derivative at an end, and how far it stays below three, in slopes of the chord.
        inverse: Solves for ``x``: by five steps of Halley's method, from a guess so near that they always suffice.

    Returns:
        The value and the log-derivative of the map computed: with ``inverse=True`` it is :math:`\log|dx/dy|`.

    Raises:
        ShapeError: If the last axes do not fit together.
        OptionError: If ``bound`` is not positive, or a minimum is not positive or too large.

    Example:
        >>> x, raw = torch.tensor([-4.0, 0.5]), torch.tensor([0.0, 1.0])
        >>> cubic_spline(x, raw, -raw)
        (tensor([-4.0000,  2.0127]), tensor([ 0.0000, -2.1618]))

    References:
        Cubic-Spline Flows (Durkan et al., 2019), https://arxiv.org/abs/1906.02145, section 3.1.
        A simple method for monotonic interpolation in one dimension (Steffen, 1990),
        https://ui.adsabs.harvard.edu/abs/1990A&A...239..443S, equations 8, 9 and 11.
    """
    parameters = (widths, heights) if derivatives is None else (widths, heights, derivatives)
    shapes = [tuple(p.shape) for p in parameters]
    bins = shapes[0][-1] if shapes[0] else 0
    if bins < 1 or shapes[1][-1:] != (bins,) or (derivatives is not None and shapes[2][-1:] != (2,)):
        raise ShapeError(
            "cubic_spline: last axes of K >= 1 for widths and heights and of 2 for derivatives are expected; got "
            f"{' and '.join(map(str, shapes))}."
        )
    check_box(
        "cubic_spline",
        bins,
        bound,
        min_bin_width=min_bin_width,
        min_bin_height=min_bin_height,
        min_derivative=min_derivative,
    )
    dtype = torch.promote_types(x.dtype, widths.dtype)
    shape, clipped, prepared = prepare(x, bound, dtype, *parameters)
    w, h = sizes(prepared[0], 2.0 * bound, min_bin_width), sizes(prepared[1], 2.0 * bound, min_bin_height)
    x_knots, y_knots = stack_up(w, bound), stack_up(h, bound)
    index = find(clipped, y_knots if inverse else x_knots, shape)
    left, bottom = take(x_knots, index, shape)[0], take(y_knots, index, shape)[0]
    # The bin and its neighbours; where there is none, the bin itself, to be replaced.
    three = torch.cat((index - 1, index, index + 1)).clamp(0, bins - 1)
    w, h = take(w, three, shape), take(h, three, shape)
    d0, d1 = _slopes(index[0], w / h, w, bins, prepared[2:], min_derivative)
    width, height = w[1], h[1]
    if inverse:
        theta = _solve((clipped - bottom) / height, d0, d1)
        derivative = width / (height * _cubic(theta, d0, d1)[1])
        return identity_outside(x, left + width * theta, torch.log(derivative), bound, dtype)
    value, slope = _cubic((clipped - left) / width, d0, d1)
    return identity_outside(x, bottom + height * value, torch.log(height * slope / width), bound, dtype)


def _slopes(
    index: torch.Tensor, runs: torch.Tensor, w: torch.Tensor, bins: int, raw: list[torch.Tensor], minimum: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the slopes at the two knots of a bin, in units of its chord's.

    Args:
        index: The number of the bin.
        runs: The inverse slopes of the chords of the bin before, the bin, and the one after, axis first.
        w: The widths of the three.
        bins: How many bins there are.
        raw: What the slopes at the ends are made of, axis first, if they are given.
        minimum: The least slope at an end, and how far it stays below three.
    """
    chords = runs[1] / runs[::2]  # of the neighbours, in units of the bin's own
    mean = (w[1] * chords + w[::2]) / (w[1] + w[::2])
    least = torch.where(chords < 1.0, chords, 1.0)
    slopes = torch.where(mean < 2.0 * least, mean, 2.0 * least)
    if raw:
        shift = math.log((1.0 - minimum) / (2.0 - minimum))  # a raw 0 is the slope of the chord
        ends = minimum + (3.0 - 2.0 * minimum) * torch.sigmoid(raw[0] + shift)
    else:
        ends = runs[1:2].clamp_max(3.0 - minimum).expand(2, *index.shape)
    return torch.where(index == 0, ends[0], slopes[0]), torch.where(index == bins - 1, ends[1], slopes[1])


def _cubic(theta: torch.Tensor, d0: torch.Tensor, d1: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the cubic from (0, 0) to (1, 1) with these slopes there, and its slope."""
    rest = 1.0 - theta
    near, cross, far = rest * rest, theta * rest, theta * theta
    value = theta * (d0 * near + (3.0 - d1) * cross + far)
    return value, d0 * near + 2.0 * (3.0 - d0 - d1) * cross + d1 * far


def _solve(eta: torch.Tensor, d0: torch.Tensor, d1: torch.Tensor) -> torch.Tensor:
    """Returns where the cubic is ``eta``.

    The rational quadratic with the same ends has an inverse in closed form, and is the guess. A closed form for the
    cubic itself loses half the digits or more where two of its roots meet or its leading coefficient vanishes.
    """
    fixed = eta.detach(), d0.detach(), d1.detach()
    theta, _ = solve_rational_quadratic(*fixed)
    for _ in range(_STEPS):
        theta = _halley(theta, *fixed).clamp(0.0, 1.0)
    # The error of a step is of the third order, so that one from the solution has its first and second derivatives.
    return _halley(theta, eta, d0, d1)


def _halley(theta: torch.Tensor, eta: torch.Tensor, d0: torch.Tensor, d1: torch.Tensor) -> torch.Tensor:
    """Returns a step of Halley's method nearer to the solution."""
    value, slope = _cubic(theta, d0, d1)
    half_curvature = (3.0 - 2.0 * d0 - d1) * (1.0 - theta) + (d0 + 2.0 * d1 - 3.0) * theta
    error = value - eta
    return theta - error * slope / (slope * slope - error * half_curvature)
