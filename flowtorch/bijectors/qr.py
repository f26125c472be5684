"""A matrix by its QR decomposition."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import final

import torch

from .. import options
from ..ops.householder import householder
from ..ops.matrices import product, solve_triangular
from ..ops.packed import upper_triangular
from ..specification import register
from ..types import TensorPair
from .householder import draw_pairs, enough_for_rotations
from .linear import Linear
from .scaled import Scaled


@register
@final
@dataclass(frozen=True)
class QR(Scaled, Linear):
    r"""A matrix by its QR decomposition: a triangular map, then a rotation.

    .. math:: y = Q R x + b, \qquad Q = H_K \cdots H_1, \qquad \log|\det dy/dx| = \sum_{i=1}^D \log R_{ii}

    :math:`R` is upper triangular with a positive diagonal, made of unbounded numbers as the scales of
    :class:`Affine` are, and :math:`Q` a product of :class:`Householder` reflections; with their default number, any
    matrix of positive determinant (and diagonal of R within the bounds) is of this form. It starts as the identity
    (with ``scale_fn="sigmoid"``, as a multiple of it), or as a reflection where K is odd. Both directions take
    :math:`2 K D + D^2 / 2` multiplications for a vector; the inverse solves, and inverts no matrix.

    After 1,000 steps of Adam at 1e-2 towards correlated Gaussians the error of the inverse is below 1e-12 in float64
    and 1e-4 in float32, relative to the largest coordinate.

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        dim: the axis that the vectors lie along; None for the flattened event.
        bias: whether to add a shift :math:`b`, which starts at zero.
        scale_fn: how the diagonal is made positive: ``"softplus"``, ``"exp"`` or ``"sigmoid"``.
        clamp_values: clamps its logarithm hard; by default it is bounded smoothly.
        log_scale_min_clip: the bound of the logarithm from below, negative; ``-inf`` for none.
        log_scale_max_clip: the bound from above, positive; ``inf`` for none.
        sigmoid_bias: what is added under the sigmoid.
        count_transforms: the number K of reflections; None for as many as any rotation takes, D or, for an odd D,
            D - 1.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> bound = QR().bind((3,))
        >>> bound.inverse(bound.forward(torch.tensor([1.0, 2.0, 3.0]))).round(decimals=3)
        tensor([1., 2., 3.], grad_fn=<RoundBackward1>)

    References:
        Emerging Convolutions for Generative Normalizing Flows (Hoogeboom et al., 2019),
        https://arxiv.org/abs/1901.11137, on 1x1 convolutions by QR.
    """

    _: KW_ONLY
    count_transforms: int | None = None

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.count_transforms is not None:
            options.integer("QR", "count_transforms", self.count_transforms, minimum=1)
        super().__post_init__()

    def matrix_shapes(self, size: int) -> tuple[tuple[int, ...], ...]:
        """The reflections, and the triangle: its diagonal, then what is above."""
        return (enough_for_rotations(self.count_transforms, size), size), (size * (size + 1) // 2,)

    def matrix_start(self, size: int) -> tuple[torch.Tensor, ...]:
        """Reflections of which pairs cancel."""
        reflections, triangle = self.matrix_shapes(size)
        return draw_pairs(*reflections), torch.zeros(triangle)

    @property
    def matrix_count(self) -> str:
        """How many numbers make the matrix, as a formula in D."""
        count = "K D" if self.count_transforms is None else f"{self.count_transforms} D"
        return f"{count} + D (D + 1) / 2"

    def multiply(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], *, inverse: bool) -> TensorPair:
        """Multiplies by R, then by Q; solves in reverse order."""
        vectors, entries = params
        size = x.shape[-1]
        log_diagonal = self.log_scale(entries[..., :size])
        triangle = upper_triangular(torch.cat((torch.exp(log_diagonal), entries[..., size:]), -1), size)
        log_det = log_diagonal.sum(-1)
        if inverse:
            return solve_triangular(triangle, householder(x, vectors, inverse=True), upper=True), -log_det
        return householder(product(triangle, x), vectors), log_det

    def describe(self) -> str:
        """Returns the formula in one line."""
        count = "K = D, or D - 1 if D is odd," if self.count_transforms is None else f"K = {self.count_transforms}"
        return f"y = Q R x, Q a product of {count} reflections, R upper triangular with positive diagonal."
