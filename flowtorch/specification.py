"""Plans as plain data: ``to_dict`` and ``plan_from_dict``.

A specification holds only dicts, lists, strings, numbers, booleans and None, so it is JSON and YAML as it stands;
:mod:`flowtorch.yaml` reads YAML that people write, in shorter forms.
Making a plan from one runs no code from it: a ``type`` names a class that was registered before, and the class checks
its fields.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

import torch

from .errors import FlowTorchError, SpecificationError

C = TypeVar("C", bound=Callable[..., Any])

_BY_NAME: dict[str, Callable[..., Any]] = {}
ACTIVATIONS = "torch.nn."


@overload
def register(target: C, *, name: str | None = ...) -> C: ...
@overload
def register(target: None = ..., *, name: str | None = ...) -> Callable[[C], C]: ...
def register(target: C | None = None, *, name: str | None = None) -> C | Callable[[C], C]:
    """Lets specifications name a plan class, or a factory that plans hold, such as that of a ``Network``.

    Args:
        target: the class or function; None to use as a decorator with a name.
        name: what specifications call it; its own ``__name__`` by default.

    Returns:
        The target itself, so that this serves as a decorator.

    Raises:
        SpecificationError: if the name already stands for something else.

    Example:
        >>> import flowtorch, torch
        >>> @flowtorch.register(name="docs.small_net")
        ... def small_net(in_features: int, out_features: int) -> torch.nn.Module:
        ...     return torch.nn.Linear(in_features, out_features)
    """
    if target is None:
        return lambda t: register(t, name=name)
    key = name or getattr(target, "__name__", None)
    if not key:
        raise SpecificationError(f"register: a name is expected for {target!r}, which has none of its own.")
    known = _BY_NAME.get(key)
    if known is not None and _home(known) != _home(target):
        raise SpecificationError(f"register: the name {key!r} is taken by {_home(known)}; got {_home(target)}.")
    _BY_NAME[key] = target
    return target


def _home(target: Callable[..., Any]) -> tuple[str, str]:
    # Equal for a class and the same class after its module was loaded again.
    return getattr(target, "__module__", "?"), getattr(target, "__qualname__", repr(target))


def name_of(target: object) -> str | None:
    """Returns the name a specification uses for a class or factory, or None if it is not registered."""
    for name, known in _BY_NAME.items():
        if known is target:
            return name
    if isinstance(target, type) and _activation(target.__name__) is target:
        return ACTIVATIONS + target.__name__
    return None


def registered() -> dict[str, Callable[..., Any]]:
    """Returns a copy of the table of registered names."""
    return dict(_BY_NAME)


def _activation(name: str) -> object:
    # Only torch's own activations that are made without arguments: they touch nothing.
    known = name in torch.nn.modules.activation.__all__ and name not in ("MultiheadAttention", "Threshold")
    return getattr(torch.nn, name, None) if known else None


def to_dict(plan: Any) -> dict[str, Any]:
    """Returns a plan as a plain specification.

    Raises:
        SpecificationError: if it holds something that has no registered name.
    """
    name = name_of(type(plan))
    if name is None or not dataclasses.is_dataclass(plan):
        raise SpecificationError(
            f"to_dict: a registered plan is expected; got {type(plan).__name__}. Decorate the class with "
            "@flowtorch.register."
        )
    fields = {f.name: _encode(getattr(plan, f.name), f"{name}.{f.name}") for f in dataclasses.fields(plan) if f.init}
    return {"type": name, **fields}


def _encode(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, tuple):
        return [_encode(v, where) for v in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    name = name_of(value)
    if name is None:
        raise SpecificationError(
            f"to_dict: {where} is expected to be plain or registered; got {value!r}. Use flowtorch.register on it."
        )
    return {"name": name}


def from_dict(specification: Mapping[str, Any], kind: type[Any] = object) -> Any:
    """Makes what :func:`to_dict` wrote; ``kind`` is what it must be an instance of.

    Raises:
        SpecificationError: for an unregistered name, an unknown or missing field, a value that its class refuses, or
        nesting too deep to follow.
    """
    try:
        return _from_dict(specification, kind)
    except RecursionError:
        raise SpecificationError(
            "plan_from_dict: nesting that Python's recursion limit admits is expected; got plans nested too deep."
        ) from None


def _from_dict(specification: Mapping[str, Any], kind: type[Any] = object) -> Any:
    if not isinstance(specification, Mapping) or not isinstance(specification.get("type"), str):
        raise SpecificationError(f"plan_from_dict: a dict with a 'type' is expected; got {specification!r:.80}.")
    name = specification["type"]
    cls = _BY_NAME.get(name)
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise SpecificationError(f"plan_from_dict: a registered plan is expected; got type {name!r}.")
    if not issubclass(cls, kind):
        raise SpecificationError(f"plan_from_dict: a {kind.__name__} is expected; got type {name!r}.")
    known = [f.name for f in dataclasses.fields(cls) if f.init]
    given = [k for k in specification if k != "type"]
    unknown = [k for k in given if k not in known]
    if unknown:
        raise SpecificationError(f"plan_from_dict: {name} has the fields {known}; got unknown {unknown}.")
    needed = [f.name for f in dataclasses.fields(cls) if f.init and _has_no_default(f)]
    missing = [k for k in needed if k not in given]
    if missing:
        raise SpecificationError(f"plan_from_dict: {name} needs the fields {needed}; got no {missing}.")
    values = {k: decode(specification[k]) for k in given}
    try:
        return cls(**values)
    except (FlowTorchError, TypeError, ValueError, AttributeError) as error:
        raise SpecificationError(f"plan_from_dict: {name} refused its fields: {error}") from error


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def decode(value: Any) -> Any:
    """Makes one field of a plan from what :func:`to_dict` wrote for it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return tuple(decode(v) for v in value)
    if isinstance(value, Mapping):
        if set(value) == {"float"} and value["float"] in ("inf", "-inf", "nan"):
            return float(value["float"])
        if set(value) == {"name"} and isinstance(value["name"], str):
            return _named(value["name"])
        return _from_dict(value)
    raise SpecificationError(f"plan_from_dict: plain data is expected; got {type(value).__name__}.")


def _named(name: str) -> Any:
    found = _BY_NAME.get(name)
    if found is None and name.startswith(ACTIVATIONS):
        found = _activation(name.removeprefix(ACTIVATIONS))  # type: ignore[assignment]  # a class is a callable
    if found is None:
        raise SpecificationError(f"plan_from_dict: a registered name is expected; got {name!r}.")
    return found
