"""Maps onto or from an interval: what is theirs beyond the conformance kit."""

from __future__ import annotations

import math

import pytest
import torch

from flowtorch import domains
from flowtorch.bijectors import Compose, Sigmoid
from flowtorch.bijectors.bounded import ArcSin, SigmoidTo, Sin, Softclip, Softsign
from flowtorch.errors import OptionError, OptionTypeError


def test_regions() -> None:
    assert domains.describe(Softclip(bound=2.0).codomain) == "(-2, 2)"
    assert domains.describe(SigmoidTo(low=-1, high=3).codomain) == "(-1, 3)"
    assert domains.includes(Sin().codomain, ArcSin().domain) and domains.includes(ArcSin().codomain, Sin().domain)
    Compose([Softclip(bound=1.0), ArcSin(), Sin()]).bind((2,))


def test_relations() -> None:
    x = torch.linspace(-1e3, 1e3, 9)
    assert torch.equal(Softclip(bound=1.0).bind(()).forward(x), Softsign().bind(()).forward(x))
    torch.testing.assert_close(SigmoidTo().bind(()).forward(x), Sigmoid().bind(()).forward(x))
    y = torch.tensor([-0.9, 0.0, 0.4])
    assert torch.equal(ArcSin().bind(()).forward(y), torch.asin(y))


def test_at_and_beyond_the_ends() -> None:
    y = torch.tensor([-1.0, 1.0, 2.0, math.inf])
    for plan in (Softsign(), Sin(), Softclip(bound=1.0), SigmoidTo(low=-1, high=1)):
        x, log_det = plan.bind(()).inverse_and_log_det(y)
        assert x.isfinite().all() and log_det.isneginf().all()


def test_options_out_of_range_are_refused() -> None:
    for call, error, words in (
        (lambda: Softclip(bound=0.0), OptionError, "Softclip: bound"),
        (lambda: Softclip(bound="1"), OptionTypeError, "Softclip: bound"),  # type: ignore[arg-type]  # the point
        (lambda: SigmoidTo(low=1.0, high=1.0), OptionError, "low < high is expected; got low=1.0 and high=1.0"),
        (lambda: SigmoidTo(low=-math.inf), OptionError, "SigmoidTo: low"),
        (lambda: SigmoidTo(high=math.inf), OptionError, "SigmoidTo: high"),
    ):
        with pytest.raises(error, match=words):
            call()


def test_describe() -> None:
    assert Softclip(bound=2.0).describe() == "y = x / (1 + |x| / 2)."
    assert SigmoidTo(low=-1.0, high=3.0).describe() == "y = -1 + 4 sigmoid(x)."
