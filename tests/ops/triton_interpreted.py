"""What the tests of fused forms leave to be said of Triton's kernels; run by test_triton.py with triton_on_cpu.py."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from flowtorch._triton import launch

from .fused_cases import BOX, CASES, Case, both_ways
from .test_fused_values import everything, everything_by_reference
from .triton_on_cpu import own_block

SPLINES = pytest.mark.parametrize("case", [pytest.param(CASES[i], id=CASES[i].name) for i in (0, 3)])
FEW = pytest.mark.parametrize("case", [pytest.param(CASES[i], id=CASES[i].name) for i in (0, 1, 4)])


def same(case: Case, tensors: list[torch.Tensor], inverse: bool) -> None:
    pairs = zip(everything(case, tensors, inverse), everything_by_reference(case, tensors, inverse), strict=True)
    for got, expected in pairs:
        assert (got - expected).abs().max() <= 1e-10 * expected.abs().max()


@pytest.mark.parametrize("bins", [3, 8, 16, 32])
@both_ways
@SPLINES
def test_several_programs(case: Case, bins: int, inverse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_block", own_block)
    narrow = partial(case.op, min_bin_width=1e-3, min_bin_height=1e-3)
    case = Case(
        case.name, narrow, (bins, bins, bins + 1 if "ends" in case.name else bins - 1, bins)[: len(case.trailing)]
    )
    same(case, case.draw(43, 3), inverse)


@FEW
def test_more_elements_than_32_bits_can_count(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = case.draw(7, 3)
    expected = everything(case, tensors, False)
    wide = launch._call
    monkeypatch.setattr(launch, "_call", lambda *a: (c := wide(*a))._replace(constants={**c.constants, "WIDE": True}))
    assert all(torch.equal(a, b) for a, b in zip(everything(case, tensors, False), expected, strict=True))


@FEW
def test_no_copies_of_what_conditioners_give(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = case.draw(7, 3)
    made: list[torch.Size] = []
    room = launch.room
    monkeypatch.setattr(launch, "room", lambda like, bins=False: made.append(like.shape) or room(like, bins))
    everything(case, tensors, False)
    everything(case, [tensors[0], *(p[:1].expand_as(p) for p in tensors[1:])], False)
    assert len(made) == 2 * (2 + len(tensors))  # the results, and the gradients of all inputs


def test_both_gradients_may_be_missing() -> None:
    tensors = CASES[0].draw(4, 3)
    backward = torch.ops.flowtorch.rational_quadratic_spline_backward
    found = backward(None, None, *tensors, *BOX.values(), True)
    assert [g.shape for g in found] == [t.shape for t in tensors] and not any(g.any() for g in found)
