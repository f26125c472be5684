"""Permutations of the coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import final

import torch

from ..parameters.steps import as_permutation, draw_order
from ..specification import register
from ..types import TensorPair, numel
from .axis import Axis, check_dim
from .base import Bijector
from .bound import BoundBijector
from .rearrangement import Rearrangement


@register
@final
@dataclass(frozen=True)
class Permute(Rearrangement):
    r"""A permutation of the coordinates: given, or drawn when it is bound.

    .. math:: y_i = x_{\pi(i)}, \qquad \log|\det dy/dx| = 0

    Args:
        permutation: :math:`\pi`; None draws one at each binding, and keeps it in the ``state_dict``.
        dim: the axis along which slices are permuted; None for the flattened event.

    Raises:
        OptionError, OptionTypeError: for what is not a permutation.
        ShapeError: when bound to an event of another size.

    Example:
        >>> Permute((2, 0, 1)).bind((3,)).forward(torch.tensor([10.0, 20.0, 30.0])).tolist()
        [30.0, 10.0, 20.0]
    """

    permutation: Sequence[int] | None = None
    _: KW_ONLY
    dim: int | None = None
    min_event_dim = 1

    def __post_init__(self) -> None:
        check_dim("Permute", self.dim)
        if self.permutation is not None:
            object.__setattr__(self, "permutation", as_permutation("Permute", self.permutation))

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundPermute:
        axis = Axis(shape, self.dim, "Permute")
        order = draw_order("Permute", None if self.permutation is None else tuple(self.permutation), axis.size)
        return BoundPermute(self, shape, context_shape, axis, order)

    def sources(self, shape: torch.Size) -> Sequence[int] | None:
        """Returns for each coordinate after ``forward`` which one before it is; None if that is drawn."""
        if self.permutation is None:
            return None
        return _sources(Axis(shape, self.dim, "Permute"), torch.tensor(tuple(self.permutation), device="cpu"))

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y_i = x_pi(i), pi = {self.permutation if self.permutation is not None else 'drawn when bound'}."


@register
@final
@dataclass(frozen=True)
class Reverse(Rearrangement):
    r"""The coordinates in reverse order.

    .. math:: y_i = x_{D - 1 - i}, \qquad \log|\det dy/dx| = 0

    Args:
        dim: the axis along which slices are reversed; None for the flattened event.

    Raises:
        ShapeError: when bound to an event without that axis.

    Example:
        >>> Reverse().bind((3,)).forward(torch.tensor([10.0, 20.0, 30.0])).tolist()
        [30.0, 20.0, 10.0]
    """

    _: KW_ONLY
    dim: int | None = None
    min_event_dim = 1

    def __post_init__(self) -> None:
        check_dim("Reverse", self.dim)

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundPermute:
        axis = Axis(shape, self.dim, "Reverse")
        return BoundPermute(self, shape, context_shape, axis, torch.arange(axis.size - 1, -1, -1))

    def sources(self, shape: torch.Size) -> Sequence[int]:
        """Returns for each coordinate after ``forward`` which one before it is."""
        axis = Axis(shape, self.dim, "Reverse")
        return _sources(axis, torch.arange(axis.size - 1, -1, -1, device="cpu"))

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y_i = x_(D-1-i)."


class BoundPermute(BoundBijector[Bijector]):
    """The bound form of both; ``permutation`` is in the state, as it changes the function."""

    permutation: torch.Tensor

    def __init__(
        self, plan: Bijector, shape: torch.Size, context_shape: torch.Size | None, axis: Axis, order: torch.Tensor
    ) -> None:
        super().__init__(plan, shape, context_shape)
        self.axis = axis
        self.register_buffer("permutation", order)

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._take(x, self.permutation)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._take(y, self.permutation.argsort())

    def _take(self, x: torch.Tensor, order: torch.Tensor) -> TensorPair:
        y = self.axis.join(self.axis.split(x).index_select(-self.axis.ndim, order))
        return y, x.new_zeros(x.shape[: x.dim() - len(self.shape)])


def _sources(axis: Axis, order: torch.Tensor) -> list[int]:
    place = torch.arange(numel(axis.shape), device="cpu").reshape(axis.shape)
    moved = axis.join(axis.split(place).index_select(0, order))
    return [int(i) for i in moved.flatten().tolist()]
