"""What is computed before a program is written, and linear algebra in operators that all runtimes have."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.export import Dim

from flowtorch.export.folding import PLAIN, folded, matrix_exp, solve, solve_triangular


def some(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("upper", "left", "unitriangular"), [*itertools.product([False, True], repeat=3)])
@pytest.mark.parametrize("batch", [(), (5,)], ids=str)
def test_solving_with_triangles_is_torch_s(
    batch: tuple[int, ...], upper: bool, left: bool, unitriangular: bool
) -> None:
    options = {"upper": upper, "left": left, "unitriangular": unitriangular}
    matrix = some(4, 4).triu() if upper else some(4, 4).tril()
    b = some(*batch, 4, 2) if left else some(*batch, 2, 4)
    torch.testing.assert_close(
        solve_triangular(matrix, b, **options), torch.linalg.solve_triangular(matrix, b, **options)
    )


@pytest.mark.parametrize("size", [1, 2, 5])
def test_solving_is_torch_s_where_pivots_vanish_too(size: int) -> None:
    matrix, b = some(3, size, size), some(3, size, 2)
    torch.testing.assert_close(solve(matrix, b), torch.linalg.solve(matrix, b))
    swapped = torch.eye(size, dtype=torch.float64).flip(0)
    torch.testing.assert_close(solve(swapped, b), torch.linalg.solve(swapped, b))


@pytest.mark.parametrize("norm", [0.0, 1e-3, 0.3, 1.0, 10.0, 100.0])
def test_the_exponential_is_torch_s(norm: float) -> None:
    skew = some(3, 4, 4) - some(3, 4, 4).mT
    for matrix in (norm * skew, norm * some(4, 4) / 10.0):
        expected = torch.linalg.matrix_exp(matrix)
        assert (matrix_exp(matrix) - expected).abs().max() <= 1e-12 * max(1.0, norm) * expected.abs().max()


class Many(torch.nn.Module):
    """Numbers from parameters, from the input, and drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(some(3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        triangle = self.weight.tril().clone()
        triangle[0] += 1.0
        solved = torch.linalg.solve_triangular(triangle, x.mT, upper=False).mT
        return solved @ torch.linalg.matrix_exp(self.weight) + torch.randn_like(self.weight[0])


def test_what_is_constant_is_computed_and_what_is_drawn_is_not() -> None:
    module = Many().double()
    program = torch.export.export(module, (some(4, 3),), dynamic_shapes=({0: Dim("batch")},))
    graph_module = folded(program)
    names = {node.target for node in graph_module.graph.nodes if node.op == "call_function"}
    assert not names & set(PLAIN)
    for seed in (0, 1):
        torch.manual_seed(seed)
        found = graph_module(some(7, 3))
        torch.manual_seed(seed)
        torch.testing.assert_close(found, module(some(7, 3)))
