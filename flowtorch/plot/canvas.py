"""Figures and axes, given or made, and what all pictures have of colours and panels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from .. import options
from ..errors import OptionError, OptionTypeError
from .extra import Array, ArrayLike, Axes, Figure

# Of Okabe and Ito's colours, which all eyes tell apart; in print, fills and lines do.
DATA, FLOW, FAINT, INK = "#0072b2", "#d55e00", "#8b949e", "#444c56"
DATA_MAP, FLOW_MAP = "Blues", "Oranges"
# Of Paul Tol's: apart in hue and, for print, in lightness.
SEVERAL = ("#332288", "#117733", "#cc6677", "#ddaa33", "#44aa99", "#882255", "#88ccee", "#999933")
STYLES = ("-", "--", "-.", ":")
SMALL = 8.0  # points
Bins = Sequence[int | ArrayLike | None] | int | None


def one_axes(who: str, ax: Axes | None, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """Returns axes, those given or new ones, and the figure that they are in.

    Raises:
        OptionTypeError: for what are none.
    """
    if ax is None:
        figure = Figure(figsize=size, layout="constrained")
        return figure, figure.subplots()
    options.instance(who, "ax", ax, Axes)
    return root(ax), ax


def many_axes(who: str, count: int, axes: object) -> tuple[Figure, list[Axes]]:
    """Returns the axes given, row by row, and the figure that they are in.

    Raises:
        OptionTypeError: for what are none.
        OptionError: for another number of them.
    """
    found = list(np.asarray(axes, dtype=object).ravel())
    if not found or not all(isinstance(ax, Axes) for ax in found):
        raise OptionTypeError(f"{who}: axes are expected to be Matplotlib's Axes; got {options.short(axes)}.")
    if len(found) != count:
        raise OptionError(f"{who}: {count} axes are expected; got {len(found)}.")
    return root(found[0]), found


def new_axes(rows: int, columns: int, panel: tuple[float, float]) -> tuple[Figure, list[list[Axes]]]:
    """Returns a figure with rows of axes."""
    figure = Figure(figsize=(columns * panel[0], rows * panel[1]), layout="constrained")
    return figure, [list(row) for row in figure.subplots(rows, columns, squeeze=False)]


def rows_and_columns(count: int, most: int) -> tuple[int, int]:
    """Returns how to lay out so many panels, at most so many in a row."""
    rows = -(-count // most)
    return rows, -(-count // rows)


def root(ax: Axes) -> Figure:
    """Returns the figure that axes are in, even if by way of a subfigure."""
    return ax.figure.canvas.figure


def finish(ax: Axes, title: str | None, labels: tuple[str, str] = ("", "")) -> None:
    """Sets a title and labels."""
    if title is not None:
        ax.set_title(title)
    ax.set_xlabel(labels[0])
    ax.set_ylabel(labels[1])


def wrapped(label: str, width: int = 20, most: int = 3) -> str:
    """Returns a label on a few lines, broken after spaces, underscores and hyphens; mathematics as it is."""
    if len(label) <= width or "$" in label.replace(r"\$", ""):
        return label
    lines = [""]
    for word in re.split(r"(?<=[ _-])", label):
        if lines[-1] and len((lines[-1] + word).rstrip()) > width:
            lines.append("")
        lines[-1] += word
    short = [line if len(line) <= width + 6 else line[: width + 5] + "…" for line in map(str.rstrip, lines)]
    return "\n".join(short if len(short) <= most else [*short[: most - 1], short[most - 1] + "…"])


def edges_of(who: str, bins: Bins, window: tuple[float, float], index: int, count: int, columns: int) -> Array:
    """Returns the edges of a column's bins.

    Args:
        who: whose errors.
        bins: for all columns, or each: a number, edges, or None for a number by the count of rows.
        window: where bins are put, if their edges are not given.
        index: of the column.
        count: of the rows.
        columns: how many there are.

    Raises:
        OptionError, OptionTypeError: for what are no bins.
    """
    if bins is not None and not isinstance(bins, int | Sequence | np.ndarray):
        raise OptionTypeError(
            f"{who}: bins are expected to be a number, or one entry a column; got {options.short(bins)}."
        )
    if bins is not None and not isinstance(bins, int) and len(bins) != columns:
        raise OptionError(f"{who}: bins for each of {columns} columns are expected; got {len(bins)}.")
    mine = bins if bins is None or isinstance(bins, int) else bins[index]
    if mine is None:
        mine = int(min(60, max(12, 1.6 * count**0.5)))
    if isinstance(mine, int):
        options.integer(who, "bins", mine, minimum=1)
        return np.linspace(*window, mine + 1)
    edges = np.asarray(mine, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not bool((np.diff(edges) > 0).all()):
        raise OptionError(f"{who}: edges of bins are expected to rise, two at least; got {options.short(mine)}.")
    return edges


def histogram(values: Array, edges: Array) -> Array:
    """Returns the density of values in bins; those outside of all bins count as values."""
    counts = np.histogram(values, edges)[0]
    return np.asarray(counts / (max(len(values), 1) * np.diff(edges)))


def marginal_panel(ax: Axes, data: Array, samples: Array, edges: Array, labels: tuple[str, str]) -> None:
    """Draws histograms of data and samples on each other."""
    heights = [histogram(values, edges) for values in (data, samples)]
    ax.stairs(heights[0], edges, fill=True, color=DATA, alpha=0.45, lw=0, label=labels[0])
    ax.stairs(heights[1], edges, color=FLOW, lw=1.4, label=labels[1])
    top = max(float(h.max()) for h in heights) or 1.0
    if float((heights[0] * np.diff(edges)).max()) > 0.3 and len(edges) > 4:
        # One bin holds so much that the others would be flat on the floor.
        ax.set_yscale("log")
        ax.set_ylim(0.5 / (len(data) * float(np.diff(edges).max())), 3 * top)
        ax.text(0.96, 0.94, "log density", transform=ax.transAxes, ha="right", va="top", size=SMALL - 1, color=FAINT)
        ax.minorticks_off()
    else:
        ax.set_ylim(0.0, 1.12 * top)
    ax.set_yticks([])


def spare(axes: Iterable[Axes]) -> None:
    """Leaves axes empty."""
    for ax in axes:
        ax.set_axis_off()
