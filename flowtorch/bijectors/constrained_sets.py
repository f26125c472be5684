"""Sets that torch's constraints lack."""

from __future__ import annotations

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from .. import domains


class Ordered(domains.Within):
    """Increasing vectors, a part of the real space of full dimension.

    Args:
        positive: whether all entries are positive, too.
    """

    def __init__(self, *, positive: bool) -> None:
        super().__init__(constraints.independent(constraints.positive if positive else constraints.real, 1))
        self.positive = positive

    def check(self, value: torch.Tensor) -> torch.Tensor:
        """Returns for each vector whether it increases."""
        return super().check(value) & (value.diff(dim=-1) > 0).all(-1)

    def __repr__(self) -> str:
        return f"Ordered(positive={self.positive})"


class Correlation(Constraint):
    """Symmetric positive definite matrices with ones on the diagonal."""

    is_discrete = False
    event_dim = 2

    def check(self, value: torch.Tensor) -> torch.Tensor:
        """Returns for each matrix whether it is one."""
        ones = ((value.diagonal(dim1=-2, dim2=-1) - 1.0).abs() <= 1e-6).all(-1)
        definite: torch.Tensor = constraints.positive_definite.check(value)
        return definite & ones
