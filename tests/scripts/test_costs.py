"""The table of costs in the documentation is that of the maps as they are, and counts what it says it counts."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

import flowtorch.bijectors as bij

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("costs", ROOT / "scripts" / "costs.py")
assert spec is not None and spec.loader is not None
costs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(costs)

# Its reference form is what is counted; where kernels are built, the fused one runs here.
COUNTED = [name for name in costs.PLANS if name != "BlockAutoregressive()"]
# How many steps these take depends on the last digits.
ITERATED = ("Residual()", "ConvResidual()")
# What a matrix would be decomposed by, were its determinant or inverse not known from how it is made.
DENSE = {"_linalg_slogdet", "_linalg_det", "linalg_lu_factor_ex", "linalg_lu", "_linalg_solve_ex", "linalg_inv_ex"} | {
    "linalg_qr",
    "_linalg_svd",
    "_linalg_eigh",
    "linalg_eig",
    "linalg_cholesky_ex",
}


def count(function: Any, *args: torch.Tensor) -> int:
    with costs.Counter() as counter, torch.no_grad():
        function(*args)
    return int(counter.total())


@pytest.fixture(scope="module")
def tables() -> dict[str, dict[str, list[str]]]:
    """The cells of each row, by the heading of the table and the plan."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in costs.PAGE.read_text().splitlines():
        if line.startswith("## "):
            current = found.setdefault(line[3:], {})
        elif line.startswith("| `"):
            name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            current[name.strip("`")] = cells
    return found


# Counting ------------------------------------------------------------------------------------------------------------


def test_products_are_counted_as_torch_counts_them() -> None:
    image, kernel = torch.ones(3, 4, 9, 8), torch.ones(6, 4, 3, 5)
    programs = {
        "matrices": lambda: torch.ones(2, 3) @ torch.ones(3, 5),
        "batches": lambda: torch.ones(7, 2, 3) @ torch.ones(7, 3, 5),
        "convolution": lambda: torch.nn.functional.conv2d(image, kernel, padding=1),
        "transposed": lambda: torch.nn.functional.conv_transpose2d(torch.ones(3, 6, 9, 8), kernel, padding=1),
    }
    for program in programs.values():
        with FlopCounterMode(display=False) as oracle:
            program()
        assert count(program) == oracle.get_total_flops() > 0


def test_a_layer_adds_its_bias() -> None:
    assert count(torch.nn.Linear(3, 5), torch.ones(2, 3)) == 2 * 2 * 3 * 5 + 2 * 5


def test_substitution_takes_n_squared_operations_for_a_vector() -> None:
    matrix, x = torch.eye(7), torch.ones(7, 4)
    assert count(lambda: torch.linalg.solve_triangular(matrix, x, upper=False)) == 4 * 7 * 7
    unit = count(lambda: torch.linalg.solve_triangular(matrix, x, upper=False, unitriangular=True))
    assert unit == 4 * 7 * 6  # no divisions


def test_dense_systems_and_determinants_take_a_factorisation() -> None:
    matrix = torch.eye(6)
    assert count(lambda: torch.linalg.slogdet(matrix)) == 2 * 6**3 // 3
    assert count(lambda: torch.linalg.solve(matrix, torch.ones(6, 4))) == 2 * 6**3 // 3 + 4 * 2 * 6 * 6


@pytest.mark.parametrize("norm", [1e-8, 1e-4, 0.01, 0.3, 1.0, 2.9, 3.1, 7.0, 100.0])
def test_an_exponential_takes_the_products_that_the_profiler_sees(norm: float) -> None:
    matrix = torch.full((4, 4), norm / 4.0)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        torch.linalg.matrix_exp(matrix)
    products = sum(event.count for event in seen.key_averages() if event.key in ("aten::mm", "aten::bmm"))
    assert count(lambda: torch.linalg.matrix_exp(matrix)) == products * 2 * 4**3


def test_a_real_fourier_transform_takes_half_of_a_complex_one() -> None:
    assert count(torch.fft.rfft, torch.ones(3, 64)) == 3 * 2.5 * 64 * 6
    assert count(torch.fft.irfft, torch.ones(3, 33).to(torch.complex64)) == 3 * 2.5 * 64 * 6


def test_elements_count_one_and_what_only_moves_none() -> None:
    x = torch.ones(4, 6)
    assert count(torch.tanh, x) == 24 and count(torch.sum, x) == 24 and count(torch.mul, x, x[:1]) == 24
    assert count(lambda: torch.cat([x.mT, x.mT]).flip(0)[1:, None].clone()) == 0
    assert count(lambda: torch.arange(5) * 3) == 0


def test_what_has_no_formula_is_an_error_that_names_it() -> None:
    with pytest.raises(NotImplementedError, match=r"no formula for aten\._linalg_eigh"):
        count(torch.linalg.eigvalsh, torch.eye(3))


def test_what_a_result_does_not_depend_on_is_no_cost_of_it() -> None:
    x = torch.ones(4, 6)
    with costs.Counter() as counter:
        wanted = torch.empty(4, 6).copy_(x.exp()).mul_(2.0)[:, 1:]
        x.cos().sum()
    assert counter.behind(wanted) == 24 + 24 and counter.total() == 4 * 24


# The maps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", costs.PLANS)
def test_rows_are_named_for_their_plans(name: str) -> None:
    plan = costs.PLANS[name]
    if isinstance(plan, bij.Bijector):
        assert eval(name, {**vars(bij), **vars(costs)}) == plan
    else:
        assert name.startswith(type(plan(2)).__name__)


@pytest.mark.parametrize(
    "name",
    [n for n in COUNTED if n not in (*ITERATED, "Orthogonal()")],  # Cayley's formula solves, once
)
def test_no_dense_matrix_is_decomposed(name: str) -> None:
    plan = costs.PLANS[name] if isinstance(costs.PLANS[name], bij.Bijector) else costs.PLANS[name](12)
    bound = plan.bind(costs.SHAPES.get(name, lambda n: (n,))(12))
    x = torch.randn(5, *bound.shape)
    for function in (bound.forward_and_log_det, bound.inverse_and_log_det):
        with costs.Counter() as counter, torch.no_grad():
            function(x)
        assert DENSE.isdisjoint(call.name for call in counter.calls)


def growth(name: str, field: str, part: str) -> float:
    """The exponent of D between 256 and 1024."""
    before, after = (getattr(getattr(costs.measure(name, d), field), part) for d in (256, 1024))
    return math.log(after / before, 4)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_triangles_take_d_squared(direction: str) -> None:
    for name in ("LU()", "LowerCholeskyAffine()", "GeneralizedChannelPermute()"):
        assert growth(name, direction, "row") == pytest.approx(2.0, abs=0.02)
        assert growth(name, direction, "once") < 2.05
        found = costs.measure(name, 256)
        log_det = getattr(found, f"{direction}_log_det")
        assert log_det.row <= 1 and log_det.once <= 2 * 256


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_reflections_take_k_d_and_their_log_determinant_nothing(direction: str) -> None:
    name = "Householder(count_transforms=8)"
    found = costs.measure(name, 256)
    assert getattr(found, direction).row == pytest.approx(4 * 8 * 256, rel=0.05)
    assert growth(name, direction, "row") == pytest.approx(1.0, abs=0.02)
    assert growth(name, direction, "once") == pytest.approx(1.0, abs=0.02)
    assert getattr(found, f"{direction}_log_det") == costs.Cost(0.0, 0.0)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_cosines_take_d_log_d(direction: str) -> None:
    small, large = (getattr(costs.measure("DiscreteCosine()", d), direction) for d in (256, 1024))
    assert large.row / small.row == pytest.approx(4 * 10 / 8, rel=0.05)
    assert growth("DiscreteCosine()", direction, "once") < 1.02
    assert getattr(costs.measure("DiscreteCosine()", 1024), f"{direction}_log_det") == costs.Cost(0.0, 0.0)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_low_rank_takes_d_r_squared_once_and_d_r_for_each_row(direction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "DiagonalPlusLowRank(rank=8)"
    assert growth(name, direction, "row") == pytest.approx(1.0, abs=0.02)
    assert growth(name, direction, "once") == pytest.approx(1.0, abs=0.02)
    small = costs.measure(name, 1024)
    monkeypatch.setitem(costs.PLANS, name, bij.DiagonalPlusLowRank(rank=32))
    large = costs.measure(name, 1024)
    assert math.log(getattr(large, direction).row / getattr(small, direction).row, 4) == pytest.approx(1.0, abs=0.05)
    assert math.log(getattr(large, direction).once / getattr(small, direction).once, 4) < 2.0
    log_det = getattr(small, f"{direction}_log_det")
    assert log_det.row == 0 and log_det.once <= 1024 + 2 * 8


# The page ------------------------------------------------------------------------------------------------------------


def test_every_plan_has_its_row_in_every_table(tables: dict[str, dict[str, list[str]]]) -> None:
    assert [*tables] == ["Parameters", *(title for title, _, _ in costs.TABLES), "Notes"]
    for title in tables:
        assert title == "Notes" or [*tables[title]] == [*costs.PLANS], "run scripts/costs"


@pytest.mark.parametrize("name", costs.PLANS)
def test_parameters_are_those_of_the_plans(name: str, tables: dict[str, dict[str, list[str]]]) -> None:
    for size, cell in zip(costs.SIZES[:3], tables["Parameters"][name], strict=False):
        plan = costs.PLANS[name] if isinstance(costs.PLANS[name], bij.Bijector) else costs.PLANS[name](size)
        bound = plan.bind(costs.SHAPES.get(name, lambda n: (n,))(size))
        assert int(cell.replace(",", "")) == sum(p.numel() for p in bound.parameters())


@pytest.mark.parametrize("name", [n for n in COUNTED if n not in ITERATED])
def test_counts_are_those_of_today(name: str, tables: dict[str, dict[str, list[str]]]) -> None:
    for column, size in enumerate(costs.SIZES[:3]):
        found = costs.measure(name, size)
        for title, _, field in costs.TABLES:
            assert tables[title][name][column] == str(getattr(found, field)), "run scripts/costs"


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0"), (999, "999"), (1000, "1 k"), (4.1e6, "4.1 M"), (999.6e3, "1 M")]
)
def test_counts_are_written_with_three_digits(count: float, expected: str) -> None:
    assert costs._short(count) == expected
