"""Backward passes in closed form for functions that also work, and are differentiable, without."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from ._modes import plain_eager, reference_backward, transformed

Tensors: TypeAlias = tuple[torch.Tensor, ...]
Plain: TypeAlias = Callable[..., Tensors]
# Tensors in; the results, and what the backward pass needs of them besides the tensors.
Forward: TypeAlias = Callable[..., tuple[Tensors, Tensors]]
# The tensors, what was saved, and the gradients of the results in; those of the tensors out, up to broadcasting.
Backward: TypeAlias = Callable[[Tensors, Tensors, Tensors], tuple[torch.Tensor, ...]]


def own_backward(plain: Plain, fast: Forward, backward: Backward, *tensors: torch.Tensor) -> Tensors:
    """Returns the results of ``fast``, with the gradients of ``backward``, where nothing but those can be asked for.

    Under functorch's transforms, forward-mode differentiation, compilation and tracing it is ``plain`` that is computed
    and differentiated, and for derivatives of gradients that is differentiated: all three have to agree. ``fast`` runs
    without a graph, and may overwrite what it made itself.
    """
    if not plain_eager() or os.environ.get("FLOWTORCH_KERNELS") == "reference":
        return plain(*tensors)
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        results: Tensors = _Own.apply(plain, fast, backward, *tensors)  # type: ignore[no-untyped-call]  # torch's
        return results
    with torch.no_grad():
        return fast(*tensors)[0]


class _Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plain: Plain, fast: Forward, backward: Backward, *tensors: torch.Tensor) -> Tensors:
        results, saved = fast(*tensors)
        ctx.plain, ctx.own, ctx.count = plain, backward, len(tensors)
        ctx.save_for_backward(*tensors, *saved)
        return results

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        tensors, saved = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        wanted = ctx.needs_input_grad[3:]
        # Where the gradient is differentiated in turn, or batched, the plain form takes over.
        if torch.is_grad_enabled() or transformed():
            return None, None, None, *reference_backward(ctx.plain, tensors, gradients)
        sums = (
            g.sum_to_size(t.shape) if w else None
            for g, t, w in zip(ctx.own(tensors, saved, gradients), tensors, wanted, strict=True)
        )
        return (None, None, None, *sums)
