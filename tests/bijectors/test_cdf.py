"""CDF and CauchyCDF: what is theirs beyond the conformance kit."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Cauchy, Exponential, Gumbel, Independent, Laplace, Normal, StudentT

import flowtorch.distributions as dist
from flowtorch.bijectors import Invert, Sigmoid
from flowtorch.bijectors.cdf import CDF, CauchyCDF
from flowtorch.errors import OptionError, OptionTypeError, ShapeError


# The kit integrates on a grid that ends at 1e-4: the scale of the gumbel leaves little of its base below.
@pytest.mark.parametrize("known", [Normal(1.0, 2.0), Laplace(-1.0, 0.5), Cauchy(0.0, 3.0), Gumbel(0.5, 1.5)], ids=repr)
def test_of_a_distribution_of_torch(known: Normal) -> None:
    plan = CDF.of(known)
    x = torch.linspace(-3.0, 4.0, 15)
    y, log_det = plan.bind(()).forward_and_log_det(x)
    torch.testing.assert_close(y, known.cdf(x))
    torch.testing.assert_close(log_det, known.log_prob(x), rtol=1e-5, atol=1e-5)
    assert hash(plan) == hash(CDF.of(known)) and plan == CDF.of(known)


def test_of_students_t() -> None:
    known = StudentT(3.5, 1.0, 2.0)  # torch has its density only
    plan = CDF.of(known)
    assert plan == CDF("student_t", loc=1.0, scale=2.0, df=3.5)
    x = torch.linspace(-3.0, 4.0, 15)
    torch.testing.assert_close(plan.bind(()).forward_and_log_det(x)[1], known.log_prob(x), rtol=1e-5, atol=1e-5)


def test_quantiles_of_uniform_samples_have_the_distribution() -> None:
    uniform = torch.distributions.Independent(torch.distributions.Uniform(torch.zeros(2), torch.ones(2)), 1)
    flow = dist.Flow(uniform, Invert(CDF("laplace", loc=1.0, scale=2.0)))
    x = torch.tensor([[-5.0, 1.0], [0.0, 40.0]])
    torch.testing.assert_close(flow.log_prob(x), Laplace(1.0, 2.0).log_prob(x).sum(-1), rtol=1e-4, atol=1e-4)


def test_names_for_one_map() -> None:
    x = torch.linspace(-1e3, 1e3, 9)
    assert torch.equal(CauchyCDF().bind(()).forward(x), CDF("cauchy").bind(()).forward(x))
    assert torch.equal(Sigmoid().bind(()).forward(x), CDF("logistic").bind(()).forward(x))


def test_far_tails_keep_their_density() -> None:
    _, log_det = CDF("normal").bind(()).forward_and_log_det(torch.tensor([-1e3, 1e3, 1e6]))
    torch.testing.assert_close(log_det, torch.tensor([-5e5, -5e5, -5e11]) - 0.9189385)


def test_options_out_of_range_are_refused() -> None:
    for call, error, words in (
        (lambda: CDF("uniform"), OptionError, "CDF: distribution is expected to be one of"),  # type: ignore[arg-type]
        (lambda: CDF(Normal(0.0, 1.0)), OptionError, "Use CDF.of"),  # type: ignore[arg-type]
        (lambda: CDF("normal", scale=0.0), OptionError, "CDF: scale"),
        (lambda: CDF("normal", loc=math.inf), OptionError, "CDF: loc"),
        (lambda: CDF("normal", loc="0"), OptionTypeError, "CDF: loc"),  # type: ignore[arg-type]
        (lambda: CDF.of(Exponential(3.0)), OptionError, "one of torch's Normal, Laplace, Cauchy, Gumbel, StudentT"),
        (lambda: CDF("student_t"), OptionError, "CDF: df is expected for 'student_t', and for no other; got None"),
        (lambda: CDF("normal", df=3.0), OptionError, "CDF: df is expected for 'student_t', and for no other; got 3.0"),
        (lambda: CDF("student_t", df=-1.0), OptionError, "CDF: df"),
        (lambda: CDF.of(Independent(Normal(torch.zeros(2), 1.0), 1)), OptionError, "is expected; got Independent"),
        (lambda: CDF.of(Normal(torch.zeros(2), torch.ones(2))), ShapeError, "got batch shape \\(2,\\)"),
    ):
        with pytest.raises(error, match=words):
            call()


def test_describe() -> None:
    assert CDF("gumbel", loc=1.0).describe() == "y = F((x - 1) / 1), F the gumbel distribution function."
