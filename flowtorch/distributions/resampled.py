"""A base with a learned shape: proposals, taken with a probability that a network gives."""

from __future__ import annotations

import torch
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from .. import options
from ..errors import OptionTypeError, ShapeError
from ..ops._modes import transformed
from ..parameters import DenseNN, Parameters
from ..parameters.base import BoundParameters
from ..types import ShapeLike, TensorPair, as_size, numel
from . import density
from .base import carry
from .held import bare, draw_rows, first_accepted
from .module import ModuleDistribution
from .normal import DiagNormal

# How many proposals go through the network at a time when the normalizer is estimated.
_AT_ONCE = 2**14


class ResampledBase(ModuleDistribution):
    r"""Learned accept/reject sampling (LARS) of a proposal: a base that a network gives modes and holes.

    .. math::
        p(z) = \Big((1 - \alpha) \frac{a(z)}{Z} + \alpha\Big) \pi(z), \quad Z = E_{\pi}[a(z)], \quad
        \alpha = (1 - Z)^{T - 1}, \quad a(z) = \epsilon + (1 - \epsilon)\, \mathrm{sigmoid}(h(z))

    A draw is the first of :math:`T - 1` proposals that is accepted, with probability :math:`a(z)`, or else another
    proposal. The network :math:`h` starts at zero, and the base as its proposal.

    :math:`Z` has no closed form. In training mode :meth:`log_prob` estimates it from fresh proposals, which carry its
    gradient (it is ``stochastic`` then), and moves the running estimate ``normalizer``, whose value is used; without
    gradients nothing is drawn or moved. In evaluation mode ``normalizer`` is a constant that lags behind the last
    steps of training: call :meth:`estimate_normalizer` before densities are reported.

    Args:
        shape: the event's shape.
        params_fn: the network, a plan of parameters, or a module from ``(N, *shape)`` to ``(N)`` or ``(N, 1)``;
            ``DenseNN()`` by default.
        proposal: :math:`\pi`, a distribution over such events without batch dimensions; standard normal by default.
        truncation: :math:`T`, after how many proposals the last one is taken.
        min_acceptance: :math:`\epsilon`.
        count_draws: how many proposals a training step estimates :math:`Z` from.
        momentum: the weight of a training step's estimate in the running one.
        validate_args: raises for values outside the support instead of giving ``-inf``.

    Raises:
        ShapeError: if the proposal does not fit the shape, or has a batch.
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import flowtorch.bijectors as bij
        >>> from flowtorch.distributions import Flow
        >>> flow = Flow(ResampledBase(2, truncation=50), bij.AffineAutoregressive())
        >>> flow.log_prob(flow.sample((5,))).shape
        torch.Size([5])

    References:
        Resampling Base Distributions of Normalizing Flows (Stimper et al., 2022), https://arxiv.org/abs/2110.15828,
        the density of a truncated resampled base; Resampled Priors for Variational Autoencoders (Bauer & Mnih, 2019),
        https://arxiv.org/abs/1810.11428, where it comes from.
    """

    normalizer: torch.Tensor

    def __init__(
        self,
        shape: ShapeLike,
        params_fn: Parameters | torch.nn.Module | None = None,
        *,
        proposal: Distribution | None = None,
        truncation: int = 100,
        min_acceptance: float = 1e-4,
        count_draws: int = 1024,
        momentum: float = 0.05,
        validate_args: bool | None = None,
    ) -> None:
        event = as_size(shape, "ResampledBase")
        options.integer("ResampledBase", "truncation", truncation, minimum=2)
        options.number("ResampledBase", "min_acceptance", min_acceptance, above=0.0, below=1.0)
        options.integer("ResampledBase", "count_draws", count_draws, minimum=1)
        options.number("ResampledBase", "momentum", momentum, above=0.0, below=1.0)
        proposal = DiagNormal(event) if proposal is None else proposal
        _check_proposal(proposal, event)
        super().__init__(torch.Size(), event, validate_args=validate_args)
        self.truncation, self.min_acceptance = truncation, min_acceptance
        self.count_draws, self.momentum = count_draws, momentum
        self.proposal = carry(proposal, False)
        self.network = _network(params_fn, event)
        like = next((b for b in self.proposal.buffers() if b.is_floating_point()), torch.empty(0))
        self.network.to(device=like.device, dtype=like.dtype)
        self.register_buffer("normalizer", like.new_zeros(()))
        self.estimate_normalizer(count_draws)

    @property
    def stochastic(self) -> bool:
        """Whether densities are noisy: in training mode."""
        return self.training

    def acceptance(self, value: torch.Tensor) -> torch.Tensor:
        r"""Returns :math:`a(z)`, ``(*batch)``, for ``value`` ``(*batch, *event_shape)``.

        Raises:
            ShapeError: if they do not fit, or the network's output has another shape.
        """
        self._check(value, None, "acceptance")
        return self._acceptance(value)

    def _acceptance(self, value: torch.Tensor) -> torch.Tensor:
        batch = value.shape[: value.dim() - len(self.event_shape)]
        if isinstance(self.network, BoundParameters):
            (raw,) = self.network(value, None)
        else:  # one batch dimension, whatever the values': many modules take no other number
            raw = self.network(value.reshape(numel(batch), *self.event_shape))
            if raw.shape not in ((numel(batch),), (numel(batch), 1)):
                raise ShapeError(
                    f"ResampledBase: a network that returns {(numel(batch),)} or {(numel(batch), 1)} is expected; got "
                    f"{tuple(raw.shape)}."
                )
            raw = raw.reshape(batch)
        # Under autocast the network's output is of low precision; nothing after it should be.
        raw = raw.to(torch.promote_types(raw.dtype, value.dtype))
        return self.min_acceptance + (1.0 - self.min_acceptance) * torch.sigmoid(raw)

    def _propose(self, count: int) -> torch.Tensor:
        with torch.no_grad():
            return bare(self.proposal).sample(torch.Size((count,)))

    def _log_density(self, value: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        z = self._step() if self.training and torch.is_grad_enabled() else self.normalizer
        log_prob = density.log_prob(bare(self.proposal), value)
        alpha = (1.0 - z).pow(self.truncation - 1)
        # Far outside the network may overflow: its gradients are to stay finite.
        inside = log_prob.isfinite()
        a = self._acceptance(torch.where(inside.reshape(inside.shape + (1,) * len(self.event_shape)), value, 0.0))
        return torch.where(inside, log_prob + ((1.0 - alpha) * a / z + alpha).log(), log_prob)

    def _step(self) -> torch.Tensor:
        """Returns the running estimate, moved, with the gradient of a fresh one: the one place where noise is drawn."""
        fresh = self._acceptance(self._propose(self.count_draws)).mean()
        running = self.normalizer.clone()  # what the backward pass keeps is not to change below
        if not transformed():
            with torch.no_grad():
                running = torch.lerp(running, fresh.to(running.dtype), self.momentum)
                self.normalizer.copy_(running)
        return running + (fresh - fresh.detach())

    @torch.no_grad()
    def estimate_normalizer(self, count: int = 2**17) -> TensorPair:
        """Sets the running estimate of :math:`Z` to a fresh one from ``count`` proposals.

        Returns:
            The estimate and its standard error.

        Raises:
            OptionError, OptionTypeError: for a count that is no positive integer.
        """
        options.integer("ResampledBase.estimate_normalizer", "count", count, minimum=1)
        sizes = [min(_AT_ONCE, count - done) for done in range(0, count, _AT_ONCE)]
        a = torch.cat([self._acceptance(self._propose(n)) for n in sizes])
        self.normalizer.copy_(a.mean())
        return self.normalizer.clone(), a.std(correction=0) / count**0.5

    def _draw(self, draws: torch.Size, batch: torch.Size, context: torch.Tensor | None) -> torch.Tensor:
        rows = numel(draws) * numel(batch)
        tries = self.truncation - 1

        def propose(missing: torch.Tensor, count: int) -> torch.Tensor:
            return draw_rows(self.proposal, missing, count, torch.Size(), None)

        def accept(x: torch.Tensor) -> torch.Tensor:
            a = self._acceptance(x)
            return torch.rand_like(a) < a

        x, missing, _ = first_accepted(propose, accept, rows, rounds=tries, tries=tries)
        x[missing] = propose(missing, 1)[0]
        return x.reshape(*draws, *batch, *self.event_shape)

    @property
    def support(self) -> Constraint:
        """The proposal's."""
        return density.support_of(bare(self.proposal))


def _check_proposal(proposal: object, event: torch.Size) -> None:
    if not isinstance(proposal, Distribution) or isinstance(proposal, torch.nn.Module):
        raise OptionTypeError(
            "ResampledBase: proposal is expected to be a distribution that is no module; got "
            f"{options.short(proposal)}."
        )
    if proposal.batch_shape or proposal.event_shape != event:
        raise ShapeError(
            f"ResampledBase: a proposal of event shape {tuple(event)} without batch dimensions is expected; got event "
            f"shape {tuple(proposal.event_shape)} and batch shape {tuple(proposal.batch_shape)}."
        )


def _network(params_fn: Parameters | torch.nn.Module | None, event: torch.Size) -> torch.nn.Module:
    if isinstance(params_fn, torch.nn.Module):
        return params_fn
    if params_fn is not None:
        options.instance("ResampledBase", "params_fn", params_fn, Parameters)
    source = params_fn or DenseNN()
    return source.bind([torch.Size()], event, None, coordinate_dims=0)
