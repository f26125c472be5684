"""``MultivariateNormal`` and ``MultivariateStudentT``: vectors whose coordinates depend on each other."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from torch import distributions as td

from flowtorch.distributions.multivariate import MultivariateNormal, MultivariateStudentT
from tests.distributions.helpers import close, draw, same_draws

TRIANGLE = torch.tensor([[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [-0.3, 0.7, 0.4]], dtype=torch.float64)
COVARIANCE = TRIANGLE @ TRIANGLE.T
LOC = draw(3)
DF = torch.tensor(3.5, dtype=torch.float64)


def test_a_standard_normal_by_default() -> None:
    for shape in (3, (3,), torch.Size([3])):
        base = MultivariateNormal(shape)
        assert base.event_shape == base.shape == (3,) and base.batch_shape == ()
        close(base.covariance_matrix, torch.eye(3))
        close(base.mean, torch.zeros(3))
    assert MultivariateNormal(3, torch.zeros(3).double()).sample().dtype == torch.float64


def test_it_is_torchs_own() -> None:
    of_torch, y = td.MultivariateNormal(LOC, scale_tril=TRIANGLE), draw(5, 3, seed=1)
    for base in (
        MultivariateNormal(3, LOC, TRIANGLE),
        MultivariateNormal(3, LOC, covariance_matrix=COVARIANCE),
    ):
        assert isinstance(base, td.MultivariateNormal)
        close(base.log_prob(y), of_torch.log_prob(y))
        close(base.entropy(), of_torch.entropy())
        same_draws(base, of_torch)
        close(
            td.kl_divergence(base, MultivariateNormal(3, LOC)), td.kl_divergence(of_torch, MultivariateNormal(3, LOC))
        )


def test_the_density() -> None:
    y = draw(5, 3, seed=1)
    expected = scipy.stats.multivariate_normal(LOC.numpy(), COVARIANCE.numpy()).logpdf(y.numpy())
    close(MultivariateNormal(3, LOC, TRIANGLE).log_prob(y), torch.from_numpy(expected))
    expected = scipy.stats.multivariate_normal([2.0] * 3, 0.25 * np.eye(3)).logpdf(y.numpy())
    close(MultivariateNormal(3, 2.0, 0.5).log_prob(y.float()).double(), torch.from_numpy(expected), 1e-5)  # float32


def test_a_matrix_that_is_none_of_a_normal_is_refused() -> None:
    with pytest.raises(ValueError, match="PositiveDefinite"):
        MultivariateNormal(2, covariance_matrix=torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(ValueError, match="LowerCholesky"):
        MultivariateNormal(2, 0.0, torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(ValueError, match="GreaterThan"):
        MultivariateStudentT(2, -1.0)


@pytest.mark.parametrize("base", [MultivariateNormal(3, LOC, TRIANGLE), MultivariateStudentT(3, DF, LOC, TRIANGLE)])
def test_expand(base: td.Distribution) -> None:
    wide, y = base.expand(torch.Size((4, 2))), draw(3)
    assert type(wide) is type(base) and wide.batch_shape == (4, 2) and wide.event_shape == (3,)
    close(wide.log_prob(y), base.log_prob(y).expand(4, 2))
    drawn = wide.sample(torch.Size((5,)))
    assert drawn.shape == (5, 4, 2, 3) and len(set(drawn.flatten().tolist())) == 120
    for name in ("mean", "variance", "mode"):
        close(getattr(wide, name), getattr(base, name).expand(4, 2, 3))
    close(wide.entropy(), base.entropy().expand(4, 2))
    assert wide.expand(torch.Size((7, 4, 2))).log_prob(draw(7, 1, 2, 3)).shape == (7, 4, 2)


def test_the_density_of_students_t() -> None:
    base, y = MultivariateStudentT(3, DF, LOC, TRIANGLE), 10 * draw(2, 5, 3, seed=1)
    law = scipy.stats.multivariate_t(LOC.numpy(), COVARIANCE.numpy(), df=DF.item())
    close(base.log_prob(y), torch.from_numpy(law.logpdf(y.numpy())))
    close(base.log_prob(y[0, 0]), torch.tensor(law.logpdf(y[0, 0].numpy()), dtype=torch.float64))
    close(base.entropy(), torch.tensor(law.entropy(), dtype=torch.float64))
    close(base.variance, COVARIANCE.diagonal() * 3.5 / 1.5)
    assert base.event_shape == base.shape == (3,) and base.has_rsample and base.support.event_dim == 1


def test_moments_that_are_not_there() -> None:
    cauchy, heavy = MultivariateStudentT(2, 1.0), MultivariateStudentT(2, 2.0)
    assert bool(cauchy.mean.isnan().all()) and bool(cauchy.variance.isnan().all())
    assert heavy.mean.tolist() == [0.0, 0.0] and bool(heavy.variance.isinf().all())


def test_draws_of_students_t() -> None:
    drawn = MultivariateStudentT(3, DF, LOC, TRIANGLE).sample((2000,))
    white = torch.linalg.solve_triangular(TRIANGLE, (drawn - LOC).T, upper=False)
    law = scipy.stats.f(3, DF.item())  # of the square of a vector's length, over their number
    assert scipy.stats.kstest(white.square().mean(0).numpy(), law.cdf).pvalue > 0.01
    for row in white:
        assert scipy.stats.kstest(row.numpy(), scipy.stats.t(DF.item()).cdf).pvalue > 0.01


def test_draws_of_students_t_carry_gradients() -> None:
    arguments = [v.clone().requires_grad_() for v in (DF, LOC, TRIANGLE)]
    MultivariateStudentT(3, *arguments, validate_args=False).rsample((5,)).sin().sum().backward()
    for v in arguments:
        assert v.grad is not None and bool(v.grad.any())
