"""``ResampledBase``: proposals taken with a learnt probability, held to its density by quadrature and by its draws."""

from __future__ import annotations

import copy
import io
import math
import pickle

import numpy as np
import pytest
import scipy.stats
import torch
from torch import distributions as td

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.distributions.resampled import ResampledBase
from tests.distributions.helpers import MADE, NET, close, draw, make, same_draws

LAWS = {
    "T=2": {"truncation": 2},
    "T=5": {"truncation": 5},
    "T=200": {"truncation": 200},
    "never quite rejected": {"truncation": 20, "min_acceptance": 0.4},
}


class Bumps(torch.nn.Module):
    """A logit that rejects the middle: ``(N, n)`` to ``(N)``."""

    def __init__(self, scale: float = 4.0) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * (x.square().sum(-1) - 2.0)


def bumpy(n: int, **options: object) -> ResampledBase:
    """A float64 base with the normalizer that quadrature gives."""
    base = ResampledBase(n, Bumps(), **options).double().eval()  # type: ignore[arg-type]
    base.normalizer.copy_(by_quadrature(base))
    return base


def grid(n: int) -> tuple[torch.Tensor, float]:
    u = torch.linspace(-9.0, 9.0, 4001 if n == 1 else 601, dtype=torch.float64)
    return (u[:, None] if n == 1 else torch.cartesian_prod(u, u)), float(u[1] - u[0]) ** n


def by_quadrature(base: ResampledBase) -> torch.Tensor:
    """The mean acceptance of standard normal proposals."""
    z, cell = grid(base.event_shape[0])
    density = td.Normal(z.new_zeros(()), z.new_ones(())).log_prob(z).sum(-1).exp()
    with torch.no_grad():
        return (density * base.acceptance(z)).sum() * cell


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("law", LAWS)
def test_the_density_integrates_to_one(law: str, n: int) -> None:
    z, cell = grid(n)
    with torch.no_grad():
        close(bumpy(n, **LAWS[law]).log_prob(z).exp().sum() * cell, torch.tensor(1.0).double(), 1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("law", LAWS)
def test_draws_follow_the_density(law: str) -> None:
    base = bumpy(1, **LAWS[law])  # type: ignore[arg-type]
    z, cell = grid(1)
    with torch.no_grad():
        cdf = base.log_prob(z).exp().cumsum(0) * cell
        x = base.sample((20000,))[:, 0].numpy()
    assert scipy.stats.kstest(x, lambda v: np.interp(v, z[:, 0].numpy(), cdf.numpy())).pvalue > 0.01
    # It is another law than the proposal's, and than that of another truncation.
    assert scipy.stats.kstest(x, scipy.stats.norm.cdf).pvalue < 1e-6


def test_draws_in_two_dimensions_follow_the_density() -> None:
    base = bumpy(2, truncation=3)
    z, cell = grid(2)
    with torch.no_grad():
        density = base.log_prob(z).exp() * cell
        radius = z.square().sum(-1)
        x = base.sample((20000,)).square().sum(-1)
    for edge in (0.5, 1.0, 2.0, 4.0):
        expected = float(density[radius < edge].sum())
        error = math.sqrt(expected * (1 - expected) / len(x))
        assert abs(float((x < edge).double().mean()) - expected) < 4 * error + 2e-3


def test_the_formula_of_the_authors() -> None:
    base, z = bumpy(2, truncation=7), draw(6, 2)
    a, mean = base.acceptance(z), base.normalizer
    alpha = (1 - mean) ** 6
    expected = torch.log((1 - alpha) * a / mean + alpha) - 0.5 * z.square().sum(-1) - math.log(2 * math.pi)
    close(base.log_prob(z), expected)
    close(a, 1e-4 + (1 - 1e-4) / (1 + (-4 * (z.square().sum(-1) - 2)).exp()))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_it_starts_as_its_proposal(shape: tuple[int, ...]) -> None:
    base = ResampledBase(shape, NET).double()
    z = draw(5, *shape)
    expected = td.Independent(td.Normal(torch.zeros(shape).double(), 1.0), len(shape)).log_prob(z)
    close(base.eval().log_prob(z), expected)
    close(base.train().log_prob(z), expected)
    assert base.sample((4,)).shape == (4, *shape) and base.event_shape == shape and base.batch_shape == ()
    assert base.expand((7, 2)).sample((4,)).shape == (4, 7, 2, *shape)
    assert base.sample((0,)).shape == (0, *shape)


def test_estimates_of_the_normalizer_meet_quadrature_within_their_error() -> None:
    base = bumpy(2)
    exact = base.normalizer.clone()
    found, error = base.estimate_normalizer(50_000)
    assert 0 < float(error) < 3e-3 and abs(float(found - exact)) < 4 * float(error)
    assert float(base.normalizer) == float(found)


def test_training_steps_move_the_normalizer_and_nothing_else_does() -> None:
    base = bumpy(2, momentum=0.25, count_draws=64)
    before = base.normalizer.clone()
    with torch.no_grad():
        base.network.scale.mul_(0.1)  # type: ignore[operator]
    assert not base.stochastic
    base.log_prob(draw(3, 2))
    base.train()
    with torch.no_grad():
        base.log_prob(draw(3, 2))
        base.sample((3,))
    assert base.stochastic and float(base.normalizer) == float(before)
    with torch.random.fork_rng(devices=[]):
        z = torch.randn(64, 2, dtype=torch.float64)
    base.log_prob(draw(3, 2))
    close(base.normalizer, 0.75 * before + 0.25 * base.acceptance(z).mean().detach())


def test_gradients_of_training_are_those_of_the_normalised_density() -> None:
    base, z = bumpy(1, count_draws=400_000, truncation=4, momentum=0.01), draw(50, 1)
    scale = base.network.scale
    # The density with the normalizer that quadrature gives, as a function of the parameter.
    points, cell = grid(1)
    weight = td.Normal(0.0, 1.0).log_prob(points).sum(-1).exp() * cell
    mean = (weight * base.acceptance(points)).sum()
    alpha = (1 - mean) ** 3
    exact = ((1 - alpha) * base.acceptance(z) / mean + alpha).log().sum()
    expected = torch.autograd.grad(exact, scale)[0]  # type: ignore[arg-type]
    base.train()
    got = torch.autograd.grad(base.log_prob(z).sum(), scale)[0]  # type: ignore[arg-type]
    close(got, expected, 2e-2)


def test_it_learns_two_modes_that_its_flow_cannot_tear_apart() -> None:
    data = draw(2000, 1, seed=1) * 0.3 + torch.where(draw(2000, 1, seed=2) > 0, 2.0, -2.0)
    data = data.float()

    def fitted(base: td.Distribution) -> float:
        flow = Flow(base, bij.Affine())
        optimizer = torch.optim.Adam(flow.parameters(), lr=2e-2)
        for _ in range(200):
            optimizer.zero_grad()
            (-flow.log_prob(data).mean()).backward()
            optimizer.step()
        flow.eval()
        if isinstance(base, ResampledBase):
            base.estimate_normalizer()
        with torch.no_grad():
            return float(flow.log_prob(data).mean())

    plain = fitted(DiagNormal(1))
    assert fitted(ResampledBase(1, params.DenseNN((16, 16)))) > plain + 0.3


def test_outside_the_proposals_support_and_for_nan() -> None:
    proposal = td.Independent(td.Uniform(torch.zeros(2), torch.ones(2)), 1)
    base = ResampledBase(2, Bumps(), proposal=proposal).eval()
    z = torch.tensor([[0.5, 0.5], [0.5, 1.5], [math.nan, 0.5], [math.inf, 0.5]], requires_grad=True)
    found = base.log_prob(z)
    assert found[0].isfinite() and found[2].isnan() and found[1] == found[3] == -math.inf
    gradients = torch.autograd.grad(found[:2].clamp(min=-10.0).sum(), [z, *base.parameters()])
    assert all(bool(g.isfinite().all()) for g in gradients)
    strict = ResampledBase(2, proposal=proposal, validate_args=True)
    with pytest.raises(ValueError, match="values of positive density are expected; got 1 of 2 of none"):
        strict.log_prob(z.detach()[:2])
    assert base.support.check(z.detach()[:2]).tolist() == [True, False]


def test_as_the_base_of_a_flow() -> None:
    base = ResampledBase(3, NET).double()
    flow = make(base, bij.AffineAutoregressive(MADE), context_shape=2).eval()
    context = draw(4, 2)
    y = flow.sample((5,), context)
    x, log_det = flow.bijector.inverse_and_log_det(y, context)
    assert y.shape == (5, 4, 3) and not flow.has_rsample
    close(flow.log_prob(y, context), base.log_prob(x) + log_det)
    assert flow.summary().rows[0].layer == "base: ResampledBase" and flow.summary().rows[0].parameters > 0
    flow.train()
    flow.log_prob(y, context).sum().backward()
    assert all(p.grad is not None for p in flow.parameters())
    with pytest.raises(NotImplementedError, match="a base with rsample is expected; got"):
        flow.rsample((2,), context)
    assert flow.condition(context).expand((3, 4)).sample((2,)).shape == (2, 3, 4, 3)


def test_it_follows_copies_states_and_dtypes() -> None:
    def fresh(seed: int) -> Flow:
        return make(ResampledBase(2, NET), bij.AffineCoupling(NET), seed=seed).eval()

    flow, other = fresh(0), fresh(5)
    flow.base.estimate_normalizer(64)  # type: ignore[operator]
    assert "base.normalizer" in flow.state_dict()
    other.load_state_dict(flow.state_dict())
    buffer = io.BytesIO()
    torch.save(flow, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    y = draw(5, 2)
    for found in (other, copy.deepcopy(flow), pickle.loads(pickle.dumps(flow)), loaded):
        close(found.log_prob(y), flow.log_prob(y))
        same_draws(found, flow)
    assert flow.float().sample((2,)).dtype == torch.float32
    assert flow.log_prob(y.float()).dtype == torch.float32


@pytest.mark.parametrize("training", [False, True])
def test_compiled_densities(training: bool) -> None:
    base = bumpy(2, count_draws=16)
    flow = make(base, bij.AffineCoupling(NET)).train(training)
    compiled = torch.compile(flow, fullgraph=True, backend="eager")
    y, before = draw(5, 2), base.normalizer.clone()
    found = compiled(y)
    if training:
        assert found.isfinite().all() and float(base.normalizer) != float(before)
    else:
        close(found, flow.log_prob(y))


def test_per_sample_gradients_in_evaluation_mode() -> None:
    base, z = bumpy(2), draw(5, 2)
    found = torch.func.vmap(torch.func.grad(lambda v: base.log_prob(v)))(z)
    z.requires_grad_()
    close(found, torch.autograd.grad(base.log_prob(z).sum(), z)[0])


def test_a_module_as_network_gets_one_batch_dimension() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(8, 1))
    base = ResampledBase((1, 4, 4), net).eval()
    z = torch.randn(2, 3, 1, 4, 4)
    assert base.acceptance(z).shape == base.log_prob(z).shape == (2, 3) and base.network is net
