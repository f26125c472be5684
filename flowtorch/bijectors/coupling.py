"""The family in which one part of the coordinates drives another and is left as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, Union, final

import torch

from .. import domains, options
from ..errors import DomainError, OptionError, OptionTypeError, ShapeError
from ..parameters import AutoregressiveParameters, DenseNN, Parameters, Tensor
from ..specification import register
from ..types import TensorPair
from .axis import Axis, check_dim
from .base import Bijector
from .bound import BoundBijector
from .elementwise import BoundElementwise, BoundMap, Elementwise, bare, sum_event
from .family import Family

Pattern: TypeAlias = Literal["half", "alternate"]
NestedBool: TypeAlias = Union[bool, tuple["NestedBool", ...]]  # noqa: UP007  # a string cannot be joined by | at run time
Mask: TypeAlias = Union[Pattern, tuple[NestedBool, ...]]  # noqa: UP007
_PATTERNS = ("half", "alternate")


@dataclass(frozen=True, kw_only=True)
class CouplingFamily(Family):
    """What :class:`Coupling` and its named plans share; an author of a named plan writes :meth:`_elementwise`."""

    mask: Mask = "half"
    split: int | None = None
    swap: bool = False
    dim: int | None = None
    untouched: Elementwise | None = None

    def __post_init__(self) -> None:
        """Checks the options that all share."""
        who = type(self).__name__
        check_dim(who, self.dim)
        options.boolean(who, "swap", self.swap)
        object.__setattr__(self, "mask", _as_mask(who, self.mask))
        if self.split is not None:
            options.integer(who, "split", self.split, minimum=1)
            if self.mask != "half":
                raise OptionError(f"{who}: either split or mask is expected; got both.")
        elementwise = bare(who, self._elementwise())
        if self.untouched is not None:
            options.instance(who, "untouched", self.untouched, Elementwise)
        if self.params_fn is not None:
            options.instance(who, "params_fn", self.params_fn, Parameters)
            if isinstance(self.params_fn, AutoregressiveParameters):
                raise OptionError(
                    f"{who}: a conditioner such as DenseNN() is expected as params_fn; got {self.params_fn!r}, which "
                    "is for "
                    "autoregressive plans."
                )
        other = self.untouched
        pairs = [(elementwise.domain, elementwise.codomain)]
        if other is not None:
            pairs = [(elementwise.domain, other.domain), (elementwise.codomain, other.codomain)]
        if not all(domains.includes(a, b) and domains.includes(b, a) for a, b in pairs):
            raise DomainError(
                f"{who}: the untouched part is expected to live where the driven part does; got domain "
                f"{domains.describe(elementwise.domain)} and codomain {domains.describe(elementwise.codomain)} for "
                f"{type(elementwise).__name__}, and {other!r} for the untouched part."
            )

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundBijector[Bijector]:
        axis = Axis(shape, self.dim, type(self).__name__)
        if axis.size == 1:  # nothing to drive it: the elementwise form, conditioned on the context
            source = Tensor() if context_shape is None else self.params_fn
            return BoundElementwise(self, shape, context_shape, self._elementwise(), source)
        return BoundCoupling(self, shape, context_shape, axis)

    def is_untouched(self, axis: Axis) -> list[bool]:
        """Returns for each slice along the axis whether it is left as it is (before any map of that part)."""
        who, size = type(self).__name__, axis.size
        if self.split is not None:
            if self.split >= size:
                raise ShapeError(f"{who}: split={self.split} leaves nothing to drive; got {size} coordinates to split.")
            mask = [i < self.split for i in range(size)]
        elif self.mask == "half":
            mask = [i < (size + 1) // 2 for i in range(size)]
        elif self.mask == "alternate":
            mask = [i % 2 == 0 for i in range(size)]
        else:
            mask = _flatten(self.mask)
            nested = any(isinstance(part, tuple) for part in self.mask)
            if len(mask) != size or (nested and _shape(self.mask) != axis.shape):
                raise ShapeError(
                    f"{who}: a mask for {size} coordinates of an event {tuple(axis.shape)} is expected; got one of "
                    "shape "
                    f"{_shape(self.mask)}."
                )
        return [m != self.swap for m in mask]

    def explain(self) -> str:
        """Returns what this plan does and where its parameters come from, in words."""
        if self.split is not None:
            which = f"the first {self.split} coordinates"
        else:
            which = {"half": "the first half of the coordinates", "alternate": "every other coordinate"}.get(
                str(self.mask), "the coordinates where the mask is True"
            )
        driven, kept = (which, "The others") if self.swap else ("the others", which.capitalize())
        moved = "stay as they are" if self.untouched is None else f"move by {type(self.untouched).__name__} alone"
        conditioner = (self.params_fn or DenseNN()).describe()
        return super().explain() + (
            f"\n  {kept} {moved}, and drive {driven} through {conditioner}; each of those moves by "
            f"{type(self._elementwise()).__name__}: {self._elementwise().describe()}"
            "\n  What stays in one layer must move in another: alternate layers with swap=True, or put Permute() "
            "between."
        )


@register
@final
@dataclass(frozen=True)
class Coupling(CouplingFamily):
    r"""Any elementwise map of one part of the coordinates, with parameters from the other part.

    .. math:: y_A = x_A, \quad y_B = f(x_B; \theta(x_A, c)), \qquad
              \log|\det dy/dx| = \sum_{i \in B} \log|f'(x_i; \theta_i)|

    Both directions take one pass. One layer cannot move :math:`A`: alternate layers with ``swap=True``, or permute
    between.

    Args:
        elementwise: how a driven coordinate moves; an elementwise plan without a ``params_fn`` of its own.
        params_fn: the conditioner; ``DenseNN()`` by default.
        mask: True where a coordinate is left untouched: ``"half"`` (the first half, the larger if odd), ``"alternate"``
            (every other, the first one untouched), or booleans in the shape of the event (a sequence along ``dim``).
        split: instead of a mask, how many coordinates from the front are untouched.
        swap: exchanges the two parts.
        dim: the axis that is split, slice by slice; None for the flattened event.
        untouched: an elementwise map of the part that drives, with parameters free or from the context.

    Raises:
        OptionError, OptionTypeError, DomainError: if the parts do not fit.
        ShapeError: when bound to an event that the mask or split does not fit.

    Example:
        >>> from flowtorch.bijectors import Coupling, Spline
        >>> bound = Coupling(Spline(), split=1).bind((3,))
        >>> bound.forward(torch.tensor([0.5, 1.0, 2.0]))[0]
        tensor(0.5000, grad_fn=<SelectBackward0>)

    References:
        Density estimation using Real NVP (Dinh et al., 2017), https://arxiv.org/abs/1605.08803, eq. 4-8.
        Neural Spline Flows (Durkan et al., 2019), https://arxiv.org/abs/1906.04032, sec. 3.2 for the map of the other
        part.
    """

    elementwise: Elementwise
    params_fn: Parameters | None = None

    def _elementwise(self) -> Elementwise:
        return self.elementwise


class BoundCoupling(BoundBijector[CouplingFamily]):
    """The bound form of the family."""

    def __init__(self, plan: CouplingFamily, shape: torch.Size, context_shape: torch.Size | None, axis: Axis) -> None:
        super().__init__(plan, shape, context_shape)
        self.axis = axis
        mask = plan.is_untouched(axis)
        kept, driven = [i for i, m in enumerate(mask) if m], [i for i, m in enumerate(mask) if not m]
        if not kept or not driven:
            raise ShapeError(
                f"{type(plan).__name__}: a mask that leaves some coordinates untouched and drives others is "
                "expected; got "
                f"{len(kept)} untouched of {axis.size}."
            )
        self.kept, self.driven = _Select(kept, axis.ndim), _Select(driven, axis.ndim)
        merged = kept + driven
        self.merge = _Select(sorted(range(axis.size), key=merged.__getitem__), axis.ndim)
        elementwise, params_fn = plan._elementwise(), plan.params_fn or DenseNN()
        kept_shape = torch.Size((len(kept), *axis.block))
        driven_shape = torch.Size((len(driven), *axis.block))
        self.map = BoundMap(elementwise, driven_shape, shape, lambda x: self.driven(axis.split(x)))
        shapes = [(*driven_shape, *trailing) for trailing in elementwise.param_shapes]
        self.params = params_fn.bind(shapes, kept_shape, context_shape, coordinate_dims=len(driven_shape))
        self.untouched = None if plan.untouched is None else plan.untouched.bind(kept_shape, context_shape)
        self._conditioner = params_fn.describe()

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        x = self.axis.split(x)
        x_a = self.kept(x)
        y_b, log_derivative = self.map(self.driven(x), self.params(x_a, context), False)
        log_det = sum_event(log_derivative, self.axis.ndim)
        y_a = x_a
        if self.untouched is not None:
            y_a, of_untouched = self.untouched._forward_and_log_det(x_a, context)
            log_det = log_det + of_untouched
        return self._merge(y_a, y_b), log_det

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        y = self.axis.split(y)
        x_a = self.kept(y)
        of_untouched: torch.Tensor | None = None
        if self.untouched is not None:
            x_a, of_untouched = self.untouched._inverse_and_log_det(x_a, context)
        x_b, log_derivative = self.map(self.driven(y), self.params(x_a, context), True)
        log_det = sum_event(log_derivative, self.axis.ndim)
        return self._merge(x_a, x_b), log_det if of_untouched is None else log_det + of_untouched

    def _merge(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.axis.join(self.merge(torch.cat([a, b], -self.axis.ndim)))

    @property
    def sign(self) -> int:
        """+1 for increasing maps: the Jacobian is triangular."""
        plans = [self.map.plan] + ([self.plan.untouched] if self.plan.untouched is not None else [])
        if all(p.increasing for p in plans):
            return 1
        return super().sign

    def conditioner(self) -> str:
        """Returns a few words on where the parameters come from."""
        return self._conditioner


class _Select(torch.nn.Module):
    """Picks fixed indices along an axis: a view where they are contiguous, a copy where not."""

    index: torch.Tensor

    def __init__(self, indices: Sequence[int], ndim: int) -> None:
        super().__init__()
        self.dim = -ndim
        self.start, self.length = indices[0], len(indices)
        self.contiguous = list(indices) == list(range(self.start, self.start + self.length))
        self.register_buffer("index", torch.tensor(indices), persistent=False)  # follows from the plan

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.contiguous:
            return x.narrow(self.dim, self.start, self.length)
        return x.index_select(self.dim, self.index)


def _as_mask(who: str, mask: object) -> Mask:
    if isinstance(mask, str):
        options.one_of(who, "mask", mask, _PATTERNS)
        return mask  # type: ignore[return-value]  # one of the patterns
    if isinstance(mask, torch.Tensor) or hasattr(mask, "tolist"):
        mask = mask.tolist()
    found = _as_tuple(mask)
    if not isinstance(found, tuple) or not all(isinstance(m, bool) for m in _flatten(found)):
        raise OptionTypeError(
            f"{who}: mask is expected to be 'half', 'alternate' or booleans; got {options.short(mask)}."
        )
    if not _is_rectangular(found):
        raise OptionError(f"{who}: mask is expected to be rectangular; got {options.short(mask)}.")
    return found


def _as_tuple(value: object) -> NestedBool:
    if isinstance(value, list | tuple):
        return tuple(_as_tuple(v) for v in value)
    return value  # type: ignore[return-value]  # what is no boolean is refused later


def _is_rectangular(mask: NestedBool) -> bool:
    if not isinstance(mask, tuple):
        return True
    return all(_is_rectangular(part) and _shape(part) == _shape(mask[0]) for part in mask)


def _shape(mask: NestedBool) -> tuple[int, ...]:
    return (len(mask), *_shape(mask[0])) if isinstance(mask, tuple) and mask else ()


def _flatten(mask: NestedBool) -> list[bool]:
    return [m for part in mask for m in _flatten(part)] if isinstance(mask, tuple) else [mask]
