"""The Haar wavelet transform."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import final

import torch

from .. import options
from ..ops.orthonormal import haar
from ..specification import register
from .fixed_linear import Orthonormal


@register
@final
@dataclass(frozen=True)
class Haar(Orthonormal):
    r"""The orthonormal Haar wavelet transform of each vector along an axis, coarse coefficients first.

    .. math::
        y = (\mathrm{haar}(l), h), \qquad l_i = \frac{x_{2i} + x_{2i+1}}{\sqrt 2}, \quad
        h_i = \frac{x_{2i} - x_{2i+1}}{\sqrt 2}, \qquad \log|\det dy/dx| = 0

    Any length will do: at a level of odd length the last coordinate stays as it is, behind the differences :math:`h`.
    At the end of a flow, ``Invert(Haar())`` makes series of coefficients. It has no parameters.
    Vectors of up to 128 coordinates are multiplied with the matrix, longer ones go through the levels at :math:`O(D)`.

    Args:
        dim: the axis that is transformed; None for the flattened event.
        flip: whether to reverse the vectors first, so that what stays as it is comes from their beginning.

    Raises:
        OptionTypeError: for a ``dim`` or ``flip`` of the wrong type.
        ShapeError: when bound to an event without that axis.

    Example:
        >>> Haar().bind((4,)).forward(torch.tensor([1.0, 1.0, 3.0, 3.0])).round(decimals=4).tolist()
        [4.0, -2.0, 0.0, 0.0]

    References:
        Zur Theorie der orthogonalen Funktionensysteme (Haar, 1910), https://doi.org/10.1007/BF01456326.
    """

    _: KW_ONLY
    flip: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        options.boolean("Haar", "flip", self.flip)

    def transform(self, x: torch.Tensor, *, inverse: bool) -> torch.Tensor:
        """Transforms vectors level by level."""
        if inverse:
            x = haar(x, inverse=True)
            return x.flip(-1) if self.flip else x
        return haar(x.flip(-1) if self.flip else x)

    @property
    def cost(self) -> str:
        """What the algorithm is and what it takes, in a few words."""
        return "about log2(D) levels at O(D) in all"

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = Haar({'reversed x' if self.flip else 'x'})."
