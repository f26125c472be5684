"""Importance sampling by a flow: what it says of an unnormalised density."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch.distributions import Distribution

from .. import options
from .draws import LogDensity, at, batch_of, drawn, log_mean_exp, log_ratio
from .pareto import pareto_smoothed


@final
@dataclass(frozen=True, eq=False)
class ImportanceEstimate:
    """What weighted draws of a flow say of a target; :func:`importance_estimate` makes it.

    Args:
        samples: the draws, ``(count, *batch, *event)``.
        log_weights: log-density of the target minus the flow's, ``(count, *batch)``.
        smoothed_log_weights: the same with a Pareto-smoothed tail.
        log_z: the logarithm of the target's integral, ``(*batch)``.
        log_z_error: its standard error, ``(*batch)``.
        effective_size: how many draws of the target itself they are worth, ``(*batch)``.
        pareto_k: the index of the weights' tail, ``(*batch)``: above 0.7, do not rely on the rest.
        mean: the target's mean, ``(*batch, *event)``.
        covariance: the target's covariance, ``(*batch, n, n)`` for events of n coordinates, flattened.
    """

    samples: torch.Tensor
    log_weights: torch.Tensor
    smoothed_log_weights: torch.Tensor
    log_z: torch.Tensor
    log_z_error: torch.Tensor
    effective_size: torch.Tensor
    pareto_k: torch.Tensor
    mean: torch.Tensor
    covariance: torch.Tensor

    def expectation(self, function: Callable[[torch.Tensor], torch.Tensor], *, smoothed: bool = False) -> torch.Tensor:
        r"""Returns the mean of a function under the target.

        .. math:: E_p[h] \approx \sum_k w_k h(y_k) \Big/ \sum_k w_k

        Args:
            function: ``(count, *batch, *event)`` to ``(count, *batch, *any)``.
            smoothed: takes the Pareto-smoothed weights, which have less noise and a small bias.

        Returns:
            ``(*batch, *any)``.
        """
        values = function(self.samples)
        weights = (self.smoothed_log_weights if smoothed else self.log_weights).softmax(0)
        return (batch_of(weights, values) * values).sum(0)


def importance_estimate(
    flow: Distribution,
    log_density: LogDensity,
    count: int,
    context: torch.Tensor | None = None,
    *,
    chunk_size: int | None = None,
) -> ImportanceEstimate:
    r"""The integral and the moments of an unnormalised density, by draws from a flow, without gradients.

    .. math:: \hat Z = \frac1K \sum_k w_k, \qquad w_k = \frac{\tilde p(y_k)}{q(y_k)}, \quad y_k \sim q, \qquad
              K_{eff} = \frac{(\sum_k w_k)^2}{\sum_k w_k^2}, \qquad
              \mathrm{se}(\log \hat Z)^2 = \frac{1/K_{eff} - 1/K}{1 - 1/K}

    Means and covariances are by self-normalised weights. All of it rests on a flow that is wide enough, of which the
    Pareto index k tells.

    Args:
        flow: a flow, or another distribution.
        log_density: of the target, ``(count, *batch, *event)`` to ``(count, *batch)``; ``-inf`` for a weight of zero.
        count: K, how many draws, for each entry of the batch.
        context: ``(*batch, *context_shape)`` where the flow has one.
        chunk_size: how many of the draws are made and scored at a time; None for all.

    Returns:
        An :class:`ImportanceEstimate`.

    Raises:
        ShapeError, ContextError: if density or context do not fit.
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch, flowtorch.bijectors as bij, flowtorch.distributions as dist
        >>> flow = dist.Flow(dist.DiagNormal(2), bij.AffineCoupling())
        >>> found = importance_estimate(flow, lambda y: -y.square().sum(-1), 1_000)  # log Z = log pi
        >>> abs(found.log_z.item() - 1.1447) < 5 * found.log_z_error.item(), found.pareto_k.item() < 0.7
        (True, True)

    References:
        Monte Carlo theory, methods and examples (Owen, 2013), https://artowen.su.domains/mc/, ch. 9; Pareto
        Smoothed Importance Sampling (Vehtari et al., 2024), https://arxiv.org/abs/1507.02646.
    """
    who = "importance_estimate"
    options.integer(who, "count", count, minimum=1)
    if chunk_size is not None:
        options.integer(who, "chunk_size", chunk_size, minimum=1)
    law = at(who, flow, context)
    samples, log_weights = [], []
    with torch.no_grad():
        for start in range(0, count, chunk_size or count):
            y, log_prob = drawn(law, min(chunk_size or count, count - start))
            samples.append(y)
            log_weights.append(log_ratio(who, log_density, y, log_prob))
        return _estimate(torch.cat(samples), torch.cat(log_weights))


def _estimate(y: torch.Tensor, log_weights: torch.Tensor) -> ImportanceEstimate:
    count, batch = log_weights.shape[0], log_weights.shape[1:]
    log_z = log_mean_exp(log_weights)
    size = count * (2 * log_z - log_mean_exp(2 * log_weights)).exp()
    size = torch.where(torch.isneginf(log_z), 0.0, size)
    # Rounding can take it beyond the number of draws; one draw has no spread to tell an error from.
    variance = (1 / size - 1 / count).clamp(min=0.0) / (1 - 1 / count) if count > 1 else torch.full_like(size, math.nan)
    rows, shares = y.flatten(len(batch) + 1) if y.dim() > log_weights.dim() else y.unsqueeze(-1), log_weights.softmax(0)
    mean = (shares.unsqueeze(-1) * rows).sum(0)
    centred = ((rows - mean) * shares.sqrt().unsqueeze(-1)).movedim(0, -2)
    smoothed, k = pareto_smoothed(log_weights)
    return ImportanceEstimate(
        samples=y,
        log_weights=log_weights,
        smoothed_log_weights=smoothed,
        log_z=log_z,
        log_z_error=variance.sqrt(),
        effective_size=size,
        pareto_k=k,
        mean=mean.reshape(y.shape[1:]),
        covariance=centred.mT @ centred,
    )
