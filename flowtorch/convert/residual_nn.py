"""Parameters from a dense network of residual blocks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import cast, final

import torch
from torch.nn import functional as F

from .. import options
from ..nn.dense import start_at_zero
from ..parameters import BoundParameters, Parameters
from ..parameters.base import ParameterLayout, need_context
from ..specification import register
from ..types import ModuleFactory, numel


@register
@final
@dataclass(frozen=True)
class ResidualNN(Parameters):
    r"""A network of residual blocks of two layers, as in nflows; the context gates what each block adds.

    .. math:: h_0 = W (x, c) + b, \qquad
              h_{l+1} = h_l + (A_l \, \phi(B_l \, \phi(h_l) + b_l) + a_l) \, \sigma(C_l c + c_l)

    Without a context, or with nothing but it to look at, blocks have no gates. The last layer starts at zero.

    Args:
        hidden_features: the width of all layers.
        blocks: how many blocks.
        nonlinearity: the class of the activations.

    Raises:
        OptionError, OptionTypeError: for options out of range.
        ContextError: when it is bound with nothing to depend on.

    Example:
        >>> from flowtorch.bijectors import AffineCoupling
        >>> bound = AffineCoupling(ResidualNN(16)).bind((4,), context_shape=(2,))
        >>> bound.forward(torch.zeros(5, 4), torch.ones(2)).shape
        torch.Size([5, 4])

    References:
        Neural Spline Flows (Durkan et al., 2019), https://arxiv.org/abs/1906.04032, appendix B.1.
    """

    hidden_features: int = 256
    _: KW_ONLY
    blocks: int = 2
    nonlinearity: ModuleFactory = torch.nn.ReLU

    def __post_init__(self) -> None:
        options.integer("ResidualNN", "hidden_features", self.hidden_features, minimum=1)
        options.integer("ResidualNN", "blocks", self.blocks, minimum=0)
        options.module_factory("ResidualNN", "nonlinearity", self.nonlinearity)

    def _bind(
        self, layout: ParameterLayout, input_shape: torch.Size | None, context_shape: torch.Size | None
    ) -> BoundResidualNN:
        need_context("ResidualNN", input_shape, context_shape)
        return BoundResidualNN(self, layout, input_shape, context_shape)

    def describe(self) -> str:
        """Returns a few words on what this is, for summaries."""
        return f"ResidualNN({self.hidden_features} wide, {self.blocks} blocks)"


class BoundResidualNN(BoundParameters):
    """The bound form of :class:`ResidualNN`."""

    def __init__(
        self,
        plan: ResidualNN,
        layout: ParameterLayout,
        input_shape: torch.Size | None,
        context_shape: torch.Size | None,
    ) -> None:
        super().__init__(layout, input_shape, context_shape)
        width = plan.hidden_features
        inputs, context = (0 if s is None else numel(s) for s in (input_shape, context_shape))
        gated = inputs > 0 and context > 0
        self.initial = torch.nn.Linear(inputs + context, width)
        # The two layers of a block, and its gate.
        self.first, self.second, self.gates = (
            cast(Sequence[torch.nn.Linear], torch.nn.ModuleList(torch.nn.Linear(n, width) for _ in range(count)))
            for n, count in ((width, plan.blocks), (width, plan.blocks), (context, plan.blocks if gated else 0))
        )
        self.activation = plan.nonlinearity()
        self.output = torch.nn.Linear(width, layout.out_features)
        start_at_zero(self.output)

    def forward(self, x: torch.Tensor | None, context: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """Returns the parameters."""
        inputs, context = self.flat_input(x), self.flat_context(context)
        # The two are worked on apart: their batches broadcast.
        split = 0 if inputs is None else inputs.shape[-1]
        weight, bias = self.initial.weight, self.initial.bias
        parts = [] if inputs is None else [F.linear(inputs, weight[:, :split])]
        parts += [] if context is None else [F.linear(context, weight[:, split:])]
        h = sum(parts[1:], parts[0]) + bias
        for first, second, gate in itertools.zip_longest(self.first, self.second, self.gates):
            added = second(self.activation(first(self.activation(h))))
            h = h + (added if gate is None else added * torch.sigmoid(gate(context)))
        return self.layout.cut(self.output(h).unflatten(-1, (self.layout.per_coordinate, self.layout.count)))
