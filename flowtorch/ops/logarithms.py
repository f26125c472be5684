"""Maps made of exponentials and logarithms, beside those of :mod:`flowtorch.ops.elementary`."""

from __future__ import annotations

import torch

from .elementary import log_of_largest


def expm1(x: torch.Tensor, *, inverse: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps the real line onto the numbers above -1.

    .. math::
        y = e^x - 1, \qquad \log \left|\frac{dy}{dx}\right| = x, \qquad x = \log(1 + y)

    Shapes: both results have the shape of ``x``.

    Args:
        x: Any real number; with ``inverse=True``, a number above -1.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The value, forward never rounded to -1, and the log-derivative of the map computed.

    Example:
        >>> expm1(torch.tensor([0.0, 1.0]))
        (tensor([0.0000, 1.7183]), tensor([0., 1.]))
    """
    if inverse:
        value = torch.log1p(x)
        return value, -value
    # A clone: no result shares memory with an input.
    return expm1_or_inf(x).clamp_min(-(1.0 - torch.finfo(x.dtype).eps / 2.0)), x.clone()


def expm1_or_inf(x: torch.Tensor) -> torch.Tensor:
    """Returns ``exp(x) - 1``, and infinity with gradient 0 (not infinity) where that is beyond the dtype."""
    limit = log_of_largest(x)
    return torch.where(x > limit, torch.inf, torch.expm1(x.clamp_max(limit)))


def log1p_square(x: torch.Tensor) -> torch.Tensor:
    """Returns ``log(1 + x**2)``, also where the square is beyond the dtype."""
    big = (x > 1.0) | (x < -1.0)
    outer = torch.where(big, x, 1.0)
    # Not by the absolute value, whose gradient at 0 would make the second derivative there 0.
    small = torch.where(big, 1.0 / outer, x)
    return torch.log1p(small * small) + 2.0 * torch.log(torch.abs(outer))
