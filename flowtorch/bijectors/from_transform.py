"""Any transform of torch.distributions as a plan."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast, final

import torch
from torch.distributions import Distribution, constraints
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import Transform, _InverseTransform

from .. import domains, options
from ..errors import AlreadyBoundError, NotSupportedError, OptionError, ShapeError
from ..specification import register
from ..summary import Row
from ..types import TensorPair
from .base import Bijector
from .bound import BoundBijector
from .elementwise import sum_event
from .fixed_linear import Exact
from .view import TransformView

T = TypeVar("T")


@register
@final
@dataclass(frozen=True, eq=False)
class FromTransform(Bijector):
    r"""A transform of ``torch.distributions`` (or one of the user's, or another library's) as a plan.

    .. math:: y = t(x), \qquad \log|\det dy/dx| = \sum \log|\det dt(x)|

    Shapes, domain and codomain are the transform's; its log-determinants are summed over the event. The plan keeps a
    copy of the transform, and each binding makes another: its tensors become buffers, which follow ``.to()`` and are in
    the ``state_dict``, those that require gradients parameters, modules children. It is applied without its cache. What
    the transform has not got, an inverse perhaps, is refused only when it is asked for.

    It is the one plan without a JSON form: ``to_dict`` and ``flow.save`` refuse it, while pickling works if it does
    for the transform. Two are equal if their transforms are of one class and hold equal numbers.

    Args:
        transform: the transform; it must be bijective.

    Raises:
        OptionTypeError, AlreadyBoundError: for what is no transform, or a bound bijector.
        OptionError: for a transform that is not bijective, or tensors computed from others that require gradients.
        ShapeError: when bound to an event that the transform does not take.
        NotSupportedError: when a direction or log-determinant is asked for that the transform has not got.

    Example:
        >>> from torch.distributions.transforms import AffineTransform, ComposeTransform, ExpTransform
        >>> t = ComposeTransform([AffineTransform(torch.tensor([0.0, 1.0]), 2.0), ExpTransform()])
        >>> bound = FromTransform(t).bind((2,))
        >>> bound.forward(torch.zeros(2)).log(), list(bound.state_dict())
        (tensor([0., 1.]), ['held.parts.0.loc'])
    """

    transform: Transform

    def __post_init__(self) -> None:
        given = self.transform
        if isinstance(given, BoundBijector | TransformView):
            raise AlreadyBoundError(
                f"FromTransform: a transform of torch or of another library is expected; got {options.short(given)}. "
                "Of a bound bijector, take its .plan as it is."
            )
        options.instance("FromTransform", "transform", given, Transform)
        if not given.bijective:
            raise OptionError(
                f"FromTransform: a bijective transform is expected; got {self._name}. For constrained sets see "
                "ConstrainTo."
            )
        object.__setattr__(self, "transform", copied(given, {}))

    @property
    def _name(self) -> str:
        return type(self.transform).__name__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FromTransform) and _same(self.transform, other.transform)

    def __hash__(self) -> int:
        return hash((FromTransform, type(self.transform)))

    @property
    def min_event_dim(self) -> int:  # type: ignore[override]  # the transform's
        """The transform's."""
        return self.domain.event_dim

    @property
    def domain(self) -> Constraint:
        """The transform's."""
        return self.transform.domain

    @property
    def codomain(self) -> Constraint:
        """The transform's."""
        return self.transform.codomain

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape after the transform."""
        return self._reshaped(shape, self.transform.forward_shape, self.transform.inverse_shape)

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the event shape before the transform."""
        return self._reshaped(shape, self.transform.inverse_shape, self.transform.forward_shape)

    def _reshaped(self, shape: torch.Size, there: Callable[..., Any], back: Callable[..., Any]) -> torch.Size:
        try:
            found = torch.Size(there(shape))
            if torch.Size(back(found)) == shape:
                return found
            why = f"which would be broadcast to {tuple(found)}"
        except (ValueError, RuntimeError) as error:
            why = f"of which it says {str(error)!r}"
        raise ShapeError(f"FromTransform: an event that {self._name} takes is expected; got {tuple(shape)}, {why}.")

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundFromTransform:
        return BoundFromTransform(self, shape, context_shape)

    def describe(self) -> str:
        """Returns a few words on the transform."""
        return f"y = t(x), t a {type(self.transform).__module__}.{self._name}."


class BoundFromTransform(BoundBijector[FromTransform]):
    """The bound form of :class:`FromTransform`."""

    def __init__(self, plan: FromTransform, shape: torch.Size, context_shape: torch.Size | None) -> None:
        super().__init__(plan, shape, context_shape)
        self.held = hold(plan.transform, {})
        self._bounded = not (constraints.is_dependent(plan.codomain) or domains.is_real(plan.codomain))
        # A point to put in the place of those outside the codomain.
        box = domains.box_of(self.domain, shape) if self._bounded else None
        inner = () if box is None else (torch.tensor(domains.middle(box), dtype=torch.float64, device="cpu"),)
        self.inner = Exact(tuple(point.view(shape) for point in inner))

    def _transform(self) -> Transform:
        return cast(Transform, self.held() if isinstance(self.held, Held) else self.held)

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        transform = self._transform()
        y = self._asked("forward", lambda: transform(x))
        return y, self._log_det(transform, x, y, x.shape[: x.dim() - len(self.shape)])

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        transform = self._transform()
        batch = y.shape[: y.dim() - len(self.out_shape)]
        if not self._bounded:
            x = self._asked("inverse", lambda: transform.inv(y))
            return x, -self._log_det(transform, x, y, batch)
        nan = _any(y.isnan(), len(batch))  # which goes through
        outside = _any(~transform.codomain.check(y), len(batch)) & ~nan
        for point in self.inner():
            image = transform(point.to(y.dtype))
            y = torch.where(outside.reshape((*outside.shape, *(1,) * image.dim())), image, y)
        x = self._asked("inverse", lambda: transform.inv(y))
        return x, torch.where(outside, -torch.inf, -self._log_det(transform, x, y, batch))

    def _log_det(self, transform: Transform, x: torch.Tensor, y: torch.Tensor, batch: torch.Size) -> torch.Tensor:
        if 0 in batch:  # torch reshapes to (0, -1), which could be anything
            return x.new_zeros(batch)
        log_det = self._asked("log_abs_det_jacobian", lambda: transform.log_abs_det_jacobian(x, y))
        # Some are of fewer dimensions, where they depend on nothing; and of more than the domain says, in a stack.
        full = (*batch, *self.shape)
        dims = max(log_det.dim(), len(full) - self.plan.min_event_dim)
        return sum_event(log_det.expand(full[:dims]), dims - len(batch))

    def _asked(self, what: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except NotImplementedError:
            raise NotSupportedError(
                f"FromTransform: a transform with {what} is expected here; got {self.plan._name}, which has none."
            ) from None

    def rows(self) -> list[Row]:
        """Returns the line of the transform."""
        return [replace(row, layer=f"FromTransform({self.plan._name})") for row in super().rows()]


class Inverse(Transform):
    """The inverse of a transform; torch's own loses what it inverts when it is copied or pickled."""

    bijective = True

    def __init__(self, base: Transform) -> None:
        super().__init__()
        self.base = base

    @property
    def domain(self) -> Constraint:  # type: ignore[override]  # torch has a class attribute
        """What the base gives."""
        return self.base.codomain

    @property
    def codomain(self) -> Constraint:  # type: ignore[override]  # torch has a class attribute
        """What the base takes."""
        return self.base.domain

    @property
    def sign(self) -> int:
        """The base's."""
        return self.base.sign

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.base.inv(x))

    def _inverse(self, y: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.base(y))

    def log_abs_det_jacobian(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Returns minus the base's."""
        return cast(torch.Tensor, -self.base.log_abs_det_jacobian(y, x))

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the shape before the base."""
        return cast(torch.Size, self.base.inverse_shape(shape))

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Returns the shape after the base."""
        return cast(torch.Size, self.base.forward_shape(shape))


class Held(torch.nn.Module):
    """An object of ``torch.distributions``, made anew at each call from tensors held as buffers and parameters.

    Args:
        thing: a transform, or a distribution within one; or a list of them.
        known: what holds the objects that were met before.
    """

    def __init__(self, thing: object, known: dict[int, torch.nn.Module]) -> None:
        super().__init__()
        self._cls = type(thing)
        self._plain: dict[str, Any] = {}
        self._names: tuple[str, ...] = ()
        for name, value in _attributes(thing).items():
            if isinstance(value, torch.Tensor):
                self._hold_tensor(name, value)
            elif _is_made_anew(value) or isinstance(value, torch.nn.Module):
                self.add_module(name, hold(value, known))
            else:
                self._plain[name] = value
                continue
            self._names = (*self._names, name)

    def _hold_tensor(self, name: str, value: torch.Tensor) -> None:
        own = value.detach().contiguous().clone()  # expanded ones share memory between entries
        if value.requires_grad:
            self.register_parameter(name, torch.nn.Parameter(own))
        else:
            self.register_buffer(name, own)

    def forward(self) -> object:
        """Returns the object."""
        values = dict(self._plain)
        for name in self._names:
            value = getattr(self, name)
            values[name] = value() if isinstance(value, Held) else value
        if issubclass(self._cls, list | tuple):
            return [values[str(i)] for i in range(len(values))]
        made = object.__new__(self._cls)
        made.__dict__.update(values)
        return made


def hold(thing: Any, known: dict[int, torch.nn.Module]) -> torch.nn.Module:
    """Returns what holds an object: a copy of it, if it is a module."""
    if id(thing) not in known:
        known[id(thing)] = copy.deepcopy(thing) if isinstance(thing, torch.nn.Module) else Held(thing, known)
    return known[id(thing)]


def _is_made_anew(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(_is_made_anew(v) or isinstance(v, torch.Tensor | torch.nn.Module) for v in value)
    return isinstance(value, Transform | Distribution)


def _attributes(thing: object) -> dict[str, Any]:
    """Returns what makes up a transform, distribution or list; without a cache, or a reference to its inverse."""
    if isinstance(thing, list | tuple):
        return {str(i): value for i, value in enumerate(thing)}
    without: dict[str, Any] = {}
    if isinstance(thing, Transform):
        without = {"_inv": None, "_cache_size": 0, "_cached_x_y": (None, None)}
    if isinstance(thing, Distribution):
        without = {"_validate_args": False}
    return {**vars(thing), **without}


def copied(thing: T, known: dict[int, Any]) -> T:
    """Returns a transform made anew, with inverses that can be copied in turn."""
    if id(thing) not in known:
        known[id(thing)] = _copied(thing, known)
    return cast(T, known[id(thing)])


def _copied(thing: Any, known: dict[int, Any]) -> Any:
    if isinstance(thing, torch.Tensor | torch.nn.Module):
        try:
            return copy.deepcopy(thing)
        except RuntimeError as error:
            raise OptionError(
                "FromTransform: tensors that are leaves are expected; got a transform with some that are computed from "
                "others that require gradients."
            ) from error
    if not _is_made_anew(thing):
        return thing
    if isinstance(thing, _InverseTransform):
        return Inverse(copied(cast(Transform, thing._inv), known))
    values = {name: copied(value, known) for name, value in _attributes(thing).items()}
    if isinstance(thing, list | tuple):
        return list(values.values())
    made = object.__new__(type(thing))
    made.__dict__.update(values)
    return made


def _any(mask: torch.Tensor, batch: int) -> torch.Tensor:
    return mask.flatten(batch).any(-1) if mask.dim() > batch else mask


def _same(a: object, b: object) -> bool:
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        other = cast(torch.Tensor, b)
        return a.dtype == other.dtype and a.requires_grad == other.requires_grad and torch.equal(a, other)
    if isinstance(a, Transform | Distribution | Constraint | torch.nn.Module | list | tuple):
        mine, others = _attributes(a), _attributes(b)
    elif isinstance(a, dict):
        mine, others = a, cast("dict[str, Any]", b)
    else:
        return bool(a == b)
    return mine.keys() == others.keys() and all(_same(v, others[k]) for k, v in mine.items())
