"""A monotone network of one coordinate."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from ..errors import ShapeError
from ._mixture import rates
from .elementary import SOFTPLUS_THRESHOLD
from .numerical_inverse import STEPS, TOLERANCE, numerical_inverse

# The least share of the identity, so that the map is onto and its inverse bracketed, and the share at raw_gate 0.
MIN_IDENTITY, START_IDENTITY = 0.01, 0.9
_ONE = math.log(math.expm1(1.0))  # softplus of it is 1


class MonotonicWeights(NamedTuple):
    """The weights of a monotone network, which all coordinates share.

    Args:
        raw: What the positive weights are made of: ``(H_1, 1)``, ``(H_2, H_1)``, and so on to ``(1, H_L)``.
        biases: Those of the hidden layers, ``(H_1,)`` to ``(H_L,)``.
        from_conditions: The weights of the conditions in the first layer, of any sign, ``(H_1, C)``.
    """

    raw: tuple[torch.Tensor, ...]
    biases: tuple[torch.Tensor, ...]
    from_conditions: torch.Tensor


def monotonic_network(
    x: torch.Tensor,
    conditions: torch.Tensor,
    loc: torch.Tensor,
    raw_scale: torch.Tensor,
    raw_gate: torch.Tensor,
    weights: MonotonicWeights,
    *,
    tolerance: float = TOLERANCE,
    steps: int = STEPS,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps each coordinate by a network with positive weights, mixed with the identity.

    .. math::
        y &= t + s \big( (1 - \alpha) x + \alpha \, w_{L+1} h_L \big), \qquad
        h_1 = \phi(w_1 x + V c + b_1), \quad h_{l+1} = \phi(W_{l+1} h_l + b_{l+1}), \\
        \frac{dy}{dx} &= s \Big( 1 - \alpha + \alpha \, w_{L+1} \frac{dh_L}{dx} \Big), \qquad
        \frac{dh_{l+1}}{dx} = \phi' \odot W_{l+1} \frac{dh_l}{dx}

    All :math:`W` are positive, a softplus over the number of inputs; :math:`\phi` is the ELU for one half of a layer's
    units, convex, and :math:`-\operatorname{ELU}(-z)`, concave, for the other, as convex units alone would make convex
    functions only. :math:`\log s` = :func:`log_scale` of ``raw_scale``, within (-5, 3), with ``scale_fn="exp"``, and
    :math:`t` = ``loc``. The share of the identity, :math:`1 - \alpha`, a sigmoid of ``raw_gate``, is 0.9 at 0 and never
    below 0.01: slopes are bounded away from zero, the map is onto, and the inverse, which is iterated, has a bracket.
    Derivatives are carried along with the values, layer by layer.

    Shapes: ``x``, ``loc``, ``raw_scale`` and ``raw_gate`` are ``(*batch, *event)``, ``conditions``
    ``(*batch, *event, C)``; all broadcast but the last axis, and both results have the broadcast shape. Dtypes narrower
    than float32 are computed in float32.

    Args:
        x: The points, or the images with ``inverse=True``.
        conditions: What the network depends on besides ``x``, any real numbers.
        loc: The shift.
        raw_scale: The logarithm of the scale, before it is bounded.
        raw_gate: What the share of the network is made of, any real number.
        weights: The weights of the network.
        tolerance: That of :func:`numerical_inverse`.
        steps: Those of :func:`numerical_inverse`.
        inverse: Solves for ``x``.

    Returns:
        The value and the log-derivative of the map computed: with ``inverse=True`` it is :math:`\log|dx/dy|`.

    Raises:
        ShapeError: If the shapes of the weights are not those of a chain of layers.

    Example:
        >>> raw = torch.zeros(4, 1), torch.zeros(1, 4)
        >>> weights = MonotonicWeights(raw, (torch.zeros(4),), torch.zeros(4, 2))
        >>> monotonic_network(torch.tensor([0.0, 1e6]), torch.zeros(2), *torch.zeros(3, 2), weights)[1]
        tensor([ 0.0000, -0.0513])

    References:
        Neural Autoregressive Flows (Huang et al., 2018), https://arxiv.org/abs/1804.00779, section 3.
        Constrained Monotonic Neural Networks (Runje and Shankaranarayana, 2023), https://arxiv.org/abs/2205.11775,
        section 3.2, for the two kinds of units.
    """
    _check(weights)
    dtype = torch.promote_types(x.dtype, conditions.dtype)
    wide = torch.promote_types(dtype, torch.float32)
    x, conditions, loc, raw_scale, raw_gate = (t.to(wide) for t in (x, conditions, loc, raw_scale, raw_gate))
    weights = MonotonicWeights(
        tuple(r.to(wide) for r in weights.raw),
        tuple(b.to(wide) for b in weights.biases),
        weights.from_conditions.to(wide),
    )
    layers = _signed(weights)

    def function(v: torch.Tensor, p: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        conditions, scale, share = p
        value, slope = _network(v, conditions, layers, weights)
        slope = (1.0 - share) + share * slope
        return scale * (v + share * (value - v)), torch.log(slope) + torch.log(scale)

    share = (1.0 - MIN_IDENTITY) * torch.sigmoid(raw_gate + _START_GATE)
    scale = rates(raw_scale)
    params = conditions, scale, share
    if not inverse:
        value, log_derivative = function(x, params)
        return (value + loc).to(dtype), log_derivative.to(dtype)
    y = x - loc
    with torch.no_grad():
        zero = torch.zeros_like(y)
        level, log_slope = function(zero.detach(), tuple(p.detach() for p in params))
        rise = y.detach() - level
        # No slope is below that of the identity's share; a little more for rounding.
        bracket = zero.detach(), 1.01 * rise / (scale.detach() * (1.0 - share.detach()))
        start = rise * torch.exp(-log_slope)
    value, log_derivative = numerical_inverse(
        function, y, params, bracket=bracket, start=start, tolerance=tolerance, steps=steps
    )
    return value.to(dtype), log_derivative.to(dtype)


_START_GATE = math.log((1.0 - START_IDENTITY) / (START_IDENTITY - MIN_IDENTITY))


def _check(weights: MonotonicWeights) -> None:
    widths = [1, *(b.shape[0] for b in weights.biases), 1]
    expected = [(n, m) for m, n in itertools.pairwise(widths)]
    found = [tuple(r.shape) for r in weights.raw]
    if found != expected or weights.from_conditions.shape[0] != widths[1] or not weights.biases:
        raise ShapeError(
            f"monotonic_network: weights {expected}, and as many of the conditions as the first layer has units, are "
            f"expected for biases of sizes {widths[1:-1]}; got {found} and {tuple(weights.from_conditions.shape)}."
        )


def _signs(like: torch.Tensor) -> torch.Tensor:
    width = like.shape[0]
    ones = torch.ones_like(like)
    return torch.cat((ones[: (width + 1) // 2], -ones[(width + 1) // 2 :]))


def _signed(weights: MonotonicWeights) -> list[torch.Tensor]:
    """Returns the weights of ``(1, H_1)``, ... ``(H_L, 1)``, with the signs of concave units in rows and columns.

    With both, every unit can be an ELU: :math:`-ELU(-z)` is ``s * ELU(s * z)`` for ``s = -1``.
    """
    signs = [_signs(b) for b in weights.biases]
    ones = torch.ones_like(weights.raw[-1][0, :1])
    rows, columns = [*signs, ones], [ones, *signs]
    return [
        F.softplus(raw + _ONE, threshold=SOFTPLUS_THRESHOLD) * (row[:, None] * column / raw.shape[1])
        for raw, row, column in zip(weights.raw, rows, columns, strict=True)
    ]


def _network(
    x: torch.Tensor, conditions: torch.Tensor, layers: list[torch.Tensor], weights: MonotonicWeights
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the network at ``x`` and its derivative."""
    first, *rest = layers
    signs = _signs(weights.biases[0])
    start = F.linear(conditions, weights.from_conditions * signs[:, None], weights.biases[0] * signs)
    z = x.unsqueeze(-1) * first[:, 0] + start
    h = F.elu(z)
    slope = (h.clamp_max(0.0) + 1.0) * first[:, 0]
    for layer, bias in zip(rest, weights.biases[1:], strict=False):
        z = F.linear(h, layer, bias * _signs(bias))
        h = F.elu(z)
        slope = (h.clamp_max(0.0) + 1.0) * F.linear(slope, layer)
    return F.linear(h, rest[-1]).squeeze(-1), F.linear(slope, rest[-1]).squeeze(-1)
