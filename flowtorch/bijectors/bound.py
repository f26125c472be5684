"""A bijector with shapes and parameters: what a plan is bound to."""

from __future__ import annotations

import abc
from typing import Generic, TypeVar, cast, final

import torch
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import Transform
from typing_extensions import Self

from .. import options
from ..errors import AlreadyBoundError, ContextError, NotSupportedError, OptionTypeError, ShapeError
from ..summary import Row, Summary
from ..types import Direction, TensorPair
from .base import Bijector
from .view import TransformView

PlanT_co = TypeVar("PlanT_co", bound=Bijector, covariant=True)


class BoundBijector(torch.nn.Module, Transform, Generic[PlanT_co]):
    """A bijector with shapes and parameters: an ``nn.Module`` that is also a ``torch.distributions.Transform``.

    An author writes :meth:`_forward_and_log_det` and :meth:`_inverse_and_log_det`; everything else is derived from the
    two.

    Args:
        plan: what this is the bound form of.
        shape: the event's shape.
        context_shape: the context's shape, or None.
        parts: the bound forms this one is made of, if it is a container that summaries look into.
    """

    bijective = True
    stochastic: bool = False
    """Whether it draws noise, so that two calls differ."""

    def __init__(self, plan: PlanT_co, shape: torch.Size, context_shape: torch.Size | None) -> None:
        torch.nn.Module.__init__(self)
        Transform.__init__(self)
        self._plan = plan
        self.shape = shape
        self.out_shape = plan.forward_shape(shape)
        self.context_shape = context_shape

    @property
    def plan(self) -> PlanT_co:
        """The plan this was bound from."""
        return self._plan

    @property
    def domain(self) -> Constraint:  # type: ignore[override]  # torch has a class attribute
        """What ``forward`` takes, over the whole event."""
        return self.plan.domain_at(self.shape)

    @property
    def codomain(self) -> Constraint:  # type: ignore[override]  # torch has a class attribute
        """What ``forward`` gives, over the whole event."""
        return self.plan.image(self.domain, self.shape)

    @property
    def cheap(self) -> Direction:
        """Which direction takes one pass, if only one does."""
        return self.plan.cheap

    @property
    def sign(self) -> int:
        """The sign of the Jacobian's determinant, where it is one and the same everywhere."""
        raise NotSupportedError(f"{self._who}: the sign of the Jacobian's determinant is not known.")

    @abc.abstractmethod
    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        """Returns ``y`` and log|det dy/dx| for input that was checked; ``x`` has the full batch."""

    @abc.abstractmethod
    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        """Returns ``x`` and log|det dx/dy| for input that was checked; ``y`` has the full batch."""

    @final
    def forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None = None) -> TensorPair:
        """Maps base to data.

        Args:
            x: ``(*batch, *shape)``.
            context: ``(*batch, *context_shape)``, where the bijector was bound with one; the batches broadcast.

        Returns:
            ``y`` ``(*batch, *out_shape)`` and log|det dy/dx| ``(*batch)``.

        Raises:
            ShapeError, ContextError: if they do not fit.
        """
        return self._forward_and_log_det(self._checked(x, context, self.shape, "forward"), context)

    @final
    def inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None = None) -> TensorPair:
        """Maps data to base.

        Args:
            y: ``(*batch, *out_shape)``. Outside the codomain the result is a point inside the domain, with log-det
            -inf.
            context: ``(*batch, *context_shape)``, where the bijector was bound with one; the batches broadcast.

        Returns:
            ``x`` ``(*batch, *shape)`` and log|det dx/dy| ``(*batch)``.

        Raises:
            ShapeError, ContextError: if they do not fit.
        """
        return self._inverse_and_log_det(self._checked(y, context, self.out_shape, "inverse"), context)

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the first of :meth:`forward_and_log_det`."""
        return self.forward_and_log_det(x, context)[0]

    def inverse(self, y: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the first of :meth:`inverse_and_log_det`."""
        return self.inverse_and_log_det(y, context)[0]

    def log_abs_det_jacobian(
        self, x: torch.Tensor, y: torch.Tensor, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Returns log|det dy/dx| at ``x`` and its image ``y``, by the cheaper direction."""
        if self.cheap == "inverse":
            return -self.inverse_and_log_det(y, context)[1]
        return self.forward_and_log_det(x, context)[1]

    def condition(self, context: torch.Tensor) -> TransformView:
        """Returns this bijector at a fixed context, as a plain ``Transform`` that owns no parameters.

        Raises:
            ContextError: if the context does not fit.
        """
        batch_with_context(f"{self._who}.condition", torch.Size(), context, self.context_shape)
        return TransformView(self, context)

    @property
    def inv(self) -> TransformView:
        """This bijector with its directions exchanged: a view that owns nothing."""
        return TransformView(self, inverted=True)

    def initialize(self, y: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Starts whatever is started from data; most bijectors have nothing of the kind."""
        self._checked(y, context, self.out_shape, "initialize")

    def initialize_forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Starts whatever is started from data, from data that enter forward: so they do within ``Invert``."""
        self.initialize(self.forward(x, context), context)

    def rows(self) -> list[Row]:
        """Returns a line for the summary; a container returns those of its parts."""
        count = sum(p.numel() for p in self.parameters())
        plan = self.plan
        shapes = tuple(self.shape), tuple(self.out_shape)
        return [Row(type(plan).__name__, *shapes, count, self.conditioner(), plan.cheap, plan.exactness)]

    def conditioner(self) -> str:
        """Returns a few words on where the parameters come from."""
        return "-"

    def summary(self) -> Summary:
        """Returns the table of layers, shapes, parameters and costs."""
        return Summary(tuple(self.rows()), sum(p.numel() for p in self.parameters()))

    # What torch.distributions.Transform asks for -------------------------------------------------------------------

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward(x)

    def _inverse(self, y: torch.Tensor) -> torch.Tensor:
        return self.inverse(y)

    def with_cache(self, cache_size: int = 1) -> Self:
        """Returns itself: nothing is cached, ``rsample_and_log_prob`` serves what a cache is for."""
        return self

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Returns ``(*batch, *out_shape)`` for ``(*batch, *shape)``."""
        return self._swap_event(shape, self.shape, self.out_shape)

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Returns ``(*batch, *shape)`` for ``(*batch, *out_shape)``."""
        return self._swap_event(shape, self.out_shape, self.shape)

    # Transform defines __eq__, which removes __hash__; modules are compared and hashed by identity.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def extra_repr(self) -> str:
        """Returns the shapes, for ``repr``."""
        context = "" if self.context_shape is None else f", context_shape={tuple(self.context_shape)}"
        return f"{type(self.plan).__name__}, shape={tuple(self.shape)}{context}"

    # Checks ---------------------------------------------------------------------------------------------------------

    @property
    def _who(self) -> str:
        return type(self._plan).__name__

    def _swap_event(self, shape: torch.Size, old: torch.Size, new: torch.Size) -> torch.Size:
        cut = len(shape) - len(old)
        if cut < 0 or shape[cut:] != old:
            raise ShapeError(f"{self._who}: a shape ending in {tuple(old)} is expected; got {tuple(shape)}.")
        return shape[:cut] + new

    def _checked(self, value: torch.Tensor, context: torch.Tensor | None, shape: torch.Size, what: str) -> torch.Tensor:
        """Returns ``value``, expanded to the batch it shares with the context."""
        who = f"{self._who}.{what}"
        own = floating_batch(who, value, shape)
        batch = batch_with_context(who, own, context, self.context_shape)
        return value if batch == own else value.expand((*batch, *shape))


def batch_of(who: str, value: torch.Tensor, event: torch.Size) -> torch.Size:
    """Returns the batch shape of values ``(*batch, *event)``, or refuses what are none."""
    if not isinstance(value, torch.Tensor):
        raise OptionTypeError(f"{who}: a tensor is expected; got {options.short(value)}.")
    cut = value.dim() - len(event)
    if cut < 0 or value.shape[cut:] != event:
        raise ShapeError(
            f"{who}: a tensor of shape (*batch, *event) with event {tuple(event)} is expected; got "
            f"{tuple(value.shape)}."
        )
    return value.shape[:cut]


def floating_batch(who: str, value: torch.Tensor, event: torch.Size) -> torch.Size:
    """Returns the batch shape of floating-point values ``(*batch, *event)``, or refuses what are none."""
    batch = batch_of(who, value, event)
    if not value.is_floating_point():
        raise OptionTypeError(f"{who}: a floating-point tensor is expected; got {value.dtype}.")
    return batch


def batch_with_context(
    who: str, batch: torch.Size, context: torch.Tensor | None, context_shape: torch.Size | None
) -> torch.Size:
    """Returns the batch shape that values of batch ``batch`` and ``context`` share, or refuses the context."""
    if context_shape is None:
        if context is not None:
            raise ContextError(
                f"{who}: no context is expected, as none was declared (context_shape=None); got one of shape "
                f"{tuple(context.shape)}."
            )
        return batch
    expected = f"a context of shape (*batch, *context) with context {tuple(context_shape)} is expected"
    if not isinstance(context, torch.Tensor):
        raise ContextError(f"{who}: {expected}; got {'none' if context is None else options.short(context)}.")
    cut = context.dim() - len(context_shape)
    if cut < 0 or context.shape[cut:] != context_shape:
        raise ContextError(f"{who}: {expected}; got {tuple(context.shape)}.")
    try:
        return torch.Size(torch.broadcast_shapes(batch, context.shape[:cut]))
    except RuntimeError:
        raise ContextError(
            f"{who}: a context whose batch broadcasts with the values' batch {tuple(batch)} is expected; got batch "
            f"{tuple(context.shape[:cut])}."
        ) from None


def as_plan(who: str, value: object) -> Bijector:
    """Returns ``value`` if it is a plan; a bound form, a class or a list gets an error with its remedy."""
    if isinstance(value, BoundBijector):
        raise AlreadyBoundError(
            f"{who}: a plan is expected; got a bound {type(value.plan).__name__}. Pass its .plan, which is bound anew."
        )
    if isinstance(value, list | tuple):
        raise OptionTypeError(f"{who}: a plan is expected; got a {type(value).__name__}. Use Compose([...]).")
    options.instance(who, "the plan", value, Bijector)
    return cast(Bijector, value)
