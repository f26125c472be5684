"""Dense layers, all of a network as one operator: see _native/product.h and _native/dense.h."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch.nn import functional as F

from .._native import loader
from ..ops._modes import plain_eager, reference_backward, transformed
from .activations import with_gradient
from .masked_linear import MaskedLinear

# With fewer points the weights take longer to arrange than the products take.
FEWEST_POINTS = 16


def dense_layers(
    layers: Sequence[torch.nn.Linear],
    activations: Sequence[torch.nn.Module],
    x: torch.Tensor,
    *,
    add: torch.Tensor | None = None,
    columns: int | None = None,
) -> torch.Tensor:
    r"""Applies layers one after the other, an activation after each but, where there is one less of them, the last.

    Products skip what masks make zero, in blocks of the size of vector registers, and a layer's bias and activation are
    done where its products are: one operator, with a backward pass of its own, where nothing but gradients is asked
    for; else, and on other devices, torch's own.

    Shapes: ``x`` ``(*batch, n)``, of which the first layer reads the first numbers if they are more than it takes;
    ``add`` ``(*batch, out_features of the first layer)``; batches broadcast.

    Args:
        layers: Linear layers, or masked ones.
        activations: As many, or one less.
        x: The input.
        add: Is added to what the first layer gives.
        columns: How many of the columns of the first layer's weights are for ``x``, which are the first; None for all.
    """
    network = _network(layers, activations, x, add)
    if network is None:
        return _plain(layers, activations, x, add, columns)
    if columns is not None:
        network.weights[0] = network.weights[0][:, :columns]
    return network(x, add)


def _plain(
    layers: Sequence[torch.nn.Linear],
    activations: Sequence[torch.nn.Module],
    x: torch.Tensor,
    add: torch.Tensor | None,
    columns: int | None,
) -> torch.Tensor:
    for index, layer in enumerate(layers):
        if index == 0 and columns is not None:
            x = F.linear(x, layer.weight[:, :columns], layer.bias)
        else:
            x = layer(x)
        if index == 0 and add is not None:
            x = x + add
        if index < len(activations):
            x = activations[index](x)
    return x


def _network(
    layers: Sequence[torch.nn.Linear],
    activations: Sequence[torch.nn.Module],
    x: torch.Tensor,
    add: torch.Tensor | None,
) -> _Network | None:
    """Returns what the operator is told of the layers, or None where it cannot be used."""
    if loader.capability is None or not plain_eager() or torch.is_autocast_enabled("cpu"):
        return None
    dtype, kind, shape = x.dtype, type(layers[0]), x.shape
    if (dtype is not torch.float32 and dtype is not torch.float64) or x.numel() < FEWEST_POINTS * shape[-1]:
        return None
    if not _fits(x, dtype) or (add is not None and not _fits(add, dtype)):
        return None
    masked = kind is MaskedLinear
    if not masked and kind is not torch.nn.Linear:
        return None
    of_activations = {with_gradient(activation) for activation in activations} or {(0, 0.0)}
    known = of_activations.pop()
    if known is None or of_activations or any(map(_hooked, activations)):
        return None
    weights, biases, masks = [], [], []
    reaches: list[tuple[torch.Tensor, torch.Tensor]] = []
    for layer in layers:
        # A layer that something has been done to (a hook, a parametrization, sharding) is called as it is. Modules'
        # attributes are slow, so the dictionaries behind them are looked into.
        if type(layer) is not kind or _hooked(layer):
            return None
        weight, bias = layer._parameters["weight"], layer._parameters["bias"]
        for p in (weight, bias):
            if p is None or not _fits(p, dtype):
                return None
        weights.append(cast(torch.Tensor, weight))
        biases.append(cast(torch.Tensor, bias))
        if masked:
            masks.append(cast(torch.Tensor, layer._buffers["mask"]))
            reaches.append(cast(MaskedLinear, layer).reach())
    return _Network(weights, biases, masks, reaches, *known, len(activations) == len(layers))


def _fits(tensor: torch.Tensor, dtype: torch.dtype) -> bool:
    kind = type(tensor)
    return (kind is torch.nn.Parameter or kind is torch.Tensor) and tensor.dtype is dtype and tensor.is_cpu


def _hooked(module: torch.nn.Module) -> bool:
    m = module.__dict__
    return bool(m["_forward_hooks"] or m["_forward_pre_hooks"] or m["_backward_hooks"] or m["_backward_pre_hooks"])


class _Network:
    """What the operator is told, but for the input."""

    def __init__(
        self,
        weights: list[torch.Tensor],
        biases: list[torch.Tensor],
        masks: list[torch.Tensor],
        reaches: list[tuple[torch.Tensor, torch.Tensor]],
        activation: int,
        slope: float,
        last: bool,
    ) -> None:
        self.weights, self.biases, self.masks = weights, biases, masks
        self.reaches, self.sparse = [reach for reach, _ in reaches], [mask for _, mask in reaches]
        self.activation, self.slope, self.last = activation, slope, last

    def __call__(self, x: torch.Tensor, add: torch.Tensor | None) -> torch.Tensor:
        batch = x.shape[:-1]
        if add is not None:
            if add.shape[:-1] != batch:
                batch = torch.broadcast_shapes(batch, add.shape[:-1])  # type: ignore[no-untyped-call,unused-ignore]  # no types
                x, add = x.expand(*batch, -1), add.expand(*batch, -1)
            add = _matrix(add)
        x = _matrix(x)
        if torch.is_grad_enabled() and self._differentiable(x, add):
            apply = cast("Callable[..., torch.Tensor]", _Fused.apply)
            y = apply(self, x, add, *self.weights, *self.biases)
        else:
            y = self.outputs(x, add)[-1]
        return y if len(batch) == 1 else y.view(*batch, y.shape[-1])

    def _differentiable(self, x: torch.Tensor, add: torch.Tensor | None) -> bool:
        if x.requires_grad or (add is not None and add.requires_grad):
            return True
        return any(p.requires_grad for p in self.weights) or any(p.requires_grad for p in self.biases)

    def outputs(self, x: torch.Tensor, add: torch.Tensor | None) -> list[torch.Tensor]:
        """Returns those of all layers."""
        found: list[torch.Tensor] = torch.ops.flowtorch.dense_forward(
            x, add, self.weights, self.sparse, self.reaches, self.biases, self.activation, self.slope, self.last
        )
        return found

    def plain(self, x: torch.Tensor, *rest: torch.Tensor) -> tuple[torch.Tensor]:
        """The reference form, of ``x``, of what is added if there is something, of weights and biases."""
        add, rest = (rest[0], rest[1:]) if len(rest) % 2 else (None, rest)
        count = len(rest) // 2
        for index, (weight, bias) in enumerate(zip(rest[:count], rest[count:], strict=True)):
            x = F.linear(x[..., : weight.shape[1]], weight * self.masks[index] if self.masks else weight, bias)
            x = x if add is None or index > 0 else x + add
            if self.last or index + 1 < count:
                x = _ACTIVATE[self.activation](x, self.slope)
        return (x,)


_ACTIVATE: dict[int, Callable[[torch.Tensor, float], torch.Tensor]] = {
    0: lambda x, _: x,
    1: lambda x, _: F.relu(x),
    2: F.leaky_relu,
    3: lambda x, _: torch.tanh(x),
    5: F.elu,
}


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, network: _Network, x: torch.Tensor, add: torch.Tensor | None, *parameters: torch.Tensor
    ) -> torch.Tensor:
        outputs = network.outputs(x, add)
        ctx.network = network
        ctx.save_for_backward(x, add, *parameters, *(outputs if network.last else outputs[:-1]))
        return outputs[-1]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        network, (x, add, *rest) = ctx.network, ctx.saved_tensors
        layers = len(network.weights)
        parameters, outputs = rest[: 2 * layers], rest[2 * layers :]
        # Where the gradient is differentiated in turn, or batched, the reference form takes over.
        if torch.is_grad_enabled() or transformed() or torch._C._functorch.is_legacy_batchedtensor(gradient):
            some = (x, *parameters) if add is None else (x, add, *parameters)
            by_x, *found = reference_backward(network.plain, some, (gradient,))
            return None, by_x, *((None,) if add is None else ()), *found
        want_x = ctx.needs_input_grad[1]
        by_x, by_add, *found = torch.ops.flowtorch.dense_backward(
            _matrix(gradient),
            x,
            outputs,
            parameters[:layers],
            network.sparse,
            network.reaches,
            network.activation,
            network.slope,
            network.last,
            want_x,
        )
        return None, by_x if want_x else None, None if add is None else by_add, *found


def _matrix(x: torch.Tensor) -> torch.Tensor:
    """Returns ``(points, n)``, in which a point's numbers lie side by side."""
    x = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
    return x if x.stride(1) == 1 else x.contiguous()
