"""Linear maps with scales: a positive diagonal, or singular values."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .. import ops
from .affine import ScaleOptions


@dataclass(frozen=True, kw_only=True)
class Scaled(ScaleOptions):
    """The options of a plan whose matrix has scales, and the scales they make."""

    def log_scale(self, raw: torch.Tensor) -> torch.Tensor:
        """Returns the logarithms of the scales, within the bounds: nothing that they are factors of is singular."""
        return ops.log_scale(
            raw,
            scale_fn=self.scale_fn,
            sigmoid_bias=self.sigmoid_bias,
            clamp_values=self.clamp_values,
            log_scale_min_clip=self.log_scale_min_clip,
            log_scale_max_clip=self.log_scale_max_clip,
        )
