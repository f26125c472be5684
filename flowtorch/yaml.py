"""Plans in YAML, as people write them (PyYAML: extra ``cli``)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Hashable, Iterator
from typing import Any

from . import flows
from .bijectors.base import Bijector, plan_from_dict
from .errors import FlowTorchError, SpecificationError
from .specification import ACTIVATIONS, decode

try:
    import yaml
except ImportError as error:
    raise ImportError("flowtorch.yaml: PyYAML is expected; pip install 'flowtorch[cli]' installs it.") from error

__all__ = ["plan_from_yaml", "plan_to_yaml"]

_MOST = 100_000  # values, those behind aliases counted each time: a short text may stand for a gigantic plan


def plan_to_yaml(plan: Bijector) -> str:
    """Returns a plan as YAML, with all of its fields, which :func:`plan_from_yaml` reads.

    Args:
        plan: the plan.

    Returns:
        The text.

    Raises:
        SpecificationError: if it holds something that has no registered name.

    Example:
        >>> import flowtorch.bijectors as bij
        >>> print(plan_to_yaml(bij.Compose([bij.Exp(), bij.LeakyReLU()])))
        type: Compose
        parts:
        - type: Exp
        - type: LeakyReLU
          slope: 0.01
        checkpoint: false
    """
    return yaml.safe_dump(plan.to_dict(), sort_keys=False, allow_unicode=True)


def plan_from_yaml(text: str) -> Bijector:
    """Makes a plan from YAML.

    The text is what :func:`flowtorch.plan_from_dict` takes: a ``type``, and the fields that are not at their default.
    Beside that it may be a list of plans, which are composed, the base's first; a plan without fields in it may be its
    name alone. ``flow: nsf`` instead of a ``type`` names a function of :mod:`flowtorch.flows`, and its options follow.
    Activations may be their names alone, ``torch.nn.SiLU``. As in YAML 1.2, ``1e-3`` is a number.

    Args:
        text: the YAML.

    Returns:
        The plan. Nothing in the text is run.

    Raises:
        SpecificationError: for what is no YAML, or no plan.

    Example:
        >>> print(plan_from_yaml("[{type: SplineCoupling, count_bins: 4}, Permute]").check((3,)))
           layer ...
        >>> plan_from_yaml("{flow: nsf, layers: 3}") == flows.nsf(layers=3)
        True
    """
    try:
        value = _written_out(yaml.load(text, _Loader), itertools.count(1))
    except yaml.YAMLError as error:
        raise SpecificationError(f"plan_from_yaml: YAML is expected; got {' '.join(str(error).split())}.") from error
    except RecursionError:
        raise SpecificationError(
            "plan_from_yaml: nesting that Python's recursion limit admits is expected; got plans nested too deep."
        ) from None
    if isinstance(value, list):
        value = {"type": "Compose", "parts": [_named(v) for v in value]}
    value = _named(value)
    return _ready_made(value) if isinstance(value, dict) and "flow" in value else plan_from_dict(value)


def _named(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


def _ready_made(specification: dict[str, Any]) -> Bijector:
    name = specification.pop("flow")
    if name not in flows.__all__:
        raise SpecificationError(f"plan_from_yaml: a flow out of {', '.join(flows.__all__)} is expected; got {name!r}.")
    values = {k: decode(v) for k, v in specification.items()}
    try:
        plan: Bijector = getattr(flows, name)(**values)
    except (FlowTorchError, TypeError, ValueError, AttributeError) as error:
        raise SpecificationError(
            f"plan_from_yaml: options of {name} are expected; got {values}: {str(error).rstrip('.')}."
        ) from error
    return plan


def _written_out(value: Any, counter: Iterator[int]) -> Any:
    """Returns the same with the long forms of what has short ones."""
    if next(counter) > _MOST:
        raise SpecificationError(f"plan_from_yaml: at most {_MOST} values are expected; got more.")
    if isinstance(value, list):
        return [_written_out(v, counter) for v in value]
    if isinstance(value, dict):
        return {k: v if k == "name" else _written_out(v, counter) for k, v in value.items()}
    return {"name": value} if isinstance(value, str) and value.startswith(ACTIVATIONS) else value


class _Loader(yaml.SafeLoader):
    """Reads numbers as YAML 1.2 does, and refuses a key that is there twice, of which PyYAML takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen and key.value != "<<":
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)
