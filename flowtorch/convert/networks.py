"""The networks of other libraries as conditioners: units sorted by what they see, rows put in our layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from ..errors import NotSupportedError
from ..nn import Dependence, MaskedLinear
from ..parameters import MADE, DenseNN
from ..parameters.steps import Steps
from ..types import ModuleFactory
from .common import Conditioner, Driven
from .residual_made import BoundResidualMADE, ResidualMADE
from .residual_nn import ResidualNN


class Linear(NamedTuple):
    """A linear layer of another library, and which of its weights are in force; all without a mask."""

    weight: torch.Tensor
    bias: torch.Tensor | None = None
    mask: torch.Tensor | None = None

    @property
    def in_force(self) -> torch.Tensor:
        """The weights, zero where the mask is."""
        weight = self.weight.detach()
        return weight if self.mask is None else weight * self.mask.to(weight)

    @property
    def reaches(self) -> torch.Tensor:
        """Which outputs see which inputs; on the CPU, where units are sorted."""
        shape = self.weight.shape
        return torch.ones(shape, dtype=torch.bool, device="cpu") if self.mask is None else self.mask.detach().cpu() > 0

    def select(self, rows: torch.Tensor, columns: torch.Tensor | None = None) -> Linear:
        """Returns these rows of the layer, and of them these columns."""
        weight = self.in_force[rows]
        return Linear(weight if columns is None else weight[:, columns], None if self.bias is None else self.bias[rows])


def linear(module: Any) -> Linear:
    """Returns a module's layer: weight, bias and, if it has one, mask."""
    return Linear(module.weight, module.bias, getattr(module, "mask", None))


@dataclass
class Masked:
    """A masked network of another library, and the coordinates and features of the context that it sees.

    Args:
        hidden: the hidden layers.
        output: the last layer.
        driven: what it drives.
        columns: for each coordinate, and after them for each feature of the context, the column of the first layer.
        context_features: how many features of the context.
        order: the order in which coordinates are met; None to go by what each sees.
        nonlinearity: the class of the activations.
        skip: what is added to the output, from the input.
    """

    hidden: Sequence[Linear]
    output: Linear
    driven: Driven
    columns: Sequence[int]
    context_features: int = 0
    order: Sequence[int] | None = None
    nonlinearity: ModuleFactory = torch.nn.ReLU
    skip: Linear | None = None
    adjacency: tuple[tuple[bool, ...], ...] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.size = len(self.columns) - self.context_features
        if self.order is None:
            identity = torch.eye(len(self.columns), dtype=torch.bool)[torch.tensor(self.columns).argsort()]
            self.adjacency = tuple(map(tuple, self._seen_by_outputs(identity).tolist()))

    def _seen_by_outputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns which inputs each coordinate's parameters see."""
        seen = inputs
        for layer in self.hidden:
            seen = through(layer.reaches, seen)
        found = through(self.reached, seen)
        return found if self.skip is None else found | through(self.by_coordinate(self.skip), inputs)

    def by_coordinate(self, layer: Linear) -> torch.Tensor:
        """Returns which coordinates' parameters a last layer makes of which units, ``(D, units)``."""
        return layer.reaches[self.driven.rows].any(0)

    @property
    def reached(self) -> torch.Tensor:
        """Which coordinates' parameters see which units of the last hidden layer."""
        return self.by_coordinate(self.output)


class Sorted:
    """The units of a masked network, each of the least kind that contains what it sees."""

    def __init__(self, net: Masked, steps: Steps) -> None:
        self.net, self.order = net, steps.order.tolist()
        size, inputs = net.size, len(net.columns)
        self.dependence = Dependence(steps.sees, steps.sizes, 1, net.context_features)
        kinds = torch.tensor([[bool(kind >> j & 1) for j in range(inputs)] for kind in self.dependence.kinds])
        # The columns of the first layer, coordinates in the order of steps.
        self.columns = torch.tensor([*(net.columns[i] for i in self.order), *net.columns[size:]])
        seen = torch.zeros(inputs, inputs, dtype=torch.bool)
        seen[self.columns] = torch.eye(inputs, dtype=torch.bool)
        # Which coordinates each unit of each layer drives in the end: those that drive none are left out.
        drives = [net.reached[self.order]]
        for layer in reversed(net.hidden[1:]):
            drives.insert(0, through(drives[0], layer.reaches))
        allowed = kinds[self.dependence.drives]
        # Units that see nothing join those of the next kind, if they may: of their own kind ours has few.
        first = 1 if net.adjacency is None and len(kinds) > 1 and self.dependence.kinds[0] == 0 else 0
        self.kinds: list[torch.Tensor] = []
        self.used: list[torch.Tensor] = []
        for layer, driving in zip(net.hidden, drives, strict=False):  # without hidden layers there is one too many
            seen = through(layer.reaches, seen)
            may_see = ~through(driving.mT, ~allowed)
            fits = ~through(seen, ~kinds.mT) & ~through(kinds, ~may_see.mT).mT
            used = driving.any(0)
            if not bool(fits[used].any(1).all()):
                raise NotSupportedError("networks: hidden units that see no more than what they drive are expected.")
            found = torch.where(fits[:, first:].any(1), first + fits[:, first:].int().argmax(1), 0)
            seen = kinds[found] & used[:, None]
            self.kinds.append(found)
            self.used.append(used.nonzero()[:, 0])

    def counts(self, layer: int) -> Counter[int]:
        """Returns how many units of each kind a layer has."""
        return Counter(self.kinds[layer][self.used[layer]].tolist())

    def width(self, layer: int) -> int:
        """Returns the least width of a layer of ours that has as many units of each kind."""
        needed = self.counts(layer)
        width = max(1, needed.total())
        while needed - Counter(self.dependence.hidden(width)):
            width += 1
        return width

    def places(self, layer: int, ours: Sequence[int]) -> torch.Tensor:
        """Returns where the used units of a layer go, among units of these kinds."""
        free = {kind: [i for i, k in enumerate(ours) if k == kind] for kind in set(ours)}
        return torch.tensor([free[kind].pop(0) for kind in self.kinds[layer][self.used[layer]].tolist()])

    def outputs(self, layer: Linear) -> torch.Tensor:
        """Returns the weights of a last layer, ``(P, D, units)``, coordinates in the order of steps."""
        return self.net.driven.of(layer.in_force)[:, self.order]

    def biases(self) -> torch.Tensor:
        """Returns the biases of the last layer, ``(P, D)``, likewise."""
        output = self.net.output
        return self.net.driven.bias(output.bias, output.weight)[:, self.order]


def through(here: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    """Returns what is seen through a layer: the product of two tables of booleans."""
    return here.float() @ below.float() > 0.0


def made(net: Masked) -> Conditioner:
    """Returns the network as a :class:`MADE`; its hidden layers may be wider, by units that have no say."""
    options = {"nonlinearity": net.nonlinearity, "skip_connections": net.skip is not None and len(net.hidden) > 0}
    order = None if net.order is None else tuple(net.order)
    plan = MADE((), permutation=order, adjacency=net.adjacency, **options)  # type: ignore[arg-type]  # by name
    units = Sorted(net, plan.steps(net.size, net.context_features))
    widths = [units.width(i) for i in range(len(net.hidden))]
    plan = MADE(widths, permutation=order, adjacency=net.adjacency, **options)  # type: ignore[arg-type]  # by name

    def load(bound: Any) -> None:
        ours, size = bound.net, net.size
        theirs, here = units.columns[:size], torch.arange(size)  # columns of theirs, and where they go in ours
        for i, (layer, filled) in enumerate(zip(net.hidden, ours.hidden, strict=True)):
            used, places = units.used[i], units.places(i, units.dependence.hidden(widths[i]))
            scatter(filled, layer.select(used, theirs), places, here)
            if i == 0 and ours.context is not None:
                features = units.columns[size:]
                scatter(ours.context, layer.select(used, features), places, torch.arange(len(features)))
            theirs, here = used, places
        if ours.output is not None:
            fill_blocks(ours, ours.output, units.outputs(net.output)[..., theirs], here, units.biases())
        direct, biases = (net.skip, None) if ours.output is not None else (net.output, units.biases())
        if direct is not None:
            rows = units.outputs(direct)[..., units.columns]
            fill_blocks(ours, ours.skip, rows[..., :size], torch.arange(size), biases)
            if ours.skip_context is not None:
                fill(ours.skip_context, Linear(rows[..., size:].flatten(0, 1)))

    return Conditioner(plan, load)


def fill_blocks(
    ours: Any, blocks: Sequence[MaskedLinear], rows: torch.Tensor, here: torch.Tensor, biases: torch.Tensor | None
) -> None:
    """Fills a last layer that is kept in blocks of coordinates, each of which reads a prefix of what is below.

    Args:
        ours: the network.
        blocks: the layers.
        rows: the weights, ``(P, D, units)``.
        here: where each of these units is in ours.
        biases: ``(P, D)``.
    """
    start, width = 0, max(len(here), *(layer.in_features for layer in blocks))
    for layer, size in zip(blocks, ours.block_sizes, strict=True):
        weight = rows.new_zeros((len(rows), size, width))
        weight[..., here] = rows[:, start : start + size]
        bias = None if biases is None else biases[:, start : start + size].flatten()
        fill(layer, Linear(weight[..., : layer.in_features].flatten(0, 1), bias))
        start += size


def scatter(layer: MaskedLinear, theirs: Linear, rows: torch.Tensor, columns: torch.Tensor) -> None:
    """Sets some rows of a layer, zero but for these columns; the others stay as they were drawn."""
    weight = layer.in_force
    weight[rows] = 0.0
    weight[rows[:, None], columns] = theirs.weight.to(weight)
    fill(layer, Linear(weight))
    if layer.bias is not None and theirs.bias is not None:
        layer.bias[rows] = theirs.bias.to(layer.bias)


def fill(layer: torch.nn.Linear, theirs: Linear) -> None:
    """Sets a layer's weights, none of which may be where a mask would drop them, and its biases."""
    weight = theirs.in_force.to(layer.weight)
    if isinstance(layer, MaskedLinear) and bool((weight * (1.0 - layer.mask)).any()):
        raise NotSupportedError("networks: layers of units that see no more than their residual block's are expected.")
    layer.weight.copy_(weight)
    if layer.bias is not None:
        layer.bias.copy_(torch.zeros_like(layer.bias) if theirs.bias is None else theirs.bias)


def dense(
    hidden: Sequence[Linear], output: Linear, driven: Driven, columns: Sequence[int], nonlinearity: ModuleFactory
) -> Conditioner:
    """Returns a dense network of the untouched part and the context; ``columns`` are those of its first layer."""

    def load(bound: Any) -> None:
        last = Linear(driven.of(output.in_force).flatten(0, 1), driven.bias(output.bias, output.weight).flatten())
        first, *rest = *hidden, last
        first = first._replace(weight=first.weight[:, list(columns)])
        for ours, theirs in zip(bound.net.layers, (first, *rest), strict=True):
            fill(ours, theirs)

    return Conditioner(DenseNN([len(layer.weight) for layer in hidden], nonlinearity=nonlinearity), load)


class Block(NamedTuple):
    """A residual block of another library: two layers, and what the context does in it."""

    first: Linear
    second: Linear
    context: Linear | None = None


def residual_dense(
    initial: Linear, blocks: Sequence[Block], output: Linear, driven: Driven, nonlinearity: ModuleFactory
) -> Conditioner:
    """Returns a network of residual blocks of the untouched part and the context, in this order."""

    def load(bound: Any) -> None:
        fill(bound.initial, initial)
        for i, block in enumerate(blocks):
            fill(bound.first[i], block.first)
            fill(bound.second[i], block.second)
            if block.context is not None:
                fill(bound.gates[i], block.context)
        bias = driven.bias(output.bias, output.weight).flatten()
        fill(bound.output, Linear(driven.of(output.in_force).flatten(0, 1), bias))

    return Conditioner(ResidualNN(len(initial.weight), blocks=len(blocks), nonlinearity=nonlinearity), load)


def residual_made(
    net: Masked, blocks: Sequence[Block], context: Linear | None = None, *, preactivation: bool
) -> Conditioner:
    """Returns a masked network of residual blocks: the first of ``net.hidden``, and blocks of units of its kinds."""
    order = None if net.order is None else tuple(net.order)
    plan = ResidualMADE(permutation=order, adjacency=net.adjacency)
    units = Sorted(net, plan.steps(net.size, net.context_features))
    counts, kinds = units.counts(0), len(units.dependence.kinds)
    plan = ResidualMADE(
        tuple(counts[kind] for kind in range(kinds)),
        blocks=len(blocks),
        nonlinearity=net.nonlinearity,
        permutation=order,
        adjacency=net.adjacency,
        preactivation=preactivation,
    )
    initial, used = net.hidden[0], units.used[0]
    sort = used[units.kinds[0][used].argsort(stable=True)]
    columns, features = units.columns[: net.size], units.columns[net.size :]

    def load(bound: BoundResidualMADE) -> None:
        fill(bound.initial, initial.select(sort, columns))
        if bound.context is not None:
            fill(bound.context, initial.select(sort, features) if context is None else context.select(sort))
        for ours, block in zip(bound.residual, blocks, strict=True):
            fill(ours.first, block.first.select(sort, sort))
            fill(ours.second, block.second.select(sort, sort))
            if ours.context is not None and block.context is not None:
                fill(ours.context, block.context.select(sort))
        fill(bound.output, Linear(units.outputs(net.output)[..., sort].flatten(0, 1), units.biases().flatten()))

    return Conditioner(plan, load)
