"""``Scan``: against ``Repeat`` with the same numbers, and what a compiled program holds."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.bijectors import BoundBijector, BoundCompose
from flowtorch.bijectors.repeat import Repeat
from flowtorch.bijectors.scan import BoundScan, Scan
from flowtorch.testing import check_bijector, perturb

# What torch imports when it first traces a loop.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")

NET = params.DenseNN((6,), nonlinearity=torch.nn.Tanh)
MADE = params.MADE((6,), nonlinearity=torch.nn.Tanh)
BOX = bij.QuadraticSpline(count_bins=3, bound=((1.0, (-2.0, 1.0)), (2.0, (0.5, 4.0))), tails=None)
CASES: dict[str, tuple[bij.Bijector, tuple[int, ...], tuple[int, ...] | None]] = {
    "couplings": (bij.Compose([bij.AffineCoupling(NET), bij.Permute()]), (3,), (2,)),
    "autoregressive": (
        bij.Compose([bij.Invert(bij.SplineAutoregressive(MADE, count_bins=3)), bij.ActNorm()]),
        (2, 2),
        None,
    ),
    "along an axis, out of order": (bij.Compose([bij.Permute(dim=0), bij.LU(dim=-2, permutation=None)]), (3, 2), None),
    "of no dimensions": (bij.Affine(), (), None),
    "buffers that follow from the plan": (bij.Compose([bij.Haar(), bij.Residual((6,), lipschitz=0.5)]), (3,), None),
    "a box a coordinate": (BOX, (2, 2), None),
    "nothing to stack": (bij.LeakyReLU(0.8), (2,), None),
}


def pair(name: str, count: int = 3) -> tuple[BoundScan, BoundCompose]:
    """A scan, and copies that hold the same numbers."""
    plan, shape, context = CASES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        scan, repeat = (
            Scan(plan, count).bind(shape, context).double(),
            Repeat(plan, count).bind(shape, context).double(),
        )
    assert isinstance(scan, BoundScan) and isinstance(repeat, BoundCompose)
    perturb(scan, torch.Generator().manual_seed(1))
    stacked = scan.state_dict()
    repeat.load_state_dict(
        {
            f"parts.{i}.{key.removeprefix('layer.bijector.')}": value[i]
            for key, value in stacked.items()
            for i in range(count)
        }
    )
    return scan, repeat


def inputs(name: str, bound: BoundBijector[Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
    _, shape, context = CASES[name]
    draw = torch.Generator().manual_seed(2)
    x = 0.55 + 0.4 * torch.rand(5, *shape, dtype=torch.float64, generator=draw)  # within the boxes
    return x, None if context is None else torch.randn(5, *context, dtype=torch.float64, generator=draw)


@pytest.mark.parametrize("name", CASES)
def test_it_conforms(name: str) -> None:
    plan, shape, context = CASES[name]
    check_bijector(Scan(plan, 3), shape, context)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("direction", ["forward_and_log_det", "inverse_and_log_det"])
def test_it_is_repeat_with_stacked_parameters(name: str, direction: str) -> None:
    scan, repeat = pair(name)
    x, context = inputs(name, scan)
    got, expected = (getattr(bound, direction)(x, context) for bound in (scan, repeat))
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    if not list(scan.parameters()):
        return
    for bound, result in ((scan, got), (repeat, expected)):
        (result[0].sin().sum() + result[1].square().sum()).backward()
        assert all(p.grad is not None for p in bound.parameters())
    theirs = dict(repeat.named_parameters())
    for key, p in scan.named_parameters():
        own = key.removeprefix("layer.bijector.")
        gradients = torch.stack([theirs[f"parts.{i}.{own}"].grad for i in range(3)])  # type: ignore[misc]
        assert p.grad is not None
        torch.testing.assert_close(p.grad, gradients, rtol=1e-9, atol=1e-9)


def test_layers_lie_along_the_first_axis_of_every_tensor() -> None:
    scan, repeat = pair("couplings")
    one = CASES["couplings"][0].bind((3,), (2,))
    shapes = {key: tuple(value.shape) for key, value in one.state_dict().items()}
    assert {k.removeprefix("layer.bijector."): tuple(v.shape) for k, v in scan.state_dict().items()} == {
        key: (3, *shape) for key, shape in shapes.items()
    }
    assert scan.summary().parameters == repeat.summary().parameters
    assert [row.layer for row in scan.summary().rows] == ["AffineCoupling x 3", "Permute x 3"]


def test_each_layer_draws_its_own_permutation() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bound = Scan(bij.Permute(), 4).bind((20,))
    orders = bound.state_dict()["layer.bijector.permutation"]
    assert orders.shape == (4, 20) and len({tuple(o.tolist()) for o in orders}) == 4


def test_a_buffer_that_is_the_same_in_all_layers_is_not_stacked() -> None:
    bound = Scan(bij.Haar(), 4).bind((8,)).double()
    assert [tuple(b.shape) for b in bound.buffers()] == [(8, 8)] and not bound.state_dict()
    x = torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(bound.inverse(bound.forward(x)), x, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("direction", ["initialize", "initialize_forward"])
def test_initialize_starts_every_layer_as_repeat_does(direction: str) -> None:
    plan = bij.Compose([bij.AffineFixed(1.0, 2.0), bij.ActNorm(), bij.LeakyReLU(0.3), bij.ActNorm()])
    scan, repeat = Scan(plan, 3).bind((2,)), Repeat(plan, 3).bind((2,))
    data = 5.0 + 3.0 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    for bound in (scan, repeat):
        getattr(bound, direction)(data)
    torch.testing.assert_close(scan.inverse_and_log_det(data), repeat.inverse_and_log_det(data))
    assert all(scan.state_dict()[k].all() for k in scan.state_dict() if k.endswith("initialized"))
    assert all(p.requires_grad and p.is_leaf for p in scan.parameters())


def test_a_layer_that_changes_its_state_does_so_in_its_own_slice() -> None:
    plan = bij.Compose([bij.BatchNorm(), bij.Affine()])
    scan, repeat = Scan(plan, 3).bind((2,)), Repeat(plan, 3).bind((2,))
    data = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)) * 3.0 + 1.0
    for bound in (scan, repeat):
        bound.initialize(data)
        bound.inverse(0.5 * data)  # a training step
    means = torch.stack([v for k, v in repeat.state_dict().items() if k.endswith("running_mean")])
    torch.testing.assert_close(scan.state_dict()["layer.bijector.parts.0.running_mean"], means)
    assert scan.state_dict()["layer.bijector.parts.0.count"].tolist() == [2, 2, 2]


def nodes(bound: BoundBijector[Any], direction: str, x: torch.Tensor, context: torch.Tensor | None) -> int:
    """How many nodes a compiled direction has, those of loops within it included."""
    found = []

    def count(module: torch.fx.GraphModule, _: object) -> Any:
        graphs = [m.graph for m in module.modules() if isinstance(m, torch.fx.GraphModule)]
        found.append(sum(len(g.nodes) for g in graphs))
        return module.forward

    torch._dynamo.reset()
    try:
        compiled: Any = torch.compile(getattr(bound, direction), fullgraph=True, backend=count)
        compiled(x, context)
    finally:
        torch._dynamo.reset()
    (only,) = found
    return only


@pytest.mark.parametrize("direction", ["forward_and_log_det", "inverse_and_log_det"])
def test_a_compiled_program_holds_one_layer(direction: str) -> None:
    sizes = {}
    for count in (2, 16):
        scan, repeat = pair("couplings", count)
        x, context = inputs("couplings", scan)
        sizes[count] = nodes(scan, direction, x, context), nodes(repeat, direction, x, context)
    assert sizes[2][0] == sizes[16][0]
    assert sizes[16][1] > 6 * sizes[2][1]


@pytest.mark.parametrize("name", ["couplings", "autoregressive"])
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_program_trains_the_same(name: str) -> None:
    scan, _ = pair(name)
    x, context = inputs(name, scan)
    gradients = []
    for compiled in (False, True):
        bound = copy.deepcopy(scan)
        torch._dynamo.reset()
        call: Any = bound.inverse_and_log_det
        if compiled:
            call = torch.compile(call, fullgraph=True, backend="aot_eager")
        leaf = x.clone().requires_grad_()
        y, log_det = call(leaf, context)
        (y.sin().sum() + log_det.square().sum()).backward()
        gradients.append([leaf.grad, *(p.grad for p in bound.parameters())])
    torch._dynamo.reset()
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-10, atol=1e-10)


def test_it_is_exported_with_one_layer() -> None:
    scan, _ = pair("couplings", 8)
    x, context = inputs("couplings", scan)
    program = torch.export.export(scan, (x, context))
    torch.testing.assert_close(program.module()(x, context), scan(x, context), rtol=1e-12, atol=1e-12)
    assert sum("scan" in str(node.target) for node in program.graph.nodes) > 0


def test_a_flow_of_it_is_trained() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = dist.Flow(dist.DiagNormal((2,)), Scan(bij.Compose([bij.AffineCoupling(NET), bij.Reverse()]), 4))
        data = torch.randn(256, 2) @ torch.tensor([[2.0, 1.0], [0.0, 0.5]]) + 1.0
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = -flow.log_prob(data).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5


def test_what_it_says_of_itself() -> None:
    plan = Scan(bij.AffineAutoregressive(), 7)
    assert plan.explain().startswith("Scan: 7 layers") and "7 times" in plan.describe()
    assert (plan.cheap, plan.min_event_dim) == ("forward", 1)
