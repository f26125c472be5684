"""Monotone splines: derivatives of all orders and modes, compilation, export, and tensors of every kind."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.func import grad, hessian, jvp, vmap

from tests.ops.splines import Case, both_ways, every_spline, grid

# Torch's own, raised once in a process, when forward-mode differentiation is used first.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


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
    inputs = [torch.tensor([2.0]).double(), *(torch.zeros_like(p) for p in case.draw(1, bins=2))]
    inputs = [t.requires_grad_() for t in inputs]
    assert torch.autograd.gradcheck(lambda *a: case.plain(*a, bound=4.0, inverse=inverse)[0], inputs)


@both_ways
@every_spline
def test_function_transforms_agree_with_autograd(case: Case, inverse: bool) -> None:
    inputs = tuple(t.requires_grad_() for t in (grid(12), *case.draw(12, seed=8)))
    directions = tuple(torch.linspace(-0.5, 1.5, t.numel()).to(t).reshape(t.shape) for t in inputs)
    op = partial(case.op, inverse=inverse)
    everything = tuple(range(len(inputs)))
    for output in (0, 1):
        gradients = torch.autograd.grad(op(*inputs)[output].sum(), inputs, create_graph=True, materialize_grads=True)
        by_point = vmap(grad(lambda *a, i=output: op(*a)[i], argnums=everything))(*inputs)
        torch.testing.assert_close(by_point, gradients)
        tangent = jvp(lambda *a, i=output: op(*a)[i], inputs, directions)[1]
        expected = sum((g * d).reshape(12, -1).sum(1) for g, d in zip(gradients, directions, strict=True))
        torch.testing.assert_close(tangent, expected)
        second = vmap(hessian(lambda *a, i=output: op(*a)[i], argnums=len(inputs) - 1))(*inputs)
        columns = gradients[-1].unbind(-1)
        rows = [torch.autograd.grad(c.sum(), inputs[-1], retain_graph=True)[0] for c in columns]
        torch.testing.assert_close(second, torch.stack(rows, 1))
    assert tangent.abs().max() > 0.05


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
    shapes = shapes[: len(case.sizes) + 1]
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
