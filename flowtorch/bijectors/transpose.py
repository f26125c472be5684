"""The axes of the event in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch

from ..errors import ShapeError
from ..parameters.steps import as_permutation
from ..specification import register
from ..types import TensorPair, numel
from .bound import BoundBijector
from .rearrangement import Rearrangement


@register
@final
@dataclass(frozen=True)
class Transpose(Rearrangement):
    r"""The last axes of the event in another order, as of ``torch.permute``.

    .. math:: y_{i_{\pi(1)} \cdots i_{\pi(n)}} = x_{i_1 \cdots i_n}, \qquad \log|\det dy/dx| = 0

    Args:
        dims: :math:`\pi`: for each of the last ``n`` axes after ``forward``, which of them it is before; axes in front
            stay where they are. ``(2, 0, 1)`` puts the channels of ``(height, width, channels)`` in front.

    Raises:
        OptionError, OptionTypeError: for what is not a permutation.
        ShapeError: when bound to an event of fewer axes.

    Example:
        >>> Transpose((2, 0, 1)).bind((28, 30, 3)).out_shape
        torch.Size([3, 28, 30])
    """

    dims: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", as_permutation("Transpose", self.dims))

    @property
    def min_event_dim(self) -> int:  # type: ignore[override]  # it depends on the axes named
        """How many axes there are an order of."""
        return len(self.dims)

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape after ``forward``."""
        return torch.Size(shape[i] for i in _axes(self.dims, shape))

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape before ``forward``."""
        return torch.Size(shape[i] for i in _inverse(_axes(self.dims, shape)))

    def sources(self, shape: torch.Size) -> Sequence[int]:
        """Returns for each coordinate after ``forward`` which one before it is, row-major."""
        place = torch.arange(numel(shape), device="cpu").reshape(shape)
        return [int(i) for i in place.permute(_axes(self.dims, shape)).flatten().tolist()]

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundTranspose:
        return BoundTranspose(self, shape, context_shape)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = x with its last {len(self.dims)} axes in the order {tuple(self.dims)}."


class BoundTranspose(BoundBijector[Transpose]):
    """The bound form of :class:`Transpose`."""

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._permuted(x, _axes(self.plan.dims, self.shape))

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._permuted(y, _inverse(_axes(self.plan.dims, self.shape)))

    @staticmethod
    def _permuted(x: torch.Tensor, axes: Sequence[int]) -> TensorPair:
        front = x.dim() - len(axes)
        return x.permute(*range(front), *(front + i for i in axes)), x.new_zeros(x.shape[:front])

    @property
    def sign(self) -> int:
        """That of the permutation of the coordinates."""
        source = list(self.plan.sources(self.shape))
        swaps = 0
        for i in range(len(source)):
            while source[i] != i:
                j = source[i]
                source[i], source[j] = source[j], j
                swaps += 1
        return -1 if swaps % 2 else 1


def _axes(dims: Sequence[int], shape: torch.Size) -> list[int]:
    front = len(shape) - len(dims)
    if front < 0:
        raise ShapeError(f"Transpose: an event of at least {len(dims)} axes is expected; got event {tuple(shape)}.")
    return [*range(front), *(front + i for i in dims)]


def _inverse(order: Sequence[int]) -> list[int]:
    return sorted(range(len(order)), key=order.__getitem__)
