"""What targets refuse: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch

from flowtorch.distributions import targets
from flowtorch.distributions.targets.base import Target
from flowtorch.errors import NotSupportedError, OptionError, OptionTypeError, ShapeError


class Own(Target):
    """A target of one's own that says nothing of where it is."""

    arg_constraints: ClassVar = {"loc": torch.distributions.constraints.real}

    def __init__(self) -> None:
        super().__init__(2, None, loc=torch.zeros(()))

    def _draw(self, shape: Any) -> torch.Tensor:
        return torch.zeros(*shape, 2)

    def _log_prob(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(-1)


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
    NotSupportedError: {
        "Own.entropy: a target with an extent to sum over is expected; got a Own": lambda: Own().entropy(),
        "DiagNormalMixture.rsample: a target whose draws have gradients is expected; got a DiagNormalMixture": (
            lambda: targets.DiagNormalMixture([[0.0, 1.0]]).rsample()
        ),
        "DiagNormalMixture.entropy: ... got a DiagNormalMixture. flowtorch.objectives.entropy": lambda: (
            targets.DiagNormalMixture.random(4, 3).entropy()
        ),
        "TwoMoons.mean: ... closed form of its mean is expected; got a TwoMoons. Estimate it": lambda: (
            targets.TwoMoons().mean
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
