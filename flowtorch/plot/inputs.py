"""What pictures are given: values, flows and contexts, checked; and how flows are looked at without a trace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import torch
from torch.distributions import Distribution

from .. import options
from ..distributions.view import FlowView
from ..errors import DomainError, OptionError, OptionTypeError, ShapeError
from ..objectives.draws import at
from ..types import numel
from .extra import Array, ArrayLike

CHUNK = 65_536  # events at a time


def array(tensor: torch.Tensor) -> Array:
    """Returns numbers for Matplotlib."""
    return cast(Array, tensor.detach().to("cpu", torch.float64).numpy())


def tensor(who: str, name: str, value: torch.Tensor | ArrayLike) -> torch.Tensor:
    """Returns numbers as a tensor.

    Raises:
        OptionTypeError: for what are none.
        DomainError: for rows that are not finite.
    """
    found = value
    if not isinstance(found, torch.Tensor):
        try:
            found = torch.from_numpy(np.array(value, order="C"))
        except (TypeError, ValueError):
            raise OptionTypeError(f"{who}: {name} is expected to be numbers; got {options.short(value)}.") from None
    found = found.detach()
    found = found if found.is_floating_point() else found.to(torch.get_default_dtype())
    bad = ~found.isfinite()
    bad = bad.flatten(1).any(1) if bad.dim() > 1 else bad.reshape(-1)
    if bool(bad.any()):
        rows = ", ".join(str(i) for i in bad.nonzero().flatten()[:5].tolist())
        raise DomainError(
            f"{who}: finite values in {name} are expected; got others in {int(bad.sum())} of {len(bad)} rows: {rows}"
            f"{'...' if int(bad.sum()) > 5 else ''}."
        )
    return found


def one_law(who: str, flow: Distribution, context: torch.Tensor | ArrayLike | None) -> Distribution:
    """Returns the distribution at a context.

    Raises:
        OptionTypeError, ContextError: if flow and context do not fit.
        ShapeError: for a batch of distributions.
    """
    law = at(who, flow, None if context is None else onto(tensor(who, "context", context), flow))
    if law.batch_shape:
        raise ShapeError(
            f"{who}: one distribution is expected, at one context if the flow has any; got a batch of shape "
            f"{tuple(law.batch_shape)}."
        )
    return law


def rows_and_law(
    who: str,
    flow: Distribution,
    x: torch.Tensor | ArrayLike,
    context: torch.Tensor | ArrayLike | None,
    name: str = "x",
) -> tuple[torch.Tensor, Distribution]:
    """Returns rows of data, and the distribution of all, or of each, with its batch dimension.

    Raises:
        OptionTypeError, ContextError, DomainError: if they do not fit, or are not finite.
        ShapeError: for rows of another shape than the flow's events, or another number of contexts.
    """
    rows = tensor(who, name, x)
    law = at(who, flow, None if context is None else onto(tensor(who, "context", context), flow))
    if rows.dim() == 0 or rows.shape[1:] != law.event_shape or not len(rows):
        expected = ", ".join(("n", *map(str, law.event_shape)))
        raise ShapeError(
            f"{who}: {name} is expected to be of shape ({expected}), n at least 1; got {tuple(rows.shape)}."
        )
    if law.batch_shape not in (torch.Size(), rows.shape[:1]):
        raise ShapeError(
            f"{who}: one context, or one for each of the {len(rows)} rows of {name}, is expected; got a batch of shape "
            f"{tuple(law.batch_shape)}."
        )
    return onto(rows, flow), law


def _modules(flow: object) -> list[torch.nn.Module]:
    owner = flow._flow if isinstance(flow, FlowView) else flow
    return list(owner.modules()) if isinstance(owner, torch.nn.Module) else []


def onto(value: torch.Tensor, flow: object) -> torch.Tensor:
    """Returns values on the device and in the dtype of a flow's numbers."""
    held = (t for m in _modules(flow) for t in (*m.parameters(), *m.buffers()))
    like = next((t for t in held if t.is_floating_point()), None)
    return value if like is None else value.to(like.device, like.dtype)


def own_seed(seed: int) -> int:
    """Returns another seed: after ``torch.manual_seed(0)`` the draws of a picture are none that its data were."""
    return (seed + 0x666C6F77) % 2**63


@contextlib.contextmanager
def looking(flow: object, seed: int) -> Iterator[None]:
    """Without gradients, in evaluation mode, and with draws by the seed; all is put back as it was."""
    modes = {module: module.training for module in _modules(flow)}
    with torch.no_grad(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(own_seed(seed))
        try:
            for module in modes:
                module.training = False
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode


def chosen(who: str, columns: Sequence[int] | None, count: int) -> list[int]:
    """Returns which of the numbers of an event are drawn.

    Raises:
        OptionError, OptionTypeError: for what is no sequence of their indices.
    """
    if columns is None:
        return list(range(count))
    if not isinstance(columns, Sequence):
        raise OptionTypeError(
            f"{who}: columns are expected to be a sequence of integers; got {options.short(columns)}."
        )
    for index in columns:
        options.integer(who, "each of columns", index)
    if not len(columns) or not all(0 <= index < count for index in columns):
        raise OptionError(f"{who}: columns are expected to be among 0 to {count - 1}; got {tuple(columns)}.")
    return list(columns)


def named(who: str, labels: Sequence[str] | None, shape: torch.Size, columns: Sequence[int]) -> list[str]:
    """Returns the labels of columns: those given, or indices such as ``x[0]``.

    Raises:
        OptionError: for another number of them.
    """
    if labels is None:
        places = [tuple(int(i) for i in np.unravel_index(c, tuple(shape))) if shape else () for c in columns]
        return [f"x[{', '.join(map(str, place))}]" if place else "x" for place in places]
    if isinstance(labels, str) or len(labels) not in (len(columns), numel(shape)):
        raise OptionError(f"{who}: {len(columns)} labels are expected; got {labels!r}.")
    return [str(label) for label in (labels if len(labels) == len(columns) else [labels[c] for c in columns])]


def window_of(column: Array, margin: float = 0.04) -> tuple[float, float]:
    """Returns where to look at a column: all but its most extreme values, and a margin."""
    low, high = np.quantile(column, [0.001, 0.999])
    if high <= low:
        low, high = column.min(), column.max()
    pad = margin * (high - low) or 0.5
    return float(low - pad), float(high + pad)


def checked_window(who: str, window: object) -> tuple[float, float]:
    """Returns the ends of an interval.

    Raises:
        OptionError, OptionTypeError: for what is none.
    """
    if not isinstance(window, Sequence | np.ndarray) or len(window) != 2:
        raise OptionTypeError(f"{who}: each window is expected to be a pair (low, high); got {options.short(window)}.")
    low, high = window.tolist() if isinstance(window, np.ndarray) else window
    for end in (low, high):
        options.number(who, "each end of a window", end)
    if low >= high:
        raise OptionError(f"{who}: each window is expected to be (low, high), low < high; got ({low:g}, {high:g}).")
    return float(low), float(high)


def chunks(count: int, size: int) -> Iterator[int]:
    """Yields the sizes of the parts of a count."""
    for start in range(0, count, size):
        yield min(size, count - start)


def samples_of(law: Distribution, count: int, size: int = CHUNK) -> torch.Tensor:
    """Returns draws ``(count, *batch, *event)``, so many events at a time."""
    each = max(1, size // max(1, numel(law.batch_shape)))
    return torch.cat([law.sample(torch.Size([n])) for n in chunks(count, each)])
