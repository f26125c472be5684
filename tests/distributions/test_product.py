"""``Product``: independent distributions side by side."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as td

import flowtorch.bijectors as bij
from flowtorch import domains
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.distributions.box import BoxUniform
from flowtorch.distributions.circle import UniformCircle, VonMises
from flowtorch.distributions.product import Product
from flowtorch.distributions.student import StudentT
from flowtorch.errors import DomainError
from tests.distributions.helpers import close, draw

ZERO = torch.zeros((), dtype=torch.float64)
PARTS = [
    UniformCircle(2, like=ZERO),
    DiagNormal(3, draw(3)),
    td.Gamma(ZERO + 2.0, ZERO + 1.5),
    BoxUniform(1, ZERO, 2.0),
]
BASE = Product(PARTS)


def pieces(y: torch.Tensor) -> list[torch.Tensor]:
    return [y[..., :2], y[..., 2:5], y[..., 5], y[..., 6:]]


def test_it_is_its_parts_side_by_side() -> None:
    assert BASE.event_shape == (7,) and BASE.batch_shape == ()
    torch.manual_seed(1)
    y = BASE.sample((4, 5))
    torch.manual_seed(1)
    for part, piece in zip(PARTS, pieces(y), strict=True):
        close(piece, part.sample((4, 5)))
    close(BASE.log_prob(y), sum(p.log_prob(v) for p, v in zip(PARTS, pieces(y), strict=True)))
    for part, mean, variance in zip(PARTS, pieces(BASE.mean), pieces(BASE.variance), strict=True):
        close(mean, part.mean)
        close(variance, part.variance)
    close(BASE.entropy(), sum(p.entropy() for p in PARTS))
    assert repr(BASE).startswith("Product([UniformCircle(")


def test_the_support_is_the_parts_coordinate_by_coordinate() -> None:
    expected = ((-math.pi,) * 2 + (-math.inf,) * 3 + (0.0, 0.0), (math.pi,) * 2 + (math.inf,) * 4 + (2.0,))
    assert domains.region(BASE.support) == domains.Box(*expected) and BASE.support.event_dim == 1
    y = BASE.sample((4,))
    assert bool(BASE.support.check(y).all())
    for i, value in ((0, 4.0), (5, -1.0), (6, 2.5)):
        outside = y.clone()
        outside[1, i] = value
        assert BASE.support.check(outside).tolist() == [True, False, True, True]
        with pytest.raises(ValueError, match="within the support"):
            BASE.log_prob(outside)


def test_outside_its_support_a_flow_has_no_density_and_finite_gradients() -> None:
    flow = Flow(Product([td.Gamma(2.0, 1.5), DiagNormal(2)]), bij.AffineFixed(scale=1.0), learn_base=True)
    y = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], requires_grad=True)
    found = flow.log_prob(y)
    assert found.isneginf().tolist() == [False, True]
    found.nan_to_num(neginf=0.0).sum().backward()
    for tensor in (y, *flow.parameters()):
        assert tensor.grad is not None and bool(tensor.grad.isfinite().all())
    assert flow.log_prob(torch.tensor([1.0, math.nan, 0.0])).isnan()


def test_all_real_parts_make_a_real_base() -> None:
    base = Product([DiagNormal(2), StudentT(1, 4.0), td.Normal(0.0, 1.0)])
    assert domains.is_real(base.support) and base.has_rsample
    flow = Flow(base, bij.AffineAutoregressive())
    assert flow.support.event_dim == 1 and flow.rsample((5,)).requires_grad


def test_draws_carry_gradients_where_all_parts_do() -> None:
    low = torch.zeros(1, requires_grad=True)
    loc = torch.zeros(2, requires_grad=True)
    both = Product([BoxUniform(1, low, 2.0, validate_args=False), DiagNormal(2, loc)])
    both.rsample((5,)).sum().backward()
    assert low.grad is not None and loc.grad is not None and loc.grad.tolist() == [5.0, 5.0]
    assert not Product([VonMises(1), DiagNormal(2)]).has_rsample


def test_batches_of_parts() -> None:
    base = Product([td.Independent(td.Normal(draw(4, 2), 1.0), 1), td.Exponential(draw(4, seed=1).exp())])
    assert base.batch_shape == (4,) and base.event_shape == (3,) and base.sample((5,)).shape == (5, 4, 3)
    assert base.log_prob(base.sample()).shape == (4,)
    wide, y = BASE.expand((4, 2)), BASE.sample()
    assert wide.batch_shape == (4, 2) and wide.sample((5,)).shape == (5, 4, 2, 7)
    close(wide.log_prob(y), BASE.log_prob(y).expand(4, 2))


def test_products_of_products_and_of_flows() -> None:
    inner = Flow(BoxUniform(2), bij.Logit())
    base = Product([Product([VonMises(1), DiagNormal(1)]), inner])
    assert base.event_shape == (4,) and domains.describe(base.support).startswith("(-3.14159, 3.14159) x (-inf, inf)")
    y = base.sample((5,))
    close(base.log_prob(y), base.parts[0].log_prob(y[:, :2]) + inner.log_prob(y[:, 2:]), 1e-6)  # float32


def test_a_flow_within_is_trained_with_the_flow_around_it() -> None:
    inner = Flow(DiagNormal(2), bij.AffineAutoregressive())
    flow = Flow(Product([BoxUniform(1), inner]), bij.AffineFixed(scale=2.0))
    y = flow.rsample((5,))
    (-flow.log_prob(y).mean()).backward()
    assert set(inner.parameters()) == set(flow.parameters())
    assert all(p.grad is not None for p in flow.parameters())
    outside = torch.tensor([3.0, 0.0, 0.0])
    assert flow.log_prob(outside) == -torch.inf


def test_supports_of_which_nothing_is_known() -> None:
    class Silent(td.Normal):
        support = td.constraints.dependent

    base = Product([Silent(0.0, 1.0), DiagNormal(1)])
    assert td.constraints.is_dependent(base.support)


def test_domains_are_compared_coordinate_by_coordinate_and_the_base_is_named() -> None:
    base = Product([BoxUniform(1), BoxUniform(1, 0.25, 0.5)])
    assert Flow(base, bij.Logit()).event_shape == (2,)
    words = r"base \(Product\) gives; its domain is \(0, 1\), got support \(0, 1\) x \(-inf, inf\)"
    with pytest.raises(DomainError, match=words):
        Flow(Product([BoxUniform(1), DiagNormal(1)]), bij.Logit())
