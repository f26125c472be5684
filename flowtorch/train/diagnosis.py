"""Where a number that is not finite began."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from ..bijectors import Bijector, BoundBijector, BoundCompose
from ..bijectors.compose import name
from ..distributions import Flow


def where_it_began(
    flow: Flow, value: torch.Tensor, context: torch.Tensor | None = None, index: torch.Tensor | None = None
) -> str:
    """Returns in words which part of a flow is the first not to give finite numbers, or gradients, for some data.

    The log-density is followed from the data to the base, layer by layer, and its gradient back.

    Args:
        flow: the flow.
        value: ``(n, *event_shape)``.
        context: ``(n, *context_shape)``, or None.
        index: ``(n,)``, what to call the rows; their places by default.

    Returns:
        The layer, counted from the base, and the rows.

    Example:
        >>> import flowtorch.bijectors as bij, flowtorch.distributions as dist
        >>> flow = dist.Flow(dist.DiagNormal(1), bij.Compose([bij.Affine(), bij.Exp()]))
        >>> where_it_began(flow, torch.tensor([[1.0], [-2.0]]))
        'layer 1 (Exp), from row 1.'
    """
    rows = torch.arange(len(value)) if index is None else index
    with torch.no_grad():
        told = _finite(rows, "the data", value) or (context is not None and _finite(rows, "the context", context))
        bad = next((n for n, p in flow.named_parameters() if not bool(p.isfinite().all())), None)
        if told or bad:
            return told or f"the parameter {bad}."
        embedded = flow._context(context, "log_prob")
        told = embedded is not None and _finite(rows, "the embedding", embedded)
        return told or _in_layers(flow, value, embedded, rows)


def _in_layers(flow: Flow, value: torch.Tensor, context: torch.Tensor | None, rows: torch.Tensor) -> str:
    bound = flow.bijector
    layers = list(bound.parts) if isinstance(bound, BoundCompose) else [bound]
    called = [f"layer {i} ({name(layer.plan)})" for i, layer in enumerate(layers)]
    inputs: list[torch.Tensor] = []  # of each layer's inverse, from the last layer to the first
    for layer, what in zip(reversed(layers), reversed(called), strict=True):
        inputs.append(value)
        value, log_det = layer.inverse_and_log_det(value, context)
        if told := _finite(rows, what, value, log_det):
            return told
    if told := _finite(rows, "the base", flow._base(context).log_prob(value)):
        return told

    with torch.enable_grad():
        end = value.requires_grad_()
        (gradient,) = torch.autograd.grad(flow._base(context).log_prob(end).sum(), end, allow_unused=True)
        gradient = torch.zeros_like(end) if gradient is None else gradient
        if told := _finite(rows, "the gradient of the base", gradient):
            return told
        for layer, what, x in zip(layers, called, reversed(inputs), strict=True):
            back = partial(_backward, layer, x, context, gradient)
            gradient, finite = back(slice(None))
            if told := _finite(rows, f"the gradient of {what}", gradient):
                return told
            if not finite:
                return f"the gradient of {what}, from row {int(rows[_first(len(rows), back)])}."
    return "the loss or its gradient, the log-density and its own being finite."


def _finite(rows: torch.Tensor, what: str, *tensors: torch.Tensor) -> str:
    """Returns words for the rows that are not finite, none if there are none."""
    bad = torch.stack([~t.reshape(len(rows), -1).isfinite().all(-1) for t in tensors]).any(0)
    if not bool(bad.any()):
        return ""
    return f"{what}, from {listed(rows[bad.cpu()])}."


def listed(rows: torch.Tensor) -> str:
    """Returns words for numbers of rows: the first five of them."""
    few = ", ".join(map(str, rows[:5].tolist()))
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return f"row{'s' if len(rows) > 1 else ''} {few}{more}"


def _backward(
    layer: BoundBijector[Bijector],
    x: torch.Tensor,
    context: torch.Tensor | None,
    above: torch.Tensor,
    some: slice,
) -> tuple[torch.Tensor, bool]:
    """Returns the gradient by the values given to a layer's inverse, and whether that by its parameters is finite."""
    start = x[some].detach().requires_grad_()
    y, log_det = layer.inverse_and_log_det(start, None if context is None else context[some])
    trained = [p for p in layer.parameters() if p.requires_grad]
    score = (y * above[some]).sum() + log_det.sum()
    gradient, *others = torch.autograd.grad(score, [start, *trained], allow_unused=True)
    assert gradient is not None  # y is a bijection of it
    return gradient, all(bool(g.isfinite().all()) for g in others if g is not None)


def _first(count: int, backward: Callable[[slice], tuple[torch.Tensor, bool]]) -> int:
    """Returns a row that alone has a gradient that is not finite, found by halving."""
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if backward(slice(low, middle))[1] else (low, middle)
    return low
