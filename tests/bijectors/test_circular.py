"""CircularShift: what is its own beyond the conformance kit."""

from __future__ import annotations

import math

import pytest
import torch

import flowtorch.parameters as params
from flowtorch.bijectors import Coupling
from flowtorch.bijectors.circular import CircularShift
from flowtorch.errors import OptionError, OptionTypeError

NET = params.DenseNN((12, 10), nonlinearity=torch.nn.Tanh)
MADE = params.MADE((12, 10), nonlinearity=torch.nn.Tanh)


def test_a_learnable_shift_starts_at_the_identity_and_a_given_one_has_no_parameters() -> None:
    x = torch.tensor([-3.0, 0.0, 3.0])
    assert torch.equal(CircularShift().bind((3,)).forward(x), x)
    assert not list(CircularShift(shift=1.0).bind((3,)).parameters())
    torch.testing.assert_close(CircularShift(shift=7.0).bind((3,)).forward(x), (x + 7.0 + math.pi) % math.tau - math.pi)


def test_outside_of_the_circle() -> None:
    x, log_det = CircularShift(shift=1.0).bind(()).forward_and_log_det(torch.tensor([4.0, -3.2]))
    assert x.isfinite().all() and log_det.isneginf().all()


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(OptionError, match="either a shift or a params_fn"):
        CircularShift(NET, shift=1.0)
    with pytest.raises(OptionError, match="CircularShift: shift"):
        CircularShift(shift=math.inf)
    with pytest.raises(OptionTypeError, match="CircularShift: shift"):
        CircularShift(shift="1")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(OptionError, match="which has none to drive"):
        Coupling(CircularShift(shift=1.0))


def test_describe() -> None:
    assert CircularShift(shift=0.5).describe() == "y = x + 0.5, wrapped into [-pi, pi)."
    assert CircularShift().describe() == "y = x + s, wrapped into [-pi, pi)."
