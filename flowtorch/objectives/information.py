"""Entropies and divergences by draws, with their standard errors."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import torch
from torch.distributions import Distribution
from torch.distributions import kl_divergence as exact_kl
from torch.distributions.kl import register_kl

from .. import options
from ..distributions.module import ModuleDistribution, ModuleView
from ..distributions.pushforward import Pushforward
from ..errors import ContextError, ShapeError
from .draws import at, reparameterized

# What ``torch.distributions.kl_divergence`` takes, which has no argument for it.
_COUNT = 1_024


class MonteCarlo(NamedTuple):
    """A mean over draws and its standard error, each of the batch's shape; the error has no gradient."""

    value: torch.Tensor
    error: torch.Tensor


def entropy(flow: Distribution, count: int, context: torch.Tensor | None = None) -> MonteCarlo:
    r"""The differential entropy by draws, in nats.

    .. math:: H = -E_{y \sim q}[\log q(y)]

    Args:
        flow: a flow, or another distribution.
        count: how many draws, for each entry of the batch.
        context: ``(*batch, *context_shape)`` where the flow has one.

    Returns:
        The estimate and its standard error, ``(*batch)`` each; the estimate has gradients if draws have.

    Raises:
        ContextError: if the context does not fit.
        OptionError, OptionTypeError: for a count of fewer than two.

    Example:
        >>> import flowtorch.bijectors as bij, flowtorch.distributions as dist
        >>> found = entropy(dist.Flow(dist.DiagNormal(2), bij.AffineCoupling()), 1_000)
        >>> abs(found.value - 2.8379) < 5 * found.error
        tensor(True)

    References:
        Elements of Information Theory (Cover and Thomas, 2006), https://doi.org/10.1002/047174882X, eq. 8.1.
    """
    options.integer("entropy", "count", count, minimum=2)
    law = at("entropy", flow, context)
    if law.has_rsample:
        return _mean(-reparameterized(law, count)[1])
    return _mean(-law.log_prob(law.sample((count,))))


def kl_divergence(p: Distribution, q: Distribution, count: int, context: torch.Tensor | None = None) -> MonteCarlo:
    r"""The Kullback-Leibler divergence by draws, in nats.

    .. math:: KL(p \,\|\, q) = E_{y \sim p}[\log p(y) - \log q(y)]

    ``torch.distributions.kl_divergence`` of flows, of mixtures of them and of their views, with one another and with
    other distributions, is this with 1,024 draws: noisy, where torch's others are exact, with an unbiased gradient.
    Of two flows that share one bijector, without a context, it is that of their bases, exact where torch knows that.

    Args:
        p: what is drawn from: a flow or another distribution.
        q: a flow or another distribution over the same events.
        count: how many draws, for each entry of the batch.
        context: ``(*batch, *context_shape)``, for those of the two that take one.

    Returns:
        The estimate and its standard error, ``(*batch)`` each, for the two batches broadcast. The estimate has
        gradients to q, and to p if its draws have. Where p has mass that q has not, ``inf`` and NaN.

    Raises:
        ShapeError, ContextError: if the two, or the context, do not fit.
        OptionError, OptionTypeError: for a count of fewer than two.

    Example:
        >>> import flowtorch.bijectors as bij, flowtorch.distributions as dist
        >>> flow = dist.Flow(dist.DiagNormal(2), bij.AffineCoupling())
        >>> found = kl_divergence(flow, dist.DiagNormal(2, loc=1.0), 1_000)  # of two normal distributions: 1
        >>> abs(found.value - 1) < 5 * found.error
        tensor(True)

    References:
        Elements of Information Theory (Cover and Thomas, 2006), https://doi.org/10.1002/047174882X, eq. 8.46.
    """
    who = "kl_divergence"
    options.integer(who, "count", count, minimum=2)
    takers = [law for law in (p, q) if getattr(law, "context_shape", None) is not None]
    if context is not None and not takers:
        raise ContextError(f"{who}: no context is expected for distributions that take none; got one.")
    p, q = (at(who, law, context if any(law is taker for taker in takers) else None) for law in (p, q))
    if p.event_shape != q.event_shape:
        raise ShapeError(
            f"{who}: distributions of one event shape are expected; got {tuple(p.event_shape)} and "
            f"{tuple(q.event_shape)}."
        )
    batch = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    if p.batch_shape != batch:
        p = p.expand(batch)
    if p.has_rsample:
        y, log_prob = reparameterized(p, count)
    else:
        y = p.sample((count,))
        log_prob = p.log_prob(y)
    return _mean(log_prob - q.log_prob(y))


def _mean(values: torch.Tensor) -> MonteCarlo:
    return MonteCarlo(values.mean(0), values.detach().std(0) / values.shape[0] ** 0.5)


def _registered(p: Distribution, q: Distribution) -> torch.Tensor:
    # One map of both changes no divergence.
    if isinstance(p, Pushforward) and isinstance(q, Pushforward):
        if p._bound is q._bound and p._bound.context_shape is None:
            with suppress(NotImplementedError):
                return exact_kl(p._expanded_base(None), q._expanded_base(None))
    return kl_divergence(p, q, _COUNT).value


# All pairs by name: torch picks none where (ours, any) and (any, ours) are as near as one another.
_KINDS = (Pushforward, ModuleDistribution, ModuleView)
for _kind in _KINDS:
    for _pair in ((_kind, Distribution), (Distribution, _kind), *((_kind, _other) for _other in _KINDS)):
        register_kl(*_pair)(_registered)
