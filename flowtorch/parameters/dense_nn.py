"""Parameters from a dense network of the context and/or part of the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import final

import torch

from .. import options
from ..nn import Dense
from ..specification import register
from ..types import ModuleFactory, numel
from .base import BoundParameters, ParameterLayout, Parameters, need_context


@register
@final
@dataclass(frozen=True)
class DenseNN(Parameters):
    """A multilayer perceptron of the context and, in a coupling, of the untouched part of the input.

    The last layer starts at zero. To add or remove layers change ``hidden_dims``: ``(64, 64, 64)`` has three hidden
    layers, ``()`` none (a linear map).

    Args:
        hidden_dims: the widths of the hidden layers.
        nonlinearity: the class of the activations.
        residual: adds the input of every hidden layer but the first to its output (one width).

    Raises:
        OptionError, OptionTypeError: for options out of range.
        ContextError: when it is bound with nothing to depend on.

    Example:
        >>> from flowtorch.bijectors import AffineCoupling
        >>> bound = AffineCoupling(DenseNN(hidden_dims=(32,), nonlinearity=torch.nn.Tanh)).bind(
        ...     (4,), context_shape=(2,)
        ... )
        >>> bound.forward(torch.zeros(5, 4), torch.ones(2)).shape
        torch.Size([5, 4])
    """

    hidden_dims: Sequence[int] = (256, 256)
    _: KW_ONLY
    nonlinearity: ModuleFactory = torch.nn.ReLU
    residual: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden_dims", options.hidden_dims("DenseNN", self.hidden_dims))
        options.module_factory("DenseNN", "nonlinearity", self.nonlinearity)
        options.boolean("DenseNN", "residual", self.residual)
        if self.residual:
            options.residual_widths("DenseNN", self.hidden_dims)

    def _bind(
        self, layout: ParameterLayout, input_shape: torch.Size | None, context_shape: torch.Size | None
    ) -> BoundDenseNN:
        need_context("DenseNN", input_shape, context_shape)
        return BoundDenseNN(self, layout, input_shape, context_shape)

    def describe(self) -> str:
        """Returns a few words on what this is, for summaries."""
        return f"DenseNN{self.hidden_dims}"


class BoundDenseNN(BoundParameters):
    """The bound form of :class:`DenseNN`."""

    def __init__(
        self, plan: DenseNN, layout: ParameterLayout, input_shape: torch.Size | None, context_shape: torch.Size | None
    ) -> None:
        super().__init__(layout, input_shape, context_shape)
        self.net = Dense(
            0 if input_shape is None else numel(input_shape),
            0 if context_shape is None else numel(context_shape),
            plan.hidden_dims,
            layout.out_features,
            nonlinearity=plan.nonlinearity,
            residual=plan.residual,
        )

    def forward(self, x: torch.Tensor | None, context: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """Returns the parameters."""
        out = self.net(self.flat_input(x), self.flat_context(context))
        return self.layout.cut(out.unflatten(-1, (self.layout.per_coordinate, self.layout.count)))
