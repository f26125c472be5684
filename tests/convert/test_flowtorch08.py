"""What FlowTorch 0.8 saved gives the flow that it saved.

``flowtorch08.json`` is its states, samples and densities, as ``make_flowtorch08.py`` wrote them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.convert import from_flowtorch
from flowtorch.distributions import DiagNormal, Flow

SAVED = json.loads((Path(__file__).parent / "flowtorch08.json").read_text())
TANH = params.DenseAutoregressive(nonlinearity=torch.nn.Tanh)
PLANS = {
    "autoregressive": bij.Compose(
        [
            bij.AffineAutoregressive(log_scale_max_clip=0.5),
            bij.SplineAutoregressive(count_bins=4),
            bij.Permute((2, 0, 1)),
        ]
    ),
    "quadratic": bij.SplineAutoregressive(TANH, count_bins=3, bound=2.0, order="quadratic"),
    "one layer": bij.AffineAutoregressive(),
    "elementwise affine": bij.Affine(),
    "elementwise spline": bij.Spline(count_bins=4),
    "inverse": bij.Invert(bij.AffineAutoregressive()),
}


def saved(name: str, key: str) -> torch.Tensor:
    return torch.tensor(SAVED[name][key], dtype=torch.float64)


def converted(name: str, dtype: torch.dtype = torch.float64) -> Flow:
    exact = {key: torch.tensor(value, dtype=torch.float64) for key, value in SAVED[name]["state"].items()}
    state = {key: v.long() if key.endswith("permutation") else v for key, v in exact.items()}
    return from_flowtorch(state, DiagNormal(3, torch.zeros(3, dtype=dtype), torch.ones(3, dtype=dtype)), PLANS[name])


def test_every_plan_was_saved() -> None:
    assert set(SAVED) == set(PLANS)


@pytest.mark.parametrize("name", PLANS)
def test_the_same_noise_gives_the_same_samples(name: str) -> None:
    y = converted(name).bijector.forward(saved(name, "x"))
    torch.testing.assert_close(y, saved(name, "y"), rtol=1e-9, atol=1e-9)


# Within Invert the log-determinants of 0.8 had the wrong sign.
@pytest.mark.parametrize("name", [name for name in PLANS if name != "inverse"])
def test_densities_are_the_same(name: str) -> None:
    found = converted(name).log_prob(saved(name, "y"))
    torch.testing.assert_close(found, saved(name, "log_prob"), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", PLANS)
def test_the_flow_is_of_the_bases_dtype(name: str) -> None:
    flow = converted(name, torch.float32)
    assert {p.dtype for p in flow.parameters()} == {torch.float32}
    y = flow.bijector.forward(saved(name, "x").float())
    torch.testing.assert_close(y.double(), saved(name, "y"), rtol=1e-4, atol=1e-4)
