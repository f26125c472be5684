"""Several bijectors, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import cast, final

import torch
from torch.distributions.constraints import Constraint
from torch.utils.checkpoint import checkpoint

from .. import domains, options
from ..errors import DomainError, OptionError, OptionTypeError, naming
from ..ops._modes import plain_eager
from ..specification import register
from ..summary import Row
from ..types import Direction, Exactness, TensorPair
from .base import Bijector
from .bound import BoundBijector, as_plan


@register
@final
@dataclass(frozen=True)
class Compose(Bijector):
    r"""The composition :math:`f_n \circ \cdots \circ f_1`: the first part is applied first, base to data.

    .. math:: y = f_n(\cdots f_1(x)), \qquad \log|\det dy/dx| = \sum_i \log|\det df_i|

    Parts may be of different event dimensions: an elementwise part acts on each coordinate of the vectors of another.

    Args:
        parts: the plans, base to data; the same plan may stand there several times, each bound on its own.
        checkpoint: in training, keeps only what goes into each part and computes the rest again in the backward pass:
            memory of one part in place of all, for about a third more time. Values and gradients are the same.

    Raises:
        OptionError, OptionTypeError: if there are no parts, or for what is no plan or boolean.
        DomainError: if the codomain of a part does not lie in the domain of the next.

    Example:
        >>> from flowtorch.bijectors import AffineAutoregressive, Compose, Exp
        >>> bound = Compose([AffineAutoregressive(), Exp()]).bind((3,))
        >>> bool((bound.forward(torch.randn(4, 3)) > 0).all())
        True
    """

    parts: Sequence[Bijector]
    _: KW_ONLY
    checkpoint: bool = False

    def __post_init__(self) -> None:
        options.boolean("Compose", "checkpoint", self.checkpoint)
        if isinstance(self.parts, Bijector) or not isinstance(self.parts, Sequence):
            raise OptionTypeError(f"Compose: a sequence of plans is expected; got {type(self.parts).__name__}.")
        if not self.parts:
            raise OptionError("Compose: at least one part is expected; got none.")
        parts = tuple(as_plan(f"Compose part {i}", p) for i, p in enumerate(self.parts))
        object.__setattr__(self, "parts", parts)
        self._domain(None)

    @property
    def min_event_dim(self) -> int:  # type: ignore[override]  # a plan of parts works it out
        """The fewest dimensions with which every part gets as many as it needs."""
        return self.dims_before(0)

    def dims_before(self, needed: int) -> int:
        """Returns how many dimensions an event has at least whose image has ``needed``."""
        for part in reversed(self.parts):
            needed = part.dims_before(needed)
        return needed

    def dims_after(self, dims: int) -> int:
        """Returns how many dimensions the image of an event of ``dims`` has."""
        for part in self.parts:
            dims = part.dims_after(dims)
        return dims

    @property
    def domain(self) -> Constraint:
        """The first part's."""
        return domains.lift(self._domain(None), self.min_event_dim)

    @property
    def codomain(self) -> Constraint:
        """The last part's, or a part of it, where some part takes more than the one before gives."""
        return domains.lift(self.image(self._domain(None), None), self.dims_after(self.min_event_dim))

    def domain_at(self, shape: torch.Size) -> Constraint:
        """Returns the events that each part in turn makes what the next one takes."""
        return domains.lift(self._domain(shape), len(shape))

    def image(self, given: Constraint, shape: torch.Size | None) -> Constraint:
        """Returns what goes through all parts."""
        for part, before in zip(self.parts, self._shapes(shape), strict=True):
            given = part.image(given, before)
        return given

    def preimage(self, wanted: Constraint, shape: torch.Size | None) -> Constraint | None:
        """Returns what goes through all parts into the wanted."""
        for part, before in reversed(list(zip(self.parts, self._shapes(shape), strict=True))):
            found = part.preimage(wanted, before)
            if found is None:
                return None
            wanted = found
        return wanted

    def _shapes(self, shape: torch.Size | None) -> list[torch.Size | None]:
        """Returns the shapes of events before each part."""
        shapes = [shape]
        for part in self.parts[:-1]:
            shape = None if shape is None else part.forward_shape(shape)
            shapes.append(shape)
        return shapes

    def _domain(self, shape: torch.Size | None) -> Constraint:
        """Returns what goes through all parts, last to first, or refuses a part that does not take what it is given."""
        *before, last = zip(self.parts, self._shapes(shape), strict=True)
        wanted = last[0].domain if last[1] is None else last[0].domain_at(last[1])
        for i, (part, size) in reversed(list(enumerate(before))):
            found = part.preimage(wanted, size)
            if found is None:
                given = part.codomain if size is None else part.image(part.domain_at(size), size)
                raise DomainError(
                    f"Compose: part {i + 1} ({name(self.parts[i + 1])}) is expected to take all that part {i} "
                    f"({name(part)}) gives; its domain is {domains.describe(wanted)}, got codomain "
                    f"{domains.describe(given)}."
                )
            wanted = found
        return wanted

    @property
    def cheap(self) -> Direction:
        """The direction in which no part goes step by step; forward where both have some that do."""
        return cheap_of(self.parts)

    @property
    def exactness(self) -> Exactness:
        """Exact if all parts are."""
        return exactness_of(self.parts)

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape after all parts."""
        for p in self.parts:
            shape = p.forward_shape(shape)
        return shape

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape before all parts."""
        for p in reversed(self.parts):
            shape = p.inverse_shape(shape)
        return shape

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundCompose:
        bound: list[BoundBijector[Bijector]] = []
        for i, p in enumerate(self.parts):
            with naming(f"Compose part {i} ({name(p)})"):
                bound.append(p.bind(shape, context_shape))
            shape = bound[-1].out_shape
        self._domain(bound[0].shape)
        return BoundCompose(self, bound[0].shape, context_shape, bound)

    def explain(self) -> str:
        """Returns an account of each part in turn, base to data."""
        parts = [f"{i}. " + p.explain().replace("\n", "\n   ") for i, p in enumerate(self.parts)]
        return "\n".join([f"Compose: {len(self.parts)} parts, base to data.", *parts])


def name(plan: Bijector) -> str:
    """Returns what to call a plan in a message: an ``Invert`` with what it inverts."""
    from .invert import Invert  # a part, and so after this module in the order of imports

    return f"Invert({name(plan.plan)})" if isinstance(plan, Invert) else type(plan).__name__


def cheap_of(plans: Iterable[Bijector]) -> Direction:
    """Returns the direction in which none goes step by step; forward where both have some that do."""
    kinds = {p.cheap for p in plans}
    return kinds.pop() if len(kinds) == 1 else "forward" if "forward" in kinds else "inverse"


def exactness_of(plans: Iterable[Bijector]) -> Exactness:
    """Returns exact if all are."""
    return "numerical" if any(p.exactness == "numerical" for p in plans) else "exact"


class BoundCompose(BoundBijector[Compose]):
    """The bound form of :class:`Compose`; ``bound[:k]`` is its first ``k`` parts, sharing their parameters."""

    def __init__(
        self,
        plan: Compose,
        shape: torch.Size,
        context_shape: torch.Size | None,
        parts: Sequence[BoundBijector[Bijector]],
    ) -> None:
        super().__init__(plan, shape, context_shape)
        self.parts = cast(Sequence[BoundBijector[Bijector]], torch.nn.ModuleList(parts))
        self.stochastic = any(part.stochastic for part in parts)

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._through([part._forward_and_log_det for part in self.parts], x, context)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._through([part._inverse_and_log_det for part in reversed(self.parts)], y, context)

    def _through(
        self,
        maps: Sequence[Callable[[torch.Tensor, torch.Tensor | None], TensorPair]],
        x: torch.Tensor,
        context: torch.Tensor | None,
    ) -> TensorPair:
        # Checkpoints are of eager reverse mode only; torch.compile decides by itself what it keeps.
        recompute = self.plan.checkpoint and torch.is_grad_enabled() and plain_eager()
        total: torch.Tensor | None = None
        for function in maps:
            if recompute:
                x, log_det = checkpoint(function, x, context, use_reentrant=False)
            else:
                x, log_det = function(x, context)
            total = log_det if total is None else total + log_det
        assert total is not None  # a composition has parts
        return x, total

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: slice) -> BoundCompose:
        if not isinstance(index, slice):
            raise OptionTypeError(f"Compose: a slice such as [:2] is expected; got {index!r}. Parts are in .parts.")
        parts = list(self.parts[index])
        if not parts:
            raise OptionError(f"Compose: a slice with at least one of its {len(self)} parts is expected; got none.")
        plan = Compose([p.plan for p in parts], checkpoint=self.plan.checkpoint)
        return BoundCompose(plan, parts[0].shape, self.context_shape, parts)

    @property
    def sign(self) -> int:
        """The product of the parts'."""
        product = 1
        for part in self.parts:
            product *= part.sign
        return product

    def initialize(self, y: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Starts every part from what the parts after it make of the data."""
        super().initialize(y, context)
        for index, part in reversed(list(enumerate(self.parts))):
            with naming(f"Compose part {index} ({name(part.plan)})"):
                part.initialize(y, context)
            y = part.inverse(y, context)

    def initialize_forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Starts every part from what the parts before it make of the data."""
        for index, part in enumerate(self.parts):
            with naming(f"Compose part {index} ({name(part.plan)})"):
                part.initialize_forward(x, context)
            x = part.forward(x, context)

    def rows(self) -> list[Row]:
        """Returns the lines of all parts."""
        return [row for part in self.parts for row in part.rows()]
