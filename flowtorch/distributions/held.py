"""Distributions held within a module: their densities, and draws from them row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch.distributions import Distribution

from .. import options
from ..errors import OptionTypeError
from ..types import numel
from . import density
from .base import Carried, Kept, carry
from .module import ModuleDistribution, ModuleView
from .view import FlowView

# How many events one round of rejection draws at most, where more are not missing.
_AT_ONCE = 2**16


def hold(who: str, value: object) -> torch.nn.Module:
    """Returns the module that a distribution is kept as: itself, or what rebuilds it.

    Raises:
        OptionTypeError: for what is no distribution, or a view of a flow.
    """
    if isinstance(value, FlowView | ModuleView):
        raise OptionTypeError(f"{who}: a flow itself is expected; got a view of one, {value!r}.")
    if isinstance(value, torch.nn.Module) and hasattr(value, "event_shape") and hasattr(value, "batch_shape"):
        return value
    if not isinstance(value, Distribution):
        raise OptionTypeError(f"{who}: a flow or another distribution is expected; got {options.short(value)}.")
    return carry(value, False)


def bare(held: torch.nn.Module) -> Distribution:
    """Returns what is held: a distribution, or a module like one, perhaps in need of a context."""
    return cast(Distribution, held() if isinstance(held, Carried | Kept) else held)


def context_of(held: torch.nn.Module) -> torch.Size | None:
    """Returns the shape of the contexts that what is held needs; None if it needs none."""
    return cast("torch.Size | None", getattr(held, "context_shape", None))


def law(held: torch.nn.Module, context: torch.Tensor | None) -> Distribution:
    """Returns what is held, at the context if it needs one."""
    found = bare(held)
    if context is None or context_of(held) is None:
        return found
    return cast(ModuleDistribution, found).condition(context)


def log_prob(of: Distribution, value: torch.Tensor) -> torch.Tensor:
    """Returns a log-density that is ``-inf`` outside the support, with finite gradients."""
    sees_to_it = getattr(of, "masks_outside", False)
    return of.log_prob(value) if sees_to_it else density.log_prob(of, value)


def cdf(of: Distribution, value: torch.Tensor) -> torch.Tensor:
    """Returns a cumulative distribution function: 0 below the support, 1 above."""
    sees_to_it = getattr(of, "masks_outside", False)
    return of.cdf(value) if sees_to_it else density.cdf(of, value)


def draw_rows(
    held: torch.nn.Module, rows: torch.Tensor, count: int, batch: torch.Size, context: torch.Tensor | None
) -> torch.Tensor:
    """Draws for some of many rows, of which the batch's entries take turns.

    Args:
        held: what to draw from.
        rows: ``(N)``; the row ``i`` is for entry ``i % numel(batch)`` of the batch, flattened.
        count: how many draws for each.
        batch: the batch shape.
        context: ``(*batch, *context_shape)`` where there is one.

    Returns:
        ``(count, N, *event_shape)``.
    """
    size, shape = numel(batch), context_of(held)
    if bare(held).batch_shape:  # entries that differ: all are drawn for each row
        every: torch.Tensor = law(held, context).expand(batch).sample(torch.Size((count, len(rows))))
        every = every.flatten(2, 1 + len(batch))
        return every[:, torch.arange(len(rows), device=rows.device), rows % max(size, 1)]
    if context is None or shape is None or size == 1:  # a single context is worked on once
        context = None if context is None or shape is None else context.reshape(shape)
        return law(held, context).sample(torch.Size((count, len(rows))))
    return law(held, context.reshape(size, *shape)[rows % max(size, 1)]).sample(torch.Size((count,)))


def first_accepted(
    propose: Callable[[torch.Tensor, int], torch.Tensor],
    accept: Callable[[torch.Tensor], torch.Tensor],
    rows: int,
    *,
    rounds: int,
    tries: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Draws by rejection: for each row the first proposal that is accepted. Proposals a row double each round.

    Args:
        propose: gives ``(count, N, *event_shape)`` for the indices ``(N)`` of rows and a count.
        accept: gives for each proposal whether it is taken, ``(count, N)``.
        rows: how many rows there are.
        rounds: after how many rounds to stop.
        tries: how many proposals each row gets at most; None for no such limit.

    Returns:
        The draws ``(rows, *event_shape)``, the indices of the rows that are still missing (whose draws are zeros), and
        the share of the proposals that were accepted.
    """
    missing = torch.arange(rows)
    result: torch.Tensor | None = None
    count, made, taken = 1, 0, 0
    while result is None or (len(missing) and rounds > 0 and tries != 0):
        if tries is not None:
            count = min(count, tries)
        count = min(count, max(1, _AT_ONCE // max(1, len(missing))))
        x = propose(missing, count)
        if result is None:
            result = x.new_zeros(rows, *x.shape[2:])
            missing = missing.to(x.device)
        accepted = accept(x)
        made, taken = made + accepted.numel(), taken + int(accepted.sum())
        found, first = accepted.any(0), accepted.to(torch.uint8).argmax(0)
        result[missing[found]] = x[first[found], found.nonzero().squeeze(-1)]
        missing = missing[~found]
        rounds, tries, count = rounds - 1, None if tries is None else tries - count, 2 * count
    return result, missing, taken / max(made, 1)
