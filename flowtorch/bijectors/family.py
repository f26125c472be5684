"""What the families share that drive an elementwise map with parameters from other coordinates."""

from __future__ import annotations

import abc
from dataclasses import fields
from typing import TypeVar

from torch.distributions.constraints import Constraint

from .. import domains
from ..parameters import Parameters
from ..types import Exactness
from .base import Bijector
from .elementwise import Elementwise

ElementwiseT = TypeVar("ElementwiseT", bound=Elementwise)


class Family(Bijector):
    """An elementwise map whose parameters come from other coordinates; an author of one writes :meth:`_elementwise`."""

    min_event_dim = 1
    params_fn: Parameters | None

    @abc.abstractmethod
    def _elementwise(self) -> Elementwise:
        """Returns how one coordinate moves."""

    def _with_my_options(self, plan: type[ElementwiseT]) -> ElementwiseT:
        """Returns an elementwise plan with the options that it shares with this plan."""
        shared = [f.name for f in fields(plan) if f.name != "params_fn"]  # type: ignore[arg-type]  # plans are dataclasses
        return plan(**{name: getattr(self, name) for name in shared})

    @property
    def exactness(self) -> Exactness:
        """The elementwise plan's."""
        return self._elementwise().exactness

    @property
    def domain(self) -> Constraint:
        """The elementwise plan's, for every coordinate."""
        return domains.lift(self._elementwise().domain, 1)

    @property
    def codomain(self) -> Constraint:
        """The elementwise plan's, for every coordinate."""
        return domains.lift(self._elementwise().codomain, 1)
