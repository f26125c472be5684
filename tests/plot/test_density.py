"""The heat map shows the density at the centres of its cells, and the samples."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.colors import PowerNorm

import flowtorch.distributions as dist
from flowtorch.plot import density
from flowtorch.plot.extra import Figure

from .laws import conditional, contexts, flow

WINDOW = ((-2.0, 3.0), (-1.0, 1.5))


def image(figure: Figure) -> np.ndarray:
    return np.asarray(figure.axes[0].images[0].get_array())


def centres(low: float, high: float, cells: int) -> np.ndarray:
    edges = np.linspace(low, high, cells + 1)
    return (edges[1:] + edges[:-1]) / 2


def points(figure: Figure) -> np.ndarray:
    return np.asarray(figure.axes[0].collections[0].get_offsets())


def test_the_image_is_the_density_at_the_centres_of_cells() -> None:
    law = flow().double()
    figure = density(law, 0, window=WINDOW, cells=30, chunk_size=17)
    x, y = np.meshgrid(centres(-2, 3, 30), centres(-1, 1.5, 30))
    exact = law.log_prob(torch.from_numpy(np.stack([x, y], -1))).exp().detach().numpy()
    assert np.allclose(image(figure), exact, rtol=1e-12)
    shown = figure.axes[0].images[0]
    assert tuple(shown.get_extent()) == (-2, 3, -1, 1.5) and shown.origin == "lower"
    assert shown.norm.vmin == 0 and shown.norm.vmax == exact.max()


def test_the_image_at_a_context() -> None:
    law, context = conditional(), contexts(1)[0]
    figure = density(law, 0, context=context, window=WINDOW, cells=5)
    x, y = np.meshgrid(centres(-2, 3, 5), centres(-1, 1.5, 5))
    grid = torch.from_numpy(np.stack([x, y], -1)).float()
    assert np.allclose(image(figure), law.log_prob(grid, context).exp().detach().numpy(), rtol=1e-5)
    assert np.array_equal(image(figure), image(density(law.condition(context), 0, window=WINDOW, cells=5)))


def test_the_window_holds_nearly_all_draws_and_the_cells_nearly_all_mass() -> None:
    law = dist.targets.TwoMoons()
    figure = density(law, 3000, cells=100)
    (left, right), (low, high) = figure.axes[0].get_xlim(), figure.axes[0].get_ylim()
    area = (right - left) * (high - low) / 100**2
    assert 0.985 < image(figure).sum() * area < 1.0
    assert len(points(figure)) == 3000


def test_samples_that_are_given_are_shown() -> None:
    data = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    figure = density(dist.DiagNormal(2), data, labels=("a (m)", "b (s)"), title="Both")
    assert np.array_equal(points(figure), data.numpy())
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("a (m)", "b (s)", "Both")


def test_draws_are_those_of_the_flow() -> None:
    found = points(density(dist.DiagNormal(2, loc=(5.0, -1.0), scale=(0.1, 2.0)), 4000))
    assert np.allclose(found.mean(0), [5, -1], atol=0.1) and np.allclose(found.std(0), [0.1, 2], rtol=0.05)


def test_draws_are_not_those_that_made_the_data() -> None:
    law = dist.DiagNormal(2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        data = law.sample((50,)).numpy()
    found = points(density(law, 50, seed=0))
    assert not np.isin(found, data).any()


def test_a_log_density_will_do() -> None:
    law = flow()
    of_function = density(lambda x: law.log_prob(x), 0, window=WINDOW, cells=9)
    assert np.array_equal(image(of_function), image(density(law, 0, window=WINDOW, cells=9)))


def test_where_there_is_no_density_the_image_is_zero() -> None:
    box = torch.distributions.Independent(torch.distributions.Uniform(torch.zeros(2), torch.ones(2)), 1)
    law = dist.Flow(box, flow().plan.parts[1])  # type: ignore[attr-defined]  # a permutation
    found = image(density(law, 0, window=((-1, 1), (-1, 1)), cells=4))
    assert np.array_equal(found, np.pad(np.ones((2, 2)), ((2, 0), (2, 0))))


def test_colours_as_they_are_wanted() -> None:
    norm = PowerNorm(0.5, 0, 2)
    figure = density(flow(), 0, norm=norm, colorbar=False)
    assert figure.axes[0].images[0].norm is norm and len(figure.axes) == 1
    assert len(density(flow(), 0).axes) == 2
