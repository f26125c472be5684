"""The forward divergence from an unnormalised density to a flow, by weighted draws."""

from __future__ import annotations

import torch
from torch.distributions import Distribution

from .. import options
from ..errors import ShapeError
from .draws import LogDensity, at, drawn, log_mean_exp, log_ratio


def forward_kl(
    flow: Distribution,
    log_density: LogDensity,
    count: int,
    context: torch.Tensor | None = None,
    *,
    proposal: Distribution | None = None,
) -> torch.Tensor:
    r"""The forward Kullback-Leibler divergence, by self-normalised importance weights.

    .. math:: KL(p \,\|\, q) \approx \sum_k \bar w_k \log\frac{\tilde p(y_k)}{q(y_k)} - \log \frac1K \sum_k w_k, \qquad
              w_k = \frac{\tilde p(y_k)}{r(y_k)}, \quad y_k \sim r

    Draws and weights have no gradients: the gradient is that of the maximum likelihood of weighted draws. It covers
    the target's mass where :func:`reverse_kl` seeks a mode, and has a bias of the order of 1/K, which is large while
    few draws carry the weight.

    Args:
        flow: a flow, or another distribution with parameters.
        log_density: of the target, ``(count, *batch, *event)`` to ``(count, *batch)``; ``-inf`` for a weight of zero.
        count: K, how many draws, for each entry of the batch.
        context: ``(*batch, *context_shape)`` where the flow has one; the mean is over the batch.
        proposal: r, a distribution with the flow's batch shape or none; by default the flow as it is.

    Returns:
        ``()``.

    Raises:
        ShapeError, ContextError: if proposal, density or context do not fit.
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch, flowtorch.bijectors as bij, flowtorch.distributions as dist
        >>> flow = dist.Flow(dist.DiagNormal(2), bij.AffineCoupling())
        >>> forward_kl(flow, lambda y: -(y - 1).square().sum(-1), 64).backward()

    References:
        Reweighted Wake-Sleep (Bornschein and Bengio, 2015), https://arxiv.org/abs/1406.2751; Neural Importance
        Sampling (Müller et al., 2019), https://arxiv.org/abs/1808.03856.
    """
    who = "forward_kl"
    options.integer(who, "count", count, minimum=1)
    law = at(who, flow, context)
    if proposal is None:
        y, log_proposal = drawn(law, count)
    else:
        y, log_proposal = _proposed(who, proposal, count, law.batch_shape)
    with torch.no_grad():
        log_weights = log_ratio(who, log_density, y, log_proposal)
        log_z = log_mean_exp(log_weights)
        # Without any weight (log Z = -inf) there are no shares, and not NaN.
        shares = (log_weights - torch.where(torch.isneginf(log_z), 0.0, log_z)).exp() / count
        log_target = log_weights + log_proposal
    # No share of a difference of -inf is nothing, and not NaN.
    terms = torch.where(shares == 0, 0.0, shares * (log_target - law.log_prob(y)))
    return (terms.sum(0) - log_z).mean()


def _proposed(who: str, proposal: Distribution, count: int, batch: torch.Size) -> tuple[torch.Tensor, torch.Tensor]:
    options.instance(who, "proposal", proposal, Distribution)
    missing = batch if not proposal.batch_shape else torch.Size()
    with torch.no_grad():
        y = proposal.sample((count, *missing))
        log_prob = proposal.log_prob(y)
    if log_prob.shape != (count, *batch):
        raise ShapeError(
            f"{who}: a proposal with the flow's batch shape {tuple(batch)} or none is expected; got "
            f"{tuple(proposal.batch_shape)}."
        )
    return y, log_prob
