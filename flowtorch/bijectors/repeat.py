"""Independent copies of one plan, one after the other."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import final

import torch

from .. import options
from ..errors import naming
from ..specification import register
from .base import Bijector
from .bound import as_plan
from .compose import BoundCompose, Compose
from .composed import Composed


@register
@final
@dataclass(frozen=True)
class Repeat(Composed):
    r"""Copies of a plan, one after the other, each with parameters of its own: short for ``Compose([plan] * count)``.

    .. math:: y = f_n(\cdots f_1(x)), \qquad \log|\det dy/dx| = \sum_i \log|\det df_i|

    What a copy draws when bound, such as a permutation, is drawn for each. It is bound as a composition is, so that
    ``bound[:k]`` is the first k copies. ``Scan`` does the same with parameters stacked, which compiles as one layer.

    Args:
        plan: what is repeated; a ``Compose`` of layers that alternate, perhaps.
        count: how many times.
        checkpoint: in training, keeps only what goes into each copy and computes the rest again in the backward pass.

    Raises:
        OptionError, OptionTypeError: for what is no plan, count or boolean.
        DomainError: if the plan's codomain does not lie in its domain.

    Example:
        >>> from flowtorch.bijectors import AffineAutoregressive, Compose, Reverse
        >>> bound = Repeat(Compose([AffineAutoregressive(), Reverse()]), 5).bind((3,))
        >>> len(bound), len(bound[:2]), bound.forward(torch.zeros(4, 3)).shape
        (5, 2, torch.Size([4, 3]))
    """

    plan: Bijector
    count: int
    _: KW_ONLY
    checkpoint: bool = False

    def __post_init__(self) -> None:
        as_plan("Repeat", self.plan)
        options.integer("Repeat", "count", self.count, minimum=1)
        options.boolean("Repeat", "checkpoint", self.checkpoint)
        super().__post_init__()

    @property
    def composition(self) -> Compose:
        """The copies, written out."""
        return Compose((self.plan,) * self.count, checkpoint=self.checkpoint)

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundCompose:
        with naming("Repeat"):
            bound = self.composition._bind(shape, context_shape)
        return BoundCompose(self, shape, context_shape, bound.parts)  # type: ignore[arg-type]  # has what it asks for

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"{self.count} times, each with parameters of its own: {self.plan.describe()}"

    def explain(self) -> str:
        """Returns an account of one copy."""
        return f"Repeat: {self.count} copies, base to data, each\n   " + self.plan.explain().replace("\n", "\n   ")
