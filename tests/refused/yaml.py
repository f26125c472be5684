"""What YAML is refused for; what it says of plans is refused as specifications are, see plans.py."""

from __future__ import annotations

from collections.abc import Callable

from flowtorch.errors import SpecificationError
from flowtorch.yaml import plan_from_yaml

UNFOLDING = "a: &a [x, x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
)


def reading(text: str) -> Callable[[], object]:
    return lambda: plan_from_yaml(text)


REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    SpecificationError: {
        "plan_from_yaml: YAML is expected; got ... line 1, column 5": reading("a: ["),
        "plan_from_yaml: YAML is expected; got ... 'type' twice ... line 2": reading("type: Exp\ntype: Tanh"),
        "plan_from_yaml: YAML is expected; got ... tag ... python/object": reading("!!python/object:os.system []"),
        "plan_from_yaml: nesting that Python's recursion limit admits is expected; got": reading("type: &a [*a]"),
        "plan_from_yaml: at most 100000 values are expected; got more.": reading(UNFOLDING),
        "plan_from_yaml: a flow out of bnaf ... umnn is expected; got 'nfs'": reading("flow: nfs"),
        "plan_from_yaml: options of nsf are expected; got {'layer': 3} ... 'layer'": reading("flow: nsf\nlayer: 3"),
        "plan_from_yaml: options of nsf are expected; got {'layers': 0} ... at least": reading("flow: nsf\nlayers: 0"),
        "plan_from_dict: a dict with a 'type' is expected; got None": reading(""),
    },
}
