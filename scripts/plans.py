"""Lists every plan, what it maps, what drives it and what it costs, and writes ``website/plans.md``.

All of it is read off the plans themselves: made with their defaults, and bound, without allocating, to 16 coordinates.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402  # after the path to the checkout

import flowtorch.bijectors as bij  # noqa: E402  # after the path to the checkout
from flowtorch import convert, domains, flows  # noqa: E402
from flowtorch.bijectors.fixed_linear import FixedLinear  # noqa: E402
from flowtorch.types import numel  # noqa: E402

PAGE = ROOT / "website" / "plans.md"
SIZE = 16
IMAGES = (3, 8, 8)
DIAGONAL = tuple(tuple(float(i == j) for j in range(SIZE)) for i in range(SIZE))

# Those that cannot be made of nothing.
EXAMPLES: dict[type[bij.Bijector], bij.Bijector] = {
    bij.Autoregressive: bij.Autoregressive(bij.Affine()),
    bij.Coupling: bij.Coupling(bij.Affine()),
    bij.Compose: bij.Compose([bij.Affine(), bij.Exp()]),
    bij.Concatenate: bij.Concatenate([bij.Affine(), bij.Exp()], sizes=(2, None)),
    bij.ConstrainTo: bij.ConstrainTo("simplex"),
    bij.FromTransform: bij.FromTransform(torch.distributions.ExpTransform()),
    bij.Indexed: bij.Indexed({0: bij.Exp()}),
    bij.Invert: bij.Invert(bij.Exp()),
    bij.Partial: bij.Partial(bij.Exp(), 0),
    bij.Repeat: bij.Repeat(bij.Affine(), 2),
    bij.Reshape: bij.Reshape(-1, (4, 4)),
    bij.Sandwich: bij.Sandwich(bij.Householder(), bij.Affine()),
    bij.Scan: bij.Scan(bij.Affine(), 2),
    bij.Split: bij.Split(None, bij.Affine()),
    bij.Stack: bij.Stack([bij.Exp()] * SIZE),
    bij.Transpose: bij.Transpose((0,)),
    bij.Standardize: bij.Standardize(loc=1.0, scale=2.0),
    bij.Whiten: bij.Whiten((0.0,) * SIZE, DIAGONAL),
}
SECTIONS = {
    "Fixed elementwise maps": "One coordinate at a time, without parameters.",
    "Elementwise maps": "One coordinate at a time, alone or in `Autoregressive` and `Coupling`; parameters are free "
    "or from the context.",
    "Autoregressive maps": "Of each coordinate with parameters from those before it, by default from a `MADE`.",
    "Coupling maps": "Of half of the coordinates with parameters from the other half, by default from a `DenseNN`.",
    "Maps of vectors": "Of all coordinates at once.",
    "Linear maps": "Products with a matrix whose structure makes its inverse and its determinant cheap.",
    "Structure": "What is made of other plans, moves coordinates about, or leads onto a set (here a simplex).",
    "Of other libraries": "What `flowtorch.convert` makes of their flows, where parameters mean something else there.",
}


def plans() -> list[type[bij.Bijector]]:
    """Returns the classes of all plans that can be made."""
    exported = [getattr(module, name) for module in (bij, convert) for name in module.__all__]
    return [c for c in exported if isinstance(c, type) and issubclass(c, bij.Bijector) and not inspect.isabstract(c)]


def example(plan: type[bij.Bijector]) -> bij.Bijector:
    """Returns a plan of a class, by its defaults where there are such."""
    return EXAMPLES[plan] if plan in EXAMPLES else plan()


def section(plan: bij.Bijector) -> str:
    """Returns the heading a plan stands under."""
    if type(plan).__module__.startswith(convert.__name__):
        return "Of other libraries"
    if isinstance(plan, bij.Elementwise):
        return "Elementwise maps" if parameter_count(plan) else "Fixed elementwise maps"
    if isinstance(plan, bij.AutoregressiveFamily | bij.BlockAutoregressive):
        return "Autoregressive maps"
    if isinstance(plan, bij.CouplingFamily):
        return "Coupling maps"
    if isinstance(plan, bij.Linear | FixedLinear):
        return "Linear maps"
    if isinstance(plan, bij.VectorMap | bij.Residual | bij.ConvResidual | bij.ActNorm | bij.BatchNorm):
        return "Maps of vectors"
    if isinstance(plan, bij.AffineFixed | bij.Standardize):
        return "Fixed elementwise maps"
    return "Structure"


def parameter_count(plan: bij.Bijector) -> int:
    """Returns how many numbers drive a plan by itself, for 16 coordinates."""
    return plan.check(IMAGES if plan.min_event_dim == 3 else (SIZE,)).parameters


def parameters(plan: bij.Bijector) -> str:
    """Returns how many numbers drive a plan by itself, and as a formula where it has one."""
    count = parameter_count(plan)
    if isinstance(plan, bij.Elementwise):
        each = sum(numel(shape) for shape in plan.param_shapes)
        shared = count - each * SIZE
        return "-" if not count else f"{each} a coordinate" + (f", {shared:,} shared" if shared else "")
    if isinstance(plan, bij.VectorMap):
        return f"{plan.parameter_count} ({count:,})"
    return f"{count:,}" if count else "-"


def references(plan: object) -> Iterator[tuple[str, str]]:
    """Yields title and address of each work that a docstring refers to."""
    found = re.search(r"^References:\n((?:    .*\n?|\n)+)", inspect.getdoc(plan) or "", re.MULTILINE)
    text = re.sub(r"\s+", " ", textwrap.dedent(found[1])) if found else ""
    for title, address in re.findall(r"([^;]+?\(.+?\)), (https?://[^\s,;]+[^\s,;.])", text):
        # Of the work before it, there may be an equation or a section left.
        yield re.sub(r"^(eq|sec|section)\b.*?\d\. ", "", title.strip(" .,;")), address


def linked(plan: object) -> str:
    """Returns the references as links."""
    return "; ".join(f"[{title}]({address})" for title, address in references(plan)) or "-"


def has_parts(plan: bij.Bijector) -> bool:
    """Returns whether a plan is made of others, which decide what it is."""
    values = [getattr(plan, f.name) for f in dataclasses.fields(plan)]  # type: ignore[arg-type]  # all are dataclasses
    return any(isinstance(v, bij.Bijector) for v in flattened(values))


def flattened(value: object) -> Iterator[object]:
    """Yields what is in nested tuples and lists."""
    if isinstance(value, tuple | list):
        for part in value:
            yield from flattened(part)
    else:
        yield value


def row(plan: type[bij.Bijector]) -> str:
    """Returns a plan's line of the table."""
    made = example(plan)
    if has_parts(made) or isinstance(made, bij.FromTransform):
        cheap = made.cheap if isinstance(made, bij.Autoregressive | bij.Coupling) else "its parts'"
        facts = ("its parts'", "its parts'", "its parts'", cheap, "its parts'")
    else:
        sets = (domains.describe(made.domain), domains.describe(made.codomain))
        facts = (*sets, parameters(made), made.cheap, made.exactness)
    cells = (f"`{plan.__name__}`", *facts, linked(plan))
    return f"| {' | '.join(cells)} |"


def ready_made() -> Iterator[str]:
    """Yields the lines of the table of ready-made plans."""
    for name in sorted(set(flows.__all__) - {"stack"}):
        function = getattr(flows, name)
        plan: bij.Bijector = function()
        cells = (
            f"`{name}()`",
            domains.describe(plan.domain),
            f"{plan.check((SIZE,)).parameters:,}",
            plan.cheap,
            plan.exactness,
            linked(function),
        )
        yield f"| {' | '.join(cells)} |"


def page() -> str:
    """Returns the page."""
    lines = [
        "# Every plan",
        "",
        "Written by `scripts/plans` from the plans themselves, made with their defaults and without a context. Forward",
        "is from base to data. Cheap is a direction of one pass where the other goes step by step; a numerical inverse",
        f"is iterated to a stated tolerance. Parameters are for {SIZE} coordinates; D is their number. How each works",
        "is in its docstring and in `plan.explain()`.",
        "",
    ]
    for heading, text in SECTIONS.items():
        rows = [row(plan) for plan in plans() if section(example(plan)) == heading]
        lines += [f"## {heading}", "", text, ""]
        lines += [
            "| plan | domain | codomain | parameters | cheap | inverse | reference |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [*rows, ""]
    lines += ["## Ready-made", "", "Functions of `flowtorch.flows` that return plans.", ""]
    lines += ["| plan | domain and codomain | parameters | cheap | inverse | reference |", "|---|---|---|---|---|---|"]
    return "\n".join([*lines, *ready_made(), ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}: {len(plans())} plans")
