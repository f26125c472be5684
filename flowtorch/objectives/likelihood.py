"""Maximum likelihood: from data to a flow."""

from __future__ import annotations

from typing import cast

import torch
from torch.distributions import Distribution

from .. import options
from ..errors import OptionError, OptionTypeError, ShapeError
from ..ops._modes import plain_eager
from .draws import at


def maximum_likelihood(
    flow: Distribution | torch.nn.Module,
    x: torch.Tensor,
    context: torch.Tensor | None = None,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""The negative mean log-likelihood of data, in nats.

    .. math:: L = -\sum_n w_n \log q(x_n \mid c_n) \Big/ \sum_n w_n

    A module is called, as ``flow(x, context)``, and so this goes through ``torch.compile(flow)`` and
    ``DistributedDataParallel(flow)`` too. Rows that are not finite, or outside the flow's support, make the loss NaN or
    infinite, unless their weight is zero: a mask of such rows belongs before the loss, as NaN rows have NaN gradients.

    Args:
        flow: a flow, or a module that is called with values and context and returns log-densities.
        x: ``(*batch, *event_shape)``.
        context: ``(*batch, *context_shape)`` where the flow has one.
        weights: how much each row counts, not negative, of a shape that broadcasts to the batch; all the same by
            default. Their values are not checked within ``torch.compile`` and ``torch.func``'s transforms.

    Returns:
        ``()``.

    Raises:
        ShapeError, ContextError: if values, context or weights do not fit.
        OptionError: for weights that are negative or not finite, or all zero.
        OptionTypeError: for a flow or weights that are none.

    Example:
        >>> import torch, flowtorch.bijectors as bij, flowtorch.distributions as dist
        >>> flow = dist.Flow(dist.DiagNormal(2), bij.AffineCoupling())
        >>> maximum_likelihood(flow, torch.zeros(5, 2), weights=torch.tensor([1.0, 1.0, 2.0, 0.0, 0.0])).shape
        torch.Size([])

    References:
        Normalizing Flows for Probabilistic Modeling and Inference (Papamakarios et al., 2021),
        https://arxiv.org/abs/1912.02762, sec. 2.3.1.
    """
    who = "maximum_likelihood"
    if isinstance(flow, torch.nn.Module):
        log_prob = cast(torch.Tensor, flow(x, context) if context is not None else flow(x))
    else:
        log_prob = at(who, flow, context).log_prob(x)
    if weights is None:
        return -log_prob.mean()
    _check(who, weights, log_prob.shape)
    weights = weights.to(log_prob.dtype).expand(log_prob.shape)
    return -torch.where(weights == 0, 0.0, weights * log_prob).sum() / weights.sum()


def _check(who: str, weights: torch.Tensor, batch: torch.Size) -> None:
    if not isinstance(weights, torch.Tensor):
        raise OptionTypeError(f"{who}: weights are expected to be a tensor; got {options.short(weights)}.")
    try:
        fits = torch.broadcast_shapes(weights.shape, batch) == batch
    except RuntimeError:
        fits = False
    if not fits:
        raise ShapeError(
            f"{who}: weights that broadcast to the batch {tuple(batch)} are expected; got {tuple(weights.shape)}."
        )
    if plain_eager():
        refused = ~(weights.isfinite() & (weights >= 0))
        if bool(refused.any()) or not bool((weights > 0).any()):
            raise OptionError(
                f"{who}: finite weights of at least zero, not all zero, are expected; got {int(refused.sum())} of "
                f"{refused.numel()} negative or not finite, and {int((weights == 0).sum())} zero."
            )
