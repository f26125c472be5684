"""The corner plot shows histograms of data and samples, each where it says."""

from __future__ import annotations

import numpy as np
import torch

import flowtorch.distributions as dist
from flowtorch.plot import corner
from flowtorch.plot.extra import Axes, Figure

from .laws import own_draws

RNG = np.random.default_rng(0)
DATA, SAMPLES = RNG.normal(0, [1, 2, 3], (400, 3)), RNG.normal(1, [1, 2, 3], (400, 3))
EDGES = [np.linspace(-4, 4, 9), np.linspace(-8, 8, 9), np.linspace(-12, 12, 9)]


def panels(figure: Figure, count: int) -> np.ndarray:
    return np.array(figure.axes, dtype=object).reshape(count, count)


def heights(ax: Axes) -> list[np.ndarray]:
    return [np.asarray(patch.get_data().values) for patch in ax.patches]  # type: ignore[attr-defined]  # stairs


def test_the_diagonal_holds_both_histograms() -> None:
    grid = panels(corner(DATA, SAMPLES, bins=EDGES), 3)
    for i in range(3):
        data, samples = heights(grid[i, i])
        assert np.allclose(data, np.histogram(DATA[:, i], EDGES[i], density=True)[0])
        assert np.allclose(samples, np.histogram(SAMPLES[:, i], EDGES[i], density=True)[0])


def test_data_are_below_the_diagonal_and_samples_above() -> None:
    grid = panels(corner(DATA, SAMPLES, bins=EDGES), 3)
    for row, column in ((0, 2), (2, 0), (1, 2)):
        shown = np.ma.filled(grid[row, column].collections[0].get_array(), 0.0)
        source = DATA if row > column else SAMPLES
        counts = np.histogram2d(source[:, column], source[:, row], [EDGES[column], EDGES[row]])[0]
        assert np.allclose(shown, counts.T / 400)


def test_both_triangles_are_on_one_scale() -> None:
    grid = panels(corner(DATA, SAMPLES, bins=EDGES), 3)
    below, above = (grid[place].collections[0].norm for place in ((2, 1), (1, 2)))
    assert (below.vmin, below.vmax) == (above.vmin, above.vmax)


def test_equally_many_of_both_are_drawn() -> None:
    few = SAMPLES[:100]
    grid = panels(corner(DATA, few, bins=[[-20.0, 0.0, 20.0]] * 3), 3)
    data, samples = heights(grid[1, 1])
    assert np.allclose(samples * 20 * 100, np.histogram(few[:, 1], [-20, 0, 20])[0])
    assert np.allclose(data * 20 * 100, np.round(data * 20 * 100)) and data.sum() * 20 == 1


def test_columns_labels_windows_and_names() -> None:
    window, names = (None, (-1, 1)), ("seen", "made")
    figure = corner(DATA, SAMPLES, columns=(2, 0), labels=("c (V)", "a (A)"), window=window, names=names, title="T")
    grid = panels(figure, 2)
    assert [ax.get_xlabel() for ax in grid[1]] == ["c (V)", "a (A)"] and grid[1, 0].get_ylabel() == "a (A)"
    assert grid[1, 1].get_xlim() == (-1, 1)
    low, high = grid[0, 0].get_xlim()
    assert low < np.quantile(DATA[:, 2], 0.01) and high > np.quantile(DATA[:, 2], 0.99)
    legend = figure.legends[0]
    assert [t.get_text() for t in legend.get_texts()] == ["seen (diagonal and below)", "made (diagonal and above)"]
    assert legend.get_title().get_text() == "T"


def test_long_labels_are_broken() -> None:
    labels = [
        "water_heater_and_air_conditioning_Wh",
        "average temperature of the room (K)",
        r"$\mathrm{abcdefghijklmnop}$",
    ]
    grid = panels(corner(DATA, SAMPLES, labels=labels), 3)
    assert [ax.get_xlabel() for ax in grid[2]] == [
        "water_heater_and_\nair_conditioning_Wh",
        "average temperature\nof the room (K)",
        labels[2],
    ]
    assert corner(DATA, SAMPLES, columns=(0,), labels=["a" * 90]).axes[0].get_xlabel() == "a" * 25 + "…"


def test_columns_are_named_by_their_place_in_the_event() -> None:
    grid = panels(corner(torch.randn(30, 2, 2), torch.randn(30, 2, 2), columns=(1, 2)), 2)
    assert [ax.get_xlabel() for ax in grid[1]] == ["x[0, 1]", "x[1, 0]"]


def test_a_column_that_is_nearly_one_value_is_on_a_logarithmic_scale() -> None:
    spiked = np.concatenate([np.zeros((390, 1)), np.full((10, 1), 5.0)])
    assert corner(spiked, spiked).axes[0].get_yscale() == "log"
    assert corner(DATA[:, :1], SAMPLES[:, :1]).axes[0].get_yscale() == "linear"


def test_a_constant_column_is_drawn() -> None:
    assert len(corner(np.ones((20, 2)), np.ones((20, 2))).axes) == 4


def test_samples_of_a_flow() -> None:
    law = dist.DiagNormal(3, loc=1.0, scale=(1.0, 2.0, 3.0))
    edges = [[-30.0, 1.0, 30.0]] * 3
    samples = heights(panels(corner(DATA, law, bins=edges), 3)[1, 1])[1]
    assert abs(samples[1] * 29 - 0.5) < 0.1  # half of them are above the mean


def test_samples_of_a_flow_at_the_context_of_each_row() -> None:
    law, x, context = own_draws(2000)
    figure = corner(x, law, context=context, bins=[[-50.0, 0.0, 50.0]] * 2)
    data, samples = heights(figure.axes[0])
    assert np.abs(data - samples).max() * 50 < 0.06
    one = corner(x, law, context=context[0], bins=[[-50.0, 0.0, 50.0]] * 2)
    exact = law.sample((20_000,), context[0])[:, 0].lt(0).double().mean()
    assert abs(heights(one.axes[0])[1][0] * 50 - float(exact)) < 0.05


def test_part_of_a_figure_is_drawn_in() -> None:
    figure = Figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subfigures(1, 2)
    assert corner(DATA, SAMPLES, fig=right) is figure
    assert len(right.axes) == 9 and not left.axes
