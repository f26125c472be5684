"""The box that a spline acts on, and what it does outside."""

from __future__ import annotations

import abc
from typing import Any, Literal, TypeAlias, TypeGuard

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from .. import options
from ..errors import OptionError
from ..types import Nested, TensorPair, as_nested
from .elementwise import Elementwise

Tails: TypeAlias = Literal["linear"] | None


class Boxed(Elementwise):
    """An elementwise plan that acts on a box; an author writes :meth:`_spline`, which acts on ``[-bound, bound]``."""

    bound: Nested
    tails: Tails

    @property
    def domain(self) -> Constraint:
        """The line, or the box if there are no tails."""
        if self.tails is not None:
            return constraints.real
        low, high = sides(self.bound)
        if isinstance(low, float):
            return constraints.interval(low, high)
        # On the CPU even where a plan is checked on the meta device: domains are compared by value.
        return constraints.interval(*(torch.tensor(s, dtype=torch.float64, device="cpu") for s in (low, high)))

    @property
    def codomain(self) -> Constraint:
        """As the domain."""
        return self.domain

    @property
    def constants(self) -> tuple[Nested, ...]:
        """The two sides of each coordinate's box, where they differ from one to the next."""
        low, high = sides(self.bound)
        return (low, high) if isinstance(low, tuple) else ()

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        low, high = sides(self.bound)
        if isinstance(low, float) and low == -high:
            y, log_derivative = self._spline(x, params, high, inverse)
            return (within(y, low, high) if self.tails is None else y), log_derivative
        if isinstance(low, tuple):
            low, high = params[-2:]
            params = params[:-2]
        # float16 and bfloat16 would lose more here than in the spline.
        wide = x.float() if torch.finfo(x.dtype).bits < 32 else x
        middle, half = 0.5 * (low + high), 0.5 * (high - low)
        outside = (wide <= low) | (wide >= high)  # False for NaN, which goes through
        u = (wide - middle) / half
        if self.tails is None:
            # Where rounding moves a point to an end, the spline would take it for one outside.
            u = within(u.masked_fill(outside, 0.0), -1.0, 1.0)
        v, log_derivative = self._spline(u, params, 1.0, inverse)
        y = middle + half * v
        if self.tails is None:
            y, log_derivative = within(y, low, high), log_derivative.masked_fill(outside, -torch.inf)
        else:
            y, log_derivative = torch.where(outside, wide, y), log_derivative.masked_fill(outside, 0.0)
        dtype = torch.promote_types(x.dtype, params[0].dtype)
        return y.to(dtype), log_derivative.to(dtype)

    @abc.abstractmethod
    def _spline(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], bound: float, inverse: bool) -> TensorPair:
        """Moves each coordinate on ``[-bound, bound]``, the identity outside."""

    @property
    def _where(self) -> str:
        """The box in words, for :meth:`describe`."""
        low, high = sides(self.bound)
        box = f"[{low:g}, {high:g}]" if isinstance(low, float) else "a box of its own for each coordinate"
        return f"on {box}" if self.tails is None else f"on {box}, the identity outside"


def check_options(plan: Any) -> None:
    """Checks the options that splines share, whichever of them the plan has, and stores the bound as tuples."""
    who = type(plan).__name__
    options.integer(who, "count_bins", plan.count_bins, minimum=1)
    if hasattr(plan, "bound"):
        object.__setattr__(plan, "bound", _as_bound(who, plan.bound))
        options.one_of(who, "tails", plan.tails, ("linear", None))
    for name in ("min_bin_width", "min_bin_height"):
        value = getattr(plan, name, None)
        if value is not None:
            options.number(who, name, value, above=0.0, below=1.0)
            if plan.count_bins >= 1.0 / value:  # the product overflows for an integer that no float holds
                raise OptionError(
                    f"{who}: {name} times count_bins is expected to be below 1; got {value} x {plan.count_bins}."
                )
    if hasattr(plan, "min_derivative"):
        options.number(who, "min_derivative", plan.min_derivative, above=0.0, below=1.0)


def sides(bound: Nested) -> tuple[Any, Any]:
    """Returns the lower and the upper sides of the box: two floats, or two nested tuples of the event's shape."""
    if not isinstance(bound, tuple):
        return -float(bound), float(bound)
    if _is_pair(bound):
        return float(bound[0]), float(bound[1])
    parts = [sides(part) for part in bound]
    return tuple(low for low, _ in parts), tuple(high for _, high in parts)


def _is_pair(bound: tuple[Nested, ...]) -> TypeGuard[tuple[float, float]]:
    return len(bound) == 2 and not any(isinstance(part, tuple) for part in bound)


def _as_bound(who: str, value: object) -> Nested:
    """Returns numbers and tuples in place of whatever sequences were given, checked."""
    bound: Nested = _as_tuples(value.tolist() if hasattr(value, "tolist") else value)
    _check_sides(who, bound)
    as_nested(sides(bound)[0], f"{who}: bound")  # refuses what is not rectangular
    return bound


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value


def _check_sides(who: str, bound: Nested) -> None:
    if not isinstance(bound, tuple):
        options.number(who, "bound", bound, above=0.0)
    elif _is_pair(bound):
        for side in bound:
            options.number(who, "each side of bound", side)
        if not bound[0] < bound[1]:
            raise OptionError(f"{who}: a bound (low, high) with low < high is expected; got {bound}.")
    else:
        for part in bound:
            _check_sides(who, part)


def within(y: torch.Tensor, low: Any, high: Any) -> torch.Tensor:
    """Returns ``y`` strictly between the two, all numbers or all tensors: the ends are no part of the box."""
    margin = torch.finfo(y.dtype).eps * (abs(low) + abs(high))
    return torch.clamp(y, low + margin, high - margin)
