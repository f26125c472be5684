"""What distributions that are modules have in common: checks of shapes and contexts, and views."""

from __future__ import annotations

import abc
from functools import partial
from typing import Protocol

import torch
from torch.distributions import Distribution, constraints
from torch.distributions.constraints import Constraint

from .. import domains
from ..bijectors.bound import batch_of, batch_with_context
from ..errors import ContextError, DomainError, NotSupportedError, ShapeError
from ..types import ShapeLike, as_size
from . import density
from .moments import WithoutMoments


class ModuleDistribution(torch.nn.Module, WithoutMoments):
    """A distribution that is a module, with a context or without; an author writes its density and its draws.

    Args:
        batch_shape: the batch shape without a context.
        event_shape: the event's shape.
        context_shape: the shape of the contexts given to its methods; None if it has none.
        validate_args: raises for values of no density instead of giving ``-inf``.
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012  # as torch declares it
    has_rsample = False
    masks_outside = True
    """Its densities are -inf outside of the support by themselves."""

    def __init__(
        self,
        batch_shape: torch.Size,
        event_shape: torch.Size,
        context_shape: torch.Size | None = None,
        validate_args: bool | None = None,
    ) -> None:
        torch.nn.Module.__init__(self)
        Distribution.__init__(self, batch_shape, event_shape, validate_args=False)
        self.context_shape = context_shape
        self._validate_args = bool(validate_args)

    @abc.abstractmethod
    def _log_density(self, value: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        """Returns the log-density of values that were checked: ``-inf`` outside the support, NaN for NaN."""

    @abc.abstractmethod
    def _draw(self, draws: torch.Size, batch: torch.Size, context: torch.Tensor | None) -> torch.Tensor:
        """Returns ``(*draws, *batch, *event_shape)``; the context, if there is one, has all of ``batch``."""

    def forward(self, value: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns :meth:`log_prob`."""
        return self.log_prob(value, context)

    def log_prob(self, value: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the log-density.

        Args:
            value: ``(*batch, *event_shape)``.
            context: ``(*batch, *context_shape)`` where there is one; the batches broadcast.

        Returns:
            ``(*batch)``; ``-inf`` outside the support (an error with ``validate_args=True``), NaN for NaN.

        Raises:
            ShapeError, ContextError: if they do not fit.
            DomainError: for values of no density, with ``validate_args=True``.
        """
        self._check(value, context, "log_prob")
        found = self._log_density(value, context)
        outside = torch.isneginf(found)
        if self._validate_args and bool(outside.any()):
            raise DomainError(
                f"{type(self).__name__}.log_prob: values of positive density are expected; got {int(outside.sum())} of "
                f"{outside.numel()} of none."
            )
        return found

    def sample(self, sample_shape: ShapeLike = (), context: torch.Tensor | None = None) -> torch.Tensor:
        """Draws without gradients.

        Args:
            sample_shape: how many draws for each entry of the batch.
            context: ``(*batch, *context_shape)`` where there is one.

        Returns:
            ``(*sample_shape, *batch, *event_shape)``.

        Raises:
            ContextError: if the context does not fit.
        """
        with torch.no_grad():
            return self._sample(sample_shape, context, torch.Size())

    def rsample(self, sample_shape: ShapeLike = (), context: torch.Tensor | None = None) -> torch.Tensor:
        """Draws with gradients; see :meth:`sample`.

        Raises:
            ContextError: if the context does not fit.
            NotSupportedError: if it can only be sampled without gradients.
        """
        if not self.has_rsample:
            raise NotSupportedError(f"{type(self).__name__}.rsample: it can only be sampled without gradients.")
        return self._sample(sample_shape, context, torch.Size())

    def _sample(self, sample_shape: ShapeLike, context: torch.Tensor | None, batch: torch.Size) -> torch.Tensor:
        who = type(self).__name__
        batch = torch.broadcast_shapes(batch, batch_with_context(who, self.batch_shape, context, self.context_shape))
        if context is not None and self.context_shape is not None:
            context = context.expand(*batch, *self.context_shape)
        return self._draw(as_size(sample_shape, f"{who}.sample"), batch, context)

    @property
    def support(self) -> Constraint:
        """Where the density can be positive."""
        return density.Part(partial(_has_density, self), self._within)

    @property
    def _within(self) -> Constraint:
        """A larger set that the support lies in."""
        return domains.lift(constraints.real, len(self.event_shape))

    def condition(self, context: torch.Tensor) -> Distribution:
        """Returns the distribution at a context, a batch of them for a batch of contexts; it owns no parameters.

        Raises:
            ContextError: if it has none, or this one does not fit.
        """
        batch_with_context(f"{type(self).__name__}.condition", torch.Size(), context, self.context_shape)
        return ModuleView(self, context)

    def expand(self, batch_shape: ShapeLike, _instance: Distribution | None = None) -> ModuleView:
        """Returns the distribution with this batch shape; it owns no parameters.

        Raises:
            ShapeError: if the batch does not expand to it.
        """
        return ModuleView(self, None).expand(batch_shape)

    def extra_repr(self) -> str:
        """Returns the shapes, for ``repr``."""
        context = "" if self.context_shape is None else f", context_shape={tuple(self.context_shape)}"
        return f"batch_shape={tuple(self.batch_shape)}, event_shape={tuple(self.event_shape)}{context}"

    def _check(self, value: torch.Tensor, context: torch.Tensor | None, what: str) -> None:
        who = f"{type(self).__name__}.{what}"
        batch = batch_with_context(who, batch_of(who, value, self.event_shape), context, self.context_shape)
        density.refuse_batch(who, batch, self.batch_shape)


class ModuleView(WithoutMoments):
    """What ``condition(context)`` and ``expand(batch_shape)`` of a distribution that is a module return.

    It owns no parameters: gradients go to the module's.

    Args:
        module: what is seen.
        context: the context it is seen at; None for none.
        batch_shape: the batch shape; by default that of module and context.
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012  # as torch declares it
    masks_outside = True

    def __init__(
        self, module: ModuleDistribution, context: torch.Tensor | None, batch_shape: torch.Size | None = None
    ) -> None:
        self._module, self._held = module, context
        if batch_shape is None:
            shape = None if context is None else module.context_shape
            batch_shape = batch_with_context("ModuleView", module.batch_shape, context, shape)
        super().__init__(batch_shape, module.event_shape, validate_args=False)

    def _context(self, context: torch.Tensor | None) -> torch.Tensor | None:
        if self._held is None:
            return context
        if context is not None:
            raise ContextError("ModuleView: no context is expected, as this view holds one; got another.")
        return self._held

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]  # torch has a class attribute
        """Whether samples carry gradients: where the module's do."""
        return self._module.has_rsample

    def log_prob(self, value: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the log-density ``(*batch)`` of ``value`` ``(*batch, *event_shape)``."""
        found = self._module.log_prob(value, self._context(context))
        density.refuse_batch("ModuleView.log_prob", found.shape, self.batch_shape)
        return found.expand(torch.broadcast_shapes(found.shape, self.batch_shape))

    def sample(self, sample_shape: ShapeLike = (), context: torch.Tensor | None = None) -> torch.Tensor:
        """Draws ``(*sample_shape, *batch_shape, *event_shape)`` without gradients."""
        with torch.no_grad():
            return self._module._sample(sample_shape, self._context(context), self.batch_shape)

    def rsample(self, sample_shape: ShapeLike = (), context: torch.Tensor | None = None) -> torch.Tensor:
        """Draws with gradients, where the module can."""
        if not self.has_rsample:
            return self._module.rsample(sample_shape)  # which says why not
        return self._module._sample(sample_shape, self._context(context), self.batch_shape)

    @property
    def support(self) -> Constraint:
        """Where the density can be positive."""
        support = self._module.support
        return density.Part(partial(_has_density, self), self._module._within) if _tested(support) else support

    def condition(self, context: torch.Tensor) -> ModuleView:
        """Returns the view at a context.

        Raises:
            ContextError: if it has one, or this one does not fit.
        """
        self._context(context)
        batch = batch_with_context("ModuleView.condition", self.batch_shape, context, self._module.context_shape)
        return ModuleView(self._module, context, batch)

    def expand(self, batch_shape: ShapeLike, _instance: Distribution | None = None) -> ModuleView:
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
                f"{type(self._module).__name__}.expand: a batch shape that {tuple(self.batch_shape)} broadcasts to is "
                f"expected; got {tuple(batch)}."
            )
        return ModuleView(self._module, self._held, batch)

    def __repr__(self) -> str:
        shapes = f"batch_shape={tuple(self.batch_shape)}, event_shape={tuple(self.event_shape)}"
        return f"ModuleView({type(self._module).__name__}, {shapes}{', conditioned' if self._held is not None else ''})"


class Scored(Protocol):
    """What has a density."""

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Returns the log-density."""
        ...


def _has_density(of: Scored, value: torch.Tensor) -> torch.Tensor:
    found = of.log_prob(value)
    return ~torch.isneginf(found) & ~found.isnan()


def _tested(constraint: Constraint) -> bool:
    return isinstance(constraint, density.Part)
