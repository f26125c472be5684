"""MADE's network: a dense network in which every output sees only what comes before it in a given order.

Masked Autoencoder for Distribution Estimation (Germain et al., 2015), https://arxiv.org/abs/1502.03509.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import cast

import torch
from torch.nn import functional as F

from ..ops._modes import plain_eager
from ..types import ModuleFactory
from .dense import start_at_zero


class MaskedLinear(torch.nn.Linear):
    """A linear layer of which ``mask`` leaves only some weights in force.

    Args:
        mask: a boolean tensor ``(out_features, in_features)``, kept in the state, as zeros and ones of the dtype of the
            weights: times a float, a boolean takes five times as long.
        bias: whether to add a bias.
    """

    mask: torch.Tensor

    def __init__(self, mask: torch.Tensor, bias: bool = True) -> None:
        out_features, in_features = mask.shape
        super().__init__(in_features, out_features, bias=bias)
        self.register_buffer("mask", mask.to(self.weight.dtype))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Applies the layer."""
        return F.linear(input, self.weight * self.mask, self.bias)


def hidden_degrees(width: int, steps: int, has_context: bool) -> list[int]:
    """Returns the degrees of ``width`` hidden units, in ascending order, spread evenly over ``0 .. steps - 1``.

    A unit of degree ``d`` sees the first ``d`` steps. Ascending, so that what a step may read is always a prefix.
    Units of degree 0 see the context alone. Without one they are learnable constants and there are few of them, but
    some:
    driven by a bare bias, the first coordinate would move by no more than the learning rate at each step, long after
    all others.
    """
    if has_context or steps == 1:
        return [i * steps // width for i in range(width)]
    constants = min(width, max(1, width // (8 * steps)))
    return [0] * constants + [1 + i * (steps - 1) // (width - constants) for i in range(width - constants)]


class MaskedDense(torch.nn.Module):
    r"""A network that gives numbers per coordinate, autoregressive in ``order`` over the first axis of ``x``.

    With :math:`r(j)` the step at which coordinate ``j`` comes and :math:`d(k)` the degree of hidden unit ``k``,
    weights are in force where

    .. math:: d(k) > r(j), \qquad d(k') \ge d(k), \qquad r(i) \ge d(k), \qquad r(i) > r(j)

    for input to hidden, hidden to hidden, hidden to output and input to output (``skip_connections``). The context
    reaches all. Without hidden layers the network is the skip connections alone. The last layers start at zero.

    Args:
        order: ``order[s]`` is the index along the first axis that step ``s`` covers; a permutation. The masks made of
            it are kept in the state.
        block: how many coordinates a step covers (the product of the other axes).
        context_features: the length of the context; 0 where there is none.
        hidden_dims: the widths of the hidden layers.
        outputs: how many numbers per coordinate.
        nonlinearity: makes each activation; it must act on each unit alone.
        skip_connections: adds a linear map from the inputs to the outputs.
        residual: adds the input of every hidden layer but the first to its output (one width).

    Shapes: ``x`` ``(*batch, steps * block)``, context ``(*batch, context_features)``, output
    ``(*batch, outputs, steps * block)``: the coordinate axis is last, so that it is contiguous.
    """

    def __init__(
        self,
        order: torch.Tensor,
        block: int,
        context_features: int,
        hidden_dims: Sequence[int],
        outputs: int,
        *,
        nonlinearity: ModuleFactory = torch.nn.ReLU,
        skip_connections: bool = False,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.steps, self.block, self.outputs = order.shape[0], block, outputs
        self.residual = residual
        self.degrees = [hidden_degrees(width, self.steps, context_features > 0) for width in hidden_dims]
        # How many hidden units of each layer are known at each step: those of its degree and below.
        self.known_units = [[bisect_right(d, step) for step in range(self.steps)] for d in self.degrees]
        rank = order.argsort().repeat_interleave(block)
        degree = [torch.tensor(d, device=order.device) for d in self.degrees]

        inputs = [rank + 1, *degree]  # the degree that a unit of the next layer must reach
        masks = [d[:, None] >= before[None, :] for d, before in zip(degree, inputs, strict=False)]
        self.hidden = cast(Sequence[MaskedLinear], torch.nn.ModuleList(MaskedLinear(mask) for mask in masks))
        self.activations = cast(Sequence[torch.nn.Module], torch.nn.ModuleList(nonlinearity() for _ in hidden_dims))
        self.context = (
            torch.nn.Linear(context_features, hidden_dims[0], bias=False) if context_features and hidden_dims else None
        )
        self.output: MaskedLinear | None = None
        if hidden_dims:
            self.output = MaskedLinear((rank[:, None] >= degree[-1][None, :]).repeat(outputs, 1))
            start_at_zero(self.output)
        self.skip: MaskedLinear | None = None
        self.skip_context: torch.nn.Linear | None = None
        if skip_connections or not hidden_dims:
            self.skip = MaskedLinear((rank[:, None] > rank[None, :]).repeat(outputs, 1), bias=not hidden_dims)
            start_at_zero(self.skip)
            if context_features:
                self.skip_context = torch.nn.Linear(context_features, outputs * rank.shape[0], bias=False)
                start_at_zero(self.skip_context)

    @property
    def last(self) -> MaskedLinear:
        """The layer with the outputs' bias: the output layer, and without hidden layers the skip connections."""
        return cast(MaskedLinear, self.skip if self.output is None else self.output)

    def forward(self, x: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
        """Applies the network to all steps at once."""
        out: torch.Tensor | None = None
        if self.output is not None:
            h = x
            # Not slices: a slice of a ModuleList is a new module, made at each call.
            for index, (layer, activation) in enumerate(zip(self.hidden, self.activations, strict=True)):
                new = layer(h)
                if index == 0 and self.context is not None:
                    new = new + self.context(context)
                new = activation(new)
                h = new + h if self.residual and index > 0 else new
            out = self.output(h)
        if self.skip is not None:
            direct = self.skip(x)
            if self.skip_context is not None:
                direct = direct + self.skip_context(context)
            out = direct if out is None else out + direct
        assert out is not None  # one of the two is always there
        return torch.unflatten(out, -1, (self.outputs, -1))


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

    Hidden units are sorted by degree, so at step ``s`` the units of degree ``s`` join those known before, each reading
    a prefix of the layer below. No mask is needed: a prefix is exactly what the masks leave in force. All steps
    together cost no more multiply-adds than one :meth:`MaskedDense.forward`, about half where ``steps`` is large.

    Args:
        net: the network.
        order: the order it was made with.
        context: the context, or None.
        batch: the batch shape of the values to come.
    """

    def __init__(self, net: MaskedDense, order: torch.Tensor, context: torch.Tensor | None, batch: torch.Size) -> None:
        self.net = net
        self.batch = batch
        self.columns = (order[:, None] * net.block + torch.arange(net.block, device=order.device)).reshape(-1)
        nothing = net.last.bias.new_zeros((*batch, 0))
        self.known = Growing(nothing, self.columns.shape[0])  # the coordinates so far, in step order
        # The hidden units so far, layer by layer.
        self.units = [Growing(nothing, layer.out_features) for layer in net.hidden]
        self.bias = self._by_coordinate(net.last.bias)
        self.from_context = None if net.context is None else net.context(context)
        self.weights = [layer.weight for layer in net.hidden]
        self.rows: torch.Tensor | None = None
        if net.output is not None:
            self.weights[0] = self.weights[0].index_select(1, self.columns)
            self.rows = self._by_coordinate(net.output.weight)
        self.skip_rows: torch.Tensor | None = None
        if net.skip is not None:
            self.skip_rows = self._by_coordinate(net.skip.weight).index_select(2, self.columns)
        self.skip_from_context: torch.Tensor | None = None
        if net.skip_context is not None:
            by_output = torch.unflatten(net.skip_context(context), -1, (net.outputs, -1))
            self.skip_from_context = by_output.index_select(-1, self.columns)

    def _by_coordinate(self, rows: torch.Tensor) -> torch.Tensor:
        # (outputs * coordinates, ...) to (coordinates in step order, outputs, ...)
        return torch.unflatten(rows, 0, (self.net.outputs, -1)).transpose(0, 1).index_select(0, self.columns)

    def outputs(self, step: int) -> torch.Tensor:
        """Returns ``(*batch, outputs, block)`` for the coordinates of ``step``, all values before it being known."""
        net = self.net
        here = slice(step * net.block, (step + 1) * net.block)
        out = self.bias[here].flatten()
        if self.rows is not None:
            last = self._advance(step)
            out = F.linear(last, self.rows[here].flatten(0, 1)[:, : last.shape[-1]], out)
        if self.skip_rows is not None:
            known = self.known.value
            out = out + F.linear(known, self.skip_rows[here].flatten(0, 1)[:, : known.shape[-1]])
        out = torch.unflatten(out, -1, (net.block, net.outputs)).transpose(-1, -2)
        if self.skip_from_context is not None:
            out = out + self.skip_from_context[..., here]
        return out

    def update(self, values: torch.Tensor) -> None:
        """Takes the values ``(*batch, block)`` of the step just asked for."""
        self.known.add(values)

    def _advance(self, step: int) -> torch.Tensor:
        """Evaluates the hidden units of degree ``step`` in every layer; returns all known units of the last."""
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
                    new = new + below[..., start:stop]  # equal widths have equal degrees
                units.add(new)
            below = units.value
        return below
