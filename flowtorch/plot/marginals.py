"""Each coordinate of data against a flow's marginal, and its probability integral transform."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.distributions import Distribution

from .. import options
from ..types import numel
from .calibration import uniform_panel
from .canvas import SMALL, Bins, edges_of, finish, many_axes, marginal_panel, new_axes, rows_and_columns, spare, wrapped
from .extra import ArrayLike, Axes, Figure
from .inputs import CHUNK, array, chosen, looking, named, rows_and_law, samples_of, window_of
from .levels import pit

WIDE = 5  # coordinates in a row


def marginals(
    flow: Distribution,
    x: torch.Tensor | ArrayLike,
    context: torch.Tensor | ArrayLike | None = None,
    *,
    columns: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    bins: Bins = None,
    draws: int = 1000,
    band: float = 0.99,
    title: str | None = None,
    chunk_size: int = CHUNK,
    seed: int = 0,
    axes: Sequence[Axes] | None = None,
) -> Figure:
    r"""Draws each coordinate: data against the flow's marginal, and below it where the data lie within it (PIT).

    .. math:: u_{ij} = P(X_j \le x_{ij} \mid c_i), \quad X \sim p(\cdot \mid c_i)

    is uniform if the flow's marginals are right: its histogram is flat, but for chance: the band holds each bar with
    the probability ``band``. A hump says that the flow is too wide, a trough too narrow, a slope that it is off.

    Args:
        flow: a flow, its view, or another distribution.
        x: data, ``(n, *event_shape)``; best such as were not learnt from.
        context: one for each row, ``(n, *context_shape)``, or one for all, where the flow has contexts; the upper
            panels show the mean of the marginals over them.
        columns: which of an event's numbers to draw; all by default.
        labels: of the coordinates, with their units.
        bins: of the upper panels: a number, or for each coordinate a number, edges or None, where they are chosen.
        draws: how many for each context; see :func:`pit`.
        band: the probability of a bar to lie within the band by chance.
        title: of the picture.
        chunk_size: how many are drawn at a time.
        seed: of what is drawn; torch's own random numbers are left as they were.
        axes: where to draw, two rows of axes, marginals and PIT; a new figure by default.

    Returns:
        The figure.

    Raises:
        ShapeError, ContextError: if flow, data and contexts do not fit.
        DomainError: for data that are not finite.
        OptionError, OptionTypeError: for options out of their range.

    Example:
        >>> import flowtorch.distributions as dist
        >>> law = dist.DiagNormal(2)
        >>> figure = marginals(law, law.sample((300,)), labels=("length (m)", "mass (kg)"))
        >>> [ax.get_xlabel() for ax in figure.axes[:2]]
        ['length (m)', 'mass (kg)']

    References:
        Probabilistic Forecasts, Calibration and Sharpness (Gneiting et al., 2007),
        https://doi.org/10.1111/j.1467-9868.2007.00587.x, sec. 3.1.
    """
    who = "marginals"
    options.integer(who, "chunk_size", chunk_size, minimum=1)
    options.number(who, "band", band, above=0.0, below=1.0)
    rows, law = rows_and_law(who, flow, x, context)
    picked = chosen(who, columns, numel(law.event_shape))
    texts = [wrapped(label) for label in named(who, labels, law.event_shape, picked)]
    count = len(picked)
    data = array(rows).reshape(len(rows), -1)[:, picked]
    with looking(flow, seed):
        each = -(-20_000 // len(rows)) if law.batch_shape else max(20_000, len(rows))
        drawn = array(samples_of(law, each, chunk_size).reshape(-1, numel(law.event_shape)))[:, picked]
    where = array(pit(flow, x, context, draws=draws, chunk_size=chunk_size, seed=seed)).reshape(len(rows), -1)
    windows = [window_of(column) for column in data.T]
    edges = [edges_of(who, bins, w, i, len(rows), count) for i, w in enumerate(windows)]
    if axes is None:
        bands, wide = rows_and_columns(count, WIDE)
        figure, grid = new_axes(2 * bands, wide, (2.6 if count > 1 else 4.2, 2.1))
        upper = [ax for row in grid[::2] for ax in row]
        lower = [ax for row in grid[1::2] for ax in row]
        spare((*upper[count:], *lower[count:]))
        if title is not None:
            figure.suptitle(title)
    else:
        figure, given = many_axes(who, 2 * count, axes)
        upper, lower = given[:count], given[count:]
    for i, (ax, text) in enumerate(zip(upper, texts, strict=False)):
        marginal_panel(ax, data[:, i], drawn[:, i], edges[i], ("data", "flow"))
        ax.set_xlim(windows[i])
        _small(ax)
        finish(ax, None, (text, "" if i else "density"))
        uniform_panel(lower[i], where[:, picked[i]], 20, band)
        _small(lower[i])
        finish(lower[i], None, ("PIT", "" if i else "relative frequency"))
    upper[0].legend(frameon=False, fontsize=SMALL)
    return figure


def _small(ax: Axes) -> None:
    ax.tick_params(labelsize=SMALL, length=2.5, pad=2)
    ax.locator_params(axis="x", nbins=4)
