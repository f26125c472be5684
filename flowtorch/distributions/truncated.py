"""Distributions cut down to a part of their space."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.distributions import Distribution, Independent, constraints
from torch.distributions.constraints import Constraint
from typing_extensions import Self

from .. import domains, options
from ..bijectors.bound import batch_with_context
from ..errors import DomainError, NotSupportedError, OptionError, OptionTypeError, ShapeError
from ..ops._modes import plain_eager
from ..types import numel
from . import density
from .base import Kept
from .held import bare, cdf, context_of, draw_rows, first_accepted, hold, law, log_prob
from .module import ModuleDistribution, ModuleView

# How many events are drawn at a time when the normalizer is estimated.
_AT_ONCE = 2**16


class Truncated(ModuleDistribution):
    r"""A flow, or any distribution, given that its values lie in a box, or wherever a function says.

    .. math:: \log p(y) = \log q(y) - \log Z \;\text{ for } y \in A, \quad -\infty \text{ elsewhere}, \qquad Z = q(A)

    For a box :math:`Z` is exact, with gradients, where the coordinates are independent and have a ``cdf``: univariate
    flows and distributions, and ``Independent`` ones. Otherwise it is the share of ``count_draws`` draws that lie in
    :math:`A`, counted once, when this is built, and kept; ``normalizer_error`` says how sure it is. A change of the
    flow's parameters makes it ``stale``, and :meth:`log_prob` an error until :meth:`refresh` is called; programs of
    ``torch.compile`` and transforms of ``torch.func`` do not look. It has no gradient: keep the flow fixed meanwhile.

    Args:
        dist: what is truncated: a flow, not a view of one, and so shared, or another distribution, copied.
        low: the lower ends, numbers or a tensor that broadcasts to the event; ``-inf`` for none.
        high: the upper ends, likewise.
        inside: a function from ``(*batch, *event_shape)`` to booleans ``(*batch)``; what is kept lies in the box too.
        context: fixes the flow at a context, ``(*batch, *context_shape)``, where an estimate needs one.
        count_draws: how many draws an estimate is made from.
        max_rounds: after how many rounds of rejection, each of twice as many tries for a draw up to a limit of memory,
            sampling gives up.
        validate_args: raises for values outside instead of giving ``-inf``.

    Raises:
        ShapeError, ContextError: if ends or context do not fit.
        DomainError: if nothing is left: the mass of the box is zero to rounding, or no draw lay inside.
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import flowtorch.bijectors as bij
        >>> from flowtorch.distributions import DiagNormal, Flow
        >>> flow = Flow(DiagNormal(2), bij.AffineAutoregressive())
        >>> truncated = Truncated(flow, low=-1.0, high=torch.tensor([1.0, math.inf]))
        >>> bool((truncated.sample((100,)) >= -1).all()), truncated.log_normalizer().exp() < 0.8
        (True, tensor(True))

    References:
        Truncated Proposals for Scalable and Hassle-free Simulation-based Inference (Deistler et al., 2022),
        https://arxiv.org/abs/2210.04815, section 3.
    """

    low: torch.Tensor
    high: torch.Tensor
    context: torch.Tensor | None
    log_mass: torch.Tensor | None
    log_mass_error: torch.Tensor | None

    def __init__(
        self,
        dist: Distribution | torch.nn.Module,
        low: torch.Tensor | float = -math.inf,
        high: torch.Tensor | float = math.inf,
        *,
        inside: Callable[[torch.Tensor], torch.Tensor] | None = None,
        context: torch.Tensor | None = None,
        count_draws: int = 2**14,
        max_rounds: int = 100,
        validate_args: bool | None = None,
    ) -> None:
        options.integer("Truncated", "count_draws", count_draws, minimum=1)
        options.integer("Truncated", "max_rounds", max_rounds, minimum=1)
        if inside is not None and not callable(inside):
            raise OptionTypeError(
                f"Truncated: inside is expected to be a function of values; got {options.short(inside)}."
            )
        held = hold("Truncated", dist)
        batch, needs = bare(held).batch_shape, context_of(held)
        if context is not None:
            batch, needs = batch_with_context("Truncated", batch, context, needs), None
        super().__init__(batch, bare(held).event_shape, needs, validate_args)
        self.dist, self.inside = held, inside
        self.count_draws, self.max_rounds = count_draws, max_rounds
        like = _like(held)
        self.register_buffer("context", None if context is None else context.detach().clone())
        self.register_buffer("low", self._end("low", low, like))
        self.register_buffer("high", self._end("high", high, like))
        if not bool((self.low < self.high).all()):
            raise OptionError("Truncated: low < high is expected of each coordinate; got ends that are not.")
        self._ends = _numbers(self.low), _numbers(self.high)
        for name in ("log_mass", "log_mass_error"):
            self.register_buffer(name, like.new_zeros(self.batch_shape) if needs is None else None)
        self.register_load_state_dict_post_hook(_loaded)  # type: ignore[no-untyped-call]  # torch's
        self._counted: tuple[int, ...] = ()
        trial = None if self.context_shape is None else like.new_zeros(self.context_shape)
        with torch.no_grad():
            univariate = inside is None and not _univariate(self._at(trial)).event_shape
            self._exact = univariate and _supports(lambda: self._mass(trial))
            self._invertible = self._exact and _supports(lambda: self._quantile(0.5 * torch.ones_like(self.low), trial))
        if self.context_shape is None:
            self.refresh()

    def _end(self, name: str, value: torch.Tensor | float, like: torch.Tensor) -> torch.Tensor:
        try:
            end = torch.as_tensor(value, dtype=like.dtype, device=like.device)
            return end.detach().expand(self.event_shape).clone()
        except (RuntimeError, TypeError, ValueError):
            raise ShapeError(
                f"Truncated: {name} is expected to be a number, or a tensor that broadcasts to the event "
                f"{tuple(self.event_shape)}; got {options.short(value)}."
            ) from None

    # Where it lies --------------------------------------------------------------------------------------------------

    def _contains(self, value: torch.Tensor) -> torch.Tensor:
        n = len(self.event_shape)
        within = (value >= self.low) & (value <= self.high)
        within = within.flatten(-n).all(-1) if n else within
        if self.inside is None:
            return within
        found = self.inside(value)
        if not isinstance(found, torch.Tensor) or found.dtype != torch.bool or found.shape != within.shape:
            raise ShapeError(
                f"Truncated: inside is expected to return booleans of shape {tuple(within.shape)}; got "
                f"{found.dtype if isinstance(found, torch.Tensor) else type(found).__name__}"
                f"{f' of shape {tuple(found.shape)}' if isinstance(found, torch.Tensor) else ''}."
            )
        return within & found

    @property
    def support(self) -> Constraint:
        """The part of the distribution's support that is left."""
        whole = domains.box_of(density.support_of(bare(self.dist)), self.event_shape)
        return self._within if whole is not None and self.inside is None else super().support

    @property
    def _within(self) -> Constraint:
        support = density.support_of(bare(self.dist))
        box = domains.box_of(getattr(support, "within", support), self.event_shape)
        lower, upper = self._ends
        if box is not None:
            lower, upper = (tuple(map(f, *ends)) for f, ends in ((max, (lower, box.lower)), (min, (upper, box.upper))))
        return domains.intervals(lower, upper, self.event_shape)

    # The normalizer -------------------------------------------------------------------------------------------------

    def _at(self, context: torch.Tensor | None) -> Distribution:
        return law(self.dist, context if self.context is None else self.context)

    def _below(self, end: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        """Returns the mass below an end: ``(*batch)``, or ``(*batch, *event)`` of independent coordinates."""
        finite = end.isfinite()
        found = cdf(_univariate(self._at(context)), torch.where(finite, end, 0.0))
        return torch.where(finite, found, (end > 0).to(found.dtype))

    def _mass(self, context: torch.Tensor | None) -> torch.Tensor:
        return self._below(self.high, context) - self._below(self.low, context)

    def _quantile(self, q: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        one = _univariate(self._at(context))
        return one.icdf(q) if isinstance(one, torch.nn.Module | ModuleView) else density.icdf(one, q)

    def log_normalizer(self, context: torch.Tensor | None = None) -> torch.Tensor:
        r"""Returns :math:`\log Z`, ``(*batch)``; NaN where the mass of a box is zero to rounding.

        Raises:
            NotSupportedError: for an estimate, if the context is not fixed.
            DomainError: if the estimate is stale.
        """
        if self._exact:
            mass = self._mass(context)
            log_mass = torch.where(mass > 0, mass, torch.nan).log()
            n = len(self.event_shape)
            return log_mass.flatten(-n).sum(-1) if n else log_mass
        self._need_estimate()
        if plain_eager() and self.stale:
            raise DomainError(
                "Truncated: an estimate of the normalizer for the distribution as it is now is expected; got one from "
                "before its parameters changed. Call refresh()."
            )
        assert self.log_mass is not None  # the context is fixed
        return self.log_mass

    @property
    def normalizer_error(self) -> torch.Tensor:
        r"""The standard error of :math:`\log Z`, ``(*batch_shape)``; zero where it is exact.

        Raises:
            NotSupportedError: if the context is not fixed.
        """
        self._need_estimate()
        assert self.log_mass_error is not None  # the context is fixed
        return self.log_mass_error

    def _need_estimate(self) -> None:
        if self.context_shape is not None:
            raise NotSupportedError(
                "Truncated: a fixed context is expected, as the normalizer is estimated at one; got none. Use "
                "condition(context), or build it with context=."
            )

    @property
    def stale(self) -> bool:
        """Whether the distribution's parameters have changed since its normalizer was estimated."""
        return not self._exact and self.context_shape is None and self._counted != _versions(self.dist)

    @torch.no_grad()
    def refresh(self, count_draws: int | None = None) -> None:
        """Estimates the normalizer anew, for the distribution as it is now.

        Args:
            count_draws: how many draws; by default as many as before.

        Raises:
            DomainError: if nothing is left.
            NotSupportedError: if the context is not fixed.
            OptionError, OptionTypeError: for a count that is no positive integer.
        """
        self._need_estimate()
        count_draws = self.count_draws if count_draws is None else count_draws
        options.integer("Truncated.refresh", "count_draws", count_draws, minimum=1)
        self.count_draws = count_draws
        if self._exact:
            if not bool((self._mass(None) > 0).all()):
                raise DomainError("Truncated: a box of positive mass is expected; got none, to rounding.")
            return
        at_once = max(1, _AT_ONCE // max(1, numel(self.batch_shape)))
        hits, kind = torch.zeros((), dtype=torch.long), torch.float32
        for done in range(0, self.count_draws, at_once):
            x = self._at(None).sample(torch.Size((min(at_once, self.count_draws - done),)))
            hits, kind = hits.to(x.device) + self._contains(x).sum(0), torch.promote_types(kind, x.dtype)
        if bool((hits == 0).any()):
            raise DomainError(
                f"Truncated: draws of the distribution that lie inside are expected; got 0 of {self.count_draws}. Give "
                "more count_draws, or a larger part."
            )
        share = hits.to(kind) / self.count_draws
        self.log_mass, self.log_mass_error = share.log(), ((1 - share) / hits).sqrt()
        self._counted = _versions(self.dist)

    # Densities and samples ------------------------------------------------------------------------------------------

    def _log_density(self, value: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        n = len(self.event_shape)
        inside = self._contains(value) | density.any_nan(value, n)
        # A point of the box stands in for values outside, so that gradients stay finite.
        inner = density._inner_point(constraints.interval(self.low, self.high), value)
        safe = torch.where(inside.reshape(inside.shape + (1,) * n), value, inner)
        return torch.where(inside, log_prob(self._at(context), safe) - self.log_normalizer(context), -torch.inf)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]  # torch has a class attribute
        """Whether samples carry gradients: where the distribution has an ``icdf``, and so needs no rejection."""
        return self._invertible

    def _draw(self, draws: torch.Size, batch: torch.Size, context: torch.Tensor | None) -> torch.Tensor:
        if self._invertible:
            low, high = self._below(self.low, context), self._below(self.high, context)
            kind = torch.finfo(low.dtype)
            u = torch.rand((*draws, *batch, *self.event_shape), dtype=low.dtype, device=low.device)
            q = (low + u * (high - low)).clamp(kind.tiny, 1.0 - kind.eps / 2)
            return torch.maximum(torch.minimum(self._quantile(q, context), self.high), self.low)
        if self.context is not None:
            context = self.context.expand(*batch, *(context_of(self.dist) or ()))
        count = numel(draws) * numel(batch)
        x, missing, rate = first_accepted(
            lambda rows, tries: draw_rows(self.dist, rows, tries, batch, context),
            self._contains,
            count,
            rounds=self.max_rounds,
        )
        if len(missing):
            raise DomainError(
                f"Truncated.sample: {count} draws inside are expected within {self.max_rounds} rounds; got "
                f"{count - len(missing)}, at an acceptance rate of {rate:.2g}. Give more max_rounds, or a larger part."
            )
        return x.reshape(*draws, *batch, *self.event_shape)

    def condition(self, context: torch.Tensor) -> Distribution:
        """Returns the distribution at a context, a batch of them for a batch of contexts, with the same parameters.

        Where the normalizer is estimated it is so here, once; what is returned is a ``Truncated`` then.

        Raises:
            ContextError: if it has none, or this one does not fit.
            DomainError: if nothing is left.
        """
        view = super().condition(context)
        if self._exact:
            return view
        return Truncated(
            self.dist,
            self.low,
            self.high,
            inside=self.inside,
            context=context,
            count_draws=self.count_draws,
            max_rounds=self.max_rounds,
            validate_args=self._validate_args,
        )

    # An estimate stays good when the module is moved, copied or loaded as a whole: parameters count their changes, and
    # start to count anew.

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        stale = self.stale
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's
        self._counted = (-1,) if stale else _versions(self.dist)
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_counted": (-1,) if self.stale else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch's
        self._counted = _versions(self.dist) if self._counted is None else self._counted


def _numbers(end: torch.Tensor) -> tuple[float, ...]:
    return tuple(end.flatten().tolist())


def _loaded(module: Truncated, incompatible: Any) -> None:
    module._ends = _numbers(module.low), _numbers(module.high)
    if not any(key.split(".")[-1] == "log_mass" for key in incompatible.missing_keys):
        module._counted = _versions(module.dist)


def _versions(held: torch.nn.Module) -> tuple[int, ...]:
    return tuple(0 if t.is_inference() else t._version for t in (*held.parameters(), *held.buffers()))


def _like(held: torch.nn.Module) -> torch.Tensor:
    kept = held.tensors() if isinstance(held, Kept) else []
    tensors = (*held.buffers(), *held.parameters(), *kept)
    return next((t.detach() for t in tensors if t.is_floating_point()), torch.empty(0))


def _univariate(of: Distribution) -> Distribution:
    """Returns the distribution of single coordinates, where they are independent."""
    while isinstance(of, Independent):
        of = of.base_dist
    return of


def _supports(call: Callable[[], object]) -> bool:
    try:
        call()
    except (NotImplementedError, AttributeError):  # a distribution, and a module, that have none
        return False
    return True
