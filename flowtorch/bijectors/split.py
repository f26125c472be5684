"""Two pieces of the event, the second moved by a plan that the first one conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import final

import torch

from .. import options
from ..errors import ShapeError
from ..specification import register
from ..types import numel
from .axis import Axis, check_dim
from .base import Bijector
from .bound import BoundBijector, as_plan
from .pieces import BoundPieces, Piece, Pieces


@register
@final
@dataclass(frozen=True)
class Split(Pieces):
    r"""The event in two pieces: one moved on its own, the other by a plan whose context the first one is.

    .. math::
        y_A = f(x_A; c), \quad y_B = g(x_B; (y_A, c)), \qquad
        \log|\det dy/dx| = \log|\det df(x_A; c)| + \log|\det dg(x_B; (y_A, c))|

    so that :math:`p(y) = p(y_A \mid c)\, p(y_B \mid y_A, c)`. Where :class:`Coupling` drives an elementwise map,
    :math:`g` is any plan that takes a context: an autoregressive map, a composition, a linear map of vectors. Its
    context is a vector, :math:`y_A` flattened and then :math:`c` flattened. As that is :math:`y_A` and not
    :math:`x_A`, the inverse moves both pieces at once.

    Args:
        first: the plan :math:`f`; None leaves the first piece as it is.
        second: the plan :math:`g`.
        size: how many slices from the front are the first piece; None for half of them, the larger if odd.
        dim: the axis that is split; None for the flattened event. Parts keep the shapes of their pieces.
        swap: exchanges the pieces: ``second`` moves those in front, given those behind.

    Raises:
        OptionError, OptionTypeError: for what is no plan, or a size that is none.
        ShapeError: when bound to an event that the size leaves no second piece of.

    Example:
        >>> from flowtorch.bijectors import AffineAutoregressive
        >>> bound = Split(None, AffineAutoregressive(), size=1).bind((3,))
        >>> bound.forward(torch.tensor([0.5, 1.0, 2.0]))[0]
        tensor(0.5000, grad_fn=<SelectBackward0>)

    References:
        HINT: Hierarchical Invertible Neural Transport for Density Estimation and Bayesian Inference (Kruse et al.,
        2021), https://arxiv.org/abs/1905.10687, eq. 5-7.
    """

    first: Bijector | None
    second: Bijector
    size: int | None = None
    _: KW_ONLY
    dim: int | None = None
    swap: bool = False

    def __post_init__(self) -> None:
        if self.first is not None:
            as_plan("Split first", self.first)
        as_plan("Split second", self.second)
        if self.size is not None:
            options.integer("Split", "size", self.size, minimum=1)
        check_dim("Split", self.dim)
        options.boolean("Split", "swap", self.swap)

    def _parts(self) -> Sequence[tuple[str, Bijector | None]]:
        return [("first", self.first), ("second", self.second)]

    def _pieces(self, axis: Axis) -> list[Piece]:
        size = (axis.size + 1) // 2 if self.size is None else self.size
        if size >= axis.size:
            raise ShapeError(
                f"Split: more than {size} slices are expected, so that there is a second piece; got {axis.size} of an "
                f"event {tuple(axis.shape)}."
            )
        parts = reversed(self._parts()) if self.swap else self._parts()
        ranges = range(size), range(size, axis.size)
        return [Piece(label, plan, tuple(r)) for (label, plan), r in zip(parts, ranges, strict=True)]

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundBijector[Bijector]:
        return BoundSplit(self, shape, context_shape)

    def describe(self) -> str:
        """Returns the formula in one line."""
        first = "y_A = x_A" if self.first is None else "y_A = f(x_A; c)"
        size = "half" if self.size is None else str(self.size)
        where = f"the first {size}{'' if self.dim is None else f' along axis {self.dim}'}"
        return f"{first}, y_B = g(x_B; (y_A, c)), {'B' if self.swap else 'A'} being {where}."


class BoundSplit(BoundPieces):
    """The bound form of :class:`Split`."""

    def _given_shape(self, k: int) -> torch.Size | None:
        if self.pieces[k].label == "first":
            return self.context_shape
        return torch.Size((numel(self.before.shapes()[1 - k]) + numel(self.context_shape or (0,)),))

    def _given(self, k: int, pieces: list[torch.Tensor], context: torch.Tensor | None) -> torch.Tensor | None:
        if self.pieces[k].label == "first":
            return context
        first = pieces[1 - k].flatten(-1 if self.plan.dim is None else -len(self.shape))
        if context is None or self.context_shape is None:
            return first
        batch = context.shape[: context.dim() - len(self.context_shape)]
        flat = context.reshape(*batch, numel(self.context_shape))
        return torch.cat([first, flat.expand(*first.shape[:-1], flat.shape[-1])], -1)
