"""The network of blocks: against a plain-loop transcription of its formula, one input at a time, and at extremes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, cast

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from flowtorch.nn.block import BlockDense, BlockDenseSteps, BlockLinear
from flowtorch.ops.block import (
    ACTIVATIONS,
    MIN_IDENTITY,
    ActivationName,
    BlockLayer,
    block_limits,
    block_map,
    identity_share,
    log_matmul,
    with_identity,
)
from flowtorch.testing import perturb


class Variant(NamedTuple):
    """The arguments of a network."""

    blocks: int = 3
    context: int = 0
    hidden_factors: tuple[int, ...] = (3, 2)
    activation: ActivationName = "tanh"


VARIANTS = {
    **{name: Variant(activation=name) for name in ACTIVATIONS},
    "context": Variant(context=2),
    "one hidden layer": Variant(hidden_factors=(4,)),
    "three hidden layers": Variant(4, 1, (2, 4, 3), "leaky_tanh"),
    "one input": Variant(1),
    "one input, context": Variant(1, 3),
    "one unit each": Variant(2, hidden_factors=(1, 1)),
    "one of everything": Variant(1, hidden_factors=(1,)),
}
every_variant = pytest.mark.parametrize("name", VARIANTS)

PLAIN: dict[ActivationName, Callable[[float], float]] = {
    "tanh": math.tanh,
    "leaky_tanh": lambda x: (
        math.tanh(x) if abs(x) < 3.0 else math.copysign(math.tanh(3.0) + (abs(x) - 3.0) / math.cosh(3.0) ** 2, x)
    ),
    "sigmoid": lambda x: 1.0 / (1.0 + math.exp(-x)),
    "elu": lambda x: x if x > 0.0 else math.expm1(x),
    "leaky_relu": lambda x: x if x > 0.0 else 0.01 * x,
}


def network(v: Variant, dtype: torch.dtype = torch.float64) -> BlockDense:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = BlockDense(v.blocks, v.context, v.hidden_factors, activation=v.activation).to(dtype)
    perturb(net, torch.Generator().manual_seed(1))
    return net


def inputs(v: Variant, *batch: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(2)
    x = 2.0 * torch.randn(*batch, v.blocks, dtype=torch.float64, generator=generator)
    return x, torch.randn(*batch, v.context, dtype=torch.float64, generator=generator) if v.context else None


def by_loops(net: BlockDense, v: Variant, x: list[float], context: list[float]) -> list[float]:
    """The formula, unit by unit, from the definition of the weights."""
    h = [[value] for value in x]  # h[block][unit]
    for index, layer in enumerate(net.layers):
        diagonal, scale, bias = (t.tolist() for t in (layer.diagonal, layer.raw_scale, layer.bias))
        weight = None if layer.weight is None else layer.weight.tolist()
        new: list[list[float]] = []
        for block in range(v.blocks):
            new.append([])
            for unit in range(len(bias)):
                row = {(block, i): math.exp(diagonal[unit][i][block]) for i in range(len(h[block]))}
                for before in range(block):
                    assert weight is not None
                    row |= {(before, i): weight[unit][i][block][before] for i in range(len(h[before]))}
                norm = math.sqrt(sum(w * w for w in row.values()))
                raw = scale[unit][block]
                limit = 3.0 if raw > 0.0 else 5.0
                s = math.exp(limit * math.tanh(raw / limit))
                z = sum(s * w / norm * h[d][i] for (d, i), w in row.items()) + bias[unit][block]
                if index == 0 and net.context is not None:
                    from_context = net.context.weight[unit * v.blocks + block].tolist()
                    z += sum(a * b for a, b in zip(from_context, context, strict=True))
                new[-1].append(z if index == len(net.layers) - 1 else PLAIN[v.activation](z))
        h = new
    return [value for (value,) in h]


@every_variant
def test_values_are_those_of_the_formula(name: str) -> None:
    v = VARIANTS[name]
    net = network(v)
    x, context = inputs(v, 5)
    given = [[]] * 5 if context is None else context.tolist()
    expected = [by_loops(net, v, a, b) for a, b in zip(x.tolist(), given, strict=True)]
    np.testing.assert_allclose(net(x, context)[0].detach(), expected, rtol=1e-12, atol=1e-12)


@every_variant
def test_log_derivatives_are_those_of_the_jacobian_which_is_triangular(name: str) -> None:
    v = VARIANTS[name]
    net = network(v)
    x, context = inputs(v, 6)
    value, log_slope = net(x, context)
    for row in range(6):
        given = None if context is None else context[row]
        jacobian = cast(torch.Tensor, torch.func.jacrev(lambda t, c=given: net(t, c)[0])(x[row]))
        assert bool((jacobian.triu(1) == 0.0).all()) and bool((jacobian.diagonal() > 0.0).all())
        below = jacobian[tuple(torch.tril_indices(v.blocks, v.blocks, -1))]
        assert bool((below != 0.0).all())
        torch.testing.assert_close(jacobian.diagonal().log(), log_slope[row])
        torch.testing.assert_close(net(x[row], given)[0], value[row])


@every_variant
def test_batches_of_any_shape(name: str) -> None:
    v = VARIANTS[name]
    net = network(v)
    x, context = inputs(v, 2, 3)
    flat = net(x.flatten(0, 1), None if context is None else context.flatten(0, 1))
    for got, expected in zip(net(x, context), flat, strict=True):
        torch.testing.assert_close(got.flatten(0, 1), expected)
    for got in net(x[:0], None if context is None else context[:0]):
        assert got.shape == (0, 3, v.blocks)


@every_variant
def test_step_by_step_it_is_the_same(name: str) -> None:
    v = VARIANTS[name]
    net = network(v)
    x, context = inputs(v, 2, 3)
    expected = net(x, context)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            steps = BlockDenseSteps(net, context, torch.Size((2, 3)), x.dtype)
            for step, part in enumerate(x.unbind(-1)):
                layers = steps.layers(step)
                for got, whole in zip(block_map(part, layers, net.activation), expected, strict=True):
                    torch.testing.assert_close(got, whole[..., step])
                steps.update(part, layers)


@every_variant
def test_a_gradient_reaches_every_parameter_by_steps_as_well(name: str) -> None:
    v = VARIANTS[name]
    net = network(v)
    x, context = inputs(v, 7)
    value, log_slope = net(x, context)
    expected = torch.autograd.grad(value.sin().sum() + log_slope.sum(), list(net.parameters()))
    steps = BlockDenseSteps(net, context, torch.Size((7,)), x.dtype)
    total = torch.zeros((), dtype=torch.float64)
    for step, part in enumerate(x.unbind(-1)):
        layers = steps.layers(step)
        value, log_slope = block_map(part, layers, net.activation)
        total = total + value.sin().sum() + log_slope.sum()
        steps.update(part, layers)
    for got, whole in zip(torch.autograd.grad(total, list(net.parameters())), expected, strict=True):
        assert got.any()
        torch.testing.assert_close(got, whole)


def multiply_adds(call: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return cast(int, counter.get_total_flops())


def test_all_steps_cost_one_pass_and_evaluating_each_block_another_fraction() -> None:
    v = Variant(32, 0, (8, 8))
    net = network(v)
    x, _ = inputs(v, 10)

    def by_steps() -> None:
        steps = BlockDenseSteps(net, None, torch.Size((10,)), x.dtype)
        for step, part in enumerate(x.unbind(-1)):
            steps.update(part, steps.layers(step))

    one_pass = multiply_adds(lambda: net(x, None))
    assert multiply_adds(by_steps) < 0.6 * one_pass
    layers = BlockDenseSteps(net, None, torch.Size((10,)), x.dtype).layers(0)
    assert 32 * multiply_adds(lambda: block_map(x[:, 0], layers, net.activation)) <= one_pass / 32


# The layer -----------------------------------------------------------------------------------------------------------


def test_rows_have_the_length_of_their_scale_which_is_bounded() -> None:
    torch.manual_seed(0)
    layer = BlockLinear(3, 2, 4).double()
    for raw, expected in ((-1e3, math.exp(-5.0)), (0.0, 1.0), (1e3, math.exp(3.0))):
        torch.nn.init.constant_(layer.raw_scale, raw)
        norms = layer(torch.float64).matrix().norm(dim=1)
        torch.testing.assert_close(norms, torch.full_like(norms, expected))


def test_large_and_small_weights_overflow_nowhere() -> None:
    """Squares of the exponential of 60 are beyond float32."""
    torch.manual_seed(0)
    layer = BlockLinear(3, 2, 4)
    for shift, factor in ((60.0, 1.0), (-60.0, 0.0), (-60.0, 1e20)):
        with torch.no_grad():
            layer.diagonal.copy_(shift + torch.randn_like(layer.diagonal))
            assert layer.weight is not None
            layer.weight.copy_(factor * torch.randn_like(layer.weight))
        single, double = layer(torch.float32), layer(torch.float64)
        for got, expected in ((single.matrix(), double.matrix()), (single.log_diagonal, double.log_diagonal)):
            torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-6)
        total = single.log_diagonal.sum() + single.matrix().sum() + single.bias.sum()
        assert all(bool(g.isfinite().all()) for g in torch.autograd.grad(total, list(layer.parameters())))


def test_with_one_input_there_is_nothing_to_normalise() -> None:
    layer = BlockLinear(1, 1, 3)
    assert dict(layer.named_parameters()).keys() == {"raw_scale", "bias"}
    assert dict(BlockLinear(2, 1, 3).named_parameters()).keys() == {"weight", "diagonal", "raw_scale", "bias"}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_gain_is_about_the_slope_of_a_fresh_network(activation: ActivationName) -> None:
    torch.manual_seed(0)
    x = torch.linspace(-1.0, 1.0, 21)[:, None].expand(21, 4)
    nets = [BlockDense(4, 0, (32, 32), activation=activation, gain=g) for g in (1.0, 3.0)]
    one, three = (float(net(x, None)[1].detach().exp().mean()) for net in nets)
    assert 0.2 < one < 1.2 and 2.0 < three / one < 4.0


# The formulas --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_increase_within_their_limits(activation: ActivationName) -> None:
    function, low, high, slope = ACTIVATIONS[activation]
    x = torch.linspace(-40.0, 40.0, 4001, dtype=torch.float64).add(1e-3).requires_grad_()
    value, log_slope = function(x)
    assert bool((value >= low).all()) and bool((value <= high).all()) and bool((value.diff() >= -1e-15).all())
    (expected,) = torch.autograd.grad(value.sum(), x)
    inside = expected > 1e-6  # where one less the square of the hyperbolic tangent is not lost in rounding
    torch.testing.assert_close(log_slope[inside], expected[inside].log(), rtol=1e-6, atol=1e-6)
    at_zero = function(torch.full((), 1e-9, dtype=torch.float64))[1].exp()
    assert float(at_zero) == pytest.approx(slope, abs=1e-6)
    far = function(torch.tensor([-1e3, 1e3], dtype=torch.float64))[0]
    for got, end in zip(far.tolist(), (low, high), strict=True):
        assert got == pytest.approx(end) if math.isfinite(end) else abs(got) >= 10.0
    assert ACTIVATIONS[activation].onto is (math.isinf(low) and math.isinf(high))


def test_leaky_tanh_goes_on_by_its_tangents() -> None:
    function = ACTIVATIONS["leaky_tanh"].function
    x = torch.tensor([-5.0, -3.0, 3.0, 4.0], dtype=torch.float64)
    value, log_slope = function(x)
    slope = 1.0 - math.tanh(3.0) ** 2
    expected = [-math.tanh(3.0) - 2.0 * slope, -math.tanh(3.0), math.tanh(3.0), math.tanh(3.0) + slope]
    assert value.tolist() == pytest.approx(expected) and log_slope.tolist() == pytest.approx([math.log(slope)] * 4)


def test_products_in_logarithms_are_those_of_the_numbers_and_hold_what_underflows() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(4, 3, 5, generator=generator), torch.randn(3, 5, generator=generator)
    torch.testing.assert_close(log_matmul(a, b), torch.einsum("oib,ib->ob", a.exp(), b.exp()).log())
    # exp(-300) is 0 in float32: of the two ways through, one has a small weight, the other a saturated unit.
    log_weight, log_x = torch.tensor([[0.0, -200.0]]), torch.tensor([-300.0, 0.0]).requires_grad_()
    found = log_matmul(log_weight, log_x)
    torch.testing.assert_close(found, torch.tensor([-200.0]))
    assert torch.autograd.grad(found.sum(), log_x)[0].tolist() == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_limits_are_the_values_far_out(activation: ActivationName) -> None:
    v = Variant(3, activation=activation)
    net = network(v)
    steps = BlockDenseSteps(net, None, torch.Size((2,)), torch.float64)
    layers: list[BlockLayer] = steps.layers(0)
    far = [block_map(torch.full((2,), end, dtype=torch.float64), layers, net.activation)[0] for end in (-1e4, 1e4)]
    for got, value, end in zip(block_limits(layers, net.activation), far, net.activation[1:3], strict=True):
        assert got.shape == (2,)
        torch.testing.assert_close(got, value) if math.isfinite(end) else (got == end).all()


def test_mixing_in_the_identity() -> None:
    x, value = torch.tensor([2.0, -1.0, 0.5]).double(), torch.tensor([5.0, 7.0, -3.0]).double()
    log_slope = torch.tensor([0.5, -1e4, 10.0]).double()
    y, log_derivative = with_identity(x, value, log_slope, None)
    torch.testing.assert_close(y, x + value)
    torch.testing.assert_close(log_derivative, torch.log(1.0 + log_slope.exp()))
    for raw in (-1e4, -1.0, 0.0, 1e4):
        gate = torch.tensor(raw).double()
        share = identity_share(gate)
        assert MIN_IDENTITY <= float(share) <= 1.0
        y, log_derivative = with_identity(x, value, log_slope, gate)
        torch.testing.assert_close(y, share * x + (1.0 - share) * value)
        torch.testing.assert_close(log_derivative, torch.log(share + (1.0 - share) * log_slope.exp()))
    assert float(identity_share(torch.tensor(0.0))) == pytest.approx(0.01 + 0.99 * 0.5)
