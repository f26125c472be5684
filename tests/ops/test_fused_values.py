"""Fused forms give what the reference forms give: values, log-derivatives and their derivatives."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from flowtorch.ops import fused

from .fused_cases import Case, Tensors, a_few, both_ways, every_case, needs_kernels, splines, with_gradients

pytestmark = needs_kernels


def everything(case: Case, tensors: Tensors, inverse: bool, seed: int = 1) -> Tensors:
    """Results and gradients of the fused form."""
    generator = torch.Generator().manual_seed(seed)
    shape = torch.broadcast_shapes(*(t.shape[:-1] if i and case.trailing else t.shape for i, t in enumerate(tensors)))
    weights = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)]
    results, gradients = with_gradients(case.op, tensors, weights, inverse=inverse)
    return results + gradients


def everything_by_reference(case: Case, tensors: Tensors, inverse: bool, seed: int = 1) -> Tensors:
    return everything(Case(case.name, case.reference, case.trailing, case.count), tensors, inverse, seed)


@every_case
def test_the_fused_form_is_what_runs(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    plain = fused.operator
    monkeypatch.setattr(fused, "operator", lambda name: ran.append(name) or plain(name))
    everything(case, case.draw(4, 3), False)
    assert [name.rpartition("_")[2] for name in ran] == ["forward", "backward"]


@both_ways
@every_case
def test_float64_agrees_with_the_reference(case: Case, inverse: bool) -> None:
    tensors = case.draw(500, 7)
    pairs = zip(everything(case, tensors, inverse), everything_by_reference(case, tensors, inverse), strict=True)
    for got, expected in pairs:
        assert (got - expected).abs().max() <= 1e-10 * expected.abs().max()


@both_ways
@every_case
def test_float32_errs_at_most_twice_as_much_as_the_reference(case: Case, inverse: bool) -> None:
    tensors = case.draw(2000, 16, dtype=torch.float32, seed=2)
    exact = everything_by_reference(case, [t.double() for t in tensors], inverse)
    results = everything(case, tensors, inverse), everything_by_reference(case, tensors, inverse)
    for got, plain, expected in zip(*results, exact, strict=True):
        errors = ((t.double() - expected).abs() for t in (got, plain))
        ours, theirs = ((e if e.dim() == 2 else e.amax(-1)).flatten().sort().values for e in errors)  # by point
        slack = torch.finfo(torch.float32).eps * expected.abs().mean() / 4
        # The last thousandth apart: where a knot is rounded to the other side of a point, derivatives jump, in one form
        # or in the other; which points these are is luck, how many are not.
        most = int(0.999 * len(ours))
        assert ours[:most].mean() <= 2 * theirs[:most].mean() + slack
        assert ours[most] <= 2 * theirs[most] + 4 * slack
        assert (ours > 10 * theirs[most]).sum() <= 2 * (theirs > 10 * theirs[most]).sum() + 3


@both_ways
@a_few
def test_either_gradient_may_be_missing(case: Case, inverse: bool) -> None:
    leaves = [t.requires_grad_() for t in case.draw(9, 4)]
    for output in (0, 1):
        gradients = [
            torch.autograd.grad(op(*leaves, inverse=inverse)[output].sum(), leaves, materialize_grads=True)
            for op in (case.op, case.reference)
        ]
        torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


@both_ways
@every_case
def test_gradients_are_those_of_finite_differences(case: Case, inverse: bool) -> None:
    leaves = [t.requires_grad_() for t in case.draw(3, 2, seed=4, scale=0.5)]
    assert torch.autograd.gradcheck(lambda *a: case.op(*a, inverse=inverse), leaves)


# --- tensors of every kind


@both_ways
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (5,), (3, 1, 2), (2, 3, 21), (40, 1), (2, 1, 1, 37)], ids=str)
@a_few
def test_any_shape(case: Case, shape: tuple[int, ...], dtype: torch.dtype, inverse: bool) -> None:
    tensors = case.draw(*shape, dtype=dtype, seed=5)
    pairs = zip(everything(case, tensors, inverse), everything_by_reference(case, tensors, inverse), strict=True)
    for got, expected in pairs:
        assert got.shape == expected.shape and got.dtype == expected.dtype
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3 if dtype == torch.float32 else 1e-10)


@both_ways
@a_few
def test_any_strides(case: Case, inverse: bool) -> None:
    plain = case.draw(6, 5, 18)
    expected = everything(case, [t.contiguous() for t in plain], inverse)
    for order in ((2, 1, 0), (1, 0, 2), (0, 2, 1)):
        back = [order.index(i) for i in range(3)]

        def turned(t: torch.Tensor, order: tuple[int, ...] = order, back: list[int] = back) -> torch.Tensor:
            rest = (3,) if t.dim() > 3 else ()
            return t.permute(*order, *rest).contiguous().permute(*back, *rest)

        torch.testing.assert_close(everything(case, [turned(t) for t in plain], inverse), expected)
    apart = [torch.stack((t, t), -1)[..., 0] for t in plain]
    backwards = [apart[0], *(t.flip(1).flip(1) for t in plain[1:])]
    torch.testing.assert_close(everything(case, backwards, inverse), expected)


@both_ways
@a_few
def test_parameters_and_points_broadcast(case: Case, inverse: bool) -> None:
    whole = case.draw(4, 3, 20)
    x, *parameters = whole
    # Free parameters; one point with many parameters; and one of everything.
    rows = [[x, *(p[0, 0] for p in parameters)], [x[0, :1, :1], *parameters], [x[:, :1], *(p[:1] for p in parameters)]]
    for tensors in rows:
        got = everything(case, tensors, inverse)
        expected = everything_by_reference(case, tensors, inverse)
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@a_few
def test_inputs_are_neither_changed_nor_returned(case: Case) -> None:
    tensors = case.draw(5, 3)
    before = [t.clone() for t in tensors]
    results = case.op(*tensors)
    assert all(torch.equal(t, b) for t, b in zip(tensors, before, strict=True))
    assert not {r.untyped_storage().data_ptr() for r in results} & {t.untyped_storage().data_ptr() for t in tensors}


@a_few
def test_threads_do_not_matter(case: Case) -> None:
    tensors = case.draw(700, 9, dtype=torch.float32)
    alone = everything(case, tensors, False)
    torch.set_num_threads(2)
    assert all(torch.equal(a, b) for a, b in zip(alone, everything(case, tensors, False), strict=True))


@pytest.mark.parametrize("bins", [1, 2, fused.MAX_BINS, fused.MAX_BINS + 1])
@both_ways
@splines
def test_any_number_of_bins(case: Case, bins: int, inverse: bool) -> None:
    ends = 2 if "ends" in case.name else 0
    narrow = partial(case.op, min_bin_width=1e-3, min_bin_height=1e-3)
    case = Case(case.name, narrow, (bins, bins, bins - 1 + ends, bins)[: len(case.trailing)])
    tensors = case.draw(11, 3)
    got, expected = everything(case, tensors, inverse), everything_by_reference(case, tensors, inverse)
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)


# --- extremes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@both_ways
@splines
def test_outside_of_the_box_a_spline_is_the_identity(case: Case, inverse: bool, dtype: torch.dtype) -> None:
    far = torch.tensor([2.5, 3.0, 1e6, 1e30, math.inf], dtype=dtype)
    x = torch.cat((-far, far)).requires_grad_()
    parameters = [p.requires_grad_() for p in case.draw(10, dtype=dtype)[1:]]
    y, log_derivative = case.op(x, *parameters, inverse=inverse)
    assert torch.equal(y, x) and not log_derivative.any()
    gradients = torch.autograd.grad(y.sum() + log_derivative.sum(), [x, *parameters])
    assert torch.equal(gradients[0], torch.ones_like(x))
    assert not any(g.any() for g in gradients[1:])  # NaN would count as true


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@both_ways
@every_case
def test_parameters_of_fifty_give_finite_results(case: Case, inverse: bool, dtype: torch.dtype) -> None:
    tensors = case.draw(400, 3, dtype=dtype, seed=6)
    tensors[1:] = [50.0 * p.sign() for p in tensors[1:]]
    found = everything(case, tensors, inverse)
    if "unbounded" in case.name or case.name == "signed power":  # a scale or power of exp(50) is what was asked for
        assert not any(t.isnan().any() for t in found[:2])
    else:
        assert all(t.isfinite().all() for t in found)


@both_ways
@every_case
def test_nan_stays_nan_and_where_it_is(case: Case, inverse: bool) -> None:
    tensors = case.draw(20, dtype=torch.float32)
    tensors[0][7] = 0.1
    tensors[0][3] = math.nan
    tensors[-1][7] = math.nan  # the scale of an affine map, and derivatives or cuts of all bins
    for result in case.op(*tensors, inverse=inverse):
        assert set(result.isnan().nonzero().flatten().tolist()) <= {3, 7} and result[7].isnan()
    assert case.op(*tensors, inverse=inverse)[0][3].isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@both_ways
@a_few
def test_narrow_dtypes_are_computed_in_float32(case: Case, inverse: bool, dtype: torch.dtype) -> None:
    tensors = case.draw(50, 3, dtype=dtype)
    wide = case.op(*(t.float() for t in tensors), inverse=inverse)
    narrow = case.op(*tensors, inverse=inverse)
    assert all(torch.equal(n, w.to(dtype)) for n, w in zip(narrow, wide, strict=True))


@both_ways
@a_few
def test_under_autocast_the_log_derivative_is_float32(case: Case, inverse: bool) -> None:
    x, *parameters = case.draw(50, 3, dtype=torch.float32)
    if not parameters:
        pytest.skip("autocast is for what networks give")
    weights = [torch.nn.Linear(3, 3, bias=False).weight.detach().requires_grad_()]
    with torch.autocast("cpu", torch.bfloat16):
        narrow = [(p.transpose(-1, -2) if case.trailing else p) @ weights[0] for p in parameters]
        assert all(p.dtype == torch.bfloat16 for p in narrow)
        narrow = [p.transpose(-1, -2) if case.trailing else p for p in narrow]
        results = case.op(x, *narrow, inverse=inverse)
    assert [r.dtype for r in results] == [torch.float32] * 2
    (gradient,) = torch.autograd.grad(sum(r.sum() for r in results), weights)
    assert gradient.isfinite().all() and gradient.any()
