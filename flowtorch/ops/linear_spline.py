"""Monotone piecewise linear splines on a box, the identity outside of it."""

from __future__ import annotations

import torch

from ..errors import ShapeError
from ._bins import check_box, ends, find, identity_outside, knots, prepare, take


def linear_spline(
    x: torch.Tensor,
    heights: torch.Tensor,
    *,
    bound: float = 3.0,
    min_bin_height: float = 1e-3,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps each coordinate by straight pieces over bins of equal width.

    In bin :math:`k`, with :math:`w = 2B / K` and :math:`\theta = (x - x_k) / w`,

    .. math::
        y = y_k + (y_{k+1} - y_k)\, \theta, \qquad \frac{dy}{dx} = \frac{y_{k+1} - y_k}{w}.

    Outside of ``[-bound, bound]`` it is the identity. The derivative jumps at the knots, the ends among them. With all
    parameters 0 it is the identity everywhere. Dtypes narrower than float32 are computed in float32.

    Shapes: ``x`` is ``(*batch, *event)`` and ``heights`` ``(*batch, *event, K)``; all but the last axis of the latter
    broadcasts against ``x``, and both results have the broadcast shape.

    Args:
        x: The points, or the images with ``inverse=True``.
        heights: The logarithms of the bins' heights, up to a constant: any real numbers.
        bound: The half width of the box.
        min_bin_height: The least height of a bin, as a fraction of the box.
        inverse: Solves for ``x``.

    Returns:
        The value and the log-derivative of the map computed: with ``inverse=True`` it is :math:`\log|dx/dy|`.

    Raises:
        ShapeError: If there is no axis of bins.
        OptionError: If ``bound`` is not positive, or the minimum is not positive or too large.

    Example:
        >>> linear_spline(torch.tensor([-4.0, -1.5, 1.5]), torch.tensor([0.0, 1.0]))
        (tensor([-4.0000, -2.1918,  0.8082]), tensor([ 0.0000, -0.6184,  0.3793]))

    References:
        Neural Importance Sampling (Mueller et al., 2019), https://arxiv.org/abs/1808.03856, section 4.1.
    """
    bins = heights.shape[-1] if heights.dim() else 0
    if bins < 1:
        raise ShapeError(f"linear_spline: heights with a last axis of K >= 1 are expected; got {tuple(heights.shape)}.")
    check_box("linear_spline", bins, bound, min_bin_height=min_bin_height)
    dtype = torch.promote_types(x.dtype, heights.dtype)
    shape, clipped, (heights,) = prepare(x, bound, dtype, heights)
    y_knots, width = knots(heights, bound, min_bin_height), 2.0 * bound / bins
    if inverse:
        index = find(clipped, y_knots, shape)
    else:
        position = (clipped + bound) / width
        # Clamped as integers, so that NaN finds a bin too.
        index = position.to(torch.int64).clamp(0, bins - 1).expand(1, *shape)
    bottom, top = take(y_knots, ends(index), shape).unbind(0)
    slope = (top - bottom) / width
    left = index[0].to(clipped.dtype) * width - bound  # an integer times a float would have torch's default dtype
    if inverse:
        return identity_outside(x, left + (clipped - bottom) / slope, -torch.log(slope), bound, dtype)
    return identity_outside(x, bottom + (clipped - left) * slope, torch.log(slope), bound, dtype)
