"""``StudentT``: independent heavy tails over an event of any shape."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from torch import distributions as td

from flowtorch.distributions.student import StudentT
from tests.distributions.helpers import close, draw, follows

DF = torch.tensor([1.5, 4.0, 30.0], dtype=torch.float64)
SCALE = torch.tensor([1.0, 0.5, 3.0], dtype=torch.float64)
LOC = draw(2, 1)


def test_the_density_of_each_coordinate() -> None:
    base = StudentT((2, 3), DF, LOC, SCALE)
    law = scipy.stats.t(DF.numpy(), LOC.numpy(), SCALE.numpy())
    y = 10 * draw(5, 2, 3, seed=1)
    close(base.log_prob(y), torch.from_numpy(law.logpdf(y.numpy()).sum((1, 2))))
    close(base.entropy(), torch.from_numpy(law.entropy()).sum())
    close(base.mean, LOC.expand(2, 3))
    close(base.variance, torch.tensor([math.inf, 0.5, 9 * 30 / 28], dtype=torch.float64).expand(2, 3))
    assert base.event_shape == base.shape == (2, 3) and base.batch_shape == () and base.has_rsample
    for name, expected in (("df", DF), ("loc", LOC), ("scale", SCALE)):
        close(getattr(base, name), expected.expand(2, 3))


def test_draws() -> None:
    drawn = StudentT(3, DF, 0.5, SCALE).sample((1000,))
    for i in range(3):
        law = scipy.stats.t(DF[i].item(), 0.5, SCALE[i].item())
        assert scipy.stats.kstest(drawn[:, i].numpy(), law.cdf).pvalue > 0.01
    assert follows(td.Normal(0.0, 1.0), StudentT((), torch.tensor(1e6)).sample((500,)))


def test_arguments_out_of_their_range_are_refused() -> None:
    for df, scale in ((0.0, 1.0), (1.0, -1.0)):
        with pytest.raises(ValueError, match="to satisfy the constraint GreaterThan"):
            StudentT(2, df, 0.0, scale)
    assert StudentT(2, 1.0, 0.0, -1.0, validate_args=False).event_shape == (2,)


def test_expand() -> None:
    base, y = StudentT(3, DF, 0.0, SCALE), draw(3)
    assert base.expand(4).sample((2,)).shape == (2, 4, 3)
    close(base.expand((4,)).log_prob(y), base.log_prob(y).expand(4))
