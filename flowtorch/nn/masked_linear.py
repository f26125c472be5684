"""A linear layer of which a mask leaves only some weights in force."""

from __future__ import annotations

import torch
from torch.nn import functional as F


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

    @property
    def in_force(self) -> torch.Tensor:
        """The weights, zero where the mask is."""
        return self.weight * self.mask

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Applies the layer to what its weights reach: the first ``in_features`` numbers."""
        x = input if input.shape[-1] == self.in_features else input[..., : self.in_features]
        return F.linear(x, self.in_force, self.bias)
