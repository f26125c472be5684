"""A dense network of weights in blocks: each output increases in its own input, and sees the inputs before it.

Block Neural Autoregressive Flow (De Cao et al., 2019), https://arxiv.org/abs/1904.04676.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch.nn import functional as F

from ..errors import ContextError
from ..ops import log_scale
from ..ops.block import ACTIVATIONS, ActivationName, BlockLayer, block_units, log_matmul
from ..types import TensorPair
from .masked import Growing


class BlockWeights(NamedTuple):
    """The weights of a layer, units of all blocks before the next unit: ``blocks`` is the fastest axis.

    Args:
        below: Those of the blocks before, ``(outputs, inputs, blocks, blocks)``, zero on the diagonal and above.
        log_diagonal: The logarithms of the positive ones within a block, ``(outputs, inputs, blocks)``.
        bias: ``(outputs, blocks)``.
    """

    below: torch.Tensor | None
    log_diagonal: torch.Tensor
    bias: torch.Tensor

    def matrix(self) -> torch.Tensor:
        """Returns all in one, ``(outputs * blocks, inputs * blocks)``."""
        whole = torch.diag_embed(self.log_diagonal.exp())
        whole = whole if self.below is None else whole + self.below
        return whole.transpose(1, 2).flatten(2).flatten(0, 1)


class BlockLinear(torch.nn.Module):
    r"""A linear layer of blocks: positive within a block, free below the diagonal, with normalised rows.

    .. math:: W = \operatorname{diag}(s) \operatorname{diag}(\lVert V_k \rVert)^{-1} V, \qquad
              V = \exp(A) \text{ in the diagonal blocks}, \quad B \text{ below}, \quad 0 \text{ above}

    :math:`\log s` is bounded within (-5, 3). Norms are taken of what is left after division by the largest entry.

    Args:
        blocks: how many blocks.
        inputs: the inputs of each.
        outputs: the outputs of each.
        gain: about how much each output rises with all inputs of its block, at the start.
    """

    weight: torch.Tensor | None
    diagonal: torch.Tensor

    def __init__(self, blocks: int, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        below = torch.nn.Parameter(torch.randn(outputs, inputs, blocks, blocks) * (inputs * blocks) ** -0.5)
        self.register_parameter("weight", below if blocks > 1 else None)
        diagonal = 0.1 * torch.randn(outputs, inputs, blocks)
        if blocks * inputs > 1:
            self.diagonal = torch.nn.Parameter(diagonal)
        else:  # alone in its row, and normalised: always 1
            self.register_buffer("diagonal", torch.zeros_like(diagonal), persistent=False)
        self.raw_scale = torch.nn.Parameter(torch.full((outputs, blocks), math.log(gain) - 0.5 * math.log(inputs)))
        self.bias = torch.nn.Parameter(torch.zeros(outputs, blocks))

    def forward(self, dtype: torch.dtype) -> BlockWeights:
        """Returns the weights."""
        raw, bias = self.diagonal.to(dtype), self.bias.to(dtype)
        below = None if self.weight is None else self.weight.to(dtype).tril(-1)
        top = raw.detach().amax(1)
        if below is not None:  # the logarithm of 0 is less than whatever stands in the block
            top = torch.maximum(top, below.detach().abs().amax((1, 3)).log())
        squares = (2.0 * (raw - top.unsqueeze(1))).exp().sum(1)
        if below is not None:
            squares = squares + (below * torch.exp(-top)[:, None, :, None]).square().sum((1, 3))
        log_factor = log_scale(self.raw_scale.to(dtype), scale_fn="exp") - (top + 0.5 * squares.log())
        if below is not None:
            below = below * log_factor.exp()[:, None, :, None]
        return BlockWeights(below, raw + log_factor.unsqueeze(1), bias)


class BlockDense(torch.nn.Module):
    r"""A network of which output ``i`` increases in input ``i`` and sees the inputs before it and the context.

    .. math:: h_1 = \phi(W_1 x + V c + b_1), \quad h_{l+1} = \phi(W_{l+1} h_l + b_{l+1}), \quad o = W_{L+1} h_L + b, \\
              \log \frac{\partial o_i}{\partial x_i} =
              \log\big(W^{ii}_{L+1} \operatorname{diag}(\phi') W^{ii}_L \cdots \operatorname{diag}(\phi') W^{ii}_1\big)

    by matrix products in logarithms of the blocks of the diagonal alone.

    Args:
        blocks: how many inputs, and outputs.
        context_features: the length of the context; 0 where there is none.
        hidden_factors: how many units of each hidden layer belong to an input.
        activation: the name of an increasing activation.
        gain: about the derivative of an output by its own input at the start.

    Shapes: ``x``, the outputs and the log-derivatives ``(*batch, blocks)``, context ``(*batch, context_features)``.

    Example:
        >>> value, log_slope = BlockDense(3, 2, (4, 5))(torch.zeros(7, 3), torch.zeros(2))
        >>> value.shape, log_slope.shape
        (torch.Size([7, 3]), torch.Size([7, 3]))
    """

    def __init__(
        self,
        blocks: int,
        context_features: int,
        hidden_factors: Sequence[int],
        *,
        activation: ActivationName = "tanh",
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.blocks = blocks
        self.activation = ACTIVATIONS[activation]
        widths, last = (1, *hidden_factors, 1), len(hidden_factors)
        gains = [1.0, *[1.0 / self.activation.slope] * last]
        gains[last] *= gain
        layers = [BlockLinear(blocks, a, b, g) for (a, b), g in zip(itertools.pairwise(widths), gains, strict=True)]
        # Bends start spread over (-2, 2), so that no two units are alike.
        torch.nn.init.uniform_(layers[0].bias, -2.0, 2.0)
        self.layers = cast(Sequence[BlockLinear], torch.nn.ModuleList(layers))
        self.context = (
            torch.nn.Linear(context_features, hidden_factors[0] * blocks, bias=False) if context_features else None
        )

    def forward(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        """Returns the outputs and the logarithms of their derivatives by their own inputs."""
        h, log_slope = x, x.new_zeros(())
        for index, layer in enumerate(self.layers):
            weights = layer(x.dtype)
            h = F.linear(h, weights.matrix(), weights.bias.flatten())
            log_diagonal = weights.log_diagonal
            log_diagonal = log_diagonal.reshape(*log_diagonal.shape[:2], *([1] * (x.dim() - 1)), self.blocks)
            if index == 0:
                h = h if self.context is None else h + self.from_context(context, x.dtype)
                log_slope = log_diagonal[:, 0]
            else:
                log_slope = log_matmul(log_diagonal, log_slope)
            if index < len(self.layers) - 1:
                h, bend = self.activation.function(h)
                # (*batch, units, blocks) to (units, *batch, blocks)
                log_slope = log_slope + bend.unflatten(-1, (-1, self.blocks)).movedim(-2, 0)
        return h, log_slope.squeeze(0)

    def from_context(self, context: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor:
        """Returns what the context adds to the first layer."""
        assert self.context is not None  # whoever calls has looked
        if context is None:
            raise ContextError("BlockDense: a context is expected, as it was made with one; got none.")
        return F.linear(context.to(dtype), self.context.weight.to(dtype))


class BlockDenseSteps:
    """The same network one input at a time: each block of weights below the diagonal is used exactly once.

    At step ``s`` the inputs before ``s`` are known, and with them their units: what those add to the layers of block
    ``s`` is an offset, and what is left is a small network of one input. All steps together cost one pass of the
    network, and each evaluation of the small ones, together, the blocks of the diagonal alone.

    Args:
        net: the network.
        context: the context, or None.
        batch: the batch shape of the values to come.
        dtype: theirs.
    """

    def __init__(self, net: BlockDense, context: torch.Tensor | None, batch: torch.Size, dtype: torch.dtype) -> None:
        self.net = net
        weights = [layer(dtype) for layer in net.layers]
        # For each step (outputs, blocks, inputs), of which it reads a prefix; cut at once, for one gradient of all.
        self.below = [None if w.below is None else w.below.permute(2, 0, 3, 1).contiguous().unbind() for w in weights]
        self.log_diagonals = [w.log_diagonal.unbind(-1) for w in weights]
        self.diagonals = [w.log_diagonal.exp().unbind(-1) for w in weights]
        self.biases = [w.bias.unbind(-1) for w in weights]
        self.from_context: Sequence[torch.Tensor] | None = None
        if net.context is not None:
            self.from_context = net.from_context(context, dtype).unflatten(-1, (-1, net.blocks)).unbind(-1)
        nothing = weights[0].bias.new_zeros((*batch, 0))
        # The units of each layer so far, inputs first.
        self.known = [Growing(nothing, w.log_diagonal[0].numel()) for w in weights]

    def layers(self, step: int) -> list[BlockLayer]:
        """Returns the small network of input ``step``, all inputs before it being known."""
        found = []
        for index, known in enumerate(self.known):
            offset, rows = self.biases[index][step], self.below[index]
            if rows is not None:
                offset = F.linear(known.value, rows[step][:, :step].flatten(1), offset)
            if index == 0 and self.from_context is not None:
                offset = offset + self.from_context[step]
            offset = offset.expand(*known.value.shape[:-1], -1).movedim(-1, 0)
            found.append(BlockLayer(offset, self.diagonals[index][step], self.log_diagonals[index][step]))
        return found

    def update(self, x: torch.Tensor, layers: Sequence[BlockLayer]) -> None:
        """Takes the value ``(*batch)`` of the step whose layers those are."""
        units = block_units(x, layers, self.net.activation)
        for known, new in zip(self.known, (x.unsqueeze(0), *units), strict=True):
            known.add(new.movedim(0, -1))
