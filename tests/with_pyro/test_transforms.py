"""Bound bijectors are transforms for Pyro's own ``TransformedDistribution``."""

from __future__ import annotations

import pyro
import pyro.distributions as pd
import pytest
import torch
from pyro import poutine

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params

NET, MADE = params.DenseNN((8, 8)), params.MADE((8, 8))
PLANS: dict[str, bij.Bijector] = {
    "coupling": bij.AffineCoupling(NET),
    "autoregressive": bij.AffineAutoregressive(MADE),
    "inverse": bij.Invert(bij.AffineAutoregressive(MADE)),
    "spline": bij.Spline(),
    "composed": bij.Compose([bij.LU(), bij.SplineCoupling(NET), bij.Exp()]),
}


def bound(plan: bij.Bijector, context: int | None = None) -> bij.BoundBijector[bij.Bijector]:
    """A bijector away from the identity."""
    made = plan.bind((3,), None if context is None else (context,))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def base() -> pd.Distribution:
    return pd.Normal(torch.zeros(3), 1.0).to_event(1)


@pytest.mark.parametrize("name", PLANS)
def test_its_density_is_that_of_a_flow(name: str) -> None:
    made = bound(PLANS[name])
    flow = dist.Flow(dist.DiagNormal(3), PLANS[name])
    flow.bijector.load_state_dict(made.state_dict())
    law = pd.TransformedDistribution(base(), [made])

    def model() -> None:
        with pyro.plate("rows", 4):
            pyro.sample("x", law)

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    x = trace.nodes["x"]["value"]
    assert x.shape == (4, 3)
    torch.testing.assert_close(trace.nodes["x"]["log_prob"], flow.log_prob(x), atol=1e-4, rtol=1e-4)


def test_it_stands_beside_transforms_of_pyros_and_torchs() -> None:
    made = bound(PLANS["coupling"])
    affine, exponential = torch.distributions.AffineTransform(1.0, 2.0), torch.distributions.ExpTransform()
    law = pd.TransformedDistribution(
        base(), [pd.transforms.Permute(torch.tensor([2, 0, 1])), made, affine, exponential]
    )
    x = law.sample((5,))
    z = made.inverse((x.log() - 1) / 2)
    log_det = made.forward_and_log_det(z)[1]
    expected = base().log_prob(z) - log_det - x.log().sum(-1) - 3 * torch.tensor(2.0).log()
    torch.testing.assert_close(law.log_prob(x), expected, atol=1e-4, rtol=1e-4)


def test_at_a_context_it_is_conditioned() -> None:
    made, context = bound(bij.AffineCoupling(NET), 2), torch.randn(4, 2)
    law = pd.TransformedDistribution(base().expand([4]), [made.condition(context)])
    x = pyro.sample("x", law.to_event(1))
    inverse, log_det = made.inverse_and_log_det(x, context)
    torch.testing.assert_close(law.log_prob(x), base().log_prob(inverse) + log_det)


def test_svi_trains_it() -> None:
    made = PLANS["autoregressive"].bind((3,))

    def model() -> None:
        pyro.sample("x", pd.Normal(torch.tensor([1.0, 0.0, -1.0]), 0.5).to_event(1))

    def guide() -> None:
        pyro.module("q", made)
        pyro.sample("x", pd.TransformedDistribution(base(), [made]))

    svi = pyro.infer.SVI(
        model, guide, pyro.optim.Adam({"lr": 0.02}), pyro.infer.Trace_ELBO(16, vectorize_particles=True)
    )
    losses = [svi.step() for _ in range(60)]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert len(pyro.get_param_store()) == len(list(made.parameters()))
