"""What torch is doing at the moment, by which forms of ops are chosen; and derivatives of reference forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.autograd import forward_ad


def transformed() -> bool:
    """Returns whether function transforms or forward-mode differentiation are at work: they see plain PyTorch only."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def plain_eager() -> bool:
    """Returns whether operations run as they are met, and nothing but gradients can be asked of them."""
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return False
    return not transformed()


def differentiating() -> bool:
    """Returns whether derivatives may be asked for by differentiation; forward-mode ones are under ``no_grad`` too."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return torch.is_grad_enabled()
    return not plain_eager()


def reference_backward(
    reference: Callable[..., Sequence[torch.Tensor]],
    tensors: Sequence[torch.Tensor],
    gradients: Sequence[torch.Tensor | None],
) -> tuple[torch.Tensor | None, ...]:
    """Returns the gradients of a reference form with respect to ``tensors``, differentiable if gradients are now."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Views: with respect to the tensors themselves it would also contain what reaches them through one another.
        views = [t.view_as(t) for t in tensors]
        results = reference(*views)
    wanted = [v for v in views if v.requires_grad]
    pairs = [(r, g) for r, g in zip(results, gradients, strict=True) if g is not None and r.requires_grad]
    if not pairs:
        return (None,) * len(views)
    outputs, grad_outputs = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(outputs, wanted, grad_outputs, create_graph=create_graph, allow_unused=True))
    return tuple(next(found) if v.requires_grad else None for v in views)
