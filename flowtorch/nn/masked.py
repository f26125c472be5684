"""MADE's network: a dense network in which every output sees only what comes before it.

Masked Autoencoder for Distribution Estimation (Germain et al., 2015), https://arxiv.org/abs/1502.03509.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch.nn import functional as F

from ..ops._modes import plain_eager
from ..types import ModuleFactory
from .dense import start_at_zero
from .dependence import Dependence
from .fused_dense import dense_layers
from .masked_linear import MaskedLinear

# The last layer is cut into blocks of at least so many rows, of which each reads what may come before it and no more:
# with fewer one more call takes more time than a block saves. Blocks of as many coordinates as vector registers hold
# numbers suit the elementwise maps.
ROWS_OF_A_BLOCK, MOST_BLOCKS, VECTOR = 256, 8, 16


class MaskedDense(torch.nn.Module):
    r"""A network that gives numbers per coordinate, which depend on what comes before the coordinate.

    What each unit sees is up to :class:`Dependence`. Without hidden layers the network is the skip connections alone.
    The last layers start at zero.

    They are kept in blocks of coordinates: those of a block read a prefix of the hidden units, so that about a third
    of the weights, all of them masked, are neither stored nor multiplied.

    Args:
        dependence: what may depend on what.
        hidden_dims: the widths of the hidden layers.
        outputs: how many numbers per coordinate.
        nonlinearity: makes each activation; it must act on each unit alone.
        skip_connections: adds a linear map from the inputs to the outputs.
        residual: adds the input of every hidden layer but the first to its output (one width).

    Shapes: ``x`` ``(*batch, size * block)``, in the order of the steps, context ``(*batch, context_features)``, output
    ``(*batch, outputs, size * block)``: the coordinate axis is last, so that it is contiguous.
    """

    def __init__(
        self,
        dependence: Dependence,
        hidden_dims: Sequence[int],
        outputs: int,
        *,
        nonlinearity: ModuleFactory = torch.nn.ReLU,
        skip_connections: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.outputs, self.residual = outputs, residual
        block = dependence.block
        self.step_sizes = [size * block for size in dependence.step_sizes]
        kinds = [dependence.hidden(width) for width in hidden_dims]
        # How many hidden units of each layer are known at each step.
        self.known_units = [dependence.known_units(k) for k in kinds]
        # Which steps each of `blocks` is for, and how many coordinates.
        self.block_steps = _steps_of_blocks(self.step_sizes, outputs)
        self.block_sizes = [sum(self.step_sizes[s] for s in steps) for steps in self.block_steps]

        masks = [dependence.inputs(kinds[0])] if kinds else []
        masks += [dependence.between(here, below) for below, here in itertools.pairwise(kinds)]
        self.hidden = cast(Sequence[MaskedLinear], torch.nn.ModuleList(MaskedLinear(mask) for mask in masks))
        self.activations = cast(Sequence[torch.nn.Module], torch.nn.ModuleList(nonlinearity() for _ in hidden_dims))
        context = dependence.context_features > 0
        self.context = MaskedLinear(dependence.context(kinds[0]), bias=False) if context and kinds else None

        def layers(of: Sequence[int] | None, bias: bool) -> Sequence[MaskedLinear]:
            """The last layer, in blocks: from hidden units, or from the inputs."""
            made, start = [], 0
            for steps in self.block_steps:
                stop = start + sum(dependence.step_sizes[s] for s in steps)
                drives = [k for k in dependence.drives[start:stop] for _ in range(block)]
                if of is None:
                    mask = dependence.inputs(drives)[:, : max(1, sum(self.step_sizes[: steps[-1]]))]
                else:
                    mask = dependence.between(drives, of[: self.known_units[-1][steps[-1]]])
                made.append(MaskedLinear(mask.repeat(outputs, 1), bias=bias))
                start_at_zero(made[-1])
                start = stop
            return cast(Sequence[MaskedLinear], torch.nn.ModuleList(made))

        self.output = layers(kinds[-1], True) if kinds else None
        self.skip: Sequence[MaskedLinear] | None = None
        self.skip_context: MaskedLinear | None = None
        if skip_connections or not kinds:
            self.skip = layers(None, not kinds)
            if context:
                drives = [k for k in dependence.drives for _ in range(block)]
                self.skip_context = MaskedLinear(dependence.context(drives).repeat(outputs, 1), bias=False)
                start_at_zero(self.skip_context)

    @property
    def last(self) -> Sequence[MaskedLinear]:
        """The layer with the outputs' bias: the output layer, and without hidden layers the skip connections."""
        return cast(Sequence[MaskedLinear], self.skip if self.output is None else self.output)

    def forward(self, x: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        """Applies the network to all steps at once."""
        found = list(self.blocks(x, context))
        return found[0] if len(found) == 1 else torch.cat(found, -1)

    def blocks(self, x: torch.Tensor, context: torch.Tensor | None) -> Iterator[torch.Tensor]:
        """Applies the network to all steps at once; the coordinates come block after block."""
        output, activations = self.output, [*self.activations]
        add = None if self.context is None else self.context(context)
        h, at_once = x, False
        if self.residual:
            for index, (layer, activation) in enumerate(zip(self.hidden, activations, strict=True)):
                new = dense_layers([layer], [activation], h, add=add if index == 0 else None)
                h = new + h if index > 0 else new
        elif output is not None:
            at_once = len(output) == 1
            h = dense_layers([*self.hidden, *(output if at_once else ())], activations, x, add=add)
        direct = self.skip_from_context(context)
        start = 0
        for index, size in enumerate(self.block_sizes):
            out = h if at_once else dense_layers([self.last[index]], [], x if output is None else h)
            out = torch.unflatten(out, -1, (self.outputs, size))
            if output is not None and self.skip is not None:
                out = out + torch.unflatten(self.skip[index](x), -1, (self.outputs, size))
            if direct is not None:
                out = out + direct[..., start : start + size]
            start += size
            yield out

    def skip_from_context(self, context: torch.Tensor | None) -> torch.Tensor | None:
        """Returns what skip connections from the context add, ``(*batch, outputs, size * block)``, if there are any."""
        return None if self.skip_context is None else self.skip_context(context).unflatten(-1, (self.outputs, -1))

    def program(self) -> list[int]:
        """Returns where the operator of :class:`FusedSteps` finds what, layer by layer and then step by step."""
        found, weights, biases, row = [], 0, 0, sum(self.step_sizes)
        for layer in self.hidden:
            found += [row, weights, layer.in_features, biases]
            row, weights, biases = row + layer.out_features, weights + layer.weight.numel(), biases + layer.out_features
        skip_weights = weights + sum(layer.weight.numel() for layer in self.output or ())
        known = 0
        for index, steps in enumerate(self.block_steps):
            start, size = known, self.block_sizes[index]
            output = None if self.output is None else self.output[index]
            skip = None if self.skip is None else self.skip[index]
            for step in steps:
                of_output = [weights, 0 if output is None else output.in_features, biases]
                of_skip = [-1, 0] if skip is None else [skip_weights, skip.in_features]
                units = [known_units[step] for known_units in self.known_units]
                found += [known, self.step_sizes[step], size, known - start, *of_output, *of_skip, *units]
                known += self.step_sizes[step]
            weights += 0 if output is None else output.weight.numel()
            skip_weights += 0 if skip is None else skip.weight.numel()
            biases += size * self.outputs
        return found


def _steps_of_blocks(sizes: Sequence[int], outputs: int) -> list[list[int]]:
    """Returns which steps each block of the last layer is for."""
    total = sum(sizes)
    width = VECTOR * math.ceil(max(ROWS_OF_A_BLOCK / outputs, total / MOST_BLOCKS) / VECTOR)
    last = max(1, round(total / width)) - 1
    blocks: dict[int, list[int]] = {}
    start = 0
    for step, size in enumerate(sizes):
        blocks.setdefault(min(start // width, last), []).append(step)
        start += size
    return list(blocks.values())


class Growing:
    """What is known so far, along the last axis: written into one buffer, unless derivatives may be asked for.

    Args:
        nothing: ``(*batch, 0)``.
        size: how much there will be.
    """

    def __init__(self, nothing: torch.Tensor, size: int) -> None:
        self.value, self.size = nothing, size
        self.buffer: torch.Tensor | None = None
        self.in_place = not torch.is_grad_enabled() and plain_eager()

    def add(self, new: torch.Tensor) -> None:
        """Appends ``(*batch, n)``."""
        if not self.in_place:
            self.value = torch.cat([self.value, new], -1)
            return
        start = self.value.shape[-1]
        if self.buffer is None:
            self.buffer = new.new_empty((*self.value.shape[:-1], self.size))
        self.value = self.buffer[..., : start + new.shape[-1]]
        self.value[..., start:] = new


class MaskedDenseSteps:
    """The same network one step at a time, evaluating each hidden unit and each output exactly once.

    Hidden units are sorted by the step at which they are known, so at each step some join those known before, reading
    a prefix of the layer below. All steps together cost no more multiply-adds than one :meth:`MaskedDense.forward`,
    about half where there are many.

    Args:
        net: the network.
        context: the context, or None.
        batch: the batch shape of the values to come.
    """

    def __init__(self, net: MaskedDense, context: torch.Tensor | None, batch: torch.Size) -> None:
        self.net = net
        nothing = net.last[0].weight.new_zeros((*batch, 0))
        self.known = Growing(nothing, sum(net.step_sizes))  # the coordinates so far
        # The hidden units so far, layer by layer.
        self.units = [Growing(nothing, layer.out_features) for layer in net.hidden]
        self.from_context = None if net.context is None else net.context(context)
        self.weights = [layer.in_force for layer in net.hidden]
        self.rows = None if net.output is None else self._by_step(net.output)
        self.skip_rows = None if net.skip is None else self._by_step(net.skip)
        bias = torch.cat([layer.bias.unflatten(0, (net.outputs, -1)) for layer in net.last], -1)
        self.bias = bias.mT.split(net.step_sizes)
        self.skip_from_context: Sequence[torch.Tensor] | None = None
        from_context = net.skip_from_context(context)
        if from_context is not None:
            self.skip_from_context = from_context.split(net.step_sizes, -1)

    def _by_step(self, blocks: Sequence[MaskedLinear]) -> list[torch.Tensor]:
        """Returns the weights of each step, ``(coordinates * outputs, columns of its block)``."""
        found = []
        for layer, steps in zip(blocks, self.net.block_steps, strict=True):
            by_coordinate = layer.in_force.unflatten(0, (self.net.outputs, -1)).transpose(0, 1).contiguous()
            found += [rows.flatten(0, 1) for rows in by_coordinate.split([self.net.step_sizes[s] for s in steps])]
        return found

    def outputs(self, step: int) -> torch.Tensor:
        """Returns ``(*batch, outputs, coordinates of the step)``, all values before it being known."""
        net = self.net
        out = self.bias[step].flatten()
        if self.rows is not None:
            last = self._advance(step)
            out = F.linear(last, self.rows[step][:, : last.shape[-1]], out)
        if self.skip_rows is not None:
            known = self.known.value
            out = out + F.linear(known, self.skip_rows[step][:, : known.shape[-1]])
        out = torch.unflatten(out, -1, (-1, net.outputs)).transpose(-1, -2)
        if self.skip_from_context is not None:
            out = out + self.skip_from_context[step]
        return out

    def update(self, values: torch.Tensor) -> None:
        """Takes the values of the step just asked for, ``(*batch, coordinates of the step)``."""
        self.known.add(values)

    def _advance(self, step: int) -> torch.Tensor:
        """Evaluates the hidden units that are known from ``step`` on; returns all known units of the last layer."""
        net = self.net
        below = self.known.value
        for index, (layer, activation) in enumerate(zip(net.hidden, net.activations, strict=True)):
            units = self.units[index]
            start, stop = units.value.shape[-1], net.known_units[index][step]
            if stop > start:
                new = F.linear(below, self.weights[index][start:stop, : below.shape[-1]], layer.bias[start:stop])
                if index == 0 and self.from_context is not None:
                    new = new + self.from_context[..., start:stop]
                new = activation(new)
                if net.residual and index > 0:
                    new = new + below[..., start:stop]  # equal widths have equal kinds
                units.add(new)
            below = units.value
        return below
