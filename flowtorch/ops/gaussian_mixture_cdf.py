"""The distribution function of a mixture of normals, followed by the normal quantile: Gaussianization."""

from __future__ import annotations

import math

import torch

from ._normal import inverse_log_cdf, log_cdf, log_cdf_and_mills, log_mills
from .affine import log_scale
from .deep_sigmoid import prepare, spread
from .numerical_inverse import STEPS, TOLERANCE, numerical_inverse


def gaussian_mixture_cdf(
    x: torch.Tensor,
    logits: torch.Tensor,
    locs: torch.Tensor,
    raw_scales: torch.Tensor,
    *,
    tolerance: float = TOLERANCE,
    steps: int = STEPS,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps each coordinate by the distribution function of a mixture of normals and the normal quantile function.

    .. math::
        y = \Phi^{-1}(F(x)), \qquad F(x) = \sum_{k=1}^K w_k \Phi(z_k), \quad z_k = \frac{x - m_k}{s_k}, \qquad
        \log \frac{dy}{dx} = \log \sum_k \frac{w_k}{s_k} \phi(z_k) - \log \phi(y)

    with :math:`w` = softmax of ``logits``, :math:`m_k` = ``locs`` plus K numbers evenly spaced on [-0.5, 0.5], and
    :math:`\log s_k` = :func:`log_scale` of ``raw_scales``, within (-5, 3), with ``scale_fn="exp"``, less a constant
    that makes the variance 1 at the start. All is computed from the logarithm of the smaller of :math:`F` and
    :math:`1 - F`, and the log-derivative from ratios :math:`\phi / \Phi`, so that tails neither saturate nor cancel: at
    :math:`x = 10^6` both are right to rounding. At all parameters 0 the map has :math:`y(0) = 0`,
    :math:`dy/dx` within 0.03 of 1 for :math:`|x| < 1`, rising to :math:`1/s_k`, at most 1.16, far out (one
    component: the identity). The inverse is iterated; it lies between the least and the greatest of
    :math:`m_k + s_k y`. Dtypes narrower than float32 are computed in float32.

    Shapes: ``x`` is ``(*batch, *event)``, the parameters ``(*batch, *event, K)``; all but the last axis broadcasts
    against ``x``, and both results have the broadcast shape.

    Args:
        x: The points, or the images with ``inverse=True``.
        logits: The logarithms of the weights, up to a constant: any real numbers.
        locs: The locations of the components, any real numbers.
        raw_scales: The logarithms of the scales of the components, before they are bounded.
        tolerance: That of :func:`numerical_inverse`.
        steps: Those of :func:`numerical_inverse`.
        inverse: Solves for ``x``.

    Returns:
        The value and the log-derivative of the map computed: with ``inverse=True`` it is :math:`\log|dx/dy|`.

    Raises:
        ShapeError: If the last axes of the parameters are not of one size, at least 1.

    Example:
        >>> x, logits, flat = torch.tensor([-1e6, 0.5]), torch.tensor([0.0, 1.0]), torch.zeros(2)
        >>> y, _ = gaussian_mixture_cdf(x, logits, flat, torch.tensor([0.0, 0.5]))
        >>> gaussian_mixture_cdf(y, logits, flat, torch.tensor([0.0, 0.5]), inverse=True)[0]
        tensor([-1.0000e+06,  5.0000e-01])

    References:
        Gaussianization Flows (Meng et al., 2020), https://arxiv.org/abs/2003.01941, equation 7.
    """
    dtype, (x, logits, locs, raw_scales) = prepare("gaussian_mixture_cdf", x, logits, locs, raw_scales)
    offsets = spread(locs)
    scales = torch.exp(log_scale(raw_scales, scale_fn="exp")) * torch.sqrt(1.0 - (offsets * offsets).mean())
    locs = locs + offsets
    log_weights = torch.log_softmax(logits, 0)
    value, log_derivative = (_backward if inverse else _forward)(x, log_weights, locs, scales, tolerance, steps)
    return value.to(dtype), log_derivative.to(dtype)


def _forward(
    x: torch.Tensor, log_weights: torch.Tensor, locs: torch.Tensor, scales: torch.Tensor, tolerance: float, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():  # which tail is the smaller
        z = (x.detach() - locs.detach()) / scales.detach()
        left = (torch.exp(log_weights.detach()) * torch.erf(z * math.sqrt(0.5))).sum(0) <= 0.0
        sign = torch.where(left, torch.ones_like(x), -torch.ones_like(x))
    log_tail, log_slope = _tail(sign * x, (log_weights, sign * locs, scales))
    y = inverse_log_cdf(log_tail.clamp_max(-math.log(2.0)))  # rounding may take the smaller of the two above 1/2
    return sign * y, log_slope + log_mills(y)


def _backward(
    y: torch.Tensor, log_weights: torch.Tensor, locs: torch.Tensor, scales: torch.Tensor, tolerance: float, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    sign = torch.where(y <= 0.0, torch.ones_like(y), -torch.ones_like(y)).detach()
    locs = sign * locs
    mirrored = sign * y
    with torch.no_grad():
        points = locs.detach() + scales.detach() * mirrored.detach()
        guess = (points * log_weights.detach().exp()).sum(0)
        bracket = points.amin(0), points.amax(0)
    x, log_derivative = numerical_inverse(
        _tail,
        log_cdf(mirrored),
        (log_weights, locs, scales),
        bracket=bracket,
        start=guess,
        tolerance=tolerance,
        steps=steps,
    )
    return sign * x, log_derivative - log_mills(mirrored)


def _tail(x: torch.Tensor, params: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Returns :math:`\log F(x)` and the logarithm of its derivative :math:`F'/F`."""
    log_weights, locs, scales = params
    z = (x - locs) / scales
    log_p, mills = log_cdf_and_mills(z)
    terms = log_weights + log_p
    log_f = torch.logsumexp(terms, 0)
    # Not log F' - log F, a difference of squares of z: each term's own F'/F, weighted by its share of F.
    return log_f, torch.logsumexp(torch.log_softmax(terms, 0) - torch.log(scales) - mills, 0)
