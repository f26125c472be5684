"""Pareto-smoothed importance sampling: what the tail of the weights looks like, and weights without its noise."""

from __future__ import annotations

import math

import torch

from ..types import TensorPair

# Of the paper: a prior of ten observations with k = 1/2.
_PRIOR_COUNT, _PRIOR_K = 10.0, 0.5


def pareto_smoothed(log_weights: torch.Tensor) -> TensorPair:
    r"""Importance weights with a smoothed tail, and the tail's Pareto index k, along the first axis.

    A generalised Pareto distribution is fitted to what the M largest of S weights exceed the others by, with
    :math:`M = \lceil\min(S / 5, 3 \sqrt S)\rceil`; then they are replaced by its quantiles at
    :math:`(j - 1/2) / M`, but for those above the largest of them, which becomes the bound. Below k = 0.7, or less
    with fewer than some 2,000 draws, :math:`1 - 1/\log_{10} S`, estimates by the weights can be relied on.

    Args:
        log_weights: ``(count, *batch)``, unnormalised; ``-inf`` for weights of zero.

    Returns:
        The smoothed log-weights ``(count, *batch)``, without gradients, and k ``(*batch)``: ``inf`` for 20 draws or
        fewer, which have no tail to speak of, and without any weight; ``-inf`` where the tail's weights are all the
        same.

    Example:
        >>> import torch
        >>> smoothed, k = pareto_smoothed(torch.randn(1_000, 3))
        >>> smoothed.shape, k.shape
        (torch.Size([1000, 3]), torch.Size([3]))

    References:
        Pareto Smoothed Importance Sampling (Vehtari et al., 2024), https://arxiv.org/abs/1507.02646, alg. 1.
    """
    log_weights = log_weights.detach()
    count = log_weights.shape[0]
    tail = math.ceil(min(0.2 * count, 3 * math.sqrt(count)))
    if tail < 5:
        return log_weights, torch.full_like(log_weights[0], math.inf)
    order = log_weights.sort(0)
    top = order.values[-1]
    none = torch.isneginf(top)
    scaled = order.values[-tail - 1 :] - torch.where(none, 0.0, top)
    cutoff, *_ = weights = scaled.exp()
    excess = weights[1:] - cutoff
    flat = excess[-1] == 0
    k, scale = generalized_pareto(excess)  # NaN where flat, and not used there
    k = _nonzero((tail * k + _PRIOR_COUNT * _PRIOR_K) / (tail + _PRIOR_COUNT))
    log_above = torch.log1p(-_along(torch.arange(tail, dtype=k.dtype, device=k.device) + 0.5, k) / tail)
    quantiles = torch.expm1(-k * log_above) / k * scale
    smooth = torch.where(flat | none, order.values[-tail:], (cutoff + quantiles).log().clamp(max=0.0) + top)
    smoothed = torch.cat([order.values[:-tail], smooth]).gather(0, order.indices.argsort(0))
    return smoothed, torch.where(none, math.inf, torch.where(flat, -math.inf, k))


def generalized_pareto(excess: torch.Tensor) -> TensorPair:
    r"""Fits generalised Pareto distributions along the first axis.

    .. math:: P(X > x) = (1 + k x / \sigma)^{-1/k}

    Args:
        excess: ``(count, *batch)``, not negative and in ascending order, the last of them positive.

    Returns:
        k and :math:`\sigma`, each ``(*batch)``.

    References:
        A New and Efficient Estimation Method for the Generalized Pareto Distribution (Zhang and Stephens, 2009),
        https://doi.org/10.1198/tech.2009.08017, whose k has the other sign.
    """
    count, largest = excess.shape[0], excess[-1]
    x = excess / largest
    nodes = 30 + math.isqrt(count)
    steps = _along(torch.arange(nodes, dtype=x.dtype, device=x.device) + 0.5, largest)
    # Where a quarter of all are zero (ties), the quartile is not a scale.
    quartile = x[int(count / 4 + 0.5) - 1].clamp(min=torch.finfo(x.dtype).eps)
    theta = 1 + (1 - (nodes / steps).sqrt()) / (3 * quartile)
    theta = _nonzero(theta)
    k = torch.stack([torch.log1p(-t * x).mean(0) for t in theta])
    log_likelihood = count * ((-theta / k).log() - k - 1)
    mean = (log_likelihood.softmax(0) * theta).sum(0)
    k = torch.log1p(-mean * x).mean(0)
    return k, -k / mean * largest


def _along(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values.reshape(-1, *(1,) * like.dim())


def _nonzero(values: torch.Tensor) -> torch.Tensor:
    # At zero the formulas are 0 / 0; next to it they are their limits.
    return torch.where(values == 0, torch.finfo(values.dtype).eps, values)
