"""The computation of a flow, as boxes with shapes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ..bijectors import Bijector, BoundBijector
from ..distributions import Flow
from ..errors import OptionTypeError, ShapeError
from ..options import short
from ..summary import Row
from ..types import ShapeLike
from .canvas import DATA, FAINT, FLOW, SMALL, one_axes
from .extra import Axes, FancyBboxPatch, Figure

STEP, HIGH, WIDE = 1.25, 0.8, 3.4  # of boxes: from one to the next, their height and half of their width


@dataclass(frozen=True)
class Stage:
    """A box."""

    row: Row
    takes_context: bool = False
    layer: bool = True
    """Whether it is a layer: not an end."""
    repeats: int = 1
    """How many times the stages from here on, ``period`` of them, follow each other."""
    period: int = 1


def graph(
    flow: Flow | BoundBijector[Bijector] | Bijector,
    shape: ShapeLike | None = None,
    context_shape: ShapeLike | None = None,
    *,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draws the computation: base, layers and data from above, with the shapes between them, and who takes a context.

    Layers that repeat are drawn once. A box names the layer, where its parameters come from, and how many they are; and
    which direction goes step by step, if one does.

    Args:
        flow: a flow, or a bound bijector; or a plan, with the shape to look at.
        shape: of events, for a plan.
        context_shape: for a plan, the shape of contexts, if it has any.
        title: of the picture.
        ax: where to draw; a new figure by default.

    Returns:
        The figure.

    Raises:
        ShapeError, ContextError, DomainError: if plan and shapes do not fit.
        OptionTypeError: for what is none of these.

    Example:
        >>> import flowtorch.flows as flows
        >>> figure = graph(flows.realnvp(), shape=(4,), context_shape=(2,), title="RealNVP")
        >>> [text.get_text() for text in figure.axes[0].texts if "(4,)" in text.get_text()]
        ['(4,)', '(4,)']
    """
    who = "graph"
    if isinstance(flow, Bijector):
        if shape is None:
            raise ShapeError(f"{who}: the shape of events is expected along with a plan; got None.")
        with torch.device("meta"):
            flow = flow.bind(shape, context_shape)
    elif shape is not None or context_shape is not None:
        raise ShapeError(f"{who}: shapes are expected along with a plan only; got {short(flow)}.")
    if isinstance(flow, Flow):
        context = flow.context_shape
        rows = list(flow.summary().rows)
        first = Stage(rows.pop(0), flow._conditional_base, layer=False)
        embedding = rows.pop(0) if flow.embedding is not None else None
    elif isinstance(flow, BoundBijector):
        context, rows, embedding = flow.context_shape, flow.rows(), None
        first = Stage(_end("x", tuple(flow.shape)), layer=False)
    else:
        raise OptionTypeError(f"{who}: a flow, a bound bijector or a plan is expected; got {short(flow)}.")
    layers = [Stage(row, _takes_context(row, context)) for row in rows]
    last = Stage(_end("data" if isinstance(flow, Flow) else "y", first.row.shape), layer=False)
    stages = [first, *_folded(layers), last]
    left, above = -WIDE - (5.1 if context is not None else 0.2), 0.0
    low, right = -STEP * (len(stages) - 1) - HIGH / 2 - 0.1, WIDE + 1.4
    if context is not None:
        users = [i for i, stage in enumerate(stages) if stage.takes_context]
        above = max(0.0, STEP * ((2 if embedding is not None else 1) - min(users, default=0)))
    high = above + HIGH / 2 + 0.1
    figure, ax = one_axes(who, ax, (0.62 * (right - left), 0.62 * (high - low) + (0.35 if title else 0.0)))
    _draw(ax, stages)
    if context is not None:
        _draw_context(ax, stages, tuple(context), embedding)
    ax.set_xlim(left, right)
    ax.set_ylim(low, high)
    ax.set_axis_off()
    if title is not None:
        ax.set_title(title)
    return figure


def _end(name: str, shape: tuple[int, ...]) -> Row:
    return Row(name, shape, shape, 0, "-", "both", "exact")


def _takes_context(row: Row, context: torch.Size | None) -> bool:
    return context is not None and row.conditioner not in ("-", "free")


def _folded(stages: list[Stage]) -> list[Stage]:
    """Returns the stages with those that repeat, one by one or in groups of up to four, once."""
    found: list[Stage] = []
    start = 0
    while start < len(stages):
        best, times = 1, 1
        for period in range(1, 5):
            group, count = stages[start : start + period], 1
            while stages[start + count * period : start + (count + 1) * period] == group and len(group) == period:
                count += 1
            if count > 1 and (count - 1) * period > (times - 1) * best:
                best, times = period, count
        found += [replace(stage, repeats=times, period=best) if not i else stage
                  for i, stage in enumerate(stages[start : start + best])]  # fmt: skip
        start += best * times
    return found


def _draw(ax: Axes, stages: list[Stage]) -> None:
    for i, stage in enumerate(stages):
        y = -STEP * i
        _box(ax, (0, y), WIDE, stage.row.layer, _details(stage.row), FLOW if stage.layer else DATA)
        if i + 1 < len(stages):
            _arrow(ax, (0, y - HIGH / 2), (0, y - STEP + HIGH / 2), stage.row.out_shape)
        if stage.repeats > 1:
            top, low = y + HIGH / 2, y - STEP * (stage.period - 1) - HIGH / 2
            ax.plot([WIDE + 0.2, WIDE + 0.4, WIDE + 0.4, WIDE + 0.2], [top, top, low, low], color=FAINT, lw=1.2)
            ax.text(WIDE + 0.55, (top + low) / 2, f"× {stage.repeats}", va="center")


def _details(row: Row) -> str:
    count = f"{row.parameters:,} {'free ' if row.conditioner == 'free' else ''}parameters"
    source = "" if row.conditioner in ("-", "free") else row.conditioner + (": " if row.parameters else "")
    words = [source + (count if row.parameters else "")]
    slow = {"forward": "density", "inverse": "sampling"}.get(row.cheap)
    words += [f"{slow} {'numerical' if row.inverse == 'numerical' else 'step by step'}"] if slow else []
    return ";  ".join(word for word in words if word)


def _box(ax: Axes, middle: tuple[float, float], wide: float, name: str, details: str, colour: str) -> None:
    x, y = middle
    style = "round,pad=0,rounding_size=0.12"
    ax.add_patch(FancyBboxPatch((x - wide, y - HIGH / 2), 2 * wide, HIGH, style, fc=colour, ec="none", alpha=0.16))
    ax.text(x, y + (0.16 if details else 0), name, ha="center", va="center", weight="bold", size=SMALL + 2)
    if details:
        ax.text(x, y - 0.2, details, ha="center", va="center", size=SMALL)


def _arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], shape: tuple[int, ...] | None = None
) -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": FAINT, "shrinkA": 0, "shrinkB": 0})
    if shape is not None:
        ax.text(start[0] + 0.18, (start[1] + end[1]) / 2, str(tuple(shape)), va="center", size=SMALL)


def _draw_context(ax: Axes, stages: list[Stage], shape: tuple[int, ...], embedding: Row | None) -> None:
    """Draws the context at the left, by way of its embedding, with arrows to all that take it."""
    x, half = -WIDE - 3.0, 1.9
    users = [-STEP * i for i, stage in enumerate(stages) if stage.takes_context]
    y = max(users, default=0.0) + STEP
    if embedding is not None:
        _box(ax, (x, y), half, embedding.layer, _details(embedding), DATA)
        y += STEP
        _arrow(ax, (x, y - HIGH / 2), (x, y - STEP + HIGH / 2), shape)
    _box(ax, (x, y), half, "context", "", DATA)
    if users:
        start = max(users) + STEP - HIGH / 2
        out = shape if embedding is None else tuple(embedding.out_shape)
        ax.plot([x, x], [start, min(users)], color=FAINT, lw=1.2)
        ax.text(x + 0.18, start - 0.2, str(out), va="center", size=SMALL)
        for at in users:
            _arrow(ax, (x, at), (-WIDE, at))
