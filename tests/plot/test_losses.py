"""Curves of losses."""

from __future__ import annotations

import math

import numpy as np
import torch

from flowtorch.plot import losses
from flowtorch.plot.extra import Axes


def lines(ax: Axes) -> dict[str, list[tuple[float, float]]]:
    return {str(line.get_label()): [tuple(p) for p in np.asarray(line.get_xydata()).tolist()] for line in ax.lines}


def test_what_fit_returns() -> None:
    from flowtorch.train import Fitted

    train, validation = ((10, 3.0), (20, 2.0), (30, 1.5)), ((15, 2.5), (30, 2.25))
    fitted = Fitted(30, 3, 1.0, train, validation, 2.25, 30, False, ())
    ax = losses(fitted, title="Fit").axes[0]
    found = lines(ax)
    assert found["training"] == list(train) and found["validation"] == list(validation)
    assert found["lowest: 2.25 at step 30"] == [(30, 2.25)]
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("Fit", "step", "loss (nats)")


def test_without_validation_there_is_no_mark() -> None:
    from flowtorch.train import Fitted

    ax = losses(Fitted(30, 3, 1.0, ((10, 3.0), (20, 2.0)), (), None, None, False, ())).axes[0]
    assert list(lines(ax)) == ["training"] and ax.get_legend() is None


def test_sequences_pairs_arrays_and_several_runs() -> None:
    assert lines(losses([3.0, 2.0]).axes[0]) == {"loss": [(1, 3), (2, 2)]}
    assert lines(losses(torch.tensor([3.0, 2.0])).axes[0]) == {"loss": [(1, 3), (2, 2)]}
    ax = losses({"a": np.array([[5, 1.0], [10, 0.5]]), "b": [1.0]}, labels=("epoch", "bits")).axes[0]
    assert lines(ax) == {"a": [(5, 1), (10, 0.5)], "b": [(1, 1)]}
    assert ax.get_legend() is not None and ax.get_ylabel() == "bits"


def test_losses_that_are_not_finite_are_gaps() -> None:
    ax = losses([3.0, math.nan, math.inf, 1.0]).axes[0]
    low, high = ax.get_ylim()
    assert low < 1 and 3 < high < 10


def test_large_first_losses_are_cut_off_and_it_says_so() -> None:
    ax = losses([1000.0, 500.0, *np.linspace(3, 2, 98)]).axes[0]
    assert ax.get_ylim()[1] < 4 and "1000" in ax.texts[0].get_text()
    ax = losses(np.linspace(3, 2, 100)).axes[0]
    assert ax.get_ylim()[1] > 3 and not ax.texts
