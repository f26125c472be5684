"""A linear layer of which a mask leaves only some weights in force."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from .derived import Derived


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
        self._reach = Derived(_reach)

    def reach(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns how many inputs each output may read, and the mask, or nothing of it where it leaves all of those."""
        return self._reach(self._buffers["mask"])  # type: ignore[arg-type]  # a tensor; the attribute is slow

    @property
    def in_force(self) -> torch.Tensor:
        """The weights, zero where the mask is."""
        return self.weight * self.mask

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Applies the layer to what its weights reach: the first ``in_features`` numbers."""
        x = input if input.shape[-1] == self.in_features else input[..., : self.in_features]
        return F.linear(x, self.in_force, self.bias)


def _reach(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    numbers = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    reaches = torch.where(mask != 0, numbers, 0).amax(1)
    every = bool(((numbers <= reaches.unsqueeze(1)) == mask).all())
    return reaches, mask.new_empty(0) if every else mask
