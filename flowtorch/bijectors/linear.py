"""What linear maps share."""

from __future__ import annotations

import abc
from dataclasses import KW_ONLY, dataclass

import torch

from .. import options
from ..types import TensorPair
from .vector import VectorMap


@dataclass(frozen=True)
class Linear(VectorMap):
    r"""A plan of an invertible matrix, and a shift if asked for: :math:`y = W x + b`.

    An author writes :meth:`matrix_shapes`, :meth:`multiply` and :attr:`matrix_count`, and overrides
    :meth:`matrix_start` where parameters do not start at zero.

    Args:
        bias: whether to add :math:`b`, which starts at zero.
    """

    _: KW_ONLY
    bias: bool = False

    def __post_init__(self) -> None:
        """Checks the options that all share."""
        super().__post_init__()
        options.boolean(type(self).__name__, "bias", self.bias)

    @abc.abstractmethod
    def matrix_shapes(self, size: int) -> tuple[tuple[int, ...], ...]:
        """Returns the shape of each parameter of the matrix; refuses a size that does not fit."""

    def matrix_start(self, size: int) -> tuple[torch.Tensor, ...]:
        """Returns what the parameters of the matrix start at."""
        return tuple(torch.zeros(shape) for shape in self.matrix_shapes(size))

    @abc.abstractmethod
    def multiply(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], *, inverse: bool) -> TensorPair:
        """Returns ``W x``, or its inverse, and log|det| of the direction taken; arguments as for :meth:`apply`."""

    @property
    @abc.abstractmethod
    def matrix_count(self) -> str:
        """How many numbers make the matrix, as a formula in D."""

    @property
    def parameter_count(self) -> str:
        """How many numbers drive a vector of D coordinates, as a formula."""
        return f"{self.matrix_count} + D" if self.bias else self.matrix_count

    def param_shapes(self, size: int) -> tuple[tuple[int, ...], ...]:
        """The shift's comes first."""
        shapes = self.matrix_shapes(size)
        return ((size,), *shapes) if self.bias else shapes

    def start(self, size: int) -> tuple[torch.Tensor, ...]:
        """The shift starts at zero."""
        start = self.matrix_start(size)
        return (torch.zeros(size), *start) if self.bias else start

    def apply(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], *, inverse: bool) -> TensorPair:
        """Moves each vector."""
        if not self.bias:
            return self.multiply(x, params, inverse=inverse)
        shift, *rest = params
        if inverse:
            return self.multiply(x - shift, tuple(rest), inverse=True)
        y, log_det = self.multiply(x, tuple(rest), inverse=False)
        return y + shift, log_det
