"""Masked and residual networks as conditioners give the numbers that they gave, whatever their units see."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

import flowtorch.bijectors as bij
from flowtorch.bijectors import BoundAutoregressive
from flowtorch.convert.common import Conditioner, driven
from flowtorch.convert.networks import Block, Linear, Masked, dense, made, residual_dense, residual_made

SIZE, CONTEXT = 4, 2
COLUMNS = (3, 0, 5, 1, 4, 2)  # of the coordinates, and of the features of the context
ORDER = (2, 0, 3, 1)
DRIVEN = driven(bij.Affine(), SIZE, by_coordinate=True, order=(1, 0), scale=(1.0, 0.5), shift=(0.1, 0.2))


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer(mask: torch.Tensor, seed: int, bias: bool = True) -> Linear:
    return Linear(draw(*mask.shape, seed=seed), draw(len(mask), seed=seed + 1) if bias else None, mask)


def degrees_of_inputs() -> torch.Tensor:
    """The step at which a column of the first layer is met: 0 for the context."""
    found = torch.zeros(SIZE + CONTEXT)
    for step, coordinate in enumerate(ORDER):
        found[COLUMNS[coordinate]] = step + 1
    return found


def network(units: Sequence[torch.Tensor], *, bias: bool = True, skip: bool = False) -> Masked:
    """A masked network whose hidden units are of these degrees: they see what is met up to that step."""
    inputs = degrees_of_inputs()
    outputs = torch.tensor([ORDER.index(i) + 1 for i in range(SIZE)]).repeat_interleave(2)
    below, hidden = inputs, []
    for i, here in enumerate(units):
        hidden.append(layer(here[:, None] >= below, 2 * i, bias))
        below = here
    last = layer(outputs[:, None] > below, 20, bias)
    direct = layer(outputs[:, None] > inputs, 30, False) if skip else None
    return Masked(hidden, last, DRIVEN, COLUMNS, CONTEXT, ORDER, torch.nn.Tanh, direct)


def through(net: Masked, x: torch.Tensor, context: torch.Tensor, blocks: Sequence[Block] = ()) -> torch.Tensor:
    """What the network puts out, by plain products, in the layout of ``DRIVEN``: ``(batch, P, D)``."""
    h = given = torch.cat([x, context], -1)[:, torch.tensor(COLUMNS).argsort()]

    def apply(linear: Linear, value: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(value, linear.in_force, linear.bias)

    for linear in net.hidden:
        h = apply(linear, h) if blocks else torch.tanh(apply(linear, h))
    for block in blocks:
        h = h + apply(block.second, torch.tanh(apply(block.first, h)))
    out = apply(net.output, h)
    out = out if net.skip is None else out + apply(net.skip, given)
    scale, shift = torch.tensor([1.0, 0.5]), torch.tensor([0.1, 0.2])
    return out.unflatten(-1, (SIZE, 2)).mT.flip(1) * scale[:, None] + shift[:, None]


def bound(conditioner: Conditioner) -> BoundAutoregressive:
    torch.manual_seed(0)
    found = bij.AffineAutoregressive(conditioner.plan).bind((SIZE,), (CONTEXT,)).double()
    assert isinstance(found, BoundAutoregressive)
    with torch.no_grad():
        conditioner.load(found.params)
    return found


def agrees(layer: BoundAutoregressive, net: Masked, blocks: Sequence[Block] = ()) -> None:
    x, context = draw(7, SIZE, seed=50), draw(7, CONTEXT, seed=51)
    expected = through(net, x, context, blocks)[..., list(ORDER)]
    found = layer.params(x[:, list(ORDER)], context)
    for p, q in zip(found, expected.unbind(1), strict=True):
        torch.testing.assert_close(p, q)
    y = layer.forward(x, context)
    torch.testing.assert_close(layer.inverse(y, context), x)


def evenly(width: int) -> torch.Tensor:
    return torch.arange(width) % SIZE


UNITS = {
    "evenly": [evenly(9), evenly(11)],
    "of the context alone": [torch.zeros(5), evenly(8)],
    "most see much": [torch.tensor([0, 3, 3, 3, 3, 3, 3]), torch.tensor([3, 3, 1, 3, 3])],
    "some drive nothing": [torch.tensor([4, 4, 0, 2, 1]), torch.tensor([4, 3, 2, 1])],
    "some see nothing": [torch.tensor([-1, 0, 2, 3]), torch.tensor([-1, -1, -1, 1, 2, 3])],
    "one": [torch.tensor([2])],
    "none": [],
}


# What is without hidden layers is all skip connections.
@pytest.mark.parametrize(("name", "skip"), [(name, s) for name in UNITS for s in (False, True) if UNITS[name] or not s])
def test_masked_networks(name: str, skip: bool) -> None:
    net = network(UNITS[name], skip=skip)
    agrees(bound(made(net)), net)


def test_layers_without_biases() -> None:
    net = network(UNITS["evenly"], bias=False)
    agrees(bound(made(net)), net)


def test_units_without_a_say_may_get_one() -> None:
    net = network([torch.tensor([3, 3, 3, 3, 3])])
    layer = bound(made(net))
    (width,) = layer.plan.params_fn.hidden_dims  # type: ignore[union-attr]  # a MADE
    assert width > 5
    layer.forward(draw(7, SIZE), draw(7, CONTEXT)).square().sum().backward()
    gradients = torch.cat([block.weight.grad for block in layer.params.net.last], -1)  # type: ignore[union-attr, misc]  # BoundMADE's
    assert bool((gradients != 0.0).any(0).all())


@pytest.mark.parametrize("name", ["evenly", "most see much", "some drive nothing"])
def test_residual_networks(name: str) -> None:
    units = UNITS[name][0]
    net = network([units])
    same = units[:, None] >= units
    blocks = [Block(layer(same, 40 + 4 * i), layer(same, 42 + 4 * i)) for i in range(2)]
    conditioner = residual_made(net, blocks, preactivation=False)
    agrees(bound(conditioner), net, blocks)


def test_the_graph_is_found_where_no_order_is_given() -> None:
    net = network(UNITS["evenly"])
    found = Masked(net.hidden, net.output, DRIVEN, COLUMNS, CONTEXT, None, torch.nn.Tanh)
    rank = [ORDER.index(i) for i in range(SIZE)]
    expected = tuple((*(rank[j] < rank[i] for j in range(SIZE)), True, True) for i in range(SIZE))
    assert found.adjacency == expected


def test_dense_networks_sort_their_columns() -> None:
    hidden, last = Linear(draw(5, 3), draw(5)), Linear(draw(4, 5), draw(4))
    drive = driven(bij.Affine(), 2, by_coordinate=False)
    conditioner = dense([hidden], last, drive, (2, 0, 1), torch.nn.Tanh)
    params = bij.Coupling(bij.Affine(), conditioner.plan, split=1).bind((3,), (2,)).double().params  # type: ignore[union-attr]
    with torch.no_grad():
        conditioner.load(params)
    x, context = draw(7, 1), draw(7, 2)
    given = torch.cat([context, x], -1)
    expected = torch.tanh(given @ hidden.weight.mT + hidden.bias) @ last.weight.mT + last.bias
    torch.testing.assert_close(torch.cat(params(x, context), -1), expected)


def test_residual_dense_networks_are_gated_by_the_context() -> None:
    first, last = Linear(draw(5, 3), draw(5)), Linear(draw(4, 5, seed=1), draw(4))
    block = Block(Linear(draw(5, 5, seed=2), draw(5)), Linear(draw(5, 5, seed=3), draw(5)), Linear(draw(5, 2), draw(5)))
    drive = driven(bij.Affine(), 2, by_coordinate=False)
    conditioner = residual_dense(first, [block], last, drive, torch.nn.Tanh)
    params = bij.Coupling(bij.Affine(), conditioner.plan, split=1).bind((3,), (2,)).double().params  # type: ignore[union-attr]
    with torch.no_grad():
        conditioner.load(params)
    x, context = draw(7, 1), draw(7, 2)

    def apply(linear: Linear | None, value: torch.Tensor) -> torch.Tensor:
        assert linear is not None
        return torch.nn.functional.linear(value, linear.weight, linear.bias)

    h = apply(first, torch.cat([x, context], -1))
    added = apply(block.second, torch.tanh(apply(block.first, torch.tanh(h))))
    h = h + added * torch.sigmoid(apply(block.context, context))
    torch.testing.assert_close(torch.cat(params(x, context), -1), apply(last, h))
