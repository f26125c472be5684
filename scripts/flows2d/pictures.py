"""Draws, for each target, its density and the densities and samples of all flows."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from PIL import Image

from . import models, problems, runs

COLUMNS, DPI = 6, 110
PANEL, GAP, TITLE = 1.42, 0.05, 0.24  # inches
COLOURS = 160  # of the palette
INK, FAINT, DOT = "#22272e", "#c9ced6", "#1d4e74"
BLUES = LinearSegmentedColormap.from_list("density", ["#ffffff", "#c5dbea", "#6ea6cc", "#1d4e74", "#0b2740"])


def write(folder: Path, out: Path) -> dict[str, str]:
    """Writes a picture for each target of which a flow was trained; returns their names."""
    out.mkdir(parents=True, exist_ok=True)
    names = {}
    for target in problems.PROBLEMS:
        kept = {plan: runs.picture_file(folder, plan, target) for plan in models.PLANS}
        kept = {plan: path for plan, path in kept.items() if path.exists()}
        if kept:
            names[target] = f"flows_{target}.png"
            (out / names[target]).write_bytes(_draw(target, kept))
    return names


def _draw(target: str, kept: dict[str, Path]) -> bytes:
    plans = [None, *kept]
    bands = -(-len(plans) // COLUMNS)
    wide, high = COLUMNS * (PANEL + GAP) + GAP, bands * (2 * (PANEL + GAP) + TITLE)
    figure = plt.figure(figsize=(wide, high), dpi=DPI)
    tops = {torus: _density(target, torus).max() for torus in (False, True)}
    for i, plan in enumerate(plans):
        left, top = GAP + (i % COLUMNS) * (PANEL + GAP), high - (i // COLUMNS) * high / bands - TITLE
        upper, lower = (
            figure.add_axes((left / wide, (top - PANEL - down) / high, PANEL / wide, PANEL / high))
            for down in (0.0, PANEL + GAP)
        )
        torus = plan in models.TORUS
        if plan is None:
            density, samples = _density(target, False), problems.held_out(target, False)[0].numpy()[: runs.SAMPLES]
        else:
            with np.load(kept[plan]) as file:
                density, samples = np.exp(file["log_q"].astype(np.float64)), file["samples"]
        name = plan or "target"
        upper.set_title(f"{name} (torus)" if torus else name, fontsize=8, color=INK, pad=2.5)
        _panels(upper, lower, density, samples, _edges(target, torus), float(tops[torus]))
    buffer = io.BytesIO()
    figure.savefig(buffer)
    plt.close(figure)
    image = Image.open(buffer).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small = io.BytesIO()
    image.save(small, "PNG", optimize=True)
    return small.getvalue()


def _density(target: str, torus: bool) -> np.ndarray:
    grid = problems.lattice(target, torus, runs.CELLS).double()
    p = problems.distribution(target, torus)
    return np.stack([p.log_prob(row).exp().numpy() for row in grid])


def _edges(target: str, torus: bool) -> tuple[float, float, float, float]:
    corners = problems.lattice(target, torus, 1)[0, 0].tolist()
    half = np.pi if torus else problems.PROBLEMS[target].half
    return corners[0] - half, corners[0] + half, corners[1] - half, corners[1] + half


def _panels(
    upper: Axes,
    lower: Axes,
    density: np.ndarray,
    samples: np.ndarray,
    edges: tuple[float, float, float, float],
    top: float,
) -> None:
    norm = PowerNorm(0.5, 0.0, top, clip=True)  # roots, so that tails are seen
    upper.imshow(density, origin="lower", extent=edges, cmap=BLUES, norm=norm, interpolation="antialiased")
    lower.plot(*samples.T, ",", color=DOT, alpha=0.6)
    for ax in (upper, lower):
        ax.set_xlim(edges[:2])
        ax.set_ylim(edges[2:])
        ax.set_aspect("equal")
        ax.set_xticks([])
        ax.set_yticks([])
        for side in ax.spines.values():
            side.set_color(FAINT)
            side.set_linewidth(0.6)
