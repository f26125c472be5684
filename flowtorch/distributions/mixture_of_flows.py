"""Mixtures of flows, with weights that are learnt or come from a context."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint
from typing_extensions import Self

from .. import domains, options
from ..bijectors import Bijector
from ..bijectors.bound import batch_with_context
from ..errors import ContextError, NotSupportedError, OptionError, OptionTypeError, ShapeError
from ..parameters import Parameters
from ..parameters.base import BoundParameters
from ..summary import Row, Summary
from ..types import ShapeLike, as_nested, as_size, flatten, nested_shape
from . import density
from .flow import Flow
from .held import bare, cdf, context_of, draw_rows, hold, law, log_prob
from .module import ModuleDistribution


class MixtureOfFlows(ModuleDistribution):
    r"""A mixture of flows, or of any distributions over events of one shape.

    .. math:: p(y \mid c) = \sum_k w_k(c)\, p_k(y \mid c), \qquad w = \mathrm{softmax}(l + g(c))

    A single flow of a connected base cannot tear it apart; a mixture has modes without bridges between them. Each
    flow has its own parameters: those that start as one and the same stay so unless their bases differ.

    Args:
        flows: the components: flows, or other distributions, which are copied as a flow's base is.
        weights: what the weights start as, positive, one for each component; equal by default.
        learn_weights: makes a parameter of :math:`l`.
        params_fn: a network for :math:`g`, such as ``DenseNN()``; None for weights without a context.
        context_shape: the shape of the contexts; by default that of the flows. Those without a context ignore it.
        validate_args: raises for values outside the support instead of giving ``-inf``.

    Shapes: samples are ``sample_shape + broadcast(context batch, batch_shape) + event_shape``.

    Raises:
        ShapeError, ContextError: if the components do not fit together.
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import flowtorch.bijectors as bij
        >>> from flowtorch.distributions import DiagNormal
        >>> flows = [Flow(DiagNormal(2, loc=loc), bij.AffineCoupling()) for loc in (-2.0, 2.0)]
        >>> mixture = MixtureOfFlows(flows)
        >>> mixture.log_prob(mixture.sample((5,))).shape, mixture.responsibilities(torch.zeros(5, 2)).shape
        (torch.Size([5]), torch.Size([5, 2]))

    References:
        Variational Mixture of Normalizing Flows (Pires & Figueiredo, 2020), https://arxiv.org/abs/2009.00585; draws
        from every component: Automatic Differentiation Variational Inference with Mixtures (Morningstar et al., 2021),
        https://arxiv.org/abs/2003.01687.
    """

    logits: torch.Tensor

    def __init__(
        self,
        flows: Sequence[Distribution | torch.nn.Module],
        *,
        weights: Sequence[float] | None = None,
        learn_weights: bool = True,
        params_fn: Parameters | None = None,
        context_shape: ShapeLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(flows, Sequence) or not flows:
            raise OptionTypeError(f"MixtureOfFlows: a list of flows is expected; got {options.short(flows)}.")
        options.boolean("MixtureOfFlows", "learn_weights", learn_weights)
        held = [hold("MixtureOfFlows", flow) for flow in flows]
        events = [bare(h).event_shape for h in held]
        if len(set(events)) > 1:
            raise ShapeError(
                f"MixtureOfFlows: components of one event shape are expected; got {[tuple(e) for e in events]}."
            )
        needed = _context_shape([context_of(h) for h in held], context_shape)
        super().__init__(_batch_shape(held), events[0], needed, validate_args)
        self.flows = torch.nn.ModuleList(held)
        logits = _logits(weights, len(held))
        like = next((t for t in (*self.parameters(), *self.buffers()) if t.is_floating_point()), None)
        logits = logits.to(torch.get_default_dtype() if like is None else like)
        if learn_weights:
            self.logits = torch.nn.Parameter(logits)
        else:
            self.register_buffer("logits", logits)
        self.gate = None if params_fn is None else _gate(params_fn, len(held), needed).to(logits)

    @classmethod
    def of(
        cls,
        base_dist: Distribution | torch.nn.Module,
        bijector: Bijector,
        count: int,
        *,
        context_shape: ShapeLike | None = None,
        learn_base: bool = False,
    ) -> Self:
        """Returns the mixture of ``count`` flows of one plan and base, each with parameters of its own.

        Raises:
            OptionError, OptionTypeError: for a count that is no positive integer.

        Example:
            >>> import flowtorch.bijectors as bij
            >>> from flowtorch.distributions import DiagNormal
            >>> len(MixtureOfFlows.of(DiagNormal(2), bij.AffineAutoregressive(), 3).flows)
            3
        """
        options.integer("MixtureOfFlows.of", "count", count, minimum=1)
        return cls(
            [
                Flow(
                    copy.deepcopy(base_dist) if isinstance(base_dist, torch.nn.Module) else base_dist,
                    bijector,
                    context_shape=context_shape,
                    learn_base=learn_base,
                )
                for _ in range(count)
            ]
        )

    # Densities ------------------------------------------------------------------------------------------------------

    def log_weights(self, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the logarithms of the weights, ``(K)``, or ``(*batch, K)`` where they depend on the context."""
        logits = self.logits
        if self.gate is not None:
            if context is None:
                raise ContextError(
                    "MixtureOfFlows.log_weights: a context is expected, as weights depend on it; got none."
                )
            raw = cast("tuple[torch.Tensor, ...]", self.gate(None, context))[0]
            logits = logits + raw.to(torch.promote_types(raw.dtype, logits.dtype))
        return logits.log_softmax(-1)

    def _parts(self, value: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        """Returns log-weight plus log-density of each component, ``(K, *batch)``."""
        found = torch.broadcast_tensors(*(log_prob(law(flow, context), value) for flow in self.flows))
        return torch.stack([part + w for part, w in zip(found, self.log_weights(context).unbind(-1), strict=True)])

    def _log_density(self, value: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        parts = self._parts(value, context)
        outside = torch.isneginf(parts).all(0)
        # Of nothing but -inf the gradient of logsumexp is NaN.
        return torch.where(outside, -torch.inf, torch.where(outside, 0.0, parts).logsumexp(0))

    def responsibilities(self, value: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns how probable it is for each component that a value came from it.

        Returns:
            ``(*batch, K)``, which sums to one; NaN where no component has density.

        Raises:
            ShapeError, ContextError: if value or context do not fit.
        """
        self._check(value, context, "responsibilities")
        return self._parts(value, context).softmax(0).movedim(0, -1)

    def cdf(self, value: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the cumulative distribution function of a mixture with event shape ``()``.

        Raises:
            NotSupportedError: for other events, or if a component has none.
        """
        self._check(value, context, "cdf")
        if self.event_shape:
            raise NotSupportedError(
                f"MixtureOfFlows.cdf: components with event shape () are expected; got {tuple(self.event_shape)}."
            )
        weights = self.log_weights(context).exp().unbind(-1)
        found = [w * cdf(law(flow, context), value) for w, flow in zip(weights, self.flows, strict=True)]
        return sum(found[1:], found[0])

    @property
    def support(self) -> Constraint:
        """Where some component's density can be positive."""
        supports = [density.support_of(bare(flow)) for flow in self.flows]
        for support in supports:
            if not density.is_unknown(support) and all(domains.includes(support, other) for other in supports):
                return support
        return super().support

    @property
    def _within(self) -> Constraint:
        supports = [density.support_of(bare(flow)) for flow in self.flows]
        boxes = [domains.box_of(getattr(support, "within", support), self.event_shape) for support in supports]
        lower = [box.lower for box in boxes if box is not None]
        upper = [box.upper for box in boxes if box is not None]
        if len(lower) < len(boxes):
            return super()._within
        lowest, highest = map(min, zip(*lower, strict=True)), map(max, zip(*upper, strict=True))
        return domains.intervals(tuple(lowest), tuple(highest), self.event_shape)

    # Samples --------------------------------------------------------------------------------------------------------

    def _draw(self, draws: torch.Size, batch: torch.Size, context: torch.Tensor | None) -> torch.Tensor:
        below = self.log_weights(context).exp().cumsum(-1)[..., :-1]
        u = torch.rand((*draws, *batch, 1), dtype=below.dtype, device=below.device)
        chosen = (u >= below).sum(-1).flatten()
        # Each component draws what was chosen of it, which is then put back in the order of the choices.
        rows = [(chosen == k).nonzero().squeeze(-1) for k in range(len(self.flows))]
        parts = [draw_rows(f, r, 1, batch, context)[0] for f, r in zip(self.flows, rows, strict=True)]
        return torch.cat(parts)[torch.cat(rows).argsort()].reshape(*draws, *batch, *self.event_shape)

    def rsample_stratified(
        self, sample_shape: ShapeLike = (), context: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        r"""Draws from every component with gradients: for expectations, without the noise of choosing one.

        .. math:: E_p[f(y)] = \sum_k w_k E_{p_k}[f(y)]

        The mean of ``(log_weight.exp() * f(y)).sum(0)``, whose gradients are right for the weights too; draws from the
        mixture alone have none to them.

        Args:
            sample_shape: how many draws from each component, for each entry of the batch.
            context: ``(*batch, *context_shape)`` where there is one.

        Returns:
            Samples ``(K, *sample_shape, *batch, *event_shape)``, the mixture's log-density at each, and each one's
            log-weight, both ``(K, *sample_shape, *batch)``.

        Raises:
            ContextError: if the context does not fit.
            NotSupportedError: if a component cannot be sampled with gradients.

        Example:
            >>> import flowtorch.bijectors as bij
            >>> from flowtorch.distributions import DiagNormal
            >>> mixture = MixtureOfFlows.of(DiagNormal(2), bij.AffineAutoregressive(), 3)
            >>> y, log_prob, log_weight = mixture.rsample_stratified((5,))
            >>> y.shape, log_prob.shape, log_weight.shape
            (torch.Size([3, 5, 2]), torch.Size([3, 5]), torch.Size([3, 5]))
        """
        who = "MixtureOfFlows.rsample_stratified"
        batch = batch_with_context(who, self.batch_shape, context, self.context_shape)
        laws = [law(flow, context) for flow in self.flows]
        stuck = [type(one).__name__ for one in laws if not one.has_rsample]
        if stuck:
            raise NotSupportedError(f"{who}: components with rsample are expected; got {', '.join(stuck)}.")
        draws = as_size(sample_shape, who)
        y = torch.stack([one.expand(batch).rsample(draws) for one in laws])
        weights = self.log_weights(context)
        weights = weights.expand(*batch, weights.shape[-1]).movedim(-1, 0)
        weights = weights.reshape(len(laws), *(1 for _ in draws), *batch).expand(len(laws), *draws, *batch)
        return y, self.log_prob(y, context), weights

    # The rest -------------------------------------------------------------------------------------------------------

    def initialize(self, value: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Starts the layers of every flow that are started from data, each from the same data.

        Args:
            value: ``(*batch, *event_shape)``.
            context: ``(*batch, *context_shape)`` where there is one.

        Raises:
            ShapeError, ContextError: if they do not fit.
        """
        self._check(value, context, "initialize")
        for flow in self.flows:
            if isinstance(flow, Flow | MixtureOfFlows):
                flow.initialize(value, None if flow.context_shape is None else context)

    def summary(self) -> Summary:
        """Returns the table of the layers of all components.

        Example:
            >>> import flowtorch.bijectors as bij
            >>> from flowtorch.distributions import DiagNormal
            >>> print(MixtureOfFlows.of(DiagNormal(2), bij.Affine(), 2).summary())  # doctest: +ELLIPSIS
               layer ...
        """
        rows = [row for k, flow in enumerate(self.flows) for row in _rows(k, flow)]
        return Summary(tuple(rows), sum(p.numel() for p in self.parameters()))


def _rows(k: int, flow: torch.nn.Module) -> list[Row]:
    if isinstance(flow, Flow | MixtureOfFlows):
        return [dataclasses.replace(row, layer=f"{k}: {row.layer}") for row in flow.summary().rows]
    shape, count = tuple(bare(flow).event_shape), sum(p.numel() for p in flow.parameters())
    return [Row(f"{k}: {type(bare(flow)).__name__}", shape, shape, count, "-", "both", "exact")]


def _context_shape(needed: list[torch.Size | None], given: ShapeLike | None) -> torch.Size | None:
    shapes = {as_size(given, "MixtureOfFlows")} if given is not None else set()
    shapes |= {shape for shape in needed if shape is not None}
    if len(shapes) > 1:
        raise ContextError(
            f"MixtureOfFlows: one context shape is expected; got {sorted(tuple(shape) for shape in shapes)}."
        )
    return next(iter(shapes), None)


def _batch_shape(held: list[torch.nn.Module]) -> torch.Size:
    shapes = [bare(h).batch_shape for h in held]
    try:
        return torch.Size(torch.broadcast_shapes(*shapes))
    except RuntimeError:
        raise ShapeError(
            f"MixtureOfFlows: batch shapes that broadcast are expected; got {[tuple(shape) for shape in shapes]}."
        ) from None


def _logits(weights: Sequence[float] | None, count: int) -> torch.Tensor:
    if weights is None:
        weights = [1.0] * count
    values = as_nested(weights, "MixtureOfFlows: weights")
    if nested_shape(values) != (count,) or not all(0 < w < math.inf for w in flatten(values)):
        raise OptionError(f"MixtureOfFlows: {count} positive weights are expected; got {options.short(weights)}.")
    return torch.tensor(flatten(values), dtype=torch.float64).log().log_softmax(0)


def _gate(params_fn: Parameters, count: int, context_shape: torch.Size | None) -> BoundParameters:
    options.instance("MixtureOfFlows", "params_fn", params_fn, Parameters)
    if context_shape is None:
        raise ContextError("MixtureOfFlows: a context_shape is expected along with params_fn; got None.")
    return params_fn.bind([torch.Size((count,))], None, context_shape)
