"""A fully connected network of two inputs whose batches broadcast."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast

import torch
from torch.nn import functional as F

from ..errors import ContextError
from ..types import ModuleFactory
from .fused_dense import dense_layers


class Dense(torch.nn.Module):
    r"""A multilayer perceptron of an input and a context.

    .. math:: h_1 = \phi(W_x x + W_c c + b), \quad h_{l+1} = \phi(W_l h_l + b_l) \,[+\, h_l], \quad o = W_o h_L + b_o

    The first layer is applied to the two inputs apart, so that a context of batch ``()`` is worked on once for any
    batch of ``x``. The last layer starts at zero.

    Args:
        in_features: the length of ``x``; 0 where there is none.
        context_features: the length of the context; 0 where there is none.
        hidden_dims: the widths of the hidden layers; none for a linear map.
        out_features: the length of the output.
        nonlinearity: makes each activation.
        residual: adds the input of every hidden layer but the first to its output.

    Shapes: ``x`` ``(*batch, in_features)``, context ``(*batch, context_features)``, output ``(*batch, out_features)``.

    Example:
        >>> Dense(2, 3, (16,), 5)(torch.zeros(7, 2), torch.zeros(3)).shape
        torch.Size([7, 5])
    """

    def __init__(
        self,
        in_features: int,
        context_features: int,
        hidden_dims: Sequence[int],
        out_features: int,
        *,
        nonlinearity: ModuleFactory = torch.nn.ReLU,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.residual = residual
        widths = (in_features + context_features, *hidden_dims, out_features)
        layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.layers = cast(Sequence[torch.nn.Linear], layers)
        self.activations = torch.nn.ModuleList(nonlinearity() for _ in hidden_dims)
        start_at_zero(self.layers[-1])

    def forward(self, x: torch.Tensor | None, context: torch.Tensor | None) -> torch.Tensor:
        """Applies the network."""
        layers, activations = [*self.layers], [*self.activations]
        add: torch.Tensor | None = None
        columns: int | None = None
        if x is None or context is None:
            given = context if x is None else x
            if given is None:
                raise ContextError("Dense: x or a context is expected; got neither.")
            x = given
        else:
            columns = self.in_features
            add = F.linear(context, layers[0].weight[:, columns:])
        if not self.residual:
            return dense_layers(layers, activations, x, add=add, columns=columns)
        h = dense_layers(layers[:1], activations[:1], x, add=add, columns=columns)
        for layer, activation in zip(layers[1:-1], activations[1:], strict=True):
            h = dense_layers([layer], [activation], h) + h
        return dense_layers(layers[-1:], [], h) if len(layers) > 1 else h


def start_at_zero(layer: torch.nn.Module) -> None:
    """Zeroes the parameters of a last layer, so that the map it drives starts at the identity."""
    for parameter in layer.parameters(recurse=False):
        torch.nn.init.zeros_(parameter)
