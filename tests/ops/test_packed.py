"""Matrices of a structure, from the numbers that are free in them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from flowtorch.errors import ShapeError
from flowtorch.ops.packed import skew_symmetric, upper_triangular

Packed = Callable[[torch.Tensor, int], torch.Tensor]
sizes = pytest.mark.parametrize("size", [1, 2, 3, 7])


@sizes
def test_upper_triangle_is_in_numpys_order(size: int) -> None:
    entries = torch.arange(1.0, size * (size + 1) // 2 + 1)
    expected = np.zeros((size, size), dtype=np.float32)
    expected[np.diag_indices(size)] = entries[:size].numpy()
    expected[np.triu_indices(size, k=1)] = entries[size:].numpy()
    assert torch.equal(upper_triangular(entries, size), torch.from_numpy(expected))


@sizes
def test_skew_symmetric_is_in_numpys_order(size: int) -> None:
    entries = torch.arange(1.0, max(1, size * (size - 1) // 2) + 1)
    above = np.zeros((size, size), dtype=np.float32)
    above[np.triu_indices(size, k=1)] = entries[: size * (size - 1) // 2].numpy()
    assert torch.equal(skew_symmetric(entries, size), torch.from_numpy(above - above.T))


@pytest.mark.parametrize(("op", "count"), [(upper_triangular, 6), (skew_symmetric, 3)])
def test_batches_and_derivatives(op: Packed, count: int) -> None:
    entries = torch.randn(2, 4, count, dtype=torch.float64, requires_grad=True)
    made = op(entries, 3)
    assert made.shape == (2, 4, 3, 3)
    assert torch.equal(made[1, 2], op(entries[1, 2], 3))
    assert torch.equal(torch.vmap(lambda e: op(e, 3))(entries[0]), made[0])
    torch.autograd.gradcheck(lambda e: op(e, 3), entries)


@pytest.mark.parametrize("op", [upper_triangular, skew_symmetric])
def test_another_number_of_entries_is_refused(op: Packed) -> None:
    with pytest.raises(ShapeError, match=r"entries on the last axis are expected; got \(5,\)"):
        op(torch.zeros(5), 3)
