"""Programs with what depends on no input computed once and for all, in operators that other runtimes have."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

aten = torch.ops.aten


def folded(program: ExportedProgram) -> GraphModule:
    """Returns a program as a module, with what depends on parameters and buffers alone computed.

    Masked weights, normalised vectors, matrix exponentials, determinants and the like become tensors, for which the
    program's runtime needs no operator; solving with a constant triangular matrix becomes multiplying with its inverse.
    What is left of :data:`PLAIN` is written out.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch uses what it deprecates itself
        functional: ExportedProgram = program.run_decompositions({})
        graph_module = functional.module()
    graph = graph_module.graph
    known: dict[Node, Any] = {}
    for node in list(graph.nodes):
        if node.target == aten._assert_tensor_metadata.default:
            graph.erase_node(node)  # it would keep what it looks at
        elif node.op == "get_attr":
            known[node] = operator.attrgetter(str(node.target))(graph_module)
        elif _is_pure(node) and all(n in known for n in node.all_input_nodes):
            with torch.no_grad():
                known[node] = node.target(*map_arg(node.args, known.get), **map_arg(node.kwargs, known.get))
        elif node.target == aten.linalg_solve_triangular.default and node.args[0] in known:
            factors = _factors(graph_module, node, known)
            node.target, node.args, node.kwargs = aten.matmul.default, factors, {}
        elif node.target in PLAIN:
            node.target = PLAIN[node.target]
    for node, value in known.items():
        if node.op != "get_attr" and isinstance(value, torch.Tensor) and any(user not in known for user in node.users):
            node.replace_all_uses_with(_constant(graph_module, node, value))
    graph.eliminate_dead_code()
    graph_module.recompile()
    return graph_module


def _is_pure(node: Node) -> bool:
    op = node.target
    if node.op != "call_function" or not isinstance(op, torch._ops.OpOverload):
        return op is operator.getitem
    return torch.Tag.nondeterministic_seeded not in op.tags and not op._schema.is_mutable


def _constant(graph_module: GraphModule, before: Node, value: torch.Tensor) -> Node:
    name = f"folded_{before.name}"
    graph_module.register_buffer(name, value.detach().clone())
    with graph_module.graph.inserting_before(before):
        return graph_module.graph.get_attr(name)


def _factors(graph_module: GraphModule, node: Node, known: dict[Node, Any]) -> tuple[Any, Any]:
    """Returns the inverse of a constant triangular matrix, rounded from float64, and what it is to be applied to."""
    matrix, b = node.args[:2]
    values = known[cast(Node, matrix)].detach()
    wide = values.double()
    eye = torch.eye(wide.shape[-1], dtype=wide.dtype, device=wide.device)
    inverse = torch.linalg.solve_triangular(wide, eye, **{**node.kwargs, "left": True}).to(values.dtype)
    constant = _constant(graph_module, node, inverse)
    return (constant, b) if node.kwargs.get("left", True) else (b, constant)


# What the numbers that a context gives are put into -----------------------------------------------------------------


def solve_triangular(
    matrix: torch.Tensor, b: torch.Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> torch.Tensor:
    """Solves with a triangular matrix, by substitution, one row after the other."""
    if not left:
        return solve_triangular(matrix.mT, b.mT, upper=not upper, unitriangular=unitriangular).mT
    size = matrix.shape[-1]
    batch = torch.broadcast_shapes(matrix.shape[:-2], b.shape[:-2])
    b = b.expand(*batch, *b.shape[-2:])
    rows: dict[int, torch.Tensor] = {}
    for i in reversed(range(size)) if upper else range(size):
        row = b[..., i : i + 1, :]
        if rows:
            before = sorted(rows)
            found = torch.cat([rows[j] for j in before], -2)
            row = row - matrix[..., i : i + 1, before[0] : before[-1] + 1] @ found
        rows[i] = row if unitriangular else row / matrix[..., i : i + 1, i : i + 1]
    return torch.cat([rows[i] for i in range(size)], -2)


def solve(matrix: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Solves with a square matrix, by Gauss-Jordan elimination, each time with the largest pivot that is left."""
    size = matrix.shape[-1]
    batch = torch.broadcast_shapes(matrix.shape[:-2], b.shape[:-2])
    both = torch.cat([matrix.expand(*batch, size, size), b.expand(*batch, *b.shape[-2:])], -1)
    index = torch.arange(size, device=matrix.device)
    for i in range(size):
        left = torch.where(index < i, -1.0, both[..., i].abs())
        pivot = left.argmax(-1, keepdim=True)
        # A swap by one-hot rows: what depends on data is numbers, never places.
        here, there = (index == i).to(both.dtype), (index == pivot).to(both.dtype)
        other = (there.unsqueeze(-2) @ both) - both[..., i : i + 1, :]
        both = both + (here - there).unsqueeze(-1) * other
        row = both[..., i : i + 1, :] / both[..., i : i + 1, i : i + 1]
        both = torch.where((index == i).unsqueeze(-1), row, both - both[..., :, i : i + 1] * row)
    return both[..., size:]


def matrix_exp(matrix: torch.Tensor) -> torch.Tensor:
    """The exponential by scaling and squaring: twelve terms for norms below one half, and up to sixteen squarings."""
    norm = matrix.abs().sum(-1).amax(-1)[..., None, None]
    count = torch.log2(norm.clamp(min=0.5)).ceil() + 1.0
    scaled = matrix * torch.exp2(-count)
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    found = term = eye.expand(matrix.shape)
    for n in range(1, 13):
        term = term @ scaled / n
        found = found + term
    for n in range(16):
        found = torch.where(count > n, found @ found, found)
    return found


PLAIN: dict[Any, Callable[..., Any]] = {
    aten.linalg_solve.default: solve,
    aten.linalg_solve_triangular.default: solve_triangular,
    aten.linalg_matrix_exp.default: matrix_exp,
}
