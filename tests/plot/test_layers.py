"""A flow layer by layer shows the flow's own draws and densities."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.flows as flows
from flowtorch.plot import layers
from flowtorch.plot.extra import Axes
from flowtorch.plot.inputs import looking

from .laws import conditional, contexts, flow


def points(ax: Axes) -> np.ndarray:
    return np.asarray(ax.collections[0].get_offsets())


def draws(law: dist.Flow, k: int, count: int, context: torch.Tensor | None = None) -> np.ndarray:
    with looking(law, seed=0):
        return law[:k].sample((count,), context).numpy()


@pytest.mark.parametrize("context", [None, contexts(1)[0]], ids=["plain", "conditional"])
def test_the_panels_show_the_same_draws_after_each_layer(context: torch.Tensor | None) -> None:
    law = flow() if context is None else conditional()
    axes = layers(law, context=context, count=200).axes
    assert [ax.get_title() for ax in axes] == ["base", "1: AffineCoupling", "2: Permute", "3: AffineAutoregressive"]
    for k in (1, 2, 3):
        assert np.allclose(points(axes[k]), draws(law, k, 200, context), atol=1e-6)


def test_draws_keep_the_colour_of_their_quadrant_of_the_base() -> None:
    axes = layers(flow(), count=400).axes
    base, colours = points(axes[0]), axes[0].collections[0].get_facecolors()  # type: ignore[attr-defined]
    quadrant = (base > np.median(base, 0)) @ [1, 2]
    assert all(len(np.unique(colours[quadrant == q], axis=0)) == 1 for q in range(4))
    assert len(np.unique(colours, axis=0)) == 4
    for ax in axes[1:]:
        assert np.array_equal(ax.collections[0].get_facecolors(), colours)  # type: ignore[attr-defined]


@pytest.mark.parametrize("context", [None, contexts(1)[0]], ids=["plain", "conditional"])
def test_densities_are_those_of_the_flow_stopped_there(context: torch.Tensor | None) -> None:
    law = flow() if context is None else conditional()
    axes = layers(law, context=context, show="densities", cells=4, window=((-2, 2), (-2, 2))).axes
    side = torch.tensor([-1.5, -0.5, 0.5, 1.5])
    grid = torch.cartesian_prod(side, side).reshape(4, 4, 2).transpose(0, 1)
    normal = torch.exp(-grid.square().sum(-1) / 2) / (2 * torch.pi)
    assert np.allclose(axes[0].images[0].get_array(), normal.numpy(), rtol=1e-5)
    for k in (1, 2, 3):
        exact = law[:k].log_prob(grid, context).exp().detach().numpy()
        assert np.allclose(axes[k].images[0].get_array(), exact, rtol=1e-4)


def test_two_of_more_coordinates() -> None:
    law = flow(4)
    axes = layers(law, count=100, columns=(3, 1), labels=("d", "b"), which=(0, 3), title="Two").axes
    assert np.allclose(points(axes[1]), draws(law, 3, 100)[:, [3, 1]], atol=1e-6)
    assert axes[0].get_xlabel() == "d" and axes[0].get_ylabel() == "b" and axes[1].get_ylabel() == ""


def test_a_flow_of_one_layer_and_one_of_many() -> None:
    one = dist.Flow(dist.DiagNormal(2), bij.AffineCoupling())
    assert [ax.get_title() for ax in layers(one, count=10).axes] == ["base", "1: AffineCoupling"]
    many = dist.Flow(dist.DiagNormal(2), flows.nice(layers=30))
    titles = [ax.get_title() for ax in layers(many, count=10).axes if ax.get_title()]
    count = len(many.bijector.parts)  # type: ignore[attr-defined]  # a composition's
    assert len(titles) == 12 and titles[0] == "base" and titles[-1].startswith(f"{count}:")


def test_a_part_of_several_layers_is_one_panel() -> None:
    law = dist.Flow(dist.DiagNormal(2), bij.Compose([bij.Affine(), bij.Compose([bij.Affine(), bij.AffineCoupling()])]))
    assert layers(law, count=10).axes[-1].get_title() == "2: Compose of 2"


def test_a_base_that_depends_on_the_context() -> None:
    law = dist.Flow(dist.ConditionalNormal(2, 3), bij.AffineCoupling(), context_shape=(3,))
    axes = layers(law, context=torch.ones(3), count=50).axes
    assert np.allclose(points(axes[1]), draws(law, 1, 50, torch.ones(3)), atol=1e-6)
