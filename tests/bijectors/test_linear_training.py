"""Linear maps by reflections, skew-symmetric matrices, exponentials and low rank train, and stay exact."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal

import flowtorch.distributions as dist
from flowtorch.bijectors.householder import Householder
from flowtorch.bijectors.linear import Linear
from flowtorch.bijectors.low_rank import DiagonalPlusLowRank
from flowtorch.bijectors.matrix_exponential import MatrixExponential
from flowtorch.bijectors.orthogonal import Orthogonal
from flowtorch.bijectors.qr import QR
from flowtorch.bijectors.svd import SVD

D, STEPS = 5, 1000
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-4}  # as the documentation states them

GENERAL: dict[str, Linear] = {
    "qr": QR(bias=True),
    "svd": SVD(bias=True),
    "matrix exponential": MatrixExponential(bias=True),
    "matrix exponential, weight": MatrixExponential(bias=True, normalization="weight", bound=3.0),
    "matrix exponential, spectral": MatrixExponential(bias=True, normalization="spectral", bound=3.0),
    "low rank": DiagonalPlusLowRank(bias=True, rank=2),
}
ROTATIONS: dict[str, Linear] = {
    "householder": Householder(count_transforms=4),
    "orthogonal, cayley": Orthogonal(),
    "orthogonal, exponential": Orthogonal(method="exponential"),
}


def train(base: torch.distributions.Distribution, plan: Linear, columns: torch.Tensor) -> dist.Flow:
    """Fits a normal with this factor of its covariance, checks the densities, and returns the flow."""
    target = MultivariateNormal(torch.zeros(D).double(), columns @ columns.mT)
    flow = dist.Flow(base, plan).double()
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    held_out = torch.randn(4000, D, dtype=torch.float64) @ columns.mT

    def divergence() -> float:
        with torch.no_grad():
            return (target.log_prob(held_out) - flow.log_prob(held_out)).mean().item()

    start = divergence()
    for _ in range(STEPS):
        loss = -flow.log_prob(torch.randn(256, D, dtype=torch.float64) @ columns.mT).mean()
        optimizer.zero_grad()
        loss.backward()
        assert loss.isfinite()
        optimizer.step()
    assert start > 0.3 and divergence() < 0.1 * start
    return flow


def check_inverse(flow: dist.Flow) -> None:
    """The inverse undoes forward to the tolerances stated, and forward the inverse."""
    for dtype, tolerance in TOLERANCES.items():
        bound, x = copy.deepcopy(flow.bijector).to(dtype), torch.randn(4000, D, dtype=dtype)
        with torch.no_grad():
            for once, back in ((bound.forward, bound.inverse), (bound.inverse, bound.forward)):
                assert (back(once(x)) - x).abs().max() < tolerance * x.abs().max()


@pytest.mark.parametrize("name", GENERAL)
def test_correlations_are_learnt_and_the_inverse_stays_exact(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        # Of variance 1, like standardised data: what is to be learnt lies off the diagonal, where a map that starts at
        # a saddle does not see it.
        factor = torch.randn(D, D, dtype=torch.float64)
        columns = torch.nn.functional.normalize(torch.linalg.cholesky(factor @ factor.mT), dim=-1)
        check_inverse(train(dist.DiagNormal(D), GENERAL[name], columns))


@pytest.mark.parametrize("name", ROTATIONS)
def test_axes_are_learnt_and_rotations_stay_orthogonal(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        rotation = torch.linalg.qr(torch.randn(D, D, dtype=torch.float64)).Q
        rotation[:, 0] *= torch.linalg.det(rotation)
        scales = torch.linspace(0.3, 3.0, D, dtype=torch.float64)
        flow = train(Independent(Normal(torch.zeros_like(scales), scales), 1), ROTATIONS[name], rotation * scales)
        check_inverse(flow)
        eye = torch.eye(D, dtype=torch.float64)
        with torch.no_grad():
            w = flow.bijector.forward(eye).mT
        torch.testing.assert_close(w @ w.mT, eye, rtol=0.0, atol=1e-12)
