"""MADE's network: against a plain-loop transcription of its formula, and by its Jacobian."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
import torch

from flowtorch._native import loader
from flowtorch.nn import Dependence, FusedSteps, MaskedDense, MaskedDenseSteps, MaskedLinear
from flowtorch.nn.fused_steps import ACTIVATIONS, can_fuse
from flowtorch.nn.masked import _steps_of_blocks
from flowtorch.testing import perturb
from flowtorch.types import ModuleFactory


class Variant(NamedTuple):
    """The arguments of a network, and whether it is wide enough that nothing that may be seen is missed."""

    step_sizes: tuple[int, ...]
    block: int = 1
    context: int = 0
    hidden_dims: tuple[int, ...] = (12, 10)
    outputs: int = 2
    skip: bool = False
    residual: bool = False
    complete: bool = True
    graph: tuple[set[int], ...] | None = None  # what each coordinate sees; those from 100 on are of the context

    def sees(self) -> list[set[int]]:
        """What each coordinate sees: what its graph says, or all of the steps before and the context."""
        if self.graph is not None:
            return list(self.graph)
        starts = [sum(self.step_sizes[:s]) for s, size in enumerate(self.step_sizes) for _ in range(size)]
        return [set(range(start)) | {100 + c for c in range(self.context)} for start in starts]

    def dependence(self) -> Dependence:
        """The same as bits."""
        size = sum(self.step_sizes)
        bits = [sum(1 << (j if j < 100 else size + j - 100) for j in seen) for seen in self.sees()]
        return Dependence(bits, self.step_sizes, self.block, self.context)


VARIANTS = {
    "plain": Variant((1, 1, 1, 1)),
    "one hidden layer": Variant((1, 1, 1), hidden_dims=(7,)),
    "three hidden layers": Variant((1, 1, 1), hidden_dims=(7, 9, 8)),
    "linear": Variant((1, 1, 1, 1), hidden_dims=()),
    "linear, context": Variant((1, 1, 1), hidden_dims=(), context=3),
    "context": Variant((1, 1, 1), context=3),
    "skip": Variant((1, 1, 1), skip=True, outputs=3),
    "skip, context": Variant((1, 1, 1), skip=True, context=2),
    "residual": Variant((1, 1, 1, 1), hidden_dims=(9, 9, 9), residual=True),
    "residual, skip, context": Variant((1, 1, 1), hidden_dims=(8, 8), residual=True, skip=True, context=2),
    "slices": Variant((1, 1, 1), block=4),
    "slices, everything": Variant(
        (1, 1, 1), block=2, context=3, hidden_dims=(8, 8), skip=True, residual=True, outputs=5
    ),
    "as wide as needed": Variant((1, 1, 1, 1, 1), hidden_dims=(5, 5)),
    "two coordinates": Variant((1, 1)),
    "one step": Variant((1,), block=3, context=2),
    "steps of several": Variant((2, 1, 3), context=2),
    "steps of several slices": Variant((2, 2), block=2, hidden_dims=(6, 6), skip=True),
    "one step of several": Variant((3,), context=2, hidden_dims=()),
    "blocks": Variant((1,) * 48, hidden_dims=(52, 50), outputs=9),
    "blocks, everything": Variant(
        (3, 30, 8, 1, 1, 5), context=2, hidden_dims=(12, 12), residual=True, skip=True, outputs=30
    ),
    "blocks, linear": Variant((1,) * 33, hidden_dims=(), outputs=16),
    "graph": Variant((2, 2, 1), graph=(set(), set(), {0}, {0, 1}, {1, 2})),
    "graph, no edges": Variant((2,), graph=(set(), set())),
    "graph of the context": Variant(
        (2, 2, 1), context=2, skip=True, graph=({100}, set(), {0, 101}, {0, 1, 100, 101}, {1, 2, 100})
    ),
    "graph, residual": Variant(
        (1, 2, 1), block=2, hidden_dims=(9, 9, 9), residual=True, graph=(set(), {0}, {0}, {0, 2})
    ),
    "narrow": Variant((1, 1, 1, 1, 1), hidden_dims=(3, 2), complete=False),
    "narrow, one unit": Variant((1, 1, 1), hidden_dims=(1,), complete=False),
    "narrow, context": Variant((1, 1, 1, 1, 1), hidden_dims=(2, 6), context=2, complete=False),
    "narrow, skip": Variant((1, 1, 1, 1, 1), hidden_dims=(3, 2), skip=True),
}

every_variant = pytest.mark.parametrize("name", VARIANTS)


def network(v: Variant, seed: int = 0) -> MaskedDense:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = MaskedDense(
            v.dependence(),
            v.hidden_dims,
            v.outputs,
            nonlinearity=torch.nn.Tanh,
            skip_connections=v.skip,
            residual=v.residual,
        ).double()
    perturb(net, torch.Generator().manual_seed(seed), scale=1.0)
    return net


def size_of(v: Variant) -> int:
    return sum(v.step_sizes) * v.block


def inputs(v: Variant, batch: tuple[int, ...] = (2, 3), seed: int = 1) -> tuple[torch.Tensor, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*batch, size_of(v), dtype=torch.float64, generator=generator)
    context = torch.randn(*batch, v.context, dtype=torch.float64, generator=generator)
    return x, context if v.context else None


def units(v: Variant) -> list[list[set[int]]]:
    """The set of every hidden unit, layer by layer."""
    dependence, size = v.dependence(), sum(v.step_sizes)
    sets = [
        {j if j < size else 100 + j - size for j in range(size + v.context) if k >> j & 1} for k in dependence.kinds
    ]
    return [[sets[k] for k in dependence.hidden(width)] for width in v.hidden_dims]


def masks(v: Variant) -> dict[str, np.ndarray]:
    """Which weights are in force, by the sets of the docstring; of the last layers one row for each coordinate."""
    coordinates = [seen for seen in v.sees() for _ in range(v.block)]
    layers = units(v)
    drawn = [[j // v.block in seen for j in range(size_of(v))] for seen in coordinates]
    found = {"skip": drawn, "skip_context": [[100 + c in seen for c in range(v.context)] for seen in coordinates]}
    for index, layer in enumerate(layers):
        if index == 0:
            found["hidden.0"] = [[j // v.block in seen for j in range(size_of(v))] for seen in layer]
            found["context"] = [[100 + c in seen for c in range(v.context)] for seen in layer]
        else:
            found[f"hidden.{index}"] = [[below <= seen for below in layers[index - 1]] for seen in layer]
    if layers:
        found["output"] = [[below <= seen for below in layers[-1]] for seen in coordinates]
    return {name: np.array(mask, dtype=float) for name, mask in found.items()}


def by_hand(net: MaskedDense, v: Variant, x: np.ndarray, context: np.ndarray | None) -> np.ndarray:
    """The network's output for one input, from its parameters and the masks above."""
    p = {name: value.detach().numpy() for name, value in net.named_parameters()}
    mask = masks(v)

    def in_blocks(layer: str, h: np.ndarray) -> np.ndarray:
        out, start = [], 0
        for index, size in enumerate(net.block_sizes):
            weight = p[f"{layer}.{index}.weight"]
            rows = np.tile(mask[layer][start : start + size, : weight.shape[1]], (v.outputs, 1))
            # What a block does not read is masked.
            assert not mask[layer][start : start + size, max(weight.shape[1], 1) :].any()
            result = (weight * rows) @ h[: weight.shape[1]] + p.get(f"{layer}.{index}.bias", 0.0)
            out.append(result.reshape(v.outputs, size))
            start += size
        return np.concatenate(out, 1)

    total = np.zeros((v.outputs, size_of(v)))
    if v.hidden_dims:
        h = x
        for layer in range(len(v.hidden_dims)):
            a = (p[f"hidden.{layer}.weight"] * mask[f"hidden.{layer}"]) @ h + p[f"hidden.{layer}.bias"]
            if layer == 0 and context is not None:
                a = a + (p["context.weight"] * mask["context"]) @ context
            h = np.tanh(a) + (h if v.residual and layer else 0.0)
        total = total + in_blocks("output", h)
    if v.skip or not v.hidden_dims:
        total = total + in_blocks("skip", x)
        if context is not None:
            direct = (p["skip_context.weight"] * np.tile(mask["skip_context"], (v.outputs, 1))) @ context
            total = total + direct.reshape(v.outputs, -1)
    return total


@every_variant
def test_network_is_its_formula(name: str) -> None:
    v = VARIANTS[name]
    net, (x, context) = network(v), inputs(v, (3,))
    got = net(x, context)
    assert got.shape == (3, v.outputs, size_of(v))
    for i in range(3):
        expected = by_hand(net, v, x[i].numpy(), None if context is None else context[i].numpy())
        np.testing.assert_allclose(got[i].detach().numpy(), expected, rtol=1e-12, atol=1e-12)


@every_variant
def test_outputs_see_what_they_may_and_nothing_else(name: str) -> None:
    v = VARIANTS[name]
    net, (x, context) = network(v), inputs(v, ())
    may = torch.from_numpy(masks(v)["skip"] > 0)
    sees = torch.autograd.functional.jacobian(lambda t: net(t, context), x) != 0  # outputs, coordinates, coordinates
    assert not sees[:, ~may].any()
    if v.complete:
        assert sees[:, may].all()
    else:  # a narrow network sees what there are paths for: fewer than it might, but as many as its masks leave
        mask = masks(v)
        paths = mask["hidden.0"]
        for index in range(1, len(v.hidden_dims)):
            paths = mask[f"hidden.{index}"] @ paths
        assert torch.equal(sees[0], torch.from_numpy(mask["output"] @ paths > 0))
        assert not sees[0][may].all()


@every_variant
def test_outputs_see_of_the_context_what_they_may(name: str) -> None:
    v = VARIANTS[name]
    net, (x, context) = network(v), inputs(v, ())
    if context is not None:
        sees = torch.autograd.functional.jacobian(lambda c: net(x, c), context) != 0
        assert torch.equal(sees, torch.from_numpy(masks(v)["skip_context"] > 0).expand(v.outputs, -1, -1))


@every_variant
@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (0,)], ids=str)
def test_one_step_at_a_time_is_all_at_once(name: str, batch: tuple[int, ...]) -> None:
    v = VARIANTS[name]
    net, (x, context) = network(v), inputs(v, batch)
    steps = MaskedDenseSteps(net, context, torch.Size(batch))
    parts = []
    for step, values in enumerate(x.split([size * v.block for size in v.step_sizes], -1)):
        parts.append(steps.outputs(step))
        assert parts[-1].shape == (*batch, v.outputs, values.shape[-1])
        steps.update(values)
    torch.testing.assert_close(torch.cat(parts, -1), net(x, context), rtol=1e-12, atol=1e-12)


@every_variant
def test_a_fresh_network_gives_zero(name: str) -> None:
    v = VARIANTS[name]
    with torch.random.fork_rng(devices=[]):
        net = MaskedDense(v.dependence(), v.hidden_dims, v.outputs, skip_connections=v.skip, residual=v.residual)
    x, context = inputs(v)
    assert not net(x.float(), None if context is None else context.float()).any()


def test_blocks_of_the_last_layer_leave_out_what_is_masked() -> None:
    v = VARIANTS["blocks"]
    net = network(v)
    assert net.block_sizes == [32, 16]
    assert [tuple(layer.weight.shape) for layer in net.last] == [(9 * 32, 34), (9 * 16, 50)]
    whole = net(*inputs(v))
    torch.testing.assert_close(torch.cat(list(net.blocks(*inputs(v))), -1), whole, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("coordinates", "outputs", "expected"),
    [
        (16, 23, [16]),  # too few rows for one more call
        (64, 23, [16, 16, 16, 16]),
        (70, 23, [16, 16, 16, 22]),  # what would be left over joins the last
        (64, 2, [64]),
        (1000, 23, [128] * 7 + [104]),  # no more than eight
    ],
)
def test_blocks_are_as_wide_as_vector_registers_and_not_too_many(
    coordinates: int, outputs: int, expected: list[int]
) -> None:
    assert [len(steps) for steps in _steps_of_blocks([1] * coordinates, outputs)] == expected


@pytest.mark.parametrize("has_context", [False, True])
@pytest.mark.parametrize(("width", "steps"), [(1, 1), (1, 5), (2, 5), (5, 5), (6, 5), (64, 5), (256, 2), (9, 1)])
def test_degrees_ascend_are_within_range_and_miss_no_step_if_there_are_enough(
    width: int, steps: int, has_context: bool
) -> None:
    context = int(has_context)
    sees = [(1 << step) - 1 | context << steps for step in range(steps)]
    degrees = Dependence(sees, (1,) * steps, 1, context).hidden(width)
    assert len(degrees) == width
    assert degrees == sorted(degrees)
    assert degrees[0] == 0 and degrees[-1] < steps
    if width >= steps:
        assert set(degrees) == set(range(steps))
    counts = [degrees.count(d) for d in range(steps if has_context else 1, steps)]
    assert not counts or max(counts) - min(counts) <= 1
    if not has_context and steps > 1:  # units that see nothing are constants: few
        assert degrees.count(0) == max(1, width // (8 * steps))


def test_masked_linear_is_a_linear_map_with_zeros_that_no_gradient_reaches() -> None:
    mask = torch.tensor([[True, False, True], [False, False, True]])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = MaskedLinear(mask).double()
    assert "mask" in layer.state_dict()
    x = torch.tensor([[1.0, -2.0, 3.0]], dtype=torch.float64)
    y = layer(x)
    w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    expected = [w[0, 0] * 1.0 + w[0, 2] * 3.0 + b[0], w[1, 2] * 3.0 + b[1]]
    np.testing.assert_allclose(y.detach().numpy()[0], expected, rtol=1e-14)
    y.sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[1.0, 0.0, 3.0], [0.0, 0.0, 3.0]]
    assert MaskedLinear(mask, bias=False).bias is None


@pytest.mark.parametrize("name", ["slices, everything", "blocks, everything", "graph of the context", "linear"])
def test_steps_without_gradients_write_in_place_and_give_the_same(name: str) -> None:
    v = VARIANTS[name]
    net, (x, context) = network(v), inputs(v, (4,))

    def walk() -> list[torch.Tensor]:
        steps = MaskedDenseSteps(net, context, torch.Size((4,)))
        found = []
        for step, values in enumerate(x.split([size * v.block for size in v.step_sizes], -1)):
            found.append(steps.outputs(step))
            steps.update(values)
        assert (steps.known.buffer is None) == torch.is_grad_enabled()
        return found

    with_gradients = walk()
    with torch.no_grad():
        without = walk()
    for one, other in zip(with_gradients, without, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


needs_kernels = pytest.mark.skipif(loader.capability is None, reason="the kernels are not built")


def fused_walk(net: MaskedDense, x: torch.Tensor, context: torch.Tensor | None) -> torch.Tensor:
    with torch.no_grad():
        steps = FusedSteps(net, context, x.shape[:-1])
        parts = []
        for step, values in enumerate(x.split(net.step_sizes, -1)):
            parts.append(steps.outputs(step))
            assert parts[-1].shape == (*x.shape[:-1], net.outputs, values.shape[-1])
            steps.update(values)
    return torch.cat(parts, -1)


@needs_kernels
@every_variant
@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (70,), (0,), (2, 0)], ids=str)
def test_fused_steps_give_what_the_network_gives(name: str, batch: tuple[int, ...]) -> None:
    v = VARIANTS[name]
    net, (x, context) = network(v), inputs(v, batch)
    torch.testing.assert_close(fused_walk(net, x, context), net(x, context), rtol=1e-12, atol=1e-12)


@needs_kernels
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: a.__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_fused_steps_know_their_activations(activation: type[torch.nn.Module], dtype: torch.dtype) -> None:
    v = VARIANTS["slices, everything"]
    made = {torch.nn.LeakyReLU: partial(torch.nn.LeakyReLU, 0.3), torch.nn.ELU: partial(torch.nn.ELU, 1.7)}
    net = MaskedDense(v.dependence(), v.hidden_dims, v.outputs, nonlinearity=made.get(activation, activation)).to(dtype)
    perturb(net, torch.Generator().manual_seed(0), scale=1.0)
    x, context = (None if t is None else (3.0 * t).to(dtype) for t in inputs(v, (40,)))
    assert x is not None
    limit = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(fused_walk(net, x, context), net(x, context), rtol=limit, atol=limit)


def test_steps_are_fused_without_gradients_for_known_activations_only() -> None:
    def could(activation: ModuleFactory, dtype: torch.dtype = torch.float32) -> bool:
        return can_fuse(MaskedDense(v.dependence(), (4,), 1, nonlinearity=activation), torch.zeros(1, dtype=dtype))

    v = VARIANTS["plain"]
    assert not could(torch.nn.ReLU)  # gradients may be asked for
    with torch.no_grad():
        assert could(torch.nn.ReLU) == could(torch.nn.ReLU, torch.float64) == (loader.capability is not None)
        assert not could(torch.nn.ReLU, torch.bfloat16)
        assert not could(torch.nn.Softplus)
        with torch.autocast("cpu"):
            assert not could(torch.nn.ReLU)


def test_hidden_units_of_a_graph_are_of_the_kinds_that_its_coordinates_see() -> None:
    v = VARIANTS["graph"]
    (first, second) = units(v)
    assert {frozenset(s) for s in first} == {frozenset(s) for s in v.sees()} == {frozenset(s) for s in second}
    assert first.count(set()) == 1  # a constant: few, see above
    assert v.dependence().known_units(v.dependence().hidden(12)) == [1, 9, 12]
