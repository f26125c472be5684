"""Amortised inference: flows given data as contexts, held against linear models, of which everything is known."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.objectives import importance_estimate, reverse_kl
from tests.distributions.helpers import close, draw

LINEAR = params.DenseNN(())
LATENT, SIZE = 2, 5
LOADINGS = draw(SIZE, LATENT) @ torch.tensor([[1.0, 0.3], [0.0, 1.0]]).double()  # whose columns are alike
NOISE = torch.tensor(0.6).double()
KNOWN = [LOADINGS, NOISE.log()]
MARGINAL = MultivariateNormal(torch.zeros(SIZE).double(), LOADINGS @ LOADINGS.T + NOISE**2 * torch.eye(SIZE))


def data(count: int) -> torch.Tensor:
    """Draws of x = W z + noise."""
    return draw(count, LATENT, seed=1) @ LOADINGS.T + NOISE * draw(count, SIZE, seed=2)


def log_joint(x: torch.Tensor, z: torch.Tensor, loadings: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """log p(x, z)."""
    likelihood = Normal(z @ loadings.T, noise, validate_args=False).log_prob(x).sum(-1)
    return likelihood + Normal(0.0, 1.0).log_prob(z).sum(-1)


def trained(plan: bij.Bijector, x: torch.Tensor, decoder: list[torch.Tensor], *, steps: int) -> dist.Flow:
    """A posterior trained on data, along with what of the decoder has gradients."""
    torch.manual_seed(0)
    flow = dist.Flow(dist.DiagNormal(LATENT), plan, context_shape=(SIZE,)).double()
    optimizer = torch.optim.Adam([*flow.parameters(), *(t for t in decoder if t.requires_grad)], 0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loadings, log_noise = decoder
        reverse_kl(flow, lambda z: log_joint(x, z, loadings, log_noise.exp()), 2, x).backward()  # noqa: B023
        optimizer.step()
        schedule.step()
    return flow


def test_the_posterior_of_each_datum_is_exact_where_the_family_holds_it() -> None:
    flow = trained(bij.LowerCholeskyAffine(LINEAR), data(100), KNOWN, steps=1_200)
    unseen = data(150)[100:]
    found = importance_estimate(flow, lambda z: log_joint(unseen, z, LOADINGS, NOISE), 50, unseen)
    close(found.log_weights, MARGINAL.log_prob(unseen).expand(50, 50), 2e-3)  # each draw of each of them


def test_independent_normals_fall_short_by_what_the_correlation_is_worth() -> None:
    x = data(100)
    flow = trained(bij.Affine(LINEAR), x, KNOWN, steps=500)
    found = importance_estimate(flow, lambda z: log_joint(x, z, LOADINGS, NOISE), 10_000, x)
    precision = torch.eye(LATENT) + LOADINGS.T @ LOADINGS / NOISE**2
    short = (precision.diagonal().log().sum() - precision.logdet()) / 2  # of the best, whose precisions are these
    evidence = MARGINAL.log_prob(x)
    assert short > 0.1
    assert (evidence - found.log_weights.mean(0)).mean().item() == pytest.approx(short.item(), abs=0.01)
    assert found.log_z.mean().item() == pytest.approx(evidence.mean().item(), abs=0.01)


def test_a_linear_autoencoder_reaches_the_maximum_likelihood_of_principal_components() -> None:
    # Probabilistic Principal Component Analysis (Tipping and Bishop, 1999), eq. 7-8.
    x = data(200)
    x = x - x.mean(0)
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    noise = values[:-LATENT].mean()
    best = vectors[:, -LATENT:] * (values[-LATENT:] - noise).sqrt()
    marginal = MultivariateNormal(torch.zeros(SIZE).double(), best @ best.T + noise * torch.eye(SIZE))
    decoder = [0.1 * draw(SIZE, LATENT, seed=5), torch.zeros((), dtype=torch.float64)]
    decoder = [tensor.requires_grad_() for tensor in decoder]
    flow = trained(bij.LowerCholeskyAffine(LINEAR), x, decoder, steps=1_200)
    loadings, log_noise = (tensor.detach() for tensor in decoder)
    loss = reverse_kl(flow, lambda z: log_joint(x, z, loadings, log_noise.exp()), 20, x)
    assert -loss.item() == pytest.approx(marginal.log_prob(x).mean().item(), abs=5e-3)
    close(loadings @ loadings.T, best @ best.T, 0.03)
    assert (2 * log_noise).exp().item() == pytest.approx(noise.item(), rel=0.01)
