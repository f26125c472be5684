"""Annealed targets: from a density that is easy to one that is not."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch.distributions import Distribution

from .. import options
from ..errors import OptionError
from .draws import LogDensity


def annealed(log_density: LogDensity, base: Distribution | None, weight: float | torch.Tensor) -> LogDensity:
    r"""A target on the geometric path from a base to a density: its logarithm, unnormalised.

    .. math:: \log \tilde p_\beta(y) = (1 - \beta) \log b(y) + \beta \log \tilde p(y)

    Without a base it is the density at the temperature :math:`1 / \beta`.

    Args:
        log_density: of the target, ``(*batch, *event)`` to ``(*batch)``.
        base: b, or None for an improper uniform one.
        weight: :math:`\beta`, from 0 (the base) to 1 (the target). One that changes from step to step is best a tensor
            where the objective is compiled.

    Returns:
        A log-density.

    Raises:
        OptionError, OptionTypeError: for a weight that is no number from 0 to 1.

    Example:
        >>> import torch, flowtorch.distributions as dist
        >>> halfway = annealed(lambda y: -(y - 2).square().sum(-1), dist.DiagNormal(2), 0.5)
        >>> halfway(torch.zeros(5, 2)).shape
        torch.Size([5])

    References:
        Annealed Importance Sampling (Neal, 2001), https://arxiv.org/abs/physics/9803008, eq. 3; without a base:
        Variational Inference with Normalizing Flows (Rezende and Mohamed, 2015), https://arxiv.org/abs/1505.05770,
        eq. 20.
    """
    if base is not None:
        options.instance("annealed", "base", base, Distribution)
    if not isinstance(weight, torch.Tensor):
        _fraction("annealed", "weight", weight)

    def between(y: torch.Tensor) -> torch.Tensor:
        target = _times(weight, log_density(y))
        return target if base is None else target + _times(1 - weight, base.log_prob(y))

    return between


def annealing_weight(
    step: int, steps: int, start: float = 0.01, shape: Literal["linear", "cosine", "geometric"] = "linear"
) -> float:
    r"""The weight of an annealed target at a step of training: from ``start`` to 1, and 1 from then on.

    .. math:: \beta_t = s + (1 - s) t / T, \qquad s + (1 - s) (1 - \cos(\pi t / T)) / 2, \qquad s^{1 - t / T}

    Args:
        step: t, from 0.
        steps: T, how many steps the annealing takes; of no steps, it is over.
        start: s, the first weight; positive for the geometric shape.
        shape: ``"linear"``, ``"cosine"`` (slow at both ends) or ``"geometric"``.

    Returns:
        A number from ``start`` to 1.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> [annealing_weight(step, 100, start=0.0) for step in (0, 50, 100, 200)]
        [0.0, 0.5, 1.0, 1.0]

    References:
        Variational Inference with Normalizing Flows (Rezende and Mohamed, 2015), https://arxiv.org/abs/1505.05770,
        sec. 6.1, whose weights are min(1, 0.01 + t / 10000).
    """
    who = "annealing_weight"
    options.integer(who, "step", step, minimum=0)
    options.integer(who, "steps", steps, minimum=0)
    _fraction(who, "start", start)
    options.one_of(who, "shape", shape, ("linear", "cosine", "geometric"))
    if shape == "geometric" and start == 0:
        raise OptionError(f"{who}: a start above 0 is expected with shape='geometric'; got {start!r}.")
    if step >= steps:
        return 1.0
    passed = step / steps
    if shape == "geometric":
        return float(start ** (1 - passed))
    return start + (1 - start) * (passed if shape == "linear" else (1 - math.cos(math.pi * passed)) / 2)


def _times(weight: float | torch.Tensor, log_density: torch.Tensor) -> torch.Tensor:
    # None of -inf is nothing, and not NaN.
    return torch.where(torch.as_tensor(weight) == 0, 0.0, weight * log_density)


def _fraction(who: str, name: str, value: object) -> None:
    options.number(who, name, value)
    if not 0 <= value <= 1:  # type: ignore[operator]  # it is a number
        raise OptionError(f"{who}: {name} is expected to lie in [0, 1]; got {value!r}.")
