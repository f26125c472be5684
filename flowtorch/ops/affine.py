"""The affine map with a positive, bounded scale."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F

from ..errors import OptionError
from . import fused
from .elementary import SOFTPLUS_THRESHOLD

ScaleFn: TypeAlias = Literal["softplus", "exp", "sigmoid"]

SCALE_FNS = ("softplus", "exp", "sigmoid")  # in the order of _native/affine.h
_SOFTPLUS_SHIFT = math.log(math.expm1(1.0))  # softplus of it is 1


def affine(
    x: torch.Tensor,
    loc: torch.Tensor,
    raw_scale: torch.Tensor,
    *,
    scale_fn: ScaleFn = "softplus",
    gated: bool = False,
    sigmoid_bias: float = 2.0,
    clamp_values: bool = False,
    log_scale_min_clip: float = -5.0,
    log_scale_max_clip: float = 3.0,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Scales and shifts each coordinate.

    .. math::
        y = s x + t, \qquad \log \left|\frac{dy}{dx}\right| = \log s,

    with :math:`t` = ``loc`` and :math:`\log s` = :func:`log_scale` of ``raw_scale``; gated,
    :math:`y = s x + (1 - s) t`, where :math:`s` says how much of :math:`x` is kept and how much replaced by :math:`t`.

    Shapes: ``x``, ``loc`` and ``raw_scale`` broadcast; both results have the broadcast shape.

    Args:
        x: The points, or the images with ``inverse=True``.
        loc: The shift, any real number.
        raw_scale: What the scale is made of, any real number.
        scale_fn: How the scale is made positive, see :func:`log_scale`.
        gated: Mixes ``x`` with ``loc`` instead of adding ``loc``; meant for ``scale_fn="sigmoid"``.
        sigmoid_bias: Added to ``raw_scale`` with ``scale_fn="sigmoid"``.
        clamp_values: Bounds the log-scale by a hard clamp instead of smoothly.
        log_scale_min_clip: The lower bound of the log-scale, negative; ``-math.inf`` for none.
        log_scale_max_clip: The upper bound of the log-scale, positive; ``math.inf`` for none.
        inverse: Solves for ``x``.

    Returns:
        The value and the log-derivative of the map computed: with ``inverse=True`` it is :math:`\log|dx/dy|`.

    Raises:
        OptionError: If ``scale_fn`` is unknown or the bounds do not enclose 0.

    Example:
        >>> x, loc, raw_scale = torch.tensor([1.0, 2.0]), torch.tensor(3.0), torch.zeros(2)
        >>> affine(x, loc, raw_scale)  # a raw scale of 0 is a scale of 1
        (tensor([4., 5.]), tensor([0., 0.]))

    References:
        Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
        https://arxiv.org/abs/1606.04934, equations 13 and 14 for ``gated=True``.
    """
    _check(scale_fn, log_scale_min_clip, log_scale_max_clip)
    reference = partial(
        _reference,
        scale_fn=scale_fn,
        gated=gated,
        sigmoid_bias=sigmoid_bias,
        clamp_values=clamp_values,
        log_scale_min_clip=log_scale_min_clip,
        log_scale_max_clip=log_scale_max_clip,
        inverse=inverse,
    )
    scale = scale_options(scale_fn, gated, sigmoid_bias, clamp_values, log_scale_min_clip, log_scale_max_clip)
    return fused.run("affine", reference, x, (loc, raw_scale), (*scale, inverse))


def scale_options(
    scale_fn: ScaleFn, gated: bool, sigmoid_bias: float, clamp_values: bool, least: float, most: float
) -> fused.Options:
    """Returns what operators are told of the scale, in the order of _native/register.cpp."""
    shift = _SOFTPLUS_SHIFT if scale_fn == "softplus" else sigmoid_bias
    return SCALE_FNS.index(scale_fn), shift, gated, clamp_values, least, most


def _reference(
    x: torch.Tensor,
    loc: torch.Tensor,
    raw_scale: torch.Tensor,
    *,
    scale_fn: ScaleFn,
    gated: bool,
    sigmoid_bias: float,
    clamp_values: bool,
    log_scale_min_clip: float,
    log_scale_max_clip: float,
    inverse: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes :func:`affine` for arguments that were checked."""
    log_s = log_scale(
        raw_scale,
        scale_fn=scale_fn,
        sigmoid_bias=sigmoid_bias,
        clamp_values=clamp_values,
        log_scale_min_clip=log_scale_min_clip,
        log_scale_max_clip=log_scale_max_clip,
    )
    if inverse:
        log_s = -log_s
    # Gated, loc is the fixed point in both directions: y - t = s (x - t), and x - t = (y - t) / s.
    if gated:
        value = torch.exp(log_s) * (x - loc) + loc
    elif inverse:
        value = torch.exp(log_s) * (x - loc)
    else:
        value = torch.exp(log_s) * x + loc
    return value, log_s.expand_as(value)


def log_scale(
    raw_scale: torch.Tensor,
    *,
    scale_fn: ScaleFn = "softplus",
    sigmoid_bias: float = 2.0,
    clamp_values: bool = False,
    log_scale_min_clip: float = -5.0,
    log_scale_max_clip: float = 3.0,
) -> torch.Tensor:
    r"""Returns the logarithm of the scale of :func:`affine`.

    .. math::
        a = \log \operatorname{softplus}(r + \log(e - 1)) \quad\text{or}\quad r \quad\text{or}\quad
        \log \sigma(r + b), \qquad
        \log s = \begin{cases} a_{\max} \tanh(a / a_{\max}), & a \ge 0 \\ a_{\min} \tanh(a / a_{\min}), & a < 0
        \end{cases}

    for ``scale_fn`` ``"softplus"``, ``"exp"`` and ``"sigmoid"``. The bound is monotone and, at 0, has value 0, slope 1
    and no curvature: scales are left alone until they come near it. (A rational bound would bend from the start, and
    double the effort of a scale of 5.)

    Shapes: the result has the shape of ``raw_scale``.

    Args:
        raw_scale: Any real number :math:`r`.
        scale_fn: How the scale is made positive; 0 gives the scale 1 with ``"softplus"`` and ``"exp"``.
        sigmoid_bias: The :math:`b` of ``"sigmoid"``: large values start with a scale near 1.
        clamp_values: Uses ``clamp`` for the bound, with the gradient of no bound at all.
        log_scale_min_clip: The lower bound :math:`a_{\min} < 0`; ``-math.inf`` for none.
        log_scale_max_clip: The upper bound :math:`a_{\max} > 0`; ``math.inf`` for none.

    Returns:
        The log-scale, between the bounds.

    Raises:
        OptionError: If ``scale_fn`` is unknown or the bounds do not enclose 0.

    Example:
        >>> log_scale(torch.tensor([-1e6, 0.0, 3.0, 1e6]), scale_fn="exp")
        tensor([-5.0000,  0.0000,  2.2848,  3.0000])
    """
    _check(scale_fn, log_scale_min_clip, log_scale_max_clip)
    if scale_fn == "softplus":
        a = _log_softplus(raw_scale + _SOFTPLUS_SHIFT)
    elif scale_fn == "exp":
        a = raw_scale
    else:
        a = -F.softplus(-(raw_scale + sigmoid_bias), threshold=SOFTPLUS_THRESHOLD)
    if clamp_values:
        # The difference is exactly 0 and carries the gradient. The usual a + (clamped - a).detach() returns 0 instead
        # of the bound where a is so large that the bound is lost in the difference.
        return a.clamp(log_scale_min_clip, log_scale_max_clip).detach() + (a - a.detach())
    above, below = _bounded(a, log_scale_max_clip), _bounded(a, log_scale_min_clip)
    return torch.where(a >= 0.0, above, below)


def _check(scale_fn: str, log_scale_min_clip: float, log_scale_max_clip: float) -> None:
    if not log_scale_min_clip < 0.0 < log_scale_max_clip:
        raise OptionError(
            "log_scale: log_scale_min_clip < 0 < log_scale_max_clip is expected; "
            f"got {log_scale_min_clip} and {log_scale_max_clip}."
        )
    if scale_fn not in SCALE_FNS:
        raise OptionError(f"log_scale: scale_fn is 'softplus', 'exp' or 'sigmoid'; got {scale_fn!r}.")


def _bounded(a: torch.Tensor, bound: float) -> torch.Tensor:
    return a if math.isinf(bound) else bound * torch.tanh(a / bound)


def _log_softplus(a: torch.Tensor) -> torch.Tensor:
    """Returns ``log(softplus(a))``; straightforwardly, softplus underflows to 0 and the gradient is 0 / 0."""
    # log(softplus(a)) = a - exp(a) / 2 + ...: from here on down, a itself is right to rounding, and so is the slope 1.
    threshold = math.log(torch.finfo(a.dtype).eps)
    scale = F.softplus(a.clamp_min(threshold), threshold=SOFTPLUS_THRESHOLD)
    return torch.where(a < threshold, a, torch.log(scale))
