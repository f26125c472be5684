"""The steps of a masked network, each as one operator: see _native/masked_step.h."""

from __future__ import annotations

import torch

from .._native import loader
from ..ops._modes import plain_eager
from .activations import ACTIVATIONS, number
from .masked import MaskedDense

POINTS_TOGETHER = 16


def can_fuse(net: MaskedDense, like: torch.Tensor) -> bool:
    """Returns whether the operator can take the steps of this network: there are kernels for it, and no gradients."""
    if loader.capability is None or torch.is_grad_enabled() or not plain_eager():
        return False
    if like.device.type != "cpu" or like.dtype not in (torch.float32, torch.float64):
        return False
    if torch.is_autocast_enabled("cpu"):
        return False
    kinds = {type(activation) for activation in net.activations}
    return len(kinds) <= 1 and kinds <= ACTIVATIONS.keys()


class FusedSteps:
    """What :class:`MaskedDenseSteps` does, without gradients.

    What is known so far is in rows, one for each coordinate and each hidden unit, of a number for every point of the
    batch: what a step reads is then a range of rows, and vector registers run along points.

    Args:
        net: the network.
        context: the context, or None.
        batch: the batch shape of the values to come.
    """

    def __init__(self, net: MaskedDense, context: torch.Tensor | None, batch: torch.Size) -> None:
        self.net, self.batch, self.points = net, batch, batch.numel()
        layers = [*net.hidden, *(net.output or ()), *(net.skip or ())]
        self.weights = torch.cat([layer.in_force.reshape(-1) for layer in layers])
        self.biases = torch.cat([layer.bias for layer in (*net.hidden, *net.last)])
        self.program = torch.tensor(net.program(), device=self.weights.device)
        self.activation, self.slope = number(next(iter(net.activations), torch.nn.Identity()))
        self.last: torch.Tensor | None = None
        size = sum(net.step_sizes)
        # An odd multiple: rows at a distance of a power of two would compete for a few lines of the cache.
        padded = (-(-self.points // POINTS_TOGETHER) | 1) * POINTS_TOGETHER
        rows = size + sum(layer.out_features for layer in net.hidden)
        self.units = self.weights.new_zeros(rows, padded)
        if net.context is not None:
            width = net.hidden[0].out_features
            from_context = net.context(context).expand(*batch, width).reshape(self.points, width)
            self.units[size : size + width, : self.points] = from_context.mT
        skip = net.skip_from_context(context)
        self.skip_from_context = None if skip is None else skip.split(net.step_sizes, -1)

    def outputs(self, step: int) -> torch.Tensor:
        """Returns ``(*batch, outputs, coordinates of the step)``, all values before it being known."""
        net = self.net
        rows: torch.Tensor = torch.ops.flowtorch.masked_step(
            self.units,
            self.weights,
            self.biases,
            self.program,
            self.last,
            step,
            len(net.known_units),
            net.outputs,
            self.activation,
            self.slope,
            net.residual,
            net.context is not None,
        )
        by_point = rows[:, : self.points].mT.reshape(*self.batch, net.outputs, net.step_sizes[step])
        return by_point if self.skip_from_context is None else by_point + self.skip_from_context[step]

    def update(self, values: torch.Tensor) -> None:
        """Takes the values of the step just asked for, ``(*batch, coordinates of the step)``: the next step does."""
        self.last = values.reshape(self.points, values.shape[-1]).to(self.units.dtype)

    def invert_affine(
        self, y: torch.Tensor, options: tuple[float | bool | int, ...]
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Takes all steps of the inverse of an affine map of ``y``, ``(*batch, coordinates)``, of these options.

        Returns:
            The values and the logarithms of the derivatives; None where the operator does not know the network.
        """
        if y.dtype != self.units.dtype or self.skip_from_context is not None:
            return None
        size = y.shape[-1]
        self.units[:size, : self.points] = y.reshape(self.points, size).mT
        logs: torch.Tensor = torch.ops.flowtorch.affine_steps(
            self.units,
            self.weights,
            self.biases,
            self.program,
            len(self.net.step_sizes),
            len(self.net.known_units),
            self.activation,
            self.slope,
            self.net.residual,
            self.net.context is not None,
            *options,
        )
        x, log_derivatives = (rows[:size, : self.points].mT.contiguous() for rows in (self.units, logs))
        return x.reshape(y.shape), log_derivatives.reshape(y.shape)
