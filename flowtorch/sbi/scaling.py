"""Units: maps from those in which a plan works to those of the simulations, taken from simulations."""

from __future__ import annotations

import itertools

import torch
from torch.distributions import Distribution, constraints
from torch.distributions.constraints import Constraint

from ..bijectors import Bijector, BoundBijector, Concatenate, ConstrainTo, Invert, Standardize
from ..errors import DomainError, OptionError


def finite(data: torch.Tensor) -> torch.Tensor:
    """Returns which rows ``(n, *event)`` are finite throughout."""
    return data.flatten(1).isfinite().all(1)


def restoring(data: torch.Tensor, structured: bool, called: str) -> Standardize:
    """Returns what maps to the units of rows; the coordinates of ``called`` that do not vary are refused."""
    data = data[finite(data)]
    if structured:
        return Standardize.from_data(data.reshape(-1), names=[called])
    places = itertools.product(*map(range, data.shape[1:]))
    names = [f"{called}[{', '.join(map(str, place))}]" for place in places]
    return Standardize.from_data(data, names=names)


def standardizing(data: torch.Tensor, structured: bool) -> BoundBijector[Bijector]:
    """Returns what maps rows to a mean of zero and a deviation of one; what is not finite is not counted."""
    data = data.double()
    where = (0,) if not structured else tuple(range(data.dim()))
    inside = data.isfinite()
    count = inside.sum(where).clamp(min=1)
    loc = data.where(inside, 0.0).sum(where) / count
    values = data.where(inside, loc)
    scale = ((values - loc).square().sum(where) / count).sqrt()
    # A coordinate that does not vary says nothing: that its rounding is not blown up.
    scale = torch.where(values.amax(where) == values.amin(where), 1.0, scale)
    return Invert(Standardize(loc, scale)).bind(data.shape[1:])


def onto_support(who: str, of: Distribution) -> Bijector:
    """Returns the map from the reals to the support of a distribution."""
    try:
        support = of.support
    except NotImplementedError:
        support = None
    if not isinstance(support, Constraint):
        raise OptionError(f"{who}: x_dist is expected to know its support; got a {type(of).__name__} that does not.")
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if not isinstance(support, constraints.cat):
        return _onto(support)
    # sbi's MultipleIndependent: pieces of a vector.
    plans = [_onto(part) for part in support.cseq]
    sizes = [plan.inverse_shape(torch.Size([n]))[-1] for plan, n in zip(plans, support.lengths, strict=True)]
    return Concatenate(plans, sizes)


def _onto(support: Constraint) -> ConstrainTo:
    plan = ConstrainTo(support)
    if plan.kind is not None:
        return plan
    low, high = (torch.tensor(end, dtype=torch.float64) for end in plan.ends)
    # One in 2^24 single-precision draws of a uniform prior falls on its end, where the density would be zero and sbi
    # stop training: both ends give way by as much as such draws are rounded.
    slack = torch.finfo(torch.float32).eps * torch.maximum(low.abs(), high.abs())
    slack = slack.where(slack.isfinite(), 0.0)
    return ConstrainTo(constraints.interval(low - slack, high + slack))


def preimage(who: str, called: str, onto: Bijector, data: torch.Tensor) -> torch.Tensor:
    """Returns where rows come from, in double precision; rows outside are refused."""
    rows = data[finite(data)].double()
    bound = onto.bind(onto.inverse_shape(rows.shape[1:])).double()
    free, log_det = bound.inverse_and_log_det(rows)
    outside = int(log_det.isneginf().sum())
    if outside:
        raise DomainError(
            f"{who}: rows of {called} inside of the support of x_dist are expected; got {outside} of {len(rows)} "
            "outside, or on its boundary."
        )
    return free
