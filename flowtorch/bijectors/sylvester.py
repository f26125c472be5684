"""Sylvester flows."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal, TypeAlias, final

import torch

from .. import options
from ..errors import OptionError, ShapeError
from ..ops.sylvester import sylvester
from ..specification import register
from ..types import Direction, TensorPair
from .vector import VectorMap

SylvesterKind: TypeAlias = Literal["householder", "orthogonal", "triangular"]

_KINDS = ("householder", "orthogonal", "triangular")


@register
@final
@dataclass(frozen=True)
class Sylvester(VectorMap):
    r"""A vector moves within a subspace by M coupled units of tanh: a planar flow is the case of M = 1.

    .. math::
        y = x + Q R \tanh(\tilde R Q^T x + b), \qquad
        \log|\det dy/dx| = \sum_{i=1}^M \log(1 + R_{ii} \tilde R_{ii} \tanh'(z_i)), \quad
        R_{ii} \tilde R_{ii} > -1

    with upper triangular :math:`R, \tilde R`, and orthonormal columns in Q, which depends on the kind:

    - ``"householder"``: the product of ``count_transforms`` reflections, M = D;
    - ``"orthogonal"``: any M = ``rank`` columns, the first of a product of M reflections;
    - ``"triangular"``: the identity, or the reversed order, M = D.

    The parameters are the normals of the reflections, the entries of R, of which the diagonal is made as
    :func:`flowtorch.ops.sylvester.sylvester` says, those of :math:`\tilde R`, and b. The log-determinant costs O(M).
    The inverse solves M equations in one dimension one after the other, exact to rounding; nothing bounds the slopes
    :math:`1 + r_{ii} \tilde r_{ii}`, and it loses the digits that steep or flat ones take. It starts as the identity,
    R = 0, with :math:`\tilde R = I`, and random b and reflections.

    Args:
        params_fn: where parameters come from, ``Tensor()`` or ``DenseNN()``; None for free parameters without a
            context, and a ``DenseNN`` of it with one.
        dim: the axis that the vectors lie along; None for the flattened event.
        kind: what Q is.
        count_transforms: how many reflections, with ``"householder"``; None for D // 2 + 1.
        rank: M, with ``"orthogonal"``; None for D.
        flip: with ``"triangular"``, whether coordinates are taken in reverse order: alternate it between layers.

    Raises:
        OptionError, OptionTypeError: for options out of range, or of another kind.
        ShapeError: when bound to vectors of fewer than ``rank`` coordinates.

    Example:
        >>> bound = Sylvester(kind="orthogonal", rank=2).bind((5,))
        >>> x = torch.randn(4, 5)
        >>> torch.allclose(bound.inverse(bound.forward(x)), x)
        True

    References:
        Sylvester Normalizing Flows for Variational Inference (van den Berg et al., 2018),
        https://arxiv.org/abs/1803.05649, eq. 7-15.
    """

    _: KW_ONLY
    kind: SylvesterKind = "householder"
    count_transforms: int | None = None
    rank: int | None = None
    flip: bool = False

    def __post_init__(self) -> None:
        """Checks the options."""
        super().__post_init__()
        options.one_of("Sylvester", "kind", self.kind, _KINDS)
        options.boolean("Sylvester", "flip", self.flip)
        for name, value in (("count_transforms", self.count_transforms), ("rank", self.rank)):
            if value is not None:
                options.integer("Sylvester", name, value, minimum=1)
        for name, kind, given in (
            ("count_transforms", "householder", self.count_transforms is not None),
            ("rank", "orthogonal", self.rank is not None),
            ("flip", "triangular", self.flip),
        ):
            if given and self.kind != kind:
                raise OptionError(
                    f"Sylvester: {name} is expected with kind={kind!r} only; got {getattr(self, name)} with "
                    f"kind={self.kind!r}."
                )

    @property
    def cheap(self) -> Direction:
        """The inverse solves one equation after the other."""
        return "forward"

    @property
    def parameter_count(self) -> str:
        """How many numbers drive a vector of D coordinates, as a formula."""
        if self.kind == "orthogonal":
            rank = self.rank or "D"
            return f"{rank} D + {rank} ({rank} + 2)"
        if self.kind == "triangular":
            return "D (D + 2)"
        return f"{self.count_transforms or '(D // 2 + 1)'} D + D (D + 2)"

    def param_shapes(self, size: int) -> tuple[tuple[int, ...], ...]:
        """The normals of reflections, if any, the two triangular matrices, and the bias."""
        reflections, rank = self._counts(size)
        if rank > size:
            raise ShapeError(f"Sylvester: vectors of at least rank={rank} coordinates are expected; got {size}.")
        triangle = rank * (rank + 1) // 2
        normals = ((reflections, size),) if reflections else ()
        return *normals, (triangle,), (triangle,), (rank,)

    def _counts(self, size: int) -> tuple[int, int]:
        """Returns the numbers of reflections and of units."""
        rank = self.rank or size
        if self.kind == "triangular" or size == 1:  # where a reflection is a sign, which the units have anyway
            return 0, rank
        return rank if self.kind == "orthogonal" else self.count_transforms or size // 2 + 1, rank

    def start(self, size: int) -> tuple[torch.Tensor, ...]:
        """Random units that do not move anything yet: were all zero, so would be the gradients."""
        *normals, outer, inner, bias = self.param_shapes(size)
        diagonal = (torch.arange(*inner) < bias[0]).to(torch.get_default_dtype())
        return *map(torch.randn, normals), torch.zeros(outer), diagonal, torch.randn(bias)

    def apply(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], *, inverse: bool) -> TensorPair:
        """Moves each vector."""
        *normals, outer, inner, bias = params
        return sylvester(x, normals[0] if normals else None, outer, inner, bias, flip=self.flip, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        what = {
            "householder": f"Q = {self.count_transforms or 'D // 2 + 1'} reflections, M = D",
            "orthogonal": f"Q = {self.rank or 'D'} orthonormal columns, M = {self.rank or 'D'}",
            "triangular": f"Q = {'the reversed order' if self.flip else 'I'}, M = D",
        }
        return f"y = x + Q R tanh(S Q^T x + b), R and S upper triangular, {what[self.kind]}; log-det at O(M)."
