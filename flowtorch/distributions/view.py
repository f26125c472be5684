"""A flow at a fixed context, with an expanded batch, or stopped half-way: a plain distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from ..bijectors import Bijector, BoundBijector
from ..bijectors.bound import batch_with_context
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
        context: the context before embedding, which is done at each call, with the parameters of the time; or None.
        batch_shape: the batch shape; by default that of base and context.
    """

    def __init__(
        self,
        flow: Flow,
        bijector: BoundBijector[Bijector],
        context: torch.Tensor | None,
        batch_shape: torch.Size | None = None,
    ) -> None:
        self._flow, self._bijector, self._held, self._expanded = flow, bijector, context, batch_shape
        if batch_shape is None:
            shape = None if context is None else flow.context_shape
            batch_shape = batch_with_context("FlowView", flow.batch_shape, context, shape)
        super().__init__(batch_shape, bijector.out_shape, validate_args=False)
        self._validate_args = flow._validate_args

    @property
    def _bound(self) -> BoundBijector[Bijector]:
        return self._bijector

    @property
    def _base_is_real(self) -> bool:
        return self._flow._base_is_real

    @property
    def _base_support(self) -> Constraint:
        return self._flow._base_support

    @property
    def _can_rsample(self) -> bool:  # type: ignore[override]  # the flow's
        return self._flow.has_rsample

    def _context(self, context: torch.Tensor | None, who: str, batch: tuple[int, ...] = ()) -> torch.Tensor | None:
        if self._held is None:
            return self._flow._context(context, who, batch)
        no_context(f"FlowView.{who}", context)
        return self._flow._context(self._held, who, batch)

    def _base(self, context: torch.Tensor | None) -> Distribution:
        base = self._flow._base(context)
        if self._expanded is None:
            return base
        batch = torch.broadcast_shapes(base.batch_shape, self._expanded)
        return base if batch == base.batch_shape else base.expand(batch)

    def condition(self, context: torch.Tensor) -> FlowView:
        """Returns the view at a context.

        Raises:
            ContextError: if it has one, or this one does not fit.
        """
        if self._held is not None or not self._flow._needs_context:
            raise ContextError("FlowView.condition: a view that needs a context is expected; got one that needs none.")
        self._flow._check_context(context, "condition")
        if self._expanded is None:
            return FlowView(self._flow, self._bijector, context)
        batch = batch_with_context("FlowView.condition", self._expanded, context, self._flow.context_shape)
        return FlowView(self._flow, self._bijector, context, batch)

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
