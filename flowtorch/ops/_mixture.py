"""Mixtures of symmetric distributions: both tails and the density, on the scale of logarithms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import torch

from ..errors import ShapeError
from ._normal import NORMAL_PEAK, inverse_log_cdf, log_mills, scaled_tail, scaled_tail_
from ._own_backward import Tensors, own_backward
from .fused import run
from .numerical_inverse import numerical_inverse

Kind: TypeAlias = Literal["logistic", "normal"]
# Takes log F, log(1 - F) and log(F' / F(1 - F)); returns the value and the log-derivative.
Link: TypeAlias = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

# How far apart equal components start: without it they would have equal gradients for ever.
SPREAD = 0.5
# The bounds of log-scales, -5 and 3, as those of log_scale.
CENTRE, HALF_RANGE = 4.0, 1.0


def mixture_op(
    who: str,
    kind: Kind,
    x: torch.Tensor,
    logits: torch.Tensor,
    raw_slopes: torch.Tensor,
    places: torch.Tensor,
    *,
    centred: bool,
    start: float = 0.0,
    tolerance: float,
    steps: int,
    inverse: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Returns :math:`P^{-1}(F(x))`, or its inverse, in the dtype of the results, from raw parameters.

    ``places`` are the biases of the components; with ``centred`` their locations, and ``raw_slopes`` are raw scales.
    """
    sizes = [p.shape[-1] if p.dim() else 0 for p in (logits, raw_slopes, places)]
    if len(set(sizes)) > 1 or sizes[0] < 1:
        raise ShapeError(f"{who}: parameters with last axes of one size, at least 1, are expected; got sizes {sizes}.")

    def reference(
        x: torch.Tensor, logits: torch.Tensor, raw_slopes: torch.Tensor, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # Over a short last axis torch's reductions fall back to scalar code on the CPU.
        dtype = torch.promote_types(x.dtype, logits.dtype)
        wide = torch.promote_types(dtype, torch.float32)
        ndim = max(t.dim() for t in (x.unsqueeze(-1), logits, raw_slopes, places))
        logits, raw_slopes, places = (first_axis(p.to(wide), ndim) for p in (logits, raw_slopes, places))
        slopes, places = rates(raw_slopes, -1.0 if centred else 1.0, start), places + spread(places)
        biases = -slopes * places if centred else places
        value, log_derivative = mixture_map(kind, x.to(wide), logits, slopes, biases, tolerance, steps, inverse)
        return value.to(dtype), log_derivative.to(dtype)

    if inverse:
        return reference(x, logits, raw_slopes, places)
    options = (int(kind == "normal"), start, SPREAD / max(sizes[0] - 1, 1), centred)
    return run("mixture", reference, x, (logits, raw_slopes, places), options)


def first_axis(p: torch.Tensor, ndim: int, axes: int = 1) -> torch.Tensor:
    """Returns ``p`` with ``ndim`` axes, its last ones first, in reverse and in memory too: a copy that soon pays."""
    last = tuple(range(-1, -axes - 1, -1))
    return p[(None,) * (ndim - p.dim())].movedim(last, tuple(range(axes))).contiguous()


def spread(like: torch.Tensor) -> torch.Tensor:
    """Returns numbers evenly spaced around zero, one an entry of the first axis; 0 for one component."""
    count = like.shape[0]
    steps = torch.arange(count, dtype=like.dtype, device=like.device).reshape(-1, *(1,) * (like.dim() - 1))
    return (2.0 * steps - (count - 1)) * (SPREAD / max(count - 1, 1))


def spread_variance(count: int) -> float:
    """Returns the variance of the numbers of :func:`spread`."""
    return SPREAD**2 * (count + 1) / (3 * max(count - 1, 1)) if count > 1 else 0.0


def rates(raw: torch.Tensor, sign: float = 1.0, start: float = 0.0) -> torch.Tensor:
    """Returns ``exp(start + sign * log_scale(raw, scale_fn="exp"))``, of a log-scale within (-5, 3).

    Without ``torch.where`` and ``torch.tanh``, ten times as fast: on the CPU torch's sigmoid is vectorised best.
    """

    def plain(raw: torch.Tensor) -> Tensors:
        limit = CENTRE - HALF_RANGE * torch.sign(raw)
        return (torch.exp(start + sign * limit * (2.0 * torch.sigmoid(2.0 * raw / limit) - 1.0)),)

    def fast(raw: torch.Tensor) -> tuple[Tensors, Tensors]:
        limit = torch.sign(raw).mul_(-HALF_RANGE).add_(CENTRE)
        tanh = (2.0 * raw).div_(limit).sigmoid_().mul_(2.0).sub_(1.0)
        value = limit.mul_(tanh).mul_(sign).add_(start).exp_()
        return (value,), (value, tanh)

    def backward(tensors: Tensors, saved: Tensors, gradients: Tensors) -> tuple[torch.Tensor, ...]:
        value, tanh = saved
        return (gradients[0] * (tanh * tanh).sub_(1.0).mul_(value).mul_(-sign),)

    return own_backward(plain, fast, backward, raw)[0]


def mixture_map(
    kind: Kind,
    x: torch.Tensor,
    logits: torch.Tensor,
    slopes: torch.Tensor,
    biases: torch.Tensor,
    tolerance: float,
    steps: int,
    inverse: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Returns :math:`P^{-1}(F(x))`, or its inverse; :math:`F(x) = \sum_k w_k P(a_k x + b_k)`."""
    params = torch.log_softmax(logits, 0), slopes, biases
    link = logit if kind == "logistic" else normal_quantile

    def function(v: torch.Tensor, p: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        log_weights, slopes, biases = p
        return link(*mixture(kind, torch.addcmul(biases, slopes, v), log_weights, slopes))

    if not inverse:
        return function(x, params)
    with torch.no_grad():
        # F is an average of the P(z), so that none of them, nor its argument, is on one side of y with all others.
        points = (x.detach() - biases.detach()) / slopes.detach()
        guess = (points * params[0].detach().exp()).sum(0)
        bracket = points.amin(0), points.amax(0)
    return numerical_inverse(function, x, params, bracket=bracket, start=guess, tolerance=tolerance, steps=steps)


def logit(log_cdf: torch.Tensor, log_rest: torch.Tensor, log_ratio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Returns :math:`\log F - \log(1 - F)` and its log-derivative."""
    return log_cdf - log_rest, log_ratio


def normal_quantile(
    log_cdf: torch.Tensor, log_rest: torch.Tensor, log_ratio: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Returns :math:`\Phi^{-1}(F)` and its log-derivative, from the smaller of the two tails."""
    left = (log_cdf <= log_rest).to(log_cdf.dtype)
    smaller, larger = torch.lerp(log_rest, log_cdf, left), torch.lerp(log_cdf, log_rest, left)
    z = inverse_log_cdf(smaller.clamp_max(-0.6931471805599453))  # rounding may take both above 1/2
    # log F' - log phi: not their difference, one of squares, but F' / F times the ratio of Phi and phi.
    return (2.0 * left - 1.0) * z, log_ratio + larger + log_mills(z)


def mixture(
    kind: Kind, z: torch.Tensor, log_weights: torch.Tensor, slopes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    r"""Returns both tails of a mixture, and its density relative to their product; no sum saturates.

    .. math::
        \log F, \quad \log(1 - F), \quad \log \frac{F'}{F (1 - F)}, \qquad F = \sum_k w_k P(z_k), \quad
        F' = \sum_k w_k a_k p(z_k)

    :math:`P(-u) = e^{-\psi} m` and :math:`p(u) = e^{-\psi} d` for :math:`u \ge 0`. Each sum is divided by about its
    largest term. Those shifts are entries of one tensor where all z are of one sign, and cancel exactly where they are
    large.

    Shapes: ``z``, ``log_weights`` and ``slopes`` are ``(K, ...)`` and broadcast; the results lack the first axis.
    """
    form = _LOGISTIC if kind == "logistic" else _NORMAL
    log_left, log_right, log_ratio = own_backward(*form, z, log_weights, slopes)
    return log_left, log_right, log_ratio


def _plain(kind: Kind, z: torch.Tensor, log_weights: torch.Tensor, slopes: torch.Tensor) -> Tensors:
    right = (torch.sign(z.detach()) + 1.0).clamp_max(1.0)  # 1 at zero too, where torch.abs has a derivative of 0
    sign = 2.0 * right - 1.0
    u = sign * z
    if kind == "logistic":
        psi, m = u, torch.sigmoid(u)
        d = m * m
    else:
        psi, m = 0.5 * u * u, scaled_tail(u)
        d = torch.full_like(m, NORMAL_PEAK)
    exponent = log_weights - psi
    shift, shift_left, shift_right = _shifts(right, psi.detach(), log_weights.detach())
    e = torch.exp(exponent - shift)
    # On the side of its tail a component is small, on the other it is its weight less that.
    weights = torch.exp(log_weights - torch.lerp(shift_right, shift_left, right))
    small = sign * e * m
    left = (right * weights - small * torch.exp(shift - shift_left)).sum(0)
    rest = ((1.0 - right) * weights + small * torch.exp(shift - shift_right)).sum(0)
    return _logarithms(left, rest, (e * d * slopes).sum(0), shift, shift_left, shift_right)


def _fast(kind: Kind, z: torch.Tensor, log_weights: torch.Tensor, slopes: torch.Tensor) -> tuple[Tensors, Tensors]:
    right = torch.sign(z).add_(1.0).clamp_(max=1.0)
    psi = torch.abs(z)
    if kind == "logistic":
        m = torch.sigmoid(psi)
    else:
        m = scaled_tail_(psi)
        psi.mul_(psi).mul_(0.5)
    e, part = log_weights - psi, psi * right  # as in _shifts, to the last digit
    shift, shift_right = e.amax(0), (log_weights - part).amax(0)
    shift_left = (part.sub_(psi) + log_weights).amax(0)
    scale_left, scale_right = torch.exp(shift - shift_left), torch.exp(shift - shift_right)
    e.sub_(shift).exp_()
    del psi, part
    weights = (log_weights - torch.lerp(shift_right, shift_left, right)).exp_()
    small = m.mul(e)
    density = m * small if kind == "logistic" else e.mul_(NORMAL_PEAK)
    left_terms = right * weights
    right_terms = weights.sub_(left_terms)
    small.mul_(right.mul_(2.0).sub_(1.0))
    left_terms.addcmul_(small, scale_left, value=-1.0)
    right_terms.addcmul_(small, scale_right)
    left, rest, slope = left_terms.sum(0), right_terms.sum(0), (density * slopes).sum(0)
    results = _logarithms(left, rest, slope, shift, shift_left, shift_right)
    return results, (left_terms, right_terms, density, left, rest, slope, scale_left / left, scale_right / rest)


def _shifts(
    right: torch.Tensor, psi: torch.Tensor, log_weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    psi_right = psi * right
    shift_left = (log_weights - (psi - psi_right)).amax(0)
    return (log_weights - psi).amax(0), shift_left, (log_weights - psi_right).amax(0)


def _logarithms(
    left: torch.Tensor,
    rest: torch.Tensor,
    slope: torch.Tensor,
    shift: torch.Tensor,
    shift_left: torch.Tensor,
    shift_right: torch.Tensor,
) -> Tensors:
    common = (shift - torch.minimum(shift_left, shift_right)) - torch.maximum(shift_left, shift_right)
    log_left, log_rest = torch.log(left), torch.log(rest)
    return log_left + shift_left, log_rest + shift_right, torch.log(slope) + common - log_left - log_rest


def _backward(kind: Kind, tensors: Tensors, saved: Tensors, gradients: Tensors) -> tuple[torch.Tensor, ...]:
    z, _, slopes = tensors
    left_terms, right_terms, density, left, rest, slope, share_left, share_right = saved
    for_left, for_rest = gradients[0] - gradients[2], gradients[1] - gradients[2]
    to_slopes = density * (gradients[2] / slope)
    for_density = to_slopes * slopes
    to_weights = (left_terms * (for_left / left)).addcmul_(right_terms, for_rest / rest).add_(for_density)
    to_z = density * (for_left * share_left - for_rest * share_right)
    # Times the log-derivative of the density of one component.
    if kind == "logistic":
        to_z.addcmul_(for_density, torch.sigmoid(z), value=-2.0).add_(for_density)
    else:
        to_z.addcmul_(for_density, z, value=-1.0)
    return to_z, to_weights, to_slopes


_LOGISTIC = partial(_plain, "logistic"), partial(_fast, "logistic"), partial(_backward, "logistic")
_NORMAL = partial(_plain, "normal"), partial(_fast, "normal"), partial(_backward, "normal")
