"""What the ops of monotone splines refuse."""

from __future__ import annotations

import math

import pytest
import torch

from flowtorch.errors import OptionError, ShapeError
from flowtorch.ops import rational_linear_spline, rational_quadratic_spline
from flowtorch.ops.cubic_spline import cubic_spline
from flowtorch.ops.linear_spline import linear_spline
from flowtorch.ops.quadratic_spline import quadratic_spline
from tests.ops.splines import CASES, Case


@pytest.mark.parametrize("sizes", [(5, 4, 4), (5, 5, 5), (5, 5, 3), (0, 0, 0), (), (5, 5, 4, 4), (5, 5, 4, 1)], ids=str)
def test_sizes_that_do_not_fit_a_rational_spline_are_refused(sizes: tuple[int, ...]) -> None:
    parameters = [torch.zeros(n) for n in sizes] or [torch.zeros(())] * 3
    op = rational_linear_spline if len(parameters) == 4 else rational_quadratic_spline
    what = "lambdas with a last axis of 5" if len(parameters) == 4 else "K >= 1 for widths and heights and of K - 1 or"
    with pytest.raises(ShapeError, match=f"{op.__name__}: .*{what}"):
        op(torch.zeros(2), *parameters)


@pytest.mark.parametrize(
    ("op", "shapes", "what"),
    [
        (linear_spline, [()], "K >= 1 are expected; got \\(\\)"),
        (linear_spline, [(2, 0)], "K >= 1 are expected; got \\(2, 0\\)"),
        (quadratic_spline, [(5,), (5,)], "K - 1 or K \\+ 1 for derivatives .* got \\(5,\\) and \\(5,\\)"),
        (quadratic_spline, [(0,), (1,)], "got \\(0,\\) and \\(1,\\)"),
        (quadratic_spline, [(1,), ()], "got \\(1,\\) and \\(\\)"),
        (cubic_spline, [(5,), (4,)], "of 2 for derivatives .* got \\(5,\\) and \\(4,\\)"),
        (cubic_spline, [(5,), (5,), (6,)], "got \\(5,\\) and \\(5,\\) and \\(6,\\)"),
        (cubic_spline, [(0,), (0,)], "got \\(0,\\) and \\(0,\\)"),
    ],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
def test_sizes_that_do_not_fit_are_refused(op: object, shapes: list[tuple[int, ...]], what: str) -> None:
    with pytest.raises(ShapeError, match=f"{op.__name__}: .*{what}"):
        op(torch.zeros(2), *(torch.zeros(s) for s in shapes))


OUT_OF_RANGE = [
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
]


@pytest.mark.parametrize(
    ("case", "name", "value"),
    [
        pytest.param(case, option, value, id=f"{name}, {option}={value}")
        for name, case in CASES.items()
        for option, value in OUT_OF_RANGE
        if option in case.options
    ],
)
def test_options_out_of_range_are_refused(case: Case, name: str, value: float) -> None:
    with pytest.raises(OptionError, match=f"{case.plain.__name__}: .*{name}.* is expected; got {value}"):
        case.plain(torch.zeros(2), *case.draw(), **{name: value})
