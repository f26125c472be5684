"""Matrices of a structure, from the numbers that are free in them."""

from __future__ import annotations

import torch

from ..errors import ShapeError


def upper_triangular(entries: torch.Tensor, size: int) -> torch.Tensor:
    r"""Returns an upper triangular matrix.

    .. math:: R_{ii} = e_i, \qquad R_{01}, R_{02}, \ldots, R_{12}, \ldots = e_D, e_{D+1}, \ldots

    Shapes: ``(*batch, D (D + 1) / 2)`` gives ``(*batch, D, D)``.

    Args:
        entries: The diagonal, then what is above it, row by row.
        size: D.

    Returns:
        The matrix.

    Raises:
        ShapeError: For another number of entries.

    Example:
        >>> upper_triangular(torch.tensor([1.0, 2.0, 3.0]), 2)
        tensor([[1., 3.],
                [0., 2.]])
    """
    _check("upper_triangular", entries, size * (size + 1) // 2)
    return entries[..., _positions(size, size, entries.device)].triu()


def skew_symmetric(entries: torch.Tensor, size: int) -> torch.Tensor:
    r"""Returns a skew-symmetric matrix, :math:`S^T = -S`.

    .. math:: S_{01}, S_{02}, \ldots, S_{12}, \ldots = e_0, e_1, \ldots

    Shapes: ``(*batch, D (D - 1) / 2)`` gives ``(*batch, D, D)``.

    Args:
        entries: What is above the diagonal, row by row; for D = 1 a single number, which is not used.
        size: D.

    Returns:
        The matrix.

    Raises:
        ShapeError: For another number of entries.

    Example:
        >>> skew_symmetric(torch.tensor([1.0]), 2)
        tensor([[ 0.,  1.],
                [-1.,  0.]])
    """
    _check("skew_symmetric", entries, max(1, size * (size - 1) // 2))
    above = entries[..., _positions(size, 0, entries.device)].triu(1)
    return above - above.mT


def _positions(size: int, first: int, device: torch.device) -> torch.Tensor:
    """Returns where entries above the diagonal stand, ``first`` being the first; on and below it, the row's number."""
    row, column = torch.arange(size, device=device).unsqueeze(1), torch.arange(size, device=device)
    above = first + row * (2 * size - row - 1) // 2 + column - row - 1
    return torch.where(column > row, above, row if first else torch.zeros_like(row))


def _check(who: str, entries: torch.Tensor, count: int) -> None:
    if entries.dim() < 1 or entries.shape[-1] != count:
        raise ShapeError(f"{who}: {count} entries on the last axis are expected; got {tuple(entries.shape)}.")
