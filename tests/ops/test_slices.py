"""Parameters cut of one tensor, and gradients that come back as one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import flowtorch.ops as ops
from flowtorch.ops._slices import cut, sizes_if_joined
from tests.ops.fused_cases import needs_kernels, reference_forms

FORMS = {
    "rational_quadratic_spline": "rational_quadratic_spline",
    "rational_linear_spline": "rational_linear_spline",
    "mixture": "deep_sigmoid",
}
SIZES = {"splines": [4, 4, 3], "numbers": [None, None], "both": [2, None]}


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def plain(whole: torch.Tensor, sizes: list[int | None]) -> list[torch.Tensor]:
    parts = whole.split([size or 1 for size in sizes], -2)
    return [p.squeeze(-2) if size is None else p.transpose(-1, -2) for p, size in zip(parts, sizes, strict=True)]


@pytest.mark.parametrize("batch", [(), (5,), (2, 3), (0,)], ids=str)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_values_and_derivatives_are_those_of_slices(sizes: list[int | None], batch: tuple[int, ...]) -> None:
    whole = draw(*batch, sum(size or 1 for size in sizes), 6).requires_grad_()
    for found, expected in zip(cut(whole, sizes), plain(whole, sizes), strict=True):
        assert torch.equal(found, expected)

    def loss(parts: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([(k + p.sin()).square().sum() for k, p in enumerate(parts)]).sum()

    first = [torch.autograd.grad(loss([*f(whole, sizes)]), whole, create_graph=True)[0] for f in (cut, plain)]
    torch.testing.assert_close(*first)
    second = [torch.autograd.grad(g.square().sum(), whole)[0] for g in first]
    torch.testing.assert_close(*second)


def test_one_that_is_not_used_has_a_gradient_of_zeros() -> None:
    whole = draw(3, 7, 2).requires_grad_()
    cut(whole, [4, 3])[1].sum().backward()
    assert whole.grad is not None
    assert whole.grad.sum((0, 2)).tolist() == [0.0] * 4 + [6.0] * 3


@needs_kernels
@pytest.mark.parametrize("batch", [(5,), (2, 3)], ids=str)
@pytest.mark.parametrize("name", ["rational_quadratic_spline", "rational_linear_spline", "mixture"])
def test_the_gradient_of_a_fused_form_is_one_tensor(name: str, batch: tuple[int, ...]) -> None:
    """Nothing is copied: what the operator wrote is the gradient."""
    form: Callable[..., tuple[torch.Tensor, torch.Tensor]] = getattr(ops, FORMS[name])
    sizes: list[int | None] = {"mixture": [4, 4, 4], "rational_linear_spline": [4, 4, 3, 4]}.get(name, [4, 4, 3])
    x, whole = draw(*batch, 6).sigmoid(), draw(*batch, sum(size or 1 for size in sizes), 6).requires_grad_()

    def gradient() -> torch.Tensor:
        value, log = form(x, *cut(whole, sizes))
        return torch.autograd.grad((value.sin() + log.square()).sum(), whole)[0]

    made: list[torch.Tensor] = []
    given = getattr(torch.ops.flowtorch, f"{name}_backward_joined")

    def spy(*arguments: object) -> tuple[torch.Tensor, torch.Tensor]:
        by_x, by_whole = given(*arguments)
        made.append(by_whole)
        return by_x, by_whole

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.ops.flowtorch, f"{name}_backward_joined", spy)
        found = gradient()
    assert [m.data_ptr() for m in made] == [found.data_ptr()]
    with reference_forms():
        torch.testing.assert_close(found, gradient(), rtol=1e-10, atol=1e-12)


def test_only_dense_slices_count_as_joined() -> None:
    x, whole = draw(5, 6), draw(5, 11, 6)
    w, h, d = cut(whole, [4, 4, 3])
    assert sizes_if_joined(x, (w, h, d)) == [4, 4, 3]
    assert sizes_if_joined(x, (h, w, d)) is None
    assert sizes_if_joined(x, (w, h)) is None  # the rows are further apart
    assert sizes_if_joined(x, (w, h, d.clone())) is None
    assert sizes_if_joined(x[:0], (w[:0], h[:0], d[:0])) is None
