"""One output of a network of blocks as a function of its own input: what a block network's inverse is found by.

All that comes of other inputs is known by then, and added to each layer as an offset. Derivatives are carried along in
logarithms, as those of saturated units are too small for the dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F

from ..types import TensorPair
from . import elementary

ActivationName: TypeAlias = Literal["tanh", "leaky_tanh", "sigmoid", "elu", "leaky_relu"]
# The least share of the identity where a gate mixes it in, so that slopes are bounded away from zero.
MIN_IDENTITY = 0.01
_KINK, _NEGATIVE_SLOPE = 3.0, 0.01


class Activation(NamedTuple):
    """An increasing function, which acts on each number alone.

    Args:
        function: Returns the value and the logarithm of the derivative.
        low: What values stay above.
        high: What values stay below.
        slope: The derivative at 0.
    """

    function: Callable[[torch.Tensor], TensorPair]
    low: float = -math.inf
    high: float = math.inf
    slope: float = 1.0

    @property
    def onto(self) -> bool:
        """Whether it takes every value."""
        return math.isinf(self.low) and math.isinf(self.high)


def _leaky_tanh(x: torch.Tensor) -> TensorPair:
    """The hyperbolic tangent within (-3, 3), and its tangents outside."""
    inside = x.clamp(-_KINK, _KINK)
    value, log_slope = elementary.tanh(inside)
    return value + (x - inside) * math.cosh(_KINK) ** -2, log_slope


ACTIVATIONS: dict[ActivationName, Activation] = {
    "tanh": Activation(elementary.tanh, -1.0, 1.0),
    "leaky_tanh": Activation(_leaky_tanh),
    "sigmoid": Activation(elementary.sigmoid, 0.0, 1.0, 0.25),
    "elu": Activation(elementary.elu, -1.0),
    "leaky_relu": Activation(lambda x: elementary.leaky_relu(x, _NEGATIVE_SLOPE)),
}


class BlockLayer(NamedTuple):
    """A layer of units that see one input, given what they see of others.

    Args:
        offset: What they see of others, and the bias: ``(outputs, *batch)``.
        weight: Positive, ``(outputs, inputs)``.
        log_weight: Its logarithm.
    """

    offset: torch.Tensor
    weight: torch.Tensor
    log_weight: torch.Tensor


def log_matmul(log_weight: torch.Tensor, log_x: torch.Tensor) -> torch.Tensor:
    r"""Returns :math:`\log \sum_i W_{oi} x_i` of the logarithms of positive numbers.

    Shapes: ``(outputs, inputs, *rest)`` and ``(inputs, *rest)``, which broadcast, to ``(outputs, *rest)``: the sum is
    over an axis that is not the last, as torch vectorises it best. Terms are finite, which spares half of what
    ``torch.logsumexp`` does.
    """
    terms = log_weight + log_x
    top = terms.detach().amax(1)
    return (terms - top.unsqueeze(1)).exp().sum(1).log() + top


def block_units(x: torch.Tensor, layers: Sequence[BlockLayer], activation: Activation) -> list[torch.Tensor]:
    """Returns the values of the units of each hidden layer ``(outputs, *batch)``, for ``x`` ``(*batch)``."""
    units = [x.unsqueeze(0)]
    for offset, weight, _ in layers[:-1]:
        units.append(activation.function(torch.tensordot(weight, units[-1], 1) + offset)[0])
    return units[1:]


def block_map(x: torch.Tensor, layers: Sequence[BlockLayer], activation: Activation) -> TensorPair:
    """Returns the network's value and log-derivative at ``x`` ``(*batch)``; the last layer has one output."""
    h, log_slope = x.unsqueeze(0), x.new_zeros(())
    for index, (offset, weight, log_weight) in enumerate(layers):
        h = torch.tensordot(weight, h, 1) + offset
        log_weight = log_weight.reshape(*weight.shape, *([1] * x.dim()))
        log_slope = log_weight[:, 0] if index == 0 else log_matmul(log_weight, log_slope)
        if index < len(layers) - 1:
            h, bend = activation.function(h)
            log_slope = log_slope + bend
    return h.squeeze(0), log_slope.squeeze(0)


def block_limits(layers: Sequence[BlockLayer], activation: Activation) -> TensorPair:
    """Returns what the network nears as ``x`` goes to minus and to plus infinity, each ``(*batch)``."""
    first, *rest = layers

    def limit(end: float) -> torch.Tensor:
        if math.isinf(end):
            return torch.full_like(rest[-1].offset[0], end)
        h = torch.full_like(first.offset, end)
        for index, (offset, weight, _) in enumerate(rest):
            h = torch.tensordot(weight, h, 1) + offset
            h = h if index == len(rest) - 1 else activation.function(h)[0]
        return h.squeeze(0)

    return limit(activation.low), limit(activation.high)


def with_identity(
    x: torch.Tensor, value: torch.Tensor, log_slope: torch.Tensor, raw_gate: torch.Tensor | None
) -> TensorPair:
    r"""Adds the identity to a map, or mixes it in.

    .. math::
        y = x + f(x) \quad\text{or}\quad y = g x + (1 - g) f(x), \qquad 0.01 \le g, \qquad
        \log \frac{dy}{dx} = \operatorname{logaddexp}(\log g, \log (1 - g) + \log f'(x))

    Shapes: all broadcast.

    Args:
        x: The points.
        value: :math:`f(x)`.
        log_slope: :math:`\log f'(x)`.
        raw_gate: What the share of the identity :math:`g` is made of, any real number; None to add it.

    Returns:
        The value and the logarithm of its derivative.

    Example:
        >>> with_identity(torch.ones(1), torch.ones(1), torch.zeros(1), None)
        (tensor([2.]), tensor([0.6931]))
    """
    if raw_gate is None:
        return x + value, F.softplus(log_slope, threshold=elementary.SOFTPLUS_THRESHOLD)
    share = identity_share(raw_gate)
    log_rest = math.log1p(-MIN_IDENTITY) + F.logsigmoid(-raw_gate)
    return share * x + log_rest.exp() * value, torch.logaddexp(share.log(), log_rest + log_slope)


def identity_share(raw_gate: torch.Tensor) -> torch.Tensor:
    """Returns the share of the identity, between 0.01 and 1."""
    return MIN_IDENTITY + (1.0 - MIN_IDENTITY) * torch.sigmoid(raw_gate)
