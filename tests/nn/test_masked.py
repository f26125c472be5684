"""MADE's network: against a plain-loop transcription of its formula, and by its Jacobian."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch

from flowtorch.nn import MaskedDense, MaskedDenseSteps, MaskedLinear
from flowtorch.nn.masked import hidden_degrees
from flowtorch.testing import perturb


class Variant(NamedTuple):
    """The arguments of a network, and whether it is wide enough that nothing that may be seen is missed."""

    order: tuple[int, ...]
    block: int = 1
    context: int = 0
    hidden_dims: tuple[int, ...] = (12, 10)
    outputs: int = 2
    skip: bool = False
    residual: bool = False
    complete: bool = True


VARIANTS = {
    "plain": Variant((2, 0, 3, 1)),
    "one hidden layer": Variant((1, 0, 2), hidden_dims=(7,)),
    "three hidden layers": Variant((1, 0, 2), hidden_dims=(7, 9, 8)),
    "linear": Variant((1, 3, 0, 2), hidden_dims=()),
    "linear, context": Variant((1, 0, 2), hidden_dims=(), context=3),
    "context": Variant((2, 0, 1), context=3),
    "skip": Variant((2, 0, 1), skip=True, outputs=3),
    "skip, context": Variant((2, 0, 1), skip=True, context=2),
    "residual": Variant((2, 0, 1, 3), hidden_dims=(9, 9, 9), residual=True),
    "residual, skip, context": Variant((1, 0, 2), hidden_dims=(8, 8), residual=True, skip=True, context=2),
    "blocks": Variant((2, 0, 1), block=4),
    "blocks, everything": Variant(
        (2, 0, 1), block=2, context=3, hidden_dims=(8, 8), skip=True, residual=True, outputs=5
    ),
    "as wide as needed": Variant((3, 1, 0, 2, 4), hidden_dims=(5, 5)),
    "two coordinates": Variant((1, 0)),
    "one step": Variant((0,), block=3, context=2),
    "narrow": Variant((3, 1, 0, 2, 4), hidden_dims=(3, 2), complete=False),
    "narrow, one unit": Variant((1, 0, 2), hidden_dims=(1,), complete=False),
    "narrow, context": Variant((3, 1, 0, 2, 4), hidden_dims=(2, 6), context=2, complete=False),
    "narrow, skip": Variant((3, 1, 0, 2, 4), hidden_dims=(3, 2), skip=True),
}

every_variant = pytest.mark.parametrize("name", VARIANTS)


def network(v: Variant, seed: int = 0) -> MaskedDense:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = MaskedDense(
            torch.tensor(v.order),
            v.block,
            v.context,
            v.hidden_dims,
            v.outputs,
            nonlinearity=torch.nn.Tanh,
            skip_connections=v.skip,
            residual=v.residual,
        ).double()
    perturb(net, torch.Generator().manual_seed(seed), scale=1.0)
    return net


def inputs(v: Variant, batch: tuple[int, ...] = (2, 3), seed: int = 1) -> tuple[torch.Tensor, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*batch, len(v.order) * v.block, dtype=torch.float64, generator=generator)
    context = torch.randn(*batch, v.context, dtype=torch.float64, generator=generator)
    return x, context if v.context else None


def ranks(v: Variant) -> list[int]:
    """The step at which each flat coordinate comes, by looking it up."""
    return [v.order.index(c // v.block) for c in range(len(v.order) * v.block)]


def masks(v: Variant) -> list[np.ndarray]:
    """Which weights are in force, layer by layer, by the inequalities of the docstring; last the skip connections'."""
    r = ranks(v)
    degrees = [hidden_degrees(width, len(v.order), v.context > 0) for width in v.hidden_dims]
    found = []
    for layer, d in enumerate(degrees):
        if layer == 0:
            found.append([[d[k] > r[j] for j in range(len(r))] for k in range(len(d))])
        else:
            below = degrees[layer - 1]
            found.append([[d[k] >= below[j] for j in range(len(below))] for k in range(len(d))])
    if degrees:
        found.append([[r[i] >= degrees[-1][k] for k in range(len(degrees[-1]))] for i in range(len(r))])
    found.append([[r[i] > r[j] for j in range(len(r))] for i in range(len(r))])
    return [np.array(m, dtype=float) for m in found]


def by_hand(net: MaskedDense, v: Variant, x: np.ndarray, context: np.ndarray | None) -> np.ndarray:
    """The network's output for one input, from its parameters and the masks above."""
    p = {name: value.detach().numpy() for name, value in net.named_parameters()}
    *of_layers, of_skip = masks(v)
    size = len(x)
    out = np.zeros(v.outputs * size)
    if v.hidden_dims:
        h = x
        for layer in range(len(v.hidden_dims)):
            a = (p[f"hidden.{layer}.weight"] * of_layers[layer]) @ h + p[f"hidden.{layer}.bias"]
            if layer == 0 and context is not None:
                a = a + p["context.weight"] @ context
            h = np.tanh(a) + (h if v.residual and layer else 0.0)
        out = out + (p["output.weight"] * np.tile(of_layers[-1], (v.outputs, 1))) @ h + p["output.bias"]
    if v.skip or not v.hidden_dims:
        out = out + (p["skip.weight"] * np.tile(of_skip, (v.outputs, 1))) @ x + p.get("skip.bias", 0.0)
        if context is not None:
            out = out + p["skip_context.weight"] @ context
    return out.reshape(v.outputs, size)


@every_variant
def test_network_is_its_formula(name: str) -> None:
    v = VARIANTS[name]
    net, (x, context) = network(v), inputs(v, (3,))
    got = net(x, context)
    assert got.shape == (3, v.outputs, len(v.order) * v.block)
    for i in range(3):
        expected = by_hand(net, v, x[i].numpy(), None if context is None else context[i].numpy())
        np.testing.assert_allclose(got[i].detach().numpy(), expected, rtol=1e-12, atol=1e-12)


@every_variant
def test_outputs_see_what_comes_before_and_nothing_else(name: str) -> None:
    v = VARIANTS[name]
    net, (x, context) = network(v), inputs(v, ())
    jacobian = torch.autograd.functional.jacobian(lambda t: net(t, context), x)  # outputs, coordinates, coordinates
    r = torch.tensor(ranks(v))
    before = r[:, None] > r[None, :]
    sees = jacobian != 0
    assert not sees[:, ~before].any()
    if v.complete:
        assert sees[:, before].all()
    else:  # a narrow network sees what there are paths for: fewer than it might, but as many as its masks leave
        *of_layers, _ = masks(v)
        paths = of_layers[0]
        for mask in of_layers[1:]:
            paths = mask @ paths
        assert torch.equal(sees[0], torch.from_numpy(paths > 0))
        assert not sees[0][before].all()


@every_variant
def test_context_reaches_every_output(name: str) -> None:
    v = VARIANTS[name]
    net, (x, context) = network(v), inputs(v, ())
    if context is not None:
        assert (torch.autograd.functional.jacobian(lambda c: net(x, c), context) != 0).all()


@every_variant
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)], ids=str)
def test_one_step_at_a_time_is_all_at_once(name: str, batch: tuple[int, ...]) -> None:
    v = VARIANTS[name]
    net, (x, context) = network(v), inputs(v, batch)
    steps = MaskedDenseSteps(net, torch.tensor(v.order), context, torch.Size(batch))
    parts = []
    for step, index in enumerate(v.order):
        parts.append(steps.outputs(step))
        assert parts[-1].shape == (*batch, v.outputs, v.block)
        steps.update(x[..., index * v.block : (index + 1) * v.block])
    got = torch.cat([parts[v.order.index(i)] for i in range(len(v.order))], -1)
    torch.testing.assert_close(got, net(x, context), rtol=1e-12, atol=1e-12)


@every_variant
def test_a_fresh_network_gives_zero(name: str) -> None:
    v = VARIANTS[name]
    with torch.random.fork_rng(devices=[]):
        net = MaskedDense(
            torch.tensor(v.order),
            v.block,
            v.context,
            v.hidden_dims,
            v.outputs,
            skip_connections=v.skip,
            residual=v.residual,
        )
    x, context = inputs(v)
    assert not net(x.float(), None if context is None else context.float()).any()


def test_order_travels_with_the_state() -> None:
    v = VARIANTS["blocks, everything"]
    net, other = network(v), network(v._replace(order=(1, 2, 0)), seed=7)
    x, context = inputs(v)
    assert not torch.allclose(other(x, context), net(x, context))
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x, context), net(x, context))


@pytest.mark.parametrize("has_context", [False, True])
@pytest.mark.parametrize(("width", "steps"), [(1, 1), (1, 5), (2, 5), (5, 5), (6, 5), (64, 5), (256, 2), (9, 1)])
def test_degrees_ascend_are_within_range_and_miss_no_step_if_there_are_enough(
    width: int, steps: int, has_context: bool
) -> None:
    degrees = hidden_degrees(width, steps, has_context)
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


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("skip", [False, True])
def test_steps_without_gradients_write_in_place_and_give_the_same(context: int, skip: bool) -> None:
    order = torch.randperm(5, generator=torch.Generator().manual_seed(0))
    net = MaskedDense(order, 2, context, (16, 12), 3, nonlinearity=torch.nn.Tanh, skip_connections=skip).double()
    perturb(net, torch.Generator().manual_seed(1))
    x = torch.randn(4, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    given = torch.randn(4, 3, dtype=torch.float64) if context else None
    columns = order.repeat_interleave(2) * 2 + torch.arange(2).repeat(5)
    whole = net(x, given)

    def walk() -> list[torch.Tensor]:
        steps = MaskedDenseSteps(net, order, given, torch.Size((4,)))
        found = []
        for step in range(5):
            found.append(steps.outputs(step))
            steps.update(x[:, columns[2 * step : 2 * step + 2]])
        assert (steps.known.buffer is None) == torch.is_grad_enabled()
        return found

    with_gradients = walk()
    with torch.no_grad():
        without = walk()
    for step in range(5):
        expected = whole[..., columns[2 * step : 2 * step + 2]]
        torch.testing.assert_close(with_gradients[step], expected)
        torch.testing.assert_close(without[step], expected)
