"""The flow: a base distribution and a plan, made concrete."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any, Protocol, cast

import torch
from torch.distributions import Distribution, Independent
from torch.distributions.constraints import Constraint

from .. import domains, options
from ..bijectors import Bijector, BoundBijector, BoundCompose, Compose
from ..bijectors.bound import as_plan, batch_with_context
from ..bijectors.compose import name
from ..errors import BaseError, ContextError, DomainError, OptionError, OptionTypeError, ShapeError
from ..summary import Row, Summary
from ..types import ShapeLike, as_size, numel
from .base import Carried, Kept, called, carry
from .density import is_unknown, support_of
from .pushforward import Pushforward
from .view import FlowView


class ConditionalBase(Protocol):
    """A base that depends on the context, such as ``ConditionalNormal`` or another flow."""

    event_shape: torch.Size
    batch_shape: torch.Size
    context_shape: torch.Size

    def condition(self, context: torch.Tensor) -> Distribution:
        """Returns the distribution at a context."""
        ...


class Flow(torch.nn.Module, Pushforward):
    r"""A normalizing flow: a base distribution pushed through a bijector; a module and a distribution.

    .. math:: x \sim p_{base}, \quad y = f(x; c), \qquad \log p(y \mid c) = \log p_{base}(x) - \log|\det df(x; c)/dx|

    Building one checks shapes, contexts and domains, and allocates the parameters; afterwards nothing is lazy. Calling
    it, ``flow(value, context)``, is :meth:`log_prob`; that is what ``torch.compile(flow)`` and
    ``DistributedDataParallel(flow)`` act on, while views and other methods go past them.

    Args:
        base_dist: any ``torch.distributions.Distribution`` of a registered type, copied; or a module with ``log_prob``
            (and ``condition(context)``, if it has a ``context_shape``), which becomes a child.
        bijector: the plan.
        context_shape: the shape of the contexts given to the flow; None if it has none.
        embedding: a module applied to the context once a call, on ``(N, *context_shape)``, before all layers see it.
        learn_base: makes parameters of the base's arguments, kept within their constraints.
        validate_args: raises for values outside the support instead of giving ``-inf``.

    Shapes: samples are ``sample_shape + broadcast(context batch, base batch_shape) + event_shape``. Batch dimensions
    of the base that the plan needs as an event are moved into it.

    Raises:
        ShapeError, ContextError, DomainError: if base, plan and context do not fit, naming the layer.
        BaseError: if the base cannot be carried.

    Example:
        >>> import flowtorch.bijectors as bij
        >>> flow = Flow(torch.distributions.Normal(torch.zeros(2), torch.ones(2)), bij.AffineAutoregressive())
        >>> flow.log_prob(flow.sample((5,))).shape
        torch.Size([5])

    References:
        Normalizing Flows for Probabilistic Modeling and Inference (Papamakarios et al., 2021),
        https://arxiv.org/abs/1912.02762, eq. 1-6.
    """

    def __init__(
        self,
        base_dist: Distribution | torch.nn.Module,
        bijector: Bijector,
        *,
        context_shape: ShapeLike | None = None,
        embedding: torch.nn.Module | None = None,
        learn_base: bool = False,
        validate_args: bool | None = None,
    ) -> None:
        torch.nn.Module.__init__(self)
        plan = as_plan("Flow", bijector)
        options.boolean("Flow", "learn_base", learn_base)
        self.context_shape = None if context_shape is None else as_size(context_shape, "Flow")
        self.embedding = embedding
        embedded = self._embedded_shape()

        base = _fit_to(_checked_base(base_dist), plan)
        self._conditional_base = getattr(base, "context_shape", None) is not None
        if self._conditional_base:
            needed = cast(ConditionalBase, base).context_shape
            if needed != embedded:
                raise ContextError(
                    f"Flow: a context of shape {tuple(needed)}, the base's, is expected after any embedding; got "
                    f"{None if embedded is None else tuple(embedded)}."
                )
        support = support_of(base)
        _refuse_support(plan, plan.domain, base, support)
        self._base_real = is_unknown(support) or domains.is_real(support)
        self._has_rsample = bool(getattr(base, "has_rsample", self._conditional_base))
        self.base = base if isinstance(base, torch.nn.Module) else carry(base, learn_base)
        self.bijector: BoundBijector[Bijector] = plan.bind(base.event_shape, embedded)
        _refuse_support(plan, self.bijector.domain, base, support)  # again: it may depend on the shape
        kept = self.base.tensors() if isinstance(self.base, Kept) else []
        tensors = (*self.base.buffers(), *self.base.parameters(), *kept)
        like = next((t for t in tensors if t.is_floating_point()), None)
        if like is not None:
            self.bijector.to(device=like.device, dtype=like.dtype)
        Pushforward.__init__(self, base.batch_shape, self.bijector.out_shape, validate_args=False)
        self._validate_args = bool(validate_args)

    def forward(self, value: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns :meth:`log_prob`."""
        return self.log_prob(value, context)

    # What Pushforward asks for --------------------------------------------------------------------------------------

    @property
    def _bound(self) -> BoundBijector[Bijector]:
        return self.bijector

    @property
    def _needs_context(self) -> bool:
        return self.context_shape is not None

    @property
    def _can_rsample(self) -> bool:  # type: ignore[override]  # the base's
        return self._has_rsample

    def _check_context(self, context: torch.Tensor | None, who: str, batch: tuple[int, ...] = ()) -> None:
        batch_with_context(f"Flow.{who}", torch.Size(batch), context, self.context_shape)

    def _context(self, context: torch.Tensor | None, who: str, batch: tuple[int, ...] = ()) -> torch.Tensor | None:
        self._check_context(context, who, batch)
        return context if context is None or self.embedding is None else self._embed(context)

    def _base(self, context: torch.Tensor | None) -> Distribution:
        if self._conditional_base:
            assert context is not None  # the flow's context was checked to be there
            return cast(ConditionalBase, self.base).condition(context)
        return cast(Distribution, self.base() if isinstance(self.base, Carried | Kept) else self.base)

    @property
    def _base_is_real(self) -> bool:
        return self._base_real

    @property
    def _base_support(self) -> Constraint:
        return support_of(self.base if self._conditional_base else self._base(None))

    # The context ----------------------------------------------------------------------------------------------------

    def _embed(self, context: torch.Tensor) -> torch.Tensor:
        # One batch dimension, whatever the context's: many modules (convolutions, norms) take no other number.
        assert self.context_shape is not None and self.embedding is not None
        batch = context.shape[: context.dim() - len(self.context_shape)]
        out = self.embedding(context.reshape(numel(batch), *self.context_shape))
        if not isinstance(out, torch.Tensor) or out.shape[:1] != (numel(batch),):
            raise ContextError(
                f"Flow: an embedding that returns a tensor (N, *embedded) for N = {numel(batch)} contexts is "
                "expected; got "
                f"{options.short(out)}."
            )
        return out.reshape((*batch, *out.shape[1:]))

    def _embedded_shape(self) -> torch.Size | None:
        if self.embedding is None:
            return self.context_shape
        options.instance("Flow", "embedding", self.embedding, torch.nn.Module)
        if self.context_shape is None:
            raise ContextError("Flow: a context_shape is expected along with an embedding; got None.")
        # A trial run without a trace: batch norms keep their statistics, dropout draws no numbers.
        modes = {module: module.training for module in self.embedding.modules()}
        like = next(iter((*self.embedding.parameters(), *self.embedding.buffers())), torch.empty(0))
        self.embedding.eval()
        try:
            with torch.no_grad():
                trial = torch.zeros(1, *self.context_shape, device=like.device)
                try:
                    return self._embed(trial.to(like.dtype) if like.is_floating_point() else trial).shape[1:]
                except (RuntimeError, TypeError):
                    # Tables of vectors take integers. If that is not it, the first error is the one to tell.
                    with contextlib.suppress(Exception):
                        return self._embed(trial.long()).shape[1:]
                    raise
        finally:
            for module, mode in modes.items():
                module.training = mode

    # Views ----------------------------------------------------------------------------------------------------------

    @property
    def plan(self) -> Bijector:
        """The plan this was built from."""
        return self.bijector.plan

    @property
    def base_dist(self) -> Distribution:
        """The base distribution, rebuilt from what the flow holds.

        Raises:
            ContextError: if the base depends on a context.
        """
        if self._conditional_base:
            raise ContextError(
                "Flow.base_dist: a base that needs no context is expected; got one that needs a context. Use "
                "flow.base.condition(context)."
            )
        return self._base(None)

    def condition(self, context: torch.Tensor) -> FlowView:
        """Returns the distribution at a context, a batch of them for a batch of contexts; it owns no parameters.

        Raises:
            ContextError: if the flow has none, or this one does not fit.

        Example:
            >>> import flowtorch.bijectors as bij
            >>> from flowtorch.distributions import DiagNormal
            >>> flow = Flow(DiagNormal(2), bij.AffineCoupling(), context_shape=(3,))
            >>> flow.condition(torch.zeros(7, 3)).sample((5,)).shape
            torch.Size([5, 7, 2])
        """
        self._check_context(context, "condition")
        return FlowView(self, self.bijector, context)

    def expand(self, batch_shape: ShapeLike, _instance: Distribution | None = None) -> FlowView:
        """Returns the distribution with this batch shape; it owns no parameters.

        Raises:
            ShapeError: if the batch does not expand to it.
        """
        return FlowView(self, self.bijector, None).expand(batch_shape)

    def __getitem__(self, index: slice) -> FlowView:
        """Returns the flow stopped after its first layers, ``flow[:k]``, with shared parameters.

        Raises:
            OptionError, OptionTypeError: for anything but a slice ``[:k]`` of at least one layer.
        """
        if not isinstance(index, slice):
            raise OptionTypeError(f"Flow: a slice [:k] is expected; got {index!r}. Layers are in flow.bijector.parts.")
        if index.start not in (None, 0) or index.step not in (None, 1):
            raise OptionError(f"Flow: a slice [:k] from the base is expected; got {index!r}.")
        bijector = self.bijector
        if isinstance(bijector, BoundCompose):
            return FlowView(self, bijector[index], None)
        if index.stop not in (None, 1):
            raise OptionError(f"Flow: [:1] is expected of a flow of one layer; got [:{index.stop}].")
        return FlowView(self, bijector, None)

    # The rest -------------------------------------------------------------------------------------------------------

    def initialize(self, value: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Starts the layers that are started from data, last to first, each from what those after it make of the data.

        Args:
            value: ``(*batch, *event_shape)``.
            context: ``(*batch, *context_shape)`` where the flow has one.

        Raises:
            ShapeError, ContextError: if they do not fit.
        """
        with torch.no_grad():
            self.bijector.initialize(value, self._beside(value, context, "initialize"))

    def save(self, path: str | os.PathLike[str], *, notes: Mapping[str, Any] | None = None) -> None:
        """Writes plan, base, context shape and state to a file, whole or not at all; :func:`load` reads it.

        Neither an embedding nor a base that is a module of your own can be described: of them the state is written,
        and ``load`` takes a like module.

        Args:
            path: its name; a file of that name is replaced.
            notes: what else to keep there, such as the names of columns: whatever JSON can hold;
                :func:`flowtorch.notes` reads it.

        Raises:
            FileError, BaseError: if the base is not of a registered type.
            OptionTypeError: for notes that JSON cannot hold.
            SpecificationError: if the plan holds something without a registered name.
            OSError: if the file cannot be written.
        """
        from .saving import save  # it makes flows, and so comes after this module

        save(self, path, notes=notes)

    def summary(self) -> Summary:
        """Returns the table of base and layers: shapes, parameters, conditioners, costs.

        Example:
            >>> import flowtorch.bijectors as bij
            >>> print(Flow(torch.distributions.Normal(0.0, 1.0), bij.Affine()).summary())  # doctest: +ELLIPSIS
               layer ...
        """
        shape = tuple(self.bijector.shape)
        count = sum(p.numel() for p in self.base.parameters())
        name = type(self.base).__name__ if self._conditional_base else type(self._base(None)).__name__
        rows = [Row(f"base: {name}", shape, shape, count, "-", "both", "exact")]
        if self.embedding is not None and self.context_shape is not None:
            count = sum(p.numel() for p in self.embedding.parameters())
            name = f"embedding: {type(self.embedding).__name__}"
            out = tuple(self.bijector.context_shape or ())
            rows.append(Row(name, tuple(self.context_shape), out, count, "-", "both", "exact"))
        return Summary((*rows, *self.bijector.rows()), sum(p.numel() for p in self.parameters()))


def _checked_base(base: object) -> Distribution:
    """Returns the base; one that is a module need only look like a distribution."""
    if isinstance(base, type):
        raise OptionTypeError(f"Flow: a base distribution is expected; got the class {base.__name__}.")
    module_like = isinstance(base, torch.nn.Module) and hasattr(base, "event_shape") and hasattr(base, "batch_shape")
    if not isinstance(base, Distribution) and not module_like:
        raise OptionTypeError(
            f"Flow: a torch.distributions.Distribution is expected as base; got {options.short(base)}."
        )
    return cast(Distribution, base)


def _refuse_support(plan: Bijector, domain: Constraint, base: Distribution, support: Constraint) -> None:
    if not domains.includes(domain, support):
        raise DomainError(
            f"Flow: the first layer ({_first_layer(plan)}) is expected to take all that the base ({called(base)}) "
            f"gives; its domain is {domains.describe(domain)}, got support {domains.describe(support)}."
        )


def _first_layer(plan: Bijector) -> str:
    while isinstance(plan, Compose):
        plan = plan.parts[0]
    return name(plan)


def _fit_to(base: Distribution, plan: Bijector) -> Distribution:
    """Returns the base with as many event dimensions as the plan needs, taken from its batch."""
    event, batch = base.event_shape, base.batch_shape
    who, needs = type(plan).__name__, plan.min_event_dim
    if needs == 0 and not event and batch:
        raise ShapeError(
            f"Flow: a base without batch dimensions is expected under {who}, which acts on scalars; got batch shape "
            f"{tuple(batch)}, all entries of which one map would serve. For an event of that shape pass "
            f"Independent(base, {len(batch)}) or dist.DiagNormal({tuple(batch)})."
        )
    missing = needs - len(event)
    if missing <= 0:
        return base
    if missing > len(batch):
        raise ShapeError(
            f"Flow: a base with at least {needs} event dimensions is expected by {who}; got event shape "
            f"{tuple(event)} and "
            f"batch shape {tuple(batch)}."
        )
    if isinstance(base, torch.nn.Module):
        raise BaseError(
            f"Flow: a base with event dimensions of its own is expected by {who}; got batch {tuple(batch)}."
        )
    return Independent(base, missing, validate_args=False)
