"""Room for results."""

from __future__ import annotations

import torch


def room(like: torch.Tensor, bins: bool = False) -> torch.Tensor:
    """Returns a tensor of that shape, contiguous, but the axis of the bins before the last of the others.

    So ``call.h`` gives results, and conditioners give parameters.
    """
    if not bins or like.dim() < 2:
        return torch.empty_like(like, memory_format=torch.contiguous_format)
    return torch.empty_like(like.transpose(-1, -2), memory_format=torch.contiguous_format).transpose(-1, -2)
