"""Curves of losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias, cast

import numpy as np
import torch

from .. import options
from ..errors import OptionError, OptionTypeError
from .canvas import FAINT, SEVERAL, SMALL, STYLES, finish, one_axes
from .extra import Array, ArrayLike, Axes, Figure

Curve: TypeAlias = "torch.Tensor | ArrayLike | Sequence[tuple[int, float]]"


class Losses(Protocol):
    """What :func:`flowtorch.train.fit` returns, as far as it is drawn."""

    @property
    def train(self) -> tuple[tuple[int, float], ...]:
        """Steps and losses of training."""

    @property
    def validation(self) -> tuple[tuple[int, float], ...]:
        """Steps and losses of validation."""

    @property
    def best_step(self) -> int | None:
        """The step of the lowest one."""

    @property
    def best_loss(self) -> float | None:
        """The lowest one."""


def losses(
    fitted: Losses | Mapping[str, Curve] | Curve,
    *,
    labels: tuple[str, str] = ("step", "loss (nats)"),
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draws losses by step, with a mark on the lowest validation loss.

    Where the first losses are so large that the others would look flat, they are cut off, and the picture says so.

    Args:
        fitted: what ``flowtorch.train.fit`` returned; or losses, or pairs of step and loss; or several of these by
            name.
        labels: of both axes.
        title: of the picture.
        ax: where to draw; a new figure by default.

    Returns:
        The figure, a line for each curve.

    Raises:
        OptionError, OptionTypeError: for what are no losses.

    Example:
        >>> figure = losses({"one": [3.0, 2.0, 1.5], "another": [(10, 3.0), (20, 1.0)]}, title="Two runs")
        >>> [line.get_label() for line in figure.axes[0].lines]
        ['one', 'another']
    """
    who = "losses"
    best: tuple[int, float] | None = None
    if hasattr(fitted, "train") and hasattr(fitted, "validation"):
        run = cast(Losses, fitted)
        found = {"training": _curve(who, run.train), "validation": _curve(who, run.validation)}
        if run.best_step is not None and run.best_loss is not None:
            best = (run.best_step, run.best_loss)
    elif isinstance(fitted, Mapping):
        found = {str(name): _curve(who, curve) for name, curve in fitted.items()}
    else:
        found = {"loss": _curve(who, fitted)}
    found = {name: curve for name, curve in found.items() if len(curve)}
    if not found:
        raise OptionError(f"{who}: at least one loss is expected; got none.")
    figure, ax = one_axes(who, ax, (6.0, 3.6))
    for i, (name, curve) in enumerate(found.items()):
        alone = "o" if len(curve) == 1 else ""
        ax.plot(*curve.T, label=name, color=SEVERAL[i % len(SEVERAL)], ls=STYLES[i % len(STYLES)], lw=1.5, marker=alone)
    if best is not None:
        ax.plot(*best, "o", color=SEVERAL[1], ms=6, mfc="none", label=f"lowest: {best[1]:.4g} at step {best[0]:,}")
    _cut(ax, list(found.values()))
    if len(ax.lines) > 1:
        ax.legend(frameon=False)
    finish(ax, title, labels)
    return figure


def _curve(who: str, curve: Curve) -> Array:
    """Returns steps and losses, ``(n, 2)``."""
    try:
        found = np.asarray(curve.detach().cpu() if isinstance(curve, torch.Tensor) else curve, dtype=np.float64)
    except (TypeError, ValueError):
        raise OptionTypeError(f"{who}: losses are expected to be numbers; got {options.short(curve)}.") from None
    if found.size == 0:
        return np.empty((0, 2))
    if found.ndim == 1:
        return np.stack([np.arange(1.0, len(found) + 1), found], 1)
    if found.ndim != 2 or found.shape[1] != 2:
        raise OptionError(f"{who}: losses, or pairs of step and loss, are expected; got shape {found.shape}.")
    return found


def _cut(ax: Axes, curves: list[Array]) -> None:
    """Cuts the first losses off where they are much larger than all that follow."""
    every = [c[np.isfinite(c[:, 1])] for c in curves]
    last = max((c[-1, 0] for c in every if len(c)), default=math.inf)
    late = [c[c[:, 0] > 0.1 * last, 1] for c in every]
    if sum(map(len, late)) < 5:
        return
    values, rest = np.concatenate([c[:, 1] for c in every]), np.concatenate(late)
    low, high = rest.min(), rest.max()
    if values.max() - low > 3 * (high - low) > 0:
        pad = 0.15 * (high - low)
        ax.set_ylim(min(low, values.min()) - pad, high + pad)
        text = f"first losses, up to {values.max():.4g}, are above"
        ax.text(0.02, 0.02, text, transform=ax.transAxes, size=SMALL, color=FAINT, va="bottom")
