"""From free coordinates onto a constrained set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast, final

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from .. import domains, options
from ..errors import OptionError, OptionTypeError, ShapeError
from ..ops import constrained
from ..specification import register
from ..types import Nested, TensorPair, as_nested, flatten, nested_shape
from .base import Bijector
from .bound import BoundBijector
from .constrained_sets import Correlation, Ordered
from .elementwise import sum_event
from .fixed_linear import Exact

# A name, and for an interval its two ends.
Tag: TypeAlias = tuple[str] | tuple[str, Nested, Nested]


@dataclass(frozen=True)
class Kind:
    """What there is to know of a set of vectors or matrices.

    Args:
        op: the map onto it.
        constraint: the set.
        free: how many free coordinates a vector or matrix of size n has.
        contains: whether vectors or matrices lie in it, to a tolerance.
        formula: in one line.
    """

    op: Callable[..., TensorPair]
    constraint: Constraint
    free: Callable[[int], int]
    contains: Callable[[torch.Tensor, float], torch.Tensor]
    formula: str

    def size(self, free: int) -> int:
        """Returns the size with so many free coordinates, or the next one."""
        return next(n for n in itertools.count(1) if self.free(n) >= free)


def _triangle(n: int) -> int:
    return n * (n + 1) // 2


def _is_lower(y: torch.Tensor) -> torch.Tensor:
    return (y.triu(1) == 0).all(-1).all(-1)


def _is_symmetric(y: torch.Tensor, tolerance: float) -> torch.Tensor:
    return ((y - y.mT).abs() <= tolerance * (1.0 + y.abs())).all(-1).all(-1)


def _is_lower_cholesky(y: torch.Tensor, tolerance: float) -> torch.Tensor:
    return _is_lower(y) & (y.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


def _is_positive_definite(y: torch.Tensor, tolerance: float) -> torch.Tensor:
    definite: torch.Tensor = torch.linalg.cholesky_ex(y.detach()).info == 0
    return _is_symmetric(y, tolerance) & definite


def _has_unit_rows(y: torch.Tensor, tolerance: float) -> torch.Tensor:
    return _is_lower_cholesky(y, tolerance) & ((y.square().sum(-1) - 1.0).abs() <= tolerance).all(-1)


def _is_correlation(y: torch.Tensor, tolerance: float) -> torch.Tensor:
    ones = (y.diagonal(dim1=-2, dim2=-1) - 1.0).abs() <= tolerance
    return _is_positive_definite(y, tolerance) & ones.all(-1)


KINDS = {
    "simplex": Kind(
        constrained.simplex,
        constraints.simplex,
        lambda n: n - 1,
        lambda y, tolerance: (y > 0).all(-1) & ((y.sum(-1) - 1.0).abs() <= tolerance),
        "y_i = z_i prod_(j<i) (1 - z_j), z_i = sigmoid(x_i - log(n - i)).",
    ),
    "ordered": Kind(
        constrained.ordered,
        Ordered(positive=False),
        lambda n: n,
        lambda y, tolerance: (y.diff(dim=-1) > 0).all(-1),
        "y_0 = x_0, y_i = y_(i-1) + exp(x_i).",
    ),
    "positive_ordered": Kind(
        constrained.positive_ordered,
        Ordered(positive=True),
        lambda n: n,
        lambda y, tolerance: (y.diff(dim=-1) > 0).all(-1) & (y[..., 0] > 0),
        "y_0 = exp(x_0), y_i = y_(i-1) + exp(x_i).",
    ),
    "lower_triangular": Kind(
        constrained.lower_triangular,
        constraints.lower_triangular,
        _triangle,
        lambda y, tolerance: _is_lower(y),
        "y = L, the lower triangle row by row.",
    ),
    "symmetric": Kind(
        constrained.symmetric,
        constraints.symmetric,
        _triangle,
        _is_symmetric,
        "y = L + L^T - diag(L), the lower triangle row by row.",
    ),
    "lower_cholesky": Kind(
        constrained.lower_cholesky,
        constraints.lower_cholesky,
        _triangle,
        _is_lower_cholesky,
        "y = L, the lower triangle row by row, with the exponential of the diagonal.",
    ),
    "positive_definite": Kind(
        constrained.positive_definite,
        constraints.positive_definite,
        _triangle,
        _is_positive_definite,
        "y = L L^T, L the lower triangle row by row, with the exponential of the diagonal.",
    ),
    "corr_cholesky": Kind(
        constrained.corr_cholesky,
        constraints.corr_cholesky,
        lambda n: _triangle(n - 1),
        _has_unit_rows,
        "y_ij = tanh(x_ij) prod_(k<j) sech(x_ik), rows of length 1.",
    ),
    "correlation": Kind(
        constrained.correlation,
        Correlation(),
        lambda n: _triangle(n - 1),
        _is_correlation,
        "y = L L^T, L_ij = tanh(x_ij) prod_(k<j) sech(x_ik), rows of length 1.",
    ),
}
_BY_CLASS = {type(kind.constraint): name for name, kind in KINDS.items() if name not in ("ordered", "positive_ordered")}
# Up to a set of measure zero.
_BY_CLASS[type(constraints.positive_semidefinite)] = "positive_definite"
_SUPPORTED = f"an interval or half-line, {', '.join(KINDS)}"


@register
@final
@dataclass(frozen=True)
class ConstrainTo(Bijector):
    r"""From the real space onto a constrained set, by a fixed map: where a flow over such a set ends.

    .. math::
        y = g(x), \qquad \log|\det dy/dx| = \log\left|\det \frac{\partial y_{free}}{\partial x}\right|

    On an interval, :math:`g` is :math:`l + (h - l) \sigma(x)`, :math:`l + e^x`, :math:`h - e^x` or :math:`x`. Others
    act on vectors along the last axis of the event: n numbers become a simplex of n + 1 entries (by breaking a stick),
    an increasing vector of n, or a matrix of which they are the free entries, row by row. Where ``y`` has more entries
    than are free, densities are with respect to the free ones, as torch's are: the first n on a simplex, the lower
    triangle of a triangular or symmetric matrix, what is below the diagonal of a correlation matrix and of its
    Cholesky factor. All maps are those of ``torch.distributions.biject_to`` (of ``transform_to``, for triangular and
    positive definite matrices), but for what torch has not: ``"ordered"``, ``"positive_ordered"``, ``"correlation"``.

    Args:
        constraint: one of torch's constraints, as the support of a distribution is, or one of the names above. Ends
            of an interval may be tensors, with a number for each coordinate of the last axes. It is stored as a name
            with the ends of the interval, if it is one.

    Raises:
        OptionError, OptionTypeError: for a constraint that is not supported, or ends that are not in order.
        ShapeError: when bound to an event that such a set cannot have.

    Example:
        >>> plan = ConstrainTo(torch.distributions.constraints.simplex)
        >>> plan, plan.bind((2,)).forward(torch.zeros(2))
        (ConstrainTo(constraint=('simplex',)), tensor([0.3333, 0.3333, 0.3333]))

    References:
        Stan Reference Manual, "Constraint Transforms",
        https://mc-stan.org/docs/reference-manual/transforms.html.
    """

    constraint: Constraint | str | Tag

    def __post_init__(self) -> None:
        object.__setattr__(self, "constraint", _tag(self.constraint))

    @property
    def kind(self) -> Kind | None:
        """What there is to know of the set; None for an interval."""
        return KINDS.get(self._name)

    @property
    def _name(self) -> str:
        return cast(Tag, self.constraint)[0]

    @property
    def ends(self) -> tuple[Nested, Nested]:
        """The two ends of an interval."""
        _, low, high = cast("tuple[str, Nested, Nested]", self.constraint)
        return low, high

    @property
    def min_event_dim(self) -> int:  # type: ignore[override]  # depends on the set
        """As many as an interval's ends have; 1 for other sets."""
        return len(nested_shape(self.ends[0])) if self.kind is None else 1

    @property
    def codomain(self) -> Constraint:
        """The set."""
        if self.kind is not None:
            return self.kind.constraint
        low, high = self.ends
        return domains.intervals(flatten(low), flatten(high), torch.Size(nested_shape(low)))

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the shape of vectors or matrices for that of their free coordinates."""
        kind = self.kind
        if kind is None:
            return shape
        n = kind.size(shape[-1])
        if kind.free(n) != shape[-1]:
            raise ShapeError(
                f"ConstrainTo: for {self._name}, a last axis of {kind.free(n)} or {kind.free(n - 1)} free coordinates "
                f"is expected; got event shape {tuple(shape)}."
            )
        return torch.Size((*shape[:-1], *(n,) * kind.constraint.event_dim))

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the shape of the free coordinates for that of vectors or matrices."""
        kind = self.kind
        if kind is None:
            return shape
        dims, least = kind.constraint.event_dim, kind.size(1)
        last = tuple(shape[len(shape) - dims :])
        if len(shape) < dims or len(set(last)) != 1 or last[0] < least:
            what = "square matrices" if dims == 2 else "vectors"
            raise ShapeError(
                f"ConstrainTo: for {self._name}, {what} of at least {least} are expected; got event shape "
                f"{tuple(shape)}."
            )
        return torch.Size((*shape[: len(shape) - dims], kind.free(last[0])))

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundBijector[ConstrainTo]:
        if self.kind is None:
            return BoundInterval(self, shape, context_shape)
        return BoundConstrainTo(self, shape, context_shape, self.kind)

    def describe(self) -> str:
        """Returns the formula in one line."""
        if self.kind is not None:
            return self.kind.formula
        return f"onto {domains.describe(self.codomain)}, by the logistic or exponential function or the identity."


def _tag(given: object) -> Tag:
    """Returns what stands for a constraint: a value."""
    while isinstance(given, Constraint) and hasattr(given, "base_constraint"):
        given = given.base_constraint  # independent: every vector, or coordinate, by itself
    if isinstance(given, str):
        given = (given,)
    if isinstance(given, tuple) and given and given[0] == "interval" and len(given) == 3:
        return _interval(as_nested(given[1], "ConstrainTo"), as_nested(given[2], "ConstrainTo"))
    if isinstance(given, tuple):
        if len(given) != 1 or given[0] not in KINDS:
            raise OptionError(f"ConstrainTo: {_SUPPORTED} is expected; got {options.short(given)}.")
        return cast(Tag, given)
    if not isinstance(given, Constraint):
        options.instance("ConstrainTo", "constraint", given, Constraint)
    found = cast(Any, given)
    if isinstance(found, Ordered):
        return ("positive_ordered" if found.positive else "ordered",)
    if type(found) in _BY_CLASS:
        return (_BY_CLASS[type(found)],)
    if not constraints.is_dependent(found) and not found.is_discrete:
        if hasattr(found, "cseq"):
            return _joined(found)
        if type(found) is type(constraints.real) or hasattr(found, "lower_bound") or hasattr(found, "upper_bound"):
            ends = getattr(found, "lower_bound", -math.inf), getattr(found, "upper_bound", math.inf)
            low, high = torch.broadcast_tensors(*(torch.as_tensor(e, dtype=torch.float64, device="cpu") for e in ends))
            return _interval(as_nested(low, "ConstrainTo"), as_nested(high, "ConstrainTo"))
    raise OptionError(f"ConstrainTo: {_SUPPORTED} is expected; got {found}.")


def _joined(given: Any) -> Tag:
    """Returns the intervals of a ``cat`` or ``stack`` of scalars along one axis."""
    lengths = getattr(given, "lengths", [1] * len(given.cseq))
    low: list[Nested] = []
    high: list[Nested] = []
    for part, length in zip(given.cseq, lengths, strict=True):
        tag = _tag(part)
        if len(tag) == 1 or nested_shape(tag[1]) or given.dim not in (0, -1):
            raise OptionError(
                f"ConstrainTo: a cat or stack of intervals along one axis is expected; got {part} along {given.dim}."
            )
        low += [tag[1]] * length
        high += [tag[2]] * length
    return _interval(tuple(low), tuple(high))


def _interval(low: Nested, high: Nested) -> Tag:
    a, b = flatten(low), flatten(high)
    if nested_shape(low) != nested_shape(high):
        raise OptionTypeError(f"ConstrainTo: two ends of one layout are expected; got {low!r} and {high!r}.")
    if not all(x < y for x, y in zip(a, b, strict=True)):
        raise OptionError(f"ConstrainTo: ends with low < high are expected; got {low!r} and {high!r}.")
    # A number a coordinate only where they differ: it then fits any shape.
    same = len(set(a)) == 1 and len(set(b)) == 1
    return ("interval", a[0], b[0]) if same else ("interval", low, high)


class BoundInterval(BoundBijector[ConstrainTo]):
    """The bound form for intervals, the same or one for each coordinate."""

    def __init__(self, plan: ConstrainTo, shape: torch.Size, context_shape: torch.Size | None) -> None:
        super().__init__(plan, shape, context_shape)
        low, high = plan.ends
        expected, given = tuple(shape[len(shape) - plan.min_event_dim :]), nested_shape(low)
        if given != expected:
            raise ShapeError(
                f"ConstrainTo: an event whose last axes are those of the ends, {given}, is expected; got event shape "
                f"{tuple(shape)}."
            )
        inner = domains.middle(domains.Box(flatten(low), flatten(high)))
        numbers = (flatten(low), flatten(high), inner)
        self.numbers = Exact(tuple(torch.tensor(n, dtype=torch.float64, device="cpu").view(given) for n in numbers))
        falling = sum(a == -math.inf and b < math.inf for a, b in zip(flatten(low), flatten(high), strict=True))
        self._falling = falling * (shape.numel() // math.prod(given))

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._move(x, inverse=False)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._move(y, inverse=True)

    def _move(self, x: torch.Tensor, inverse: bool) -> TensorPair:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        low, high, inner = (n.to(wide.dtype) for n in self.numbers())
        if inverse:
            outside = (wide <= low) | (wide >= high)  # False for NaN, which goes through
            wide = torch.where(outside, inner, wide)
        y, log_derivative = constrained.interval(wide, low, high, inverse=inverse)
        if inverse:
            log_derivative = torch.where(outside, -torch.inf, log_derivative)
        return y.to(x.dtype), sum_event(log_derivative, len(self.shape)).to(x.dtype)

    @property
    def sign(self) -> int:
        """Negative for an odd number of coordinates that are bounded from above only."""
        return -1 if self._falling % 2 else 1


class BoundConstrainTo(BoundBijector[ConstrainTo]):
    """The bound form for vectors and matrices."""

    def __init__(self, plan: ConstrainTo, shape: torch.Size, context_shape: torch.Size | None, kind: Kind) -> None:
        super().__init__(plan, shape, context_shape)
        self.kind = kind
        inner, _ = kind.op(torch.zeros(shape[-1:], dtype=torch.float64, device="cpu"))
        self.inner = Exact((inner,))

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        y, log_det = self.kind.op(x.to(torch.promote_types(x.dtype, torch.float32)))
        return y.to(x.dtype), self._total(log_det, x)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        dims = self.kind.constraint.event_dim
        wide = y.to(torch.promote_types(y.dtype, torch.float32))
        (inner,) = self.inner()
        # Applied to a point inside where there is none: what is computed of one outside has no finite gradient.
        nan = wide.isnan().flatten(-dims).any(-1)
        inside = self.kind.contains(wide, max(1e-6, 10.0 * y.shape[-1] * torch.finfo(y.dtype).eps))
        safe = torch.where((inside & ~nan).reshape(*inside.shape, *(1,) * dims), wide, inner.to(wide.dtype))
        x, log_det = self.kind.op(safe, inverse=True)
        log_det = torch.where(nan, torch.nan, torch.where(inside, log_det, -torch.inf))
        return torch.where(nan[..., None], torch.nan, x).to(y.dtype), self._total(log_det, y)

    def _total(self, log_det: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return sum_event(log_det, len(self.shape) - 1).to(like.dtype)
