"""Plans that are short for a composition, and bound in a way of their own."""

from __future__ import annotations

import abc

import torch
from torch.distributions.constraints import Constraint

from ..errors import naming
from ..types import Direction, Exactness
from .base import Bijector
from .compose import Compose


class Composed(Bijector):
    """A plan that maps as a composition does: shapes, domains and costs are the composition's.

    An author writes :attr:`composition` and ``_bind``.
    """

    def __post_init__(self) -> None:
        """Checks that the parts fit together."""
        with naming(type(self).__name__):
            _ = self.composition

    @property
    @abc.abstractmethod
    def composition(self) -> Compose:
        """The same map in full."""

    @property
    def min_event_dim(self) -> int:  # type: ignore[override]  # the composition's
        """The most that any part needs."""
        return self.composition.min_event_dim

    @property
    def domain(self) -> Constraint:
        """The composition's."""
        return self.composition.domain

    @property
    def codomain(self) -> Constraint:
        """The composition's."""
        return self.composition.codomain

    def domain_at(self, shape: torch.Size) -> Constraint:
        """Returns the composition's."""
        with naming(type(self).__name__):
            return self.composition.domain_at(shape)

    def image(self, given: Constraint, shape: torch.Size | None) -> Constraint:
        """Returns the composition's."""
        return self.composition.image(given, shape)

    def preimage(self, wanted: Constraint, shape: torch.Size | None) -> Constraint | None:
        """Returns the composition's."""
        return self.composition.preimage(wanted, shape)

    @property
    def cheap(self) -> Direction:
        """The composition's."""
        return self.composition.cheap

    @property
    def exactness(self) -> Exactness:
        """The composition's."""
        return self.composition.exactness

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape after all parts."""
        return self.composition.forward_shape(shape)

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape before all parts."""
        return self.composition.inverse_shape(shape)
