"""Data against samples, by coordinates and pairs of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.distributions import Distribution

from .. import options
from ..errors import OptionError, OptionTypeError, ShapeError
from .canvas import DATA, DATA_MAP, FLOW, FLOW_MAP, SMALL, Bins, edges_of, marginal_panel, wrapped
from .extra import Array, ArrayLike, Axes, ConstrainedLayoutEngine, Figure, Line2D, LogNorm, Patch, SubFigure
from .inputs import array, checked_window, chosen, looking, named, own_seed, rows_and_law, samples_of, tensor, window_of

Windows = Sequence[Sequence[float] | None]


def corner(
    data: torch.Tensor | ArrayLike,
    samples: Distribution | torch.Tensor | ArrayLike,
    *,
    context: torch.Tensor | ArrayLike | None = None,
    columns: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    bins: Bins = None,
    window: Windows | None = None,
    names: tuple[str, str] = ("data", "samples"),
    title: str | None = None,
    seed: int = 0,
    fig: Figure | SubFigure | None = None,
) -> Figure:
    """Draws data against samples: each coordinate on the diagonal, pairs of the data below it, of the samples above.

    Panels across the diagonal are of one pair, with their axes exchanged, in colours of one logarithmic scale, from one
    row in a cell upwards. Equally many of both are drawn.

    Args:
        data: ``(n, *event_shape)``.
        samples: others, ``(m, *event_shape)``; or the flow to draw as many from.
        context: one for each row, ``(n, *context_shape)``, or one for all, where it is a flow with contexts.
        columns: which of an event's numbers to draw; all by default.
        labels: of the coordinates, with their units.
        bins: a number of bins, or for each coordinate a number, edges or None, where they are chosen.
        window: for each coordinate ``(low, high)`` or None, where it is where nearly all data lie.
        names: of data and samples.
        title: of the picture.
        seed: of what is drawn; torch's own random numbers are left as they were.
        fig: an empty figure, or part of one, to draw in; a new one by default.

    Returns:
        The figure, its axes row by row.

    Raises:
        ShapeError, ContextError: if data, samples and contexts do not fit.
        DomainError: for what is not finite.
        OptionError, OptionTypeError: for options out of their range.

    Example:
        >>> import flowtorch.distributions as dist
        >>> moons = dist.targets.TwoMoons()
        >>> figure = corner(moons.sample((500,)), moons, labels=("left", "up"), title="Two moons")
        >>> len(figure.axes)
        4
    """
    who = "corner"
    rows = tensor(who, "data", data)
    if rows.dim() == 0 or not len(rows):
        raise ShapeError(f"{who}: data are expected to be of shape (n, *event), n at least 1; got {tuple(rows.shape)}.")
    if fig is not None and not isinstance(fig, Figure | SubFigure):
        raise OptionTypeError(f"{who}: fig is expected to be a Matplotlib figure; got {options.short(fig)}.")
    others = _samples(who, rows, samples, context, seed)
    if others.shape[1:] != rows.shape[1:] or not len(others):
        raise ShapeError(
            f"{who}: samples like the data, of shape (m{''.join(f', {n}' for n in rows.shape[1:])}), are expected; got "
            f"{tuple(others.shape)}."
        )
    event = rows.shape[1:]
    both = [array(t).reshape(len(t), -1) for t in (rows, others)]
    picked = chosen(who, columns, both[0].shape[1])
    texts = [wrapped(label) for label in named(who, labels, event, picked)]
    count = min(map(len, both))
    generator = torch.Generator().manual_seed(own_seed(seed))
    orders = [torch.randperm(len(t), generator=generator)[:count].numpy() for t in both]
    mine, theirs = (t[order][:, picked] for t, order in zip(both, orders, strict=True))
    if window is not None and len(window) != len(picked):
        raise OptionError(f"{who}: windows for each of {len(picked)} columns are expected; got {len(window)}.")
    wanted = [None] * len(picked) if window is None else window
    windows = [
        window_of(column) if w is None else checked_window(who, w) for column, w in zip(mine.T, wanted, strict=True)
    ]
    edges = [edges_of(who, bins, w, i, count, len(picked)) for i, w in enumerate(windows)]
    return _draw(mine, theirs, windows, edges, texts, names, title, fig)


def _samples(who: str, rows: torch.Tensor, samples: object, context: object, seed: int) -> torch.Tensor:
    if not isinstance(samples, Distribution):
        if context is not None:
            raise OptionTypeError(f"{who}: a context is expected along with a flow; got {options.short(samples)}.")
        return tensor(who, "samples", samples)  # type: ignore[arg-type]  # it refuses what are no numbers
    _, law = rows_and_law(who, samples, rows, context, "data")  # type: ignore[arg-type]  # likewise
    with looking(samples, seed):
        drawn = samples_of(law, 1 if law.batch_shape else len(rows))
    return tensor(who, "samples", drawn[0] if law.batch_shape else drawn)


def _draw(
    data: Array,
    samples: Array,
    windows: list[tuple[float, float]],
    edges: list[Array],
    labels: list[str],
    names: tuple[str, str],
    title: str | None,
    fig: Figure | SubFigure | None,
) -> Figure:
    count = len(labels)
    if fig is None:
        side = {1: 4.4, 2: 5.4}.get(count, 1.75 * count + 0.8)
        layout = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.0, hspace=0.0)
        fig = Figure(figsize=(side, side + 0.5), layout=layout)
    axes = fig.subplots(count, count, squeeze=False)
    for row in range(count):
        for column in range(count):
            ax: Axes = axes[row, column]
            if row == column:
                marginal_panel(ax, data[:, row], samples[:, row], edges[row], names)
            else:
                pair = [column, row]
                _pair(ax, data[:, pair], samples[:, pair], edges[column], edges[row], above=row < column)
                ax.set_ylim(windows[row])
                ax.locator_params(axis="y", nbins=4)
            ax.set_xlim(windows[column])
            ax.locator_params(axis="x", nbins=4)
            # The first panel is a histogram: the scale of the first row stands at its other end.
            ends = row == 0 and column == count - 1 and count > 1
            ax.tick_params(length=2.5, pad=2, labelsize=SMALL, labelbottom=row == count - 1, right=ends)
            ax.tick_params(axis="y", labelleft=column == 0, labelright=ends)
            if row == count - 1:
                ax.set_xlabel(labels[column])
            if column == 0:
                ax.set_ylabel("density" if count == 1 else labels[row])
    fig.align_labels()
    below, above = (" (diagonal and below)", " (diagonal and above)") if count > 1 else ("", "")
    handles = [
        Patch(facecolor=DATA, alpha=0.45, label=names[0] + below),
        Line2D([], [], color=FLOW, lw=1.6, label=names[1] + above),
    ]
    # A title of the figure and a legend outside of its axes would lie on each other.
    wide = 1 if count == 2 else 2
    fig.legend(
        handles=handles, loc="outside upper center", ncols=wide, frameon=False, title=title, title_fontsize="large"
    )
    return fig.canvas.figure


def _pair(ax: Axes, data: Array, samples: Array, x: Array, y: Array, *, above: bool) -> None:
    """Shares of the rows by cells, of the samples or of the data; one scale for both."""
    x, y = (_coarser(edges, len(data)) for edges in (x, y))
    shares = [np.histogram2d(rows[:, 0], rows[:, 1], [x, y])[0].T / len(rows) for rows in (data, samples)]
    one = 1.0 / len(data)
    norm = LogNorm(0.5 * one, max(2 * one, *(float(share.max()) for share in shares)))
    shown = np.ma.masked_less(shares[above], 0.5 * one)
    ax.pcolormesh(x, y, shown, cmap=FLOW_MAP if above else DATA_MAP, norm=norm, rasterized=True)


def _coarser(edges: Array, count: int) -> Array:
    """Returns edges further apart, the last one kept: cells hold fewer rows than bins do."""
    step = -(-len(edges) // int(min(61, max(13, count**0.5))))
    return edges if step == 1 else np.unique(np.append(edges[::step], edges[-1]))
