"""Activation normalisation: an affine map of each channel that starts from data."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import final

import torch

from ..errors import DomainError
from ..specification import register
from ..types import TensorPair, numel
from .axis import Axis, check_dim
from .base import Bijector
from .bound import BoundBijector


@register
@final
@dataclass(frozen=True)
class ActNorm(Bijector):
    r"""An affine map of each channel that data start: on the base's side they have mean 0 and variance 1 from then on.

    .. math:: y = \mu + e^{s} x, \qquad \log|\det dy/dx| = \frac{D}{C} \sum_{c=1}^{C} s_c

    Location and logarithm of the scale are free parameters, one of each for every channel, and 0 until
    ``flow.initialize(x)`` (or ``initialize`` of the bound form) sets them to the mean and the standard deviation of the
    data, as they arrive at this layer. Calling that again starts anew, from the data given then. Within ``Invert``
    it is the other way round: forward leads to the base, and it is its results that are standardised.

    Args:
        dim: the axis of the channels: ``dim=0`` for images (channels, height, width), the statistics being over all
            positions of all of them. None for a channel of its own for each coordinate.

    Raises:
        OptionTypeError: for a ``dim`` that is no integer.
        ShapeError: when bound to an event without that axis.
        DomainError: when started from data of which a channel does not vary, naming it.

    Example:
        >>> bound = ActNorm().bind((2,))
        >>> bound.initialize(torch.tensor([[1.0, 10.0], [3.0, 50.0]]))
        >>> bound.inverse(torch.tensor([[3.0, 10.0]])).detach().round(decimals=4)
        tensor([[ 1., -1.]])

    References:
        Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma and Dhariwal, 2018),
        https://arxiv.org/abs/1807.03039, section 3.1.
    """

    _: KW_ONLY
    dim: int | None = None

    def __post_init__(self) -> None:
        check_dim("ActNorm", self.dim)

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundActNorm:
        return BoundActNorm(self, shape, context_shape)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = loc + exp(log_scale) x for each channel, started from data."


class BoundActNorm(BoundBijector[ActNorm]):
    """The bound form of :class:`ActNorm`; ``initialized`` is in the state, and says whether data have started it."""

    initialized: torch.Tensor

    def __init__(self, plan: ActNorm, shape: torch.Size, context_shape: torch.Size | None) -> None:
        super().__init__(plan, shape, context_shape)
        self.channels = Channels(shape, plan.dim, "ActNorm")
        self.loc = torch.nn.Parameter(torch.zeros(self.channels.size))
        self.log_scale = torch.nn.Parameter(torch.zeros(self.channels.size))
        self.register_buffer("initialized", torch.tensor(False))

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        loc, log_scale = self.channels.spread(self.loc), self.channels.spread(self.log_scale)
        return loc + log_scale.exp() * x, self.channels.log_det(self.log_scale, x)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        loc, log_scale = self.channels.spread(self.loc), self.channels.spread(self.log_scale)
        return (y - loc) / log_scale.exp(), self.channels.log_det(-self.log_scale, y)

    def initialize(self, y: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Starts from data: the inverse standardises them."""
        super().initialize(y, context)
        mean, std = self.channels.statistics(y)
        self._start(mean, std.log())

    def initialize_forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Starts from data that enter forward, as they do within ``Invert``: forward standardises them."""
        self._checked(x, context, self.shape, "initialize")
        mean, std = self.channels.statistics(x)
        self._start(-mean / std, -std.log())

    def _start(self, loc: torch.Tensor, log_scale: torch.Tensor) -> None:
        with torch.no_grad():
            self.loc.copy_(loc)
            self.log_scale.copy_(log_scale)
            self.initialized.fill_(True)

    @property
    def sign(self) -> int:
        """Positive: scales are."""
        return 1


class Channels:
    """The channels of an event: what lies along an axis, or each coordinate on its own.

    Args:
        shape: the event's shape.
        dim: the axis; None for each coordinate.
        who: the plan's name, for messages.
    """

    def __init__(self, shape: torch.Size, dim: int | None, who: str) -> None:
        self.axis, self.shape, self.who = Axis(shape, dim, who), shape, who
        self.size = self.axis.size
        # How a number for each channel lies beside an event.
        self.layout = (
            shape if dim is None else torch.Size(n if i == dim % len(shape) else 1 for i, n in enumerate(shape))
        )

    def spread(self, numbers: torch.Tensor) -> torch.Tensor:
        """Returns a number for each channel, ``(size)``, in a shape that broadcasts with events."""
        return numbers.reshape(self.layout)

    def log_det(self, log_scales: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Returns the sum of the logarithms of all scales, one for each channel, for each event of ``x``."""
        batch = x.shape[: x.dim() - len(self.shape)]
        return (log_scales.sum() * numel(self.axis.block)).expand(batch)

    def values(self, x: torch.Tensor) -> torch.Tensor:
        """Returns all values of each channel, ``(size, observations)``."""
        return self.axis.split(x).movedim(-self.axis.ndim, 0).reshape(self.size, -1)

    def statistics(self, x: torch.Tensor) -> TensorPair:
        """Returns the mean and standard deviation of each channel, without gradients.

        Raises:
            DomainError: for a channel that does not vary, or has values that are not finite.
        """
        values = self.values(x.detach())
        values = values.to(torch.promote_types(values.dtype, torch.float32))
        mean = values.mean(1)
        std = (values - mean[:, None]).square().mean(1).sqrt()
        # Compared, not computed: of equal values the computed variance may be a rounding, and not 0.
        varies = (values != values[:, :1]).any(1) & (std > 0.0) & std.isfinite()
        if not bool(varies.all()):
            bad = (~varies).nonzero()[:, 0].tolist()
            raise DomainError(
                f"{self.who}.initialize: data of a positive, finite variance in each of {self.size} channel(s) are "
                f"expected; got none in channel(s) {', '.join(map(str, bad))}."
            )
        return mean, std
