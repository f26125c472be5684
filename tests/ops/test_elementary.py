"""Exp, sigmoid, tanh, softplus, elu, leaky_relu, power: against mpmath, torch's transforms and autodiff."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import mpmath
import pytest
import torch
from torch.distributions import transforms as T
from torch.func import grad, hessian, jvp, vmap

from flowtorch import ops
from flowtorch.errors import OptionError

# Torch's own, raised once in a process, when forward-mode differentiation is used first.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Case:
    """An op, what it should be in exact arithmetic, and where."""

    op: Callable[..., tuple[torch.Tensor, torch.Tensor]]
    exact: Callable[[mpmath.mpf], mpmath.mpf]  # y of x
    slope: Callable[[mpmath.mpf], mpmath.mpf]  # dy/dx of x
    low: float = -math.inf  # the codomain
    high: float = math.inf
    positive_domain: bool = False
    torch_transform: T.Transform | None = None


def _sigmoid(x: mpmath.mpf) -> mpmath.mpf:
    return 1 / (1 + mpmath.exp(-x))


CASES = {
    "exp": Case(ops.exp, mpmath.exp, mpmath.exp, 0.0, torch_transform=T.ExpTransform()),
    "sigmoid": Case(
        ops.sigmoid, _sigmoid, lambda x: _sigmoid(x) * _sigmoid(-x), 0.0, 1.0, torch_transform=T.SigmoidTransform()
    ),
    "tanh": Case(ops.tanh, mpmath.tanh, lambda x: mpmath.sech(x) ** 2, -1.0, 1.0, torch_transform=T.TanhTransform()),
    "softplus": Case(
        ops.softplus, lambda x: mpmath.log1p(mpmath.exp(x)), _sigmoid, 0.0, torch_transform=T.SoftplusTransform()
    ),
    "elu": Case(ops.elu, lambda x: x if x > 0 else mpmath.expm1(x), lambda x: 1 if x > 0 else mpmath.exp(x), -1.0),
    "leaky_relu": Case(
        partial(ops.leaky_relu, slope=0.125),
        lambda x: x if x >= 0 else x / 8,
        lambda x: 1 if x >= 0 else mpmath.mpf(0.125),
    ),
    "power": Case(
        partial(ops.power, exponent=2.5),
        lambda x: x ** mpmath.mpf(2.5),
        lambda x: mpmath.mpf(2.5) * x ** mpmath.mpf(1.5),
        0.0,
        positive_domain=True,
        torch_transform=T.PowerTransform(torch.tensor(2.5, dtype=torch.float64)),
    ),
    "power, negative": Case(
        partial(ops.power, exponent=-0.75),
        lambda x: x ** mpmath.mpf(-0.75),
        lambda x: mpmath.mpf(-0.75) * x ** mpmath.mpf(-1.75),
        0.0,
        positive_domain=True,
        torch_transform=T.PowerTransform(torch.tensor(-0.75, dtype=torch.float64)),
    ),
}
every_case = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])


def points(case: Case, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Points of the domain, neither 0 nor a kink."""
    if case.positive_domain:
        return torch.tensor([1e-3, 0.3, 0.9, 1.0, 1.7, 40.0], dtype=dtype)
    return torch.tensor([-6.0, -2.5, -0.4, -1e-3, 1e-3, 0.7, 3.0, 5.5], dtype=dtype)


def arguments(case: Case, inverse: bool, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Points of the domain, or of the codomain."""
    x = points(case, dtype)
    return case.op(x)[0] if inverse else x


@every_case
def test_value_and_log_derivative_are_right_to_rounding(case: Case) -> None:
    with mpmath.workdps(40):
        x = points(case)
        if not case.positive_domain:
            x = torch.cat((x, torch.tensor([-300.0, -40.0, -18.0, -1e-9, 0.0, 1e-9, 18.0, 25.0, 40.0, 300.0]).double()))
        y, log_derivative = case.op(x)
        for i, v in enumerate(x.tolist()):
            exact = float(case.exact(mpmath.mpf(v)))
            inside = exact if exact not in (case.low, case.high) else math.nextafter(exact, 0.0)
            assert y[i].item() == pytest.approx(inside, rel=4e-15, abs=1e-300), v
            exact = float(mpmath.log(abs(case.slope(mpmath.mpf(v)))))
            assert log_derivative[i].item() == pytest.approx(exact, rel=4e-15, abs=1e-15), v


@every_case
def test_inverse_solves_the_exact_equation(case: Case) -> None:
    with mpmath.workdps(40):
        y = arguments(case, inverse=True)
        x, log_derivative = case.op(y, inverse=True)
        for i, v in enumerate(x.tolist()):
            assert float(case.exact(mpmath.mpf(v))) == pytest.approx(y[i].item(), rel=1e-14), v
            exact = -float(mpmath.log(abs(case.slope(mpmath.mpf(v)))))
            assert log_derivative[i].item() == pytest.approx(exact, rel=1e-12, abs=1e-13), v


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.torch_transform is not None])
def test_agrees_with_torch(name: str) -> None:
    case = CASES[name]
    transform = case.torch_transform
    assert transform is not None
    x = points(case)
    y = transform(x)
    log_derivative = transform.log_abs_det_jacobian(x, y)
    torch.testing.assert_close(case.op(x), (y, log_derivative), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(case.op(y, inverse=True), (x, -log_derivative), rtol=1e-9, atol=1e-9)


@both_ways
@every_case
def test_log_derivative_is_that_of_autodiff(case: Case, inverse: bool) -> None:
    x = arguments(case, inverse)
    derivative = vmap(grad(lambda t: case.op(t, inverse=inverse)[0]))(x)
    torch.testing.assert_close(case.op(x, inverse=inverse)[1], derivative.abs().log(), rtol=1e-10, atol=1e-12)


@every_case
def test_round_trip(case: Case) -> None:
    x = points(case)
    y, log_derivative = case.op(x)
    back, inverse_log_derivative = case.op(y, inverse=True)
    torch.testing.assert_close(back, x, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(inverse_log_derivative, -log_derivative, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@every_case
def test_far_out_nothing_is_nan_and_values_stay_inside(case: Case, dtype: torch.dtype) -> None:
    far = (
        (1e-30, 1e-6, 1e-3, 1e3, 1e6)
        if case.positive_domain
        else (-math.inf, -1e6, -1e3, -200.0, 200.0, 1e3, 1e6, math.inf)
    )
    x = torch.tensor(far, dtype=dtype)
    x = x[(x > 0.0) | (not case.positive_domain)].requires_grad_()  # 1e-30 is 0 in float16
    y, log_derivative = case.op(x)
    assert not (y.isnan() | log_derivative.isnan()).any()
    if case.low > -math.inf:
        assert (y > case.low).all()
    if case.high < math.inf:
        assert (y < case.high).all()
    finite = x.detach().isfinite()
    for result in (y, log_derivative):
        (gradient,) = torch.autograd.grad(result.sum(), x, retain_graph=True)
        assert not gradient[finite].isnan().any()


def test_far_out_results_are_the_limits() -> None:
    tiny, below = torch.finfo(torch.float64).tiny, 1.0 - 2.0**-53
    x = torch.tensor([-1e6, -1e3, 1e3, 1e6], dtype=torch.float64)
    expected = {
        "exp": ([tiny, tiny, math.inf, math.inf], [-1e6, -1e3, 1e3, 1e6], [0.0] * 4),
        "sigmoid": ([tiny, tiny, below, below], [-1e6, -1e3, -1e3, -1e6], [0.0, 0.0, 0.0, 0.0]),
        "softplus": ([tiny, tiny, 1e3, 1e6], [-1e6, -1e3, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]),
        "elu": ([-below, -below, 1e3, 1e6], [-1e6, -1e3, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]),
        "leaky_relu": ([-1.25e5, -125.0, 1e3, 1e6], [math.log(0.125)] * 2 + [0.0] * 2, [0.125, 0.125, 1.0, 1.0]),
    }
    log4 = 2.0 * math.log(2.0)
    expected["tanh"] = ([-below, -below, below, below], [log4 - 2e6, log4 - 2e3, log4 - 2e3, log4 - 2e6], [0.0] * 4)
    for name, (values, logs, slopes) in expected.items():
        y, log_derivative = CASES[name].op(x)
        assert y.tolist() == values, name
        assert log_derivative.tolist() == pytest.approx(logs, rel=1e-15, abs=0.0), name
        assert vmap(grad(lambda t, op=CASES[name].op: op(t)[0]))(x).tolist() == slopes, name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@every_case
def test_inverse_is_finite_up_to_the_ends_of_the_codomain(case: Case, dtype: torch.dtype) -> None:
    finfo = torch.finfo(dtype)
    low = finfo.tiny if case.low == 0.0 else -(1.0 - finfo.eps / 2.0) if case.low == -1.0 else -1e3
    high = 1e3 if case.high == math.inf else 1.0 - finfo.eps / 2.0
    y = torch.tensor([low, high], dtype=dtype, requires_grad=True)
    x, log_derivative = case.op(y, inverse=True)
    if not case.positive_domain:  # 1e-38 ** (1 / -0.75) really is beyond float32
        assert x.isfinite().all() and log_derivative.isfinite().all()
    gradients = [torch.autograd.grad(r.sum(), y, retain_graph=True)[0] for r in (x, log_derivative)]
    assert not any(r.isnan().any() for r in (x, log_derivative, *gradients))


@both_ways
@every_case
def test_nan_stays_nan(case: Case, inverse: bool) -> None:
    y, log_derivative = case.op(torch.tensor([math.nan, 0.5]), inverse=inverse)
    assert y.isnan().tolist() == log_derivative.isnan().tolist() == [True, False]


@both_ways
@every_case
def test_is_twice_differentiable(case: Case, inverse: bool) -> None:
    x = arguments(case, inverse)[1:-1].clone().requires_grad_()
    op = partial(case.op, inverse=inverse)
    assert torch.autograd.gradcheck(op, (x,), eps=1e-7, atol=1e-5, rtol=1e-3)
    assert torch.autograd.gradgradcheck(op, (x,), eps=1e-7, atol=1e-4, rtol=1e-3)


@both_ways
@every_case
def test_function_transforms_agree_with_the_log_derivative(case: Case, inverse: bool) -> None:
    x = arguments(case, inverse)
    derivative = vmap(grad(lambda t: case.op(t, inverse=inverse)[0]))(x)
    (_, _), (tangent, log_tangent) = jvp(partial(case.op, inverse=inverse), (x,), (torch.ones_like(x),))
    torch.testing.assert_close(tangent, derivative)
    # (log |f'|)' f' = f''
    second = vmap(hessian(lambda t: case.op(t, inverse=inverse)[0]))(x)
    torch.testing.assert_close(log_tangent * derivative, second, rtol=1e-8, atol=1e-8)


def test_second_derivative_at_zero() -> None:
    # Written with |x|, all first derivatives would be right and these 0: the gradient of abs is 0 at 0.
    zero = torch.zeros((), dtype=torch.float64)
    for name, expected in (("sigmoid", -0.5), ("tanh", -2.0), ("softplus", -0.25)):
        second = grad(grad(lambda t, op=CASES[name].op: op(t)[1]))(zero)
        assert second.item() == pytest.approx(expected), name


def _all(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    """All ops at positive ``x``, all inverses at ``y`` between 0 and 1."""
    results = [case.op(t, inverse=i) for case, (t, i) in itertools.product(CASES.values(), ((x, False), (y, True)))]
    return [r for pair in results for r in pair]


def test_compiles_to_one_graph() -> None:
    torch.compiler.reset()
    x, y = torch.tensor([0.2, 1.5]), torch.tensor([0.3, 0.8])
    torch.testing.assert_close(torch.compile(_all, fullgraph=True, backend="eager")(x, y), _all(x, y))


def test_exports_with_a_dynamic_batch() -> None:
    class Module(torch.nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
            return _all(x, y)

    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(Module(), (torch.rand(3, 2), torch.rand(3, 2)), dynamic_shapes=(batch, batch))
    x, y = torch.tensor([[0.2], [1.5]]).expand(2, 2), torch.tensor([[0.3, 0.4], [0.5, 0.8]])
    torch.testing.assert_close(program.module()(x, y), _all(x, y))


@both_ways
@every_case
def test_shapes_dtypes_and_devices(case: Case, inverse: bool) -> None:
    for dtype, shape, device in itertools.product(DTYPES, ((), (0, 3), (2, 1, 3)), ("cpu", "meta")):
        x = torch.full(shape, 0.5, dtype=dtype, device=device)
        for result in case.op(x, inverse=inverse):
            assert (result.shape, result.dtype, result.device) == (x.shape, x.dtype, x.device)


@both_ways
@every_case
def test_inputs_are_neither_changed_nor_returned(case: Case, inverse: bool) -> None:
    x = torch.tensor([[0.2, 0.4, 0.9], [0.3, 0.6, 0.7]], dtype=torch.float64).t()
    before = x.clone()
    results = case.op(x, inverse=inverse)
    contiguous = case.op(x.contiguous(), inverse=inverse)
    for result in results:
        assert result.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()
    torch.testing.assert_close(results, contiguous, rtol=0.0, atol=0.0)
    assert torch.equal(x, before)


@both_ways
@every_case
def test_float32_is_as_exact_as_float32_can_be(case: Case, inverse: bool) -> None:
    x = arguments(case, inverse, torch.float32)
    for single, double in zip(case.op(x, inverse=inverse), case.op(x.double(), inverse=inverse), strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-6, atol=1e-6)


@both_ways
@pytest.mark.parametrize("name", ["leaky_relu", "power"])
def test_parameter_may_be_a_tensor(name: str, inverse: bool) -> None:
    op = getattr(ops, name)
    x = torch.tensor([0.4, 1.3, 2.0], dtype=torch.float64)
    x = x if name == "power" else x - 1.0
    parameter = torch.tensor([[0.5], [3.0]], dtype=torch.float64, requires_grad=True)
    together = op(x, parameter, inverse=inverse)
    apart = [op(x, p, inverse=inverse) for p in (0.5, 3.0)]
    for i in (0, 1):
        torch.testing.assert_close(together[i], torch.stack([pair[i] for pair in apart]))
    assert torch.autograd.gradcheck(lambda p: op(x, p, inverse=inverse), (parameter,))


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(OptionError, match="slope above 0 is expected; got -0.1"):
        ops.leaky_relu(torch.zeros(2), -0.1)
    with pytest.raises(OptionError, match="exponent other than 0"):
        ops.power(torch.ones(2), 0.0)
