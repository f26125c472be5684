"""Marginals and their PIT."""

from __future__ import annotations

import numpy as np
import torch
from torch.distributions import Normal

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
from flowtorch.plot import marginals, pit
from flowtorch.plot.extra import Axes

from .laws import flow, own_draws


def heights(ax: Axes) -> list[np.ndarray]:
    return [np.asarray(patch.get_data().values) for patch in ax.patches if hasattr(patch, "get_data")]


def test_both_rows_show_data_flow_and_pit() -> None:
    law, x, context = own_draws(500)
    edges = [np.linspace(-6, 6, 13)] * 2
    axes = marginals(law, x, context, bins=edges, draws=100, labels=("a (m)", "b (s)")).axes
    for i in range(2):
        data, samples = heights(axes[i])
        assert np.allclose(data, np.histogram(x[:, i], edges[i])[0] / 500)
        assert np.abs(data - samples).max() < 0.08 and abs(samples.sum() - 1) < 0.05
        where = pit(law, x, context, draws=100)[:, i].numpy()
        assert np.allclose(heights(axes[2 + i])[0], np.histogram(where, 20, (0, 1))[0] / 25)
    assert [ax.get_xlabel() for ax in axes] == ["a (m)", "b (s)", "PIT", "PIT"]


def test_the_flow_is_shown_and_not_the_data_again() -> None:
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    data, samples = heights(marginals(dist.DiagNormal(2, scale=0.5), x, bins=[[-5.0, -1.0, 1.0, 5.0]] * 2).axes[0])
    assert abs(data[1] * 2 - 0.683) < 0.06 and abs(samples[1] * 2 - 0.954) < 0.02


def test_a_univariate_flow() -> None:
    law = dist.Flow(Normal(0.0, 1.0), bij.Spline())
    x = law.sample((300,))
    axes = marginals(law, x, labels=["t (s)"]).axes
    assert len(axes) == 2 and axes[0].get_xlabel() == "t (s)"
    assert np.allclose(heights(axes[1])[0], np.histogram(law.cdf(x).detach().numpy(), 20, (0, 1))[0] / 15)


def test_columns_and_several_rows_of_panels() -> None:
    law = flow(7)
    x = law.sample((50,))
    axes = [ax for ax in marginals(law, x, title="Seven").axes if ax.get_xlabel()]
    assert len(axes) == 14
    axes = marginals(law, x, columns=(6, 2)).axes
    assert [ax.get_xlabel() for ax in axes[:2]] == ["x[6]", "x[2]"]
