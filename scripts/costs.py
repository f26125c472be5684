"""Counts parameters and floating-point operations of every vector and linear map, and writes ``website/costs.md``.

Nothing is timed: each operation that PyTorch dispatches is counted by a formula, and one without a formula is an error.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import flowtorch.bijectors as bij  # noqa: E402  # after the path to the checkout
from flowtorch.bijectors.residual import EXACT_UP_TO, ResidualPlan  # noqa: E402

PAGE = ROOT / "website" / "costs.md"
SIZES = (16, 64, 256, 1024)
ROWS = 8

# Counting ---------------------------------------------------------------------------------------------------------

Formula = Callable[[tuple[Any, ...], Any], int]


def _solve(args: tuple[Any, ...], out: Any) -> int:
    n = args[0].shape[-1]
    return _factorise(args, out) + 2 * n * out[0].numel()


def _factorise(args: tuple[Any, ...], out: Any) -> int:
    n = args[0].shape[-1]
    return args[0].numel() // n**2 * (2 * n**3 // 3)


def _triangular(args: tuple[Any, ...], out: Any) -> int:
    n = args[0].shape[-1]
    divisions = 0 if len(args) > 4 and args[4] else 1
    return out.numel() * (n - 1 + divisions)


def _convolution(args: tuple[Any, ...], out: Any) -> int:
    x, weight, bias, transposed = args[0], args[1], args[2], args[6]
    positions = x.numel() // x.shape[1] if transposed else out.numel() // out.shape[1]
    return 2 * int(positions * weight.numel()) + (0 if bias is None else out.numel())


def _fourier(points: torch.Tensor, args: tuple[Any, ...]) -> int:
    """A transform of n real numbers takes about 2.5 n log2 n operations."""
    return round(2.5 * points.numel() * sum(math.log2(points.shape[d]) for d in args[1]))


# The 1-norms, in float32, up to which PyTorch takes Taylor polynomials of 0, 1, ... products.
_TAYLOR = (1.192e-7, 5.978e-4, 5.116e-2, 0.5800, 1.4616, 3.0100)


def _exponential(args: tuple[Any, ...], out: Any) -> int:
    """The products of the polynomial, after halvings down to the largest norm of all, and of as many squarings."""
    count = 0
    for norm in torch.linalg.matrix_norm(args[0], 1).reshape(-1).tolist():
        count += next((i for i, limit in enumerate(_TAYLOR) if norm <= limit), len(_TAYLOR) - 1)
        count += math.ceil(math.log2(max(norm / _TAYLOR[-1], 1.0)))
    return 2 * count * args[0].shape[-1] ** 3


# By name, of arguments and result. A multiplication and an addition are two.
FORMULAS: dict[str, Formula] = {
    "mm": lambda args, out: 2 * out.numel() * args[0].shape[-1],
    "bmm": lambda args, out: 2 * out.numel() * args[0].shape[-1],
    "mv": lambda args, out: 2 * args[0].numel(),
    "dot": lambda args, out: 2 * args[0].numel(),
    "addmm": lambda args, out: out.numel() * (2 * args[1].shape[-1] + 1),
    "convolution": _convolution,
    "linalg_solve_triangular": _triangular,
    "_linalg_solve_ex": _solve,
    "_linalg_slogdet": _factorise,
    "linalg_matrix_exp": _exponential,
    "_fft_r2c": lambda args, out: _fourier(args[0], args),
    "_fft_c2r": lambda args, out: _fourier(out, args),
    "linalg_vector_norm": lambda args, out: 2 * args[0].numel(),
    "polar": lambda args, out: 4 * out.numel(),
}
# One operation for each element of the argument.
REDUCTIONS = {"sum", "amax", "log_sigmoid_forward"}
# What makes and moves numbers.
MOVES = {
    "_unsafe_view",
    "cat",
    "clone",
    "complex",
    "constant_pad_nd",
    "copy_",
    "diag_embed",
    "fill_",
    "flip",
    "full_like",
} | {"index", "index_select", "new_empty", "new_full", "new_zeros", "stack", "tril", "triu", "zeros_like"}


class Call(NamedTuple):
    """An operation that was dispatched: its name, what it costs, what it reads and writes."""

    name: str
    cost: int
    reads: tuple[torch.Tensor, ...]  # kept, so that no storage is used twice
    writes: tuple[torch.Tensor, ...]


class Counter(TorchDispatchMode):
    """Counts the floating-point operations of what runs within."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs an operation and writes down what it costs."""
        out = func(*args, **(kwargs or {}))
        reads = _tensors((*args, *(kwargs or {}).values()))
        cost = _cost(func, args, kwargs or {}, out, reads)
        self.calls.append(Call(_name(func), cost, reads, _tensors((out,))))
        return out

    def total(self) -> int:
        """Returns what all of it costs."""
        return sum(call.cost for call in self.calls)

    def behind(self, result: torch.Tensor) -> int:
        """Returns what costs that which a result depends on."""
        needed, total = {_storage(result)}, 0
        for call in reversed(self.calls):
            if not needed.isdisjoint(map(_storage, call.writes)):
                needed.update(map(_storage, call.reads))
                total += call.cost
        return total


def _cost(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, reads: tuple[torch.Tensor, ...]) -> int:
    name = _name(func)
    view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
    if view or name in MOVES or not any(t.is_floating_point() or t.is_complex() for t in reads):
        return 0
    if name in FORMULAS:
        return FORMULAS[name](_in_order(func, args, kwargs), out)
    if name in REDUCTIONS:
        return int(args[0].numel())
    if torch.Tag.pointwise in func.tags:
        is_complex = sum(t.is_complex() for t in reads)
        each = 1 if not is_complex else 6 if name in ("mul", "div") and is_complex > 1 else 2
        return each * int(out.numel())
    raise NotImplementedError(f"costs: no formula for {func}; scripts/costs turns fused kernels off.")


def _name(func: Any) -> str:
    return str(func._schema.name).split("::")[1]


def _in_order(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Returns all arguments in the order of the schema, up to the last that was given."""
    rest = func._schema.arguments[len(args) :]
    last = max((i for i, a in enumerate(rest) if a.name in kwargs), default=-1)
    return (*args, *(kwargs.get(a.name, a.default_value) for a in rest[: last + 1]))


def _tensors(values: Iterable[Any]) -> tuple[torch.Tensor, ...]:
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found.extend(_tensors(value))
    return tuple(found)


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


# What is counted --------------------------------------------------------------------------------------------------


def _whiten(size: int) -> bij.Whiten:
    matrix = torch.eye(size) + torch.randn(size, size, generator=torch.Generator().manual_seed(0)) / (2 * size**0.5)
    return bij.Whiten((0.0,) * size, matrix.tolist())


PLANS: dict[str, bij.Bijector | Callable[[int], bij.Bijector]] = {
    "Planar()": bij.Planar(),
    "Radial()": bij.Radial(),
    "Sylvester(kind='householder')": bij.Sylvester(kind="householder"),
    "Sylvester(kind='orthogonal', rank=8)": bij.Sylvester(kind="orthogonal", rank=8),
    "Sylvester(kind='triangular')": bij.Sylvester(kind="triangular"),
    "BlockAutoregressive()": bij.BlockAutoregressive(),
    "Residual()": bij.Residual(),
    "ConvResidual()": bij.ConvResidual(),
    "LowerCholeskyAffine()": bij.LowerCholeskyAffine(),
    "LU()": bij.LU(),
    "QR()": bij.QR(),
    "QR(count_transforms=8)": bij.QR(count_transforms=8),
    "SVD()": bij.SVD(),
    "SVD(count_transforms=8)": bij.SVD(count_transforms=8),
    "Householder(count_transforms=8)": bij.Householder(count_transforms=8),
    "Orthogonal()": bij.Orthogonal(),
    "Orthogonal(method='exponential')": bij.Orthogonal(method="exponential"),
    "MatrixExponential()": bij.MatrixExponential(),
    "MatrixExponential(normalization='weight', bound=3.0)": bij.MatrixExponential(normalization="weight", bound=3.0),
    "MatrixExponential(normalization='spectral', bound=3.0)": bij.MatrixExponential(
        normalization="spectral", bound=3.0
    ),
    "DiagonalPlusLowRank(rank=8)": bij.DiagonalPlusLowRank(rank=8),
    "GeneralizedChannelPermute()": bij.GeneralizedChannelPermute(),
    "DiscreteCosine()": bij.DiscreteCosine(),
    "DiscreteCosine(smooth=1.0)": bij.DiscreteCosine(smooth=1.0),
    "Haar()": bij.Haar(),
    "Whiten(loc, matrix)": _whiten,
    "ActNorm()": bij.ActNorm(),
    "BatchNorm()": bij.BatchNorm(),
}
# The event of D coordinates, where it is no vector.
SHAPES: dict[str, Callable[[int], tuple[int, ...]]] = {
    "ConvResidual()": lambda size: (1, math.isqrt(size), math.isqrt(size)),
    "GeneralizedChannelPermute()": lambda size: (size, 1, 1),
}
# The largest size that is counted, where it is not the last.
LARGEST = {"BlockAutoregressive()": 256}


class Cost(NamedTuple):
    """Operations for each row of a batch, and those that one call takes besides, whatever the batch."""

    row: float
    once: float

    def __str__(self) -> str:
        """The cell of a table."""
        return _short(self.row) if not self.once else f"{_short(self.row)} + {_short(self.once)}"


class Figures(NamedTuple):
    """A plan at one size: parameters, the image in both directions, and what the log-dets of both take beyond it."""

    parameters: int
    forward: Cost
    inverse: Cost
    forward_log_det: Cost
    inverse_log_det: Cost


def measure(name: str, size: int) -> Figures:
    """Counts what a plan takes for this many coordinates."""
    plan, shape = PLANS[name], SHAPES.get(name, lambda n: (n,))(size)
    if not isinstance(plan, bij.Bijector):
        plan = plan(size)
    parameters = plan.check(shape).parameters
    if isinstance(plan, ResidualPlan) and size > EXACT_UP_TO:
        # The number of terms is random: what is counted is as many as are taken on average.
        plan = replace(plan, trace="truncated", terms=plan.terms + round(plan.lipschitz / (1.0 - plan.lipschitz)))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        bound = plan.bind(shape).eval()
        for p in bound.parameters():
            p.add_(torch.randn_like(p) / (2 * size**0.5))
        x = torch.randn(ROWS, *shape)
        costs: list[Cost] = []
        for function in (bound.forward_and_log_det, bound.inverse_and_log_det):
            single, double = (_count(function, batch) for batch in (x, torch.cat([x, x])))
            for one, two in zip(single, double, strict=True):
                row = (two - one) / ROWS
                costs.append(Cost(row, one - ROWS * row))
    return Figures(parameters, costs[0], costs[2], costs[1], costs[3])


def _count(function: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]], x: torch.Tensor) -> tuple[int, int]:
    """Returns what the image takes, and what the log-determinant takes beyond that."""
    with Counter() as counter:
        image, _ = function(x)
    behind = counter.behind(image)
    return behind, counter.total() - behind


# The page ---------------------------------------------------------------------------------------------------------

HEAD = """# Costs

What vector and linear maps take for events of D coordinates, counted by `scripts/costs` (torch {torch}): the parameters
of the plan bound without a context, and the floating-point operations of forward, inverse and log-determinants, without
gradients. Nothing is timed: but for a step of an iterated inverse, the counts are the same on every machine.

A cell *a + b* says that each row of a batch takes *a* operations and a call *b* more, once, whatever the batch: from
counts for {rows} rows and twice as many. What is done once makes the parameters, which all rows share, into a matrix or
a factor of one; where they come from a context, it is done for each row instead. *Growth* is the exponent of D in *a*
and in *b* between the last two sizes: 1 is linear, 3 as a dense determinant.

A multiplication and an addition are two operations, and so is each of a matrix product; solving n triangular equations
takes n^2, n dense ones 2/3 n^3, a real Fourier transform 2.5 n log2 n, a matrix exponential the products that its norm
asks for; elementwise functions and reductions take one for each element, whatever the function; making, moving and
comparing integers none. The parameters are those at binding, moved by N(0, 1 / (4 D)) noise, so that the norms of
matrices are of the order of one; inverses that are iterated take the steps that they do take on standard normal rows.

"""
LOG_DET = """The log-determinant comes with the image and shares work with it: this is what it takes beyond that, the
operations that the image does not depend on. None but those of `Residual` and `ConvResidual` asks for a determinant.
"""
NOTES = """## Notes

- `Residual` and `ConvResidual` take exact log-determinants up to D = 64. Beyond, these are estimated, with a random
  number of terms: counted are as many as are taken on average, 17. What is done once bounds the norms of the weights.
- `ConvResidual` is bound to one channel of as many rows as columns, `GeneralizedChannelPermute` to D channels at a
  single position.
- `BlockAutoregressive` is left out at D = 1,024, where it has some 84 million parameters.
- `DiscreteCosine` and `Haar` are products with the matrix up to D = 128, and fast algorithms beyond. Their
  log-determinants, those of rotations and reflections and that of `Whiten` are numbers that are known.
- `Whiten` has no parameters: the numbers in it come from data.
"""
TABLES = (
    ("Forward", "", "forward"),
    ("Inverse", "", "inverse"),
    ("Log-determinant of forward", LOG_DET, "forward_log_det"),
    ("Log-determinant of the inverse", "", "inverse_log_det"),
)


def parameters_line(name: str, found: list[Figures | None]) -> str:
    """Returns a line of the first table."""
    counts = [None if f is None else f.parameters for f in found]
    growth = _growth([None if c is None else float(c) for c in counts])
    return _line(name, [*("" if c is None else f"{c:,}" for c in counts), growth])


def cost_line(name: str, costs: list[Cost | None]) -> str:
    """Returns a line of the others."""
    growths = [_growth([None if c is None else c[i] for c in costs]) for i in range(2)]
    return _line(name, [*("" if c is None else str(c) for c in costs), " + ".join(g for g in growths if g)])


def page(found: dict[str, list[Figures | None]]) -> str:
    """Returns the text of the page."""
    head = f"| plan | {' | '.join(f'D = {d:,}' for d in SIZES)} | growth |\n|---|{'---:|' * (len(SIZES) + 1)}\n"
    parts = [HEAD.format(torch=torch.__version__.split("+")[0], rows=ROWS)]
    parts += ["## Parameters\n\n", head, *(parameters_line(*item) for item in found.items())]
    for title, text, field in TABLES:
        parts += [f"\n## {title}\n\n", text and text + "\n", head]
        for name, figures in found.items():
            parts.append(cost_line(name, [None if f is None else getattr(f, field) for f in figures]))
    return "".join([*parts, "\n", NOTES])


def _line(name: str, cells: list[str]) -> str:
    return f"| `{name}` | {' | '.join(cells)} |\n"


def _growth(values: list[float | None]) -> str:
    """Returns the exponent between the last two sizes that were counted, if there is something to grow."""
    counted = [(d, v) for d, v in zip(SIZES, values, strict=True) if v is not None][-2:]
    (d, before), (e, after) = counted
    if before == 0.0 or after == 0.0:
        return ""
    return f"{abs(math.log(after / before) / math.log(e / d)):.1f}"


def _short(count: float) -> str:
    """Returns three digits of a count, all of a small one."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= 0.9995 * unit:
            return f"{count / unit:.3g}{name}" if count < 999.5 * unit else f"{count / unit:.0f}{name}"
    return f"{count:.0f}"


def figures(name: str) -> list[Figures | None]:
    """Counts a plan at all sizes."""
    return [measure(name, d) if d <= LARGEST.get(name, SIZES[-1]) else None for d in SIZES]


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(prog="scripts/costs", description=__doc__)
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write; website/costs.md by default")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    text = page({name: figures(name) for name in PLANS})
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
