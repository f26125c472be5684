"""Plans for some coordinates of the event by their indices, while the others stay as they are."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TypeAlias, cast, final

from .. import options
from ..errors import OptionError, OptionTypeError, ShapeError
from ..specification import register
from .axis import Axis, check_dim
from .base import Bijector
from .bound import as_plan
from .pieces import Piece, Pieces

Indices: TypeAlias = int | Sequence[int]


@register
@final
@dataclass(frozen=True)
class Indexed(Pieces):
    r"""A plan for each of some sets of coordinates, by their indices: for events of mixed kinds.

    .. math:: y_{A_i} = f_i(x_{A_i}), \quad y_B = g(x_B), \qquad
        \log|\det dy/dx| = \sum_i \log|\det df_i(x_{A_i})| + \log|\det dg(x_B)|

    where :math:`B` are the coordinates that no :math:`A_i` names, and :math:`g` is the identity unless it is given.
    A part sees its coordinates, in the order in which they are named, as an event of their own: ``(n,)`` of the
    flattened event, or ``n`` slices along an axis. It must keep that shape.

    Args:
        parts: the plans by index, or tuple (or ``range``) of indices; negative ones count from the end.
        dim: the axis along which the indices count slices; None for the flattened event.
        rest: the plan :math:`g` of all others; None leaves them as they are.

    Raises:
        OptionError, OptionTypeError: for what are no plans by index, or an index that is named twice.
        ShapeError: when bound to an event without those indices.

    Example:
        >>> import torch
        >>> from flowtorch.bijectors import CircularSpline, Exp, Sigmoid
        >>> bound = Indexed({0: Sigmoid(), (1, 2): CircularSpline(), 3: Exp()}).bind((5,))
        >>> [round(v, 2) for v in bound.forward(torch.tensor([0.0, 1.0, -2.0, 0.0, 7.0])).tolist()]
        [0.5, 1.0, -2.0, 1.0, 7.0]
    """

    parts: Mapping[Indices, Bijector] | Sequence[tuple[Indices, Bijector]]
    _: KW_ONLY
    dim: int | None = None
    rest: Bijector | None = None

    def __post_init__(self) -> None:
        check_dim("Indexed", self.dim)
        pairs = list(self.parts.items()) if isinstance(self.parts, Mapping) else self.parts
        if not isinstance(pairs, Sequence) or not all(isinstance(p, Sequence) and len(p) == 2 for p in pairs):
            raise OptionTypeError(
                "Indexed: plans by index such as {0: Exp(), (1, 2): Affine()} are expected; got "
                f"{options.short(self.parts)}."
            )
        if not pairs:
            raise OptionError("Indexed: at least one part is expected; got none.")
        named = tuple((_as_indices("Indexed", i), as_plan(f"Indexed part {k}", p)) for k, (i, p) in enumerate(pairs))
        _refuse_repeated("Indexed", [i for indices, _ in named for i in indices])
        object.__setattr__(self, "parts", named)
        if self.rest is not None:
            as_plan("Indexed rest", self.rest)

    @property
    def _named(self) -> tuple[tuple[tuple[int, ...], Bijector], ...]:
        return cast("tuple[tuple[tuple[int, ...], Bijector], ...]", self.parts)

    def _parts(self) -> Sequence[tuple[str, Bijector | None]]:
        return [*((f"part {k}", plan) for k, (_, plan) in enumerate(self._named)), ("rest", self.rest)]

    def _pieces(self, axis: Axis) -> list[Piece]:
        labels = [label for label, _ in self._parts()]
        named = [Piece(label, plan, i) for label, (i, plan) in zip(labels, self._named, strict=False)]
        return _with_rest("Indexed", named, self.rest, axis)

    def describe(self) -> str:
        """Returns the formula in one line."""
        moved = ", ".join(f"part {k} moves {_listed(indices)}" for k, (indices, _) in enumerate(self._named))
        others = "the others stay as they are" if self.rest is None else "rest moves the others"
        return f"{moved}, {others}{_along(self.dim)}."


@register
@final
@dataclass(frozen=True)
class Partial(Pieces):
    r"""A plan for some coordinates, by their indices; the others stay as they are.

    .. math:: y_A = f(x_A), \quad y_B = x_B, \qquad \log|\det dy/dx| = \log|\det df(x_A)|

    The plan sees its coordinates, in the order in which they are named, as an event of their own: ``(n,)`` of the
    flattened event, or ``n`` slices along an axis. It must keep that shape. For several plans, see :class:`Indexed`.

    Args:
        plan: the plan :math:`f`.
        indices: the index or indices :math:`A`; negative ones count from the end.
        dim: the axis along which the indices count slices; None for the flattened event.

    Raises:
        OptionError, OptionTypeError: for what is no plan or index, or an index that is named twice.
        ShapeError: when bound to an event without those indices.

    Example:
        >>> import torch
        >>> from flowtorch.bijectors import Exp
        >>> Partial(Exp(), (0, -1)).bind((3,)).forward(torch.zeros(3)).tolist()
        [1.0, 0.0, 1.0]
    """

    plan: Bijector
    indices: Indices
    _: KW_ONLY
    dim: int | None = None

    def __post_init__(self) -> None:
        as_plan("Partial", self.plan)
        check_dim("Partial", self.dim)
        object.__setattr__(self, "indices", _as_indices("Partial", self.indices))
        _refuse_repeated("Partial", cast("tuple[int, ...]", self.indices))

    def _parts(self) -> Sequence[tuple[str, Bijector | None]]:
        return [("plan", self.plan), ("rest", None)]

    def _pieces(self, axis: Axis) -> list[Piece]:
        return _with_rest("Partial", [Piece("plan", self.plan, cast("tuple[int, ...]", self.indices))], None, axis)

    def describe(self) -> str:
        """Returns the formula in one line."""
        indices = cast("tuple[int, ...]", self.indices)
        return f"the plan moves {_listed(indices)}, the others stay as they are{_along(self.dim)}."


def _as_indices(who: str, value: object) -> tuple[int, ...]:
    value = value.tolist() if hasattr(value, "tolist") else value  # a tensor, or numpy's
    indices = (value,) if isinstance(value, int) else value
    if not isinstance(indices, Sequence) or any(isinstance(i, bool) or not isinstance(i, int) for i in indices):
        raise OptionTypeError(f"{who}: an index or a tuple of indices is expected; got {options.short(value)}.")
    if not indices:
        raise OptionError(f"{who}: at least one index is expected; got {value!r}.")
    return tuple(indices)


def _refuse_repeated(who: str, indices: Sequence[int]) -> None:
    repeated = sorted(i for i, times in Counter(indices).items() if times > 1)
    if repeated:
        raise OptionError(f"{who}: each index is expected once; got {_listed(repeated)} several times.")


def _with_rest(who: str, named: Sequence[Piece], rest: Bijector | None, axis: Axis) -> list[Piece]:
    """Returns pieces that fill the axis; in its order, which makes them views, if those with plans are contiguous."""
    size, where = axis.size, f"event {tuple(axis.shape)}{_along(axis.dim)}"
    given = [i for p in named for i in p.indices]
    taken = {i % size for i in given}
    if len(taken) < len(given) or not all(-size <= i < size for i in given):
        raise ShapeError(
            f"{who}: indices of {size} coordinates, each once, are expected; got {_listed(given)} of an {where}."
        )
    left = tuple(i for i in range(size) if i not in taken)
    if rest is not None and not left:
        raise ShapeError(f"{who}: coordinates left for the rest are expected; got none of an {where}.")
    moved = [p._replace(indices=tuple(i % size for i in p.indices)) for p in named]
    others = [Piece("rest", rest, left)] if left else []
    runs = [Piece("rest", None, run) for run in _runs(left)] if rest is None else others
    in_order = sorted([*moved, *runs], key=lambda p: p.indices[0])
    return in_order if all(len(_runs(p.indices)) == 1 for p in in_order) else [*moved, *others]


def _runs(indices: Sequence[int]) -> list[tuple[int, ...]]:
    """Returns the indices cut wherever one does not follow upon the last."""
    starts = [k for k, i in enumerate(indices) if k == 0 or i != indices[k - 1] + 1]
    return [tuple(indices[a:b]) for a, b in itertools.pairwise([*starts, len(indices)])]


def _listed(indices: Sequence[int]) -> str:
    return ", ".join(map(str, indices))


def _along(dim: int | None) -> str:
    return "" if dim is None else f" along axis {dim}"
