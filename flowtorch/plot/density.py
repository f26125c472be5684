"""The density of a flow over pairs, as a heat map with samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from torch.distributions import Distribution

from .. import options
from ..errors import OptionError, OptionTypeError, ShapeError
from ..objectives.draws import LogDensity
from ..types import numel
from .canvas import DATA_MAP, FLOW, finish, one_axes
from .extra import Array, ArrayLike, Axes, Figure, Normalize
from .inputs import (
    CHUNK,
    array,
    checked_window,
    looking,
    named,
    one_law,
    onto,
    samples_of,
    tensor,
    window_of,
)

Window = tuple[tuple[float, float], tuple[float, float]]


def density(
    flow: Distribution | LogDensity,
    samples: int | torch.Tensor | ArrayLike = 2000,
    *,
    context: torch.Tensor | ArrayLike | None = None,
    window: Window | None = None,
    cells: int = 200,
    labels: Sequence[str] | None = None,
    title: str | None = None,
    norm: Normalize | None = None,
    colorbar: bool = True,
    chunk_size: int = CHUNK,
    seed: int = 0,
    ax: Axes | None = None,
) -> Figure:
    r"""Draws the density of pairs as a heat map, with samples on it.

    .. math:: p(x \mid c) = \exp \log p(x \mid c) \quad\text{at the centres of the cells}

    Args:
        flow: a flow, its view, or another distribution over two numbers; or a log-density, a function of
            ``(n, 2)``, for which ``window`` is needed, and samples are given or 0.
        samples: how many to draw, or those to show, ``(n, 2)``, such as data.
        context: the one to look at, where the flow has contexts.
        window: ``((low, high), (low, high))`` of both coordinates; by default where nearly all samples lie.
        cells: along each side.
        labels: of both coordinates.
        title: of the picture.
        norm: of the colours, such as ``matplotlib.colors.PowerNorm(0.5)``; linear from zero by default.
        colorbar: whether to draw the scale of the colours.
        chunk_size: how many points are evaluated at a time.
        seed: of what is drawn; torch's own random numbers are left as they were.
        ax: where to draw; a new figure by default.

    Returns:
        The figure; the image is the last of ``ax.images``.

    Raises:
        ShapeError, ContextError: if flow, context and samples do not fit, or are not of pairs.
        DomainError: for samples that are not finite.
        OptionError, OptionTypeError: for options out of their range.

    Example:
        >>> import flowtorch.distributions as dist
        >>> figure = density(dist.targets.TwoMoons(), 500, cells=50, labels=("left", "up"))
        >>> figure.axes[0].images[0].get_array().shape
        (50, 50)
    """
    who = "density"
    options.integer(who, "cells", cells, minimum=1)
    options.integer(who, "chunk_size", chunk_size, minimum=1)
    options.boolean(who, "colorbar", colorbar)
    if isinstance(flow, Distribution):
        law = one_law(who, flow, context)
        if numel(law.event_shape) != 2:
            raise ShapeError(
                f"{who}: a flow over two numbers is expected; got event shape {tuple(law.event_shape)}. More of them "
                "are for corner or marginals."
            )
        log_prob, shape = cast(LogDensity, law.log_prob), law.event_shape
        sides, points, like = _from_law(who, law, flow, samples, window, seed)
    else:
        if not callable(flow) or context is not None or window is None or (isinstance(samples, int) and samples):
            raise OptionTypeError(
                f"{who}: a flow is expected, or a log-density with window=... and samples that are given or 0; got "
                f"{options.short(flow)}."
            )
        log_prob, shape = flow, torch.Size([2])
        sides = _sides(who, window)
        points = np.empty((0, 2)) if isinstance(samples, int) else array(_pairs(who, samples))
        like = onto(torch.empty(0), flow)
    with looking(flow, seed):
        values = heights(log_prob, sides, cells, shape, like, chunk_size)
    figure, ax = one_axes(who, ax, (5.4, 4.4) if colorbar else (4.6, 4.4))
    draw(ax, values, sides, points, norm)
    if colorbar:
        ax.figure.colorbar(ax.images[-1], ax=ax, label="density")
    finish(ax, title, cast(tuple[str, str], tuple(named(who, labels, torch.Size([2]), (0, 1)))))
    return figure


def heights(
    log_prob: Callable[[torch.Tensor], torch.Tensor],
    sides: Window,
    cells: int,
    shape: torch.Size,
    like: torch.Tensor,
    chunk_size: int = CHUNK,
) -> Array:
    """Returns densities at the centres of cells: rows along the second coordinate, from below."""
    step = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    x, y = (low + (high - low) * step for low, high in sides)
    grid = torch.cartesian_prod(y, x).flip(-1).to(like.device, like.dtype).reshape(-1, *shape)
    found = [array(log_prob(part).exp()) for part in grid.split(chunk_size)]
    return np.concatenate(found).reshape(cells, cells)


def draw(ax: Axes, values: Array, sides: Window, points: Array, norm: Normalize | None) -> None:
    """Draws a heat map with points on it."""
    finite = values[np.isfinite(values)]
    norm = norm or Normalize(0.0, float(finite.max()) if finite.size and finite.max() > 0 else 1.0)
    ax.imshow(values, origin="lower", extent=(*sides[0], *sides[1]), aspect="auto", cmap=DATA_MAP, norm=norm)
    if len(points):
        size = min(5.0, max(1.5, 6000 / len(points)))
        ax.scatter(points[:, 0], points[:, 1], s=size, c=FLOW, alpha=0.6, linewidths=0, rasterized=True)
    ax.set_xlim(sides[0])
    ax.set_ylim(sides[1])


def _from_law(
    who: str, law: Distribution, flow: Distribution, samples: object, window: Window | None, seed: int
) -> tuple[Window, Array, torch.Tensor]:
    """Returns the window, points to show, and a tensor like the flow's."""
    if isinstance(samples, int):
        options.integer(who, "samples", samples, minimum=0)
    with looking(flow, seed):
        drawn = samples_of(law, max(samples if isinstance(samples, int) else 0, 1 if window else 4000))
    theirs = array(drawn).reshape(-1, 2)
    points = theirs[:samples] if isinstance(samples, int) else array(_pairs(who, cast(ArrayLike, samples)))
    if window is not None:
        return _sides(who, window), points, drawn
    seen = theirs if isinstance(samples, int) else np.concatenate([theirs, points])
    return cast(Window, tuple(window_of(column) for column in seen.T)), points, drawn


def _pairs(who: str, samples: torch.Tensor | ArrayLike) -> torch.Tensor:
    found = tensor(who, "samples", samples)
    if found.dim() < 2 or numel(found.shape[1:]) != 2:
        raise ShapeError(f"{who}: samples are expected to be of shape (n, 2); got {tuple(found.shape)}.")
    return found.reshape(-1, 2)


def _sides(who: str, window: object) -> Window:
    if not isinstance(window, Sequence | np.ndarray) or len(window) != 2:
        raise OptionError(f"{who}: a window ((low, high), (low, high)) is expected; got {options.short(window)}.")
    return checked_window(who, window[0]), checked_window(who, window[1])
