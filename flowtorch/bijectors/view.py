"""A bound bijector seen from the other side, or at a fixed context."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import Transform
from typing_extensions import Self

from ..types import TensorPair

if TYPE_CHECKING:
    from .base import Bijector
    from .bound import BoundBijector


class TransformView(Transform):
    """A bound bijector seen with its directions exchanged and/or at a fixed context; it owns nothing.

    Args:
        bound: what is seen.
        context: the context it is given at every call, or None.
        inverted: whether directions are exchanged.
    """

    bijective = True

    def __init__(
        self, bound: BoundBijector[Bijector], context: torch.Tensor | None = None, *, inverted: bool = False
    ) -> None:
        super().__init__()
        self.bound, self.context, self.inverted = bound, context, inverted

    def forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None = None) -> TensorPair:
        """Returns the image and its log-det in this view's forward direction."""
        bound, context = self.bound, self._context(context)
        return (bound.inverse_and_log_det if self.inverted else bound.forward_and_log_det)(x, context)

    def inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None = None) -> TensorPair:
        """Returns the preimage and its log-det in this view's inverse direction."""
        bound, context = self.bound, self._context(context)
        return (bound.forward_and_log_det if self.inverted else bound.inverse_and_log_det)(y, context)

    def _context(self, context: torch.Tensor | None) -> torch.Tensor | None:
        return self.context if context is None else context

    def __call__(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the image."""
        return self.forward_and_log_det(x, context)[0]

    def inverse(self, y: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the preimage."""
        return self.inverse_and_log_det(y, context)[0]

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        return self(x)

    def _inverse(self, y: torch.Tensor) -> torch.Tensor:
        return self.inverse(y)

    def log_abs_det_jacobian(
        self, x: torch.Tensor, y: torch.Tensor, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Returns log|det dy/dx| at ``x`` and its image ``y``, by the cheaper direction."""
        context = self._context(context)
        if self.inverted:
            return -self.bound.log_abs_det_jacobian(y, x, context)
        return self.bound.log_abs_det_jacobian(x, y, context)

    def condition(self, context: torch.Tensor) -> TransformView:
        """Returns this view at a fixed context."""
        return TransformView(self.bound, context, inverted=self.inverted)

    @property
    def inv(self) -> Transform:
        """The view with its directions exchanged again; the bound bijector itself where nothing else is changed."""
        if self.inverted and self.context is None:
            return self.bound
        return TransformView(self.bound, self.context, inverted=not self.inverted)

    @property
    def domain(self) -> Constraint:  # type: ignore[override]  # torch has a class attribute
        """What the view takes."""
        return self.bound.codomain if self.inverted else self.bound.domain

    @property
    def codomain(self) -> Constraint:  # type: ignore[override]  # torch has a class attribute
        """What the view gives."""
        return self.bound.domain if self.inverted else self.bound.codomain

    @property
    def sign(self) -> int:
        """The sign of the Jacobian's determinant."""
        return self.bound.sign

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the shape of the image, batch dimensions included."""
        return self.bound.inverse_shape(shape) if self.inverted else self.bound.forward_shape(shape)

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the shape of the preimage, batch dimensions included."""
        return self.bound.forward_shape(shape) if self.inverted else self.bound.inverse_shape(shape)

    def with_cache(self, cache_size: int = 1) -> Self:
        """Returns itself: nothing is cached."""
        return self

    def __repr__(self) -> str:
        conditioned = "" if self.context is None else ".condition(...)"
        return f"{type(self.bound.plan).__name__}{'.inv' if self.inverted else ''}{conditioned}"
