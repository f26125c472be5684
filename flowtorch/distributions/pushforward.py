"""What a flow and its views have in common: the density and the samples of a base pushed through a bijector."""

from __future__ import annotations

import abc
from collections.abc import Callable

import torch
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from .. import domains, options
from ..bijectors import Bijector, BoundBijector, BoundCompose
from ..bijectors.bound import batch_of, batch_with_context, floating_batch
from ..errors import ContextError, DomainError, NotSupportedError
from ..types import ShapeLike, TensorPair, as_size
from . import density
from .moments import WithoutMoments


class Pushforward(WithoutMoments):
    """The distribution of ``f(x)`` for ``x`` from a base; :class:`Flow` and :class:`FlowView` say which."""

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012  # as torch declares it
    masks_outside = True
    """Its densities are -inf outside of the support by themselves."""

    @property
    @abc.abstractmethod
    def _bound(self) -> BoundBijector[Bijector]:
        """The bijector."""

    @abc.abstractmethod
    def _context(self, context: torch.Tensor | None, who: str, batch: tuple[int, ...] = ()) -> torch.Tensor | None:
        """Returns the context that the bijector takes, beside values of that batch."""

    @abc.abstractmethod
    def _base(self, context: torch.Tensor | None) -> Distribution:
        """Returns the base at that context."""

    @property
    @abc.abstractmethod
    def _base_is_real(self) -> bool:
        """Whether the base's support is the whole space (or unknown), which spares looking at it at each call."""

    @property
    @abc.abstractmethod
    def _base_support(self) -> Constraint:
        """The base's support, as far as it is known without a context."""

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
        context = self._beside(value, context, "log_prob")
        if self._validate_args:
            self._refuse_outside(value, context)
        x, log_det = self._bound.inverse_and_log_det(value, context)
        base = self._base_of(log_det.shape, context, "log_prob")
        plain = self._base_is_real or getattr(base, "masks_outside", False)
        return (density.log_prob_inside if plain else density.log_prob)(base, x) + log_det

    def _beside(self, value: torch.Tensor, context: torch.Tensor | None, what: str) -> torch.Tensor | None:
        """Returns the context that the bijector takes beside values, once both were checked."""
        return self._context(context, what, floating_batch(f"{type(self).__name__}.{what}", value, self.event_shape))

    def _base_of(self, batch: torch.Size, context: torch.Tensor | None, what: str) -> Distribution:
        """Returns the base at a context, once it was checked that its batch goes with that of values and context."""
        base = self._base(context)
        density.refuse_batch(f"{type(self).__name__}.{what}", batch, base.batch_shape)
        return base

    def _refuse_outside(self, value: torch.Tensor, context: torch.Tensor | None) -> None:
        outside = ~self._inside_support(value, context) & ~density.any_nan(value, len(self.event_shape))
        if bool(outside.any()):
            raise DomainError(
                f"{type(self).__name__}.log_prob: values in the support {domains.describe(self.support)} are "
                "expected; got "
                f"{int(outside.sum())} of {outside.numel()} outside."
            )

    def _inside_support(self, value: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        x, log_det = self._bound.inverse_and_log_det(value, context)
        inside = ~torch.isneginf(log_det) & ~density.any_nan(value, len(self.event_shape))
        if self._base_is_real:
            return inside
        base = self._base_of(inside.shape, context, "log_prob")
        return inside & density.contains(density.support_of(base), x, len(base.event_shape))

    # Samples --------------------------------------------------------------------------------------------------------

    def _expanded_base(self, context: torch.Tensor | None) -> Distribution:
        base = self._base(context)
        batch = self._full_batch(context, base)
        return base if batch == base.batch_shape else base.expand(batch)

    def _full_batch(self, context: torch.Tensor | None, base: Distribution) -> torch.Size:
        bound = self._bound
        return batch_with_context(type(self).__name__, base.batch_shape, context, bound.context_shape)

    def sample(
        self, sample_shape: ShapeLike = (), context: torch.Tensor | None = None, *, chunk_size: int | None = None
    ) -> torch.Tensor:
        """Draws without gradients.

        Args:
            sample_shape: how many draws for each entry of the batch.
            context: ``(*batch, *context_shape)`` where the flow has one.
            chunk_size: how many of the draws (each of a whole batch) go through the bijector at a time, which bounds
                the memory taken; None for all. The draws are the same but for rounding.

        Returns:
            ``(*sample_shape, *batch, *event_shape)`` where ``batch`` is that of the context and the base, broadcast.

        Raises:
            ContextError: if the context does not fit.
            OptionError, OptionTypeError: for a chunk of no draws.
        """
        if chunk_size is not None:
            options.integer(f"{type(self).__name__}.sample", "chunk_size", chunk_size, minimum=1)
        draws = as_size(sample_shape, "sample")
        with torch.no_grad():
            context = self._context(context, "sample")
            x = self._expanded_base(context).sample(draws)
            if chunk_size is None or draws.numel() <= chunk_size:
                return self._bound.forward_and_log_det(x, context)[0]
            rows = x.reshape(-1, *x.shape[len(draws) :]).split(chunk_size)
            y = torch.cat([self._bound.forward_and_log_det(part, context)[0] for part in rows])
            return y.reshape(*draws, *y.shape[1:])

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
        draws = as_size(sample_shape, "rsample_and_log_prob")
        if isinstance(base, Pushforward):
            x, log_prob = base.rsample_and_log_prob(draws)
        else:
            x = base.rsample(draws)
            log_prob = density.log_prob_inside(base, x)
        y, log_det = self._bound.forward_and_log_det(x, context)
        return y, log_prob - log_det

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
        return self._bound.inverse_and_log_det(value, self._beside(value, context, "rnormalize"))[0]

    def normalize(self, value: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the preimage of data under the flow, without gradients."""
        with torch.no_grad():
            return self._bound.inverse_and_log_det(value, self._beside(value, context, "normalize"))[0]

    # What univariate flows have beside ------------------------------------------------------------------------------

    def cdf(self, value: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the cumulative distribution function of a flow with event shape ``()``.

        Raises:
            NotSupportedError: for other events, or if the base has none.
        """
        sign = self._univariate_sign("cdf")
        context = self._beside(value, context, "cdf")
        x, log_det = self._bound.inverse_and_log_det(value, context)
        below = self._univariate(density.cdf, self._base_of(x.shape, context, "cdf"), x)
        result = below if sign > 0 else 1 - below
        if domains.is_real(self._bound.codomain):
            return result
        # Outside the image there is no preimage: x is another point's, and the image an interval around that one.
        above = value > self._bound.forward_and_log_det(x, context)[0]
        return torch.where(torch.isneginf(log_det), above.to(result.dtype), result)

    def icdf(self, value: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the quantile function of a flow with event shape ``()``.

        Raises:
            NotSupportedError: for other events, or if the base has none.
        """
        sign = self._univariate_sign("icdf")
        context = self._context(context, "icdf", batch_of(f"{type(self).__name__}.icdf", value, self.event_shape))
        x = self._univariate(density.icdf, self._base(context), value if sign > 0 else 1 - value)
        return _image_with_ends(self._bound, x, context)

    def _univariate_sign(self, what: str) -> int:
        if self.event_shape != torch.Size():
            raise NotSupportedError(
                f"{type(self).__name__}.{what}: a flow with event shape () is expected; got "
                f"{tuple(self.event_shape)}, for "
                f"which there is no exact {what}."
            )
        return self._bound.sign

    def _univariate(
        self, function: Callable[[Distribution, torch.Tensor], torch.Tensor], base: Distribution, x: torch.Tensor
    ) -> torch.Tensor:
        try:
            return function(base, x)
        except NotImplementedError:
            what = function.__name__
            raise NotSupportedError(
                f"{type(self).__name__}.{what}: a base with an exact {what} is expected; got {type(base).__name__}."
            ) from None

    # What torch.distributions asks for ------------------------------------------------------------------------------

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]  # torch has a class attribute
        """Whether samples carry gradients: where the base's do."""
        return self._can_rsample

    _can_rsample: bool = True

    @property
    def support(self) -> Constraint:
        """Where the density can be positive."""
        bound = self._bound
        drawn = bound.domain if self._base_is_real else self._base_support
        image = bound.plan.image(drawn, bound.shape)
        return density.Part(self._drawn, image.within) if isinstance(image, domains.Within) else image

    def _drawn(self, value: torch.Tensor) -> torch.Tensor:
        return self._inside_support(value, self._context(None, "support"))


def _image_with_ends(bound: BoundBijector[Bijector], x: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
    """Returns the image under a univariate map, that of the ends of its domain being the ends of its codomain."""
    if isinstance(bound, BoundCompose):
        for part in bound.parts:
            x = _image_with_ends(part, x, context)
        return x
    y = bound.forward_and_log_det(x, context)[0]
    domain, codomain = domains.region(bound.domain), domains.region(bound.codomain)
    if not isinstance(domain, domains.Box) or not isinstance(codomain, domains.Box):
        return y
    ends = codomain.lower[0], codomain.upper[0]
    low, high = ends if bound.sign > 0 else ends[::-1]
    return torch.where(x <= domain.lower[0], low, torch.where(x >= domain.upper[0], high, y))


def no_context(who: str, context: torch.Tensor | None) -> None:
    """Refuses a context where the view has one already."""
    if context is not None:
        raise ContextError(f"{who}: no context is expected, as this view holds one or needs none; got another.")
