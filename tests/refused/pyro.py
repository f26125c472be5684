"""What the Pyro part refuses: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable

import pyro
import pyro.distributions as pd
import torch

import flowtorch.bijectors as bij
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.errors import (
    AlreadyBoundError,
    ContextError,
    DomainError,
    NotSupportedError,
    OptionError,
    OptionTypeError,
    ShapeError,
)
from flowtorch.pyro import AutoFlow, to_pyro

PLAN = bij.Affine()


def flow(size: int = 2, context: int | None = None) -> Flow:
    return Flow(DiagNormal(size), PLAN, context_shape=context)


def model() -> None:
    pyro.sample("x", pd.Normal(0.0, 1.0).expand([2]).to_event(1))


def flat() -> None:
    x = pyro.sample("x", pd.Normal(0.0, 1.0).expand([2]).to_event(1))
    pyro.factor("flat", x.square().sum(-1))


def called(guide: AutoFlow) -> AutoFlow:
    guide()
    return guide


def alone(call: Callable[[], object]) -> Callable[[], object]:
    """With a param store of its own."""

    def inside() -> object:
        with pyro.get_param_store().scope():
            return call()

    return inside


def two_of_a_name() -> object:
    to_pyro(flow(2), name="q")
    return to_pyro(flow(3), name="q")


REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    ContextError: {
        "to_pyro: a flow without a context is expected, or flow.condition(context); got a Flow": lambda: to_pyro(
            flow(context=3)
        ),
        "expected, or flow.condition(context); got a FlowView that needs one": lambda: to_pyro(flow(context=3)[:1]),
    },
    OptionTypeError: {
        "to_pyro: distribution is expected to be a Distribution; got Affine": lambda: to_pyro(PLAN),  # type: ignore[arg-type]
        "to_pyro: name is expected for a module or a view of one only; got 'q' for a DiagNormal": lambda: to_pyro(
            DiagNormal(2), name="q"
        ),
        "to_pyro: path_derivative is expected to be True or False": lambda: to_pyro(flow(), path_derivative=1),  # type: ignore[arg-type]
        "AutoFlow: the plan is expected to be a Bijector; got": lambda: AutoFlow(model, flow()),  # type: ignore[arg-type]
        "AutoFlow: init_scale is expected to be a number": lambda: AutoFlow(model, PLAN, init_scale="small"),  # type: ignore[arg-type]
        "AutoFlow: laplace is expected to be True or False": lambda: AutoFlow(model, PLAN, laplace=1),  # type: ignore[arg-type]
        "AutoFlow: path_derivative is expected to be": lambda: AutoFlow(model, PLAN, path_derivative=None),  # type: ignore[arg-type]
        "AutoFlow: draws is expected to be an integer; got": lambda: AutoFlow(model, PLAN, draws=1e4),  # type: ignore[arg-type]
    },
    OptionError: {
        "to_pyro: path_derivative=True is expected of a whole flow only; got": lambda: to_pyro(
            Flow(DiagNormal(2), bij.Compose([PLAN, PLAN]))[:1], path_derivative=True
        ),
        "AutoFlow: init_scale is expected to lie in (0, inf); got": lambda: AutoFlow(model, PLAN, init_scale=-1.0),
        "AutoFlow: draws is expected to be at least 1; got": lambda: AutoFlow(model, PLAN, draws=0),
        "AutoFlow.quantiles: numbers between 0 and 1 are expected; got [0.5, 1.5]": alone(
            lambda: called(AutoFlow(model, PLAN)).quantiles([0.5, 1.5])
        ),
    },
    AlreadyBoundError: {
        "AutoFlow: a plan is expected; got a bound Affine": lambda: AutoFlow(model, PLAN.bind((2,))),  # type: ignore[arg-type]
    },
    NotSupportedError: {
        "AutoFlow.flow: a guide that was called once is expected; got": lambda: AutoFlow(model, PLAN).flow,
        "AutoFlow.log_density: a guide that was called once is expected; got": lambda: AutoFlow(
            model, PLAN
        ).log_density(),
    },
    DomainError: {
        "AutoFlow: a model whose density has a peak is expected with laplace=True; got a Hessian": alone(
            lambda: called(AutoFlow(flat, PLAN, laplace=True, init_loc_fn=lambda site: torch.zeros(2)))
        ),
    },
    ShapeError: {
        "to_pyro: parameters of this plan are expected under the name 'q' ... got ... in place of (3,)": alone(
            two_of_a_name
        ),
    },
}
