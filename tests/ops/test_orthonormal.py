"""Orthonormal transforms: against scipy's, and against their matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.fft
import torch

from flowtorch.ops.orthonormal import discrete_cosine, haar

SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 33, 100, 257]


def draw(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_discrete_cosine_is_that_of_scipy(size: int, dtype: torch.dtype) -> None:
    x = draw(2, 3, size, dtype=dtype)
    limit = 30 * torch.finfo(dtype).eps
    for inverse, theirs in ((False, scipy.fft.dct), (True, scipy.fft.idct)):
        expected = theirs(x.double().numpy(), norm="ortho", axis=-1)
        got = discrete_cosine(x, inverse=inverse)
        assert got.dtype == dtype and got.shape == x.shape
        np.testing.assert_allclose(got.numpy(), expected, rtol=limit, atol=limit)


def haar_matrix(levels: int) -> np.ndarray:
    """The textbook recursion by Kronecker products, for powers of two."""
    if levels == 0:
        return np.ones((1, 1))
    coarse = np.kron(haar_matrix(levels - 1), [1.0, 1.0])
    fine = np.kron(np.eye(2 ** (levels - 1)), [1.0, -1.0])
    return np.vstack([coarse, fine]) / math.sqrt(2.0)


@pytest.mark.parametrize("levels", range(6))
def test_haar_is_the_recursion_of_the_textbooks(levels: int) -> None:
    x, matrix = draw(3, 2**levels), haar_matrix(levels)
    np.testing.assert_allclose(haar(x).numpy(), x.numpy() @ matrix.T, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(haar(x, inverse=True).numpy(), x.numpy() @ matrix, rtol=1e-13, atol=1e-13)


def test_haar_of_an_odd_length_keeps_the_last_coordinate_of_each_level() -> None:
    s = math.sqrt(2.0)
    got = haar(torch.tensor([1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0], dtype=torch.float64))
    # Sums (3, 8, 21) / s and differences (-1, -2, -5) / s, the 21 kept; of the sums the same again.
    low = [(3 + 8) / s / s, (3 - 8) / s / s, 21 / s]
    torch.testing.assert_close(got, torch.tensor([*low, -1 / s, -2 / s, -5 / s, 21.0], dtype=torch.float64))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("transform", [discrete_cosine, haar])
def test_inverse_is_the_transpose(size: int, transform: object) -> None:
    assert callable(transform)
    rows = torch.eye(size, dtype=torch.float64)
    matrix = transform(rows).mT
    torch.testing.assert_close(matrix @ matrix.mT, rows, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(transform(rows, inverse=True), matrix, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("size", [1, 2, 5, 6])
@pytest.mark.parametrize("transform", [discrete_cosine, haar])
def test_gradients_of_first_and_second_order(transform: object, size: int, inverse: bool) -> None:
    assert callable(transform)
    x = draw(2, size).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: transform(v, inverse=inverse), x)
    assert torch.autograd.gradgradcheck(lambda v: transform(v, inverse=inverse).sin(), x)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("transform", [discrete_cosine, haar])
def test_empty_batches_stay_empty(transform: object, inverse: bool) -> None:
    assert callable(transform)
    assert transform(torch.empty(0, 3, 5), inverse=inverse).shape == (0, 3, 5)
