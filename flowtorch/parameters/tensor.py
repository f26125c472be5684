"""Free parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from ..specification import register
from .base import BoundParameters, ParameterLayout, Parameters


@register
@final
@dataclass(frozen=True)
class Tensor(Parameters):
    """Free parameters: learnable tensors that depend on nothing, and start at zero.

    A context, if there is one, is ignored on purpose.

    Example:
        >>> from flowtorch.bijectors import Affine
        >>> [tuple(p.shape) for p in Affine(Tensor()).bind((3,), context_shape=(2,)).parameters()]
        [(3,), (3,)]
    """

    def _bind(
        self, layout: ParameterLayout, input_shape: torch.Size | None, context_shape: torch.Size | None
    ) -> BoundTensor:
        return BoundTensor(layout, input_shape, context_shape)

    def describe(self) -> str:
        """Returns a few words on what this is, for summaries."""
        return "free"


class BoundTensor(BoundParameters):
    """The bound form of :class:`Tensor`."""

    def __init__(
        self, layout: ParameterLayout, input_shape: torch.Size | None, context_shape: torch.Size | None
    ) -> None:
        super().__init__(layout, input_shape, context_shape)
        self.values = torch.nn.ParameterList(torch.zeros(shape) for shape in layout.shapes)

    def forward(self, x: torch.Tensor | None, context: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """Returns the parameters, without a batch."""
        return tuple(self.values)
