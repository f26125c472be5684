"""Parameters that stand one behind the other in one tensor, as networks give them; their gradients do as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import torch

from ._modes import plain_eager, transformed

Tensors: TypeAlias = tuple[torch.Tensor, ...]
Size: TypeAlias = "int | None"  # how many numbers a parameter has for each coordinate; None for one without an axis


def cut(whole: torch.Tensor, sizes: Sequence[Size]) -> Tensors:
    """Returns the parameters in ``whole``, ``(*batch, total, coordinates)``: each ``(*batch, coordinates[, size])``.

    The way back copies nothing where the gradients are what ``cut`` would make of one tensor. Where each is one number,
    to copy them costs less than to look.
    """
    if not _numbers(sizes) and whole.requires_grad and torch.is_grad_enabled() and plain_eager():
        return cast("Callable[..., Tensors]", _Cut.apply)(whole, sizes)
    return _views(whole, sizes)


def _numbers(sizes: Sequence[Size]) -> bool:
    return all(size is None for size in sizes)


def _views(whole: torch.Tensor, sizes: Sequence[Size]) -> Tensors:
    if _numbers(sizes):
        return whole.unbind(-2)
    parts = whole.split([1 if size is None else size for size in sizes], -2)
    return tuple(p.squeeze(-2) if size is None else p.mT for p, size in zip(parts, sizes, strict=True))


def sizes_if_joined(x: torch.Tensor, parameters: Sequence[torch.Tensor]) -> list[int] | None:
    """Returns the sizes of the parameters at ``x``, each with an axis of its own, if they lie as ``cut`` makes them."""
    if x.dim() == 0 or x.numel() == 0:
        return None
    sizes = [p.shape[-1] for p in parameters]
    count, start, item = x.shape[-1], parameters[0].data_ptr(), x.element_size()
    strides = [1, count]
    step = count * sum(sizes)
    for length in reversed(x.shape[:-1]):
        strides.insert(0, step)
        step *= length
    expected = tuple(strides)
    for p, size in zip(parameters, sizes, strict=True):
        if p.data_ptr() != start or p.stride() != expected:
            return None
        start += count * size * item
    return sizes


class _Cut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, whole: torch.Tensor, sizes: Sequence[Size]) -> Tensors:
        ctx.shape, ctx.sizes = whole.shape, sizes
        return _views(whole, sizes)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        whole = gradients[0]._base
        if whole is not None and not torch.is_grad_enabled() and not transformed() and whole.shape == ctx.shape:
            views = _views(whole, ctx.sizes)
            if all(_same(g, v) for g, v in zip(gradients, views, strict=True)):
                return whole, None
        pairs = zip(gradients, ctx.sizes, strict=True)
        return torch.cat([g.unsqueeze(-2) if size is None else g.mT for g, size in pairs], -2), None


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() and a.stride() == b.stride() and a.shape == b.shape and a.dtype == b.dtype
