"""Whitening: data is freed of its correlations by a matrix taken from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal, final

import torch
from typing_extensions import Self

from .. import options
from ..errors import DomainError, OptionError, ShapeError
from ..ops.matrices import product
from ..specification import register
from ..types import NestedLike, as_nested, flatten, nested_shape
from .axis import Axis, check_dim
from .fixed_linear import FixedLinear


@register
@final
@dataclass(frozen=True)
class Whiten(FixedLinear):
    r"""Restores the units and correlations of data: forward maps whitened values to data, the inverse whitens.

    .. math:: y = \mu + W z, \qquad \log|\det dy/dz| = \log|\det W|

    It is a part of the flow like any other and stands last, so that densities are in the units of the data. Its numbers
    are those of the plan, remade for each dtype; the inverse matrix and the log-determinant come from one singular
    value decomposition in float64. As the plan holds :math:`D^2` numbers, it is for up to about a thousand coordinates.

    Args:
        loc: :math:`\mu`, a number for each coordinate.
        matrix: :math:`W`, rows of numbers, invertible.
        dim: the axis that the vectors lie along, all moved by one matrix; None for the flattened event.

    Raises:
        OptionError, OptionTypeError: for numbers that are not finite or do not fit together, and a singular matrix.
        ShapeError: when bound to an event of another size, or without that axis.

    Example:
        >>> data = torch.randn(100, 3) @ torch.randn(3, 3)
        >>> z = Whiten.from_data(data).bind((3,)).inverse(data)
        >>> torch.allclose(z.T @ z / 100, torch.eye(3), atol=1e-4)
        True

    References:
        Optimal Whitening and Decorrelation (Kessy et al., 2018), https://arxiv.org/abs/1512.00809, for
        ``"pca"`` and ``"zca"``.
    """

    loc: NestedLike
    matrix: NestedLike
    _: KW_ONLY
    dim: int | None = None

    def __post_init__(self) -> None:
        """Stores numbers as tuples and checks them."""
        super().__post_init__()
        loc, matrix = as_nested(self.loc, "Whiten"), as_nested(self.matrix, "Whiten")
        object.__setattr__(self, "loc", loc)
        object.__setattr__(self, "matrix", matrix)
        size = nested_shape(loc)
        if len(size) != 1 or nested_shape(matrix) != size * 2:
            raise OptionError(
                "Whiten: a loc of shape (D,) and a matrix of shape (D, D) are expected; got shapes "
                f"{size} and {nested_shape(matrix)}."
            )
        if not all(math.isfinite(v) for v in (*flatten(loc), *flatten(matrix))):
            raise OptionError("Whiten: finite numbers are expected in loc and matrix; got some that are not.")
        _, scales, _, _ = self._decomposed()
        rank = int((scales > len(scales) * torch.finfo(scales.dtype).eps * scales[0]).sum())
        if rank < len(scales):
            raise OptionError(f"Whiten: an invertible matrix is expected; got one of rank {rank} of {len(scales)}.")

    def _decomposed(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns U, s, V^T of the matrix with its rows divided by their norms, and the norms: units do not matter."""
        matrix = torch.tensor(self.matrix, dtype=torch.float64, device="cpu")
        norms = torch.linalg.vector_norm(matrix, dim=1)
        return *torch.linalg.svd(matrix / norms.where(norms > 0.0, 1.0).unsqueeze(1)), norms

    def numbers(self, size: int) -> tuple[torch.Tensor, ...]:
        """Location, matrix and inverse matrix."""
        loc, matrix = (torch.tensor(v, dtype=torch.float64, device="cpu") for v in (self.loc, self.matrix))
        if len(loc) != size:
            raise ShapeError(f"Whiten: vectors of {len(loc)} coordinates are expected; got {size}.")
        u, scales, v, norms = self._decomposed()
        return loc, matrix, (v.mT / scales) @ u.mT / norms

    def log_det(self, size: int) -> float:
        """The sum of the logarithms of the singular values."""
        _, scales, _, norms = self._decomposed()
        return float(scales.log().sum() + norms.log().sum())

    def apply(self, x: torch.Tensor, numbers: tuple[torch.Tensor, ...], *, inverse: bool) -> torch.Tensor:
        """Moves vectors."""
        loc, matrix, inverse_matrix = numbers
        return product(inverse_matrix, x - loc) if inverse else loc + product(matrix, x)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = loc + W z, which restores the units and correlations of data."

    def explain(self) -> str:
        """Returns what this plan does, in words."""
        return super().explain() + "\n  It has no parameters: D + D^2 numbers are given, or taken from data."

    @classmethod
    def from_data(
        cls,
        data: torch.Tensor,
        *,
        method: Literal["pca", "zca", "cholesky"] = "pca",
        shrinkage: float = 0.0,
        dim: int | None = None,
        names: Sequence[str] | None = None,
    ) -> Self:
        r"""Takes the mean and a square root :math:`W W^\top = C` of the covariance from rows of data.

        Args:
            data: ``(rows, *event)``.
            method: ``"pca"`` for :math:`W = V \Lambda^{1/2}` of the eigenvectors and eigenvalues of :math:`C`, largest
                first, so that whitened coordinates are principal components; ``"zca"`` for
                :math:`V \Lambda^{1/2} V^\top`, with which they stay closest to the centred data; ``"cholesky"``
                for the lower triangle, with which coordinate i depends on the first i.
            shrinkage: the share by which correlations are reduced, from 0 up to and without 1; above 0, columns may
                be linear combinations of others.
            dim: the axis that the vectors lie along: then data from all positions count as rows.
            names: what to call the columns in a message.

        Raises:
            OptionError, OptionTypeError: for options out of range.
            ShapeError: if there are no rows.
            DomainError: if a value is not finite, a column has no spread or, up to the rounding of the data, is a
                linear combination of those before it; it names the columns.
        """
        options.one_of("Whiten", "method", method, ("pca", "zca", "cholesky"))
        options.number("Whiten", "shrinkage", shrinkage, below=1.0)
        if shrinkage < 0.0:
            raise OptionError(f"Whiten: shrinkage is expected to lie in [0, 1); got {shrinkage}.")
        check_dim("Whiten", dim)
        if not isinstance(data, torch.Tensor) or data.dim() < 2 or data.numel() == 0:
            raise ShapeError(f"Whiten: data of shape (rows, *event) is expected; got {options.short(data)}.")
        axis = Axis(data.shape[1:], dim, "Whiten")
        if names is not None and len(names) != axis.size:
            raise ShapeError(f"Whiten: names for {axis.size} columns are expected; got {len(names)}.")
        precision = torch.finfo(data.dtype if data.is_floating_point() else torch.float64).eps
        rows = axis.split(data.detach().to("cpu", torch.float64)).movedim(-axis.ndim, -1).reshape(-1, axis.size)
        _refuse_columns((~rows.isfinite()).any(0), "finite values are expected; got others in", names)
        flat = rows.amax(0) == rows.amin(0)  # the rounding of a mean leaves a constant column a spread of its own
        _refuse_columns(flat, "columns with spread are expected; got zero spread in", names)
        loc = rows.mean(0)
        scale = (rows - loc).square().mean(0).sqrt()
        root = _root_of_correlations((rows - loc) / scale, shrinkage)
        rounding = (8.0 * math.sqrt(axis.size) * precision * rows.abs().amax(0) / scale).clamp_max(1e-3)
        dependent = _dependent(root, rounding)
        expected = f"full rank or shrinkage above 0 is expected; got rank {int((~dependent).sum())} of {axis.size}"
        _refuse_columns(dependent, f"{expected} and linear combinations of the columns before in", names)
        return cls(loc, _factor(root * scale, method), dim=dim)


def _root_of_correlations(standardised: torch.Tensor, shrinkage: float) -> torch.Tensor:
    """Returns an upper triangular R, where R^T R are the correlations, without squaring what is small in them."""
    rows, columns = standardised.shape
    if shrinkage > 0.0:  # as if there were further rows, one for each column
        further = math.sqrt(shrinkage * rows) * torch.eye(columns, dtype=torch.float64, device="cpu")
        standardised = torch.cat([math.sqrt(1.0 - shrinkage) * standardised, further])
    root: torch.Tensor = torch.linalg.qr(standardised, mode="r").R
    return root / math.sqrt(rows)


def _dependent(root: torch.Tensor, tolerances: torch.Tensor) -> torch.Tensor:
    """Returns which columns of unit length are within their tolerance of a combination of those before them."""
    basis = root.new_empty(0, root.shape[0])
    found = []
    for column, tolerance in zip(root.mT, tolerances.tolist(), strict=True):
        rest = column - basis.mT @ (basis @ column)
        rest = rest - basis.mT @ (basis @ rest)  # twice: the first leaves rounding
        length = float(torch.linalg.vector_norm(rest))
        found.append(length <= tolerance)
        if not found[-1]:
            basis = torch.cat([basis, (rest / length).unsqueeze(0)])
    return torch.tensor(found, device="cpu")


def _factor(root: torch.Tensor, method: str) -> torch.Tensor:
    """Returns W, where W W^T is R^T R, for an upper triangular R."""
    if method == "cholesky":
        return (root * root.diagonal().sign().unsqueeze(1)).mT
    found = torch.linalg.svd(root)
    scales: torch.Tensor = found.S
    v: torch.Tensor = found.Vh  # components as rows
    if method == "zca":
        return (v.mT * scales) @ v
    largest = v.gather(1, v.abs().argmax(1, keepdim=True))  # of each component: positive, so that signs are settled
    return (v * largest.sign()).mT * scales


def _refuse_columns(bad: torch.Tensor, words: str, names: Sequence[str] | None) -> None:
    where = [i for i, b in enumerate(bad.tolist()) if b]
    if where:
        called = [f"column {i}" if names is None else f"column {names[i]!r}" for i in where[:5]]
        more = f" and {len(where) - 5} more" if len(where) > 5 else ""
        raise DomainError(f"Whiten: {words} {', '.join(called)}{more}.")
