"""What follows from a buffer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

from ..ops._modes import plain_eager

T = TypeVar("T")


class Derived(Generic[T]):
    """What follows from a buffer, computed again only when that has changed.

    A copy starts anew: its buffer counts its changes from zero again, and might come by the number that was kept.

    Args:
        compute: what makes it of the buffer; a function of a module, so that it can be pickled.
    """

    def __init__(self, compute: Callable[[torch.Tensor], T]) -> None:
        self.compute = compute
        self._kept: tuple[torch.Tensor, int, T] | None = None

    def __call__(self, buffer: torch.Tensor) -> T:
        """Returns what follows from ``buffer``."""
        kept = self._kept
        if kept is not None and kept[0] is buffer and not torch.compiler.is_compiling() and kept[1] == buffer._version:
            return kept[2]
        found = self.compute(buffer)
        if plain_eager() and not torch.is_inference_mode_enabled() and not buffer.is_inference():
            self._kept = buffer, buffer._version, found
        return found

    def __reduce__(self) -> tuple[type[Derived[T]], tuple[Callable[[torch.Tensor], T]]]:
        """Copies and pickles without what is kept."""
        return type(self), (self.compute,)
