"""Planar, radial and Sylvester maps on tensors: against the formulas of their papers, mpmath, autodiff, at extremes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial

import mpmath
import pytest
import torch

from flowtorch.errors import OptionError, ShapeError
from flowtorch.ops import _tanh_root
from flowtorch.ops._tanh_root import slope_at_zero, tanh_root, tanh_root_value
from flowtorch.ops.packed import upper_triangular
from flowtorch.ops.planar import planar
from flowtorch.ops.radial import radial
from flowtorch.ops.sylvester import sylvester

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

Op = Callable[..., tuple[torch.Tensor, torch.Tensor]]
SIZE = 3
TRIANGLE = 6
# Each map, with the shapes of its parameters for vectors of 3.
OPS: dict[str, tuple[Op, tuple[tuple[int, ...], ...]]] = {
    "planar": (planar, ((SIZE,), (SIZE,), ())),
    "planar, leaky relu": (partial(planar, nonlinearity="leaky_relu", negative_slope=0.1), ((SIZE,), (SIZE,), ())),
    "radial": (radial, ((SIZE,), (), ())),
    "sylvester": (sylvester, ((2, SIZE), (TRIANGLE,), (TRIANGLE,), (SIZE,))),
    "sylvester, two units": (sylvester, ((2, SIZE), (3,), (3,), (2,))),
    "sylvester, flipped": (
        lambda x, *params, **options: sylvester(x, None, *params, flip=True, **options),
        ((TRIANGLE,), (TRIANGLE,), (SIZE,)),
    ),
}
every_op = pytest.mark.parametrize("name", OPS)
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def draw(*shape: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(shape, dtype=torch.float64)


def drawn(name: str, batch: tuple[int, ...] = (), scale: float = 1.0) -> tuple[torch.Tensor, ...]:
    return tuple(draw(*batch, *shape, scale=scale) for shape in OPS[name][1])


def log_det_of(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    jacobian = torch.autograd.functional.jacobian(function, x)
    assert isinstance(jacobian, torch.Tensor)
    return torch.linalg.slogdet(jacobian)[1]


# The equation v + (k - 1) tanh v = t


def grid(dtype: torch.dtype, largest: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Slopes and images over many orders of magnitude, and images next to where the function turns."""
    sizes = torch.logspace(-6.0, largest, 41, dtype=torch.float64)
    raw = torch.cat([-sizes, torch.zeros(1, dtype=torch.float64), sizes])[:, None]
    wide = torch.logspace(-14.0, 7.0, 301, dtype=torch.float64).expand(len(raw), -1)
    near = torch.linspace(0.5, 1.5, 101, dtype=torch.float64) * (slope_at_zero(raw) - 1.0).abs()
    t = torch.cat([torch.zeros(len(raw), 1, dtype=torch.float64), wide, -wide, near], 1)
    return t.to(dtype), raw.to(dtype).expand_as(t)


@pytest.mark.parametrize(("dtype", "largest"), [(torch.float32, 5.0), (torch.float64, 8.0)])
@pytest.mark.parametrize("steps", [_tanh_root.STEPS, _tanh_root.STEPS - 1], ids=["as is", "a step fewer"])
def test_the_root_is_exact_to_rounding(
    dtype: torch.dtype, largest: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tanh_root, "STEPS", steps)
    t, raw = grid(dtype, largest)
    k = slope_at_zero(raw)
    m = torch.expm1(torch.asinh(raw))
    v = tanh_root_value(t, k)
    residual = (v + m * torch.tanh(v) - t).abs()
    terms = t.abs() + v.abs() + (m * torch.tanh(v)).abs()
    assert bool((residual <= 2.0 * torch.finfo(dtype).eps * terms).all())


@pytest.mark.parametrize("raw", [-2e3, -3.0, -0.2, 0.0, 0.7, 40.0, 1e5])
@pytest.mark.parametrize("t", [1e-9, 0.3, 1.7, -25.0])
def test_the_root_is_that_of_mpmath(raw: float, t: float) -> None:
    with mpmath.workdps(40):
        k = mpmath.exp(mpmath.asinh(raw))
        low, high = (t * f for f in (1e-9, max(1.0, 1e9)))
        expected = mpmath.findroot(
            lambda v: v + (k - 1) * mpmath.tanh(v) - t, (low, high), solver="anderson", maxsteps=500, verify=False
        )
        slope = 1 + (k - 1) * mpmath.sech(expected) ** 2
    found = tanh_root(*(torch.tensor(v, dtype=torch.float64) for v in (t, raw)))
    # An error of rounding in t is this many in the root.
    assert abs(float(found) - float(expected)) <= 1e-14 * (abs(t) + abs(float(expected))) * max(1.0, 1.0 / float(slope))


def test_derivatives_of_the_root() -> None:
    t, raw = draw(7, 1, scale=3.0).requires_grad_(), draw(6, scale=3.0).requires_grad_()
    assert torch.autograd.gradcheck(tanh_root, (t, raw))
    assert torch.autograd.gradgradcheck(tanh_root, (t, raw))


def test_slopes_at_zero() -> None:
    raw = torch.tensor([-1e6, -50.0, 0.0, 0.75, 50.0], dtype=torch.float64)
    expected = [float(mpmath.exp(mpmath.asinh(r))) for r in raw.tolist()]
    torch.testing.assert_close(slope_at_zero(raw), torch.tensor(expected, dtype=torch.float64))


# The formulas of the papers


@pytest.mark.parametrize("nonlinearity", ["tanh", "leaky_relu"])
def test_planar_is_the_formula_of_the_paper(nonlinearity: str) -> None:
    x, w, shift, b = draw(5, SIZE), draw(SIZE), draw(SIZE), draw()
    shift = shift + w * (0.3 - w @ shift) / (w @ w)  # of product 0.3 with w
    k = 1.0 + w @ shift
    u = shift - w * (k - 1.0) ** 2 / (2.0 * k * (w @ w))  # as the documentation says
    h = torch.tanh if nonlinearity == "tanh" else partial(torch.nn.functional.leaky_relu, negative_slope=0.1)
    y, _ = planar(x, w, u, b, nonlinearity=nonlinearity, negative_slope=0.1)  # type: ignore[arg-type]
    torch.testing.assert_close(y, x + shift * h(x @ w + b)[:, None])


@pytest.mark.parametrize("target", [-0.999, -0.5, 0.0, 4.0])
def test_any_valid_shift_is_reached(target: float) -> None:
    w, shift = draw(SIZE), draw(SIZE)
    shift = shift + w * (target - w @ shift) / (w @ w)
    u = shift - w * target**2 / (2.0 * (1.0 + target) * (w @ w))
    ones = torch.tensor(500.0, dtype=torch.float64)  # tanh is 1
    torch.testing.assert_close(planar(torch.zeros_like(w), w, u, ones)[0], shift)


def test_radial_is_the_formula_of_the_paper() -> None:
    x, x0, alpha, beta = draw(5, SIZE), draw(SIZE), torch.tensor(0.7).double(), torch.tensor(-0.4).double()
    y, log_det = radial(x, x0, torch.sinh(torch.log(alpha)), torch.sinh(torch.log1p(beta / alpha)))
    r = (x - x0).norm(dim=-1)
    h = 1.0 / (alpha + r)
    torch.testing.assert_close(y, x + (beta * h)[:, None] * (x - x0))
    derivative = -(h**2)
    expected = (SIZE - 1) * torch.log(1.0 + beta * h) + torch.log(1.0 + beta * h + beta * derivative * r)
    torch.testing.assert_close(log_det, expected)


@pytest.mark.parametrize("rank", [1, 2, SIZE])
def test_sylvester_is_the_formula_of_the_paper(rank: int) -> None:
    triangle = rank * (rank + 1) // 2
    x, v, b = draw(5, SIZE), draw(2, SIZE), draw(rank)
    outer, inner = upper_triangular(draw(triangle), rank), upper_triangular(draw(triangle), rank)
    outer = outer - torch.diag(outer.diagonal()) + torch.diag(0.5 * torch.tanh(draw(rank)))
    inner = inner - torch.diag(inner.diagonal()) + torch.diag(torch.tanh(draw(rank)))
    q = torch.eye(SIZE, dtype=torch.float64)
    for u in v:
        q = q @ (torch.eye(SIZE, dtype=torch.float64) - 2.0 * torch.outer(u, u) / (u @ u))
    q = q[:, :rank]
    above = torch.triu_indices(rank, rank, 1)
    pack = lambda m, d: torch.cat([d, m[above[0], above[1]]])  # noqa: E731
    k = 1.0 + outer.diagonal() * inner.diagonal()
    raw = outer.diagonal() * (1.0 + k) / (2.0 * k)  # as the documentation says
    y, log_det = sylvester(x, v, pack(outer, raw), pack(inner, inner.diagonal()), b)
    z = x @ q @ inner.mT + b
    torch.testing.assert_close(y, x + torch.tanh(z) @ outer.mT @ q.mT)
    torch.testing.assert_close(log_det, torch.log1p((k - 1.0) / torch.cosh(z) ** 2).sum(-1))


def test_a_sylvester_map_of_one_unit_is_planar() -> None:
    x, v, r, s, b = draw(5, SIZE), draw(1, SIZE), draw(1), draw(1), draw(1)
    direction = torch.eye(SIZE, dtype=torch.float64)[0] - 2.0 * v[0] * v[0, 0] / (v[0] @ v[0])
    for inverse in (False, True):
        found = sylvester(x, v, r, s, b, inverse=inverse)
        expected = planar(x, s * direction, r * direction, b[0], inverse=inverse)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("shape", [(4, 4), (5, 2)])
def test_any_orthonormal_columns_are_those_of_reflections(shape: tuple[int, int]) -> None:
    """Up to the signs of columns, which R and R~ take over: so parameters of another construction carry over."""
    size, rank = shape
    q = torch.linalg.qr(draw(*shape))[0]
    packed, tau = torch.geqrf(q)
    vectors = (packed.tril(-1) + torch.eye(*shape, dtype=torch.float64)).mT
    signs = packed.diagonal().sign()
    if float(tau[-1]) == 0.0:  # no reflection of the last column of a square matrix there, one here
        signs = signs * torch.tensor([1.0] * (rank - 1) + [-1.0], dtype=torch.float64)
    x, b, raw, inner = draw(6, size), draw(rank), draw(rank), draw(rank)
    zeros = torch.zeros(rank * (rank - 1) // 2, dtype=torch.float64)
    y, _ = sylvester(x, vectors, torch.cat([raw * signs, zeros]), torch.cat([inner * signs, zeros]), b)
    a = raw * inner
    diagonal = raw * (1.0 + slope_at_zero(a)) / (1.0 + torch.sqrt(1.0 + a**2))
    torch.testing.assert_close(y, x + torch.tanh(x @ q * inner + b) * diagonal @ q.mT)


def test_reflections_keep_columns_orthonormal_to_rounding() -> None:
    """Even for normals that are nearly parallel, where an iteration would not converge: distances show it."""
    v = draw(1, 6) + draw(6, 6, scale=1e-9)
    entries = torch.cat([torch.full((6,), 1.0), torch.zeros(15)]).double()
    x, zero = draw(4, 6, scale=1e-3), torch.zeros(6, dtype=torch.float64)
    y, _ = sylvester(x, v, entries, entries, zero)  # nearly linear, the same for all directions
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1) * (y[0].norm() / x[0].norm()), rtol=1e-6, atol=0.0)
    torch.testing.assert_close(sylvester(y, v, entries, entries, zero, inverse=True)[0], x, rtol=1e-13, atol=1e-16)


def test_flipping_takes_coordinates_in_reverse_order() -> None:
    x, params = draw(5, SIZE), drawn("sylvester, flipped")
    y, log_det = sylvester(x.flip(-1), None, *params)
    torch.testing.assert_close(sylvester(x, None, *params, flip=True), (y.flip(-1), log_det))
    v = draw(2, SIZE)
    expected = log_det_of(lambda p: sylvester(p, v, *params, flip=True)[0], x[0])
    torch.testing.assert_close(sylvester(x[0], v, *params, flip=True)[1], expected)


# What all have in common


@every_op
def test_log_dets_are_those_of_autodiff(name: str) -> None:
    op, params, x = OPS[name][0], drawn(name), draw(SIZE)
    y, log_det = op(x, *params)
    torch.testing.assert_close(log_det, log_det_of(lambda p: op(p, *params)[0], x))
    back, inverse_log_det = op(y, *params, inverse=True)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(inverse_log_det, log_det_of(lambda p: op(p, *params, inverse=True)[0], y))


@both_ways
@every_op
def test_derivatives_up_to_the_second(name: str, inverse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    op = OPS[name][0]
    call = lambda *tensors: op(*tensors, inverse=inverse)  # noqa: E731
    for batch in ((), (2,)):
        inputs = tuple(t.requires_grad_() for t in (draw(2, SIZE), *drawn(name, batch)))
        assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)
    fast = torch.autograd.grad(sum(r.sin().sum() for r in call(*inputs)), inputs)
    monkeypatch.setenv("FLOWTORCH_KERNELS", "reference")
    plain = torch.autograd.grad(sum(r.sin().sum() for r in call(*inputs)), inputs)
    torch.testing.assert_close(fast, plain)


@both_ways
@every_op
def test_forward_mode_derivatives(name: str, inverse: bool) -> None:
    op = OPS[name][0]
    inputs = (draw(2, SIZE), *drawn(name))
    tangents = tuple(torch.randn_like(t) for t in inputs)
    call = lambda *tensors: op(*tensors, inverse=inverse)  # noqa: E731
    _, found = torch.func.jvp(call, inputs, tangents)
    step = 1e-6
    ends = [call(*(i + s * step * t for i, t in zip(inputs, tangents, strict=True))) for s in (1.0, -1.0)]
    for got, above, below in zip(found, *ends, strict=True):
        torch.testing.assert_close(got, (above - below) / (2.0 * step), rtol=1e-5, atol=1e-7)


@both_ways
@both_dtypes
@every_op
@pytest.mark.parametrize("scale", [0.0, 1.0, 50.0])
def test_values_and_gradients_are_finite_at_the_extremes(
    name: str, scale: float, dtype: torch.dtype, inverse: bool
) -> None:
    """Parameters of +-50 with all signs, points of 0 and +-1e4; x0 and 0 among the points."""
    op, shapes = OPS[name]
    points = [*itertools.product([-1e4, 0.0, 1e4], repeat=SIZE), (scale,) * SIZE, (1e-30,) * SIZE]
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        signs = [torch.randint(0, 2, s, generator=generator) * 2.0 - 1.0 for s in shapes]
        if seed < 4:  # aligned, or opposed
            signs = [torch.full(s, 1.0 if seed & (1 << (i % 2)) else -1.0) for i, s in enumerate(shapes)]
        params = [(scale * s).to(dtype).requires_grad_() for s in signs]
        x = torch.tensor(points, dtype=dtype, requires_grad=True)
        y, log_det = op(x, *params, inverse=inverse)
        assert y.isfinite().all() and log_det.isfinite().all()
        for result in (y, log_det):
            for gradient in torch.autograd.grad(result.sum(), [x, *params], retain_graph=True, allow_unused=True):
                assert gradient is None or gradient.isfinite().all()


@both_dtypes
@every_op
def test_all_zero_is_the_identity(name: str, dtype: torch.dtype) -> None:
    op, shapes = OPS[name]
    x = draw(4, SIZE).to(dtype)
    for inverse in (False, True):
        y, log_det = op(x, *(torch.zeros(s, dtype=dtype) for s in shapes), inverse=inverse)
        torch.testing.assert_close(y, x)
        torch.testing.assert_close(log_det, torch.zeros_like(log_det))


def test_planar_weights_of_any_length() -> None:
    """The correction of the shift neither divides by zero nor jumps as the weights vanish."""
    x, w, u, b = draw(4, SIZE), draw(SIZE), draw(SIZE), draw()
    for dtype in (torch.float32, torch.float64):
        for length in (1e-3, 1e-6, 1e-9, 1e-20, 1e-40, 0.0):
            args = [t.to(dtype).requires_grad_() for t in (x, w * length, u, b)]
            y, log_det = planar(*args)
            expected = args[0] + args[2] * torch.tanh(args[3])
            torch.testing.assert_close(y, expected, atol=max(20.0 * length, 1e-5), rtol=0.0)
            gradients = torch.autograd.grad(y.sum() + log_det.sum(), args)
            assert all(g.isfinite().all() and g.abs().max() < 1e3 for g in gradients)


def test_radial_at_its_centre() -> None:
    for inverse in (False, True):
        x0 = draw(SIZE).requires_grad_()
        args = [x0.detach().clone().requires_grad_(), x0, *(draw().requires_grad_() for _ in range(2))]
        y, log_det = radial(*args, inverse=inverse)
        torch.testing.assert_close(y, x0)
        gradients = torch.autograd.grad(y.sum() + log_det, args, create_graph=True)
        assert all(g.isfinite().all() for g in gradients)
        second = torch.autograd.grad(sum(g.sin().sum() for g in gradients), args, allow_unused=True)
        assert all(g is None or g.isfinite().all() for g in second)


def test_radial_inverse_has_its_derivative_where_the_forms_of_the_root_meet() -> None:
    raw, zero = torch.tensor(0.75, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    y = slope_at_zero(raw).reshape(1).requires_grad_()  # at |y| = k
    x, log_det = radial(y, torch.zeros_like(y), zero, raw, inverse=True)
    (gradient,) = torch.autograd.grad(x, y)
    torch.testing.assert_close(gradient[0].log(), log_det)


def test_digits_that_cancellation_would_lose() -> None:
    """In float32, with slopes from 1e-4 to 1e4: images and log-dets as in float64."""
    sizes = 10.0 ** torch.arange(-6.0, 4.5, 0.25)
    raw = torch.cat([-sizes, sizes])[:, None]
    x, zero, one = sizes[:, None, None], torch.zeros(1), torch.ones(1)
    for call in (
        lambda x, raw, zero, one: radial(x, zero, zero[0], raw[:, 0]),
        lambda x, raw, zero, one: radial(x, zero, zero[0], raw[:, 0], inverse=True),
        lambda x, raw, zero, one: planar(x, one, raw, zero[0])[1:],
    ):
        *image, log_det = call(x, raw, zero, one)
        *expected, expected_log_det = call(*(t.double() for t in (x, raw, zero, one)))
        torch.testing.assert_close([i.double() for i in image], expected, rtol=1e-5, atol=0.0)
        torch.testing.assert_close(log_det.double(), expected_log_det, rtol=1e-5, atol=1e-5)


@every_op
def test_batches_of_parameters_and_points_broadcast(name: str) -> None:
    op = OPS[name][0]
    x, params = draw(4, 1, SIZE), drawn(name, (3,))
    for inverse in (False, True):
        y, log_det = op(x, *params, inverse=inverse)
        assert y.shape == (4, 3, SIZE) and log_det.shape == (4, 3)
        for i, j in ((0, 0), (3, 2)):
            one = op(x[i, 0], *(p[j] for p in params), inverse=inverse)
            torch.testing.assert_close((y[i, j], log_det[i, j]), one)


@every_op
def test_nan_stays_in_its_own_row(name: str) -> None:
    op, params, x = OPS[name][0], drawn(name), draw(3, SIZE)
    x[1, 2] = math.nan
    for inverse in (False, True):
        y, log_det = op(x, *params, inverse=inverse)
        assert (y.isnan().any(-1) | log_det.isnan()).tolist() == [False, True, False]


@every_op
def test_narrow_dtypes_are_computed_in_float32(name: str) -> None:
    op = OPS[name][0]
    x, *params = (t.to(torch.bfloat16) for t in (draw(4, SIZE), *drawn(name)))
    for inverse in (False, True):
        found = op(x, *params, inverse=inverse)
        expected = op(x.float(), *(p.float() for p in params), inverse=inverse)
        for got, wanted in zip(found, expected, strict=True):
            assert got.dtype == torch.bfloat16
            assert torch.equal(got, wanted.bfloat16())


def test_refusals() -> None:
    with pytest.raises(OptionError, match="nonlinearity is 'tanh' or 'leaky_relu'; got 'relu'"):
        planar(draw(2), draw(2), draw(2), draw(), nonlinearity="relu")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="a bias of at most 2 numbers is expected; got 3"):
        sylvester(draw(2), None, draw(6), draw(6), draw(3))
