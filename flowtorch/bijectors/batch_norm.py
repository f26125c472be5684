"""Batch normalisation as a bijector."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import final

import torch

from .. import options
from ..errors import NotSupportedError
from ..ops._modes import transformed
from ..specification import register
from ..types import TensorPair
from .act_norm import Channels
from .axis import check_dim
from .base import Bijector
from .bound import BoundBijector


@register
@final
@dataclass(frozen=True)
class BatchNorm(Bijector):
    r"""Batch normalisation from data to base: the inverse standardises each channel, then scales and shifts it.

    .. math:: x = \beta + e^{\gamma} \frac{y - m}{\sqrt{v}}, \qquad y = m + \sqrt{v} \, e^{-\gamma} (x - \beta), \qquad
              \log|\det dx/dy| = \frac{D}{C} \sum_{c=1}^{C} \Big(\gamma_c - \frac{\log v_c}{2}\Big)

    :math:`\beta` and :math:`\gamma` are free parameters that start at 0; :math:`m` and :math:`v` are the running mean
    and variance of each channel, in the state, 0 and 1 until ``flow.initialize(x)`` takes them from data. Calling
    that again starts anew.

    From then on, a training step (``train()``, and gradients are enabled) normalises in the inverse by mean and
    variance of the batch itself, and moves the running ones towards them. The log-determinant there takes them for
    constants, as published, so that such a step is no function of each event alone: evaluate with ``eval()`` or
    ``torch.no_grad()``, when running statistics serve in both directions and each undoes the other. They also serve in
    forward always, before ``initialize``, for a single observation of a channel, and under ``torch.func``'s transforms,
    where there is no batch to see. The state changes in training steps alone, and a batch with values that are not
    finite leaves it as it was.

    Args:
        dim: the axis of the channels: ``dim=0`` for images (channels, height, width), the statistics being over all
            positions of all of them. None for a channel of its own for each coordinate.
        momentum: how far a training step moves the running statistics towards those of its batch.
        eps: the least variance of a batch, relative to the running one: a channel may be constant in a batch.

    Raises:
        OptionError, OptionTypeError: for options out of range.
        ShapeError: when bound to an event without that axis.
        DomainError: when started from data of which a channel does not vary, naming it.
        NotSupportedError: when started within ``Invert``, where the inverse does not lead to the base.

    Example:
        >>> bound = BatchNorm().bind((2,))
        >>> bound.initialize(torch.tensor([[1.0, 10.0], [3.0, 50.0]]))
        >>> bound.eval().inverse(torch.tensor([[3.0, 10.0]])).detach().round(decimals=4)
        tensor([[ 1., -1.]])

    References:
        Density Estimation Using Real NVP (Dinh et al., 2017), https://arxiv.org/abs/1605.08803, appendix E;
        Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017),
        https://arxiv.org/abs/1705.07057.
    """

    _: KW_ONLY
    dim: int | None = None
    momentum: float = 0.1
    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_dim("BatchNorm", self.dim)
        options.number("BatchNorm", "momentum", self.momentum, above=0.0, below=1.0)
        options.number("BatchNorm", "eps", self.eps, above=0.0, below=1.0)

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundBatchNorm:
        return BoundBatchNorm(self, shape, context_shape)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "x = beta + exp(log_gamma) (y - mean) / sqrt(variance) for each channel, started from data."


class BoundBatchNorm(BoundBijector[BatchNorm]):
    """The bound form of :class:`BatchNorm`; ``count`` is 1 after ``initialize``, and one more each training step."""

    running_mean: torch.Tensor
    running_var: torch.Tensor
    count: torch.Tensor

    def __init__(self, plan: BatchNorm, shape: torch.Size, context_shape: torch.Size | None) -> None:
        super().__init__(plan, shape, context_shape)
        self.channels = Channels(shape, plan.dim, "BatchNorm")
        self.beta = torch.nn.Parameter(torch.zeros(self.channels.size))
        self.log_gamma = torch.nn.Parameter(torch.zeros(self.channels.size))
        self.register_buffer("running_mean", torch.zeros(self.channels.size))
        self.register_buffer("running_var", torch.ones(self.channels.size))
        self.register_buffer("count", torch.tensor(0))

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        spread, log_scale = self.channels.spread, 0.5 * self.running_var.log() - self.log_gamma
        y = spread(self.running_mean) + spread(log_scale).exp() * (x - spread(self.beta))
        return y, self.channels.log_det(log_scale, x)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        # Without gradients statistics are those of the past: drawing, scoring and starting other layers leave no trace.
        step = self.training and torch.is_grad_enabled() and not transformed()
        mean, var = self._of_batch(y) if step else (self.running_mean, self.running_var)
        spread, log_scale = self.channels.spread, self.log_gamma - 0.5 * var.log()
        x = spread(self.beta) + spread(log_scale).exp() * (y - spread(mean))
        return x, self.channels.log_det(log_scale, y)

    def _of_batch(self, y: torch.Tensor) -> TensorPair:
        """Returns the statistics for a training step, and moves the running ones."""
        # Not the buffers themselves: what the backward pass keeps is not to change below.
        running_mean, running_var = self.running_mean.clone(), self.running_var.clone()
        values = self.channels.values(y)
        observations = values.shape[1]
        if observations < 2:
            return running_mean, running_var
        mean, var = values.mean(1), values.var(1, correction=0)
        started = self.count > 0  # a tensor: asking for its value would break a compiled program
        with torch.no_grad():
            sound = started & mean.isfinite() & var.isfinite()
            unbiased = var * (observations / (observations - 1))
            for old, new in ((self.running_mean, mean), (self.running_var, unbiased)):
                moved = torch.lerp(old, new.to(old.dtype), self.plan.momentum)
                old.copy_(torch.where(sound, moved, old))
            self.count.add_(started)
        var = torch.maximum(var, self.plan.eps * running_var)
        return torch.where(started, mean, running_mean), torch.where(started, var, running_var)

    def initialize(self, y: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Starts from data: the inverse standardises them."""
        super().initialize(y, context)
        mean, std = self.channels.statistics(y)
        with torch.no_grad():
            self.running_mean.copy_(mean)
            self.running_var.copy_(std.square())
            self.beta.zero_()
            self.log_gamma.zero_()
            self.count.fill_(1)

    def initialize_forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Refuses: it normalises in the inverse only."""
        raise NotSupportedError(
            "BatchNorm.initialize: an inverse that leads from data to base is expected; got it within Invert, where it "
            "leads from base to data. Take it out of Invert, or use ActNorm."
        )

    @property
    def sign(self) -> int:
        """Positive: scales are."""
        return 1
