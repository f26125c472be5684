"""What a flow and its views have in common: the density and the samples of a base pushed through a bijector."""

from __future__ import annotations

import abc
from typing import cast

import torch
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from .. import domains
from ..bijectors import Bijector, BoundBijector
from ..bijectors.bound import batch_with_context
from ..errors import ContextError, DomainError, NotSupportedError
from ..types import ShapeLike, TensorPair, as_size


class Pushforward(Distribution):
    """The distribution of ``f(x)`` for ``x`` from a base; :class:`Flow` and :class:`FlowView` say which."""

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012  # as torch declares it

    @property
    @abc.abstractmethod
    def _bound(self) -> BoundBijector[Bijector]:
        """The bijector."""

    @abc.abstractmethod
    def _context(self, context: torch.Tensor | None, who: str) -> torch.Tensor | None:
        """Returns the context that the bijector takes."""

    @abc.abstractmethod
    def _base(self, context: torch.Tensor | None) -> Distribution:
        """Returns the base at that context."""

    @property
    @abc.abstractmethod
    def _base_is_real(self) -> bool:
        """Whether the base's support is the whole space, which spares looking at it at each call."""

    # Densities ------------------------------------------------------------------------------------------------------

    def log_prob(self, value: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        r"""Returns the log-density.

        .. math:: \log p(y) = \log p_{base}(f^{-1}(y)) + \log|\det df^{-1}(y)/dy|

        Args:
            value: ``(*batch, *event_shape)``.
            context: ``(*batch, *context_shape)`` where the flow has one; the batches broadcast.

        Returns:
            ``(*batch)``; ``-inf`` outside the support (an error with ``validate_args=True``), NaN for NaN.

        Raises:
            ShapeError, ContextError: if they do not fit.
            DomainError: for values outside the support, with ``validate_args=True``.
        """
        context = self._context(context, "log_prob")
        if self._validate_args:
            self._refuse_outside(value, context)
        x, log_det = self._bound.inverse_and_log_det(value, context)
        return self._base_log_prob(self._base(context), x) + log_det

    def _base_log_prob(self, base: Distribution, x: torch.Tensor) -> torch.Tensor:
        if self._base_is_real:
            return base.log_prob(x)
        support = support_of(base)
        inside = _check(support, x)
        safe = torch.where(_over_event(inside, base), x, _inside(support, x))
        return torch.where(inside, base.log_prob(safe), -torch.inf)

    def _refuse_outside(self, value: torch.Tensor, context: torch.Tensor | None) -> None:
        outside = ~self._inside_support(value, context) & ~_any_nan(value, len(self.event_shape))
        if bool(outside.any()):
            raise DomainError(
                f"{type(self).__name__}.log_prob: values in the support {domains.describe(self.support)} are "
                "expected; got "
                f"{int(outside.sum())} of {outside.numel()} outside."
            )

    def _inside_support(self, value: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        x, log_det = self._bound.inverse_and_log_det(value, context)
        inside = ~torch.isneginf(log_det) & ~_any_nan(value, len(self.event_shape))
        return inside if self._base_is_real else inside & _check(support_of(self._base(context)), x)

    # Samples --------------------------------------------------------------------------------------------------------

    def _expanded_base(self, context: torch.Tensor | None) -> Distribution:
        base = self._base(context)
        batch = self._full_batch(context, base)
        return base if batch == base.batch_shape else base.expand(batch)

    def _full_batch(self, context: torch.Tensor | None, base: Distribution) -> torch.Size:
        bound = self._bound
        return batch_with_context(type(self).__name__, base.batch_shape, context, bound.context_shape)

    def sample(self, sample_shape: ShapeLike = (), context: torch.Tensor | None = None) -> torch.Tensor:
        """Draws without gradients.

        Args:
            sample_shape: how many draws for each entry of the batch.
            context: ``(*batch, *context_shape)`` where the flow has one.

        Returns:
            ``(*sample_shape, *batch, *event_shape)`` where ``batch`` is that of the context and the base, broadcast.

        Raises:
            ContextError: if the context does not fit.
        """
        with torch.no_grad():
            context = self._context(context, "sample")
            x = self._expanded_base(context).sample(as_size(sample_shape, "sample"))
            return self._bound.forward_and_log_det(x, context)[0]

    def rsample(self, sample_shape: ShapeLike = (), context: torch.Tensor | None = None) -> torch.Tensor:
        """Draws with gradients to the flow's parameters; see :meth:`sample`.

        Raises:
            ContextError: if the context does not fit.
            NotSupportedError: if the base cannot be sampled with gradients.
        """
        context = self._context(context, "rsample")
        x = self._reparameterized(self._expanded_base(context), "rsample").rsample(as_size(sample_shape, "rsample"))
        return self._bound.forward_and_log_det(x, context)[0]

    def rsample_and_log_prob(self, sample_shape: ShapeLike = (), context: torch.Tensor | None = None) -> TensorPair:
        """Draws with gradients and scores the draws, in one pass of the bijector's forward direction.

        Returns:
            Samples as of :meth:`rsample` and their log-densities ``(*sample_shape, *batch)``.

        Raises:
            ContextError: if the context does not fit.
            NotSupportedError: if the base cannot be sampled with gradients.
        """
        context = self._context(context, "rsample_and_log_prob")
        base = self._reparameterized(self._expanded_base(context), "rsample_and_log_prob")
        x = base.rsample(as_size(sample_shape, "rsample_and_log_prob"))
        y, log_det = self._bound.forward_and_log_det(x, context)
        return y, base.log_prob(x) - log_det

    def _reparameterized(self, base: Distribution, what: str) -> Distribution:
        if not base.has_rsample:
            raise NotSupportedError(
                f"{type(self).__name__}.{what}: a base with rsample is expected; got {type(base).__name__}, which "
                "can only be "
                "sampled without gradients."
            )
        return base

    # Both directions of the map -------------------------------------------------------------------------------------

    def rnormalize(self, value: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the preimage of data under the flow, with gradients: standard noise if the flow fits."""
        return self._bound.inverse_and_log_det(value, self._context(context, "rnormalize"))[0]

    def normalize(self, value: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the preimage of data under the flow, without gradients."""
        with torch.no_grad():
            return self.rnormalize(value, context)

    # What univariate flows have beside ------------------------------------------------------------------------------

    def cdf(self, value: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the cumulative distribution function of a flow with event shape ``()``.

        Raises:
            NotSupportedError: for other events.
        """
        context = self._context(context, "cdf")
        sign = self._univariate_sign("cdf")
        x = self._bound.inverse_and_log_det(value, context)[0]
        below = self._base(context).cdf(x)
        result = below if sign > 0 else 1 - below
        box = domains.region(self._bound.codomain)
        if isinstance(box, domains.Box) and not box.is_real:
            result = torch.where(value <= box.lower[0], 0.0, torch.where(value >= box.upper[0], 1.0, result))
        return result

    def icdf(self, value: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the quantile function of a flow with event shape ``()``.

        Raises:
            NotSupportedError: for other events.
        """
        context = self._context(context, "icdf")
        sign = self._univariate_sign("icdf")
        x = self._base(context).icdf(value if sign > 0 else 1 - value)
        return self._bound.forward_and_log_det(x, context)[0]

    def _univariate_sign(self, what: str) -> int:
        if self.event_shape != torch.Size():
            raise NotSupportedError(
                f"{type(self).__name__}.{what}: a flow with event shape () is expected; got "
                f"{tuple(self.event_shape)}, for "
                f"which there is no exact {what}."
            )
        return self._bound.sign

    # What torch.distributions asks for ------------------------------------------------------------------------------

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]  # torch has a class attribute
        """Whether samples carry gradients: where the base's do."""
        return self._can_rsample

    _can_rsample: bool = True

    @property
    def support(self) -> Constraint:
        """Where the density can be positive."""
        covers = self._base_is_real or domains.includes(support_of(self._base(None)), self._bound.domain)
        return self._bound.codomain if covers else Image(self)


class Image(Constraint):
    """The image under a flow of a base's support that is not all of the first domain."""

    is_discrete = False

    def __init__(self, of: Pushforward) -> None:
        self.of = of
        super().__init__()

    @property
    def event_dim(self) -> int:  # type: ignore[override]  # torch has a class attribute
        """How many dimensions an event has."""
        return len(self.of.event_shape)

    def check(self, value: torch.Tensor) -> torch.Tensor:
        """Returns for each event whether its preimage lies in the base's support."""
        return self.of._inside_support(value, self.of._context(None, "support"))


def support_of(base: Distribution) -> Constraint:
    """Returns the support of a base."""
    return cast(Constraint, base.support)


def _any_nan(value: torch.Tensor, event_dim: int) -> torch.Tensor:
    nan = value.isnan()
    return nan.flatten(-event_dim).any(-1) if event_dim else nan


def _check(support: Constraint, x: torch.Tensor) -> torch.Tensor:
    """Returns whether ``x`` lies in the support; True for NaN, so that NaN goes in and comes out."""
    checked: torch.Tensor = support.check(x)
    return checked | _any_nan(x, x.dim() - checked.dim())


def _over_event(mask: torch.Tensor, base: Distribution) -> torch.Tensor:
    return mask.reshape((*mask.shape, *(1,) * len(base.event_shape)))


def _inside(support: Constraint, x: torch.Tensor) -> torch.Tensor:
    """Returns a point inside a box to stand in for values outside, so that gradients stay finite; else ``x``."""
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    lower, upper = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if lower is not None and upper is not None:
        return torch.as_tensor((lower + upper) / 2, dtype=x.dtype, device=x.device)
    if lower is not None:
        return torch.as_tensor(lower + 1, dtype=x.dtype, device=x.device)
    return x if upper is None else torch.as_tensor(upper - 1, dtype=x.dtype, device=x.device)


def no_context(who: str, context: torch.Tensor | None) -> None:
    """Refuses a context where the view has one already."""
    if context is not None:
        raise ContextError(f"{who}: no context is expected, as this view holds one or needs none; got another.")
