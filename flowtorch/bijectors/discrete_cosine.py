"""The discrete cosine transform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from .. import options
from ..errors import OptionError
from ..ops.orthonormal import discrete_cosine
from ..specification import register
from .fixed_linear import Orthonormal

_LARGEST_LOG_WEIGHT = 80.0  # float32 ends at e^88


@register
@final
@dataclass(frozen=True)
class DiscreteCosine(Orthonormal):
    r"""The orthonormal discrete cosine transform of type II of each vector along an axis, weighted by frequency.

    .. math::
        y_k = w_k\, s_k \sum_{n=0}^{D-1} x_n \cos\frac{\pi (2n + 1) k}{2D}, \qquad
        w_k \propto (k + \tfrac12)^a, \quad \prod_k w_k = 1, \qquad \log|\det dy/dx| = 0

    with :math:`s_0 = \sqrt{1/D}`, :math:`s_k = \sqrt{2/D}` and :math:`a` = ``smooth``. It takes smooth series to few
    coefficients; at the end of a flow, ``Invert(DiscreteCosine())`` makes series of coefficients. It has no parameters.
    Vectors of up to 128 coordinates are multiplied with the matrix, longer ones go through a
    Fourier transform at :math:`O(D \log D)`.

    Args:
        smooth: :math:`a`: with 0, white noise is taken to white noise, with 1 Brownian noise, with -1 violet noise,
            but for what happens at the ends.
        dim: the axis that is transformed; None for the flattened event.

    Raises:
        OptionError, OptionTypeError: for a ``smooth`` that is no finite number, or whose weights leave float32.
        ShapeError: when bound to an event without that axis.

    Example:
        >>> DiscreteCosine().bind((4,)).forward(torch.ones(4)).round(decimals=4).tolist()
        [2.0, 0.0, 0.0, 0.0]

    References:
        Discrete Cosine Transform (Ahmed et al., 1974), https://doi.org/10.1109/T-C.1974.223784, eq. 1,
        up to scales.
    """

    smooth: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        options.number("DiscreteCosine", "smooth", self.smooth)

    def numbers(self, size: int) -> tuple[torch.Tensor, ...]:
        """The matrix, for small sizes, then the weights, if there are any."""
        matrix = super().numbers(size)
        if self.smooth == 0.0:
            return matrix
        log_frequencies = (torch.arange(size, dtype=torch.float64, device="cpu") + 0.5).log()
        log_weights = self.smooth * (log_frequencies - log_frequencies.mean())
        largest = float(log_weights.abs().max())
        if largest > _LARGEST_LOG_WEIGHT:
            raise OptionError(
                f"DiscreteCosine: a smooth with weights between e^-80 and e^80 is expected; got smooth={self.smooth} "
                f"for {size} coordinates, with weights of up to e^{largest:.0f}."
            )
        return (*matrix, log_weights.exp())

    def transform(self, x: torch.Tensor, *, inverse: bool) -> torch.Tensor:
        """Transforms vectors by a Fourier transform, without weights."""
        return discrete_cosine(x, inverse=inverse)

    def apply(self, x: torch.Tensor, numbers: tuple[torch.Tensor, ...], *, inverse: bool) -> torch.Tensor:
        """Transforms vectors."""
        if self.smooth == 0.0:
            return super().apply(x, numbers, inverse=inverse)
        *matrix, weights = numbers
        if inverse:
            return super().apply(x / weights, tuple(matrix), inverse=True)
        return weights * super().apply(x, tuple(matrix), inverse=False)

    @property
    def cost(self) -> str:
        """What the algorithm is and what it takes, in a few words."""
        return "a Fourier transform at O(D log D)"

    def describe(self) -> str:
        """Returns the formula in one line."""
        return (
            "y = DCT-II(x)."
            if self.smooth == 0.0
            else f"y_k = w_k DCT-II(x)_k, w_k proportional to (k + 1/2)^{self.smooth:g}, with product 1."
        )

    def explain(self) -> str:
        """Returns how it is structured, how many parameters it has and how gradients flow, in words."""
        if self.smooth == 0.0:
            return super().explain()
        return super().explain() + (
            f"\n  The weights, of product 1, are made of the fixed number smooth = {self.smooth:g}; they multiply "
            "gradients as well, before the transpose, and change their norm."
        )
