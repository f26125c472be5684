"""What resampled, mixed and truncated distributions refuse: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import distributions as td

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.distributions.mixture_of_flows import MixtureOfFlows
from flowtorch.distributions.resampled import ResampledBase
from flowtorch.distributions.truncated import Truncated
from flowtorch.errors import ContextError, DomainError, NotSupportedError, OptionError, OptionTypeError, ShapeError

x, context = torch.zeros(5, 2), torch.zeros(5, 3)


def flow(n: int = 2, context_shape: int | None = None) -> Flow:
    return Flow(DiagNormal(n), bij.AffineCoupling(params.DenseNN((4,))), context_shape=context_shape)


def stale() -> Truncated:
    """A truncated flow whose parameters were changed since."""
    found = Truncated(flow(), low=0.0)
    with torch.no_grad():
        next(found.parameters()).add_(1.0)
    return found


def resampled() -> ResampledBase:
    return ResampledBase(2, params.DenseNN((4,)))


# For each class of errors, the words of a message, in this order, and what raises it.
REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    ShapeError: {
        "ResampledBase: a network that returns (5,) or (5, 1) ... got (5, 3)": lambda: ResampledBase(
            2, torch.nn.Linear(2, 3), count_draws=5
        ),
        "ResampledBase: a proposal of event shape (2,) ... got event shape (3,)": lambda: ResampledBase(
            2, proposal=DiagNormal(3)
        ),
        "without batch dimensions ... got event shape () and batch shape (2,)": lambda: ResampledBase(
            (), proposal=td.Normal(torch.zeros(2), 1.0)
        ),
        "ResampledBase.log_prob: ... event (2,) is expected; got (5, 3)": lambda: resampled().log_prob(context),
        "Truncated.log_prob: values of a batch that broadcasts with (4,) are expected; got batch (5,)": lambda: (
            Truncated(td.Independent(td.Normal(torch.zeros(4, 2), 1.0), 1), low=0.0).log_prob(x)
        ),
        "ModuleView.log_prob: values of a batch that broadcasts with (4,) are expected; got batch (5,)": lambda: (
            MixtureOfFlows([flow()]).expand(4).log_prob(x)
        ),
        "ResampledBase.expand: ... (4,) broadcasts to ... got (3,)": lambda: resampled().expand((4,)).expand((3,)),
        "MixtureOfFlows: components of one event shape ... got [(2,), (3,)]": lambda: MixtureOfFlows(
            [flow(2), flow(3)]
        ),
        "MixtureOfFlows: batch shapes that broadcast ... got [(2,), (3,)]": lambda: MixtureOfFlows(
            [td.Normal(torch.zeros(n), 1.0) for n in (2, 3)]
        ),
        "Truncated: low is expected to be a number ... (2,); got a tensor of shape (3,)": lambda: Truncated(
            flow(), low=torch.zeros(3)
        ),
        "Truncated: high ... got str 'a'": lambda: Truncated(flow(), high="a"),  # type: ignore[arg-type]
        "Truncated: inside ... booleans of shape (16384,); got torch.float32 of shape (16384, 2)": lambda: Truncated(
            flow(), inside=torch.exp
        ),
        "Truncated: inside ... got NoneType": lambda: Truncated(flow(), inside=lambda v: None),  # type: ignore[arg-type,return-value]
    },
    ContextError: {
        "ModuleView: no context is expected ... got another": lambda: (
            MixtureOfFlows([flow(2, 3)]).condition(context).log_prob(x, context)
        ),
        "MixtureOfFlows.condition: no context is expected": lambda: MixtureOfFlows([flow()]).condition(context),
        "MixtureOfFlows: one context shape ... got [(3,), (4,)]": lambda: MixtureOfFlows([flow(2, 3), flow(2, 4)]),
        "MixtureOfFlows: a context_shape is expected along with params_fn; got None": lambda: MixtureOfFlows(
            [flow()], params_fn=params.DenseNN()
        ),
        "MixtureOfFlows.log_weights: a context is expected ... got none": lambda: MixtureOfFlows(
            [flow(2, 3)], params_fn=params.DenseNN()
        ).log_weights(),
        "MixtureOfFlows.log_prob: a context of shape ... got none": lambda: MixtureOfFlows([flow(2, 3)]).log_prob(x),
        "Truncated: no context is expected": lambda: Truncated(flow(), low=0.0, context=context),
    },
    DomainError: {
        "ResampledBase.log_prob: values of positive density ... got 5 of 5 of none": lambda: ResampledBase(
            2, proposal=td.Independent(td.Uniform(torch.ones(2), 2 * torch.ones(2)), 1), validate_args=True
        ).log_prob(x),
        "Truncated: an estimate of the normalizer ... Call refresh()": lambda: stale().log_prob(x),
        "Truncated: a box of positive mass is expected; got none, to rounding": lambda: Truncated(
            DiagNormal(2), low=50.0
        ),
        "Truncated: draws of the distribution that lie inside ... got 0 of 16384": lambda: Truncated(flow(), low=50.0),
        "Truncated.sample: 1000 draws inside are expected within 1 rounds ... rate of 0.": lambda: Truncated(
            flow(), low=0.0, max_rounds=1
        ).sample((1000,)),
    },
    NotSupportedError: {
        "ResampledBase.rsample: it can only be sampled without gradients": lambda: resampled().rsample(),
        "MixtureOfFlows.cdf: components with event shape () are expected; got (2,)": lambda: MixtureOfFlows(
            [flow()]
        ).cdf(x),
        "MixtureOfFlows.rsample_stratified: components with rsample ... got ResampledBase": lambda: MixtureOfFlows(
            [flow(), resampled()]
        ).rsample_stratified(),
        "Truncated: a fixed context is expected ... Use condition(context)": lambda: Truncated(
            flow(2, 3), low=0.0
        ).log_prob(x, context),
    },
    OptionError: {
        "ResampledBase: truncation ... at least 2; got 1": lambda: ResampledBase(2, truncation=1),
        "ResampledBase: min_acceptance ... (0, 1); got 0.0": lambda: ResampledBase(2, min_acceptance=0.0),
        "ResampledBase: momentum ... (0, 1); got 1.0": lambda: ResampledBase(2, momentum=1.0),
        "ResampledBase: count_draws ... at least 1; got 0": lambda: ResampledBase(2, count_draws=0),
        "ResampledBase.estimate_normalizer: count ... at least 1; got 0": lambda: resampled().estimate_normalizer(0),
        "MixtureOfFlows: 2 positive weights are expected; got list [1.0, 0.0]": lambda: MixtureOfFlows(
            [flow(), flow()], weights=[1.0, 0.0]
        ),
        "MixtureOfFlows.of: count ... at least 1; got 0": lambda: MixtureOfFlows.of(DiagNormal(2), bij.Affine(), 0),
        "Truncated: low < high is expected": lambda: Truncated(flow(), low=1.0, high=1.0),
        "Truncated.refresh: count_draws ... at least 1; got 0": lambda: Truncated(flow(), low=0.0).refresh(0),
        "Truncated: max_rounds ... at least 1; got 0": lambda: Truncated(flow(), max_rounds=0),
    },
    OptionTypeError: {
        "ResampledBase: params_fn ... Did you mean DenseNN()?": lambda: ResampledBase(
            2,
            params.DenseNN,  # type: ignore[arg-type]
        ),
        "ResampledBase: proposal ... that is no module; got Flow": lambda: ResampledBase(2, proposal=flow()),
        "ResampledBase.log_prob: a tensor is expected; got int 3": lambda: resampled().log_prob(
            3  # type: ignore[arg-type]
        ),
        "MixtureOfFlows: a list of flows is expected; got list []": lambda: MixtureOfFlows([]),
        "MixtureOfFlows: a flow or another distribution is expected; got AffineCoupling": lambda: MixtureOfFlows(
            [bij.AffineCoupling()]  # type: ignore[list-item]
        ),
        "Truncated: a flow itself is expected; got a view of one": lambda: Truncated(flow().expand((2,)), low=0.0),
        "Truncated: inside is expected to be a function ... got int 3": lambda: Truncated(
            flow(),
            inside=3,  # type: ignore[arg-type]
        ),
    },
}
