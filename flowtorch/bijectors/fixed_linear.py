"""Linear maps without parameters: what they share."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

import torch
from typing_extensions import Self

from ..types import TensorPair, numel
from .axis import Axis, check_dim
from .base import Bijector
from .bound import BoundBijector


@dataclass(frozen=True)
class FixedLinear(Bijector):
    """A plan of a linear map of vectors that has no parameters: the flattened event, or the vectors along an axis.

    An author writes :meth:`numbers` and :meth:`apply`, and overrides :meth:`log_det` for a map that changes volumes.

    Args:
        dim: the axis that the vectors lie along, one at each position of the others; None for the flattened event.
    """

    _: KW_ONLY
    dim: int | None = None
    min_event_dim = 1

    def __post_init__(self) -> None:
        """Checks the options that all share."""
        check_dim(type(self).__name__, self.dim)

    @abc.abstractmethod
    def numbers(self, size: int) -> tuple[torch.Tensor, ...]:
        """Returns in float64, on the CPU, what :meth:`apply` needs for vectors of ``size``; refuses what do not fit."""

    def log_det(self, size: int) -> float:
        """Returns log|det| of the matrix for vectors of ``size`` coordinates."""
        return 0.0

    @abc.abstractmethod
    def apply(self, x: torch.Tensor, numbers: tuple[torch.Tensor, ...], *, inverse: bool) -> torch.Tensor:
        """Moves vectors ``(*batch, size)``, forward or back; the numbers are of their dtype and on their device."""

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundFixedLinear:
        return BoundFixedLinear(self, shape, context_shape)


# Up to this size a product with the matrix is no slower than the algorithms, for batches from 1 to 4096.
MATRIX_UP_TO = 128


@dataclass(frozen=True)
class Orthonormal(FixedLinear):
    """A plan of an orthonormal transform that has an algorithm; small ones are products with the matrix all the same.

    An author writes :meth:`transform` and :attr:`cost`.
    """

    _: KW_ONLY
    dim: int | None = -1

    @abc.abstractmethod
    def transform(self, x: torch.Tensor, *, inverse: bool) -> torch.Tensor:
        """Transforms vectors by the algorithm."""

    @property
    @abc.abstractmethod
    def cost(self) -> str:
        """What the algorithm is and what it takes, in a few words."""

    def numbers(self, size: int) -> tuple[torch.Tensor, ...]:
        """The matrix, for small sizes."""
        if size > MATRIX_UP_TO:
            return ()
        with torch.device("cpu"):
            return (self.transform(torch.eye(size, dtype=torch.float64), inverse=False).mT,)

    def apply(self, x: torch.Tensor, numbers: tuple[torch.Tensor, ...], *, inverse: bool) -> torch.Tensor:
        """Transforms vectors."""
        if x.shape[-1] > MATRIX_UP_TO:
            return self.transform(x, inverse=inverse)
        return x @ (numbers[0] if inverse else numbers[0].mT)

    def explain(self) -> str:
        """Returns how it is structured, how many parameters it has and how gradients flow, in words."""
        of = "the flattened event" if self.dim is None else f"each vector along axis {self.dim}"
        return super().explain() + (
            f"\n  It multiplies {of}, of D coordinates, by an orthonormal matrix: a product up to D = {MATRIX_UP_TO}, "
            f"{self.cost} beyond. It has no parameters, and log|det| is 0. Gradients are multiplied by the transpose, "
            "which keeps their norm."
        )


class BoundFixedLinear(BoundBijector[FixedLinear]):
    """The bound form of all of them."""

    def __init__(self, plan: FixedLinear, shape: torch.Size, context_shape: torch.Size | None) -> None:
        super().__init__(plan, shape, context_shape)
        self.axis = Axis(shape, plan.dim, type(plan).__name__)
        self.numbers = Exact(plan.numbers(self.axis.size))
        self._log_det = numel(self.axis.block) * plan.log_det(self.axis.size)

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._move(x, inverse=False), self._full(x, self._log_det)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._move(y, inverse=True), self._full(y, -self._log_det)

    def _move(self, x: torch.Tensor, inverse: bool) -> torch.Tensor:
        if not x.is_meta and torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self._move(x, inverse)
        wide = torch.promote_types(x.dtype, torch.float32)
        vectors = self.axis.split(x).movedim(-self.axis.ndim, -1).to(wide)
        moved = self.plan.apply(vectors, tuple(n.to(wide) for n in self.numbers()), inverse=inverse)
        return self.axis.join(moved.movedim(-1, -self.axis.ndim)).to(x.dtype)

    def _full(self, x: torch.Tensor, value: float) -> torch.Tensor:
        return x.new_full(x.shape[: x.dim() - len(self.shape)], value)


class Exact(torch.nn.Module):
    """Numbers known in float64, and made of those anew when the dtype changes; no less than float32, and in no state.

    Args:
        values: float64 tensors on the CPU.
    """

    def __init__(self, values: tuple[torch.Tensor, ...]) -> None:
        super().__init__()
        self._values = values
        for index, value in enumerate(values):
            self.register_buffer(str(index), torch.empty(value.shape), persistent=False)
        self._remake()

    def _remake(self) -> None:
        for index, value in enumerate(self._values):
            old = self.get_buffer(str(index))
            setattr(self, str(index), value.to(old.device, torch.promote_types(old.dtype, torch.float32)))

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's own
        self._remake()
        return self

    def forward(self) -> tuple[torch.Tensor, ...]:
        """Returns them."""
        return tuple(self._buffers[name] for name in self._buffers)  # type: ignore[misc]  # None is never registered
