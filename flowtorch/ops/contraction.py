"""Maps ``x + g(x)`` of a contraction ``g``: their inverses, and their log-determinants exactly or by series.

Networks are given as functions: ``g`` itself, and products with its Jacobian (``push``) or its transpose (``pull``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch

from ..errors import NotSupportedError
from ._modes import differentiating, plain_eager

Map: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


def transposed_jacobian(push: Map, x: torch.Tensor, event_dims: int) -> torch.Tensor:
    r"""Returns the matrices :math:`I + J^T` of ``x + g(x)`` over flattened events.

    Shapes: ``x`` ``(*batch, *event)``; the result ``(*batch, D, D)``.

    Args:
        push: the product with :math:`J`, for ``(D, *batch, *event)``.
        x: where; only its shape, dtype and device matter.
        event_dims: how many dimensions an event has.

    Returns:
        The matrices.

    Example:
        >>> transposed_jacobian(lambda v: 0.5 * v, torch.zeros(7, 2), 1)[0].tolist()
        [[1.5, 0.0], [0.0, 1.5]]
    """
    batch, event = x.shape[: x.dim() - event_dims], x.shape[x.dim() - event_dims :]
    size = math.prod(event)
    identity = torch.eye(size, dtype=x.dtype, device=x.device)
    # One row for the whole batch: where the first layer is linear it is worked on once.
    rows = push(identity.reshape(size, *(1,) * len(batch), *event)).flatten(-event_dims)
    return identity + rows.expand(size, *batch, size).movedim(0, -2)


def log_det_series(
    push: Map, pull: Map, probe: torch.Tensor, coefficients: Sequence[float], event_dims: int
) -> torch.Tensor:
    r"""Estimates :math:`\log\det(I + J)` by its power series and one vector of noise.

    .. math:: \sum_{k=1}^{n} \frac{(-1)^{k+1} c_k}{k} v^T J^k v, \qquad
              \frac{\partial}{\partial \theta} = u^T \frac{\partial J}{\partial \theta} v, \quad
              u = \sum_{k=1}^{n} (-1)^{k+1} c_k (J^T)^{k-1} v

    With :math:`E[v v^T] = I` the first has the mean of the series and the second that of its gradient. Powers are
    taken without a graph, and the gradient needs a single product with :math:`J` that has one: memory does not grow
    with the number of terms.

    Shapes: ``probe`` ``(*batch, *event)``; the result ``(*batch)``.

    Args:
        push: the product with :math:`J`, differentiable.
        pull: the product with :math:`J^T`, without derivatives.
        probe: :math:`v`.
        coefficients: :math:`c_1, \dots, c_n`.
        event_dims: how many dimensions an event has.

    Returns:
        The estimate.

    Raises:
        NotSupportedError: in the backward pass, where derivatives of gradients are asked for.

    Example:
        >>> half = lambda v: 0.5 * v
        >>> log_det_series(half, half, torch.ones(1), [1.0] * 30, 1)  # log 1.5
        tensor(0.4055)

    References:
        Residual Flows for Invertible Generative Modeling (Chen et al., 2019), https://arxiv.org/abs/1906.02735,
        eq. 6 and 8.
    """
    axes = tuple(range(-event_dims, 0))
    with torch.no_grad():
        power, direction, total = (
            probe,
            torch.zeros_like(probe),
            probe.new_zeros(probe.shape[: probe.dim() - event_dims]),
        )
        for k, coefficient in enumerate(coefficients, 1):
            signed = coefficient if k % 2 else -coefficient
            direction = direction + signed * power
            power = pull(power)
            total = total + signed / k * (power * probe).sum(axes)
    if not differentiating():
        return total
    carried = (direction * push(probe)).sum(axes)
    if plain_eager() and carried.requires_grad:
        carried.register_hook(_first_derivatives_only)
    return total + (carried - carried.detach())


def _first_derivatives_only(gradient: torch.Tensor) -> None:
    if torch.is_grad_enabled():
        raise NotSupportedError(
            "Residual: a backward pass without create_graph is expected of an estimated log-determinant or the inverse "
            "beside it, which have no second derivatives; got create_graph=True. Use trace='exact'."
        )


def enough_steps(rate: float, tolerance: float) -> int:
    r"""Returns how many steps of a contraction bring the error down to a tolerance, relative to the first step.

    .. math:: n = \lceil \log(\epsilon (1 - \kappa)) / \log \kappa \rceil

    Args:
        rate: :math:`\kappa`.
        tolerance: :math:`\epsilon`.

    Returns:
        :math:`n`, at least 1.

    Example:
        >>> enough_steps(0.5, 1e-3)
        11
    """
    return max(1, math.ceil(math.log(tolerance * (1.0 - rate)) / math.log(rate)))


def solve_contraction(
    function: Map,
    y: torch.Tensor,
    event_dims: int,
    *,
    rate: float,
    tolerance: float,
    steps: int | None = None,
    floor: float = 1.0,
) -> torch.Tensor:
    r"""Solves :math:`x + g(x) = y`, without derivatives.

    .. math:: x_0 = y, \quad x_{n+1} = y - g(x_n), \qquad
              \|x_{n+1} - x\| \le \frac{\kappa}{1 - \kappa} \|x_{n+1} - x_n\|

    An event ends its search once that is within the tolerance times ``floor`` :math:`+ \|x\|`; or once its steps no
    longer shrink as those of a contraction do, when rounding is all that is left of them. The number of steps is
    fixed; only in eager mode, outside of functorch's transforms and compilation, the search ends when all have.

    Shapes: ``y`` and the result ``(*batch, *event)``.

    Args:
        function: :math:`g`.
        y: the images.
        event_dims: how many dimensions an event has.
        rate: :math:`\kappa`, the Lipschitz constant of ``function``, below 1.
        tolerance: how large the error in :math:`x` may be, in the Euclidean norm of events.
        steps: how many steps; None for as many as always suffice, see :func:`enough_steps`.
        floor: the size below which errors are no longer relative.

    Returns:
        The solution.

    Example:
        >>> solve_contraction(lambda x: 0.5 * torch.sin(x), torch.ones(1), 1, rate=0.5, tolerance=1e-6)
        tensor([0.6840])
    """
    axes = tuple(range(-event_dims, 0))
    eps = torch.finfo(y.dtype).eps
    count = enough_steps(rate, max(tolerance, eps)) if steps is None else steps
    with torch.no_grad():
        y = y.detach()
        x, last = y, torch.inf
        done: torch.Tensor | None = None
        for _ in range(count):
            new = y - function(x)
            step = torch.linalg.vector_norm(new - x, dim=axes)
            size = floor + torch.linalg.vector_norm(new, dim=axes)
            # Written so that NaN, which is greater than nothing, ends the search.
            going = (rate * step > (1.0 - rate) * tolerance * size) & (step < 0.5 * (1.0 + rate) * last)
            x = new if done is None else torch.where(done[(..., *(None,) * event_dims)], x, new)
            done = ~going if done is None else done | ~going
            last = step
            if plain_eager() and type(done) is torch.Tensor and not done.is_meta and bool(done.all()):
                break
    return x.detach()


def implicit_gradients(
    function: Map,
    adjoint: Map,
    tangent: Map,
    x: torch.Tensor,
    y: torch.Tensor,
    event_dims: int,
    *,
    rate: float,
    tolerance: float,
) -> torch.Tensor:
    r"""Returns the solution ``x`` of :math:`x + g(x) = y` with first derivatives, by iterations alone.

    .. math:: dx = (I + J)^{-1} (dy - \partial_\theta g \, d\theta)

    In eager mode the gradient is carried back by solving :math:`w + J^T w = \partial L / \partial x`, as ``x`` was
    found; elsewhere a fixed number of products with :math:`J`, without derivatives of their own, stand in the graph.

    Args:
        function: :math:`g`, whose parameters get gradients.
        adjoint: the product with :math:`J^T` at ``x``, without derivatives.
        tangent: the product with :math:`J` at ``x``, without derivatives.
        x: the solution.
        y: the images, which get gradients.
        event_dims: how many dimensions an event has.
        rate: the Lipschitz constant.
        tolerance: how large the relative error of the gradient may be.

    Returns:
        ``x``.

    Raises:
        NotSupportedError: in the backward pass, where derivatives of gradients are asked for.

    Example:
        >>> y = torch.tensor([1.0], requires_grad=True)
        >>> half = lambda v: 0.5 * v
        >>> x = implicit_gradients(half, half, half, torch.tensor([2 / 3]), y, 1, rate=0.6, tolerance=1e-6)
        >>> torch.autograd.grad(x.sum(), y)[0]
        tensor([0.6667])
    """
    image = y - function(x)
    moved = image - image.detach()
    if not plain_eager():
        total = moved
        for _ in range(enough_steps(rate, max(tolerance, torch.finfo(x.dtype).eps))):
            total = moved - tangent(total)
        return x + total
    if not moved.requires_grad:
        return x
    result = x + moved

    def carry(gradient: torch.Tensor) -> torch.Tensor:
        _first_derivatives_only(gradient)
        return solve_contraction(adjoint, gradient, event_dims, rate=rate, tolerance=tolerance, floor=0.0)

    result.register_hook(carry)
    return result
