"""The inverse of ``log_scale``: what to start raw numbers at for given scales."""

from __future__ import annotations

import math

import torch

from .affine import ScaleFn


def raw_scale(
    log_s: torch.Tensor,
    *,
    scale_fn: ScaleFn = "softplus",
    sigmoid_bias: float = 2.0,
    clamp_values: bool = False,
    log_scale_min_clip: float = -5.0,
    log_scale_max_clip: float = 3.0,
) -> torch.Tensor:
    r"""Returns the raw number whose scale has a given logarithm: the inverse of :func:`log_scale`.

    .. math::
        a = a_b \operatorname{artanh}(\log s / a_b), \qquad
        r = \log(e^{e^a} - 1) - \log(e - 1) \quad\text{or}\quad a \quad\text{or}\quad a - \log(1 - e^a) - b

    for ``scale_fn`` ``"softplus"``, ``"exp"`` and ``"sigmoid"``, where :math:`a_b` is the bound on the side of
    :math:`\log s`.

    Shapes: the result has the shape of ``log_s``.

    Args:
        log_s: Any real number; where it is out of reach, or within a twentieth of a bound, the nearest that is not.
        scale_fn: How the scale is made positive.
        sigmoid_bias: The :math:`b` of ``"sigmoid"``.
        clamp_values: Whether the bound is a hard clamp.
        log_scale_min_clip: The lower bound, negative; ``-math.inf`` for none.
        log_scale_max_clip: The upper bound, positive; ``math.inf`` for none.

    Returns:
        The raw number.

    Example:
        >>> from flowtorch.ops import log_scale
        >>> log_scale(raw_scale(torch.tensor([-2.0, 0.5, 9.0]))).round(decimals=4)
        tensor([-2.0000,  0.5000,  2.8500])
    """
    if scale_fn == "sigmoid":
        log_s = log_s.clamp_max(-0.05)
    low, high = (_before_bound(log_s, bound, clamp_values) for bound in (log_scale_min_clip, log_scale_max_clip))
    a = torch.where(log_s < 0.0, low, high)
    if scale_fn == "exp":
        return a
    if scale_fn == "sigmoid":
        return a - torch.log(-torch.expm1(a)) - sigmoid_bias
    scale = torch.exp(a)
    return scale + torch.log(-torch.expm1(-scale)) - math.log(math.expm1(1.0))


def _before_bound(log_s: torch.Tensor, bound: float, hard: bool) -> torch.Tensor:
    if math.isinf(bound):
        return log_s
    share = (log_s / bound).clamp(-0.95, 0.95)
    return bound * (share if hard else torch.atanh(share))
