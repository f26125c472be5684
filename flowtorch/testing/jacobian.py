"""Jacobians by automatic differentiation: the oracle for log-determinants."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..types import numel


def autodiff_jacobian(
    f: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, event_shape: torch.Size
) -> torch.Tensor:
    """Returns the Jacobians of ``f`` at a flat batch of events.

    Args:
        f: maps ``(n, *event)`` to ``(n, *event)``, each row by itself.
        x: ``(n, *event)``.
        event_shape: the shape of ``x``'s events.

    Returns:
        ``(n, D_out, D_in)`` over flattened events.

    Example:
        >>> autodiff_jacobian(torch.square, torch.tensor([[1.0, 3.0]]), torch.Size((2,))).tolist()
        [[[2.0, 0.0], [0.0, 6.0]]]
    """
    # Rows are independent, so the gradient of a sum over rows holds each row's own gradient.
    size = numel(event_shape)
    x = x.detach().requires_grad_()
    y = f(x).reshape(x.shape[0], -1)
    rows = [torch.autograd.grad(y[:, i].sum(), x, retain_graph=True, allow_unused=True)[0] for i in range(y.shape[1])]
    return torch.stack([torch.zeros_like(x) if r is None else r for r in rows], 1).reshape(x.shape[0], -1, size)


def autodiff_log_det(
    f: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, event_shape: torch.Size
) -> torch.Tensor:
    """Returns log|det| of :func:`autodiff_jacobian`, ``(n)``.

    Example:
        >>> autodiff_log_det(torch.exp, torch.tensor([[1.0, 2.0]]), torch.Size((2,)))
        tensor([3.])
    """
    log_det: torch.Tensor = torch.linalg.slogdet(autodiff_jacobian(f, x, event_shape)).logabsdet
    return log_det
