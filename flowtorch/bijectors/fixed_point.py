"""Inverses of autoregressive maps by sweeps over all coordinates at once."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..errors import NotSupportedError

TOLERANCE = 1e-6


def fixed_point(
    sweep: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor, most: int, tolerance: float = TOLERANCE
) -> torch.Tensor:
    r"""Solves :math:`x = G(x)` where a coordinate of :math:`G(x)` depends only on those before it.

    .. math:: x^{(n + 1)} = G(x^{(n)}), \qquad \frac{\partial L}{\partial G} = \sum_{n \ge 0} (N^T)^n
              \frac{\partial L}{\partial x}, \qquad N = \frac{\partial G}{\partial x}

    Each sweep makes at least one more coordinate exact, so that as many sweeps as there are steps always suffice; they
    end sooner when no coordinate moves by more than the tolerance. As :math:`N` is strictly triangular in some order,
    the same holds for the sum by which gradients are carried back.

    Args:
        sweep: :math:`G`; what it closes over (images, parameters) gets gradients.
        start: the first guess.
        most: how many sweeps at most; the number of steps.
        tolerance: how far, relative to :math:`1 + |x|`, coordinates may still move; at least 16 times the spacing of
            the dtype at 1.

    Returns:
        The solution.

    Raises:
        NotSupportedError: in the backward pass, where derivatives of gradients are asked for.

    References:
        Accelerating Feedforward Computation via Parallel Nonlinear Equation Solving (Song et al., 2021),
        https://arxiv.org/abs/2002.03629, algorithm 1.
    """
    tolerance = max(tolerance, 16.0 * torch.finfo(start.dtype).eps)
    with torch.no_grad():
        x = _iterate(sweep, start, most, tolerance)
    if not torch.is_grad_enabled():
        return x
    result = sweep(x)
    if not result.requires_grad:
        return x

    def carry(gradient: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            raise NotSupportedError(
                "Autoregressive: a backward pass without create_graph is expected of inversion='parallel', which has "
                "no second derivatives; got create_graph=True. Use inversion='sequential'."
            )
        with torch.enable_grad():
            at = x.detach().requires_grad_()
            image = sweep(at)

        def back(w: torch.Tensor) -> torch.Tensor:
            (pulled,) = torch.autograd.grad(image, at, w, retain_graph=True)
            return gradient + pulled

        return _iterate(back, gradient, most, tolerance)

    result.register_hook(carry)
    return result


def _iterate(
    function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, most: int, tolerance: float
) -> torch.Tensor:
    for _ in range(most):
        new = function(x)
        # NaN never comes to rest, nor does it move: it is left out.
        still = ((new - x).abs() <= tolerance * (1.0 + x.abs())) | new.isnan() | (new == x)
        x = new
        if bool(still.all()):
            break
    return x
