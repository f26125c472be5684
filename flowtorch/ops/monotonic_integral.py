"""The integral of a positive function, by quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import torch

from ..errors import OptionError
from ._mixture import rates
from ._own_backward import Tensors, own_backward
from .numerical_inverse import STEPS, TOLERANCE, numerical_inverse
from .quadrature import gauss_legendre

Integrand: TypeAlias = Callable[[torch.Tensor, tuple[torch.Tensor, ...]], torch.Tensor]

# How many points the integrand is given at once where nothing has to be kept: what the cache holds of its network.
CHUNK = 8192


def monotonic_integral(
    x: torch.Tensor,
    integrand: Integrand,
    params: tuple[torch.Tensor, ...],
    offset: torch.Tensor,
    *,
    bound: float = 5.0,
    rule: Sequence[tuple[float, float]] | int = 32,
    recompute: bool = False,
    tolerance: float = TOLERANCE,
    steps: int = STEPS,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps each coordinate by the integral of a positive function from 0.

    .. math::
        y = c + \int_0^x g(t; h) \, dt, \qquad \log \frac{dy}{dx} = \log g(x; h)

    with :math:`c` = ``offset`` and :math:`\log g` = :func:`log_scale` of what ``integrand`` returns, within (-5, 3),
    with ``scale_fn="exp"``; if that is 0, the map is the identity. Within ``[-bound, bound]`` the integral is taken by
    quadrature; outside ``g`` is what it is at the ends, and the map goes on straight. The derivative by ``x`` is, by
    Leibniz' rule, the integrand itself (and not the derivative of the quadrature): the two agree as far as the rule is
    exact, which for smooth functions depends on ``rule`` exponentially. Gradients by parameters are
    :math:`\int_0^x \partial_h g(t; h) \, dt`, by the same rule. The inverse is iterated.

    Shapes: ``x`` and ``offset`` are ``(*batch, *event)`` and broadcast; both results have the broadcast shape.

    Args:
        x: The points, or the images with ``inverse=True``.
        integrand: Takes points ``(N, *batch, *event)`` and ``params``, and returns as many unbounded numbers.
        params: Handed on to ``integrand``.
        offset: The value at 0.
        bound: Where the straight lines begin.
        rule: Nodes and weights on [0, 1], or how many of Gauss-Legendre's to take.
        recompute: Says that ``integrand`` depends on no tensors with gradients but ``params``. The backward pass then
            evaluates it again, some nodes at a time, and integrates its gradients: memory does not grow with the nodes.
        tolerance: That of :func:`numerical_inverse`.
        steps: Those of :func:`numerical_inverse`.
        inverse: Solves for ``x``.

    Returns:
        The value and the log-derivative of the map computed: with ``inverse=True`` it is :math:`\log|dx/dy|`.

    Raises:
        OptionError: If ``bound`` is not positive.

    Example:
        >>> x = torch.tensor([-1e6, 1.0])
        >>> monotonic_integral(x, lambda t, params: torch.zeros_like(t), (), torch.tensor(2.0))
        (tensor([-1.0000e+06,  3.0000e+00]), tensor([0., 0.]))

    References:
        Unconstrained Monotonic Neural Networks (Wehenkel and Louppe, 2019), https://arxiv.org/abs/1908.05164, equations
        1, 5 and 6.
    """
    if not 0.0 < bound < math.inf:
        raise OptionError(f"monotonic_integral: a positive, finite bound is expected; got {bound}.")
    pairs = gauss_legendre(rule) if isinstance(rule, int) else rule

    def function(v: torch.Tensor, p: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        inside = v.clamp(-bound, bound)
        if recompute:
            form = _Quadrature(integrand, pairs)
            integral, slope = own_backward(form.plain, form.fast, form.backward, inside, *p)
        else:
            integral, slope = _Quadrature(integrand, pairs).plain(inside, *p)
        return integral + (v - inside) * slope, torch.log(slope)

    if not inverse:
        value, log_derivative = function(x, params)
        return value + offset, log_derivative
    y = x - offset
    # The integrand lies between exp(-5) and exp(3); a little more for rounding.
    narrow, wide = 0.99 * math.exp(-3.0) * y.detach(), 1.01 * math.exp(5.0) * y.detach()
    return numerical_inverse(
        function, y, params, bracket=(narrow, wide), start=y.detach(), tolerance=tolerance, steps=steps
    )


class _Quadrature:
    """The integral from 0 to ``x``, and the integrand there; where values are looked at, some nodes at a time."""

    def __init__(self, integrand: Integrand, rule: Sequence[tuple[float, float]]) -> None:
        self.integrand, self.rule = integrand, rule

    def plain(self, x: torch.Tensor, *params: torch.Tensor) -> Tensors:
        fixed = x.detach()
        points = torch.stack([*(u * fixed for u, _ in self.rule), fixed, x])
        *values, here, there = rates(self.integrand(points, params)).unbind(0)
        integral = fixed * sum(w * g for (_, w), g in zip(self.rule, values, strict=True))
        # Of value zero: the trapezium from the point to itself has the first and second derivatives by x.
        return integral + (x - fixed) * (0.5 * (here + there)), there

    def fast(self, x: torch.Tensor, *params: torch.Tensor) -> tuple[Tensors, Tensors]:
        integral = sum(self._parts(x, params))
        return (torch.as_tensor(integral), rates(self.integrand(x.unsqueeze(0), params)).squeeze(0)), ()

    def backward(self, tensors: Tensors, saved: Tensors, gradients: Tensors) -> tuple[torch.Tensor, ...]:
        with torch.enable_grad():
            x, *params = leaves = [t.detach().requires_grad_() for t in tensors]
            slope = rates(self.integrand(x.unsqueeze(0), tuple(params))).squeeze(0)
            found = list(torch.autograd.grad(slope, leaves, gradients[1], materialize_grads=True))
            found[0] = found[0] + (gradients[0] * slope.detach()).sum_to_size(x.shape)
            for part in self._parts(tensors[0].detach(), tuple(params)):
                more = torch.autograd.grad(part, params, gradients[0], materialize_grads=True) if params else ()
                found[1:] = [a + b for a, b in zip(found[1:], more, strict=True)]
        return tuple(found)

    def _parts(self, x: torch.Tensor, params: Tensors) -> Iterator[torch.Tensor]:
        at_once = max(1, CHUNK // max(x.numel(), 1))
        for start in range(0, len(self.rule), at_once):
            nodes, weights = zip(*self.rule[start : start + at_once], strict=True)
            values = rates(self.integrand(torch.stack([u * x for u in nodes]), params))
            yield x * sum(w * g for w, g in zip(weights, values.unbind(0), strict=True))
