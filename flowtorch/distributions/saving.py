"""Flows in files: what is written of a flow, and how one is made of that."""

from __future__ import annotations

import copy
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch.distributions import Distribution

from .. import options
from ..bijectors import Bijector, BoundBijector
from ..bijectors.base import plan_from_dict
from ..container import Reader, write
from ..errors import FileError, OptionTypeError
from ..types import numel
from .base import Carried, Kept, undescribed
from .flow import Flow

# More layers than that, and numbers larger than that and than all that a file holds, nobody saved.
_LAYERS, _NUMBER = 20_000, 4_096


def save(flow: Flow, path: str | os.PathLike[str], *, notes: Mapping[str, Any] | None = None) -> None:
    """Writes a flow to a file: plan, base, context shape and state; see :meth:`Flow.save`.

    Args:
        flow: the flow.
        path: its name; a file of that name is replaced.
        notes: what else to keep there, such as the names of columns: whatever JSON can hold; :func:`notes` reads it.

    Raises:
        OptionTypeError: for notes that JSON cannot hold; and what :meth:`Flow.save` raises.
    """
    options.instance("save", "flow", flow, Flow)
    description: dict[str, Any] = {"flow": _describe(flow)}
    if notes is not None:
        options.instance("save", "notes", notes, Mapping)
        try:
            description["notes"] = json.loads(json.dumps(notes, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise OptionTypeError(
                f"save: notes that JSON can hold are expected; got {options.short(notes)} ({error})."
            ) from error
    write(path, description, flow.state_dict())


def notes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the notes that a flow was saved with, empty if there were none; they are as written, and not checked.

    Args:
        path: what :meth:`~flowtorch.distributions.Flow.save` wrote.

    Raises:
        FileError: for what is no saved flow, damaged, or of an unknown version.
        OSError: if there is no such file, or it cannot be read.

    Example:
        >>> import flowtorch.bijectors as bij, flowtorch.distributions as dist, tempfile
        >>> flow = dist.Flow(dist.DiagNormal(2), bij.SplineCoupling())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(flow, f"{folder}/my.flow", notes={"columns": ["height", "weight"]})
        ...     notes(f"{folder}/my.flow")
        {'columns': ['height', 'weight']}
    """
    with Reader(path) as reader:
        found = reader.description.get("notes", {})
    if not isinstance(found, dict):
        raise FileError(f"load: notes that are a table are expected in {str(path)!r}; got {options.short(found)}.")
    return found


def load(
    path: str | os.PathLike[str],
    map_location: torch.device | str | None = None,
    *,
    embedding: torch.nn.Module | None = None,
    base: torch.nn.Module | None = None,
) -> Flow:
    """Returns the flow that a file holds; nothing in a file is executed, and every part of it is checked first.

    Args:
        path: what ``flow.save`` wrote.
        map_location: the device to put it on; the CPU by default.
        embedding: a module like the flow's embedding, if it has one; its state comes from the file.
        base: a module like the flow's base, if that is a module of your own; its state comes from the file.

    Returns:
        A flow with the same densities and, under the same seed, the same samples.

    Raises:
        FileError: for what is no saved flow, damaged, or of an unknown version, or for states that do not fit.
        SpecificationError: for plans that are not registered, or refuse what is written of them.
        OSError: if there is no such file, or it cannot be read.

    Example:
        >>> import flowtorch.bijectors as bij, flowtorch.distributions as dist, tempfile
        >>> flow = dist.Flow(dist.DiagNormal(2), bij.SplineCoupling())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     flow.save(f"{folder}/my.flow")
        ...     again = dist.load(f"{folder}/my.flow")
        >>> bool((again.log_prob(torch.ones(2)) == flow.log_prob(torch.ones(2))).all())
        True
    """
    with Reader(path) as reader:
        parts = _Parts(reader, embedding, base)
        described = reader.description.get("flow")
        parts.check_size(described)
        parts.check_state(parts.flow(described, "", meta=True))
        flow = parts.flow(described, "", meta=False)
        state = {name: reader.read(name) for name in reader.tensors}
    # Some tensors are not in the state, and made anew in the dtype and on the device of the others.
    floats = Counter(t.dtype for t in state.values() if t.is_floating_point())
    flow.to(device=map_location, dtype=floats.most_common(1)[0][0] if floats else None)
    device = torch.device("cpu") if map_location is None else torch.device(map_location)
    flow.load_state_dict({name: tensor.to(device) for name, tensor in state.items()}, assign=True)
    frozen = cast(Mapping[str, Any], described).get("frozen", [])
    for name, parameter in flow.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return flow


# Writing --------------------------------------------------------------------------------------------------------------


def _describe(flow: Flow) -> dict[str, Any]:
    return {
        "plan": flow.plan.to_dict(),
        "base": _describe_base(flow.base),
        "context_shape": None if flow.context_shape is None else list(flow.context_shape),
        "embedding": _describe_embedding(flow.embedding),
        "validate_args": flow._validate_args,
        "training": flow.training,
        "frozen": [name for name, p in flow.named_parameters() if not p.requires_grad],
    }


def _describe_embedding(embedding: torch.nn.Module | None) -> dict[str, Any] | str | None:
    if isinstance(embedding, BoundBijector):
        return {"plan": embedding.plan.to_dict()}
    return None if embedding is None else type(embedding).__name__


def _describe_base(base: torch.nn.Module) -> dict[str, Any]:
    if isinstance(base, Carried):
        return {"distribution": base.describe()}
    if isinstance(base, Flow):
        return {"flow": _describe(base)}
    if isinstance(base, Kept):
        raise FileError(f"save: a base of a registered type is expected; got {type(base()).__name__}.")
    return {"module": type(base).__name__}


# Reading --------------------------------------------------------------------------------------------------------------


class _Parts:
    """Makes a flow of what a file says of it: once without memory, to compare sizes, and then in earnest."""

    def __init__(self, reader: Reader, embedding: torch.nn.Module | None, base: torch.nn.Module | None) -> None:
        self.reader, self.embedding, self.base = reader, embedding, base

    def refuse(self, expected: str, got: str) -> FileError:
        got = got.removesuffix(".")  # of an error that is quoted
        return FileError(f"load: {expected} is expected with {str(self.reader.path)!r}; got {got}.")

    def flow(self, described: object, prefix: str, meta: bool) -> Flow:
        """Returns the flow, its state not yet that of the file."""
        if not isinstance(described, dict) or not isinstance(described.get("plan"), dict):
            raise self.refuse("a flow", options.short(described))
        if not isinstance(described.get("frozen", []), list):
            raise self.refuse("a list of frozen parameters", options.short(described["frozen"]))
        given = {"embedding": None if prefix else self.embedding, "base": None if prefix else self.base}
        embedded, context_shape = described.get("embedding"), described.get("context_shape")
        embedding: torch.nn.Module | None
        if isinstance(embedded, dict) and given["embedding"] is None:
            embedding = self.bound(embedded.get("plan"), context_shape, meta)
        else:
            name = "bijector" if isinstance(embedded, dict) else embedded
            embedding = self.module(given["embedding"], name, "embedding", meta)
        about = described.get("base")
        if not isinstance(about, dict):
            raise self.refuse("a base", options.short(about))
        base: Distribution | torch.nn.Module | None
        if "distribution" in about:
            base = self.distribution(about["distribution"], f"{prefix}base.", meta)
        elif "flow" in about:
            base = self.flow(about["flow"], f"{prefix}base.", meta)
        else:
            base = self.module(given["base"], about.get("module"), "base", meta)
        learnt = "learnt" in Counter(_keys(about))
        plan = plan_from_dict(described["plan"])
        try:
            with torch.device("meta" if meta else "cpu"):
                flow = Flow(
                    base,  # type: ignore[arg-type]  # what is none is refused there
                    plan,
                    context_shape=None if context_shape is None else tuple(context_shape),
                    embedding=embedding,
                    learn_base=learnt,
                    validate_args=described.get("validate_args"),
                )
        except Exception as error:  # what is made of a description that is none may be anything
            raise self.refuse("parts that fit", f"this: {error}") from error
        return flow.train(described.get("training") is True)

    def module(self, given: torch.nn.Module | None, name: object, what: str, meta: bool) -> torch.nn.Module | None:
        """Returns the user's module in the place of one that no file can describe."""
        if (given is None) != (name is None):
            raise self.refuse(
                f"{what}=None" if name is None else f"{what}=, a module like the {name} that was saved,",
                "None" if given is None else type(given).__name__,
            )
        return copy.deepcopy(given).to("meta") if meta and given is not None else given

    def bound(self, described: object, shape: Any, meta: bool) -> BoundBijector[Bijector]:
        """Returns an embedding that is a bijector, which its plan describes whole."""
        plan = plan_from_dict(described)  # type: ignore[arg-type]  # what is none is refused there
        try:
            with torch.device("meta" if meta else "cpu"):
                return plan.bind(tuple(shape))
        except Exception as error:  # what is made of a description that is none may be anything
            raise self.refuse("an embedding that fits", f"this: {error}") from error

    def distribution(self, described: object, prefix: str, meta: bool) -> Distribution:
        """Returns a base of a registered type."""

        def tensor(name: str) -> torch.Tensor:
            stored = self.reader.tensors.get(prefix + name)
            if stored is None:
                raise self.refuse(f"a tensor {prefix + name!r}", "none")
            return (
                torch.empty(stored.shape, dtype=stored.dtype, device="meta")
                if meta
                else self.reader.read(prefix + name)
            )

        try:
            return cast(Distribution, undescribed(described, tensor))
        except Exception as error:  # what is made of a description that is none may be anything
            raise self.refuse("a base that can be made", f"this: {error}") from error

    def check_size(self, described: object) -> None:
        """Refuses what would take more memory than a file of this size can have been saved from."""
        held = sum(numel(stored.shape) for stored in self.reader.tensors.values())
        for number in _numbers(described):
            if abs(number) > max(_NUMBER, held):
                raise self.refuse(f"no number above {max(_NUMBER, held)}, as it holds {held} numbers,", str(number))
        if _count_layers(described) > _LAYERS:
            raise self.refuse(f"a plan of at most {_LAYERS} layers", "one of more")

    def check_state(self, flow: Flow) -> None:
        """Refuses tensors that are not those of the flow, by their names and shapes."""
        wanted = {name: tuple(tensor.shape) for name, tensor in flow.state_dict().items()}
        got = {name: tuple(stored.shape) for name, stored in self.reader.tensors.items()}
        for name in [*wanted, *got]:
            if wanted.get(name) != got.get(name):
                raise self.refuse(
                    f"{name!r} of shape {wanted[name]}" if name in wanted else f"no {name!r}",
                    f"one of shape {got[name]}" if name in got else "none",
                )


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for part in value.values():
            yield from _keys(part)
    elif isinstance(value, list):
        for part in value:
            yield from _keys(part)


def _numbers(value: object) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _numbers(part)


def _count_layers(value: object) -> int:
    """Returns how many layers a plan unfolds to."""
    if isinstance(value, dict):
        within = sum(_count_layers(part) for part in value.values())
        repeated = value.get("count") if value.get("type") in ("Repeat", "Scan") else 1
        return ("type" in value) + within * (repeated if isinstance(repeated, int) else 1)
    return sum(map(_count_layers, value)) if isinstance(value, list) else 0
