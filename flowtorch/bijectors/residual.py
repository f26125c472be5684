"""Residual flows: the identity plus a contraction."""

from __future__ import annotations

import abc
import contextlib
import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal, final

import torch

from .. import options
from ..errors import OptionError, ShapeError
from ..nn.lipschitz import ACTIVATIONS, Activation, Jacobian, LipschitzConvolution, LipschitzDense, LipschitzNetwork
from ..ops._modes import differentiating
from ..ops.contraction import implicit_gradients, log_det_series, solve_contraction, transposed_jacobian
from ..specification import register
from ..types import Direction, Exactness, TensorPair, numel
from .axis import Axis
from .base import Bijector
from .bound import BoundBijector

Trace = Literal["auto", "exact", "roulette", "truncated"]
EXACT_UP_TO = 64
TOLERANCE = 1e-10


@dataclass(frozen=True)
class ResidualPlan(Bijector):
    """What :class:`Residual` and :class:`ConvResidual` share."""

    hidden_dims: Sequence[int] = ()
    _: KW_ONLY
    nonlinearity: Activation = "lipswish"
    lipschitz: float = 0.9
    trace: Trace = "auto"
    terms: int = 8
    tolerance: float = TOLERANCE
    steps: int | None = None

    def __post_init__(self) -> None:
        """Checks the options that both share."""
        who = type(self).__name__
        object.__setattr__(self, "hidden_dims", options.hidden_dims(who, self.hidden_dims))
        options.one_of(who, "nonlinearity", self.nonlinearity, ACTIVATIONS)
        options.number(who, "lipschitz", self.lipschitz, above=0.0, below=1.0)
        options.one_of(who, "trace", self.trace, ("auto", "exact", "roulette", "truncated"))
        options.integer(who, "terms", self.terms, minimum=1)
        options.number(who, "tolerance", self.tolerance, above=0.0, below=1.0)
        if self.steps is not None:
            options.integer(who, "steps", self.steps, minimum=1)

    @property
    def cheap(self) -> Direction:
        """Forward: the inverse is iterated."""
        return "forward"

    @property
    def exactness(self) -> Exactness:
        """The inverse is iterated to a tolerance."""
        return "numerical"

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = x + g(x), with a network g that moves no two points further apart than {self.lipschitz} times."

    def explain(self) -> str:
        """Returns what this plan does and how its log-determinant is found, in words."""
        how = {
            "auto": f"exact up to {EXACT_UP_TO} coordinates, beyond estimated without bias",
            "exact": "exact",
            "roulette": "estimated without bias",
            "truncated": f"estimated from {self.terms} terms of its series, with a bias",
        }[self.trace]
        return super().explain() + f"\n  The log-determinant is {how}."

    @abc.abstractmethod
    def network(self, shape: torch.Size, context_features: int) -> LipschitzNetwork:
        """Returns the network for events of ``shape``."""

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundResidual:
        return BoundResidual(self, shape, context_shape)


@register
@final
@dataclass(frozen=True)
class Residual(ResidualPlan):
    r"""The identity plus a contraction: :math:`y = x + g(x; c)`, with a dense network on the flattened event.

    .. math:: \|g(x; c) - g(x'; c)\| \le \kappa \|x - x'\|, \quad \kappa < 1, \qquad
              \log|\det dy/dx| = \log\det(I + J) = \sum_{k \ge 1} \frac{(-1)^{k+1}}{k} \operatorname{tr} J^k

    The Jacobian is dense and its determinant positive. That :math:`g` contracts holds at every moment: the weights of
    each layer are divided by a bound on their norm, not by a running estimate of it
    (:class:`~flowtorch.nn.lipschitz.LipschitzDense`). The context enters the first layer and is not limited.

    The inverse iterates :math:`x \leftarrow y - g(x; c)`. To fit a density, which asks for the inverse, in one pass,
    use ``Invert(Residual())``; what is iterated then is sampling.

    The log-determinant is exact with ``trace="exact"``, at the cost of as many products with the Jacobian as there are
    coordinates, and of a determinant. With ``"roulette"`` it is estimated without bias, as is its gradient, from one
    vector of noise :math:`v` and a random number :math:`N` of further terms:

    .. math:: \sum_{k=1}^{n + N} \frac{(-1)^{k+1}}{k} \frac{v^T J^k v}{P(n + N \ge k)}, \qquad
              P(N \ge j) = \kappa^j

    With this ratio the variance is finite whatever the weights are, which takes one above :math:`\kappa^2`;
    :math:`n + \kappa / (1 - \kappa)` terms are taken on average. The layer is then ``stochastic``: two calls differ.
    ``"truncated"`` takes :math:`n` terms, so that the estimate lacks at most
    :math:`D \kappa^{n+1} / ((n + 1) (1 - \kappa))`.

    Args:
        hidden_dims: the widths of the hidden layers; none for a linear map.
        nonlinearity: ``"lipswish"``, ``"elu"``, ``"softplus"`` or ``"tanh"``: smooth, with slopes between -1 and 1.
        lipschitz: :math:`\kappa`, a bound on the Lipschitz constant of the whole network.
        trace: ``"exact"``, ``"roulette"`` or ``"truncated"``; by default exact up to 64 coordinates, else roulette.
        terms: :math:`n`, how many terms are always taken.
        tolerance: how far the inverse may be from the solution, in the Euclidean norm, relative to :math:`1 + \|x\|`;
            or, where ``steps`` run out, to the length of the first step; or a few roundings, if they are more.
        steps: how many steps the inverse takes; fewer in eager mode where they suffice. By default as many as the
            contraction may need for the tolerance, 241 for the defaults in float64; where a program is compiled all of
            them are unrolled.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> bound = Residual(hidden_dims=(16,)).bind((3,), context_shape=(2,))
        >>> y, log_det = bound.forward_and_log_det(torch.zeros(5, 3), torch.ones(2))
        >>> y.shape, log_det.shape
        (torch.Size([5, 3]), torch.Size([5]))

    References:
        Invertible Residual Networks (Behrmann et al., 2019), https://arxiv.org/abs/1811.00995, theorem 1, algorithm 1;
        Residual Flows for Invertible Generative Modeling (Chen et al., 2019), https://arxiv.org/abs/1906.02735,
        eq. 6-8.
    """

    hidden_dims: Sequence[int] = (128, 128)
    min_event_dim = 1

    def network(self, shape: torch.Size, context_features: int) -> LipschitzNetwork:
        """Returns a network of vectors."""
        return LipschitzDense(
            numel(shape),
            context_features,
            self.hidden_dims,
            lipschitz=self.lipschitz,
            nonlinearity=self.nonlinearity,
        )


@register
@final
@dataclass(frozen=True)
class ConvResidual(ResidualPlan):
    r"""The identity plus a contraction of images: :math:`y = x + g(x; c)`, with a convolutional network.

    .. math:: \|g(x; c) - g(x'; c)\| \le \kappa \|x - x'\|, \qquad \log|\det dy/dx| = \log\det(I + J)

    As :class:`Residual`, on events (channels, height, width), with zeros around the images. The bound by which
    weights are divided is on the norm of the convolution itself, for images of any size, and always holds
    (:func:`~flowtorch.ops.spectral_bound.convolution_bound`). The context is added to all positions alike.

    Args:
        hidden_dims: the channels of the hidden layers; none for a linear map.
        kernel_size: the size of the kernels of the first and the last layer, odd; those between have size 1.
        nonlinearity: as of :class:`Residual`, as all that follow.
        lipschitz: a bound on the Lipschitz constant of the whole network.
        trace: how the log-determinant is found.
        terms: how many terms of its series are always taken.
        tolerance: how far the inverse may be from the solution.
        steps: how many steps the inverse takes.

    Raises:
        OptionError, OptionTypeError: for options out of range.
        ShapeError: when bound to an event of other than three dimensions.

    Example:
        >>> bound = ConvResidual(hidden_dims=(8,)).bind((1, 28, 28))
        >>> bound.stochastic, bound.forward(torch.zeros(5, 1, 28, 28)).shape
        (True, torch.Size([5, 1, 28, 28]))

    References:
        Invertible Residual Networks (Behrmann et al., 2019), https://arxiv.org/abs/1811.00995;
        Residual Flows for Invertible Generative Modeling (Chen et al., 2019), https://arxiv.org/abs/1906.02735.
    """

    hidden_dims: Sequence[int] = (64, 64)
    _: KW_ONLY
    kernel_size: int = 3
    min_event_dim = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        options.integer("ConvResidual", "kernel_size", self.kernel_size, minimum=1)
        if self.kernel_size % 2 == 0:
            raise OptionError(f"ConvResidual: kernel_size is expected to be odd; got {self.kernel_size}.")

    def network(self, shape: torch.Size, context_features: int) -> LipschitzNetwork:
        """Returns a network of images."""
        if len(shape) != 3:
            raise ShapeError(
                f"ConvResidual: an event (channels, height, width) is expected; got event shape {tuple(shape)}."
            )
        return LipschitzConvolution(
            shape[0],
            context_features,
            self.hidden_dims,
            kernel_size=self.kernel_size,
            lipschitz=self.lipschitz,
            nonlinearity=self.nonlinearity,
        )


class BoundResidual(BoundBijector[ResidualPlan]):
    """The bound form of both."""

    def __init__(self, plan: ResidualPlan, shape: torch.Size, context_shape: torch.Size | None) -> None:
        super().__init__(plan, shape, context_shape)
        self.net = plan.network(shape, 0 if context_shape is None else numel(context_shape))
        self.trace = plan.trace
        if plan.trace == "auto":
            self.trace = "exact" if numel(shape) <= EXACT_UP_TO else "roulette"
        self.stochastic = self.trace != "exact"
        self.axis = Axis(shape, None, type(plan).__name__)

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        x = self._split(x)
        with _full_precision(x):
            value, jacobian = self.net.at(self._flat(context)).linearize(x)
            return self._join(x + value), self._log_det(jacobian, x)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        plan, dims = self.plan, self.net.event_dims
        y = self._split(y)
        with _full_precision(y):
            g = self.net.at(self._flat(context))
            x = solve_contraction(g, y, dims, rate=plan.lipschitz, tolerance=plan.tolerance, steps=plan.steps)
            if differentiating():
                with torch.no_grad():
                    jacobian = g.linearize(x)[1].detach()
                if self.stochastic:
                    x = implicit_gradients(
                        g, jacobian.pull, jacobian.push, x, y, dims, rate=plan.lipschitz, tolerance=plan.tolerance
                    )
                else:
                    matrix = transposed_jacobian(jacobian.push, x, dims).mT
                    # Two steps of Newton's method, of value zero, with one and the same matrix: the first carries
                    # first derivatives, the second second ones too.
                    for _ in range(2):
                        residual = (x + g(x) - y).flatten(-dims)
                        moved = torch.linalg.solve(matrix, residual[..., None])[..., 0].reshape(x.shape)
                        x = x - (moved - moved.detach())
            log_det = self._log_det(g.linearize(x)[1], x)
        return self._join(x), -log_det

    def _log_det(self, jacobian: Jacobian, x: torch.Tensor) -> torch.Tensor:
        dims = self.net.event_dims
        if not self.stochastic:
            log_det: torch.Tensor = torch.linalg.slogdet(transposed_jacobian(jacobian.push, x, dims)).logabsdet
            return log_det
        probe, coefficients = self._draw(x)
        return log_det_series(jacobian.push, jacobian.detach().pull, probe, coefficients, dims)

    def _draw(self, x: torch.Tensor) -> tuple[torch.Tensor, list[float]]:
        """Draws the noise of an estimate, of mean 0 and covariance I, and the weights of its terms."""
        probe = 2.0 * torch.randint(0, 2, x.shape, dtype=x.dtype, device=x.device) - 1.0
        always = [1.0] * self.plan.terms
        if self.trace == "truncated":
            return probe, always
        rate = self.plan.lipschitz
        # On the CPU: the number of terms is the length of a loop. P(count >= j) = rate^j.
        count = int(math.log(1.0 - float(torch.rand((), dtype=torch.float64, device="cpu"))) / math.log(rate))
        return probe, [*always, *(rate**-j for j in range(1, count + 1))]

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        if not x.is_meta and torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.promote_types(x.dtype, self.net.layers[0].weight.dtype))
        return x if self.net.event_dims > 1 else self.axis.split(x)

    def _join(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.net.event_dims > 1 else self.axis.join(x)

    def _flat(self, context: torch.Tensor | None) -> torch.Tensor | None:
        if context is None or self.context_shape is None:
            return None
        return context.reshape(*context.shape[: context.dim() - len(self.context_shape)], numel(self.context_shape))

    @property
    def sign(self) -> int:
        """Positive: no eigenvalue of the Jacobian of a contraction reaches -1."""
        return 1

    def conditioner(self) -> str:
        """Returns a few words on the network."""
        return f"{type(self.net).__name__}, {self.trace} trace"


def _full_precision(x: torch.Tensor) -> contextlib.AbstractContextManager[object]:
    """Turns autocast off: the bound must hold, and the inverse solves for this very sum, to many more digits."""
    if x.is_meta or not torch.is_autocast_enabled(x.device.type):
        return contextlib.nullcontext()
    return torch.autocast(x.device.type, enabled=False)
