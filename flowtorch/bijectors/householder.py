"""Householder reflections."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import final

import torch

from .. import options
from ..ops.householder import householder
from ..specification import register
from ..types import TensorPair
from .linear import Linear


@register
@final
@dataclass(frozen=True)
class Householder(Linear):
    r"""Reflections of a vector, one after the other: an orthogonal map.

    .. math:: y = H_K \cdots H_1 x + b, \qquad H_k = I - 2 \frac{v_k v_k^T}{|v_k|^2}, \qquad \log|\det dy/dx| = 0

    An even number of them makes a rotation, and D of them (D - 1 if D is odd) any rotation. Both directions take
    2 K D multiplications for a vector (and :math:`K^2 D` once for all where the vectors :math:`v_k` are free), and no
    D x D matrix is made. The vectors are drawn at binding, in equal pairs, each of which starts as the identity. Where
    K is odd, the last of them has no partner: it starts as a reflection, and an odd number always is one.

    Backwards a gradient goes through the same reflections in reverse, which keep its length. The length of a
    :math:`v_k` does not matter, so that its gradient is orthogonal to it. The inverse is exact to a few rounding
    errors, 1e-12 in float64, whatever the parameters. On one coordinate all this is the identity or a change of sign,
    and the parameters do nothing.

    Args:
        params_fn: where the vectors come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        dim: the axis that the reflected vectors lie along; None for the flattened event.
        bias: whether to add a shift :math:`b`, which starts at zero.
        count_transforms: K.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> x = torch.tensor([3.0, 4.0, 12.0])
        >>> y, log_det = Householder(count_transforms=3).bind((3,)).forward_and_log_det(x)
        >>> round(y.norm().item(), 4), log_det.item()
        (13.0, 0.0)

    References:
        Improving Variational Auto-Encoders using Householder Flow (Tomczak and Welling, 2016),
        https://arxiv.org/abs/1611.09630, on Householder flows.
    """

    _: KW_ONLY
    count_transforms: int = 1

    def __post_init__(self) -> None:
        """Checks the options."""
        options.integer("Householder", "count_transforms", self.count_transforms, minimum=1)
        super().__post_init__()

    def matrix_shapes(self, size: int) -> tuple[tuple[int, ...], ...]:
        """The vectors."""
        return ((self.count_transforms, size),)

    def matrix_start(self, size: int) -> tuple[torch.Tensor, ...]:
        """Equal pairs."""
        return (draw_pairs(self.count_transforms, size),)

    @property
    def matrix_count(self) -> str:
        """How many numbers make the matrix, as a formula in D."""
        return f"{self.count_transforms} D"

    def multiply(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], *, inverse: bool) -> TensorPair:
        """Reflects each vector."""
        return householder(x, *params, inverse=inverse), x.new_zeros(())

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = H_K ... H_1 x with H_k = I - 2 v_k v_k^T / |v_k|^2, which is orthogonal: its log-det is 0."

    def explain(self) -> str:
        """Returns what this plan does and where its parameters come from, in words."""
        return super().explain() + (
            f"\n  K = {self.count_transforms} reflections of D numbers each, 2 K D multiplications for a vector; no "
            "D x D matrix is made. Backwards, a gradient goes through the same reflections in reverse, which keep its "
            "length; that of v_k is orthogonal to v_k, of which only the direction matters."
        )


def draw_pairs(count: int, size: int) -> torch.Tensor:
    """Returns random vectors, each twice in a row: reflections of which pairs cancel; the last of an odd number not."""
    return torch.randn(count // 2 + count % 2, size).repeat_interleave(2, 0)[:count]


def enough_for_rotations(count: int | None, size: int) -> int:
    """Returns how many reflections are meant; by default, as many as any rotation of D coordinates takes."""
    return max(2, size - size % 2) if count is None else count
