"""A flow layer by layer: the same draws, or the density, from base to data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from .. import options
from ..bijectors import Bijector, BoundBijector, BoundCompose
from ..distributions import Flow
from ..distributions.view import FlowView
from ..errors import OptionError, ShapeError
from ..types import numel
from .canvas import SEVERAL, SMALL, finish, many_axes, new_axes, rows_and_columns, spare
from .density import draw, heights
from .extra import Array, ArrayLike, Axes, Figure
from .inputs import CHUNK, array, checked_window, chosen, looking, named, one_law, onto, tensor, window_of

MOST = 12  # panels, unless they are named


def layers(
    flow: Flow,
    *,
    context: torch.Tensor | ArrayLike | None = None,
    count: int = 4000,
    show: Literal["samples", "densities"] = "samples",
    which: Sequence[int] | None = None,
    columns: tuple[int, int] = (0, 1),
    labels: Sequence[str] | None = None,
    title: str | None = None,
    window: Sequence[Sequence[float]] | None = None,
    cells: int = 120,
    chunk_size: int = CHUNK,
    seed: int = 0,
    axes: Sequence[Axes] | None = None,
) -> Figure:
    r"""Draws a flow layer by layer, from base to data: what becomes of the same draws, or the densities.

    .. math:: x_0 \sim p_{base}, \quad x_k = f_k(x_{k-1}; c)

    Draws keep the colour of the quadrant of the base, about its median, that they come from.

    Args:
        flow: the flow; its layers are the parts of its plan, as in ``flow[:k]``.
        context: the one to look at, where the flow has contexts.
        count: how many draws.
        show: ``"samples"``, or ``"densities"`` for flows over two numbers.
        which: after how many layers to look, 0 being the base; by default each, but at most twelve evenly taken.
        columns: which two of an event's numbers to draw.
        labels: of both of them.
        title: of the picture.
        window: ``((low, high), (low, high))`` for all panels; by default each is scaled to what it shows.
        cells: along each side of a density.
        chunk_size: how many points are evaluated at a time.
        seed: of what is drawn; torch's own random numbers are left as they were.
        axes: where to draw, one for each panel; a new figure by default.

    Returns:
        The figure, a panel for each of ``which``.

    Raises:
        ShapeError, ContextError: if flow and context do not fit, or the flow has too few coordinates.
        OptionError, OptionTypeError: for options out of their range.

    Example:
        >>> import flowtorch.bijectors as bij, flowtorch.distributions as dist
        >>> flow = dist.Flow(dist.DiagNormal(2), bij.Compose([bij.AffineCoupling(), bij.SplineCoupling()]))
        >>> [ax.get_title() for ax in layers(flow, count=100).axes]
        ['base', '1: AffineCoupling', '2: SplineCoupling']
    """
    who = "layers"
    options.instance(who, "flow", flow, Flow)
    options.integer(who, "count", count, minimum=2)
    options.integer(who, "cells", cells, minimum=1)
    options.integer(who, "chunk_size", chunk_size, minimum=1)
    options.one_of(who, "show", show, ("samples", "densities"))
    parts = _parts(flow)
    which = _chosen_layers(who, which, len(parts))
    if window is not None and len(window) != 2:
        raise OptionError(f"{who}: a window ((low, high), (low, high)) is expected; got {options.short(window)}.")
    sides = None if window is None else [checked_window(who, side) for side in window]
    least = min(numel(part.out_shape) for part in parts)
    if min(least, numel(flow.bijector.shape)) < 2:
        raise ShapeError(f"{who}: a flow over two numbers or more is expected; got event shape {_shapes(flow)}.")
    if show == "densities" and (numel(flow.event_shape) != 2 or numel(flow.bijector.shape) != 2):
        raise ShapeError(f"{who}: a flow over two numbers is expected for densities; got event shape {_shapes(flow)}.")
    chosen(who, columns, least)
    if len(columns) != 2:
        raise OptionError(f"{who}: two columns are expected; got {tuple(columns)}.")
    one_law(who, flow, context)
    given = None if context is None else onto(tensor(who, "context", context), flow)
    texts = ["", ""] if labels is None else named(who, labels, torch.Size([2]), (0, 1))
    if axes is None:
        high, wide = rows_and_columns(len(which), 5)
        figure, grid = new_axes(high, wide, (2.35, 2.45))
        panels = [ax for row in grid for ax in row]
        spare(panels[len(which) :])
        if title is not None:
            figure.suptitle(title)
    else:
        wide = len(which)
        figure, panels = many_axes(who, wide, axes)
    with looking(flow, seed):
        shown = _states(flow, parts, given, count, which, columns)
    quadrant = (shown[0] > np.median(shown[0], 0)) @ np.array([1, 2])
    colours = [SEVERAL[q] for q in quadrant]
    for i, (ax, k, points) in enumerate(zip(panels, which, shown[1:], strict=False)):
        across, up = sides or [window_of(column) for column in points.T]
        if show == "samples":
            size = min(10.0, max(1.5, 8000 / count))
            ax.scatter(points[:, 0], points[:, 1], s=size, c=colours, alpha=0.6, linewidths=0, rasterized=True)
            ax.set_xlim(across)
            ax.set_ylim(up)
        else:
            with looking(flow, seed):
                law, like = _stopped(flow, k, given), onto(torch.empty(0), flow)
                values = heights(law.log_prob, (across, up), cells, law.event_shape, like, chunk_size)
            draw(ax, values, (across, up), np.empty((0, 2)), None)
        ax.tick_params(labelsize=SMALL, length=2.5, pad=2)
        ax.locator_params(nbins=4)
        finish(ax, f"{k}: {_name(parts[k - 1])}" if k else "base", (texts[0], "" if i % wide else texts[1]))
        ax.title.set_fontsize(SMALL + 1)
    return figure


def _parts(flow: Flow) -> list[BoundBijector[Bijector]]:
    return list(flow.bijector.parts) if isinstance(flow.bijector, BoundCompose) else [flow.bijector]


def _name(part: BoundBijector[Bijector]) -> str:
    rows = part.rows()
    return rows[0].layer if len(rows) == 1 else f"{type(part.plan).__name__} of {len(rows)}"


def _shapes(flow: Flow) -> str:
    base, event = tuple(flow.bijector.shape), tuple(flow.event_shape)
    return f"{event}" if base == event else f"{event} from {base}"


def _chosen_layers(who: str, which: Sequence[int] | None, count: int) -> list[int]:
    if which is None:
        return sorted({round(k) for k in np.linspace(0, count, min(count + 1, MOST)).tolist()})
    return chosen(who, which, count + 1)


def _states(
    flow: Flow,
    parts: list[BoundBijector[Bijector]],
    context: torch.Tensor | None,
    count: int,
    which: Sequence[int],
    columns: Sequence[int],
) -> list[Array]:
    """Returns two of the numbers of draws of the base, and after each of these counts of layers."""
    embedded = flow._context(context, "sample")
    x = flow._base(embedded).sample(torch.Size([count]))
    found = {0: x}
    for k, part in enumerate(parts, 1):
        x = part.forward(x, embedded)
        if k in which:
            found[k] = x
    return [array(found[k].reshape(count, -1)[:, list(columns)]) for k in (0, *which)]


def _stopped(flow: Flow, k: int, context: torch.Tensor | None) -> torch.distributions.Distribution:
    if k == 0:
        return flow._base(flow._context(context, "log_prob"))
    view: FlowView = flow[:k]
    return view if context is None else view.condition(context)
