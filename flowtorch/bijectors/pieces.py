"""What plans have in common that take an event apart along an axis and give each piece a plan of its own."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple, TypeVar, cast

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from .. import domains
from ..errors import OptionError, OptionTypeError, ShapeError, naming
from ..summary import Row
from ..types import Direction, Exactness, TensorPair
from .axis import Axis
from .base import Bijector
from .bound import BoundBijector, as_plan
from .compose import cheap_of, exactness_of, name
from .cut import Cut

T = TypeVar("T")


class Piece(NamedTuple):
    """Some slices of an event, and the plan that moves them; None leaves them as they are."""

    label: str
    plan: Bijector | None
    indices: tuple[int, ...]

    def through(self, who: str, make: Callable[[Bijector], T]) -> T | None:
        """Returns what ``make`` makes of the plan, None where there is none; an error of it gets the piece's name."""
        if self.plan is None:
            return None
        with naming(f"{who} {self.label} ({name(self.plan)})"):
            return make(self.plan)


class Pieces(Bijector):
    """A plan for each of some pieces of the event along an axis.

    An author of one writes :meth:`_parts` and :meth:`_pieces`, and where parts may change the shape of their pieces
    :meth:`_joined` and ``inverse_shape``.
    """

    _drops_axis: ClassVar[bool] = False
    dim: int | None

    @abc.abstractmethod
    def _parts(self) -> Sequence[tuple[str, Bijector | None]]:
        """Returns what to call each part, and the part; None where some of the event may stay as it is."""

    @abc.abstractmethod
    def _pieces(self, axis: Axis) -> list[Piece]:
        """Returns the pieces, in the order of the parts where they have one."""

    def _joined(self, before: Cut, pieces: Sequence[Piece], shapes: Sequence[torch.Size]) -> Cut:
        """Returns how pieces of ``shapes`` lie in the event after the parts, or refuses them."""
        for piece, old, new in zip(pieces, before.shapes(), shapes, strict=True):
            if old != new:
                raise ShapeError(
                    f"{self._who} {piece.label}: a part that keeps the shape {tuple(old)} of its piece is expected; "
                    f"got one that makes it {tuple(new)}."
                )
        return before

    def _layout(self, shape: torch.Size) -> tuple[list[Piece], Cut, Cut]:
        """Returns the pieces of events of ``shape``, how they lie before, and how they lie after the parts."""
        pieces = self._pieces(Axis(shape, self.dim, self._who))
        before = Cut(shape, self.dim, [p.indices for p in pieces], self._drops_axis)
        found = [
            p.through(self._who, lambda plan, s=s: plan.forward_shape(s))  # type: ignore[misc]  # a default has no type
            for p, s in zip(pieces, before.shapes(), strict=True)
        ]
        shapes = [s if out is None else out for s, out in zip(before.shapes(), found, strict=True)]
        return pieces, before, self._joined(before, pieces, shapes)

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape after the parts."""
        return self._layout(shape)[2].shape

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape before the parts, which keep it."""
        return self.forward_shape(shape)

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundBijector[Bijector]:
        return BoundPieces(self, shape, context_shape)

    @property
    def _who(self) -> str:
        return type(self).__name__

    @property
    def _plans(self) -> list[Bijector]:
        return [plan for _, plan in self._parts() if plan is not None]

    # What follows from the parts -------------------------------------------------------------------------------------

    @property
    def min_event_dim(self) -> int:  # type: ignore[override]  # a plan of parts works it out
        """The most that any part needs; 1 for the flattened event."""
        return 1 if self.dim is None else max(1, *(p.min_event_dim for p in self._plans))

    @property
    def cheap(self) -> Direction:
        """The direction in which no part goes step by step; forward where both have some that do."""
        return cheap_of(self._plans)

    @property
    def exactness(self) -> Exactness:
        """Exact if all parts are."""
        return exactness_of(self._plans)

    @property
    def domain(self) -> Constraint:
        """The box that is every part's; else it depends on the event's shape."""
        return self._common([constraints.real if p is None else p.domain for _, p in self._parts()])

    @property
    def codomain(self) -> Constraint:
        """The box that is every part's; else it depends on the event's shape."""
        return self.image(self.domain, None)

    def domain_at(self, shape: torch.Size) -> Constraint:
        """Returns the events whose pieces lie each in the domain of its part."""
        pieces, before, _ = self._layout(shape)
        return before.put_set(_domains(pieces, before))

    def image(self, given: Constraint, shape: torch.Size | None) -> Constraint:
        """Returns the events whose pieces lie each in the image under its part."""
        if shape is None:
            return self._common([given if p is None else p.image(given, None) for _, p in self._parts()])
        pieces, before, after = self._layout(shape)
        sets = before.take_set(given)
        known = sets is not None or domains.includes(given, self.domain_at(shape))
        sets = _domains(pieces, before) if sets is None else sets
        found = after.put_set(
            [
                s if p.plan is None else p.plan.image(s, size)
                for p, s, size in zip(pieces, sets, before.shapes(), strict=True)
            ]
        )
        return found if known or isinstance(found, domains.Within) else domains.Within(found)

    def preimage(self, wanted: Constraint, shape: torch.Size | None) -> Constraint | None:
        """Returns the events whose pieces lie each in the preimage under its part; None if one of them is not known."""
        if shape is None:
            return self._all(
                [wanted if p is None else p.preimage(wanted, None) for _, p in self._parts()], self._common
            )
        pieces, before, after = self._layout(shape)
        sets = after.take_set(wanted)
        if sets is None:
            domain = self.domain_at(shape)
            return domain if domains.includes(wanted, self.image(domain, shape)) else None
        found = [
            s if p.plan is None else p.plan.preimage(s, size)
            for p, s, size in zip(pieces, sets, before.shapes(), strict=True)
        ]
        return self._all(found, before.put_set)

    @staticmethod
    def _all(
        sets: Sequence[Constraint | None], join: Callable[[Sequence[Constraint]], Constraint]
    ) -> Constraint | None:
        known = [s for s in sets if s is not None]
        return join(known) if len(known) == len(sets) else None

    def _common(self, sets: Sequence[Constraint]) -> Constraint:
        """Returns the box that all sets are, whatever their pieces' shapes."""
        first = domains.region(sets[0])
        even = isinstance(first, domains.Box) and len(first.lower) == len(first.upper) == 1
        if even and all(domains.region(s) == first for s in sets):
            return domains.lift(sets[0], self.min_event_dim)
        return domains.Undetermined(self.min_event_dim)

    def explain(self) -> str:
        """Returns an account of each part."""
        parts = [f"{label}: " + p.explain().replace("\n", "\n  ") for label, p in self._parts() if p is not None]
        return "\n".join([f"{self._who}: {self.describe()}", *parts])


def _domains(pieces: Sequence[Piece], cut: Cut) -> list[Constraint]:
    return [
        domains.lift(constraints.real, len(s)) if p.plan is None else p.plan.domain_at(s)
        for p, s in zip(pieces, cut.shapes(), strict=True)
    ]


class BoundPieces(BoundBijector[Pieces]):
    """The bound form of :class:`Pieces`."""

    order: torch.Tensor | None
    back: torch.Tensor | None

    def __init__(self, plan: Pieces, shape: torch.Size, context_shape: torch.Size | None) -> None:
        super().__init__(plan, shape, context_shape)
        self.pieces, self.before, self.after = plan._layout(shape)
        turn = {label: i for i, (label, _) in enumerate(plan._parts())}
        # Which piece each part moves, in the order of the parts.
        moved = [k for k, piece in enumerate(self.pieces) if piece.plan is not None]
        self.at = sorted(moved, key=lambda k: turn[self.pieces[k].label])
        shapes = self.before.shapes()
        bound = [
            self.pieces[k].through(
                self._who,
                lambda plan, k=k: plan.bind(shapes[k], self._given_shape(k)),  # type: ignore[misc]  # as above
            )
            for k in self.at
        ]
        self.parts = cast(
            "Sequence[BoundBijector[Bijector]]", torch.nn.ModuleList(cast("list[torch.nn.Module]", bound))
        )
        self.stochastic = any(part.stochastic for part in self.parts)
        # Pieces are out of the axis' order only where shapes stay as they are, so that one order serves both sides.
        order = None if self.before.ordered else torch.tensor(self.before.order)
        self.register_buffer("order", order, persistent=False)  # follows from the plan
        self.register_buffer("back", None if order is None else order.argsort(), persistent=False)

    def _given_shape(self, k: int) -> torch.Size | None:
        """Returns the shape of what conditions the part of a piece."""
        return self.context_shape

    def _given(self, k: int, pieces: list[torch.Tensor], context: torch.Tensor | None) -> torch.Tensor | None:
        """Returns what conditions the part of a piece: the pieces of parts before it are those after ``forward``."""
        return context

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        pieces, log_det = self._through(self.before.take(x, self.order), context, inverse=False)
        return self.after.put(pieces, self.back), log_det

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        pieces, log_det = self._through(self.after.take(y, self.order), context, inverse=True)
        return self.before.put(pieces, self.back), log_det

    def _through(
        self, pieces: list[torch.Tensor], context: torch.Tensor | None, *, inverse: bool
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Returns the pieces moved by their parts, and the sum of the log-dets."""
        log_dets = []
        turns = list(zip(self.at, self.parts, strict=True))
        for k, part in reversed(turns) if inverse else turns:
            move = part._inverse_and_log_det if inverse else part._forward_and_log_det
            # A copy of a piece is cheaper than kernels that step over the others.
            pieces[k], log_det = move(pieces[k].contiguous(), self._given(k, pieces, context))
            log_dets.append(log_det)
        return pieces, sum(log_dets[1:], log_dets[0])

    @property
    def sign(self) -> int:
        """The product of the parts', where they keep their shapes."""
        product = 1
        for part in self.parts:
            product *= part.sign if part.shape == part.out_shape else super().sign
        return product

    def initialize(self, y: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Starts every part from its piece of the data."""
        pieces = self.after.take(self._checked(y, context, self.out_shape, "initialize"), self.order)
        for k, part in zip(self.at, self.parts, strict=True):
            self._start(k, part.initialize, pieces, context)

    def initialize_forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Starts every part from its piece of the data that enter forward."""
        pieces = self.before.take(self._checked(x, context, self.shape, "initialize"), self.order)
        for k, part in zip(self.at, self.parts, strict=True):
            self._start(k, part.initialize_forward, pieces, context)
            pieces[k] = part.forward(pieces[k], self._given(k, pieces, context))

    def _start(
        self,
        k: int,
        start: Callable[[torch.Tensor, torch.Tensor | None], None],
        pieces: list[torch.Tensor],
        context: torch.Tensor | None,
    ) -> None:
        given = self._given(k, pieces, context)
        self.pieces[k].through(self._who, lambda _: start(pieces[k], given))

    def rows(self) -> list[Row]:
        """Returns the lines of all parts, with what each is called."""
        return [
            replace(row, layer=f"{self._who} {self.pieces[k].label}: {row.layer}")
            for k, part in zip(self.at, self.parts, strict=True)
            for row in part.rows()
        ]


def as_parts(who: str, parts: object) -> tuple[Bijector, ...]:
    """Returns a sequence of at least one plan as a tuple, or refuses it."""
    if isinstance(parts, Bijector | str) or not isinstance(parts, Sequence):
        raise OptionTypeError(f"{who}: a sequence of plans is expected; got {type(parts).__name__}.")
    if not parts:
        raise OptionError(f"{who}: at least one part is expected; got none.")
    return tuple(as_plan(f"{who} part {i}", p) for i, p in enumerate(parts))
