"""Targets on the way from a base to a density, and how far along a step of training is."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.distributions import Normal

from flowtorch.objectives import annealed, annealing_weight, importance_estimate
from tests.distributions.helpers import close, draw

BASE, TARGET = Normal(0.0, 1.0), Normal(3.0, 0.5)
Y = draw(7)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, torch.tensor(0.3)], ids=str)
def test_it_is_the_geometric_mean_of_the_two(weight: float | torch.Tensor) -> None:
    expected = (1 - weight) * BASE.log_prob(Y) + weight * TARGET.log_prob(Y)
    close(annealed(TARGET.log_prob, BASE, weight)(Y), expected)
    close(annealed(TARGET.log_prob, None, weight)(Y), weight * TARGET.log_prob(Y))


def test_half_way_between_two_normal_distributions_is_a_normal_distribution() -> None:
    # Of precision (1 + 4) / 2, with mean (0 · 1 + 3 · 4) / 5.
    torch.manual_seed(0)
    found = importance_estimate(Normal(2.0, 1.0), annealed(TARGET.log_prob, BASE, 0.5), 200_000)
    assert found.mean.item() == pytest.approx(12 / 5, abs=0.01)
    assert found.covariance.item() == pytest.approx(2 / 5, abs=0.01)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_at_the_ends_the_other_density_may_be_zero(weight: float) -> None:
    y = torch.tensor([-1.0, 1.0], requires_grad=True)

    def positive(y: torch.Tensor) -> torch.Tensor:
        return torch.where(y > 0, -y, -math.inf)

    ends = (BASE.log_prob, positive) if weight == 0 else (positive, BASE.log_prob)

    base = Normal(0.0, 1.0)
    base.log_prob = ends[0]  # type: ignore[method-assign]
    found = annealed(ends[1], base, weight)(y)
    close(found, BASE.log_prob(y))
    found.sum().backward()
    assert y.grad is not None and y.grad.isfinite().all()


def test_the_schedules_go_from_start_to_one() -> None:
    for shape in ("linear", "cosine", "geometric"):
        weights = [annealing_weight(step, 50, 0.02, shape) for step in range(70)]  # type: ignore[arg-type]
        assert weights[0] == pytest.approx(0.02) and weights[50:] == [1.0] * 20
        assert all(a < b for a, b in itertools.pairwise(weights[:51]))
    assert [annealing_weight(t, 10_000) for t in (0, 5_000)] == pytest.approx([0.01, 0.505])
    assert annealing_weight(25, 50, 0.02, "cosine") == pytest.approx(0.51)
    assert annealing_weight(25, 50, 0.04, "geometric") == pytest.approx(0.2)
    assert annealing_weight(0, 0) == 1.0
