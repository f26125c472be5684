"""Affine maps with numbers that are given, or taken from data."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from typing_extensions import Self

from .. import options
from ..errors import DomainError, OptionError, ShapeError
from ..specification import register
from ..types import Nested, NestedLike, TensorPair, as_nested, flatten, nested_shape, numel
from .base import Bijector
from .bound import BoundBijector


class FixedAffinePlan(Bijector):
    """What :class:`AffineFixed` and :class:`Standardize` share."""

    loc: NestedLike
    scale: NestedLike

    def __post_init__(self) -> None:
        """Stores numbers as tuples and checks them."""
        who = type(self).__name__
        loc, scale = as_nested(self.loc, who), as_nested(self.scale, who)
        object.__setattr__(self, "loc", loc)
        object.__setattr__(self, "scale", scale)
        if not all(math.isfinite(v) for v in (*flatten(loc), *flatten(scale))):
            raise OptionError(f"{who}: loc and scale are expected to be finite; got loc={loc}, scale={scale}.")
        if 0.0 in flatten(scale):
            raise OptionError(f"{who}: scale is expected not to be 0; got 0 at position {flatten(scale).index(0.0)}.")
        try:
            torch.broadcast_shapes(nested_shape(loc), nested_shape(scale))
        except RuntimeError:
            raise OptionError(
                f"{who}: loc and scale of shapes that broadcast are expected; got {nested_shape(loc)} and "
                f"{nested_shape(scale)}."
            ) from None

    @property
    def numbers(self) -> tuple[Nested, Nested]:
        """Location and scale as they are stored."""
        return as_nested(self.loc, ""), as_nested(self.scale, "")

    @property
    def min_event_dim(self) -> int:  # type: ignore[override]  # follows from the numbers
        """How many dimensions the numbers have."""
        return max(len(nested_shape(n)) for n in self.numbers)

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundAffineFixed:
        return BoundAffineFixed(self, shape, context_shape)

    @abc.abstractmethod
    def describe(self) -> str:
        """Returns the formula in one line."""


@register
@final
@dataclass(frozen=True)
class AffineFixed(FixedAffinePlan):
    r"""The affine map :math:`y = \mu + \sigma x` with given numbers.

    .. math:: y = \mu + \sigma x, \qquad \log|\det dy/dx| = \sum_i \log|\sigma_i|

    Args:
        loc: :math:`\mu`, a number or (nested) sequence in the layout of the event's last dimensions.
        scale: :math:`\sigma \ne 0`, likewise; it may be negative.

    Raises:
        OptionError, OptionTypeError: for a zero scale, or numbers that are not finite or do not fit together.
        ShapeError: when bound to an event that they do not fit.

    Example:
        >>> AffineFixed(loc=1.0, scale=(2.0, -3.0)).bind((2,)).forward(torch.ones(2)).tolist()
        [3.0, -2.0]
    """

    loc: NestedLike = 0.0
    scale: NestedLike = 1.0

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = loc + scale x, with given numbers."


@register
@final
@dataclass(frozen=True)
class Standardize(FixedAffinePlan):
    r"""Restores the units of data: forward maps standardised values to data, the inverse standardises.

    .. math:: y = \mu + \sigma x, \qquad \log|\det dy/dx| = \sum_i \log \sigma_i

    It is a part of the flow like any other and stands last, so that densities are in the units of the data.

    Args:
        loc: :math:`\mu`, in the layout of the event's last dimensions.
        scale: :math:`\sigma > 0`, likewise.

    Raises:
        OptionError, OptionTypeError: for a scale that is not positive, or numbers that are not finite.
        ShapeError: when bound to an event that they do not fit.

    Example:
        >>> plan = Standardize.from_data(torch.tensor([[0.0, 10.0], [2.0, 30.0]]))
        >>> plan.bind((2,)).inverse(torch.tensor([2.0, 10.0])).tolist()
        [1.0, -1.0]
    """

    loc: NestedLike
    scale: NestedLike

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(flatten(self.numbers[1])) < 0:
            raise OptionError(f"Standardize: scale is expected to be positive; got {min(flatten(self.numbers[1])):g}.")

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = loc + scale x, which restores the units of data."

    @classmethod
    def from_data(
        cls,
        data: torch.Tensor,
        *,
        method: Literal["moments", "quantiles"] = "moments",
        names: Sequence[str] | None = None,
    ) -> Self:
        """Takes location and scale from rows of data.

        Args:
            data: ``(rows, *event)``.
            method: ``"moments"`` for mean and standard deviation, ``"quantiles"`` for the median and the distance
                between the quartiles divided by 1.349 (its value for a standard normal), which outliers do not move.
            names: what to call the columns in a message.

        Raises:
            ShapeError: if there are no rows.
            DomainError: if a value is not finite, or a column has no spread; it names the columns.
        """
        options.one_of("Standardize", "method", method, ("moments", "quantiles"))
        if not isinstance(data, torch.Tensor) or data.dim() == 0 or data.shape[0] == 0:
            raise ShapeError(f"Standardize: data of shape (rows, *event) is expected; got {options.short(data)}.")
        columns = data[0].numel()
        if names is not None and len(names) != columns:
            raise ShapeError(f"Standardize: names for {columns} columns are expected; got {len(names)}.")
        data = data.detach().to(torch.float64)
        _refuse_columns(~torch.isfinite(data).all(0), "finite values", "values that are not", names)
        if method == "moments":
            loc, scale = data.mean(0), data.std(0, correction=0)
            # The rounding of a mean leaves a constant column a spread of its own.
            flat = data.amax(0) == data.amin(0)
        else:
            ordered = data.sort(0).values
            low, loc, high = (_quantile(ordered, q) for q in (0.25, 0.5, 0.75))
            scale = (high - low) / 1.3489795003921634
            flat = scale == 0
        _refuse_columns(flat, "columns with spread", "zero spread", names)
        return cls(loc, scale)


def _quantile(ordered: torch.Tensor, q: float) -> torch.Tensor:
    # torch.quantile refuses more than 16 million entries.
    position = q * (ordered.shape[0] - 1)
    below = math.floor(position)
    above = min(below + 1, ordered.shape[0] - 1)
    return ordered[below].lerp(ordered[above], position - below)


def _refuse_columns(bad: torch.Tensor, expected: str, got: str, names: Sequence[str] | None) -> None:
    where = [i for i, b in enumerate(bad.reshape(-1).tolist()) if b]
    if where:
        called = [f"column {i}" if names is None else f"column {names[i]!r}" for i in where[:5]]
        more = f" and {len(where) - 5} more" if len(where) > 5 else ""
        raise DomainError(f"Standardize: {expected} are expected; got {got} in {', '.join(called)}{more}.")


class BoundAffineFixed(BoundBijector[FixedAffinePlan]):
    """The bound form of both; its numbers are remade from the plan when the dtype changes, and so stay exact."""

    loc: torch.Tensor
    scale: torch.Tensor

    def __init__(self, plan: FixedAffinePlan, shape: torch.Size, context_shape: torch.Size | None) -> None:
        super().__init__(plan, shape, context_shape)
        for name, value in zip(("loc", "scale"), plan.numbers, strict=True):
            given = nested_shape(value)
            if given != tuple(shape[len(shape) - len(given) :]):
                raise ShapeError(
                    f"{type(plan).__name__}: an event that ends in the shape of {name}, {given}, is expected; got "
                    "event "
                    f"shape {tuple(shape)}."
                )
            self.register_buffer(name, torch.tensor(value), persistent=False)
        whole = numel(shape) // max(numel(nested_shape(plan.numbers[1])), 1)
        scales = flatten(plan.numbers[1])
        self._log_det = whole * math.fsum(math.log(abs(s)) for s in scales)
        self._sign = -1 if whole * sum(s < 0 for s in scales) % 2 else 1

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's own
        for name, value in zip(("loc", "scale"), self.plan.numbers, strict=True):
            old = getattr(self, name)
            setattr(self, name, torch.tensor(value, dtype=old.dtype, device=old.device))
        return self

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self.loc + self.scale * x, self._full(x, self._log_det)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return (y - self.loc) / self.scale, self._full(y, -self._log_det)

    def _full(self, x: torch.Tensor, value: float) -> torch.Tensor:
        batch: Any = x.shape[: x.dim() - len(self.shape)]
        return x.new_full(batch, value)

    @property
    def sign(self) -> int:
        """The sign of the product of all scales."""
        return self._sign
