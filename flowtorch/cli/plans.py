"""From ``--flow`` and ``--set`` to a plan."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

from .. import flows
from ..bijectors import Bijector
from ..errors import FileError, OptionError
from .words import did_you_mean

READY_MADE = tuple(name for name in flows.__all__ if name != "stack")


def make_plan(flow: str, settings: Sequence[str]) -> Bijector:
    """Returns the plan that is meant.

    Args:
        flow: the name of a ready-made plan, or of a file in YAML.
        settings: options of a ready-made plan: ``name=value``, ``name=value,value``.

    Raises:
        OptionError: for an unknown name.
        SpecificationError: for YAML that is no plan, and for options that the plan refuses.
        FileError: if there is no such file, or it is no text.
    """
    from ..yaml import plan_from_yaml  # PyYAML is imported there

    if flow in READY_MADE:
        return plan_from_yaml("{" + ", ".join([f"flow: {flow}", *(_setting(flow, text) for text in settings)]) + "}")
    path = Path(flow)
    if path.suffix.lower() not in (".yaml", ".yml"):
        hint = did_you_mean(flow, READY_MADE)
        raise OptionError(
            f"option --flow: a ready-made flow, or a plan in a .yaml file, is expected; got {flow!r}.{hint}"
        )
    if settings:
        raise OptionError(
            f"option --set: a ready-made flow is expected with it; got {flow!r}, which says its options itself."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"option --flow: a plan in YAML is expected in {flow!r}; got {error}.") from error
    return plan_from_yaml(text)


def _setting(flow: str, text: str) -> str:
    """Returns an option in YAML."""
    name, equals, value = text.partition("=")
    options = inspect.signature(getattr(flows, flow)).parameters
    if not equals or not value:
        raise OptionError(f"option --set: name=value is expected; got {text!r}.")
    if name not in options:
        raise OptionError(
            f"option --set: an option of {flow} is expected; got {name!r}.{did_you_mean(name, list(options))}"
        )
    default = options[name].default
    if isinstance(default, tuple):
        return f"{name}: [{value}]"
    if isinstance(default, type) and "." not in value:
        return f"{name}: torch.nn.{value}"
    return f"{name}: {value}"
