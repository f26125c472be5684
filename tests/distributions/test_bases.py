"""Our own bases under a flow: carried, copied, moved, learnt, compiled."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import distributions as td
from torch.func import grad, vmap

import flowtorch.bijectors as bij
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.distributions.base import _ARGUMENTS
from flowtorch.distributions.box import BoxUniform
from flowtorch.distributions.circle import UniformCircle, VonMises
from flowtorch.distributions.mixture import GaussianMixture
from flowtorch.distributions.multivariate import MultivariateNormal, MultivariateStudentT
from flowtorch.distributions.product import Product
from flowtorch.distributions.student import StudentT
from tests.distributions.helpers import close, draw, same_draws


def t(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


TRIANGLE = torch.tensor([[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [-0.3, 0.7, 0.4]], dtype=torch.float64)

# A base with numbers that move with s, and how many of them are learnt.
BASES: dict[str, tuple[Callable[[float], td.Distribution], int]] = {
    "DiagNormal": (lambda s: DiagNormal((2, 3), s * t(1.0, 2.0, 3.0), s * t(0.5)), 12),
    "MultivariateNormal": (lambda s: MultivariateNormal(3, s * t(1.0, 2.0, 3.0), s * TRIANGLE), 12),
    "MultivariateStudentT": (lambda s: MultivariateStudentT(3, s * t(4.0)[0], t(1.0, 2.0, 3.0), TRIANGLE), 13),
    "StudentT": (lambda s: StudentT((2, 3), s * t(4.0, 5.0, 3.0), 0.5, s * t(0.5)), 18),
    "BoxUniform": (lambda s: BoxUniform((2, 3), -s, t(1.0, 2.0, 3.0)), 0),
    "UniformCircle": (lambda s: UniformCircle((2, 3), like=t(s)), 0),
    "VonMises": (lambda s: VonMises((2, 3), t(0.0, 1.0, -2.0), s * t(1.5)), 12),
    "GaussianMixture, diagonal": (lambda s: GaussianMixture(s * TRIANGLE[:2], s, weights=t(1.0, 2.0 * s)), 14),
    "GaussianMixture, spherical": (lambda s: GaussianMixture(s * TRIANGLE[:2], s, covariance="spherical"), 10),
    "GaussianMixture, full": (lambda s: GaussianMixture(TRIANGLE[:2], s, covariance="full"), 26),
    "GaussianMixture, tied": (
        lambda s: GaussianMixture(TRIANGLE[:2], scale_tril=s * TRIANGLE, covariance="tied", weights=t(1.0, 3.0)),
        17,
    ),
    "Product": (
        lambda s: Product([UniformCircle(1, like=t(s)), DiagNormal(2, s * t(1.0, 2.0)), BoxUniform(1, -s, t(2.0))]),
        4,
    ),
    "Product, learnt": (
        lambda s: Product(
            [VonMises(1, 0.5, s * t(2.0)), GaussianMixture(s * TRIANGLE[:2]), td.Gamma(s * t(2.0)[0], t(1.0)[0])]
        ),
        18,
    ),
}


def made(name: str, s: float = 1.3, learn_base: bool = False) -> Flow:
    return Flow(BASES[name][0](s), bij.AffineFixed(loc=0.25, scale=1.5), learn_base=learn_base)


@pytest.mark.parametrize("name", BASES)
def test_rebuilt_with_the_same_density_and_the_same_draws(name: str) -> None:
    base, flow = BASES[name][0](1.3), made(name)
    assert type(flow.base_dist) is type(base) and flow.event_shape == base.event_shape and flow.batch_shape == ()
    x = base.sample((6,))
    torch.manual_seed(1)
    y = flow.sample((6,))
    torch.manual_seed(1)
    close(y, 0.25 + 1.5 * base.sample((6,)))
    close(flow.log_prob(0.25 + 1.5 * x), base.log_prob(x) - base.event_shape.numel() * t(1.5).log()[0])
    assert flow.has_rsample == base.has_rsample and bool(flow.support.check(y).all())
    assert bool(flow.log_prob(y).isfinite().all()) and flow.log_prob(y).dtype == torch.float64
    wide = flow.expand((4, 2))
    assert wide.sample((5,)).shape == (5, 4, 2, *base.event_shape) and wide.log_prob(y[0]).shape == (4, 2)


@pytest.mark.parametrize("name", BASES)
def test_states_copies_and_pickles(name: str) -> None:
    flow, other = made(name), made(name, 0.7)
    y = flow.sample((6,))
    if name != "UniformCircle":  # of which there is only one
        assert not torch.allclose(other.log_prob(y), flow.log_prob(y))
    other.load_state_dict(flow.state_dict())
    for copied in (other, copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        close(copied.log_prob(y), flow.log_prob(y))
        same_draws(copied, flow)


@pytest.mark.parametrize("name", BASES)
def test_it_follows_the_flow_to_another_type(name: str) -> None:
    flow, single = made(name), made(name).float()
    y = single.sample((6,))
    assert y.dtype == single.log_prob(y).dtype == torch.float32
    close(single.log_prob(y).double(), flow.log_prob(y.double()), 1e-4)  # float32
    assert single.double().sample((2,)).dtype == torch.float64


@pytest.mark.parametrize("name", BASES)
def test_what_is_learnt_of_it(name: str) -> None:
    flow, fixed = made(name, learn_base=True), made(name)
    y = fixed.sample((50,))
    close(flow.log_prob(y), fixed.log_prob(y))
    assert sum(p.numel() for p in flow.base.parameters()) == BASES[name][1] and not list(fixed.base.parameters())
    rows = flow.summary().rows
    assert rows[0].layer == f"base: {type(flow.base_dist).__name__}" and rows[0].parameters == BASES[name][1]
    for key, p in flow.base.named_parameters():
        # Not of the sum: the gradients of a mixture's weights sum to zero.
        (found,) = torch.autograd.grad(flow.log_prob(y).square().sum(), p)
        assert bool(found.isfinite().all()) and bool(found.any()), key
        with torch.no_grad():
            p.add_(0.1 * draw(*p.shape))
    assert bool(flow.log_prob(flow.sample((5,))).isfinite().all())
    if flow.has_rsample and BASES[name][1]:
        assert flow.rsample((5,)).requires_grad


@pytest.mark.parametrize("name", BASES)
def test_torch_compile_sees_one_graph_and_vmap_and_grad_see_through(name: str) -> None:
    flow = made(name)
    y = flow.sample((6,))
    torch._dynamo.reset()
    close(torch.compile(flow, fullgraph=True, backend="eager")(y), flow.log_prob(y))
    leaf = y.clone().requires_grad_()
    density = flow.log_prob(leaf).sum()
    expected = torch.autograd.grad(density, leaf)[0] if density.requires_grad else torch.zeros_like(y)
    close(vmap(grad(flow.log_prob))(y), expected)


def test_every_one_that_these_modules_register_is_here() -> None:
    kinds = {type(make(1.0)) for make, _ in BASES.values()}
    assert {c for c in _ARGUMENTS if c.__module__ in {k.__module__ for k in kinds}} == kinds
