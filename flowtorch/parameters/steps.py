"""The steps in which an autoregressive conditioner meets coordinates, and what each coordinate may see."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch

from .. import options
from ..errors import OptionError, OptionTypeError, ShapeError

NAMED = ("identity", "reverse")
Order: TypeAlias = Sequence[int] | Literal["identity", "reverse"]
"""A permutation of any size, by name, or one of a given size."""


class Steps(NamedTuple):
    """Coordinates in an order, some at each step, and for each of them the set that it sees."""

    order: torch.Tensor
    """The indices along the axis in the order in which they are met."""
    sizes: tuple[int, ...]
    """How many of them each step covers."""
    sees: list[int]
    """For each, in that order, the bits of a set, see :class:`flowtorch.nn.Dependence`."""


def matrix_of(sees: Sequence[int]) -> torch.Tensor:
    """Returns which coordinate (rows) sees which (columns), both in the order of steps."""
    return torch.tensor([[bool(kind >> j & 1) for j in range(len(sees))] for kind in sees])


def in_passes(order: torch.Tensor, passes: int | None, context_features: int) -> Steps:
    """Returns steps of about equal size, each coordinate seeing all of the steps before and the context."""
    size = order.shape[0]
    count = size if passes is None else min(passes, size)
    bounds = [step * size // count for step in range(count + 1)]
    context = ((1 << context_features) - 1) << size
    sizes = tuple(b - a for a, b in itertools.pairwise(bounds))
    return Steps(order, sizes, [(1 << bounds[s]) - 1 | context for s, n in enumerate(sizes) for _ in range(n)])


def of_graph(who: str, adjacency: Sequence[Sequence[bool]], size: int, context_features: int) -> Steps:
    """Returns as many steps as the graph is deep, each coordinate seeing what the graph has it see."""
    columns = len(adjacency[0])
    if len(adjacency) != size or columns not in (size, size + context_features):
        raise ShapeError(
            f"{who}: adjacency has {len(adjacency)} rows of {columns}; got {size} coordinates and "
            f"{context_features} features of the context: {size} rows of {size} or {size + context_features} are "
            "expected."
        )
    level = levels(who, adjacency)
    order = sorted(range(size), key=lambda i: (level[i], i))
    sources = order + list(range(size, columns))
    sees = [sum(1 << bit for bit, j in enumerate(sources) if adjacency[i][j]) for i in order]
    if columns == size:
        sees = [kind | ((1 << context_features) - 1) << size for kind in sees]
    sizes = tuple(level.count(depth) for depth in range(max(level) + 1))
    return Steps(torch.tensor(order), sizes, sees)


def levels(who: str, adjacency: Sequence[Sequence[bool]]) -> list[int]:
    """Returns for each coordinate the number of edges on the longest way to it; refuses a graph with a cycle."""
    found: dict[int, int] = {}
    parents = [[j for j in range(len(adjacency)) if row[j]] for row in adjacency]
    while len(found) < len(adjacency):
        ready = [i for i in range(len(adjacency)) if i not in found and all(j in found for j in parents[i])]
        if not ready:
            left = [i for i in range(len(adjacency)) if i not in found]
            raise OptionError(f"{who}: adjacency is expected to be a graph without cycles; got one through {left}.")
        found |= {i: 1 + max((found[j] for j in parents[i]), default=-1) for i in ready}
    return [found[i] for i in range(len(adjacency))]


def as_adjacency(who: str, value: object) -> tuple[tuple[bool, ...], ...]:
    """Returns a graph as a tuple of rows, or refuses it."""
    rows = value.tolist() if hasattr(value, "tolist") else value  # a tensor, or numpy's
    if (
        not isinstance(rows, Sequence)
        or not rows
        or any(not isinstance(row, Sequence) or any(entry not in (0, 1) for entry in row) for row in rows)
    ):
        raise OptionTypeError(f"{who}: adjacency is expected to be rows of True and False; got {value!r}.")
    if len({len(row) for row in rows}) > 1 or len(rows[0]) < len(rows):
        raise OptionError(
            f"{who}: adjacency is expected to have a row for each coordinate, and in each row a column for each "
            f"coordinate and then for features of the context; got {len(rows)} rows of {[len(row) for row in rows]}."
        )
    table = tuple(tuple(bool(entry) for entry in row) for row in rows)
    levels(who, table)
    return table


def as_permutation(who: str, value: object) -> tuple[int, ...]:
    """Returns a permutation of ``0 .. n-1`` as a tuple, or refuses it."""
    items = value.tolist() if hasattr(value, "tolist") else value  # a tensor, or numpy's
    if not isinstance(items, Sequence) or any(isinstance(i, bool) or not isinstance(i, int) for i in items):
        raise OptionTypeError(f"{who}: permutation is expected to be a sequence of integers; got {value!r}.")
    if sorted(items) != list(range(len(items))):
        raise OptionError(
            f"{who}: permutation is expected to hold each of 0 .. {len(items) - 1} once; got {tuple(items)}."
        )
    return tuple(items)


def as_order(who: str, value: object) -> tuple[int, ...] | str:
    """Returns a permutation as a tuple or by its name, or refuses it."""
    if isinstance(value, str):
        options.one_of(who, "permutation", value, NAMED)
        return value
    return as_permutation(who, value)


def draw_order(who: str, permutation: Sequence[int] | str | None, size: int) -> torch.Tensor:
    """Returns ``permutation`` as a tensor: the one of that name, or a random one of this size for None."""
    if permutation is None:
        return torch.randperm(size)
    if isinstance(permutation, str):
        order = torch.arange(size)
        return order if permutation == "identity" else order.flip(0)
    if len(permutation) != size:
        raise ShapeError(f"{who}: permutation has {len(permutation)} entries; got {size} coordinates to permute.")
    return torch.tensor(permutation)
