"""Reflections, against the matrices that they stand for."""

from __future__ import annotations

import pytest
import torch

from flowtorch.errors import ShapeError
from flowtorch.ops.householder import householder

both_ways = pytest.mark.parametrize("inverse", [False, True])


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def matrix(vectors: torch.Tensor) -> torch.Tensor:
    """H_K ... H_1, multiplied out."""
    eye = torch.eye(vectors.shape[-1], dtype=vectors.dtype)
    product = eye
    for v in vectors:
        product = (eye - 2.0 * torch.outer(v, v) / v.dot(v)) @ product
    return product


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_shared_vectors_reflect_in_order(count: int) -> None:
    x, vectors = draw(2, 3, 6), draw(count, 6, seed=1)
    y = householder(x, vectors)
    torch.testing.assert_close(y, x @ matrix(vectors).mT, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(householder(y, vectors, inverse=True), x, rtol=1e-13, atol=1e-13)


@both_ways
def test_vectors_of_each_point_broadcast_with_the_points(inverse: bool) -> None:
    x, vectors = draw(4, 5), draw(3, 1, 2, 5, seed=1)
    y = householder(x, vectors, inverse=inverse)
    assert y.shape == (3, 4, 5)
    for i in range(3):
        torch.testing.assert_close(y[i], householder(x, vectors[i, 0], inverse=inverse), rtol=1e-13, atol=1e-13)


@both_ways
def test_derivatives_of_first_and_second_order(inverse: bool) -> None:
    for vectors in (draw(3, 4, seed=1), draw(2, 3, 4, seed=1)):
        arguments = draw(2, 4).requires_grad_(), vectors.requires_grad_()
        torch.autograd.gradcheck(lambda x, v: householder(x, v, inverse=inverse), arguments)
        torch.autograd.gradgradcheck(lambda x, v: householder(x, v, inverse=inverse), arguments)


def test_vmap_over_vectors() -> None:
    x, vectors = draw(7, 4), draw(7, 3, 4, seed=1)
    torch.testing.assert_close(torch.vmap(householder)(x, vectors), householder(x, vectors), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("scale", [1e-18, 1e-6, 1e18, 1e37])
def test_only_directions_matter(scale: float) -> None:
    x, vectors = draw(5, 4).float(), draw(3, 4, seed=1).float()
    torch.testing.assert_close(householder(x, scale * vectors), householder(x, vectors))


@pytest.mark.parametrize("vectors", [torch.zeros(1, 3), torch.full((1, 3), 1e-30), torch.zeros(5, 1, 3)])
def test_zero_stands_for_the_first_axis_and_has_no_gradient(vectors: torch.Tensor) -> None:
    x, vectors = torch.arange(1.0, 16.0).reshape(5, 3), vectors.clone().requires_grad_()
    y = householder(x, vectors)
    torch.testing.assert_close(y, x * torch.tensor([-1.0, 1.0, 1.0]))
    (gradient,) = torch.autograd.grad(y.square().sin().sum(), vectors)
    assert not gradient.any()


def test_near_zero_gradients_are_large_and_finite() -> None:
    vectors = (1e-17 * draw(2, 3).float()).requires_grad_()
    (gradient,) = torch.autograd.grad(householder(torch.ones(3), vectors)[0], vectors)
    assert gradient.isfinite().all() and gradient.abs().max() > 1e15


def test_gradient_is_orthogonal_to_its_vector() -> None:
    vectors = draw(4, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(householder(draw(6, 5), vectors).sin().sum(), vectors)
    assert gradient.abs().max() > 0.1
    torch.testing.assert_close((gradient * vectors).sum(-1), torch.zeros(4, dtype=torch.float64), rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("size", [16, 128])
def test_many_reflections_stay_orthogonal(size: int) -> None:
    eye = torch.eye(size, dtype=torch.float64)
    near = draw(1, size) + 1e-9 * draw(size, size, seed=1)  # hard for methods that orthogonalise
    for vectors in (draw(2 * size, size), near):
        rotated = householder(eye, vectors)
        torch.testing.assert_close(rotated @ rotated.mT, eye, rtol=0.0, atol=1e-12)
        torch.testing.assert_close(rotated, matrix(vectors).mT, rtol=0.0, atol=1e-12)


@both_ways
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_computed_in_single_precision(dtype: torch.dtype, inverse: bool) -> None:
    x, vectors = draw(5, 4).to(dtype), draw(6, 4, seed=1).to(dtype)
    for v in (vectors, vectors.expand(5, 6, 4)):
        y = householder(x, v, inverse=inverse)
        assert y.dtype == dtype
        assert torch.equal(y, householder(x.float(), v.float(), inverse=inverse).to(dtype))


def test_empty_batches_and_compilation() -> None:
    assert householder(draw(0, 3), draw(2, 3)).shape == (0, 3)
    compiled = torch.compile(householder, fullgraph=True, backend="eager")
    for vectors in (draw(2, 3, seed=1), draw(4, 2, 3, seed=1)):
        torch.testing.assert_close(compiled(draw(4, 3), vectors), householder(draw(4, 3), vectors))


@pytest.mark.parametrize(("x", "vectors"), [((4,), (2, 3)), ((3,), (3,)), ((), (2, 3))])
def test_shapes_that_do_not_fit(x: tuple[int, ...], vectors: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"vectors \(\*batch, K, D\) are expected"):
        householder(torch.zeros(x), torch.zeros(vectors))
