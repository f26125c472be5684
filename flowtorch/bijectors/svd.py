"""A matrix by its singular value decomposition."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import final

import torch

from .. import options
from ..ops.householder import householder
from ..specification import register
from ..types import TensorPair
from .householder import enough_for_rotations
from .linear import Linear
from .scaled import Scaled


@register
@final
@dataclass(frozen=True)
class SVD(Scaled, Linear):
    r"""A matrix by its singular value decomposition: scales between two rotations.

    .. math:: y = U S V^T x + b, \quad U = H_K \cdots H_1, \quad V = H'_K \cdots H'_1, \qquad
              \log|\det dy/dx| = \sum_{i=1}^D \log s_i

    :math:`S` is diagonal and positive, made of unbounded numbers as the scales of :class:`Affine` are, and bounded
    with them: so is the condition number, by :math:`e^8` by default, and the inverse is exact to 1e-11 in float64,
    relative to the largest coordinate, whatever the parameters. U and V are products of :class:`Householder`
    reflections; with their default number any matrix of positive determinant (and singular values within the bounds)
    is of this form. Both directions take 4 K D multiplications for a vector, and no D x D matrix is made.

    U and V start equal, and drawn, so that all is the identity (with ``scale_fn="sigmoid"``, a multiple of it). If
    both were the identity, it would be a saddle: moving either one first leaves :math:`U V^T` a rotation, which
    teaches nothing on correlations, and the scales move along the axes only.

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        dim: the axis that the vectors lie along; None for the flattened event.
        bias: whether to add a shift :math:`b`, which starts at zero.
        scale_fn: how the singular values are made positive: ``"softplus"``, ``"exp"`` or ``"sigmoid"``.
        clamp_values: clamps their logarithms hard; by default these are bounded smoothly.
        log_scale_min_clip: the bound of the logarithms from below, negative; ``-inf`` for none.
        log_scale_max_clip: the bound from above, positive; ``inf`` for none.
        sigmoid_bias: what is added under the sigmoid.
        count_transforms: the number K of reflections in each of U and V; None for as many as any rotation takes, D or,
            for an odd D, D - 1.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> bound = SVD(count_transforms=2).bind((3,))
        >>> bound.forward(torch.tensor([1.0, 2.0, 3.0])).round(decimals=3)
        tensor([1., 2., 3.], grad_fn=<RoundBackward1>)

    References:
        Stabilizing Gradients for Deep Neural Networks via Efficient SVD Parameterization (Zhang et al., 2018),
        https://arxiv.org/abs/1803.09327.
    """

    _: KW_ONLY
    count_transforms: int | None = None

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.count_transforms is not None:
            options.integer("SVD", "count_transforms", self.count_transforms, minimum=1)
        super().__post_init__()

    def matrix_shapes(self, size: int) -> tuple[tuple[int, ...], ...]:
        """The reflections of U, the scales, the reflections of V."""
        reflections = enough_for_rotations(self.count_transforms, size), size
        return reflections, (size,), reflections

    def matrix_start(self, size: int) -> tuple[torch.Tensor, ...]:
        """Equal rotations."""
        vectors = torch.randn(self.matrix_shapes(size)[0])
        return vectors, torch.zeros(size), vectors.clone()

    @property
    def matrix_count(self) -> str:
        """How many numbers make the matrix, as a formula in D."""
        return f"2 {'K' if self.count_transforms is None else self.count_transforms} D + D"

    def multiply(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], *, inverse: bool) -> TensorPair:
        """Rotates, scales and rotates."""
        left, raw, right = params
        log_scale = self.log_scale(raw)
        if inverse:
            left, right, log_scale = right, left, -log_scale
        return householder(torch.exp(log_scale) * householder(x, right, inverse=True), left), log_scale.sum(-1)

    def describe(self) -> str:
        """Returns the formula in one line."""
        count = "K = D, or D - 1 if D is odd," if self.count_transforms is None else f"K = {self.count_transforms}"
        return f"y = U S V^T x, S a positive diagonal, U and V products of {count} reflections each."
