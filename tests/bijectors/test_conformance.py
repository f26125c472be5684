"""Every bijector is held to everything that ``check_bijector`` checks."""

from __future__ import annotations

import pytest
import torch

from flowtorch.testing import check_bijector
from tests.cases import CASES


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", CASES)
def test_bijector_conforms(name: str) -> None:
    plan, shape, context_shape = CASES[name]
    check_bijector(plan, shape, context_shape)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spline autoregressive, residual", "affine coupling, alternate", "compose of many"])
@pytest.mark.filterwarnings("ignore")  # the code generator's own
def test_bijector_compiles_with_inductor(name: str) -> None:
    plan, shape, context_shape = CASES[name]
    bound = plan.bind(shape, context_shape)
    x = torch.rand(5, *shape)
    context = None if context_shape is None else torch.rand(5, *context_shape)
    for direction, value in ((bound.forward_and_log_det, x), (bound.inverse_and_log_det, bound.forward(x, context))):
        got = torch.compile(direction, fullgraph=True)(value.detach(), context)
        for a, b in zip(got, direction(value.detach(), context), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
