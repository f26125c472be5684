"""What there is no closed form for, refused in words that say how to estimate it."""

from __future__ import annotations

import torch
from torch.distributions import Distribution

from ..errors import NotSupportedError


class WithoutMoments(Distribution):
    """A distribution of which the density and draws are known, and no integral over them."""

    @property
    def mean(self) -> torch.Tensor:
        """Not known.

        Raises:
            NotSupportedError: always.
        """
        raise NotSupportedError(_unknown(self, "mean", "Estimate it from draws, as sample((n,)).mean(0)."))

    @property
    def variance(self) -> torch.Tensor:
        """Not known.

        Raises:
            NotSupportedError: always.
        """
        raise NotSupportedError(_unknown(self, "variance", "Estimate it from draws, as sample((n,)).var(0)."))

    @property
    def mode(self) -> torch.Tensor:
        """Not known.

        Raises:
            NotSupportedError: always.
        """
        raise NotSupportedError(_unknown(self, "mode", "Maximise log_prob, starting from a likely draw."))

    def entropy(self) -> torch.Tensor:
        """Not known; :func:`flowtorch.objectives.entropy` estimates it.

        Raises:
            NotSupportedError: always.
        """
        raise NotSupportedError(
            _unknown(self, "entropy", "flowtorch.objectives.entropy(flow, count) estimates it from draws.")
        )


def _unknown(of: object, what: str, instead: str) -> str:
    who = type(of).__name__
    return f"{who}.{what}: a distribution with a closed form of its {what} is expected; got a {who}. {instead}"
