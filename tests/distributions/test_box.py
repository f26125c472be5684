"""``BoxUniform``: independent uniforms over an event of any shape."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from torch import distributions as td

import flowtorch.bijectors as bij
from flowtorch import domains
from flowtorch.distributions import Flow
from flowtorch.distributions.box import BoxUniform
from flowtorch.errors import DomainError
from tests.distributions.helpers import close, follows, integral

LOW = torch.tensor([0.0, -1.0, 2.0], dtype=torch.float64)
HIGH = torch.tensor([1.0, 4.0, 2.5], dtype=torch.float64)


def test_the_density_of_the_box() -> None:
    base = BoxUniform((2, 3), LOW, HIGH)
    assert base.event_shape == base.shape == (2, 3) and base.batch_shape == ()
    y = base.sample((5,))
    assert y.shape == (5, 2, 3) and bool(((y >= LOW) & (y < HIGH)).all())
    law = scipy.stats.uniform(LOW.numpy(), (HIGH - LOW).numpy())
    close(base.log_prob(y), torch.from_numpy(law.logpdf(y.numpy()).sum((1, 2))))
    close(base.mean, torch.from_numpy(law.mean()).expand(2, 3))
    close(base.variance, torch.from_numpy(law.var()).expand(2, 3))
    close(base.entropy(), torch.from_numpy(law.entropy()).sum() * 2)
    close(base.low, LOW.expand(2, 3))
    close(base.high, HIGH.expand(2, 3))
    for i in range(3):
        assert follows(td.Uniform(LOW[i], HIGH[i]), base.sample((500,))[:, 1, i])


def test_the_unit_box_is_the_default() -> None:
    assert BoxUniform(2).log_prob(torch.tensor([0.5, 0.25])) == 0.0
    assert domains.describe(BoxUniform((3, 2)).support) == "(0, 1)"
    assert BoxUniform(2, -1).low.tolist() == [-1.0, -1.0] and BoxUniform(()).sample().shape == ()


def test_values_outside_are_refused_by_the_distribution_and_without_density_under_a_flow() -> None:
    inside, outside = torch.full((3,), 0.5), torch.tensor([0.5, 0.5, 1.5], requires_grad=True)
    with pytest.raises(ValueError, match="within the support"):
        BoxUniform(3).log_prob(outside)
    assert BoxUniform(3, validate_args=False).log_prob(outside.detach()) == -torch.inf
    flow = Flow(BoxUniform(3), bij.AffineFixed(scale=1.0))
    assert flow.log_prob(inside) == 0.0
    found = flow.log_prob(outside)
    assert found == -torch.inf and flow.log_prob(torch.full((3,), math.nan)).isnan()
    with pytest.raises(DomainError, match="1 of 1 outside"):
        Flow(BoxUniform(3), bij.AffineFixed(scale=1.0), validate_args=True).log_prob(outside)


def test_ends_are_not_checked_where_nothing_is() -> None:
    assert BoxUniform(2, 1.0, 0.0, validate_args=False).event_shape == (2,)


def test_domains_are_compared_coordinate_by_coordinate() -> None:
    flow = Flow(BoxUniform(2, torch.tensor([0.25, 0.0]), torch.tensor([0.5, 0.75])), bij.Logit())
    assert bool(flow.log_prob(flow.sample((5,))).isfinite().all())
    words = r"first layer \(Logit\) is expected to take all that the base \(BoxUniform\) gives.*\(0, 1\) x \(0, 2\)"
    with pytest.raises(DomainError, match=words):
        Flow(BoxUniform(2, 0.0, torch.tensor([1.0, 2.0])), bij.Logit())


def test_a_flow_from_a_box_integrates_to_one() -> None:
    flow = Flow(BoxUniform((), -1.0, torch.tensor(2.0, dtype=torch.float64)), bij.Tanh())
    assert abs(integral(flow.log_prob, math.tanh(-1.0), math.tanh(2.0)) - 1) < 1e-3  # it does not vanish at the ends
    y = torch.tensor([0.3, 0.9], dtype=torch.float64)
    close(flow.cdf(y), (y.atanh() + 1) / 3)


def test_expand() -> None:
    wide = BoxUniform(3, LOW, HIGH).expand((4, 2))
    assert wide.batch_shape == (4, 2) and wide.sample((5,)).shape == (5, 4, 2, 3)
    close(wide.log_prob((LOW + HIGH) / 2), BoxUniform(3, LOW, HIGH).log_prob((LOW + HIGH) / 2).expand(4, 2))


def test_draws_move_with_the_box() -> None:
    low = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    BoxUniform(3, low, HIGH + 3).rsample((4,)).sum().backward()
    assert low.grad is not None and bool((low.grad > 0).all())
