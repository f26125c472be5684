"""Diagonal matrices plus ones of low rank."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import final

import torch

from .. import options
from ..errors import ShapeError
from ..ops.householder import householder
from ..ops.matrices import product, solve_triangular
from ..specification import register
from ..types import TensorPair
from .linear import Linear
from .scaled import Scaled


@register
@final
@dataclass(frozen=True)
class DiagonalPlusLowRank(Scaled, Linear):
    r"""A diagonal matrix plus one of low rank, of positive determinant by construction.

    .. math:: y = D_s (I + A B^T) x + b, \qquad \log|\det dy/dx| = \sum_{i=1}^D \log s_i + \log\det C, \qquad
              (I + A B^T)^{-1} = I - A C^{-1} B^T

    with :math:`A, B` of r columns and the r x r matrix :math:`C = I + B^T A`, which decides on everything (the
    formula of Woodbury and the matrix determinant lemma). So C is a parameter and B is not: for columns A that are
    orthonormal (any update has such) and any :math:`B_0`, :math:`B = (I - A A^T) B_0 + A (C - I)^T` has that C.
    With A turned onto the first r axes by r :class:`Householder` reflections, :math:`I + A B^T` is

    .. math:: \begin{pmatrix} C & E \\ 0 & I \end{pmatrix}, \qquad C = L (T + \operatorname{diag} c),

    C a unit lower triangle times an upper one with a positive diagonal, and E any matrix. Both directions take about
    5 r D multiplications for a vector, log-dets D + r additions, and no D x D matrix is made. The scales s and c are
    made of unbounded numbers as those of :class:`Affine`. A starts at random, all else so that the map is the identity
    (with ``scale_fn="sigmoid"``, near it); A = B = 0 would be a saddle.

    After 1,000 steps of Adam at 1e-2 towards correlated Gaussians the error of the inverse is below 1e-12 in float64
    and 1e-4 in float32, relative to the largest coordinate.

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        dim: the axis that the vectors lie along; None for the flattened event.
        bias: whether to add a shift :math:`b`, which starts at zero.
        scale_fn: how the scales are made positive: ``"softplus"``, ``"exp"`` or ``"sigmoid"``.
        clamp_values: clamps their logarithms hard; by default these are bounded smoothly.
        log_scale_min_clip: the bound of the logarithms from below, negative; ``-inf`` for none.
        log_scale_max_clip: the bound from above, positive; ``inf`` for none.
        sigmoid_bias: what is added under the sigmoid.
        rank: the rank r, at most D.

    Raises:
        OptionError, OptionTypeError: for options out of range.
        ShapeError: when bound to vectors of fewer coordinates than the rank.

    Example:
        >>> bound = DiagonalPlusLowRank(rank=2).bind((100,))
        >>> sum(p.numel() for p in bound.parameters())
        500

    References:
        The Matrix Cookbook (Petersen and Pedersen, 2012), https://www2.imm.dtu.dk/pubdb/pubs/3274-full.html, on the
        identity of Woodbury.
    """

    _: KW_ONLY
    rank: int = 1

    def __post_init__(self) -> None:
        """Checks the options."""
        options.integer("DiagonalPlusLowRank", "rank", self.rank, minimum=1)
        super().__post_init__()

    def matrix_shapes(self, size: int) -> tuple[tuple[int, ...], ...]:
        """The reflections, C beside E, and the diagonal."""
        if self.rank > size:
            raise ShapeError(
                f"DiagonalPlusLowRank: vectors of at least rank={self.rank} coordinates are expected; got {size}."
            )
        return (self.rank, size), (self.rank, size), (size,)

    def matrix_start(self, size: int) -> tuple[torch.Tensor, ...]:
        """A at random."""
        reflections, *others = self.matrix_shapes(size)
        return torch.randn(reflections), *map(torch.zeros, others)

    @property
    def matrix_count(self) -> str:
        """How many numbers make the matrix, as a formula in D."""
        return f"{2 * self.rank + 1} D"

    def multiply(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], *, inverse: bool) -> TensorPair:
        """Multiplies, or goes back by Woodbury's formula."""
        vectors, rows, raw = params
        square, across = rows[..., : self.rank], rows[..., self.rank :]
        log_scales = self.log_scale(torch.cat((square.diagonal(dim1=-2, dim2=-1), raw), -1))
        log_c, log_s = log_scales[..., : self.rank], log_scales[..., self.rank :]
        upper = square.triu(1) + torch.diag_embed(torch.exp(log_c))
        lower = square.tril(-1) + torch.eye(self.rank, dtype=square.dtype, device=square.device)
        log_det = log_scales.sum(-1)
        turned = householder(x * torch.exp(-log_s) if inverse else x, vectors)
        head, tail = turned[..., : self.rank], turned[..., self.rank :]
        if inverse:
            head = solve_triangular(lower, head - product(across, tail), upper=False, unitriangular=True)
            head = solve_triangular(upper, head, upper=True)
            return householder(torch.cat((head, tail), -1), vectors, inverse=True), -log_det
        head = product(lower, product(upper, head)) + product(across, tail)
        return householder(torch.cat((head, tail), -1), vectors, inverse=True) * torch.exp(log_s), log_det

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = D (I + A B^T) x, D a positive diagonal, A B^T of rank {self.rank}, det(I + B^T A) > 0 given."
