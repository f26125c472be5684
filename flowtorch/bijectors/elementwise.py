"""Elementwise plans, and the family in which their parameters come from nothing or from the context."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import ClassVar, cast

import torch
from typing_extensions import Self

from .. import domains, options
from ..errors import OptionError, ShapeError
from ..parameters import AutoregressiveParameters, BoundParameters, DenseNN, Parameters, Tensor
from ..types import Nested, TensorPair, flatten, nested_shape
from .base import Bijector
from .bound import BoundBijector


class Elementwise(Bijector):
    """A plan of how one coordinate moves, given its parameters; it does not say where those come from.

    Used alone, the parameters are free or come from the context (``params_fn``); inside ``Autoregressive`` and
    ``Coupling`` they come from other coordinates. An author writes :attr:`param_shapes` and :meth:`apply`, and
    overrides ``domain``, ``codomain`` and ``increasing`` where the defaults do not hold.
    """

    params_fn: Parameters | None
    increasing: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks the options that all share."""
        if self.params_fn is not None:
            who = type(self).__name__
            options.instance(who, "params_fn", self.params_fn, Parameters)
            if isinstance(self.params_fn, AutoregressiveParameters):
                raise OptionError(
                    f"{who}: a conditioner such as Tensor() or DenseNN() is expected as params_fn; got "
                    f"{self.params_fn!r}. "
                    f"For parameters from other coordinates use Autoregressive({who}(), params_fn)."
                )

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The trailing shape of each parameter of a coordinate: ``((), ())`` for a location and a scale."""
        return ()

    @property
    def constants(self) -> tuple[Nested, ...]:
        """Numbers given for each coordinate, in the layout of the event; :meth:`apply` gets them after the params."""
        return ()

    @abc.abstractmethod
    def apply(
        self,
        x: torch.Tensor,
        params: tuple[torch.Tensor, ...],
        shared: torch.nn.Module | None,
        *,
        inverse: bool,
    ) -> TensorPair:
        """Moves each coordinate.

        Args:
            x: ``(*batch, *coordinates)``.
            params: the parameters, each ``(*batch, *coordinates, *trailing)``, and the constants, each
                ``(*coordinates)``; batches broadcast.
            shared: what :meth:`bind_map` returned.
            inverse: whether to go back.

        Returns:
            The image and the logarithm of the derivative of the direction taken, both of the shape of ``x``.
        """

    def bind_map(self, shape: torch.Size) -> torch.nn.Module | None:
        """Returns a module with weights that all coordinates share, if the map has any."""
        return None

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundElementwise:
        return BoundElementwise(self, shape, context_shape, self, self.params_fn)

    def explain(self) -> str:
        """Returns what this plan does and where its parameters come from, in words."""
        if not self.param_shapes:
            return super().explain() + "\n  It has no parameters."
        count = sum(torch.Size(s).numel() for s in self.param_shapes)
        source = (
            "free when bound without a context, else from a DenseNN of the context"
            if self.params_fn is None
            else f"from {self.params_fn.describe()}"
            if not isinstance(self.params_fn, Tensor)
            else "free"
        )
        return super().explain() + f"\n  {count} parameters per coordinate, {source}."


class Fixed(Elementwise):
    """An elementwise plan without parameters."""

    params_fn: ClassVar[None] = None  # type: ignore[misc]  # never a field here


class BoundMap(torch.nn.Module):
    """An elementwise plan at work: guarded against values outside its domain, given its parameters by a family.

    Outside, the map is applied to a point inside instead and the log-derivative is ``-inf``: selecting before as well
    as after keeps gradients finite, which an infinite value would turn into NaN.
    """

    numbers: torch.Tensor
    place: torch.Tensor

    def __init__(
        self,
        plan: Elementwise,
        shape: torch.Size,
        event: torch.Size | None = None,
        arrange: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        """Binds the plan to coordinates of this shape, which ``arrange`` makes of what has the event's."""
        super().__init__()
        self.plan = plan
        self.shared = plan.bind_map(shape)
        self._guards = (_guard(plan.domain), _guard(plan.codomain))
        if plan.constants:
            event = shape if event is None else event
            for given in map(nested_shape, plan.constants):
                if given != tuple(event):
                    raise ShapeError(
                        f"{type(plan).__name__}: numbers for each coordinate of an event {tuple(event)} are expected; "
                        f"got numbers of shape {given}."
                    )
            place = torch.arange(event.numel()).reshape(event)
            self.register_buffer("place", place if arrange is None else arrange(place), persistent=False)
            self.register_buffer("numbers", torch.empty(0), persistent=False)
            self._remake()

    def _remake(self) -> None:
        """Makes the constants anew from the plan, exact in any dtype."""
        old = self.numbers
        flat = torch.tensor([flatten(c) for c in self.plan.constants], dtype=old.dtype, device=old.device)
        self.numbers = flat[:, self.place]

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's own
        if self.plan.constants:
            self._remake()
        return self

    def forward(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], inverse: bool, part: torch.Tensor | None = None
    ) -> TensorPair:
        """Moves each coordinate, or those of ``part`` along the first axis, see :meth:`Elementwise.apply`."""
        if self.plan.constants:
            params = (*params, *(self.numbers if part is None else self.numbers.index_select(1, part)).unbind(0))
        if x.is_meta or not torch.is_autocast_enabled(x.device.type):
            return self._guarded(x, params, inverse)
        with torch.autocast(x.device.type, enabled=False):
            return self._guarded(x, widened(params, x), inverse)

    def _guarded(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], inverse: bool) -> TensorPair:
        guard = self._guards[inverse]
        if guard is None:
            return self.plan.apply(x, params, self.shared, inverse=inverse)
        lower, upper, inside = guard
        outside = (x <= lower) | (x >= upper)  # False for NaN, which goes through
        y, log_derivative = self.plan.apply(torch.where(outside, inside, x), params, self.shared, inverse=inverse)
        return y, torch.where(outside, -torch.inf, log_derivative)


def widened(params: tuple[torch.Tensor, ...], x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Returns floating-point parameters in a precision no lower than that of ``x``.

    Autocast is for the networks: three digits of a log-derivative are too few, and so they are of an inverse.
    """
    return tuple(p.to(torch.promote_types(p.dtype, x.dtype)) if p.is_floating_point() else p for p in params)


def _guard(constraint: torch.distributions.constraints.Constraint) -> tuple[float, float, float] | None:
    box = domains.region(constraint)
    if not isinstance(box, domains.Box) or box.is_real:
        return None
    if len(box.lower) > 1 or len(box.upper) > 1:
        return None  # one for each coordinate: up to the plan, which has them as constants
    return box.lower[0], box.upper[0], domains.middle(box)[0]


class BoundElementwise(BoundBijector[Bijector]):
    """The bound form of an elementwise plan, and of a family that has only one coordinate to act on."""

    def __init__(
        self,
        plan: Bijector,
        shape: torch.Size,
        context_shape: torch.Size | None,
        elementwise: Elementwise,
        params_fn: Parameters | None,
    ) -> None:
        super().__init__(plan, shape, context_shape)
        self.map = BoundMap(elementwise, shape)
        self.params: BoundParameters | None = None
        self._conditioner = "-"
        if elementwise.param_shapes:
            source = default_source(params_fn, context_shape)
            shapes = [(*shape, *trailing) for trailing in elementwise.param_shapes]
            self.params = source.bind(shapes, None, context_shape, coordinate_dims=len(shape))
            self._conditioner = source.describe()

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._move(x, context, inverse=False)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._move(y, context, inverse=True)

    def _move(self, x: torch.Tensor, context: torch.Tensor | None, inverse: bool) -> TensorPair:
        params = () if self.params is None else self.params(None, context)
        y, log_derivative = self.map(x, params, inverse)
        return y, sum_event(log_derivative, len(self.shape))

    @property
    def sign(self) -> int:
        """+1 for increasing maps; for decreasing ones it depends on how many coordinates there are."""
        return 1 if self.map.plan.increasing or self.shape.numel() % 2 == 0 else -1

    def conditioner(self) -> str:
        """Returns a few words on where the parameters come from."""
        return self._conditioner


def default_source(params_fn: Parameters | None, context_shape: torch.Size | None) -> Parameters:
    """Returns where parameters come from; unless it is said, from a network of the context where there is one."""
    return params_fn or (Tensor() if context_shape is None else DenseNN())


def sum_event(x: torch.Tensor, dims: int) -> torch.Tensor:
    """Returns ``x`` summed over its last ``dims`` dimensions."""
    return x if dims == 0 else x.flatten(-dims).sum(-1) if dims > 1 else x.sum(-1)


def bare(who: str, value: object) -> Elementwise:
    """Returns an elementwise plan that a family can drive, or refuses it."""
    options.instance(who, "elementwise", value, Elementwise)
    plan = cast(Elementwise, value)
    if plan.params_fn is not None:
        raise OptionError(
            f"{who}: an elementwise plan without a params_fn of its own is expected, as the family says where "
            "parameters "
            f"come from; got {plan!r}. Give the params_fn to {who}."
        )
    if not plan.param_shapes:
        raise OptionError(
            f"{who}: an elementwise plan with parameters is expected; got {type(plan).__name__}, which has none to "
            "drive."
        )
    return plan
