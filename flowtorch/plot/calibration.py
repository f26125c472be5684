"""Whether a flow means what it says: ranks of the truth among draws, and the coverage of regions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch.distributions import Distribution

from .. import options
from ..types import numel
from .canvas import (
    DATA,
    FAINT,
    INK,
    SEVERAL,
    SMALL,
    STYLES,
    finish,
    many_axes,
    new_axes,
    one_axes,
    rows_and_columns,
    spare,
)
from .extra import Array, ArrayLike, Axes, Figure
from .inputs import CHUNK, array, chosen, named, rows_and_law
from .levels import credibility, pit


def calibration(
    flow: Distribution,
    x: torch.Tensor | ArrayLike,
    context: torch.Tensor | ArrayLike | None = None,
    *,
    columns: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    draws: int = 1000,
    bins: int = 20,
    band: float = 0.99,
    title: str | None = None,
    chunk_size: int = CHUNK,
    seed: int = 0,
    axes: Sequence[Axes] | None = None,
) -> Figure:
    r"""Draws rank histograms (simulation-based calibration): for each coordinate, the ranks of the truth among draws.

    .. math:: r_{ij} = \#\{s : X^s_{ij} < x_{ij}\}, \quad X^1_i, \dots, X^S_i \sim p(\cdot \mid c_i)

    of pairs of truth and context is uniform on 0 to S if the flow is right. Ranks are drawn as fractions, with noise
    over the width of one (:func:`pit`), which leaves them uniform in any number of bins; heights are relative to the
    flat histogram, and the band holds each of them with the probability ``band`` by chance. A hump says that the flow
    is too wide, a trough too narrow, a slope that it is off.

    Args:
        flow: a flow, its view, or another distribution.
        x: what is true, ``(n, *event_shape)``, such as parameters drawn from a prior; not learnt from.
        context: of each, ``(n, *context_shape)``, such as what was simulated with them.
        columns: which of an event's numbers to draw; all by default.
        labels: of the coordinates.
        draws: S, for each context.
        bins: how many.
        band: the probability of a bar to lie within the band by chance.
        title: of the picture.
        chunk_size: how many are drawn at a time.
        seed: of what is drawn; torch's own random numbers are left as they were.
        axes: where to draw, one for each coordinate; a new figure by default.

    Returns:
        The figure, a panel for each coordinate.

    Raises:
        ShapeError, ContextError: if flow, data and contexts do not fit.
        DomainError: for data that are not finite.
        OptionError, OptionTypeError: for options out of their range.

    Example:
        >>> import torch, flowtorch.bijectors as bij, flowtorch.distributions as dist
        >>> flow = dist.Flow(dist.DiagNormal(2), bij.AffineCoupling(), context_shape=(3,))
        >>> figure = calibration(flow, torch.randn(200, 2), torch.randn(200, 3), draws=99, bins=10)
        >>> len(figure.axes)
        2

    References:
        Validating Bayesian Inference Algorithms with Simulation-Based Calibration (Talts et al., 2018),
        https://arxiv.org/abs/1804.06788, Algorithm 1.
    """
    who = "calibration"
    options.integer(who, "bins", bins, minimum=2)
    options.number(who, "band", band, above=0.0, below=1.0)
    _, law = rows_and_law(who, flow, x, context)
    picked = chosen(who, columns, numel(law.event_shape))
    texts = named(who, labels, law.event_shape, picked)
    ranks = array(pit(flow, x, context, draws=draws, chunk_size=chunk_size, seed=seed))
    ranks = ranks.reshape(len(ranks), -1)[:, picked]
    if axes is None:
        bands, wide = rows_and_columns(len(picked), 4)
        figure, grid = new_axes(bands, wide, (2.8 if len(picked) > 1 else 4.2, 2.6))
        panels = [ax for row in grid for ax in row]
        spare(panels[len(picked) :])
        if title is not None:
            figure.suptitle(title)
    else:
        figure, panels = many_axes(who, len(picked), axes)
        wide = len(picked)
    for i, text in enumerate(texts):
        uniform_panel(panels[i], ranks[:, i], bins, band)
        finish(panels[i], text, ("rank of the truth among draws", "" if i % wide else "relative frequency"))
    return figure


def uniform_panel(ax: Axes, values: Array, bins: int, band: float) -> None:
    """Draws a histogram relative to the flat one, and the band of chance."""
    heights = np.histogram(values, bins, (0.0, 1.0))[0] * bins / len(values)
    low, high = (bins * k / len(values) for k in binomial_interval(len(values), 1 / bins, band))
    ax.stairs(heights, np.linspace(0.0, 1.0, bins + 1), fill=True, color=DATA, alpha=0.45, lw=0)
    ax.axhspan(low, high, color=FAINT, alpha=0.35, lw=0, zorder=2)
    ax.axhline(1.0, color=INK, lw=0.8, zorder=3)
    ax.set_xlim(0.0, 1.0)
    ax.set_ylim(0.0, 1.15 * max(high, float(heights.max())))


def coverage(
    flow: Distribution,
    x: torch.Tensor | ArrayLike,
    context: torch.Tensor | ArrayLike | None = None,
    *,
    regions: Literal["highest_density", "central"] = "highest_density",
    columns: Sequence[int] | None = None,
    labels: Sequence[str] | None = None,
    draws: int = 1000,
    band: float = 0.95,
    title: str | None = None,
    chunk_size: int = CHUNK,
    seed: int = 0,
    ax: Axes | None = None,
) -> Figure:
    r"""Draws the coverage of a flow's regions: what part of the truths lies in those of each level.

    .. math:: C(\gamma) = \frac{1}{n} \sum_i 1[x_i \in R_\gamma(c_i)], \quad P(X \in R_\gamma(c) \mid c) = \gamma

    On the diagonal the flow is calibrated; above it, its regions are too large, below it too small. By chance, a curve
    of a calibrated flow leaves the grey band anywhere with a probability of at most ``1 - band`` (the inequality of
    Dvoretzky, Kiefer, Wolfowitz and Massart).

    Args:
        flow: a flow, its view, or another distribution.
        x: what is true, ``(n, *event_shape)``; not learnt from.
        context: of each, ``(n, *context_shape)``.
        regions: ``"highest_density"``, of the whole event; or ``"central"``, an interval for each coordinate, with
            equal probability on both sides.
        columns: for central intervals, which of an event's numbers to draw; all by default.
        labels: of the coordinates.
        draws: how many for each context; see :func:`credibility` and :func:`pit`.
        band: the probability of a calibrated flow to stay within the band.
        title: of the picture.
        chunk_size: how many are drawn at a time.
        seed: of what is drawn; torch's own random numbers are left as they were.
        ax: where to draw; a new figure by default.

    Returns:
        The figure; the last lines of ``ax.lines`` are the curves, at the levels 0, 0.005, ... 1.

    Raises:
        ShapeError, ContextError: if flow, data and contexts do not fit.
        DomainError: for data that are not finite.
        OptionError, OptionTypeError: for options out of their range.

    Example:
        >>> import torch, flowtorch.bijectors as bij, flowtorch.distributions as dist
        >>> flow = dist.Flow(dist.DiagNormal(2), bij.AffineCoupling(), context_shape=(3,))
        >>> figure = coverage(flow, torch.randn(200, 2), torch.randn(200, 3), draws=99)
        >>> figure.axes[0].get_xlabel()
        'level'

    References:
        A Trust Crisis In Simulation-Based Inference? Your Posterior Approximations Can Be Unfaithful
        (Hermans et al., 2022), https://arxiv.org/abs/2110.06581, sec. 2.
    """
    who = "coverage"
    options.one_of(who, "regions", regions, ("highest_density", "central"))
    options.number(who, "band", band, above=0.0, below=1.0)
    _, law = rows_and_law(who, flow, x, context)
    picked = chosen(who, columns, numel(law.event_shape))
    texts = named(who, labels, law.event_shape, picked)
    if regions == "central":
        middle = array(pit(flow, x, context, draws=draws, chunk_size=chunk_size, seed=seed))
        found = dict(zip(texts, np.abs(2 * middle.reshape(len(middle), -1)[:, picked].T - 1), strict=True))
    else:
        found = {"highest density": array(credibility(flow, x, context, draws=draws, chunk_size=chunk_size, seed=seed))}
    figure, ax = one_axes(who, ax, (4.4, 4.4))
    levels = np.linspace(0.0, 1.0, 201)
    count = len(next(iter(found.values())))
    off = math.sqrt(math.log(2 / (1 - band)) / (2 * count))
    ax.fill_between(levels, np.maximum(levels - off, 0), np.minimum(levels + off, 1), color=FAINT, alpha=0.3, lw=0)
    ax.plot([0, 1], [0, 1], color=FAINT, lw=1)
    for i, (text, values) in enumerate(found.items()):
        share = np.searchsorted(np.sort(values), levels, side="right") / count
        ax.plot(levels, share, lw=1.8, label=text, color=SEVERAL[i % len(SEVERAL)], ls=STYLES[i % len(STYLES)])
    ax.text(0.04, 0.96, "regions too large", transform=ax.transAxes, size=SMALL, color=FAINT, va="top")
    ax.text(0.96, 0.04, "regions too small", transform=ax.transAxes, size=SMALL, color=FAINT, ha="right")
    ax.set_xlim(0.0, 1.0)
    ax.set_ylim(0.0, 1.0)
    ax.set_aspect("equal")
    if regions == "central":
        ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.0, 0.92))
    finish(ax, title, ("level", "part of the truths within"))
    return figure


def binomial_interval(count: int, share: float, level: float) -> tuple[int, int]:
    """Returns the quantiles of a binomial distribution that hold the middle ``level``."""
    k = np.arange(count + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    log_choose = log_factorial[-1] - log_factorial - log_factorial[::-1]
    cdf = np.cumsum(np.exp(log_choose + k * math.log(share) + (count - k) * math.log1p(-share)))
    low, high = (int(np.searchsorted(cdf, q)) for q in ((1 - level) / 2, (1 + level) / 2))
    return low, min(high, count)
