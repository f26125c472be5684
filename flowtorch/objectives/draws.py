"""What the objectives share: draws from a flow, their scores, and the weights of the draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, TypeAlias, cast

import torch
from torch.distributions import Distribution

from .. import options
from ..distributions.pushforward import Pushforward
from ..errors import ContextError, OptionTypeError, ShapeError
from ..ops._modes import plain_eager
from ..types import TensorPair

LogDensity: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""An unnormalised log-density: ``(*batch, *event)`` to ``(*batch)``."""


class Conditional(Protocol):
    """What has a distribution for each context."""

    def condition(self, context: torch.Tensor) -> Distribution:
        """Returns the distribution at a context."""
        ...


def at(who: str, flow: Distribution, context: torch.Tensor | None) -> Distribution:
    """Returns the distribution at a context; a flow itself where there is none.

    Raises:
        OptionTypeError: for what is no distribution.
        ContextError: for a context of what has none, or one that does not fit.
    """
    if not isinstance(flow, Distribution):
        raise OptionTypeError(f"{who}: a flow or another distribution is expected; got {options.short(flow)}.")
    if context is None:
        return flow
    if not hasattr(flow, "condition"):
        raise ContextError(f"{who}: no context is expected for a {type(flow).__name__}; got {options.short(context)}.")
    return cast(Conditional, flow).condition(context)


def drawn(law: Distribution, count: int) -> TensorPair:
    """Returns draws without gradients, ``(count, *batch, *event)``, and their log-densities ``(count, *batch)``."""
    with torch.no_grad():
        if isinstance(law, Pushforward) and law.has_rsample:
            return law.rsample_and_log_prob((count,))  # one pass of the forward direction
        y = law.sample((count,))
        return y, law.log_prob(y)


def reparameterized(law: Distribution, count: int) -> TensorPair:
    """Returns draws with gradients, and their log-densities with all of their gradients.

    Raises:
        NotSupportedError: if the flow's base has no ``rsample``.
    """
    if isinstance(law, Pushforward):
        return law.rsample_and_log_prob((count,))
    y = law.rsample((count,))
    return y, law.log_prob(y)


def path_log_prob(who: str, flow: Distribution, y: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
    """Returns log-densities whose gradients go to ``y`` only, not to the flow's parameters or the context.

    Raises:
        OptionTypeError: for what is no module, whose parameters cannot be told.
    """
    if not isinstance(flow, torch.nn.Module):
        raise OptionTypeError(
            f"{who}: a flow that is a module is expected with path_derivative=True, with context=... in place of a "
            f"view; got {options.short(flow)}."
        )
    context = context if context is None else context.detach()
    if plain_eager() and y.requires_grad and torch.is_grad_enabled():
        # The gradient at once, while the parameters are the flow's: a checkpoint would look for them in the backward
        # pass, and nothing of this one is kept until then.
        leaf = y.detach().requires_grad_()
        log_prob: torch.Tensor = flow(leaf, context)
        (slope,) = torch.autograd.grad(log_prob.sum() + 0.0 * leaf.sum(), leaf)  # which a density may not depend on
        return log_prob.detach() + event_sum(slope * (y - leaf.detach()), log_prob)
    fixed = {name: parameter.detach() for name, parameter in flow.named_parameters()}
    return cast(torch.Tensor, torch.func.functional_call(flow, fixed, (y, context)))


def log_ratio(who: str, log_density: LogDensity, y: torch.Tensor, log_prob: torch.Tensor) -> torch.Tensor:
    """Returns the logarithms of the draws' importance weights: ``-inf`` where the target has no density.

    Raises:
        ShapeError: if the target's log-densities have another shape than the flow's.
    """
    target = log_density(y)
    if not isinstance(target, torch.Tensor) or target.shape != log_prob.shape:
        raise ShapeError(
            f"{who}: a log_density that returns shape {tuple(log_prob.shape)} for values of shape {tuple(y.shape)} is "
            f"expected; got {options.short(target)}."
        )
    none = torch.isneginf(target)
    # Where both are -inf (rounding has put the draw outside), the difference is NaN and so is its gradient.
    return target - torch.where(none, 0.0, log_prob)


def log_mean_exp(x: torch.Tensor) -> torch.Tensor:
    """Returns the logarithm of the mean of the exponentials over the first axis; no NaN gradient where all are -inf."""
    largest = x.detach().amax(0)
    finite = largest.isfinite()
    safe = torch.where(finite, x, 0.0)
    return torch.where(finite, safe.logsumexp(0), largest) - math.log(x.shape[0])


def event_sum(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Returns sums over all dimensions that ``like``, of the batch's shape, does not have."""
    return value.reshape(*like.shape, -1).sum(-1)


def batch_of(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Returns values of a batch with dimensions of one for the event of ``like``."""
    return value.reshape(value.shape + (1,) * (like.dim() - value.dim()))
