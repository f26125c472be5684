"""What objectives refuse: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.distributions import Normal

import flowtorch.bijectors as bij
from flowtorch import objectives
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.errors import ContextError, OptionError, OptionTypeError, ShapeError

X = torch.zeros(5, 2)


def flow(context: int | None = None) -> Flow:
    return Flow(DiagNormal(2), bij.AffineCoupling(), context_shape=context)


def target(y: torch.Tensor) -> torch.Tensor:
    return -y.square().sum(-1)


def fitted(weights: object) -> torch.Tensor:
    return objectives.maximum_likelihood(flow(), X, weights=weights)  # type: ignore[arg-type]


# For each class of errors, the words of a message, in this order, and what raises it.
REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    ShapeError: {
        "maximum_likelihood: weights that broadcast to the batch (5,) are expected; got (4,)": lambda: fitted(
            torch.ones(4)
        ),
        "maximum_likelihood: weights that broadcast to the batch (5,) are expected; got (5, 1)": lambda: fitted(
            torch.ones(5, 1)
        ),
        "reverse_kl: a log_density that returns shape (3,) for values of shape (3, 2) is expected; got a tensor of "
        "shape (3, 2)": lambda: objectives.reverse_kl(flow(), lambda y: y, 3),
        "renyi: a log_density that returns shape (3,) ... got float 0.0": lambda: objectives.renyi(
            flow(),
            lambda y: 0.0,  # type: ignore[arg-type, return-value]
            3,
        ),
        "forward_kl: a log_density that returns shape (3,)": lambda: objectives.forward_kl(flow(), lambda y: y, 3),
        "importance_estimate: a log_density that returns shape (3,)": lambda: objectives.importance_estimate(
            flow(), lambda y: y, 3
        ),
        "forward_kl: a proposal with the flow's batch shape () or none is expected; got (2,)": lambda: (
            objectives.forward_kl(flow(), target, 3, proposal=Normal(torch.zeros(2), 1.0))
        ),
        "kl_divergence: distributions of one event shape are expected; got (2,) and ()": lambda: (
            objectives.kl_divergence(flow(), Normal(0.0, 1.0), 3)
        ),
    },
    ContextError: {
        "reverse_kl: no context is expected for a Normal; got a tensor of shape (2,)": lambda: objectives.reverse_kl(
            Normal(0.0, 1.0), target, 3, torch.zeros(2)
        ),
        "Flow.rsample ... context (3,) is expected; got none": lambda: objectives.reverse_kl(flow(3), target, 3),
        "kl_divergence: no context is expected for distributions that take none; got one": lambda: (
            objectives.kl_divergence(flow(), flow(), 3, torch.zeros(3))
        ),
    },
    OptionError: {
        "maximum_likelihood: finite weights of at least zero, not all zero, are expected; got 1 of 5 negative or not "
        "finite, and 4 zero": lambda: fitted(torch.tensor([0.0, 0.0, -1.0, 0.0, 0.0])),
        "maximum_likelihood: finite weights ... got 2 of 5": lambda: fitted(
            torch.tensor([1.0, torch.nan, torch.inf, 1.0, 1.0])
        ),
        "maximum_likelihood: finite weights ... got 0 of 5 negative or not finite, and 5 zero": lambda: fitted(
            torch.zeros(5)
        ),
        "reverse_kl: count ... at least 1; got 0": lambda: objectives.reverse_kl(flow(), target, 0),
        "renyi: count ... at least 1; got 0": lambda: objectives.renyi(flow(), target, 0),
        "renyi: alpha ... got inf": lambda: objectives.renyi(flow(), target, 3, torch.inf),
        "forward_kl: count ... at least 1; got 0": lambda: objectives.forward_kl(flow(), target, 0),
        "importance_estimate: count ... got 0": lambda: objectives.importance_estimate(flow(), target, 0),
        "importance_estimate: chunk_size ... got 0": lambda: objectives.importance_estimate(
            flow(), target, 3, chunk_size=0
        ),
        "entropy: count ... at least 2; got 1": lambda: objectives.entropy(flow(), 1),
        "kl_divergence: count ... at least 2; got 1": lambda: objectives.kl_divergence(flow(), flow(), 1),
        "annealed: weight ... [0, 1]; got 1.5": lambda: objectives.annealed(target, None, 1.5),
        "annealing_weight: step ... got -1": lambda: objectives.annealing_weight(-1, 10),
        "annealing_weight: steps ... got -1": lambda: objectives.annealing_weight(0, -1),
        "annealing_weight: start ... [0, 1]; got -0.5": lambda: objectives.annealing_weight(0, 10, -0.5),
        "annealing_weight: shape ... 'linear', 'cosine', 'geometric'; got 'step'": lambda: objectives.annealing_weight(
            0,
            10,
            shape="step",  # type: ignore[arg-type]
        ),
        "annealing_weight: a start above 0 ... 'geometric'; got 0.0": lambda: objectives.annealing_weight(
            0, 10, 0.0, "geometric"
        ),
    },
    OptionTypeError: {
        "maximum_likelihood: a flow or another distribution is expected; got": lambda: objectives.maximum_likelihood(
            bij.AffineCoupling(),  # type: ignore[arg-type]
            X,
        ),
        "maximum_likelihood: weights are expected to be a tensor; got list": lambda: fitted([1.0] * 5),
        "reverse_kl: a flow or another distribution is expected; got the class Flow": lambda: objectives.reverse_kl(
            Flow,  # type: ignore[arg-type]
            target,
            3,
        ),
        "reverse_kl: a flow that is a module ... context=... in place of a view; got": lambda: objectives.reverse_kl(
            flow(3).condition(torch.zeros(3)), target, 3
        ),
        "reverse_kl: path_derivative ... True or False; got 1": lambda: objectives.reverse_kl(
            flow(),
            target,
            3,
            path_derivative=1,  # type: ignore[arg-type]
        ),
        "renyi: alpha ... a number; got 'a'": lambda: objectives.renyi(
            flow(),
            target,
            3,
            alpha="a",  # type: ignore[arg-type]
        ),
        "forward_kl: proposal ... Distribution; got": lambda: objectives.forward_kl(
            flow(),
            target,
            3,
            proposal=target,  # type: ignore[arg-type]
        ),
        "annealed: base ... Distribution; got": lambda: objectives.annealed(target, target, 0.5),  # type: ignore[arg-type]
        "annealing_weight: step ... an integer; got 0.5": lambda: objectives.annealing_weight(0.5, 10),  # type: ignore[arg-type]
    },
}
