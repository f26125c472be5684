"""A bijector with its directions exchanged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch.distributions.constraints import Constraint

from .. import domains
from ..specification import register
from ..summary import Row
from ..types import Direction, Exactness, TensorPair
from .base import Bijector
from .bound import BoundBijector, as_plan


@register
@final
@dataclass(frozen=True)
class Invert(Bijector):
    r"""The inverse :math:`f^{-1}` of a plan: what was its forward direction is the inverse, and the other way round.

    .. math:: y = f^{-1}(x), \qquad \log|\det dy/dx| = -\log|\det df(y)/dy|

    An autoregressive map scores in one pass when inverted (a masked autoregressive flow) and samples in one pass when
    not (an inverse autoregressive flow).

    Args:
        plan: what to invert.

    Example:
        >>> from flowtorch.bijectors import Exp, Invert
        >>> Invert(Exp()).bind((3,)).forward(torch.ones(3))
        tensor([0., 0., 0.])

    References:
        Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017), https://arxiv.org/abs/1705.07057.
    """

    plan: Bijector

    def __post_init__(self) -> None:
        as_plan("Invert", self.plan)

    @property
    def inv(self) -> Bijector:
        """The plan that was inverted."""
        return self.plan

    @property
    def min_event_dim(self) -> int:  # type: ignore[override]  # the plan's
        """The fewest dimensions that the plan gives."""
        return self.plan.dims_after(self.plan.min_event_dim)

    def dims_before(self, needed: int) -> int:
        """Returns how many dimensions an event has at least whose image has ``needed``."""
        return self.plan.dims_after(max(self.plan.min_event_dim, needed))

    def dims_after(self, dims: int) -> int:
        """Returns how many dimensions the image of an event of ``dims`` has."""
        return self.plan.dims_before(dims)

    @property
    def domain(self) -> Constraint:
        """The plan's codomain."""
        return self.plan.codomain

    @property
    def codomain(self) -> Constraint:
        """The plan's domain."""
        return self.plan.domain

    def domain_at(self, shape: torch.Size) -> Constraint:
        """Returns the plan's image."""
        before = self.plan.inverse_shape(shape)
        return self.plan.image(self.plan.domain_at(before), before)

    def image(self, given: Constraint, shape: torch.Size | None) -> Constraint:
        """Returns the plan's preimage."""
        before = None if shape is None else self.plan.inverse_shape(shape)
        found = self.plan.preimage(given, before)
        if found is not None:
            return found
        return domains.Within(self.plan.domain if before is None else self.plan.domain_at(before))

    def preimage(self, wanted: Constraint, shape: torch.Size | None) -> Constraint | None:
        """Returns the plan's image, where it is known."""
        found = self.plan.image(wanted, None if shape is None else self.plan.inverse_shape(shape))
        return None if isinstance(found, domains.Within) else found

    @property
    def cheap(self) -> Direction:
        """The other one."""
        return _OTHER[self.plan.cheap]

    @property
    def exactness(self) -> Exactness:
        """The plan's."""
        return self.plan.exactness

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape before the plan."""
        return self.plan.inverse_shape(shape)

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape after the plan."""
        return self.plan.forward_shape(shape)

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundInvert:
        return BoundInvert(self, shape, context_shape)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"the inverse of {self.plan.describe()}"

    def explain(self) -> str:
        """Returns the plan's account, directions exchanged."""
        return super().explain() + "\n  of " + self.plan.explain().replace("\n", "\n  ")


_OTHER: dict[Direction, Direction] = {"forward": "inverse", "inverse": "forward", "both": "both"}


class BoundInvert(BoundBijector[Invert]):
    """The bound form of :class:`Invert`."""

    def __init__(self, plan: Invert, shape: torch.Size, context_shape: torch.Size | None) -> None:
        super().__init__(plan, shape, context_shape)
        self.bijector = plan.plan.bind(self.out_shape, context_shape)
        self.stochastic = self.bijector.stochastic

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self.bijector._inverse_and_log_det(x, context)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self.bijector._forward_and_log_det(y, context)

    @property
    def sign(self) -> int:
        """The bijector's: a map and its inverse turn alike."""
        return self.bijector.sign

    def initialize(self, y: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Starts what is started from data, seen from the other side."""
        super().initialize(y, context)
        self.bijector.initialize_forward(y, context)

    def initialize_forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Starts what is started from data, from those that enter forward."""
        self.bijector.initialize(x, context)

    def rows(self) -> list[Row]:
        """Returns the bijector's lines, last first, directions exchanged."""
        return [
            replace(
                row, layer=f"Invert({row.layer})", shape=row.out_shape, out_shape=row.shape, cheap=_OTHER[row.cheap]
            )
            for row in reversed(self.bijector.rows())
        ]
