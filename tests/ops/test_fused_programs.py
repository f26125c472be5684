"""Fused forms in compiled and exported programs, and as torch's own checks of operators see them."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import pytest
import torch
from torch._dynamo.testing import EagerAndRecordGraphs
from torch.func import grad, jvp, vmap

from flowtorch.ops import fused

from .fused_cases import Case, Tensors, a_few, both_ways, needs_kernels
from .test_fused_derivatives import points, scalar

pytestmark = [
    needs_kernels,
    # Torch's own, in forward mode and in inductor.
    pytest.mark.filterwarnings("ignore:`torch.jit.script(_method)?` is deprecated:DeprecationWarning"),
]
OPERATORS = {
    "affine softplus": "affine",
    "affine gated": "affine",
    "quadratic": "rational_quadratic_spline",
    "gaussian mixture": "mixture",
    "signed power": "signed_power",
    "exp": "fixed",
}


@both_ways
@a_few
def test_the_compiler_keeps_one_node(case: Case, inverse: bool) -> None:
    torch.compiler.reset()
    record = EagerAndRecordGraphs()
    tensors = [t.requires_grad_() for t in points(case)]
    compiled = torch.compile(lambda *a: case.op(*a, inverse=inverse), fullgraph=True, backend=record)
    torch.testing.assert_close(compiled(*tensors), case.op(*tensors, inverse=inverse))
    targets = [str(n.target) for g in record.graphs for n in g.graph.nodes if n.op == "call_function"]
    assert [t for t in targets if t.startswith("flowtorch")] == [
        f"flowtorch.{OPERATORS.get(case.name, 'rational_linear_spline')}"
    ]
    assert not any("softmax" in t or "exp" in t for t in targets)


@both_ways
@a_few
def test_compiled_gradients(case: Case, inverse: bool) -> None:
    torch.compiler.reset()

    def op(*tensors: torch.Tensor) -> torch.Tensor:
        return scalar(lambda *a: case.op(*a, inverse=inverse), *tensors)

    compiled = torch.compile(op, fullgraph=True, backend="aot_eager", dynamic=True)
    for count in (6, 9):  # the second without compiling again
        tensors = [t.requires_grad_() for t in points(case, count)]
        gradients = [torch.autograd.grad(f(*tensors), tensors) for f in (compiled, op)]
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@a_few
def test_inductor(case: Case) -> None:
    torch.compiler.reset()
    tensors = [t.requires_grad_() for t in case.draw(5, 3)]
    compiled = torch.compile(lambda *a: scalar(case.op, *a), fullgraph=True)
    gradients = [torch.autograd.grad(f(*tensors), tensors) for f in (compiled, lambda *a: scalar(case.op, *a))]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


@a_few
def test_transforms_within_the_compiler(case: Case) -> None:
    torch.compiler.reset()
    tensors = points(case)
    ones = tuple(torch.ones_like(t) for t in tensors)

    def transformed(*a: torch.Tensor) -> tuple[torch.Tensor, ...]:
        per_point = vmap(grad(lambda *b: scalar(case.op, *b)))(*a)
        return per_point, jvp(lambda *b: scalar(case.op, *b), a, ones)[1]

    compiled = torch.compile(transformed, fullgraph=True, backend="eager")(*tensors)
    torch.testing.assert_close(compiled, transformed(*tensors))
    assert all(t.any() for t in compiled)


@a_few
def test_a_compiled_function_called_in_forward_mode_is_not_silently_zero(case: Case) -> None:
    torch.compiler.reset()
    tensors = points(case)
    compiled = torch.compile(lambda *a: case.op(*a), fullgraph=True, backend="eager")
    compiled(*tensors)  # so that there is a graph with the fused form
    tangents = []
    for op in (compiled, case.reference):
        with torch.autograd.forward_ad.dual_level():
            duals = [torch.autograd.forward_ad.make_dual(t, torch.ones_like(t)) for t in tensors]
            tangents.append(torch.autograd.forward_ad.unpack_dual(op(*duals)[0]).tangent)
    torch.testing.assert_close(*tangents, rtol=1e-9, atol=1e-9)
    assert tangents[0] is not None and tangents[0].any()


@pytest.mark.parametrize("strict", [False, True])
@both_ways
@a_few
def test_exported_programs_need_no_flowtorch(case: Case, inverse: bool, strict: bool) -> None:
    class Module(torch.nn.Module):
        def forward(self, *a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return case.op(*a, inverse=inverse)

    example = tuple(points(case))
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(Module(), example, dynamic_shapes=((batch,) * len(example),), strict=strict)
    assert "flowtorch" not in str([n.target for n in program.graph.nodes])
    other = points(case, 4)
    torch.testing.assert_close(program.module()(*other), case.op(*other, inverse=inverse))


@both_ways
@a_few
def test_torch_accepts_the_operators(case: Case, inverse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("flowtorch.ops._compiled")
    calls: list[tuple[str, tuple[object, ...]]] = []
    plain = fused.operator
    monkeypatch.setattr(fused, "operator", lambda name: lambda *a: calls.append((name, a)) or plain(name)(*a))
    tensors = [t.requires_grad_() for t in case.draw(4, 3)]
    scalar(lambda *a: case.op(*a, inverse=inverse), *tensors).backward()
    (name, forward), (backward_name, backward) = calls
    name = name.removesuffix("_forward")
    forward = tuple(a.detach().requires_grad_() if isinstance(a, torch.Tensor) else a for a in forward)
    torch.library.opcheck(getattr(torch.ops.flowtorch, name).default, forward)
    backward = tuple(a.detach() if isinstance(a, torch.Tensor) else a for a in backward)
    torch.library.opcheck(
        getattr(torch.ops.flowtorch, backward_name).default, backward, test_utils=("test_schema", "test_faketensor")
    )


# --- operators called directly, as the ops do not in function transforms and under autocast


def direct(case: Case, suffix: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[..., Tensors], Tensors]:
    """An operator behind an op as a function of its tensors, and those of one call."""
    importlib.import_module("flowtorch.ops._compiled")
    calls: dict[str, tuple[object, ...]] = {}
    plain = fused.operator
    with monkeypatch.context() as patch:
        patch.setattr(fused, "operator", lambda name: lambda *a: calls.update({name: a}) or plain(name)(*a))
        scalar(case.op, *(t.requires_grad_() for t in case.draw(4, 3))).backward()
    forward, backward = calls
    operator = getattr(torch.ops.flowtorch, forward.removesuffix("_forward") + suffix)
    arguments = calls[backward if suffix == "_backward" else forward]
    options = [a for a in arguments if not isinstance(a, torch.Tensor)]
    return lambda *tensors: operator(*tensors, *options), [a.detach() for a in arguments if isinstance(a, torch.Tensor)]


@pytest.mark.parametrize("suffix", ["", "_forward", "_backward"])
@a_few
def test_operators_under_vmap(case: Case, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op, tensors = direct(case, suffix, monkeypatch)
    for dim in (0, 1):
        torch.testing.assert_close(vmap(op, in_dims=dim, out_dims=dim)(*tensors), op(*tensors))
    nested = vmap(vmap(op), in_dims=1, out_dims=1)(*tensors)
    torch.testing.assert_close(nested, op(*tensors))
    for i, tensor in enumerate(tensors):
        if len(tensors) > 1:  # one that is the same everywhere
            dims = tuple(None if j == i else 0 for j in range(len(tensors)))
            found = vmap(op, in_dims=dims)(*tensors[:i], tensor[0], *tensors[i + 1 :])
            torch.testing.assert_close(found, op(*tensors[:i], tensor[:1].expand_as(tensor), *tensors[i + 1 :]))


@a_few
def test_operators_under_autocast(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    op, (x, *parameters) = direct(case, "", monkeypatch)
    narrow = [p.bfloat16() for p in parameters]
    expected = op(x.float(), *(p.float() for p in narrow))
    with torch.autocast("cpu", torch.bfloat16):
        results = op(x.float(), *narrow)
        assert op(x, *parameters)[1].dtype == torch.float64
        if parameters:
            with pytest.raises(RuntimeError, match="flowtorch: tensors of one dtype .* expected"):
                op(x, *narrow)
            with pytest.raises(RuntimeError, match="flowtorch: tensors of one dtype .* expected"):
                direct(case, "_forward", monkeypatch)[0](x.float(), *narrow)
    assert [r.dtype for r in results] == [torch.float32] * 2
    assert all(torch.equal(r, e) for r, e in zip(results, expected, strict=True))


def test_operators_refuse_what_does_not_fit() -> None:
    x, widths, short = torch.zeros(2, 3), torch.zeros(2, 3, 4), torch.zeros(2, 3, 3)
    options = (3.0, 1e-3, 1e-3, 1e-3, False)
    operator = torch.ops.flowtorch.rational_quadratic_spline_forward
    operator(x, widths, widths, short, *options)
    for wrong in (
        (x, widths, widths, widths),
        (x, widths, short, short),
        (x, widths[:1], widths, short),
        (x, widths.double(), widths, short),
        (x[0], widths, widths, short),
        (x.half(), widths, widths, short),
        (x, torch.zeros(()), widths, short),
        (x, torch.zeros(2, 3, 129), torch.zeros(2, 3, 129), torch.zeros(2, 3, 128)),
    ):
        with pytest.raises(RuntimeError, match="flowtorch: .* expected"):
            operator(*wrong, *options)
