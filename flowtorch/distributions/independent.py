"""What the bases over events of any shape have in common: the same kind of distribution for each coordinate."""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch.distributions import Distribution, Independent

from ..errors import ShapeError
from ..types import ShapeLike, as_size

D = TypeVar("D", bound=Distribution)

if TYPE_CHECKING:

    class _Independent(Independent[D], Generic[D]): ...
else:

    class _Independent(Independent):
        def __class_getitem__(cls, item: object) -> type:
            return cls  # torch's own cannot be subscripted in older releases


class OverEvent(_Independent[D]):
    """A univariate distribution for each coordinate of an event, independent of each other.

    Args:
        each: the distributions, with the event's shape as batch shape.
    """

    def __init__(self, each: D, *, validate_args: bool | None = None) -> None:
        super().__init__(each, len(each.batch_shape), validate_args=validate_args)

    @property
    def shape(self) -> torch.Size:
        """The event's shape."""
        return self.event_shape

    def expand(self, batch_shape: ShapeLike, _instance: Distribution | None = None) -> Independent[Distribution]:
        """Returns independent distributions with this batch shape."""
        batch = as_size(batch_shape, f"{type(self).__name__}.expand")
        return Independent(self.base_dist.expand(batch + self.event_shape), len(self.event_shape), validate_args=False)


def alike(*values: torch.Tensor | float) -> tuple[torch.Tensor, ...]:
    """Returns tensors of one device and of the most precise type; of torch's default type if all are numbers."""
    tensors = [v for v in values if isinstance(v, torch.Tensor)]
    dtypes = [v.dtype for v in tensors if v.is_floating_point()]
    dtype = functools.reduce(torch.promote_types, dtypes) if dtypes else torch.get_default_dtype()
    device = tensors[0].device if tensors else None
    return tuple(torch.as_tensor(v, dtype=dtype, device=device) for v in values)


def spread(who: str, shape: ShapeLike, **values: torch.Tensor | float) -> tuple[torch.Tensor, ...]:
    """Returns numbers and tensors as tensors of the event's shape, of one type and device.

    Raises:
        ShapeError: if one does not broadcast to the shape.
    """
    event = as_size(shape, who)
    try:
        return tuple(v.expand(event) for v in alike(*values.values()))
    except RuntimeError:
        raise ShapeError(
            f"{who}: {_listed(list(values))} that broadcast to {tuple(event)} are expected; got "
            f"{_listed([str(_shape(v)) for v in values.values()])}."
        ) from None


def with_batch(base: D, batch_shape: ShapeLike) -> D:
    """Returns a distribution that has no batch dimensions in its tensors with this batch shape."""
    batch = as_size(batch_shape, f"{type(base).__name__}.expand")
    try:
        torch.zeros(()).expand(base.batch_shape).expand(batch)
    except RuntimeError:
        raise ShapeError(
            f"{type(base).__name__}.expand: a batch shape that {tuple(base.batch_shape)} broadcasts to is expected; "
            f"got {tuple(batch)}."
        ) from None
    new = copy.copy(base)
    new._batch_shape = batch
    return new


def _listed(words: list[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _shape(value: torch.Tensor | float) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else ()
