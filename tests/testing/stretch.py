"""An author's own bijector, as one outside would write it, and a place for wrong versions of its bound form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch.distributions import constraints

import flowtorch
from flowtorch.bijectors import Bijector, BoundBijector
from flowtorch.types import TensorPair, numel


@flowtorch.register(name="tests.Stretch")
@final
@dataclass(frozen=True)
class Stretch(Bijector):
    """The map :math:`y = e^{a + b(c)} x + t` of each coordinate, as an author outside would write it.

    Args:
        mistake: which of the bound forms below it is bound to; the right one by default.
    """

    mistake: str = ""

    @property
    def codomain(self) -> constraints.Constraint:
        """Wrong for one of the mistakes."""
        return constraints.positive if self.mistake in ("leaves the codomain", "is nan outside") else constraints.real

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundBijector[Bijector]:
        return MISTAKES[self.mistake](self, shape, context_shape)


class BoundStretch(BoundBijector[Stretch]):
    """The bound form of :class:`Stretch`."""

    def __init__(self, plan: Stretch, shape: torch.Size, context_shape: torch.Size | None) -> None:
        super().__init__(plan, shape, context_shape)
        self.log_scale = torch.nn.Parameter(torch.zeros(shape))
        self.shift = torch.nn.Parameter(torch.zeros(shape))
        self.net = None if context_shape is None else torch.nn.Linear(numel(context_shape), numel(shape))

    def both(self, context: torch.Tensor | None) -> TensorPair:
        """Returns the log-scale and the shift at a context."""
        if self.net is None or context is None or self.context_shape is None:
            return self.log_scale, self.shift
        cut = context.dim() - len(self.context_shape)
        by_context = self.net(context.reshape((*context.shape[:cut], numel(self.context_shape))))
        return self.log_scale + by_context.reshape((*context.shape[:cut], *self.shape)), self.shift

    def total(self, log_derivative: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Returns the sum over the event, for the whole batch."""
        dims = list(range(-len(self.shape), 0))
        return log_derivative.expand_as(like).sum(dims) if dims else log_derivative.expand_as(like)

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        log_scale, shift = self.both(context)
        return x * log_scale.exp() + shift, self.total(log_scale, x)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        log_scale, shift = self.both(context)
        return (y - shift) * (-log_scale).exp(), self.total(-log_scale, y)


# The bound forms that a ``Stretch`` can be bound to: the right one, and what ``test_mistakes.py`` adds.
MISTAKES: dict[str, type[BoundStretch]] = {"": BoundStretch}
