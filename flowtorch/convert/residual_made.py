"""Parameters from the coordinates before, by a masked network of residual blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import cast, final

import torch
from torch.nn import functional as F

from .. import options
from ..errors import OptionError, ShapeError
from ..nn import Dependence
from ..nn.dense import start_at_zero
from ..nn.masked import Growing
from ..nn.masked_linear import MaskedLinear
from ..parameters import AutoregressiveParameters, AutoregressiveSteps, BoundAutoregressiveParameters
from ..parameters.base import ParameterLayout
from ..parameters.steps import Steps, as_adjacency, as_permutation, draw_order, in_passes, matrix_of, of_graph
from ..specification import register
from ..types import ModuleFactory, numel
from .residual_nn import ResidualNN


@register
@final
@dataclass(frozen=True)
class ResidualMADE(AutoregressiveParameters):
    r"""A masked network of residual blocks of two layers, as in nflows and zuko.

    .. math:: h_0 &= W x + \phi(W_c c + b_c) + b, \qquad
              h_{l+1} = h_l + A_l \, \phi(B_l \, \phi(h_l) + C_l c + b_l) + a_l \\
              \text{or}\quad h_0 &= W x + W_c c + b, \qquad h_{l+1} = h_l + A_l \, \phi(B_l h_l + b_l) + a_l

    The first is that of nflows, the second, ``preactivation=False``, that of zuko. Going one step at a time evaluates
    each unit once, as with :class:`flowtorch.parameters.MADE`. The last layer starts at zero.

    Args:
        hidden_features: the width of all layers; or how many units see each of the different sets of coordinates that
            are seen, the smallest set first.
        blocks: how many blocks.
        nonlinearity: the class of the activations; they must act on each unit alone.
        permutation: the order in which coordinates are met; None draws one at each binding.
        adjacency: which coordinates each coordinate sees, as for :class:`flowtorch.parameters.MADE`.
        preactivation: whether a block begins with an activation.

    Raises:
        OptionError, OptionTypeError: for options out of range.
        ShapeError: when bound to an event that a permutation, adjacency or numbers of units do not fit.

    Example:
        >>> from flowtorch.bijectors import AffineAutoregressive
        >>> bound = AffineAutoregressive(ResidualMADE(16, permutation=(2, 0, 1))).bind((3,))
        >>> torch.autograd.functional.jacobian(bound, torch.ones(3)).shape
        torch.Size([3, 3])

    References:
        Neural Spline Flows (Durkan et al., 2019), https://arxiv.org/abs/1906.04032, appendix B.1;
        Autoregressive Energy Machines (Nash and Durkan, 2019), https://arxiv.org/abs/1904.05626, sec. 3.1.
    """

    hidden_features: int | Sequence[int] = 256
    _: KW_ONLY
    blocks: int = 2
    nonlinearity: ModuleFactory = torch.nn.ReLU
    permutation: Sequence[int] | None = None
    adjacency: Sequence[Sequence[bool]] | None = None
    preactivation: bool = True

    def __post_init__(self) -> None:
        who = "ResidualMADE"
        if isinstance(self.hidden_features, Sequence):
            units = tuple(self.hidden_features)
            for count in units:
                options.integer(who, "each of hidden_features", count, minimum=0)
            if not any(units):
                raise OptionError(f"{who}: hidden_features is expected to be of at least one unit; got {units}.")
            object.__setattr__(self, "hidden_features", units)
        else:
            options.integer(who, "hidden_features", self.hidden_features, minimum=1)
        options.integer(who, "blocks", self.blocks, minimum=0)
        options.module_factory(who, "nonlinearity", self.nonlinearity)
        options.boolean(who, "preactivation", self.preactivation)
        if self.permutation is not None:
            object.__setattr__(self, "permutation", as_permutation(who, self.permutation))
        if self.adjacency is not None:
            object.__setattr__(self, "adjacency", as_adjacency(who, self.adjacency))
            if self.permutation is not None:
                raise OptionError(
                    f"{who}: adjacency alone, which has its own order, is expected; got permutation="
                    f"{self.permutation} beside it."
                )

    def _bind(
        self, layout: ParameterLayout, input_shape: torch.Size | None, context_shape: torch.Size | None
    ) -> BoundResidualMADE:
        if input_shape is None or len(input_shape) != 1 or layout.coordinates != input_shape:
            raise ShapeError(
                "ResidualMADE: parameters for each coordinate of its input, a vector, are expected; got parameters for "
                f"{tuple(layout.coordinates)} and input {None if input_shape is None else tuple(input_shape)}."
            )
        return BoundResidualMADE(self, layout, input_shape, context_shape)

    @property
    def unordered(self) -> ResidualNN:
        """The dense network that takes its place where there is one step only."""
        units = self.hidden_features
        width = units if isinstance(units, int) else sum(units)
        return ResidualNN(width, blocks=self.blocks, nonlinearity=self.nonlinearity)

    def steps(self, size: int, context_features: int) -> Steps:
        """Returns the steps in which ``size`` coordinates are met; draws the order where none is given."""
        if self.adjacency is not None:
            return of_graph("ResidualMADE", self.adjacency, size, context_features)
        return in_passes(draw_order("ResidualMADE", self.permutation, size), None, context_features)

    def units(self, dependence: Dependence) -> list[int]:
        """Returns what kind each unit of a layer is of, in ascending order."""
        if isinstance(self.hidden_features, int):
            return dependence.hidden(self.hidden_features)
        if len(self.hidden_features) != len(dependence.kinds):
            raise ShapeError(
                f"ResidualMADE: hidden_features for each of {len(dependence.kinds)} sets that are seen are expected; "
                f"got {tuple(self.hidden_features)}."
            )
        return [kind for kind, count in enumerate(self.hidden_features) for _ in range(count)]

    def describe(self) -> str:
        """Returns a few words on what this is, for summaries."""
        units = self.hidden_features
        width = units if isinstance(units, int) else sum(units)
        return f"ResidualMADE({width} wide, {self.blocks} blocks)"


class Block(torch.nn.Module):
    """What is added to the units: two masked layers, the first of which may see the context."""

    def __init__(self, between: torch.Tensor, context: torch.Tensor | None) -> None:
        super().__init__()
        self.first, self.second = MaskedLinear(between), MaskedLinear(between)
        self.context = None if context is None else MaskedLinear(context)


class BoundResidualMADE(BoundAutoregressiveParameters):
    """The bound form of :class:`ResidualMADE`."""

    def __init__(
        self, plan: ResidualMADE, layout: ParameterLayout, input_shape: torch.Size, context_shape: torch.Size | None
    ) -> None:
        size, context_features = input_shape[0], 0 if context_shape is None else numel(context_shape)
        steps = plan.steps(size, context_features)
        super().__init__(layout, input_shape, context_shape, steps.order, steps.sizes)
        dependence = Dependence(steps.sees, steps.sizes, 1, context_features)
        kinds = plan.units(dependence)
        self.sees, self.preactivation = steps.sees, plan.preactivation
        self.known_units = dependence.known_units(kinds)
        between, seen = dependence.between(kinds, kinds), dependence.context(kinds)
        everywhere = seen if context_features and plan.preactivation else None
        self.initial = MaskedLinear(dependence.inputs(kinds))
        self.context = MaskedLinear(seen, bias=plan.preactivation) if context_features else None
        blocks = torch.nn.ModuleList(Block(between, everywhere) for _ in range(plan.blocks))
        self.residual = cast(Sequence[Block], blocks)
        self.activation = plan.nonlinearity()
        self.output = MaskedLinear(dependence.between(dependence.drives, kinds).repeat(layout.per_coordinate, 1))
        start_at_zero(self.output)

    @property
    def dependence(self) -> torch.Tensor:
        """Which coordinate (rows) may depend on which (columns) along the first axis, in the order of steps."""
        return matrix_of(self.sees)

    def before(self, h: torch.Tensor) -> torch.Tensor:
        """Returns what a block begins with."""
        out: torch.Tensor = self.activation(h) if self.preactivation else h
        return out

    def from_context(self, context: torch.Tensor | None) -> list[torch.Tensor | None]:
        """Returns what the context adds before the blocks, and in each of them."""
        flat_context = self.flat_context(context)
        layers = [self.context, *(block.context for block in self.residual)]
        found = [None if layer is None or flat_context is None else layer(flat_context) for layer in layers]
        return [None if found[0] is None else self.before(found[0]), *found[1:]]

    def forward(self, x: torch.Tensor | None, context: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """Returns the parameters of all coordinates at once."""
        first, *rest = self.from_context(context)
        h = plus(self.initial(self.flat_input(x)), first)
        for block, added in zip(self.residual, rest, strict=True):
            h = h + block.second(self.activation(plus(block.first(self.before(h)), added)))
        return self.layout.cut(self.output(h).unflatten(-1, (self.layout.per_coordinate, -1)))

    def sequential(self, context: torch.Tensor | None, batch: torch.Size) -> ResidualSteps:
        """Starts a pass over the steps in which each hidden unit and each output is evaluated once."""
        return ResidualSteps(self, context, batch)


class ResidualSteps(AutoregressiveSteps):
    """The network at work one step at a time: units are sorted by what they see, so what is known is a prefix."""

    def __init__(self, bound: BoundResidualMADE, context: torch.Tensor | None, batch: torch.Size) -> None:
        self.bound = bound
        weight = bound.output.weight
        nothing, width = weight.new_empty((*batch, 0)), bound.initial.out_features
        self.known = Growing(nothing, bound.initial.in_features)
        # What goes into the two layers of each block, and what the last layer sees.
        self.inputs = [(Growing(nothing, width), Growing(nothing, width)) for _ in bound.residual]
        self.last = Growing(nothing, width)
        self.added = bound.from_context(context)
        self.initial, self.weights = (
            bound.initial.in_force,
            [(block.first.in_force, block.second.in_force) for block in bound.residual],
        )
        outputs, sizes = bound.layout.per_coordinate, bound.step_sizes
        self.rows = bound.output.in_force.unflatten(0, (outputs, -1)).split(sizes, 1)
        self.biases = bound.output.bias.unflatten(0, (outputs, -1)).split(sizes, 1)

    def parameters(self, step: int) -> tuple[torch.Tensor, ...]:
        """Returns the parameters of the step's coordinates."""
        self._advance(step)
        h, rows = self.last.value, self.rows[step]
        out = F.linear(h, rows.flatten(0, 1)[:, : h.shape[-1]], self.biases[step].flatten())
        size = self.bound.step_sizes[step]
        return self.bound.layout.cut(out.unflatten(-1, (-1, size)), (size,))

    def update(self, step: int, values: torch.Tensor) -> None:
        """Takes the values of the step's coordinates."""
        self.known.add(values)

    def _advance(self, step: int) -> None:
        """Evaluates the units that are known from ``step`` on."""
        bound = self.bound
        start, stop = self.last.value.shape[-1], bound.known_units[step]
        if stop == start:
            return

        def layer(
            weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor, added: torch.Tensor | None
        ) -> torch.Tensor:
            h = F.linear(x, weight[start:stop, : x.shape[-1]], bias[start:stop])
            return plus(h, None if added is None else added[..., start:stop])

        first, *rest = self.added
        h = layer(self.initial, bound.initial.bias, self.known.value, first)
        for block, inputs, weights, added in zip(bound.residual, self.inputs, self.weights, rest, strict=True):
            inputs[0].add(bound.before(h))
            inner = layer(weights[0], block.first.bias, inputs[0].value, added)
            inputs[1].add(bound.activation(inner))
            h = h + layer(weights[1], block.second.bias, inputs[1].value, None)
        self.last.add(h)


def plus(h: torch.Tensor, added: torch.Tensor | None) -> torch.Tensor:
    """Returns the sum, or the first where there is no second."""
    return h if added is None else h + added
