"""Rational splines: against the papers' formulas in mpmath, quadrature and autodiff."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import mpmath
import pytest
import torch
from torch.func import grad, hessian, jvp, vmap

from flowtorch.errors import OptionError, ShapeError
from flowtorch.ops import rational_linear_spline, rational_quadratic_spline

# Torch's own, raised once in a process, when forward-mode differentiation is used first.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
# All different, so that none can stand for another.
BOX = {"bound": 2.5, "min_bin_width": 0.01, "min_bin_height": 0.02, "min_derivative": 0.03}
MIN_LAMBDA = 0.1


def exact_bin(x: float, w: list[float], h: list[float], d: list[float]) -> tuple[int, list[Any], list[Any], list[Any]]:
    """The bin of x, and all knots and derivatives, to the working precision of mpmath."""

    def knots(raw: list[float], least: float) -> list[Any]:
        total = mpmath.fsum(mpmath.exp(r) for r in raw)
        sizes = [mpmath.mpf(least) + (1 - len(raw) * mpmath.mpf(least)) * mpmath.exp(r) / total for r in raw]
        return [BOX["bound"] * (2 * mpmath.fsum(sizes[:i]) - 1) for i in range(len(raw) + 1)]

    def derivative(raw: float) -> Any:
        shift = mpmath.log(mpmath.expm1(1 - mpmath.mpf(BOX["min_derivative"])))
        return BOX["min_derivative"] + mpmath.log1p(mpmath.exp(raw + shift))

    xs, ys = knots(w, BOX["min_bin_width"]), knots(h, BOX["min_bin_height"])
    return sum(x >= k for k in xs[1:-1]), xs, ys, [mpmath.mpf(1), *map(derivative, d), mpmath.mpf(1)]


def exact_quadratic(x: float, w: list[float], h: list[float], d: list[float]) -> tuple[Any, Any]:
    """Equations 4 and 5 of Neural Spline Flows: y and dy/dx."""
    k, xs, ys, ds = exact_bin(x, w, h, d)
    s = (ys[k + 1] - ys[k]) / (xs[k + 1] - xs[k])
    xi = (x - xs[k]) / (xs[k + 1] - xs[k])
    beta = s + (ds[k + 1] + ds[k] - 2 * s) * xi * (1 - xi)
    y = ys[k] + (ys[k + 1] - ys[k]) * (s * xi**2 + ds[k] * xi * (1 - xi)) / beta
    return y, s**2 * (ds[k + 1] * xi**2 + 2 * s * xi * (1 - xi) + ds[k] * (1 - xi) ** 2) / beta**2


def exact_linear(x: float, w: list[float], h: list[float], d: list[float], raw: list[float]) -> tuple[Any, Any]:
    """The interpolant of Dolatabadi et al. in terms of its weights w_a, w_m and w_b, the first one 1: y and dy/dx."""
    k, xs, ys, ds = exact_bin(x, w, h, d)
    lam = MIN_LAMBDA + (1 - 2 * mpmath.mpf(MIN_LAMBDA)) / (1 + mpmath.exp(-raw[k]))
    width = xs[k + 1] - xs[k]
    w_a, w_b = mpmath.mpf(1), mpmath.sqrt(ds[k] / ds[k + 1])
    w_m = (lam * w_a * ds[k] + (1 - lam) * w_b * ds[k + 1]) * width / (ys[k + 1] - ys[k])
    y_m = ((1 - lam) * w_a * ys[k] + lam * w_b * ys[k + 1]) / ((1 - lam) * w_a + lam * w_b)
    phi = (x - xs[k]) / width
    if phi <= lam:
        q = w_a * (lam - phi) + w_m * phi
        return (w_a * ys[k] * (lam - phi) + w_m * y_m * phi) / q, lam * w_a * w_m * (y_m - ys[k]) / q**2 / width
    q = w_m * (1 - phi) + w_b * (phi - lam)
    y = (w_m * y_m * (1 - phi) + w_b * ys[k + 1] * (phi - lam)) / q
    return y, (1 - lam) * w_m * w_b * (ys[k + 1] - y_m) / q**2 / width


@dataclass(frozen=True)
class Case:
    """A spline with the options of this file, and its exact form."""

    op: Callable[..., tuple[torch.Tensor, torch.Tensor]]
    exact: Callable[..., tuple[Any, Any]]
    parameters: int

    def draw(
        self, *shape: int, bins: int = 5, scale: float = 1.5, seed: int = 0, dtype: torch.dtype = torch.float64
    ) -> list[torch.Tensor]:
        """Parameters of coordinates of this shape, the same numbers for every dtype."""
        generator = torch.Generator().manual_seed(seed)
        sizes = (bins, bins, bins - 1, bins)[: self.parameters]
        drawn = [torch.randn(*shape, n, generator=generator, dtype=torch.float64) for n in sizes]
        return [(scale * p).to(dtype) for p in drawn]


CASES = {
    "quadratic": Case(partial(rational_quadratic_spline, **BOX), exact_quadratic, 3),
    "linear": Case(partial(rational_linear_spline, **BOX, min_lambda=MIN_LAMBDA), exact_linear, 4),
}
every_spline = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])


def grid(count: int, dtype: torch.dtype = torch.float64, reach: float = 2.6) -> torch.Tensor:
    """Points from one side of the box to the other, most inside; none of them a knot."""
    return torch.linspace(-reach, reach + 0.01, count, dtype=dtype)


# --- the formula


@every_spline
def test_agrees_with_the_paper(case: Case) -> None:
    x = grid(50)[:, None].expand(50, 6)
    parameters = case.draw(6)
    parameters[2][0] = 21.0  # softplus(21) is 21.00000000076: torch's, by default, is 21
    y, log_derivative = case.op(x, *parameters)
    back, inverse_log_derivative = case.op(y, *parameters, inverse=True)
    with mpmath.workdps(30):
        for j in range(6):
            raw = [p[j].tolist() for p in parameters]
            for i, v in enumerate(x[:, j].tolist()):
                exact, slope = case.exact(v, *raw) if abs(v) < BOX["bound"] else (v, 1)
                assert y[i, j].item() == pytest.approx(float(exact), abs=1e-13)
                assert log_derivative[i, j].item() == pytest.approx(float(mpmath.log(slope)), abs=1e-12)
                assert back[i, j].item() == pytest.approx(v, abs=1e-12)
                assert inverse_log_derivative[i, j].item() == pytest.approx(-float(mpmath.log(slope)), abs=1e-11)


@both_ways
@every_spline
def test_log_derivative_is_that_of_autodiff(case: Case, inverse: bool) -> None:
    x, parameters = grid(200), case.draw(200, seed=1)
    derivative = vmap(grad(lambda *a: case.op(*a, inverse=inverse)[0]))(x, *parameters)
    torch.testing.assert_close(case.op(x, *parameters, inverse=inverse)[1], derivative.log(), rtol=1e-10, atol=1e-10)


@every_spline
def test_round_trip(case: Case) -> None:
    x, parameters = grid(500), case.draw(500, bins=8, seed=2)
    y, log_derivative = case.op(x, *parameters)
    back, inverse_log_derivative = case.op(y, *parameters, inverse=True)
    torch.testing.assert_close(back, x, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(inverse_log_derivative, -log_derivative, rtol=1e-10, atol=1e-10)
    forth = case.op(case.op(x, *parameters, inverse=True)[0], *parameters)[0]
    torch.testing.assert_close(forth, x, rtol=1e-10, atol=1e-10)


@both_ways
@every_spline
def test_derivative_integrates_to_the_height_of_the_box(case: Case, inverse: bool) -> None:
    bound, count = BOX["bound"], 100_000
    middles = (torch.arange(count, dtype=torch.float64) + 0.5) * (2.0 * bound / count) - bound
    _, log_derivative = case.op(middles[:, None], *case.draw(3, seed=3, scale=0.7), inverse=inverse)
    total = log_derivative.exp().mean(0) * 2.0 * bound
    assert total.tolist() == pytest.approx([2.0 * bound] * 3, rel=1e-7)


@both_ways
@every_spline
def test_increases_strictly(case: Case, inverse: bool) -> None:
    y, _ = case.op(grid(5000)[:, None], *case.draw(4, seed=4, scale=3.0), inverse=inverse)
    assert (y.diff(dim=0) > 0.0).all()


@both_ways
@every_spline
def test_value_and_derivative_are_continuous_at_knots_and_bounds(case: Case, inverse: bool) -> None:
    bound, parameters = BOX["bound"], case.draw(seed=5)
    raw, least = (parameters[1], 0.02) if inverse else (parameters[0], 0.01)
    knots = bound * (2.0 * (least + (1.0 - 5 * least) * raw.softmax(0)).cumsum(0) - 1.0)
    knots = torch.cat((torch.tensor([-bound]), knots))
    left, right = (case.op(knots + step, *parameters, inverse=inverse) for step in (-1e-9, 1e-9))
    torch.testing.assert_close(left[0], right[0], rtol=0.0, atol=1e-7)
    torch.testing.assert_close(left[1], right[1], rtol=0.0, atol=1e-6)
    assert right[0][0].item() == pytest.approx(-bound, abs=1e-8)
    assert left[0][-1].item() == pytest.approx(bound, abs=1e-8)
    assert left[1][-1].item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("bins", [1, 2, 5, 8])
@both_ways
@every_spline
def test_zeros_are_the_identity(case: Case, inverse: bool, bins: int) -> None:
    op = rational_quadratic_spline if case.parameters == 3 else rational_linear_spline
    x = grid(101, reach=4.0)
    y, log_derivative = op(x, *(torch.zeros_like(p) for p in case.draw(bins=bins)), inverse=inverse)
    torch.testing.assert_close(y, x, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(log_derivative, torch.zeros_like(x), rtol=0.0, atol=1e-14)


@every_spline
def test_one_bin_is_the_identity_whatever_the_parameters(case: Case) -> None:
    x, parameters = grid(50).requires_grad_(), [p.requires_grad_() for p in case.draw(bins=1)]
    y, log_derivative = case.op(x, *parameters)
    torch.testing.assert_close(y, x, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(log_derivative, torch.zeros_like(x), rtol=0.0, atol=1e-14)
    gradients = torch.autograd.grad(y.sum(), [x, *parameters], materialize_grads=True)
    torch.testing.assert_close(gradients[0], torch.ones_like(x))
    for parameter_gradient in gradients[1:]:
        torch.testing.assert_close(parameter_gradient, torch.zeros_like(parameter_gradient), rtol=0.0, atol=1e-13)


# --- far outside, and extreme parameters


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@both_ways
@every_spline
def test_outside_it_is_the_identity_with_finite_gradients(case: Case, inverse: bool, dtype: torch.dtype) -> None:
    far = torch.tensor([2.5, 3.0, 1e6, 1e30, math.inf], dtype=dtype)
    x = torch.cat((-far, far)).requires_grad_()
    parameters = [p.requires_grad_() for p in case.draw(10, dtype=dtype)]
    y, log_derivative = case.op(x, *parameters, inverse=inverse)
    assert torch.equal(y, x) and y.dtype == dtype
    assert torch.equal(log_derivative, torch.zeros_like(x))
    gradients = torch.autograd.grad(y.sum() + log_derivative.sum(), [x, *parameters])
    assert torch.equal(gradients[0], torch.ones_like(x))
    assert not any(g.any() for g in gradients[1:])  # NaN would count as true


@both_ways
@every_spline
def test_nan_stays_nan(case: Case, inverse: bool) -> None:
    y, log_derivative = case.op(torch.tensor([math.nan, 0.5]), *case.draw(dtype=torch.float32), inverse=inverse)
    assert y.isnan().tolist() == log_derivative.isnan().tolist() == [True, False]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@both_ways
@every_spline
def test_extreme_parameters_give_finite_results(case: Case, inverse: bool, dtype: torch.dtype) -> None:
    op = rational_quadratic_spline if case.parameters == 3 else rational_linear_spline
    x = grid(400, reach=3.1, dtype=dtype).requires_grad_()
    parameters = [(50.0 * p.sign()).requires_grad_() for p in case.draw(400, bins=8, dtype=dtype, seed=6)]
    y, log_derivative = op(x, *parameters, inverse=inverse)
    assert y.isfinite().all() and log_derivative.isfinite().all()
    gradients = torch.autograd.grad(y.sum() + log_derivative.sum(), [x, *parameters])
    if dtype != torch.float16:  # the true derivatives, 1e5, are beyond float16
        assert all(g.isfinite().all() for g in gradients)
    assert not any(g.isnan().any() for g in gradients)


@every_spline
def test_knots_of_bfloat16_parameters_do_not_collide(case: Case) -> None:
    # Near the bound bfloat16 numbers are 0.0156 apart and the least bins 0.006 wide: computed in bfloat16, a bin would
    # have no width and its log-derivative would be NaN or infinite.
    op = rational_quadratic_spline if case.parameters == 3 else rational_linear_spline
    parameters = case.draw(bins=8, dtype=torch.bfloat16)
    parameters[0] = torch.tensor([20.0] + [0.0] * 7, dtype=torch.bfloat16)
    _, log_derivative = op(torch.linspace(2.9, 3.0, 20).bfloat16(), *parameters)
    assert log_derivative.isfinite().all()


# --- precision


@both_ways
@every_spline
def test_float32_is_as_exact_as_float32_can_be(case: Case, inverse: bool) -> None:
    x, parameters = grid(500, torch.float32), case.draw(500, seed=7, dtype=torch.float32)
    y, log_derivative = case.op(x, *parameters, inverse=inverse)
    exact_y, exact_log = case.op(x.double(), *(p.double() for p in parameters), inverse=inverse)
    # An error in x or in a knot comes out multiplied by the slope.
    scale = torch.finfo(torch.float32).eps * BOX["bound"] * (1.0 + exact_log.exp())
    assert ((y - exact_y).abs() / scale).max() < 8.0
    torch.testing.assert_close(log_derivative.double(), exact_log, rtol=0.0, atol=2e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@both_ways
@every_spline
def test_narrow_dtypes_lose_only_the_last_rounding(case: Case, inverse: bool, dtype: torch.dtype) -> None:
    x, parameters = grid(200, dtype), case.draw(200, seed=7, dtype=dtype)
    expected = case.op(x.double(), *(p.double() for p in parameters), inverse=inverse)
    for narrow, exact in zip(case.op(x, *parameters, inverse=inverse), expected, strict=True):
        assert narrow.dtype == dtype
        torch.testing.assert_close(narrow.double(), exact, rtol=0.51 * torch.finfo(dtype).eps, atol=2e-4)


# --- derivatives


@both_ways
@every_spline
def test_is_twice_differentiable(case: Case, inverse: bool) -> None:
    # Away from knots and cuts, where the log-derivative has kinks.
    inputs = [t.requires_grad_() for t in (torch.tensor([-1.1, 0.4, 1.7]).double(), *case.draw(3, bins=3, scale=0.5))]
    op = partial(case.op, inverse=inverse)
    assert torch.autograd.gradcheck(op, inputs)
    assert torch.autograd.gradgradcheck(op, inputs)


@both_ways
@every_spline
def test_gradient_is_right_where_a_bin_is_straight(case: Case, inverse: bool) -> None:
    # In the middle of a straight bin r = 0 in the quadratic's root, and abs(r) would have the gradient 0.
    op = rational_quadratic_spline if case.parameters == 3 else rational_linear_spline
    inputs = [torch.tensor([2.0]).double(), *(torch.zeros_like(p) for p in case.draw(1, bins=2))]
    inputs = [t.requires_grad_() for t in inputs]
    assert torch.autograd.gradcheck(lambda *a: op(*a, bound=4.0, inverse=inverse)[0], inputs)


@both_ways
@every_spline
def test_function_transforms_agree_with_autograd(case: Case, inverse: bool) -> None:
    inputs = tuple(t.requires_grad_() for t in (grid(12), *case.draw(12, seed=8)))
    directions = tuple(torch.full_like(t, 0.1 * i + 0.5) for i, t in enumerate(inputs))
    op = partial(case.op, inverse=inverse)
    everything = tuple(range(len(inputs)))
    for output in (0, 1):
        gradients = torch.autograd.grad(op(*inputs)[output].sum(), inputs, create_graph=True)
        by_point = vmap(grad(lambda *a, i=output: op(*a)[i], argnums=everything))(*inputs)
        torch.testing.assert_close(by_point, gradients)
        tangent = jvp(lambda *a, i=output: op(*a)[i], inputs, directions)[1]
        expected = sum((g * d).reshape(12, -1).sum(1) for g, d in zip(gradients, directions, strict=True))
        torch.testing.assert_close(tangent, expected)
        second = vmap(hessian(lambda *a, i=output: op(*a)[i], argnums=2))(*inputs)
        rows = [torch.autograd.grad(gradients[2][:, k].sum(), inputs[2], retain_graph=True)[0] for k in range(5)]
        torch.testing.assert_close(second, torch.stack(rows, 1))
    assert tangent.abs().max() > 0.1


# --- tensors of every kind


@both_ways
@every_spline
def test_compiles_to_one_graph(case: Case, inverse: bool) -> None:
    torch.compiler.reset()
    op = partial(case.op, inverse=inverse)
    inputs = [t.requires_grad_() for t in (grid(6).reshape(2, 3), *case.draw(2, 3))]
    results = torch.compile(op, fullgraph=True, backend="eager")(*inputs)
    torch.testing.assert_close(results, op(*inputs))
    gradients = torch.autograd.grad(sum(r.sum() for r in results), inputs)
    torch.testing.assert_close(gradients, torch.autograd.grad(sum(r.sum() for r in op(*inputs)), inputs))


@both_ways
@every_spline
def test_exports_with_a_dynamic_batch(case: Case, inverse: bool) -> None:
    class Module(torch.nn.Module):
        def forward(self, *a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return case.op(*a, inverse=inverse)

    batch = {0: torch.export.Dim("batch")}
    example = (grid(12).reshape(4, 3), *case.draw(4, 3))
    program = torch.export.export(Module(), example, dynamic_shapes=((batch,) * len(example),))
    other = (grid(6).reshape(2, 3), *case.draw(2, 3, seed=9))
    torch.testing.assert_close(program.module()(*other), case.op(*other, inverse=inverse))


@both_ways
@pytest.mark.parametrize(
    "shapes",
    [
        ((), (), (), (), ()),
        ((4, 2, 3), (3,), (2, 1), (1, 3), ()),
        ((), (2, 3), (3,), (), (2, 1)),
        ((3,), (3,), (4, 1), (), (3,)),
        ((0, 3), (3,), (1, 3), (0, 3), ()),
    ],
    ids=str,
)
@every_spline
def test_shapes_broadcast(case: Case, shapes: tuple[tuple[int, ...], ...], inverse: bool) -> None:
    shapes = shapes[: case.parameters + 1]
    shape = torch.broadcast_shapes(*shapes)
    x = grid(math.prod(shapes[0])).reshape(shapes[0]) + 0.3
    parameters = [case.draw(*s, seed=10 + i)[i] for i, s in enumerate(shapes[1:])]
    results = case.op(x, *parameters, inverse=inverse)
    whole = [p.expand(*shape, p.shape[-1]).contiguous() for p in parameters]
    expected = case.op(x.expand(shape).contiguous(), *whole, inverse=inverse)
    on_meta = case.op(x.to("meta"), *(p.to("meta") for p in parameters), inverse=inverse)
    for result, same, meta in zip(results, expected, on_meta, strict=True):
        assert result.shape == meta.shape == shape and meta.device.type == "meta"
        torch.testing.assert_close(result, same, rtol=1e-14, atol=1e-14)


@both_ways
@every_spline
def test_inputs_are_neither_changed_nor_returned_and_may_be_strided(case: Case, inverse: bool) -> None:
    plain = [grid(6).reshape(2, 3), *case.draw(2, 3)]
    strided = [t.transpose(0, -1).contiguous().transpose(0, -1) for t in plain]
    assert not any(t.is_contiguous() for t in strided)
    before = [t.clone() for t in strided]
    results = case.op(*strided, inverse=inverse)
    torch.testing.assert_close(results, case.op(*plain, inverse=inverse), rtol=1e-14, atol=1e-14)
    for given, copy in zip(strided, before, strict=True):
        assert torch.equal(given, copy)
        assert all(r.untyped_storage().data_ptr() != given.untyped_storage().data_ptr() for r in results)


@every_spline
def test_result_has_the_wider_dtype(case: Case) -> None:
    for dtypes, expected in (
        ((torch.float32, torch.float64), torch.float64),
        ((torch.float32, torch.bfloat16), torch.float32),
        ((torch.float16, torch.float32), torch.float32),
    ):
        results = case.op(grid(4, dtypes[0]), *case.draw(4, dtype=dtypes[1]))
        assert [r.dtype for r in results] == [expected, expected]


# --- refusals


@pytest.mark.parametrize("sizes", [(5, 4, 4), (5, 5, 5), (5, 5, 3), (0, 0, 0), (), (5, 5, 4, 4), (5, 5, 4, 1)], ids=str)
def test_sizes_that_do_not_fit_are_refused(sizes: tuple[int, ...]) -> None:
    parameters = [torch.zeros(n) for n in sizes] or [torch.zeros(())] * 3
    op = rational_linear_spline if len(parameters) == 4 else rational_quadratic_spline
    what = "lambdas with a last axis of 5" if len(parameters) == 4 else "K >= 1 for widths and heights and of K - 1"
    with pytest.raises(ShapeError, match=f"{op.__name__}: .*{what}"):
        op(torch.zeros(2), *parameters)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bound", 0.0),
        ("bound", math.inf),
        ("min_bin_width", 0.0),
        ("min_bin_width", 0.2),
        ("min_bin_height", -1e-3),
        ("min_bin_height", 0.2),
        ("min_derivative", 0.0),
        ("min_derivative", 1.0),
        ("min_lambda", 0.0),
        ("min_lambda", 0.6),
    ],
)
def test_options_out_of_range_are_refused(name: str, value: float) -> None:
    case = CASES["linear"]
    with pytest.raises(OptionError, match=f"{name}.* is expected; got {value}|{name} is expected; got {value}"):
        rational_linear_spline(torch.zeros(2), *case.draw(), **{name: value})
    if name != "min_lambda":
        with pytest.raises(OptionError, match=name):
            rational_quadratic_spline(torch.zeros(2), *CASES["quadratic"].draw(), **{name: value})
