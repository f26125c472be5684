"""The affine map and its log-scale: against mpmath, torch's transform and autodiff."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any

import mpmath
import pytest
import torch
from torch.distributions.transforms import AffineTransform
from torch.func import grad, hessian, jvp, vmap

from flowtorch.errors import OptionError
from flowtorch.ops import affine, log_scale

# Torch's own, raised once in a process, when forward-mode differentiation is used first.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
SCALE_FNS = ("softplus", "exp", "sigmoid")
NO_BOUNDS = {"log_scale_min_clip": -math.inf, "log_scale_max_clip": math.inf}

every_scale_fn = pytest.mark.parametrize("scale_fn", SCALE_FNS)
both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
every_option = pytest.mark.parametrize(
    "options",
    [
        pytest.param({"scale_fn": s, "gated": g, "clamp_values": c}, id=f"{s}{'-gated' * g}{'-clamped' * c}")
        for s, g, c in itertools.product(SCALE_FNS, (False, True), (False, True))
    ],
)


def arguments(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x, loc and raw_scale of shape (2, 3); the log-scales lie inside the default bounds, on both sides of 0."""
    x = torch.tensor([[-2.0, 0.5, 3.0], [1.5, -0.7, 0.2]], dtype=dtype)
    loc = torch.tensor([[0.3, -1.0, 2.0], [0.0, 0.9, -4.0]], dtype=dtype)
    raw_scale = torch.tensor([[-1.5, 0.4, 1.1], [2.0, -0.3, 0.8]], dtype=dtype)
    return x, loc, raw_scale


def exact_log_scale(raw: float, scale_fn: str, bias: float = 2.0) -> mpmath.mpf:
    """The log-scale before it is bounded, to the working precision of mpmath."""
    r = mpmath.mpf(raw)
    if scale_fn == "softplus":
        return mpmath.log(mpmath.log1p(mpmath.exp(r + mpmath.log(mpmath.e - 1))))
    return r if scale_fn == "exp" else -mpmath.log1p(mpmath.exp(-(r + mpmath.mpf(bias))))


# --- the log-scale


@every_scale_fn
def test_log_scale_without_bounds_is_right_to_rounding(scale_fn: Any) -> None:
    raw = torch.tensor([-700.0, -50.0, -37.0, -36.0, -20.0, -1.0, -1e-3, 0.3, 5.0, 19.0, 21.0, 39.0, 41.0, 700.0])
    raw = raw.double()
    with mpmath.workdps(400):
        expected = [float(exact_log_scale(r, scale_fn)) for r in raw.tolist()]
    got = log_scale(raw, scale_fn=scale_fn, **NO_BOUNDS)
    assert got.tolist() == pytest.approx(expected, rel=1e-15, abs=3e-16)


@every_scale_fn
def test_log_scale_is_bounded_by_the_formula(scale_fn: Any) -> None:
    raw = torch.linspace(-10.0, 10.0, 41, dtype=torch.float64)
    got = log_scale(raw, scale_fn=scale_fn, sigmoid_bias=0.5, log_scale_min_clip=-2.0, log_scale_max_clip=1.5)
    with mpmath.workdps(50):
        a = [exact_log_scale(r, scale_fn, bias=0.5) for r in raw.tolist()]
        expected = [float(1.5 * mpmath.tanh(v / 1.5) if v >= 0 else 2 * mpmath.tanh(v / 2)) for v in a]
    assert got.tolist() == pytest.approx(expected, rel=1e-14, abs=1e-15)
    assert (got > -2.0).all() and (got < 1.5).all()
    assert (got.diff() > 0.0).all()


def test_soft_bound_has_slope_one_at_zero_and_leaves_an_infinite_side_alone() -> None:
    zero = torch.zeros((), dtype=torch.float64)
    exp = partial(log_scale, scale_fn="exp")
    assert exp(zero).item() == 0.0
    assert grad(exp)(zero).item() == 1.0
    above = exp(torch.tensor([-7.0, 7.0]), log_scale_max_clip=math.inf)
    below = exp(torch.tensor([-7.0, 7.0]), log_scale_min_clip=-math.inf)
    torch.testing.assert_close(above, torch.tensor([-5.0 * math.tanh(1.4), 7.0]))
    torch.testing.assert_close(below, torch.tensor([-7.0, 3.0 * math.tanh(7.0 / 3.0)]))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scale_fn", ["softplus", "exp"])
def test_raw_zero_is_scale_one(scale_fn: Any, dtype: torch.dtype) -> None:
    x = torch.tensor([-1.7, 0.3, 2.9], dtype=dtype)
    y, log_derivative = affine(x, torch.zeros_like(x), torch.zeros_like(x), scale_fn=scale_fn)
    assert torch.equal(y, x) and not log_derivative.any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("clamp_values", [False, True], ids=["soft", "clamped"])
@pytest.mark.parametrize("bounds", [{}, NO_BOUNDS], ids=["bounded", "unbounded"])
@every_scale_fn
def test_far_out_the_log_scale_and_its_gradient_are_finite(
    scale_fn: Any, bounds: dict[str, float], clamp_values: bool, dtype: torch.dtype
) -> None:
    raw = torch.tensor([-1e30, -1e6, -1e3, -50.0, 50.0, 1e3, 1e6, 1e30], dtype=dtype, requires_grad=True)
    result = log_scale(raw, scale_fn=scale_fn, clamp_values=clamp_values, **bounds)
    (gradient,) = torch.autograd.grad(result.sum(), raw)
    assert result.isfinite().all() and gradient.isfinite().all()
    assert (result.diff() >= 0.0).all() and (gradient >= 0.0).all()
    if not bounds:
        assert result[0].item() == pytest.approx(-5.0)
        assert -1e-6 <= result[-1].item() <= 3.0
    elif scale_fn != "exp":
        assert gradient[0].item() == 1.0  # not 0 / 0: softplus and sigmoid are exponentials here


def test_clamped_log_scale_has_the_gradient_of_no_clamp() -> None:
    raw = torch.tensor([-1e30, -9.0, -1.0, 2.0, 8.0, 1e30], dtype=torch.float64)
    clamped = partial(log_scale, clamp_values=True, scale_fn="exp")
    assert clamped(raw).tolist() == [-5.0, -5.0, -1.0, 2.0, 3.0, 3.0]
    assert vmap(grad(clamped))(raw).tolist() == [1.0] * 6
    with_bounds = vmap(grad(partial(log_scale, clamp_values=True)))(raw[1:5])
    without = vmap(grad(partial(log_scale, **NO_BOUNDS)))(raw[1:5])
    torch.testing.assert_close(with_bounds, without)


# --- the map


@every_option
def test_agrees_with_torch(options: dict[str, Any]) -> None:
    x, loc, raw_scale = arguments()
    scale = log_scale(raw_scale, **{k: v for k, v in options.items() if k != "gated"}).exp()
    transform = AffineTransform((1.0 - scale) * loc if options["gated"] else loc, scale)
    y = transform(x)
    log_derivative = transform.log_abs_det_jacobian(x, y)
    torch.testing.assert_close(affine(x, loc, raw_scale, **options), (y, log_derivative), rtol=1e-13, atol=1e-13)
    back = affine(y, loc, raw_scale, inverse=True, **options)
    torch.testing.assert_close(back, (x, -log_derivative), rtol=1e-13, atol=1e-13)


def test_gated_sigmoid_mixes_x_and_loc() -> None:
    x, loc, raw_scale = (
        torch.tensor([4.0, 4.0]).double(),
        torch.tensor(-2.0).double(),
        torch.tensor([0.3, -9.0]).double(),
    )
    y, _ = affine(x, loc, raw_scale, scale_fn="sigmoid", gated=True, sigmoid_bias=1.0, **NO_BOUNDS)
    kept = torch.sigmoid(raw_scale + 1.0)
    torch.testing.assert_close(y, kept * x + (1.0 - kept) * loc)
    assert (loc < y).all() and (y < x).all()


@both_ways
@every_option
def test_log_derivative_is_that_of_autodiff(options: dict[str, Any], inverse: bool) -> None:
    flat = [t.flatten() for t in arguments()]
    derivative = vmap(grad(lambda *a: affine(*a, inverse=inverse, **options)[0]))(*flat)
    torch.testing.assert_close(affine(*flat, inverse=inverse, **options)[1], derivative.log(), rtol=1e-12, atol=1e-13)


@every_option
def test_round_trip(options: dict[str, Any]) -> None:
    x, loc, raw_scale = arguments()
    raw_scale = raw_scale * 10.0  # beyond the bounds
    y, log_derivative = affine(x, loc, raw_scale, **options)
    back, inverse_log_derivative = affine(y, loc, raw_scale, inverse=True, **options)
    torch.testing.assert_close(back, x, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(inverse_log_derivative, -log_derivative, rtol=1e-10, atol=1e-10)


@both_ways
@every_option
def test_is_twice_differentiable(options: dict[str, Any], inverse: bool) -> None:
    inputs = tuple(t[:, :2].clone().requires_grad_() for t in arguments())
    op = partial(affine, inverse=inverse, **options)
    assert torch.autograd.gradcheck(op, inputs)
    assert torch.autograd.gradgradcheck(op, inputs)


@both_ways
@every_option
def test_function_transforms_agree_with_autograd(options: dict[str, Any], inverse: bool) -> None:
    flat = tuple(t.flatten().requires_grad_() for t in arguments())
    op = partial(affine, inverse=inverse, **options)
    directions = tuple(torch.full_like(t, 0.1 * i + 0.5) for i, t in enumerate(flat))
    for output in (0, 1):
        gradients = torch.autograd.grad(op(*flat)[output].sum(), flat, create_graph=True, materialize_grads=True)
        by_point = vmap(grad(lambda *a, i=output: op(*a)[i], argnums=(0, 1, 2)))(*flat)
        torch.testing.assert_close(by_point, gradients)
        tangent = jvp(lambda *a, i=output: op(*a)[i], flat, directions)[1]
        torch.testing.assert_close(tangent, sum(g * d for g, d in zip(gradients, directions, strict=True)))
        second = vmap(hessian(lambda *a, i=output: op(*a)[i], argnums=2))(*flat)
        expected = torch.autograd.grad((gradients[2] + 0.0 * flat[2]).sum(), flat[2])[0]  # 0 if it is constant
        torch.testing.assert_close(second, expected)


# --- tensors of every kind


@both_ways
@every_option
def test_compiles_to_one_graph(options: dict[str, Any], inverse: bool) -> None:
    torch.compiler.reset()
    op = partial(affine, inverse=inverse, **options)
    inputs = tuple(t.requires_grad_() for t in arguments())
    results = torch.compile(op, fullgraph=True, backend="eager")(*inputs)
    torch.testing.assert_close(results, op(*inputs))
    gradients = torch.autograd.grad(sum(r.sum() for r in results), inputs)
    torch.testing.assert_close(gradients, torch.autograd.grad(sum(r.sum() for r in op(*inputs)), inputs))


@both_ways
def test_exports_with_a_dynamic_batch(inverse: bool) -> None:
    class Module(torch.nn.Module):
        def forward(self, *a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return affine(*a, inverse=inverse)

    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(Module(), tuple(torch.rand(4, 3) for _ in range(3)), dynamic_shapes=((batch,) * 3,))
    torch.testing.assert_close(program.module()(*arguments()), affine(*arguments(), inverse=inverse))


@both_ways
@pytest.mark.parametrize(
    "shapes",
    [((), (), ()), ((4, 2, 3), (3,), (2, 1)), ((3,), (2, 1), ()), ((), (3,), (2, 3)), ((0, 3), (3,), (1, 3))],
    ids=str,
)
def test_shapes_broadcast(shapes: tuple[tuple[int, ...], ...], inverse: bool) -> None:
    shape = torch.broadcast_shapes(*shapes)
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(s, generator=generator) for s in shapes]
    results = affine(*inputs, inverse=inverse)
    whole = affine(*(t.expand(shape).contiguous() for t in inputs), inverse=inverse)
    on_meta = affine(*(t.to("meta") for t in inputs), inverse=inverse)
    for result, expected, meta in zip(results, whole, on_meta, strict=True):
        torch.testing.assert_close(result, expected, rtol=0.0, atol=0.0)
        assert meta.shape == shape and meta.device.type == "meta"


@every_option
def test_inputs_are_neither_changed_nor_returned_and_may_be_strided(options: dict[str, Any]) -> None:
    contiguous = arguments()
    strided = [t.t().contiguous().t() for t in contiguous]
    assert not strided[0].is_contiguous()
    results = affine(*strided, **options)
    torch.testing.assert_close(results, affine(*contiguous, **options), rtol=0.0, atol=0.0)
    for given, before in zip(strided, arguments(), strict=True):
        assert torch.equal(given, before)
        assert all(r.untyped_storage().data_ptr() != given.untyped_storage().data_ptr() for r in results)


@both_ways
@every_option
@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_narrow_dtypes_are_as_exact_as_they_can_be(dtype: torch.dtype, options: dict[str, Any], inverse: bool) -> None:
    inputs = arguments(dtype)
    eps = torch.finfo(dtype).eps
    for narrow, double in zip(
        affine(*inputs, inverse=inverse, **options),
        affine(*(t.double() for t in inputs), inverse=inverse, **options),
        strict=True,
    ):
        assert narrow.dtype == dtype
        torch.testing.assert_close(narrow.double(), double, rtol=8 * eps, atol=8 * eps)


def test_bad_options_are_refused() -> None:
    zero = torch.zeros(2)
    with pytest.raises(OptionError, match="scale_fn is 'softplus', 'exp' or 'sigmoid'; got 'nope'"):
        affine(zero, zero, zero, scale_fn="nope")  # type: ignore[arg-type]
    for bounds in ({"log_scale_min_clip": 0.5}, {"log_scale_max_clip": -0.5}, {"log_scale_max_clip": math.nan}):
        with pytest.raises(OptionError, match="log_scale_min_clip < 0 < log_scale_max_clip is expected"):
            log_scale(zero, **bounds)
