"""Products and solutions with matrices, which all vectors share or each has of its own."""

from __future__ import annotations

import torch


def product(matrix: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Returns ``matrix @ x`` for vectors ``(*batch, columns)``: one product where the matrix has no batch."""
    if matrix.dim() == 2:
        return x @ matrix.mT
    if matrix.shape[-3] == 1:  # one matrix for all vectors along the last axis but one: not copied for each
        return x @ matrix.squeeze(-3).mT
    return (matrix @ x.unsqueeze(-1)).squeeze(-1)


def solve_triangular(
    matrix: torch.Tensor, x: torch.Tensor, *, upper: bool, unitriangular: bool = False
) -> torch.Tensor:
    """Returns ``matrix^-1 x`` for vectors ``(*batch, columns)`` and a triangular matrix, with a batch or without."""
    found: torch.Tensor
    if matrix.dim() == 2:
        columns = x.reshape(-1, x.shape[-1]).mT
        found = torch.linalg.solve_triangular(matrix, columns, upper=upper, unitriangular=unitriangular)
        return found.mT.reshape(x.shape)
    if matrix.shape[-3] == 1:
        rows = matrix.squeeze(-3).mT
        found = torch.linalg.solve_triangular(rows, x, upper=not upper, left=False, unitriangular=unitriangular)
        return found
    found = torch.linalg.solve_triangular(matrix, x.unsqueeze(-1), upper=upper, unitriangular=unitriangular)
    return found.squeeze(-1)
