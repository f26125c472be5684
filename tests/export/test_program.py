"""Functions of flows as programs of torch.export: the same numbers for any batch, without flowtorch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
from flowtorch import flows
from flowtorch.errors import DomainError
from flowtorch.export import to_program
from flowtorch.export.program import Function
from tests.export.shared import AFFINE, LINEAR, MADE, SPLINE, furthest, inputs, make, wanted

MAPS: tuple[Function, ...] = ("log_prob", "forward", "inverse")
DRAWS: tuple[Function, ...] = ("sample", "rsample_and_log_prob")


def as_tuple(value: Any) -> tuple[torch.Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


def agrees(flow: dist.Flow, function: Function) -> None:
    """A program exported with three points gives what the flow does for other numbers of them."""
    module = to_program(flow, function).module()
    for count in (1, 2, 7):
        given = inputs(flow, function, count)
        assert furthest(as_tuple(module(*given)), wanted(flow, function, given)) <= 1e-5  # as float32 rounds


def draws_agree(flow: dist.Flow, function: Function) -> None:
    module = to_program(flow, function).module()
    for count, contexts in ((5, 4), (2, 7)):
        context = [] if flow.context_shape is None else [torch.rand(contexts, *flow.context_shape)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            found = as_tuple(module(count, *context))
            torch.manual_seed(3)
            expected = as_tuple(getattr(flow, function)((count,), *context))
        assert furthest(found, expected) <= 1e-5


@pytest.mark.parametrize("function", MAPS)
def test_a_coupling_flow_with_a_context(function: Function) -> None:
    agrees(make(AFFINE, context=True), function)


@pytest.mark.parametrize("context", [pytest.param(False, marks=pytest.mark.slow), True], ids=["", "context"])
@pytest.mark.parametrize("function", DRAWS)
def test_draws_are_those_of_the_flow_under_the_same_seed(function: Function, context: bool) -> None:
    draws_agree(make(AFFINE, context=context), function)


def test_the_sequential_direction_of_an_autoregressive_map() -> None:
    agrees(make(bij.AffineAutoregressive(MADE)), "inverse")


# Those whose other direction is a numerical inverse are exported in the direction that has a formula.
NUMERICAL = {"bnaf", "bpf", "gf", "naf", "residual", "sospf", "sylvester", "umnn"}


@pytest.mark.slow
@pytest.mark.parametrize("context", [False, True], ids=["", "context"])
@pytest.mark.parametrize("name", [name for name in flows.__all__ if name != "stack"])
def test_every_ready_made_flow(name: str, context: bool) -> None:
    base = dist.UniformCircle(2) if name == "ncsf" else dist.DiagNormal(2)
    flow = dist.Flow(base, getattr(flows, name)(layers=2), context_shape=(2,) if context else None).eval()
    agrees(flow, "log_prob")
    if name not in NUMERICAL:
        agrees(flow, "forward")
        for function in DRAWS:
            draws_agree(flow, function)


@pytest.mark.slow
@pytest.mark.parametrize("function", MAPS)
@pytest.mark.parametrize("plan", [SPLINE, LINEAR], ids=["splines", "linear"])
def test_splines_and_matrices_with_a_context(plan: bij.Bijector, function: Function) -> None:
    agrees(make(plan, (4,), context=True), function)


def test_a_saved_program_runs_where_there_is_no_flowtorch(tmp_path: Path) -> None:
    flow = make(bij.LU())
    torch.export.save(to_program(flow), tmp_path / "density.pt2")
    value = inputs(flow, "log_prob", 5)
    torch.save(value[0], tmp_path / "value.pt")
    code = (
        "import sys; sys.modules['flowtorch'] = None; import torch; folder = sys.argv[1];"
        "module = torch.export.load(folder + '/density.pt2').module();"
        "torch.save(module(torch.load(folder + '/value.pt')), folder + '/out.pt')"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    assert furthest((found,), wanted(flow, "log_prob", value)) <= 1e-5


def test_the_program_is_that_of_evaluation_and_the_flow_stays_as_it_was() -> None:
    flow = dist.Flow(dist.DiagNormal(2), bij.Compose([bij.BatchNorm(), bij.Exp()]), validate_args=True).train()
    before = {name: tensor.clone() for name, tensor in flow.state_dict().items()}
    module = to_program(flow, "log_prob").module()
    assert flow.training and all(part.training for part in flow.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in flow.state_dict().items())
    with pytest.raises(DomainError):
        flow.log_prob(-torch.ones(4, 2))
    value = torch.tensor([[-1.0, 1.0], [1.0, 2.0]])
    flow.eval()._validate_args = False
    assert torch.equal(module(value), flow.log_prob(value)) and module(value)[0] == -torch.inf


def test_a_context_of_integers_has_its_dtype() -> None:
    flow = dist.Flow(dist.DiagNormal(2), bij.Affine(), context_shape=(), embedding=torch.nn.Embedding(5, 3)).eval()
    module = to_program(flow, "log_prob", context_dtype=torch.int64).module()
    value, context = torch.rand(4, 2), torch.tensor([0, 3, 1, 4])
    assert torch.allclose(module(value, context), flow.log_prob(value, context))
