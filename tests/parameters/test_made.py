"""MADE as a conditioner: what depends on what, its order, its state, its size."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import pytest
import torch

import flowtorch
import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.parameters import MADE, BoundAutoregressiveParameters
from flowtorch.testing import perturb
from flowtorch.types import numel


class Variant(NamedTuple):
    """A plan, the event as steps by block, a context."""

    plan: MADE
    event: tuple[int, ...]
    context: tuple[int, ...] | None = None


def net(*hidden: int, **options: object) -> MADE:
    return MADE(hidden, nonlinearity=torch.nn.Tanh, **options)  # type: ignore[arg-type]


# Two causes, 4 and 2; 0 is an effect of 4, 1 of both, 3 of 0 and 1.
GRAPH = ((0, 0, 0, 0, 1), (0, 0, 1, 0, 1), (0, 0, 0, 0, 0), (1, 1, 0, 0, 0), (0, 0, 0, 0, 0))

VARIANTS = {
    "drawn": Variant(net(12, 10), (4,)),
    "given": Variant(net(12, 10, permutation=(2, 0, 3, 1)), (4,)),
    "context": Variant(net(12, 10, permutation=(2, 0, 1)), (3,), (2,)),
    "context of two dimensions": Variant(net(12), (3,), (2, 2)),
    "scalar context": Variant(net(12), (3,), ()),
    "linear": Variant(net(), (4,)),
    "linear, context": Variant(net(permutation=(1, 2, 0)), (3,), (2,)),
    "skip connections": Variant(net(9, skip_connections=True), (3,), (2,)),
    "residual": Variant(net(9, 9, 9, residual=True), (3,)),
    "residual and skip": Variant(net(9, 9, residual=True, skip_connections=True), (4,), (2,)),
    "blocks": Variant(net(12, 10, permutation=(1, 2, 0)), (3, 2)),
    "blocks of two dimensions": Variant(net(9, 9, residual=True, skip_connections=True), (3, 1, 2), (2,)),
    "passes": Variant(net(12, 10, passes=2), (5,), (2,)),
    "passes, slices": Variant(net(12, 10, passes=3, permutation=(3, 1, 0, 2), skip_connections=True), (4, 2)),
    "more passes than coordinates": Variant(net(12, 10, passes=9), (3,)),
    "graph": Variant(net(12, 10, adjacency=GRAPH), (5,)),
    "graph, context": Variant(net(12, 12, adjacency=GRAPH, residual=True), (5,), (2,)),
    "graph, slices": Variant(net(12, adjacency=GRAPH, skip_connections=True), (5, 2), (1,)),
    "narrow with skip": Variant(net(2, 3, skip_connections=True), (5,)),
}
every_variant = pytest.mark.parametrize("name", VARIANTS)

TRAILING: tuple[tuple[int, ...], ...] = ((), (4,), (2, 3))


def bind(v: Variant, seed: int = 0) -> BoundAutoregressiveParameters:
    shapes = [(*v.event, *t) for t in TRAILING]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bound = v.plan.bind(shapes, v.event, v.context, coordinate_dims=len(v.event)).double()
    perturb(bound, torch.Generator().manual_seed(seed), scale=1.0)
    assert isinstance(bound, BoundAutoregressiveParameters)
    return bound


def may_see(v: Variant, order: list[int]) -> torch.Tensor:
    """Which coordinate may see which, in the order of steps, from the plan's options."""
    size = len(order)
    if v.plan.adjacency is not None:
        return torch.tensor([[bool(v.plan.adjacency[i][j]) for j in order] for i in order])
    passes = size if v.plan.passes is None else min(v.plan.passes, size)
    step = [((place + 1) * passes - 1) // size for place in range(size)]
    return torch.tensor([[a > b for b in step] for a in step])


def inputs(v: Variant, batch: tuple[int, ...] = (2, 3)) -> tuple[torch.Tensor, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn((*batch, *v.event), dtype=torch.float64, generator=generator)
    if v.context is None:
        return x, None
    return x, torch.randn((*batch, *v.context), dtype=torch.float64, generator=generator)


def run_steps(
    bound: BoundAutoregressiveParameters,
    x: torch.Tensor,
    context: torch.Tensor | None,
    *,
    default: bool = False,
) -> list[torch.Tensor]:
    """The parameters given one step at a time."""
    dims = x.dim() - len(bound.event)
    start = BoundAutoregressiveParameters.sequential if default else type(bound).sequential
    steps = start(bound, context, x.shape[:dims])
    parts = []
    for step, values in enumerate(x.split(bound.step_sizes, dims)):
        parts.append(steps.parameters(step))
        steps.update(step, values)
    return [torch.cat(of_all_steps, dims) for of_all_steps in zip(*parts, strict=True)]


@every_variant
def test_shapes(name: str) -> None:
    v = VARIANTS[name]
    bound, (x, context) = bind(v), inputs(v)
    assert bound.param_shapes == tuple((*v.event, *t) for t in TRAILING)
    assert [p.shape for p in bound(x, context)] == [(2, 3, *v.event, *t) for t in TRAILING]


@every_variant
def test_parameters_depend_on_all_that_comes_before_and_on_nothing_else(name: str) -> None:
    v = VARIANTS[name]
    bound, (x, context) = bind(v), inputs(v, ())
    if v.plan.permutation is not None:
        assert bound.order.tolist() == list(v.plan.permutation)
    block = numel(v.event[1:])
    before = may_see(v, bound.order.tolist()).repeat_interleave(block, 0).repeat_interleave(block, 1)
    assert torch.equal(bound.dependence.repeat_interleave(block, 0).repeat_interleave(block, 1), before)
    size = numel(v.event)
    for k, trailing in enumerate(TRAILING):
        jacobian = torch.autograd.functional.jacobian(lambda t, k=k: bound(t, context)[k], x)
        sees = jacobian.reshape(size, numel(trailing), size).movedim(1, 0) != 0
        assert sees[:, before].all()
        assert not sees[:, ~before].any()


@every_variant
def test_context_reaches_all_parameters(name: str) -> None:
    v = VARIANTS[name]
    bound, (x, context) = bind(v), inputs(v, ())
    if context is not None:
        for k in range(len(TRAILING)):
            assert (torch.autograd.functional.jacobian(lambda c, k=k: bound(x, c)[k], context) != 0).all()


@every_variant
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)], ids=str)
def test_steps_give_what_the_parallel_form_and_the_default_steps_give(name: str, batch: tuple[int, ...]) -> None:
    v = VARIANTS[name]
    bound, (x, context) = bind(v), inputs(v, batch)
    expected = bound(x, context)
    for default in (False, True):
        for got, wanted in zip(run_steps(bound, x, context, default=default), expected, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["context", "blocks of two dimensions"])
def test_steps_take_a_context_of_fewer_batch_dimensions(name: str) -> None:
    v = VARIANTS[name]
    bound, (x, _), (_, one) = bind(v), inputs(v), inputs(v, ())
    expected = bound(x, one)
    assert expected[0].shape == (2, 3, *v.event)
    for got, wanted in zip(run_steps(bound, x, one), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


@every_variant
def test_gradients_through_the_steps_are_those_of_the_parallel_form(name: str) -> None:
    v = VARIANTS[name]
    bound, (x, context) = bind(v), inputs(v)
    leaves = [t.requires_grad_() for t in (x, context) if t is not None] + list(bound.parameters())

    def gradients(found: list[torch.Tensor]) -> list[torch.Tensor]:
        total = torch.stack([p.sin().sum() for p in found]).sum()
        parts = torch.autograd.grad(total, leaves, allow_unused=True)
        return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, parts, strict=True)]

    expected = gradients(list(bound(x, context)))
    for got, wanted in zip(gradients(run_steps(bound, x, context)), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


def test_a_drawn_order_is_in_the_state_and_loads_into_another() -> None:
    v = VARIANTS["drawn"]
    bound, other = bind(v, seed=0), bind(v, seed=1)
    assert bound.order.tolist() != other.order.tolist()  # these seeds differ
    assert sorted(bound.order.tolist()) == [0, 1, 2, 3]
    other.load_state_dict(bound.state_dict())
    x, context = inputs(v)
    for got, wanted in zip(other(x, context), bound(x, context), strict=True):
        assert torch.equal(got, wanted)
    for got, wanted in zip(run_steps(other, x, context), run_steps(bound, x, context), strict=True):
        assert torch.equal(got, wanted)


def test_each_binding_draws_its_own_order() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        orders = {tuple(MADE((8,)).bind([(6,)], (6,), None).order.tolist()) for _ in range(8)}  # type: ignore[operator]
    assert len(orders) > 4


@pytest.mark.parametrize("hidden", [(), (5,), (7, 3), (4, 4, 4)], ids=str)
def test_layers_are_added_and_removed_by_hidden_dims(hidden: tuple[int, ...]) -> None:
    d, c, k = 3, 6, 1 + 4 + 6
    bound = MADE(hidden).bind([(d,), (d, 4), (d, 2, 3)], (d,), (c,), coordinate_dims=1)
    if hidden:
        widths = (d, *hidden, k * d)
        expected = sum(a * b + b for a, b in itertools.pairwise(widths)) + c * hidden[0]
    else:
        expected = k * d * (d - 1 + c) + k * d  # nothing comes after the last coordinate
    assert sum(p.numel() for p in bound.parameters()) == expected
    linear_layers = [m for m in bound.modules() if isinstance(m, torch.nn.Linear) and m.in_features != c]
    assert len(linear_layers) == len(hidden) + 1


def test_skip_connections_add_a_linear_map_of_input_and_context() -> None:
    def size(**options: bool) -> int:
        bound = MADE((5, 5), **options).bind([(3,), (3, 4)], (3,), (2,), coordinate_dims=1)
        return sum(p.numel() for p in bound.parameters())

    assert size(skip_connections=True) - size() == 5 * 3 * (3 - 1) + 5 * 3 * 2
    assert size(residual=True) == size()


def test_dense_autoregressive_is_its_name_in_flowtorch_0_8() -> None:
    assert params.DenseAutoregressive is MADE


def test_where_there_is_one_step_a_dense_network_of_the_same_options_takes_its_place() -> None:
    plan = MADE((7, 7), nonlinearity=torch.nn.ELU, residual=True, skip_connections=True, permutation=(0,))
    assert plan.unordered == params.DenseNN((7, 7), nonlinearity=torch.nn.ELU, residual=True)


def test_default_steps_may_cover_several_slices() -> None:
    """A step covers ``step_sizes[step]`` slices; here two, of a conditioner that looks at earlier pairs."""

    class Pairs(BoundAutoregressiveParameters):
        def forward(self, x: torch.Tensor | None, context: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
            assert x is not None
            return (torch.cat([torch.zeros_like(x[..., :2]), x[..., :2].sum(-1, keepdim=True).expand(2, 2)], -1),)

    layout = bind(VARIANTS["drawn"]).layout
    layout = type(layout)((torch.Size((4,)),), 1)
    bound = Pairs(layout, torch.Size((4,)), None, torch.tensor([3, 1, 0, 2]), step_sizes=(2, 2))
    steps = bound.sequential(None, torch.Size((2,)))
    (first,) = steps.parameters(0)
    steps.update(0, torch.tensor([[4.0, 2.0], [9.0, 6.0]], dtype=torch.float64))
    (second,) = steps.parameters(1)
    assert first.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert second.tolist() == [[6.0, 6.0], [15.0, 15.0]]
    assert bound.dependence.int().tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]


def test_a_graph_has_as_many_steps_as_it_is_deep_and_passes_are_even() -> None:
    assert bind(VARIANTS["graph"]).step_sizes == (2, 2, 1)
    assert bind(VARIANTS["graph"]).order.tolist() == [2, 4, 0, 1, 3]
    assert bind(VARIANTS["passes"]).step_sizes == (2, 3)
    assert bind(VARIANTS["more passes than coordinates"]).step_sizes == (1, 1, 1)


def test_a_graph_may_say_what_each_coordinate_sees_of_the_context() -> None:
    graph = tuple((*row, i % 2, i > 2) for i, row in enumerate(GRAPH))
    bound = bind(Variant(net(20, 15, adjacency=graph), (5,), (2,)))
    x, context = inputs(VARIANTS["graph, context"], ())
    sees = torch.autograd.functional.jacobian(lambda c: bound(x, c)[0], context) != 0
    expected = torch.tensor([graph[i][5:] for i in bound.order.tolist()]) > 0
    assert torch.equal(sees, expected)


def test_an_adjacency_is_stored_as_rows_of_booleans() -> None:
    plan = MADE(adjacency=torch.tensor(GRAPH))  # type: ignore[arg-type]
    assert plan == MADE(adjacency=GRAPH) and hash(plan) == hash(MADE(adjacency=GRAPH))
    assert plan.adjacency is not None and plan.adjacency[0] == (False, False, False, False, True)
    assert MADE(passes=2).describe() == "MADE(256, 256) in 2 passes"
    assert plan.describe() == "MADE(256, 256) over a graph"


@pytest.mark.parametrize(("name", "order"), [("identity", [0, 1, 2, 3]), ("reverse", [3, 2, 1, 0])])
def test_an_order_has_a_name_for_any_number_of_coordinates(name: Any, order: list[int]) -> None:
    plan = bij.AffineAutoregressive(params.MADE((8,), permutation=name))
    assert plan.bind((4,)).params.order.tolist() == order
    assert flowtorch.plan_from_dict(plan.to_dict()) == plan and plan.bind((1,)) is not None
    given = bij.AffineAutoregressive(params.MADE((8,), permutation=order)).bind((4,))
    bound = plan.bind((4,))
    given.load_state_dict(bound.state_dict())
    x = torch.randn(5, 4)
    assert torch.equal(bound.forward(x), given.forward(x))
