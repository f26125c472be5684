"""What ``fit`` asks of data, and how it tells one run from another."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import torch

from .. import options
from ..bijectors.bound import batch_with_context
from ..distributions import Flow
from ..distributions.density import Part, is_unknown
from ..errors import DomainError, FileError, OptionError, OptionTypeError, ShapeError, SpecificationError
from .data import Rows, derived_seed
from .diagnosis import listed

Validation: TypeAlias = float | torch.Tensor | tuple[torch.Tensor | None, ...] | None
CHUNK = 65_536  # rows are looked at so many at a time


def split(flow: Flow, rows: Rows, validation: Validation, seed: int) -> tuple[Rows, Rows | None]:
    """Returns what to learn from, and what to validate on.

    Raises:
        OptionError, OptionTypeError, ShapeError, ContextError, DomainError: if the latter do not fit.
    """
    if validation is None:
        return rows, None
    if isinstance(validation, torch.Tensor):
        return rows, checked(flow, validation, None, None, "validation")
    if isinstance(validation, tuple):
        if not 1 <= len(validation) <= 3:
            raise OptionError(
                f"fit: validation is expected to be x, (x, context) or (x, context, weights); got {len(validation)} "
                "entries."
            )
        x, context, weights = (*validation, None, None)[:3]
        return rows, checked(flow, x, context, weights, "validation")
    options.number("fit", "validation", validation, above=0.0, below=1.0)
    count = max(1, round(validation * len(rows)))
    if count >= len(rows):
        raise OptionError(
            f"fit: rows to learn from are expected beside validation={validation}; got {len(rows)} in all."
        )
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(derived_seed(seed, "validation")))
    return rows.take(order[count:]), rows.take(order[:count])


def checked(
    flow: Flow, x: torch.Tensor | None, context: torch.Tensor | None, weights: torch.Tensor | None, what: str
) -> Rows:
    """Returns data as rows, in the flow's dtype.

    Raises:
        OptionError, OptionTypeError, ShapeError, ContextError, DomainError: if they do not fit.
    """
    for part, tensor in ((what, x), ("context", context), ("weights", weights)):
        if not isinstance(tensor, torch.Tensor) and (tensor is not None or part == what):
            raise OptionTypeError(f"fit: {part} is expected to be a tensor; got {options.short(tensor)}.")
    assert x is not None
    shape = f"(n, {', '.join(map(str, flow.event_shape))})" if flow.event_shape else "(n,)"
    if x.dim() == 0 or x.shape[1:] != flow.event_shape or not len(x):
        raise ShapeError(f"fit: {what} is expected to be of shape {shape}, n at least 1; got {tuple(x.shape)}.")
    if flow.batch_shape:
        raise ShapeError(f"fit: a flow without batch dimensions is expected; got batch {tuple(flow.batch_shape)}.")
    batch_with_context("fit", torch.Size(), context, flow.context_shape)
    # One dimension more, and each row would be paired with all contexts.
    if context is not None and context.shape != (len(x), *(flow.context_shape or ())):
        raise ShapeError(
            f"fit: a context for each of the {len(x)} rows of {what} is expected; got shape {tuple(context.shape)}."
        )
    like = next((t for t in (*flow.parameters(), *flow.buffers()) if t.is_floating_point()), x)
    context = None if context is None else context.detach()
    context = context.to(like.dtype) if context is not None and context.is_floating_point() else context
    rows = Rows(x.detach().to(like.dtype), context, None if weights is None else weights.detach().to(like.dtype))
    _refuse(rows, rows.value, f"finite values in {what}", _is_finite)
    if rows.context is not None and rows.context.is_floating_point():
        _refuse(rows, rows.context, f"finite values in the context of {what}", _is_finite)
    support = flow.support
    if not is_unknown(support) and not isinstance(support, Part):  # a Part has to run the flow, without a context
        _refuse(rows, rows.value.to(like.device), f"{what} in the flow's support", support.check)
    return rows


def _is_finite(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.isfinite().flatten(1).all(1) if tensor.dim() > 1 else tensor.isfinite()


def _refuse(rows: Rows, tensor: torch.Tensor, expected: str, test: Callable[[torch.Tensor], torch.Tensor]) -> None:
    bad = torch.cat([~test(some) for some in tensor.split(CHUNK)]).cpu()
    if bool(bad.any()):
        raise DomainError(
            f"fit: {expected} are expected; got others in {listed(rows.index[bad])}, of {len(rows)}. Leave them "
            "out, or give them no weight."
        )


def about(train: Rows, held: Rows | None, flow: Flow, others: Mapping[str, object]) -> dict[str, str]:
    """Returns what tells this run from another: words for each of its parts."""
    digest = hashlib.sha256()
    for rows in (train, held):
        for tensor in (None, None, None) if rows is None else (rows.value, rows.context, rows.weights):
            digest.update(b"-" if tensor is None else repr((tuple(tensor.shape), tensor.dtype)).encode())
            for some in () if tensor is None else tensor.split(CHUNK):
                digest.update(some.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy())
    described = repr([(name, tuple(t.shape), t.dtype) for name, t in flow.state_dict().items()])
    with contextlib.suppress(SpecificationError):  # of a plan around something of the user's own, the shapes alone
        described += repr(flow.plan.to_dict())
    found = {"data": digest.hexdigest(), "flow": hashlib.sha256(described.encode()).hexdigest()}
    return found | {name: _words(value) for name, value in others.items()}


def _words(value: object) -> str:
    # The repr of a function has an address, which differs from process to process.
    return str(getattr(value, "__qualname__", type(value).__qualname__)) if callable(value) else repr(value)


def checkpoint(folder: str | Path, about: Mapping[str, str]) -> tuple[Path, bool]:
    """Returns the file to keep checkpoints in, and whether there is one of this run to go on from.

    Raises:
        FileError: if the folder cannot be used, or has a checkpoint of another run.
    """
    try:
        path = Path(folder) / "last.ckpt"
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, TypeError) as error:
        raise FileError(f"fit: a folder to write to is expected; got {folder!r} ({error}).") from error
    if not path.exists():
        return path, False
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["about"]
    except Exception as error:
        raise FileError(
            f"fit: a checkpoint that fit wrote is expected in {str(path)!r}; got another file, or one that is damaged. "
            "Choose another folder, or delete it."
        ) from error
    differ = [key for key in about if found.get(key) != about[key]]
    if differ:
        raise FileError(
            f"fit: the checkpoint of this run is expected in {str(path)!r}; got that of one with another "
            f"{', '.join(differ)}. Choose another folder, or delete it."
        )
    return path, True
