"""What the part for sbi refuses: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.distributions import Distribution, Independent, Normal, Uniform

import flowtorch.bijectors as bij
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.errors import AlreadyBoundError, ContextError, DomainError, OptionError, OptionTypeError, ShapeError
from flowtorch.sbi import FlowtorchFlow, likelihood_nn, posterior_nn

PLAN = bij.Affine()
THETA, X = torch.linspace(0.1, 0.9, 20).reshape(10, 2), torch.linspace(-3, 3, 30).reshape(10, 3)
CONSTANT = torch.cat([THETA, torch.ones(10, 1)], 1)
PRIOR = Independent(Uniform(torch.zeros(2), torch.ones(2)), 1)


class NoSupport(Distribution):
    """A distribution that says nothing of itself."""


def posterior(plan: Any = PLAN, *, theta: torch.Tensor = THETA, **options: Any) -> Callable[[], object]:
    return lambda: posterior_nn(plan, **options)(theta, X)


def supported_by(of: Distribution, theta: torch.Tensor = THETA) -> Callable[[], object]:
    return posterior(theta=theta, z_score_theta="transform_to_unconstrained", x_dist=of)


def with_batch() -> object:
    base = Normal(torch.zeros(4, 2), torch.ones(4, 2))
    return FlowtorchFlow(Flow(Independent(base, 1), bij.AffineCoupling(), context_shape=3))


REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionError: {
        "posterior_nn: z_score_theta is expected to be one of 'independent', 'structured', 'none', "
        "'transform_to_unconstrained'; got 'each'": posterior(z_score_theta="each"),
        "posterior_nn: z_score_x is expected to be one of ... 'none'; got 'transform_to_unconstrained'": posterior(
            z_score_x="transform_to_unconstrained"
        ),
        "likelihood_nn: z_score_theta is expected to be one of ... got 'both'": lambda: likelihood_nn(
            z_score_theta="both"  # type: ignore[arg-type]
        ),
        "posterior_nn: x_dist is expected along with z_score_theta='transform_to_unconstrained', and only then; got "
        "none": posterior(z_score_theta="transform_to_unconstrained"),
        "likelihood_nn: x_dist is expected along with z_score_x='transform_to_unconstrained', and only then; got one "
        "with 'independent'": lambda: likelihood_nn(x_dist=PRIOR),
        "posterior_nn: x_dist is expected to know its support; got a NoSupport that does not": supported_by(
            NoSupport(event_shape=torch.Size([2]), validate_args=False)
        ),
        "posterior_nn: z_score_theta='none' is expected with a plan that gives (0, 1) values only; got "
        "'independent'": posterior(bij.Compose([PLAN, bij.Sigmoid()])),
    },
    OptionTypeError: {
        "posterior_nn: the plan is expected to be a Bijector; got str 'nsf'": posterior("nsf"),
        "posterior_nn: embedding_net is expected to be a Module; got the class Linear": posterior(
            embedding_net=torch.nn.Linear
        ),
        "posterior_nn: x_dist is expected to be a Distribution; got": posterior(
            z_score_theta="transform_to_unconstrained", x_dist=PRIOR.support
        ),
        "FlowtorchFlow: flow is expected to be a Flow; got Affine": lambda: FlowtorchFlow(PLAN),  # type: ignore[arg-type]
    },
    AlreadyBoundError: {
        "likelihood_nn: a plan is expected; got a bound Affine": lambda: likelihood_nn(PLAN.bind((2,))),  # type: ignore[arg-type]
    },
    DomainError: {
        "posterior_nn: rows of theta inside of the support of x_dist are expected; got 3 of 10 outside, or": (
            supported_by(PRIOR, theta=THETA + 0.3)
        ),
        "Standardize: columns with spread are expected; got zero spread in column 'theta[2]'": posterior(
            theta=CONSTANT
        ),
        "Standardize: columns with spread are expected; got zero spread in column 'theta'": posterior(
            theta=torch.ones(10, 2), z_score_theta="structured"
        ),
    },
    ContextError: {
        "FlowtorchFlow: a flow with a context_shape is expected; got one without": lambda: FlowtorchFlow(
            Flow(DiagNormal(2), PLAN)
        ),
    },
    ShapeError: {
        "FlowtorchFlow: a flow without batch dimensions is expected; got batch (4,)": with_batch,
    },
}
