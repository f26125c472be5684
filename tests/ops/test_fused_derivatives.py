"""Where fused forms give way to the reference forms, and that no derivative is silently zero."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

from flowtorch.ops import fused

from .fused_cases import Case, Tensors, a_few, both_ways, every_case, needs_kernels

pytestmark = [
    needs_kernels,
    # Torch's own, raised once in a process, when forward-mode differentiation is used first.
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
]


def points(case: Case, count: int = 6) -> Tensors:
    """Tensors of which the points are inside of the box, and no derivative is 0."""
    tensors = case.draw(count, seed=8, scale=0.7)
    return [0.5 * tensors[0].clamp(-3.0, 3.0), *tensors[1:]]


def scalar(op: Callable[..., tuple[torch.Tensor, torch.Tensor]], *tensors: torch.Tensor) -> torch.Tensor:
    """A number that depends on both results, and not linearly."""
    value, log_derivative = op(*tensors)
    return (value.sin() + log_derivative * value).sum()


def both(case: Case, transform: Callable[[Callable[..., torch.Tensor]], Callable[..., object]], *tensors: torch.Tensor):
    """What a transform of the op gives, and of the reference form."""
    got = transform(partial(scalar, case.op))(*tensors)
    expected = transform(partial(scalar, case.reference))(*tensors)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    leaves = got if isinstance(got, tuple) else (got,)
    assert all(leaf.any() for leaf in leaves if isinstance(leaf, torch.Tensor))


@every_case
def test_function_transforms(case: Case) -> None:
    tensors = points(case)
    everything = tuple(range(len(tensors)))
    both(case, lambda f: grad(f, everything), *tensors)
    both(case, lambda f: vmap(grad(f, everything)), *tensors)
    both(case, lambda f: jacfwd(f, everything), *tensors)
    both(case, lambda f: jacrev(f, everything), *tensors)
    both(case, lambda f: vmap(hessian(f, len(tensors) // 2)), *tensors)
    both(case, lambda f: lambda *a: jvp(f, a, tuple(torch.ones_like(t) for t in a)), *tensors)
    both(case, lambda f: lambda *a: vjp(f, *a)[1](torch.ones((), dtype=torch.float64)), *tensors)
    both(case, lambda f: grad(lambda *a: grad(f, 0)(*a).square().sum(), everything), *tensors)


@a_few
def test_transforms_of_tensors_that_require_gradients(case: Case) -> None:
    tensors = [t.requires_grad_() for t in points(case)]
    both(case, lambda f: vmap(grad(f)), *tensors)
    both(
        case, lambda f: lambda *a: torch.autograd.grad(vmap(grad(f))(*a).sum(), a, materialize_grads=True)[-1], *tensors
    )


@every_case
def test_forward_mode(case: Case) -> None:
    def tangent(f: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor | None]:
        def along_ones(*tensors: torch.Tensor) -> torch.Tensor | None:
            with forward_ad.dual_level():
                duals = [forward_ad.make_dual(t, torch.ones_like(t)) for t in tensors]
                return forward_ad.unpack_dual(f(*duals)).tangent

        return along_ones

    both(case, tangent, *points(case))


@both_ways
@every_case
def test_double_backward(case: Case, inverse: bool) -> None:
    tensors = points(case)
    if not inverse:
        both(
            case,
            lambda f: (
                lambda *a: torch.autograd.grad(
                    [g.square().sum() for g in torch.autograd.grad(f(*a), a, create_graph=True)], a
                )
            ),
            *(t.requires_grad_() for t in tensors),
        )
    if "clamped" in case.name:
        return  # its gradient is that of no bound, on purpose
    leaves = [t.detach()[:2].requires_grad_() for t in tensors]
    assert torch.autograd.gradgradcheck(lambda *a: case.op(*a, inverse=inverse), leaves)


@a_few
def test_double_backward_where_inputs_depend_on_one_another(case: Case) -> None:
    x, *parameters = points(case)

    def penalty(op: Callable[..., tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
        leaf = x.detach().requires_grad_()
        moved = [p * (leaf.unsqueeze(-1) if case.trailing else leaf) for p in parameters]
        (first,) = torch.autograd.grad(scalar(op, leaf, *moved), leaf, create_graph=True)
        return torch.autograd.grad(first.square().sum(), leaf)[0]

    torch.testing.assert_close(penalty(case.op), penalty(case.reference), rtol=1e-9, atol=1e-9)


@a_few
def test_one_tensor_in_two_places(case: Case) -> None:
    x, *parameters = (t.requires_grad_() for t in points(case))
    if len(parameters) < 2:
        pytest.skip("one parameter at most")
    parameters[1] = parameters[0]  # sizes of bins, or location and scale
    for create_graph in (False, True):
        gradients = [
            torch.autograd.grad(scalar(op, x, *parameters), parameters[0], create_graph=create_graph)[0]
            for op in (case.op, case.reference)
        ]
        torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


@a_few
def test_gradients_with_respect_to_some(case: Case) -> None:
    for which in range(len(points(case))):
        tensors = [t.requires_grad_(i == which) for i, t in enumerate(points(case))]
        for create_graph in (False, True):
            gradients = [
                torch.autograd.grad(scalar(op, *tensors), tensors[which], create_graph=create_graph)[0]
                for op in (case.op, case.reference)
            ]
            torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


@a_few
@pytest.mark.parametrize("vectorize", [False, True])
@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_torch_autograd_functional(case: Case, vectorize: bool, strategy: str) -> None:
    if strategy == "forward-mode" and not vectorize:
        pytest.skip("torch has it vectorized only")
    options = {"vectorize": vectorize, "strategy": strategy}
    tensors = tuple(points(case, 3))
    got, expected = (
        torch.autograd.functional.jacobian(lambda *a, op=op: op(*a)[0], tensors, **options)
        for op in (case.op, case.reference)
    )
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    outer = {"vectorize": vectorize, "outer_jacobian_strategy": strategy}
    hessians = [
        torch.autograd.functional.hessian(partial(scalar, op), tensors, **outer) for op in (case.op, case.reference)
    ]
    torch.testing.assert_close(*hessians, rtol=1e-9, atol=1e-9)


@a_few
def test_forward_mode_over_a_backward_made_before(case: Case) -> None:
    # The fused form ran when there was no level yet.
    tensors = [t.requires_grad_() for t in points(case)]
    results = [op(*tensors)[0] for op in (case.op, case.reference)]
    with forward_ad.dual_level():
        weight = forward_ad.make_dual(torch.ones_like(results[0]), torch.full_like(results[0], 0.3))
        tangents = [forward_ad.unpack_dual(torch.autograd.grad(r, tensors[0], weight)[0]).tangent for r in results]
    torch.testing.assert_close(*tangents, rtol=1e-9, atol=1e-9)
    assert tangents[0].any()


@a_few
def test_only_the_inputs_are_kept_for_the_backward(case: Case) -> None:
    tensors = [t.requires_grad_() for t in points(case)]
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        case.op(*tensors)
    assert {t.data_ptr() for t in kept} == {t.data_ptr() for t in tensors} and len(kept) == len(tensors)


@a_few
def test_tensors_that_are_not_plain_get_the_reference_form(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(torch.Tensor):
        pass

    monkeypatch.setattr(fused, "operator", None)
    tensors = points(case)
    assert isinstance(case.op(tensors[0].as_subclass(Own), *tensors[1:])[0], Own)
    assert case.op(*(t.to("meta") for t in tensors))[0].is_meta
    with pytest.raises(TypeError, match="not callable"):
        case.op(*tensors)


@a_few
def test_functional_call_and_parameters(case: Case) -> None:
    class Module(torch.nn.Module):
        def __init__(self, parameters: Tensors) -> None:
            super().__init__()
            self.held = torch.nn.ParameterList(parameters)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return scalar(case.op, x, *self.held)

    x, *parameters = points(case)
    if not parameters:
        pytest.skip("no parameters")
    module = Module(parameters)
    gradients = grad(lambda p: functional_call(module, p, (x,)))(dict(module.named_parameters()))
    module(x).backward()
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad)
