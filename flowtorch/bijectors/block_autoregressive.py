"""A network of weights in blocks that is a map of vectors by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal, TypeAlias, cast, final

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from .. import domains, options
from ..errors import OptionError, OptionTypeError
from ..nn.block import BlockDense, BlockDenseSteps
from ..ops.block import ACTIVATIONS, ActivationName, BlockLayer, block_limits, block_map, identity_share, with_identity
from ..ops.numerical_inverse import numerical_inverse
from ..parameters.base import flat
from ..specification import register
from ..types import Direction, TensorPair, numel
from .axis import Axis, check_dim
from .base import Bijector
from .bound import BoundBijector
from .elementwise import sum_event
from .numerical import NumericalOptions

Mixing: TypeAlias = Literal["normal", "gated"]
# The raw gate of a fresh map: nine parts of the identity and one of the network.
_START_GATE = 2.2
# The slope of the network at the start, about: little beside the identity, enough for images within (-3, 3) alone.
_GAIN: dict[Mixing | None, float] = {"gated": 1.0, "normal": 0.1, None: 3.0}
# About where the search for a bracket ends: what lies beyond is not found, and taken to lie outside of the codomain.
_REACH = 1e14


@register
@final
@dataclass(frozen=True)
class BlockAutoregressive(NumericalOptions, Bijector):
    r"""A network of which output :math:`i` increases in :math:`x_i` and depends on :math:`x_{<i}` besides.

    .. math::
        y = f(x) \quad\text{or}\quad x + f(x) \quad\text{or}\quad g x + (1 - g) f(x), \qquad
        f = W_{L+1}\, \phi(W_L \cdots \phi(W_1 x + V c + b_1) \cdots) + b, \qquad
        \log|\det dy/dx| = \sum_i \log \frac{\partial y_i}{\partial x_i}

    The weights are lower triangular in blocks, with those on the diagonal positive, and rows normalised. The Jacobian
    is triangular, and its diagonal the product of the blocks of the diagonal, taken in logarithms. Forward takes one
    pass. The inverse is iterated, one coordinate after the other: all steps together take one pass too, and each of
    their iterations no more than the blocks of the diagonal.

    With ``residual``, or an activation onto the reals (``"leaky_tanh"``, ``"leaky_relu"``), the map is onto. Without,
    images of ``"tanh"``, ``"sigmoid"`` and ``"elu"`` are a part of the reals that depends on the parameters: the
    density of ``Invert`` of such a map would not integrate to one, and ``Flow`` refuses it. Outside of that part the
    inverse returns an interior point, and log-det -inf.

    Args:
        hidden_factors: how many units of each hidden layer belong to a coordinate.
        activation: ``"tanh"``, ``"leaky_tanh"`` (straight outside of (-3, 3)), ``"sigmoid"``, ``"elu"`` or
            ``"leaky_relu"`` (with slope 0.01).
        residual: ``"gated"`` mixes in the identity, by a gate that is learnt, starts at 0.9 and stays above 0.01;
            ``"normal"`` adds it; None is the network alone. A fresh map with either of the first two is near the
            identity.
        dim: the axis that the vectors lie along, one vector at each position of the others, all with the same weights;
            None for the flattened event.
        tolerance: how small a Newton step ends the search for the inverse, relative to :math:`1 + |x|`.
        steps: how many steps; fewer are taken in eager mode if they suffice. Compiled, all are unrolled for each
            coordinate, which takes seconds for each: fewer will do.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> bound = BlockAutoregressive().bind((3,), context_shape=(2,))
        >>> x, context = torch.tensor([-2.0, 0.5, 2.0]), torch.zeros(2)
        >>> [round(v, 4) for v in bound.inverse(bound.forward(x, context), context).tolist()]
        [-2.0, 0.5, 2.0]

    References:
        Block Neural Autoregressive Flow (De Cao et al., 2019), https://arxiv.org/abs/1904.04676, sec. 3.
    """

    hidden_factors: Sequence[int] = (8, 8)
    _: KW_ONLY
    activation: ActivationName = "tanh"
    residual: Mixing | None = "gated"
    dim: int | None = None
    min_event_dim = 1

    def __post_init__(self) -> None:
        who = "BlockAutoregressive"
        if isinstance(self.hidden_factors, str) or not isinstance(self.hidden_factors, Sequence):
            raise OptionTypeError(
                f"{who}: hidden_factors is expected to be a sequence such as (8, 8); got {self.hidden_factors!r}."
            )
        object.__setattr__(self, "hidden_factors", tuple(self.hidden_factors))
        if not self.hidden_factors:
            raise OptionError(f"{who}: hidden_factors is expected to name at least one layer; got ().")
        for n in self.hidden_factors:
            options.integer(who, "each of hidden_factors", n, minimum=1)
        options.one_of(who, "activation", self.activation, tuple(ACTIVATIONS))
        options.one_of(who, "residual", self.residual, (None, "normal", "gated"))
        check_dim(who, self.dim)
        super().__post_init__()

    @property
    def onto(self) -> bool:
        """Whether images are all of the reals."""
        return self.residual is not None or ACTIVATIONS[self.activation].onto

    @property
    def codomain(self) -> Constraint:
        """The reals, or a part of them."""
        return domains.lift(constraints.real if self.onto else domains.Within(constraints.real), self.min_event_dim)

    @property
    def cheap(self) -> Direction:
        """Forward: the inverse goes step by step."""
        return "forward"

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundBlockAutoregressive:
        return BoundBlockAutoregressive(self, shape, context_shape)

    def explain(self) -> str:
        """Returns what this plan does, with which weights, in words."""
        what = "the flattened event" if self.dim is None else f"each vector along axis {self.dim}, by the same weights"
        return super().explain() + (
            f"\n  It moves {what}. The weights are its own, about half of them in force, and a context enters the "
            "first layer; gradients reach weights, context and input in both directions."
        )

    def describe(self) -> str:
        """Returns the formula in one line."""
        formula = {None: "f(x)", "normal": "x + f(x)", "gated": "g x + (1 - g) f(x)"}[self.residual]
        return (
            f"y = {formula}, f a network of {self.activation}, {self.hidden_factors} units per coordinate, with "
            "weights in lower triangular blocks."
        )


class BoundBlockAutoregressive(BoundBijector[BlockAutoregressive]):
    """The bound form."""

    gate: torch.nn.Parameter | None

    def __init__(self, plan: BlockAutoregressive, shape: torch.Size, context_shape: torch.Size | None) -> None:
        super().__init__(plan, shape, context_shape)
        self.axis = Axis(shape, plan.dim, "BlockAutoregressive")
        self.net = BlockDense(
            self.axis.size,
            0 if context_shape is None else numel(context_shape),
            plan.hidden_factors,
            activation=plan.activation,
            gain=_GAIN[plan.residual],
        )
        gate = torch.nn.Parameter(torch.tensor(_START_GATE)) if plan.residual == "gated" else None
        self.register_parameter("gate", gate)

    @property
    def sign(self) -> int:
        """+1: the Jacobian is triangular, its diagonal positive."""
        return 1

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._move(x, context, inverse=False)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._move(y, context, inverse=True)

    def _move(self, x: torch.Tensor, context: torch.Tensor | None, inverse: bool) -> TensorPair:
        axis, dtype = self.axis, torch.promote_types(x.dtype, self.net.layers[0].bias.dtype)
        vectors = axis.split(x).movedim(-axis.ndim, -1).to(torch.promote_types(dtype, torch.float32))
        if context is not None:
            context = flat(context, cast(torch.Size, self.context_shape))
            for _ in axis.block:  # one context for all vectors of an event
                context = context.unsqueeze(-2)
        move = self._solve if inverse else self._apply_net
        if x.is_meta or not torch.is_autocast_enabled(x.device.type):
            y, log_derivative = move(vectors, context)
        else:  # three digits of a log-derivative are too few
            with torch.autocast(x.device.type, enabled=False):
                y, log_derivative = move(vectors, context)
        log_det = sum_event(log_derivative, axis.ndim)
        return axis.join(y.movedim(-1, -axis.ndim)).to(dtype), log_det.to(dtype)

    def _apply_net(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._mixed(x, *self.net(x, context))

    def _mixed(self, x: torch.Tensor, value: torch.Tensor, log_slope: torch.Tensor) -> TensorPair:
        if self.plan.residual is None:
            return value, log_slope
        return with_identity(x, value, log_slope, None if self.gate is None else self.gate.to(x.dtype))

    def _solve(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        steps = BlockDenseSteps(self.net, context, y.shape[:-1], y.dtype)
        found, log_derivatives = [], []
        for step, target in enumerate(y.unbind(-1)):
            layers = steps.layers(step)
            x, log_derivative = self._solve_one(target, layers)
            if step + 1 < self.net.blocks:
                steps.update(x, layers)
            found.append(x)
            log_derivatives.append(log_derivative)
        return torch.stack(found, -1), torch.stack(log_derivatives, -1)

    def _solve_one(self, y: torch.Tensor, layers: list[BlockLayer]) -> TensorPair:
        """Returns the coordinate with image ``y`` ``(*batch)``, all those before it being known."""
        plan, activation = self.plan, self.net.activation

        def function(x: torch.Tensor, _: tuple[torch.Tensor, ...]) -> TensorPair:
            return self._mixed(x, *block_map(x, layers, activation))

        outside: torch.Tensor | None = None
        bracket: TensorPair | None = None
        start: torch.Tensor | None = None
        if not plan.onto:
            low, high = block_limits(layers, activation)
            outside = (y <= low) | (y >= high)  # False for NaN, which goes through
            y = torch.where(outside, low + 1.0 if math.isinf(activation.high) else 0.5 * (low + high), y)
        elif plan.residual is not None:
            with torch.no_grad():
                zero = torch.zeros_like(y).detach()
                level, log_slope = function(zero, ())
                rise = y.detach() - level
                # No slope is below that of the identity's share; a little more for rounding.
                least = 1.0 if self.gate is None else identity_share(self.gate.to(y.dtype))
                bracket, start = (zero, 1.01 * rise / least), rise * torch.exp(-log_slope)
        x, log_derivative = numerical_inverse(
            function, y, bracket=bracket, start=start, tolerance=plan.tolerance, steps=plan.steps
        )
        if plan.residual is None:
            missed = x.abs() > _REACH
            outside = missed if outside is None else outside | missed
        return x, log_derivative if outside is None else torch.where(outside, -torch.inf, log_derivative)
