"""Discrete cosine and Haar transforms along an axis: against scipy; what coloured noise becomes; precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.fft
import torch

from flowtorch.bijectors import Bijector
from flowtorch.bijectors.discrete_cosine import DiscreteCosine
from flowtorch.bijectors.fixed_linear import MATRIX_UP_TO
from flowtorch.bijectors.haar import Haar
from flowtorch.errors import OptionError
from flowtorch.ops.orthonormal import haar

SIZES = [1, 2, 7, MATRIX_UP_TO, MATRIX_UP_TO + 1, 500]  # by the matrix, and by the Fourier transform


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", SIZES)
def test_discrete_cosine_is_that_of_scipy(size: int) -> None:
    bound = DiscreteCosine().bind((size,)).double()
    x = draw(3, size)
    for inverse, theirs in ((False, scipy.fft.dct), (True, scipy.fft.idct)):
        y, log_det = (bound.inverse_and_log_det if inverse else bound.forward_and_log_det)(x)
        np.testing.assert_allclose(y.numpy(), theirs(x.numpy(), norm="ortho"), rtol=1e-12, atol=1e-12)
        assert torch.equal(log_det, torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("smooth", [1.0, -0.7])
def test_smooth_weights_frequencies_by_a_power_and_keeps_volumes(size: int, smooth: float) -> None:
    x = draw(3, size)
    plain, weighted = DiscreteCosine().bind((size,)).double(), DiscreteCosine(smooth).bind((size,)).double()
    y, log_det = weighted.forward_and_log_det(x)
    weights = (torch.arange(size, dtype=torch.float64) + 0.5) ** smooth
    weights = weights / weights.log().mean().exp()
    torch.testing.assert_close(y, plain.forward(x) * weights, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(weighted.inverse(y), x, rtol=1e-11, atol=1e-11)
    assert torch.equal(log_det, torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_haar_is_its_algorithm(size: int, flip: bool) -> None:
    bound, x = Haar(flip=flip).bind((size,)).double(), draw(3, size)
    y, log_det = bound.forward_and_log_det(x)
    torch.testing.assert_close(y, haar(x.flip(-1) if flip else x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(bound.inverse(y), x, rtol=1e-12, atol=1e-12)
    assert torch.equal(log_det, torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("smooth", [1.0, -1.0])
def test_smooth_takes_coloured_noise_to_white(smooth: float) -> None:
    # Brownian noise is summed white noise, violet noise its differences; low frequencies see that the ends are cut.
    white = draw(20_000, 65)
    noise = white.cumsum(-1) if smooth > 0 else white.diff(dim=-1)

    def colour(weight: float) -> float:
        spread = DiscreteCosine(weight).bind((noise.shape[-1],)).double().forward(noise).std(0)[8:]
        return float(spread.max() / spread.min())

    assert colour(smooth) < 2.0 < 0.5 * colour(0.0)
    assert colour(-smooth) > 3.0 * colour(0.0)


AXES: dict[str, tuple[Callable[..., Bijector], dict[str, Any]]] = {
    "discrete cosine": (DiscreteCosine, {}),
    "discrete cosine, smooth": (DiscreteCosine, {"smooth": 0.5}),
    "haar": (Haar, {}),
    "haar, flipped": (Haar, {"flip": True}),
}


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
def test_each_vector_along_the_axis_is_transformed(name: str, dim: int) -> None:
    plan, options = AXES[name]
    x = draw(2, 3, 4, 5)
    bound = plan(dim=dim, **options).bind((3, 4, 5)).double()
    got = bound.forward(x)
    axis = dim % 3 + 1
    alone = plan(**options).bind((x.shape[axis],)).double()
    torch.testing.assert_close(got, alone.forward(x.movedim(axis, -1)).movedim(-1, axis))
    torch.testing.assert_close(bound.inverse(got), x)


@pytest.mark.parametrize("name", AXES)
def test_the_last_axis_is_the_default_and_none_is_the_flattened_event(name: str) -> None:
    plan, options = AXES[name]
    x = draw(2, 3, 4)
    assert plan(**options) == plan(dim=-1, **options)
    flat = plan(**options).bind((12,)).double().forward(x.flatten(1)).reshape(2, 3, 4)
    torch.testing.assert_close(plan(dim=None, **options).bind((3, 4)).double().forward(x), flat)


def test_flip_reverses_what_haar_transforms() -> None:
    x = draw(2, 7)
    got = Haar(flip=True).bind((7,)).double().forward(x)
    torch.testing.assert_close(got, Haar().bind((7,)).double().forward(x.flip(-1)))
    assert float(got[0, -1]) == float(x[0, 0])


@pytest.mark.parametrize("plan", [DiscreteCosine(), DiscreteCosine(0.5), Haar()], ids=repr)
@pytest.mark.parametrize("size", [7, MATRIX_UP_TO + 1])
def test_numbers_are_exact_whatever_dtypes_it_went_through(plan: Bijector, size: int) -> None:
    x = draw(3, size)
    expected = plan.bind((size,)).double().forward(x)
    there_and_back = plan.bind((size,)).half().float().to(torch.bfloat16).double()
    assert torch.equal(there_and_back.forward(x), expected)
    assert not there_and_back.state_dict() and not list(there_and_back.parameters())
    # Half precision goes through float32: only rounding the result is left.
    y = plan.bind((size,)).half().forward(x.half())
    assert y.dtype == torch.float16
    again = plan.bind((size,)).double().forward(x.half().double())
    torch.testing.assert_close(y.double(), again, rtol=6e-4, atol=1e-5)


@pytest.mark.parametrize("plan", [DiscreteCosine(), DiscreteCosine(0.5), Haar()], ids=repr)
@pytest.mark.parametrize("size", [7, MATRIX_UP_TO + 1])
def test_autocast_takes_no_digits(plan: Bijector, size: int) -> None:
    bound, x = plan.bind((size,)), draw(3, size).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = bound.forward(x)
    assert found.dtype == torch.float32 and torch.equal(found, bound.forward(x))


@pytest.mark.parametrize("plan", [DiscreteCosine(), DiscreteCosine(0.5), Haar()], ids=repr)
@pytest.mark.parametrize("size", [7, MATRIX_UP_TO + 1])
def test_both_forms_can_be_exported(plan: Bijector, size: int) -> None:
    bound, x = plan.bind((size,)), draw(3, size).float()
    program = torch.export.export(bound, (x,))
    torch.testing.assert_close(program.module()(2.0 * x), bound.forward(2.0 * x))


@pytest.mark.parametrize("size", [7, MATRIX_UP_TO + 1])
def test_gradients_keep_their_norm(size: int) -> None:
    for plan in (DiscreteCosine(), Haar()):
        x, weights = draw(size).requires_grad_(), draw(size, seed=1)
        (gradient,) = torch.autograd.grad(plan.bind((size,)).double().forward(x) @ weights, x)
        assert float(gradient.norm()) == pytest.approx(float(weights.norm()), rel=1e-12)


def test_weights_that_leave_float32_are_refused() -> None:
    with pytest.raises(OptionError, match=r"DiscreteCosine: .* between e\^-80 and e\^80 .* smooth=-40\.0 for 64 coord"):
        DiscreteCosine(-40.0).bind((64,))
    assert math.isfinite(DiscreteCosine(-20.0).bind((64,)).forward(torch.ones(64)).abs().max())


def test_explain_answers_structure_parameters_and_gradients() -> None:
    text = DiscreteCosine().explain()
    for words in (
        "orthonormal matrix",
        "O(D log D)",
        "no parameters",
        "log|det| is 0",
        "transpose, which keeps their norm",
    ):
        assert words in text
    assert "smooth" not in text
    text = DiscreteCosine(0.5, dim=0).explain()
    for words in (
        "axis 0",
        "(k + 1/2)^0.5",
        "fixed number smooth = 0.5",
        "product 1",
        "multiply gradients",
    ):
        assert words in text
    assert "flattened event" in DiscreteCosine(dim=None).explain()
    text = Haar(flip=True).explain()
    for words in ("reversed x", "O(D) in all", "no parameters", "transpose, which keeps their norm"):
        assert words in text
