"""Rank histograms and coverage against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from flowtorch.plot import calibration, coverage, credibility, pit
from flowtorch.plot.calibration import binomial_interval
from flowtorch.plot.extra import Axes, Figure

from .laws import normals, own_draws

LEVELS = np.linspace(0, 1, 201)


def heights(ax: Axes) -> np.ndarray:
    (found,) = (np.asarray(patch.get_data().values) for patch in ax.patches if hasattr(patch, "get_data"))
    return found


def band(ax: Axes) -> tuple[float, float]:
    (found,) = (patch for patch in ax.patches if not hasattr(patch, "get_data"))
    heights = np.asarray(found.get_patch_transform().transform(found.get_path().vertices))[:, 1]
    return float(heights.min()), float(heights.max())


def curves(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(line.get_ydata()) for line in figure.axes[0].lines[1:]]


@pytest.mark.parametrize(
    ("count", "share", "level"), [(1000, 0.05, 0.99), (17, 0.5, 0.9), (20_000, 0.1, 0.95), (3, 0.1, 0.5)]
)
def test_the_band_is_of_quantiles_of_the_binomial_distribution(count: int, share: float, level: float) -> None:
    exact = stats.binom.ppf([(1 - level) / 2, (1 + level) / 2], count, share)
    assert binomial_interval(count, share, level) == tuple(exact)


def test_ranks_are_counted_in_bins_relative_to_the_flat_histogram() -> None:
    law, x, context = own_draws(400)
    figure = calibration(law, x, context, draws=50, bins=8, band=0.9, labels=("a", "b"))
    ranks = pit(law, x, context, draws=50).numpy()
    for i, ax in enumerate(figure.axes):
        assert np.allclose(heights(ax), np.histogram(ranks[:, i], 8, (0, 1))[0] / 50)
        assert np.allclose(band(ax), stats.binom.ppf([0.05, 0.95], 400, 1 / 8) / 50)
        assert ax.get_title() == "ab"[i]


def test_a_calibrated_flow_stays_in_the_band_and_others_do_not() -> None:
    law, x, context = own_draws(1000)
    right = calibration(law, x, context, draws=99)
    outside = [(h < low) | (h > high) for ax in right.axes for h in [heights(ax)] for low, high in [band(ax)]]
    assert np.concatenate(outside).sum() <= 2  # of 40 bars, each of which is outside by chance once in a hundred
    middle = law.condition(context).sample((200,)).mean(0)
    narrow, wide = (heights(calibration(law, middle + s * (x - middle), context, draws=99).axes[0]) for s in (1.6, 0.6))
    assert narrow[[0, -1]].min() > 1.5 > narrow[5:-5].max()  # a trough
    assert wide[[0, -1]].max() < 0.5 < wide[5:-5].min()  # a hump


def test_coverage_is_the_share_of_rows_in_regions_of_highest_density() -> None:
    law, x, context = own_draws(300)
    (found,) = curves(coverage(law, x, context, draws=100))
    levels = credibility(law, x, context, draws=100).numpy()
    assert np.allclose(found, [(levels <= level).mean() for level in LEVELS])


def test_coverage_of_intervals_of_each_coordinate() -> None:
    law, x, context = own_draws(300)
    figure = coverage(law, x, context, regions="central", columns=(1, 0), draws=100)
    away = np.abs(2 * pit(law, x, context, draws=100).numpy() - 1)
    for found, column in zip(curves(figure), (1, 0), strict=True):
        assert np.allclose(found, [(away[:, column] <= level).mean() for level in LEVELS])
    legend = figure.axes[0].get_legend()
    assert legend is not None and [t.get_text() for t in legend.get_texts()] == ["x[1]", "x[0]"]


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_coverage_of_normal_distributions_is_as_computed_by_hand(scale: float) -> None:
    loc = torch.linspace(-3, 3, 2000)[:, None]
    x = loc + torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
    exact = 2 * stats.norm.cdf(scale * stats.norm.ppf((1 + LEVELS) / 2)) - 1
    off = math.sqrt(math.log(2 / 0.001) / (2 * 2000)) + 0.01
    for regions in ("highest_density", "central"):  # the same, of a normal distribution
        (found,) = curves(coverage(normals(loc, scale), x, regions=regions, draws=500))  # type: ignore[arg-type]
        assert np.abs(found - exact).max() < off


def test_the_band_of_coverage_is_that_of_the_inequality() -> None:
    law, x, context = own_draws(300)
    grey = coverage(law, x, context, draws=20, band=0.9).axes[0].collections[0].get_paths()[0].vertices
    off = np.asarray(grey)[:, 1] - np.asarray(grey)[:, 0]
    assert np.isclose(np.abs(off).max(), math.sqrt(math.log(2 / 0.1) / 600))
