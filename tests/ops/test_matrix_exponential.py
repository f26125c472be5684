"""The exponential, Cayley's transform and bounded norms of matrices, against scipy and closed forms."""

from __future__ import annotations

import math

import pytest
import scipy.linalg
import torch

from flowtorch.errors import OptionError
from flowtorch.ops.matrix_exponential import bound_norm, cayley, matrix_exponential
from flowtorch.ops.packed import skew_symmetric

both_norms = pytest.mark.parametrize("spectral", [False, True])


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 30.0])
def test_exponential_is_that_of_scipy(scale: float) -> None:
    matrices = scale * draw(3, 5, 5)
    expected = torch.from_numpy(scipy.linalg.expm(matrices.numpy()))
    largest = expected.abs().amax((-2, -1), keepdim=True)
    torch.testing.assert_close(matrix_exponential(matrices) / largest, expected / largest, rtol=0.0, atol=1e-13)


def test_exponential_has_derivatives_of_second_order_at_zero_too() -> None:
    for matrix in (draw(2, 3, 3), torch.zeros(3, 3, dtype=torch.float64)):
        torch.autograd.gradcheck(matrix_exponential, matrix.requires_grad_())
        torch.autograd.gradgradcheck(matrix_exponential, matrix.requires_grad_())


@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])
def test_skew_symmetric_matrices_give_rotations(scale: float) -> None:
    skew, eye = skew_symmetric(scale * draw(2, 15), 6), torch.eye(6, dtype=torch.float64).expand(2, 6, 6)
    for rotation in (cayley(skew), matrix_exponential(skew)):
        torch.testing.assert_close(rotation @ rotation.mT, eye, rtol=0.0, atol=1e-12)
        torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(2, dtype=torch.float64))


def test_cayley_is_the_exponential_to_second_order() -> None:
    skew = skew_symmetric(draw(15), 6)
    errors = [(cayley(s * skew) - matrix_exponential(s * skew)).abs().max().item() for s in (1e-2, 1e-3)]
    assert errors[0] / errors[1] == pytest.approx(1000.0, rel=0.05)
    half = 0.5 * skew
    eye = torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(cayley(skew), torch.linalg.inv(eye - half) @ (eye + half), rtol=1e-12, atol=1e-12)
    torch.autograd.gradgradcheck(cayley, skew.requires_grad_())


def norm(matrix: torch.Tensor, spectral: bool) -> torch.Tensor:
    found: torch.Tensor = torch.linalg.matrix_norm(matrix.double(), 2 if spectral else "fro")
    return found


@both_norms
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_norms_stay_below_the_bound_and_small_ones_are_left_alone(spectral: bool, scale: float) -> None:
    matrix = draw(5, 5)
    matrix = (scale * matrix / norm(matrix, spectral)).float()
    bounded = bound_norm(matrix, 1.5, spectral=spectral)
    expected = {1e-30: 1e-30, 1.0: 1.5 * math.tanh(1.0 / 1.5), 1e30: 1.5}[scale]
    # The upper bound on the spectral norm is within 5^(1/256) of it.
    assert norm(bounded, spectral).item() == pytest.approx(expected, rel=7e-3 if spectral else 1e-6)
    assert norm(bounded, spectral) < 1.5 * (1.0 + 1e-6)
    torch.testing.assert_close((bounded / norm(bounded, spectral)).float(), matrix / scale)


@both_norms
def test_bound_is_smooth_at_zero_and_where_singular_values_are_equal(spectral: bool) -> None:
    for matrix in (torch.zeros(3, 3), torch.eye(3), 2.0 * skew_symmetric(torch.ones(1), 2)):
        point = matrix.double().requires_grad_()
        torch.autograd.gradcheck(lambda m: bound_norm(m, 1.5, spectral=spectral), point)
        torch.autograd.gradgradcheck(lambda m: bound_norm(m, 1.5, spectral=spectral), point)


def test_vmap_compilation_and_halves() -> None:
    matrices = draw(4, 3, 3)

    def everything(m: torch.Tensor) -> torch.Tensor:
        return matrix_exponential(bound_norm(m, 2.0, spectral=True)) + cayley(m)

    torch.testing.assert_close(torch.vmap(everything)(matrices), everything(matrices))
    torch.testing.assert_close(
        torch.compile(everything, fullgraph=True, backend="eager")(matrices), everything(matrices)
    )
    for half in (torch.float16, torch.bfloat16):
        small = 0.3 * matrices
        assert everything(small.to(half)).dtype == half
        torch.testing.assert_close(everything(small.to(half)).double(), everything(small), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan")])
def test_bound_is_positive(bound: float) -> None:
    with pytest.raises(OptionError, match="a positive bound is expected"):
        bound_norm(torch.eye(2), bound, spectral=False)
