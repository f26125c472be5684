"""A bijector's plan: what it is, without shapes or parameters."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, cast, final

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint
from typing_extensions import Self

from .. import domains, options
from ..errors import NotBoundError, ShapeError
from ..specification import from_dict, to_dict
from ..summary import Summary
from ..types import Direction, Exactness, ShapeLike, as_size, numel

if TYPE_CHECKING:
    from .bound import BoundBijector

# What a bound bijector can do and a plan cannot: asking a plan for it gets an error that says so.
_BOUND_ONLY = frozenset(
    {
        "forward",
        "inverse",
        "forward_and_log_det",
        "inverse_and_log_det",
        "log_abs_det_jacobian",
        "condition",
        "parameters",
    }
    | {"state_dict", "initialize", "summary"}
)


class Bijector(abc.ABC):
    """A plan: what a bijector is, without shapes or parameters.

    An immutable value: equal by value, hashable, printable, picklable. An author writes a
    ``@final @dataclass(frozen=True)`` with :meth:`_bind`, its one abstract method, and overrides the properties below
    where the defaults (a map of the whole real space, both directions at one cost, an exact inverse) do not hold.
    """

    min_event_dim: int = 0
    """The fewest dimensions an event must have: 0 for an elementwise map, 1 for a map of vectors."""

    def __post_init__(self) -> None:  # noqa: B027  # most plans have nothing to check
        """Checks the options; called when a plan has been made."""

    @property
    def domain(self) -> Constraint:
        """What ``forward`` takes, over ``min_event_dim`` dimensions."""
        return domains.lift(constraints.real, self.min_event_dim)

    @property
    def codomain(self) -> Constraint:
        """What ``forward`` gives, over ``min_event_dim`` dimensions."""
        return domains.lift(constraints.real, self.min_event_dim)

    def domain_at(self, shape: torch.Size) -> Constraint:
        """Returns what ``forward`` takes, over whole events of ``shape``."""
        return domains.lift(self.domain, len(shape))

    def image(self, given: Constraint, shape: torch.Size | None) -> Constraint:
        """Returns what ``forward`` gives for those events of the domain that lie in ``given``.

        A map that leaves some coordinates as they are overrides this and :meth:`preimage`.

        Args:
            given: a set of events before ``forward``.
            shape: the shape of these events; None before it is known, when whatever depends on it is
                ``domains.Undetermined``.

        Returns:
            A set of events after ``forward``; ``domains.Within`` one, where only a larger set is known.
        """
        before, after = self._sets(shape)
        return after if domains.includes(given, before) else domains.Within(after)

    def preimage(self, wanted: Constraint, shape: torch.Size | None) -> Constraint | None:
        """Returns the events of the domain that ``forward`` maps into ``wanted``; None if that is not known.

        Args:
            wanted: a set of events after ``forward``.
            shape: the shape of events before ``forward``; None before it is known.
        """
        before, after = self._sets(shape)
        return before if domains.includes(wanted, after) else None

    def _sets(self, shape: torch.Size | None) -> tuple[Constraint, Constraint]:
        """Returns domain and codomain, over whole events where their shape is known."""
        if shape is None:
            return self.domain, self.codomain
        return self.domain_at(shape), domains.lift(self.codomain, len(self.forward_shape(shape)))

    @property
    def cheap(self) -> Direction:
        """Which direction takes one pass, if only one does."""
        return "both"

    @property
    def exactness(self) -> Exactness:
        """Whether the inverse is exact to rounding, or iterated to a tolerance."""
        return "exact"

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape after ``forward``."""
        return shape

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape before ``forward``."""
        return shape

    def dims_before(self, needed: int) -> int:
        """Returns how many dimensions an event has at least whose image has ``needed``."""
        return max(self.min_event_dim, needed)

    def dims_after(self, dims: int) -> int:
        """Returns how many dimensions the image of an event of ``dims`` has."""
        return dims

    @final
    def bind(self, shape: ShapeLike, context_shape: ShapeLike | None = None) -> BoundBijector[Self]:
        """Makes the bijector concrete: checks the shapes and allocates the parameters.

        Args:
            shape: the shape of an event (no batch dimensions).
            context_shape: the shape of a context; None if there is none.

        Returns:
            A module with parameters of its own: binding twice gives independent ones.

        Raises:
            ShapeError: if the event does not fit.
            ContextError: if a part needs a context and there is none.

        Example:
            >>> from flowtorch.bijectors import Affine
            >>> bound = Affine().bind((3,))
            >>> y, log_det = bound.forward_and_log_det(torch.zeros(5, 3))
            >>> y.shape, log_det.shape
            (torch.Size([5, 3]), torch.Size([5]))
        """
        who = type(self).__name__
        event = as_size(shape, who)
        context = None if context_shape is None else as_size(context_shape, who)
        if len(event) < self.min_event_dim:
            raise ShapeError(
                f"{who}: an event of at least {self.min_event_dim} dimension(s) is expected; got event shape "
                f"{tuple(event)}."
            )
        if numel(event) == 0:
            raise ShapeError(f"{who}: an event of at least one coordinate is expected; got event shape {tuple(event)}.")
        return cast("BoundBijector[Self]", self._bind(event, context))

    def __call__(
        self, *args: object, shape: ShapeLike | None = None, context_shape: ShapeLike | None = None
    ) -> BoundBijector[Self]:
        """Binds, in the spelling of FlowTorch 0.x: ``plan(shape=torch.Size([3]), context_shape=None)``."""
        if args or shape is None:
            got = options.short(args[0]) if args else "no shape"
            raise NotBoundError(
                f"{type(self).__name__}: a plan is bound with plan(shape=...) or plan.bind(shape) before it is "
                "applied; "
                f"got {got}."
            )
        return self.bind(shape, context_shape)

    @abc.abstractmethod
    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundBijector[Bijector]:
        """Returns the bound form for an event shape that was checked."""

    @property
    def inv(self) -> Bijector:
        """The plan with its directions exchanged."""
        from .invert import Invert  # below this module in the order of imports

        return Invert(self)

    def check(self, shape: ShapeLike, context_shape: ShapeLike | None = None) -> Summary:
        """Binds without allocating anything, and returns the table of what would be made.

        Raises:
            ShapeError, ContextError, DomainError: whatever binding would raise.

        Example:
            >>> from flowtorch.bijectors import AffineAutoregressive
            >>> AffineAutoregressive().check((1000,)).parameters
            613840
        """
        with torch.device("meta"):
            return self.bind(shape, context_shape).summary()

    def describe(self) -> str:
        """Returns the formula in one line, for :meth:`explain`."""
        return (type(self).__doc__ or "").strip().split("\n")[0]

    def explain(self) -> str:
        """Returns what this plan does, where its parameters come from and what each direction costs, in words."""
        costs = {
            "both": "Both directions take one pass",
            "forward": "Forward (base to data: sampling) takes one pass; the inverse (density) goes step by step",
            "inverse": "The inverse (density) takes one pass; forward (base to data: sampling) goes step by step",
        }
        lines = [
            f"{type(self).__name__}: {self.describe()}",
            f"Maps {domains.describe(self.domain)} to {domains.describe(self.codomain)}; events of at least "
            f"{self.min_event_dim} dimensions.",
            f"{costs[self.cheap]}; the inverse is {self.exactness}.",
        ]
        return "\n  ".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Returns the plan as a plain specification (JSON as it stands), see :func:`flowtorch.plan_from_dict`."""
        return to_dict(self)

    def __getattr__(self, name: str) -> NoReturn:
        if name in _BOUND_ONLY:
            raise NotBoundError(
                f"{type(self).__name__}: a bound bijector is expected for .{name}; got the plan. "
                "Bind it with plan.bind(shape), or build a Flow."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def plan_from_dict(specification: Mapping[str, Any]) -> Bijector:
    """Makes the plan that ``plan.to_dict()`` wrote down.

    It runs no code from the specification: a ``type`` names a registered class, and the class checks its fields.

    Args:
        specification: what ``to_dict`` returned, or the same after a round trip through JSON or YAML.

    Returns:
        A plan equal to the one written down.

    Raises:
        SpecificationError: for an unregistered name, an unknown field, or a value that its class refuses.

    Example:
        >>> from flowtorch.bijectors import Compose, Exp, SplineCoupling
        >>> plan = Compose([SplineCoupling(count_bins=4), Exp()])
        >>> plan_from_dict(plan.to_dict()) == plan
        True
    """
    plan: Bijector = from_dict(specification, Bijector)
    return plan
