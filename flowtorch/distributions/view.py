"""A flow at a fixed context, with an expanded batch, or stopped half-way: a plain distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.distributions import Distribution

from ..bijectors import Bijector, BoundBijector
from ..errors import ContextError, ShapeError
from ..types import ShapeLike, as_size
from .pushforward import Pushforward, no_context

if TYPE_CHECKING:
    from .flow import Flow


class FlowView(Pushforward):
    """What ``flow.condition(context)``, ``flow.expand(batch_shape)`` and ``flow[:k]`` return.

    It owns no parameters: gradients go to the flow's, and it follows the flow's training. ``torch.compile(flow)`` and
    ``DistributedDataParallel(flow)`` act on calls of the flow itself, which a view goes past.

    Args:
        flow: what is seen.
        bijector: the flow's bijector, or its first parts.
        context: the context after embedding, or None.
        batch_shape: the batch shape; by default that of base and context.
    """

    def __init__(
        self,
        flow: Flow,
        bijector: BoundBijector[Bijector],
        context: torch.Tensor | None,
        batch_shape: torch.Size | None = None,
    ) -> None:
        self._flow, self._bijector, self._held = flow, bijector, context
        base = torch.Size() if flow._needs_context and context is None else self._natural_batch()
        super().__init__(base if batch_shape is None else batch_shape, bijector.out_shape, validate_args=False)
        self._validate_args = flow._validate_args

    def _natural_batch(self) -> torch.Size:
        return self._full_batch(self._held, self._flow._base(self._held))

    @property
    def _bound(self) -> BoundBijector[Bijector]:
        return self._bijector

    @property
    def _base_is_real(self) -> bool:
        return self._flow._base_is_real

    @property
    def _can_rsample(self) -> bool:  # type: ignore[override]  # the flow's
        return self._flow.has_rsample

    def _context(self, context: torch.Tensor | None, who: str) -> torch.Tensor | None:
        if self._held is None:
            return self._flow._context(context, who)
        no_context(f"FlowView.{who}", context)
        return self._held

    def _base(self, context: torch.Tensor | None) -> Distribution:
        return self._flow._base(context)

    def _expanded_base(self, context: torch.Tensor | None) -> Distribution:
        base = super()._expanded_base(context)
        batch = torch.broadcast_shapes(base.batch_shape, self.batch_shape)
        return base if batch == base.batch_shape else base.expand(batch)

    def condition(self, context: torch.Tensor) -> FlowView:
        """Returns the view at a context.

        Raises:
            ContextError: if it has one, or this one does not fit.
        """
        if self._held is not None or not self._flow._needs_context:
            raise ContextError("FlowView.condition: a view that needs a context is expected; got one that needs none.")
        return FlowView(self._flow, self._bijector, self._flow._context(context, "condition"))

    def expand(self, batch_shape: ShapeLike, _instance: Distribution | None = None) -> FlowView:
        """Returns the view with this batch shape; each entry is drawn on its own.

        Raises:
            ShapeError: if the batch does not expand to it.
        """
        batch = as_size(batch_shape, "expand")
        try:
            fits = torch.broadcast_shapes(self.batch_shape, batch) == batch
        except RuntimeError:
            fits = False
        if not fits:
            raise ShapeError(
                f"FlowView.expand: a batch shape that {tuple(self.batch_shape)} broadcasts to is expected; got "
                f"{tuple(batch)}."
            )
        return FlowView(self._flow, self._bijector, self._held, batch)

    def __repr__(self) -> str:
        return (
            f"FlowView({type(self._bijector.plan).__name__}, batch_shape={tuple(self.batch_shape)}, "
            f"event_shape={tuple(self.event_shape)}{', conditioned' if self._held is not None else ''})"
        )
