"""Checks of the options given to plans: each names the plan, the option, what is expected and what came."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from .errors import OptionError, OptionTypeError


def one_of(who: str, name: str, value: object, allowed: Sequence[object]) -> None:
    """Refuses a value that is none of ``allowed``."""
    if value not in allowed:
        raise OptionError(f"{who}: {name} is expected to be one of {', '.join(map(repr, allowed))}; got {value!r}.")


def boolean(who: str, name: str, value: object) -> None:
    """Refuses anything but True and False."""
    if not isinstance(value, bool):
        raise OptionTypeError(f"{who}: {name} is expected to be True or False; got {value!r}.")


def integer(who: str, name: str, value: object, minimum: int | None = None) -> None:
    """Refuses what is not an ``int``, or is below ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise OptionTypeError(f"{who}: {name} is expected to be an integer; got {value!r}.")
    if minimum is not None and value < minimum:
        raise OptionError(f"{who}: {name} is expected to be at least {minimum}; got {value}.")


def number(
    who: str, name: str, value: object, *, above: float = -math.inf, below: float = math.inf, infinite: bool = False
) -> None:
    """Refuses what is not a number strictly between the two; ``infinite`` admits an infinite end."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionTypeError(f"{who}: {name} is expected to be a number; got {value!r}.")
    try:
        inside = above < float(value) < below or (infinite and value in (above, below) and math.isinf(value))
    except OverflowError:  # an integer that no float holds
        inside = False
    if not inside:
        raise OptionError(f"{who}: {name} is expected to lie in ({above:g}, {below:g}); got {value!r}.")


def instance(who: str, name: str, value: object, kind: type, hint: str = "") -> None:
    """Refuses what is not a ``kind``; a class in the place of its instance gets a hint."""
    if isinstance(value, kind):
        return
    if isinstance(value, type) and issubclass(value, kind):
        hint = f" Did you mean {value.__name__}()?"
    raise OptionTypeError(f"{who}: {name} is expected to be a {kind.__name__}; got {short(value)}.{hint}")


def hidden_dims(who: str, value: Any) -> tuple[int, ...]:
    """Returns the widths of hidden layers as a tuple."""
    if isinstance(value, int) or isinstance(value, str):
        raise OptionTypeError(f"{who}: hidden_dims is expected to be a sequence such as (128, 128); got {value!r}.")
    try:
        widths = tuple(value)
    except TypeError:
        raise OptionTypeError(f"{who}: hidden_dims is expected to be a sequence of integers; got {value!r}.") from None
    for n in widths:
        integer(who, "each of hidden_dims", n, minimum=1)
    return widths


def residual_widths(who: str, widths: Sequence[int]) -> None:
    """Refuses residual blocks between layers of different widths."""
    if len(set(widths)) > 1:
        raise OptionError(f"{who}: residual=True needs hidden layers of one width; got hidden_dims={widths}.")


def module_factory(who: str, name: str, value: object, like: str = "a class such as torch.nn.ReLU") -> None:
    """Refuses what does not make an ``nn.Module``: a module made already, a plan, any other class."""
    made = isinstance(value, torch.nn.Module)
    other = isinstance(value, type) and not issubclass(value, torch.nn.Module)
    if made or other or not callable(value) or hasattr(value, "_bind"):  # a plan can be called, but only with a shape
        raise OptionTypeError(f"{who}: {name} is expected to be {like}; got {short(value)}.")


def short(value: object) -> str:
    """Returns a one-line account of any value for an error message."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    text = repr(value).splitlines()[0]
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
