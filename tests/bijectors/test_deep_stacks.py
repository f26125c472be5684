"""Deep stacks train: on standardised real data, with its ties and outliers, losses fall and nothing becomes NaN."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params

TABLE = Path(__file__).parents[2] / "scripts" / "data" / "household_power.csv.gz"
STEPS = 500


@pytest.fixture(scope="module")
def rows() -> torch.Tensor:
    """19 columns: four rows of the household's power side by side, dequantised, standardised."""
    table = np.loadtxt(TABLE, delimiter=",", skiprows=1, dtype=np.float32)
    generator = np.random.default_rng(0)
    generator.shuffle(table)
    table += generator.random(table.shape, dtype=np.float32) * np.float32([0.002, 0.01, 1.0, 1.0, 1.0, 1.0])
    wide = torch.from_numpy(table.reshape(-1, 24)[:, :19].copy())
    return (wide - wide.mean(0)) / wide.std(0)


def deep(name: str) -> bij.Bijector:
    net, made = params.DenseNN((32, 32)), params.MADE((32, 32))
    if name == "32 affine couplings":
        return bij.Compose([bij.AffineCoupling(net, swap=bool(i % 2)) for i in range(32)])
    if name == "20 spline couplings":
        return bij.Compose([bij.SplineCoupling(net, order="quadratic", swap=bool(i % 2)) for i in range(20)])
    layer = bij.Invert(bij.SplineAutoregressive(made, order="quadratic"))
    return bij.Compose([part for _ in range(10) for part in (layer, bij.Reverse(), layer)])


@pytest.mark.parametrize("name", ["32 affine couplings", "20 spline couplings", "20 spline autoregressive layers"])
def test_deep_stacks_train(name: str, rows: torch.Tensor) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = dist.Flow(dist.DiagNormal(19), deep(name))
        optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
        losses = []
        for _ in range(STEPS):
            loss = -flow.log_prob(rows[torch.randint(len(rows), (64,))]).mean()
            optimizer.zero_grad()
            loss.backward()
            assert loss.isfinite()
            assert all(bool(p.grad.isfinite().all()) for p in flow.parameters() if p.grad is not None)
            optimizer.step()
            losses.append(loss.item())
    # Medians: a batch with an outlier of ten standard deviations can end far out behind 32 layers with scales of their
    # own, and the next batch is as before.
    start, middle, end = (median(losses[i : i + 50]) for i in (0, STEPS // 2 - 25, STEPS - 50))
    assert start - 5.0 > middle > end, (start, middle, end)
