"""``UniformCircle`` and ``VonMises``: bases of maps of angles."""

from __future__ import annotations

import math

import pytest
import scipy.special
import scipy.stats
import torch
from torch import distributions as td

import flowtorch.bijectors as bij
from flowtorch import domains
from flowtorch.distributions import Flow
from flowtorch.distributions.circle import UniformCircle, VonMises
from flowtorch.errors import DomainError
from tests.distributions.helpers import close, draw, integral, make

LOC = torch.tensor([0.5, -3.0, 2.0], dtype=torch.float64)
CONCENTRATION = torch.tensor([0.3, 2.0, 50.0], dtype=torch.float64)
ON_CIRCLE = bij.Compose([bij.CircularSpline(count_bins=4), bij.CircularShift()])


def angles(*shape: int, seed: int = 0) -> torch.Tensor:
    return math.pi * (draw(*shape, seed=seed).sin())


def test_uniform_angles() -> None:
    base = UniformCircle((2, 3), like=LOC)
    y = base.sample((500,))
    assert base.event_shape == base.shape == (2, 3) and base.batch_shape == () and base.has_rsample
    close(base.log_prob(y), torch.full((500,), -6 * math.log(2 * math.pi), dtype=torch.float64))
    assert scipy.stats.kstest(y.flatten().numpy(), scipy.stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 0.01
    close(base.entropy(), torch.tensor(6 * math.log(2 * math.pi), dtype=torch.float64))
    assert bool((base.variance == 1).all()) and bool((base.stddev == 1).all()) and not base.mean.any()
    assert UniformCircle(2).sample().dtype == torch.float32 and base.expand(4).sample().shape == (4, 2, 3)


def test_the_density_of_von_mises() -> None:
    base, y = VonMises((2, 3), LOC, CONCENTRATION), angles(5, 2, 3)
    law = scipy.stats.vonmises(CONCENTRATION.numpy(), LOC.numpy())
    close(base.log_prob(y), torch.from_numpy(law.logpdf(y.numpy()).sum((1, 2))), 1e-12)  # torch's own has 7 digits
    close(base.entropy(), torch.from_numpy(law.entropy()).sum() * 2)
    k = CONCENTRATION.numpy()
    resultant = scipy.special.i1e(k) / scipy.special.i0e(k)
    close(base.variance, torch.from_numpy(1 - resultant).expand(2, 3))
    close(base.mean, LOC.expand(2, 3))
    for name, expected in (("loc", LOC), ("concentration", CONCENTRATION)):
        close(getattr(base, name), expected.expand(2, 3))
    assert base.event_shape == base.shape == (2, 3) and not base.has_rsample


@pytest.mark.parametrize("concentration", [1e-6, 1e-2, 1.0, 40.0, 1e4])
def test_von_mises_from_nearly_uniform_to_nearly_normal(concentration: float) -> None:
    k = torch.tensor(concentration, dtype=torch.float64, requires_grad=True)
    base = VonMises((), 0.3, k)
    assert abs(integral(base.log_prob, -math.pi, math.pi - 1e-12, 200001) - 1) < 1e-8
    y = torch.tensor([0.3, 0.31, -2.0], dtype=torch.float64)
    close(base.log_prob(y).detach(), torch.from_numpy(scipy.stats.vonmises(concentration, 0.3).logpdf(y.numpy())))
    (grad,) = torch.autograd.grad(base.log_prob(y).sum(), k)
    mean_cosine = scipy.special.i1e(concentration) / scipy.special.i0e(concentration)
    close(grad, (torch.cos(y - 0.3) - mean_cosine).sum())
    single = VonMises((), 0.3, k.detach().float()).log_prob(y.float())
    # That of rounding the angles.
    close(single.double(), base.log_prob(y).detach(), 1e-5 * max(1.0, concentration**0.5))


def test_draws_of_von_mises() -> None:
    drawn = VonMises(3, LOC, CONCENTRATION).sample((1000,))
    assert bool(((drawn >= -math.pi) & (drawn < math.pi)).all()) and not drawn.requires_grad
    for i in range(3):
        centred = torch.remainder(drawn[:, i] - LOC[i] + math.pi, 2 * math.pi) - math.pi
        assert scipy.stats.kstest(centred.numpy(), scipy.stats.vonmises(CONCENTRATION[i].item()).cdf).pvalue > 0.01
    wide = VonMises(3, LOC, CONCENTRATION).expand((4,))
    assert wide.sample((2,)).shape == (2, 4, 3)
    close(wide.log_prob(LOC), VonMises(3, LOC, CONCENTRATION).log_prob(LOC).expand(4))


def test_the_end_that_rounding_gives_is_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(td.VonMises, "sample", lambda self, shape: torch.tensor([math.pi, -math.pi, 3.0]))
    assert VonMises(3).sample().tolist() == [-float(torch.tensor(math.pi)), -float(torch.tensor(math.pi)), 3.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("base", [UniformCircle(2), VonMises(2, LOC[:2].float(), CONCENTRATION[:2].float())])
def test_maps_of_angles_take_them_in_any_type(base: td.Distribution, dtype: torch.dtype) -> None:
    flow = make(base, ON_CIRCLE).to(dtype)
    x = flow.base_dist.sample((20000,))
    assert x.dtype == dtype and bool(flow.base_dist.support.check(x).all())
    y = flow.sample((20000,))
    assert y.dtype == dtype and flow.log_prob(y).dtype == dtype
    assert bool(flow.log_prob(y).isfinite().all())
    assert bool(flow.support.check(y).all()) and domains.describe(flow.support) == "(-3.14159, 3.14159)"


def test_a_flow_on_the_circle_integrates_to_one() -> None:
    for base in (UniformCircle(()), VonMises((), 0.5, 3.0)):
        flow = make(base, ON_CIRCLE)
        assert abs(integral(flow.log_prob, -math.pi + 1e-9, math.pi - 1e-9, 200001) - 1) < 1e-5


def test_maps_of_other_sets_refuse_them_by_name() -> None:
    for base in (UniformCircle(2), VonMises(2)):
        words = rf"the base \({type(base).__name__}\) gives; its domain is \(0, 1\), got support \(-3.14159, 3.14159\)"
        with pytest.raises(DomainError, match=words):
            Flow(base, bij.Logit())


def test_outside_the_circle_there_is_no_density() -> None:
    y = torch.tensor([[4.0, 0.0], [0.0, -4.0], [0.0, math.nan]], requires_grad=True)
    for base in (UniformCircle(2), VonMises(2)):
        with pytest.raises(ValueError, match="within the support"):
            base.log_prob(y)
        found = Flow(base, bij.AffineFixed(scale=1.0)).log_prob(y)
        assert found.isneginf().tolist() == [True, True, False] and bool(found[2].isnan())
