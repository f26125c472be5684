"""Backward passes of our own: against differentiation of the plain forms, whatever derivatives are asked for."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import torch

from flowtorch.ops._mixture import mixture, rates
from flowtorch.ops._normal import inverse_log_cdf
from flowtorch.ops._own_backward import own_backward, plain_eager
from flowtorch.ops.affine import log_scale
from flowtorch.ops.monotonic_integral import monotonic_integral

# Torch's own, raised once in a process, when forward-mode differentiation is used first.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
Tensors = tuple[torch.Tensor, ...]
Function = Callable[..., Tensors]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def integrand(t: torch.Tensor, params: Tensors) -> torch.Tensor:
    a, w = params
    return (torch.tanh(w[0] * t.unsqueeze(-1) + a.unsqueeze(-1)) * w[1]).sum(-1)


def integral(x: torch.Tensor, a: torch.Tensor, w: torch.Tensor, recompute: bool = True) -> Tensors:
    return monotonic_integral(x, integrand, (a, w), torch.zeros((), dtype=x.dtype), rule=48, recompute=recompute)


# Functions, and arguments of which some broadcast; among them the points where a sign changes.
POINTS = torch.tensor([-40.0, -3.0, -1e-9, 0.0, 0.3, 2.0, 60.0], dtype=torch.float64)
CASES: dict[str, tuple[Function, Tensors]] = {
    "rates": (lambda r: (rates(r), rates(r, -1.0, 0.3)), (POINTS,)),
    "logistic": (lambda *t: mixture("logistic", *t), (draw(3, 7) + POINTS, draw(3, 1), draw(3, 7).exp())),
    "logistic, many outputs": (
        lambda *t: mixture("logistic", *t),
        (draw(3, 1, 7), draw(3, 2, 7, seed=1), draw(3, 1, 7).exp()),
    ),
    "normal": (lambda *t: mixture("normal", *t), (draw(3, 7) + POINTS, draw(3, 1), draw(3, 7).exp())),
    "normal quantile": (lambda p: (inverse_log_cdf(p),), (-0.7 - draw(7).exp() ** 2,)),
    "integral": (integral, (draw(4, 5), draw(5, seed=1), draw(2, 6, seed=2))),
}
every_case = pytest.mark.parametrize("name", CASES)


def gradients(f: Function, args: Tensors, create_graph: bool = False) -> tuple[Tensors, Tensors]:
    leaves = tuple(a.clone().requires_grad_() for a in args)
    outs = f(*leaves)
    weights = [draw(*o.shape, seed=5 + i) for i, o in enumerate(outs)]
    return leaves, torch.autograd.grad(outs, leaves, weights, create_graph=create_graph)


@every_case
def test_values_and_gradients_are_those_of_the_plain_form(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f, args = CASES[name]
    values, (_, found) = f(*args), gradients(f, args)
    monkeypatch.setenv("FLOWTORCH_KERNELS", "reference")
    plain, (_, expected) = f(*args), gradients(f, args)
    for got, wanted in zip((*values, *found), (*plain, *expected), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


@every_case
def test_first_and_second_derivatives(name: str) -> None:
    f, args = CASES[name]
    # Away from zero, where the bound of a log-scale has a kink of the third order, and from where all is flat.
    args = tuple((a + 0.01).clamp(-6.0, 6.0) if name != "normal quantile" else a for a in args)
    leaves = tuple(a.clone().requires_grad_() for a in args)
    assert torch.autograd.gradcheck(f, leaves, atol=1e-6)
    # The integral's derivative by its end is the integrand; that of the quadrature is off by its error at the kink.
    assert torch.autograd.gradgradcheck(f, leaves, atol=1e-4 if name == "integral" else 1e-5)


@every_case
def test_gradients_under_transforms_are_those_of_autograd(name: str) -> None:
    f, args = CASES[name]
    scalar = lambda *t: sum(torch.sin(o).sum() for o in f(*t))  # noqa: E731
    leaves = tuple(a.clone().requires_grad_() for a in args)
    expected = torch.autograd.grad(scalar(*leaves), leaves)
    for got, wanted in zip(torch.func.grad(scalar, tuple(range(len(args))))(*args), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)
    tangents = tuple(draw(*a.shape, seed=9) for a in args)
    _, along = torch.func.jvp(scalar, args, tangents)
    direct = sum((g * t).sum() for g, t in zip(expected, tangents, strict=True))
    torch.testing.assert_close(along, direct, rtol=1e-9, atol=1e-9)
    batched = tuple(torch.stack([a, 0.5 * a]) for a in args)
    mapped = torch.func.vmap(torch.func.grad(scalar))(*batched)
    torch.testing.assert_close(mapped[0], expected[0], rtol=1e-9, atol=1e-12)


@every_case
def test_many_gradients_at_once(name: str) -> None:
    f, args = CASES[name]
    first = lambda x: f(x, *args[1:])[0]  # noqa: E731
    one_by_one = torch.autograd.functional.jacobian(first, args[0])
    torch.testing.assert_close(torch.autograd.functional.jacobian(first, args[0], vectorize=True), one_by_one)


@every_case
def test_is_captured_whole(name: str) -> None:
    f, args = CASES[name]
    torch._dynamo.reset()
    compiled = torch.compile(f, fullgraph=True, backend="eager")
    for got, wanted in zip(compiled(*args), f(*args), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)
    torch._dynamo.reset()


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_changes_none_of_its_inputs_and_keeps_its_dtype(name: str, dtype: torch.dtype) -> None:
    f, args = CASES[name]
    given = tuple(a.to(dtype) for a in args)
    copies = tuple(g.clone().requires_grad_() for g in given)
    outs = f(*copies)
    sum(o.sum() for o in outs).backward()
    assert all(torch.equal(a, b) for a, b in zip(given, copies, strict=True))
    assert {o.dtype for o in outs} == {c.grad.dtype for c in copies if c.grad is not None} == {dtype}


def test_one_argument_may_be_a_function_of_another() -> None:
    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return own_backward(
            lambda a, b: (a * b,), lambda a, b: ((a * b,), ()), lambda t, s, g: (g[0] * t[1], g[0] * t[0]), a, b
        )[0]

    x = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(product(x, x * x), x, create_graph=True)
    (second,) = torch.autograd.grad(first, x)
    assert (first.item(), second.item()) == (27.0, 18.0)


def test_rates_are_bounded_exponentials() -> None:
    raw = torch.tensor([-1e6, -7.0, -0.5, 0.0, 1e-9, 2.0, 1e6], dtype=torch.float64)
    torch.testing.assert_close(rates(raw).log(), log_scale(raw, scale_fn="exp"), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(rates(raw, -1.0, 0.5).log(), 0.5 - log_scale(raw, scale_fn="exp"), rtol=1e-13, atol=0)


def test_plain_eager_is_told_from_all_else() -> None:
    seen: list[bool] = []

    def look(x: torch.Tensor) -> torch.Tensor:
        seen.append(plain_eager())
        return x * 2.0

    x = torch.ones(2)
    look(x)
    torch.func.vmap(look)(x)
    torch.func.jvp(look, (x,), (x,))
    assert seen == [True, False, False]


def test_memory_of_an_integral_does_not_grow_with_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWTORCH_KERNELS", raising=False)

    def saved(nodes: int, recompute: bool) -> int:
        total = 0

        def pack(t: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += t.numel()
            return t

        x, a, w = draw(50), draw(50, seed=1).requires_grad_(), draw(2, 6).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            monotonic_integral(x, integrand, (a, w), torch.zeros(()).double(), rule=nodes, recompute=recompute)
        gc.collect()
        return total

    assert saved(8, True) == saved(64, True) < saved(8, False) < saved(64, False) / 4
