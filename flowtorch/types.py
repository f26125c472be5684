"""Type aliases, and the small conversions that plans make of what they are given."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, Union

import torch

from .errors import OptionTypeError, ShapeError

Size: TypeAlias = torch.Size
ShapeLike: TypeAlias = Sequence[int] | int
TensorPair: TypeAlias = tuple[torch.Tensor, torch.Tensor]
Direction: TypeAlias = Literal["forward", "inverse", "both"]
Exactness: TypeAlias = Literal["exact", "numerical"]
# A number for all coordinates, or nested tuples in the layout of the (trailing dimensions of the) event.
Nested: TypeAlias = Union[float, tuple["Nested", ...]]  # noqa: UP007
NestedLike: TypeAlias = Union[float, Sequence["NestedLike"], torch.Tensor]  # noqa: UP007
ModuleFactory: TypeAlias = Callable[[], torch.nn.Module]


def as_size(shape: ShapeLike, who: str) -> torch.Size:
    """Returns ``shape`` as a ``torch.Size``; an ``int`` is a vector's length."""
    try:
        # Not int(n), which cuts 2.5 down to 2 and reads the string "23" as (2, 3).
        sizes = (shape,) if isinstance(shape, int) else tuple(_index(n) for n in shape)
    except TypeError:
        raise ShapeError(f"{who}: a shape is a sequence of integers; got {shape!r}.") from None
    if any(n < 0 for n in sizes):
        raise ShapeError(f"{who}: a shape has no negative sizes; got {sizes}.")
    return torch.Size(sizes)


def _index(n: int) -> int:
    # A size that an exported program leaves open has no index: asking for one would fix it.
    return n if isinstance(n, torch.SymInt) else operator.index(n)


def as_nested(value: NestedLike, who: str) -> Nested:
    """Returns numbers, sequences or tensors as a float or nested tuples of floats: hashable, and equal by value."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().to(torch.float64).tolist()
    elif hasattr(value, "tolist"):  # numpy arrays and scalars, without importing numpy
        value = value.tolist()
    if isinstance(value, bool) or isinstance(value, str):
        raise OptionTypeError(f"{who}: numbers are expected; got {value!r}.")
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:  # an integer that no float holds
            return math.inf if value > 0 else -math.inf
    if isinstance(value, Sequence):  # a set has no order
        parts = tuple(as_nested(v, who) for v in value)
        if not parts:
            raise OptionTypeError(f"{who}: at least one number is expected; got {value!r}.")
        if len({nested_shape(p) for p in parts}) > 1:
            raise OptionTypeError(f"{who}: nested sequences must be rectangular; got {value!r}.")
        return parts
    raise OptionTypeError(f"{who}: numbers are expected; got {value!r}.")


def nested_shape(value: Nested) -> tuple[int, ...]:
    """Returns the shape of a float (``()``) or of nested tuples."""
    return (len(value), *nested_shape(value[0])) if isinstance(value, tuple) and value else ()


def flatten(value: Nested) -> tuple[float, ...]:
    """Returns the numbers of ``value`` in row-major order."""
    return tuple(x for part in value for x in flatten(part)) if isinstance(value, tuple) else (value,)


def numel(shape: Sequence[int]) -> int:
    """Returns how many entries a tensor of this shape has: a product, not a sum."""
    return math.prod(shape)
