"""Lipschitz networks: bounds that hold for all weights and are close, slopes, and products with Jacobians."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from flowtorch.nn.lipschitz import ACTIVATIONS, LipschitzConvolution, LipschitzDense, LipschitzNetwork, activate, slope
from flowtorch.ops.spectral_bound import convolution_bound, spectral_bound
from flowtorch.testing import perturb


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def norm(matrix: torch.Tensor) -> torch.Tensor:
    return torch.linalg.matrix_norm(matrix, ord=2)


def matrix_of(weight: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The matrix of a convolution of images with zeros around them."""
    inputs = weight.shape[1] * height * width
    basis = torch.eye(inputs, dtype=weight.dtype).reshape(inputs, weight.shape[1], height, width)
    return F.conv2d(basis, weight, padding=weight.shape[-1] // 2).flatten(1).T


# Matrices -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 7), (7, 2), (40, 30), (5, 4, 6)], ids=str)
def test_the_bound_holds_and_is_close(shape: tuple[int, ...]) -> None:
    matrix = draw(*shape)
    bound, exact = spectral_bound(matrix), norm(matrix)
    assert bound.shape == shape[:-2]
    assert bool((bound >= exact * (1.0 - 1e-14)).all()) and bool((bound <= 1.01 * exact).all())


@pytest.mark.parametrize("squarings", [0, 1, 3, 6])
def test_where_all_singular_values_are_equal_it_is_as_far_off_as_stated(squarings: int) -> None:
    rows = 16
    orthogonal = torch.linalg.qr(draw(rows, rows)).Q
    expected = torch.tensor(rows**0.5 ** (squarings + 2), dtype=torch.float64)
    torch.testing.assert_close(spectral_bound(orthogonal, squarings), expected)


def test_of_one_singular_value_it_is_exact_and_of_complex_matrices_it_holds() -> None:
    column, row = draw(5), draw(3, seed=1)
    torch.testing.assert_close(spectral_bound(torch.outer(column, row)), column.norm() * row.norm())
    matrix = torch.complex(draw(2, 5, 6), draw(2, 5, 6, seed=1))
    ratio = spectral_bound(matrix) / norm(matrix)
    assert bool((ratio >= 1.0 - 1e-14).all()) and bool((ratio < 1.01).all())


@pytest.mark.parametrize("scale", [1e-30, 1e-16, 1e16])
def test_scales_do_not_matter_in_float32(scale: float) -> None:
    matrix = draw(20, 30).float()
    bound, exact = spectral_bound(scale * matrix), scale * norm(matrix)
    # Squares of 1e-30 are below the range of float32: there the bound holds, and is no longer close.
    assert bound >= exact * (1.0 - 1e-5) and (scale < 1e-18 or bound <= 1.01 * exact)


def test_a_matrix_of_zeros_has_a_small_bound_and_finite_gradients() -> None:
    matrix = torch.zeros(4, 3, requires_grad=True)
    bound = spectral_bound(matrix)
    bound.backward()
    assert bound < 1e-8 and matrix.grad is not None and not matrix.grad.any()


def test_its_gradient_is_close_to_that_of_the_norm_and_differentiable() -> None:
    matrix = draw(6, 5).requires_grad_()
    (got,) = torch.autograd.grad(spectral_bound(matrix, 14), matrix)
    u, _, v = torch.linalg.svd(matrix.detach())
    torch.testing.assert_close(got, torch.outer(u[:, 0], v[0]), rtol=1e-6, atol=1e-6)
    assert torch.autograd.gradcheck(spectral_bound, (matrix,))
    # Equal singular values, at which those of a decomposition are not finite.
    assert torch.autograd.gradgradcheck(spectral_bound, (torch.eye(3, dtype=torch.float64).requires_grad_(),))


def test_half_precision_is_computed_in_single() -> None:
    matrix = draw(20, 30)
    for dtype in (torch.float16, torch.bfloat16):
        bound = spectral_bound(matrix.to(dtype))
        assert bound.dtype == torch.float32
        torch.testing.assert_close(bound, spectral_bound(matrix.to(dtype).float()))


# Convolutions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("image", [(1, 1), (2, 9), (7, 4), (12, 12)], ids=str)
def test_the_bound_of_a_convolution_holds_for_images_of_every_size(size: int, image: tuple[int, int]) -> None:
    for seed in range(3):
        weight = draw(3, 2, size, size, seed=seed)
        assert convolution_bound(weight) >= (1.0 - 1e-12) * norm(matrix_of(weight, *image))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_the_bound_of_a_convolution_is_close_to_the_largest_over_all_frequencies(size: int) -> None:
    weight = draw(3, 2, size, size)
    largest = norm(torch.fft.fft2(weight, s=(256, 256)).movedim((0, 1), (-2, -1))).max()
    assert (1.0 - 1e-12) * largest <= convolution_bound(weight) <= 1.05 * largest


def test_frequencies_between_the_samples_are_within_the_bound() -> None:
    """A kernel that is largest half-way between two samples, where only the quotient makes the bound hold."""
    along = torch.tensor([2.0, math.cos(7 * math.pi / 16) * 4 / 1.5, -0.5], dtype=torch.float64)
    angle = torch.arange(0, 32, dtype=torch.float64) * math.pi / 16
    response = torch.exp(-1j * angle[:, None] * torch.arange(-1, 2)).matmul(along.to(torch.complex128)).abs()
    largest = response.max()
    assert largest > 1.001 * response[::2].max()
    weight = torch.outer(along, along)[None, None]
    assert largest**2 <= convolution_bound(weight) <= 1.05 * largest**2


# Activations --------------------------------------------------------------------------------------------------------

SHARPNESS = torch.tensor(1.3, dtype=torch.float64)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_are_the_derivatives_and_never_above_one(name: str) -> None:
    z = torch.cat([torch.linspace(-60.0, 60.0, 4001, dtype=torch.float64), torch.tensor([-1e4, 1e4])]).requires_grad_()
    value, found = activate(name, z, SHARPNESS), slope(name, z, SHARPNESS)  # type: ignore[arg-type]
    (expected,) = torch.autograd.grad(value.sum(), z)
    torch.testing.assert_close(found, expected)
    assert bool((found.abs() <= 1.0).all())


def test_activations_are_those_of_their_names() -> None:
    z = draw(50)
    torch.testing.assert_close(activate("elu", z), F.elu(z))
    torch.testing.assert_close(activate("softplus", z), F.softplus(z))
    torch.testing.assert_close(activate("tanh", z), torch.tanh(z))
    torch.testing.assert_close(activate("lipswish", z, SHARPNESS), z * torch.sigmoid(F.softplus(SHARPNESS) * z) / 1.1)


# Networks -----------------------------------------------------------------------------------------------------------

DENSE = (4,)
IMAGE = (2, 3, 4)


def make(event: tuple[int, ...], scale: float = 1.0, **options: object) -> LipschitzNetwork:
    net: LipschitzNetwork
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if len(event) == 1:
            net = LipschitzDense(event[0], 2, (7, 6), **options).double()  # type: ignore[arg-type]
        else:
            net = LipschitzConvolution(event[0], 2, (5, 4), **options).double()  # type: ignore[arg-type]
    perturb(net, torch.Generator().manual_seed(0), scale)
    return net


def jacobian(net: LipschitzNetwork, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    found = torch.autograd.functional.jacobian(net.at(context), x)
    return found.reshape(x.numel(), x.numel())


@pytest.mark.parametrize("event", [DENSE, IMAGE], ids=str)
@pytest.mark.parametrize("nonlinearity", ACTIVATIONS)
@pytest.mark.parametrize(("lipschitz", "scale"), [(0.9, 1.0), (0.9, 100.0), (0.5, 10.0)])
def test_no_weights_take_a_network_beyond_its_constant(
    event: tuple[int, ...], nonlinearity: str, lipschitz: float, scale: float
) -> None:
    net = make(event, scale, lipschitz=lipschitz, nonlinearity=nonlinearity)
    worst = max(norm(jacobian(net, 0.1 * draw(*event, seed=i), draw(2, seed=i))) for i in range(5))
    assert worst < lipschitz + 1e-12


@pytest.mark.parametrize("event", [DENSE, IMAGE], ids=str)
def test_a_linear_network_reaches_its_constant(event: tuple[int, ...]) -> None:
    net = LipschitzDense(4, 0, ()) if event is DENSE else LipschitzConvolution(2, 0, ())
    perturb(net.double(), torch.Generator().manual_seed(0), 10.0)
    found = torch.autograd.functional.jacobian(net.at(None), draw(*event)).reshape(math.prod(event), -1)
    assert (0.85 if event is DENSE else 0.6) < norm(found) < 0.9 + 1e-12  # on large images, convolutions come closer


def test_so_does_a_deep_one_where_no_activation_bends() -> None:
    net = LipschitzDense(2, 0, (2, 2), nonlinearity="elu").double()
    with torch.no_grad():
        for layer in net.layers:
            layer.weight.copy_(50.0 * torch.diag(torch.tensor([1.0, 0.0])))
            layer.bias.fill_(1.0)  # above zero, the slope of ELU is 1
    found = torch.autograd.functional.jacobian(net.at(None), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(norm(found), torch.tensor(0.9, dtype=torch.float64))


def test_weights_within_the_bound_are_left_alone() -> None:
    net = LipschitzDense(3, 0, (), lipschitz=0.9).double()
    with torch.no_grad():
        net.layers[0].weight.copy_(torch.diag(torch.tensor([0.2, -0.5, 0.8])))
    torch.testing.assert_close(net.at(None).weights[0], net.layers[0].weight)
    with torch.no_grad():
        net.layers[0].weight.mul_(10.0)
    torch.testing.assert_close(norm(net.at(None).weights[0]), torch.tensor(0.9, dtype=torch.float64))


@pytest.mark.parametrize("event", [DENSE, IMAGE], ids=str)
@pytest.mark.parametrize("nonlinearity", ACTIVATIONS)
def test_products_with_the_jacobian_are_those_of_autograd(event: tuple[int, ...], nonlinearity: str) -> None:
    net = make(event, nonlinearity=nonlinearity)
    x, v, context = draw(*event), draw(*event, seed=1), draw(2)
    value, found = net.at(context).linearize(x)
    torch.testing.assert_close(value, net.at(context)(x))
    torch.testing.assert_close(found.push(v), torch.autograd.functional.jvp(net.at(context), x, v)[1])
    torch.testing.assert_close(found.pull(v), torch.autograd.functional.vjp(net.at(context), x, v)[1])
    assert not found.detach().push(v).requires_grad and found.push(v).requires_grad


@pytest.mark.parametrize("event", [DENSE, IMAGE], ids=str)
def test_batches_of_inputs_and_contexts_broadcast(event: tuple[int, ...]) -> None:
    net, x, context = make(event), draw(5, 1, *event), draw(3, 2)
    value, found = net.at(context).linearize(x)
    assert value.shape == (5, 3, *event)
    torch.testing.assert_close(value[4, 2], net.at(context[2])(x[4, 0]))
    v = draw(5, 3, *event, seed=1)
    torch.testing.assert_close(found.pull(v)[4, 2], net.at(context[2]).linearize(x[4, 0])[1].pull(v[4, 2]))
    assert net.at(context[:0])(x[:0]).shape == (0, 0, *event)


@pytest.mark.parametrize("event", [DENSE, IMAGE], ids=str)
def test_at_the_start_it_is_zero_and_the_context_enters_the_first_layer(event: tuple[int, ...]) -> None:
    net: LipschitzNetwork
    for hidden in ((), (6,), (6, 5)):
        net = LipschitzDense(4, 2, hidden) if event is DENSE else LipschitzConvolution(2, 2, hidden)
        assert not net.at(torch.ones(2))(torch.randn(event)).any()
    net = make(event)
    x = draw(*event)
    assert not torch.allclose(net.at(draw(2))(x), net.at(draw(2, seed=1))(x))


def test_kernels_between_the_first_and_the_last_layer_have_size_one() -> None:
    net = LipschitzConvolution(2, 0, (5, 4, 3), kernel_size=5)
    assert [tuple(layer.weight.shape) for layer in net.layers] == [
        (5, 2, 5, 5),
        (4, 5, 1, 1),
        (3, 4, 1, 1),
        (2, 3, 5, 5),
    ]
