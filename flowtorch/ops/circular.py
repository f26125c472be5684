"""Maps of angles."""

from __future__ import annotations

import math

import torch


def circular_shift(
    x: torch.Tensor, shift: float | torch.Tensor, *, inverse: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Turns angles, counted from :math:`-\pi` to :math:`\pi`.

    .. math::
        y = ((x + s + \pi) \bmod 2\pi) - \pi, \qquad \log \left|\frac{dy}{dx}\right| = 0

    Shapes: ``x`` and ``shift`` broadcast; both results have the broadcast shape.

    Args:
        x: An angle strictly between :math:`-\pi` and :math:`\pi`, in both directions.
        shift: The angle :math:`s` to turn by, any real number: a number, or a tensor of numbers.
        inverse: Turns back.

    Returns:
        The value, never rounded to :math:`-\pi` or :math:`\pi`, and the log-derivative.

    Example:
        >>> circular_shift(torch.tensor([0.0, 3.0]), 1.0)
        (tensor([ 1.0000, -2.2832]), tensor([0., 0.]))

    References:
        Normalizing Flows on Tori and Spheres (Rezende et al., 2020), https://arxiv.org/abs/2002.02428, section 2.1,
        the phase translation.
    """
    turned = x - shift if inverse else x + shift
    whole = torch.floor((turned + math.pi) / (2.0 * math.pi))
    # Both ends are one point of the circle, and none of the open interval that the inverse takes.
    end = math.pi * (1.0 - torch.finfo(x.dtype).eps)
    value = (turned - 2.0 * math.pi * whole).clamp(-end, end)
    return value, torch.where(torch.isnan(value), value, 0.0)
