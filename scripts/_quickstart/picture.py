"""Draws data and samples: marginals on the diagonal, pairs of the data below it and of the samples above."""

from __future__ import annotations

import io
import math
import warnings

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .lattice import Lattice

MAX_COLUMNS = 6
DATA, SAMPLES, INK, FAINT = "#2f6f9f", "#d9622b", "#22272e", "#8b949e"
BLUES = LinearSegmentedColormap.from_list("data", ["#e3edf5", "#6ea6cc", "#1d4e74", "#0b2740"])
ORANGES = LinearSegmentedColormap.from_list("samples", ["#fbe9de", "#eda27a", "#b34714", "#541d04"])
STYLE = {
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.formatter.limits": (-4, 5),
    "axes.formatter.useoffset": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "figure.facecolor": "white",
    "text.parse_math": False,  # a dollar in a column's name is a dollar
}


def draw(
    data: np.ndarray, samples: np.ndarray, names: list[str], lattices: list[Lattice | None], title: str, subtitle: str
) -> bytes:
    """Returns the picture as the bytes of a PNG. Only the first columns are drawn where there are many."""
    shown = min(len(names), MAX_COLUMNS)
    rng = np.random.default_rng(0)
    count = min(len(data), len(samples))  # equally many, for the eye
    data, samples = data[rng.permutation(len(data))[:count], :shown], samples[:count, :shown]
    windows = [window(column) for column in data.T]
    most = int(min(60, max(12, 1.6 * math.sqrt(count))))
    edges = [bins(low, high, lattice, most) for (low, high), lattice in zip(windows, lattices, strict=False)]
    with plt.rc_context(STYLE):
        side = {1: 5.0, 2: 5.6}.get(shown, 1.9 * shown)  # inches of the panels; the rest is for labels and the title
        figure, axes = plt.subplots(shown, shown, figsize=(side + 1.35, side + 1.95), squeeze=False, dpi=130)
        for row in range(shown):
            for col in range(shown):
                ax: Axes = axes[row, col]
                if row == col:
                    _marginal(ax, data[:, row], samples[:, row], edges[row])
                else:
                    pair, colours = [col, row], BLUES if row > col else ORANGES
                    _pair(ax, data[:, pair], samples[:, pair], edges[col], edges[row], colours)
                ax.set_xlim(windows[col])
                ax.locator_params(axis="x", nbins=4)
                ax.tick_params(length=2.5, width=0.6, pad=2)
                ax.tick_params(labelbottom=row == shown - 1, labelleft=col == 0, right=False)
                if row == 0 and col == shown - 1 and shown > 1:
                    ax.tick_params(labelright=True)  # the scale of the first row: its own first panel is a histogram
                if row == shown - 1:
                    ax.set_xlabel(_wrap(names[col]), labelpad=4)
                if col == 0:
                    ax.set_ylabel("density" if shown == 1 else _wrap(names[row]), labelpad=4)
        figure.align_labels()
        width, height = figure.get_size_inches()
        figure.subplots_adjust(
            left=0.95 / width,
            right=1 - 0.4 / width,
            bottom=0.85 / height,
            top=1 - 1.1 / height,
            wspace=0.09,
            hspace=0.09,
        )
        figure.text(0.5, 1 - 0.2 / height, title, ha="center", va="top", size=13, weight="bold", color=INK)
        figure.text(0.5, 1 - 0.49 / height, subtitle, ha="center", va="top", size=9.5, color=INK)
        below, above = (" (diagonal and below)", " (diagonal and above)") if shown > 1 else ("", "")
        figure.legend(
            handles=[
                Patch(facecolor=DATA, alpha=0.45, label=f"data{below}"),
                Line2D([], [], color=SAMPLES, lw=1.8, label=f"samples of the flow{above}"),
            ],
            loc="upper center",
            bbox_to_anchor=(0.5, 1 - 0.66 / height),
            ncols=2,
            frameon=False,
            fontsize=9.5,
        )
        stream = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # names in scripts that the font lacks show as boxes
            figure.savefig(stream, format="png")
        plt.close(figure)
    return stream.getvalue()


def window(column: np.ndarray) -> tuple[float, float]:
    """Where to look at a column: all but its most extreme values, and a margin."""
    low, high = np.quantile(column, [0.001, 0.999])
    if high <= low:
        low, high = column.min(), column.max()
    margin = 0.03 * (high - low)
    return float(low - margin), float(high + margin)


def bins(low: float, high: float, lattice: Lattice | None, most: int = 60) -> np.ndarray:
    """Edges of equal bins; on a lattice each bin holds equally many of its points, or the histogram shows combs."""
    if lattice is None or (high - low) < 2 * lattice.step:
        return np.linspace(low, high, most + 1)
    width = lattice.step * np.ceil((high - low) / most / lattice.step)
    first = lattice.offset + width * np.floor((low - lattice.offset) / width)
    return np.asarray(first + width * np.arange(int(np.ceil((high - first) / width)) + 1))


def _marginal(ax: Axes, data: np.ndarray, samples: np.ndarray, edges: np.ndarray) -> None:
    width = edges[1] - edges[0]
    heights = [np.histogram(x, edges)[0] / (len(x) * width) for x in (data, samples)]
    ax.stairs(heights[0], edges, fill=True, color=DATA, alpha=0.45, lw=0)
    ax.stairs(heights[1], edges, color=SAMPLES, lw=1.5)
    if heights[0].max() * width > 0.3:  # one bin holds so much that the others would be flat on the floor
        floor = 0.5 / (len(data) * width)
        ax.set_yscale("log")
        ax.set_ylim(floor, 3 * max(h.max() for h in heights))
        ax.text(0.97, 0.94, "log density", transform=ax.transAxes, ha="right", va="top", size=7, color=FAINT)
    else:
        ax.set_ylim(0, 1.15 * max(h.max() for h in heights))
    ax.set_yticks([])
    ax.minorticks_off()


def _pair(
    ax: Axes, data: np.ndarray, samples: np.ndarray, x: np.ndarray, y: np.ndarray, colours: LinearSegmentedColormap
) -> None:
    """Shares of the rows by cells, of the data in their colours or of the samples in theirs; one scale for both."""
    shares = [np.histogram2d(*rows.T, [x, y])[0].T / len(rows) for rows in (data, samples)]
    one = 1.0 / len(data)
    norm = LogNorm(one, max(2 * one, *(share.max() for share in shares)))
    shown = shares[0 if colours is BLUES else 1]
    ax.pcolormesh(x, y, np.ma.masked_less(shown, 0.5 * one), cmap=colours, norm=norm, rasterized=True)
    ax.set_ylim(y[0], y[-1])
    ax.locator_params(axis="y", nbins=4)


def _wrap(name: str, width: int = 18, lines: int = 3) -> str:
    """A name on a few short lines, cut at spaces or underscores."""
    out = [""]
    for word in name.replace("_", "_ ").split(" "):
        joint = "" if out[-1].endswith("_") or not out[-1] else " "
        if len(out[-1]) + len(joint) + len(word) <= width or not out[-1]:
            out[-1] += joint + word
        else:
            out.append(word)
    if len(out) > lines:
        out = [*out[: lines - 1], out[lines - 1][: width - 1] + "…"]
    return "\n".join(part if len(part) <= width + 6 else part[: width + 5] + "…" for part in out)
