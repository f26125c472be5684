"""What targets refuse: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable

import torch

from flowtorch.distributions import targets
from flowtorch.errors import OptionError, OptionTypeError, ShapeError

# For each class of errors, the words of a message, in this order, and what raises it.
REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionError: {
        "NealsFunnel: dim ... at least 2; got 1": lambda: targets.NealsFunnel(1),
        "Pinwheel: count_arms ... at least 1; got 0": lambda: targets.Pinwheel(count_arms=0),
        "Checkerboard: count ... at least 1; got 0": lambda: targets.Checkerboard(count=0),
        "TwoMoons: nodes ... at least 1; got 0": lambda: targets.TwoMoons(nodes=0),
        "DiagNormalMixture: count ... at least 1; got 0": lambda: targets.DiagNormalMixture.random(0),
        "DiagNormalMixture: dim ... at least 1; got 0": lambda: targets.DiagNormalMixture.random(dim=0),
        "DiagNormalMixture: seed ... at least 0; got -1": lambda: targets.DiagNormalMixture.random(seed=-1),
    },
    OptionTypeError: {
        "NealsFunnel: dim ... an integer; got 2.0": lambda: targets.NealsFunnel(2.0),  # type: ignore[arg-type]
        "Spirals: nodes ... an integer; got 2.5": lambda: targets.Spirals(nodes=2.5),  # type: ignore[arg-type]
        "DiagNormalMixture: numbers are expected; got 'a'": lambda: targets.DiagNormalMixture(
            "a"  # type: ignore[arg-type]
        ),
    },
    ShapeError: {
        "TwoMoons: values of shape (*batch, 2) ... got (5, 3)": lambda: targets.TwoMoons().log_prob(torch.zeros(5, 3)),
        "NealsFunnel: values of shape (*batch, 4) ... got ()": lambda: targets.NealsFunnel(4).log_prob(torch.zeros(())),
        "DiagNormalMixture: locs and scales ... (*batch, count, dim) ... got (2,), (), ()": (
            lambda: targets.DiagNormalMixture([0.0, 1.0])
        ),
        "DiagNormalMixture: ... weights of shape (*batch, count) ... got (2, 2), (), (3,)": (
            lambda: targets.DiagNormalMixture([[0.0, 1.0], [1.0, 0.0]], 1.0, [0.2, 0.3, 0.5])
        ),
    },
}
