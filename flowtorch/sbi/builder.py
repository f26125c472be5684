"""From a plan to what sbi trains: made when sbi has simulations, which say shapes and units."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import torch
from torch.distributions import Distribution

from .. import domains, options
from ..bijectors import Bijector, BoundCompose, Compose
from ..bijectors.bound import as_plan
from ..distributions import DiagNormal, Flow
from ..errors import OptionError
from ..flows import nsf
from .estimator import FlowtorchFlow
from .scaling import finite, onto_support, preimage, restoring, standardizing

ZScore: TypeAlias = Literal["independent", "structured", "none"]
ZScoreOrSupport: TypeAlias = Literal["independent", "structured", "none", "transform_to_unconstrained"]
_SUPPORT: Literal["transform_to_unconstrained"] = "transform_to_unconstrained"
_CONDITION: tuple[ZScore, ...] = ("independent", "structured", "none")
_DENSITY: tuple[ZScoreOrSupport, ...] = (*_CONDITION, _SUPPORT)
_INITIAL = 10_000  # so many rows start layers that are started from data


def posterior_nn(
    plan: Bijector | None = None,
    *,
    z_score_theta: ZScoreOrSupport | None = "independent",
    z_score_x: ZScore | None = "independent",
    embedding_net: torch.nn.Module | None = None,
    x_dist: Distribution | None = None,
) -> EstimatorBuilder:
    r"""Makes of a plan a posterior estimator for sbi's ``NPE``: :math:`p(\theta \mid x)`, by the options of sbi's own.

    .. math:: \theta = g(\mu + \sigma \odot f(z; h((x - m) / s))), \quad z \sim \mathcal{N}(0, I)

    with the plan's :math:`f` and the embedding network :math:`h`, locations and scales of the simulations, and a map
    :math:`g` onto the prior's support if there is to be one.

    Each time that sbi calls it, it binds the plan anew, to the shapes of the simulations, in their units. Densities
    are of :math:`\theta` as it comes, whatever is done to it inside of the flow.

    Within a bounded prior a flow does not leak if it ends on the prior's support: either by
    ``z_score_theta="transform_to_unconstrained"`` with the prior as ``x_dist``, or as a plan that does, such as
    ``Compose([flows.nsf(), bij.SigmoidTo(low=0.0, high=1.0)])``, with ``z_score_theta="none"``.

    Args:
        plan: of the flow, from standard normal vectors; by default ``flows.nsf(layers=3, hidden_dims=(50, 50))``.
        z_score_theta: the units in which the plan works: ``"independent"`` for those of each coordinate by itself,
            ``"structured"`` for one mean and deviation of all, as of images, ``"none"`` or None for those of
            :math:`\theta` itself; ``"transform_to_unconstrained"`` for those of each coordinate after a map from the
            support of ``x_dist`` to the reals.
        z_score_x: the units in which ``x`` enters, likewise. What does not vary, or is not finite, is left out of
            account.
        embedding_net: what ``x`` goes through after that, ``(n, *x_shape)`` to ``(n, *embedded)``; trained along. Each
            estimator has a copy of its own.
        x_dist: a distribution on the support that :math:`\theta` is mapped from, as sbi calls it: the prior.

    Returns:
        What ``NPE(prior, density_estimator=...)`` takes.

    Raises:
        OptionError, OptionTypeError: for options out of range; and, when it is called, for z-scores with a plan that
            gives bounded values.
        DomainError: when it is called, for a coordinate of :math:`\theta` that does not vary.

    Example:
        >>> import torch, flowtorch.flows as flows
        >>> build = posterior_nn(flows.maf(layers=2), embedding_net=torch.nn.Linear(8, 4))
        >>> estimator = build(torch.randn(100, 2), torch.randn(100, 8))
        >>> estimator.sample((10,), torch.zeros(1, 8)).shape
        torch.Size([10, 1, 2])

    References:
        Automatic Posterior Transformation for Likelihood-Free Inference (Greenberg et al., 2019),
        https://arxiv.org/abs/1905.07488, sec. 2.
    """
    plan = _default() if plan is None else plan
    return EstimatorBuilder("posterior_nn", "theta", plan, z_score_theta, z_score_x, embedding_net, x_dist)


def likelihood_nn(
    plan: Bijector | None = None,
    *,
    z_score_theta: ZScore | None = "independent",
    z_score_x: ZScoreOrSupport | None = "independent",
    embedding_net: torch.nn.Module | None = None,
    x_dist: Distribution | None = None,
) -> EstimatorBuilder:
    r"""Makes of a plan a likelihood estimator for sbi's ``NLE``: :math:`p(x \mid \theta)`, by the options of sbi's own.

    .. math:: x = g(\mu + \sigma \odot f(z; h((\theta - m) / s))), \quad z \sim \mathcal{N}(0, I)

    Args:
        plan: of the flow of ``x``, as in :func:`posterior_nn`.
        z_score_theta: the units in which :math:`\theta` enters, as in :func:`posterior_nn` those of ``x``.
        z_score_x: the units in which the plan works, as in :func:`posterior_nn` those of :math:`\theta`.
        embedding_net: what :math:`\theta` goes through.
        x_dist: a distribution on the support that ``x`` is mapped from.

    Returns:
        What ``NLE(prior, density_estimator=...)`` takes.

    Raises:
        OptionError, OptionTypeError: for options out of range; and, when it is called, for z-scores with a plan that
            gives bounded values.
        DomainError: when it is called, for a coordinate of ``x`` that does not vary.

    Example:
        >>> import torch, flowtorch.flows as flows
        >>> estimator = likelihood_nn(flows.maf(layers=2))(torch.randn(100, 2), torch.randn(100, 3))
        >>> estimator.log_prob(torch.zeros(7, 5, 3), torch.zeros(5, 2)).shape
        torch.Size([7, 5])

    References:
        Sequential Neural Likelihood (Papamakarios et al., 2019), https://arxiv.org/abs/1805.07226, sec. 3.
    """
    plan = _default() if plan is None else plan
    return EstimatorBuilder("likelihood_nn", "x", plan, z_score_x, z_score_theta, embedding_net, x_dist)


def _default() -> Bijector:
    return nsf(layers=3, hidden_dims=(50, 50))


@dataclass(frozen=True)
class EstimatorBuilder:
    """What :func:`posterior_nn` and :func:`likelihood_nn` return: sbi calls it with simulations.

    Args:
        who: the function that made it.
        of: what the density is of, ``"theta"`` or ``"x"``; the other one is the condition.
        plan: of the flow.
        z_score: the units in which the plan works.
        z_score_condition: the units in which the condition enters.
        embedding_net: what the condition goes through.
        x_dist: on the support to map from.
    """

    who: str
    of: Literal["theta", "x"]
    plan: Bijector
    z_score: ZScoreOrSupport | None
    z_score_condition: ZScore | None
    embedding_net: torch.nn.Module | None
    x_dist: Distribution | None

    def __post_init__(self) -> None:
        condition = "x" if self.of == "theta" else "theta"
        as_plan(self.who, self.plan)
        for name in ("z_score", "z_score_condition"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, "none")
        options.one_of(self.who, f"z_score_{self.of}", self.z_score, _DENSITY)
        options.one_of(self.who, f"z_score_{condition}", self.z_score_condition, _CONDITION)
        if self.embedding_net is not None:
            options.instance(self.who, "embedding_net", self.embedding_net, torch.nn.Module)
        if self.x_dist is not None:
            options.instance(self.who, "x_dist", self.x_dist, Distribution)
        if (self.x_dist is None) == (self.z_score == _SUPPORT):
            came = "none" if self.x_dist is None else f"one with {self.z_score!r}"
            raise OptionError(
                f"{self.who}: x_dist is expected along with z_score_{self.of}={_SUPPORT!r}, and only then; got {came}."
            )

    def __call__(self, theta: torch.Tensor, x: torch.Tensor) -> FlowtorchFlow:
        """Returns an estimator for simulations ``(n, *theta_shape)`` and ``(n, *x_shape)``."""
        values, conditions = (theta, x) if self.of == "theta" else (x, theta)
        plan = Compose((self.plan, *self._units(values)))
        base = DiagNormal(plan.inverse_shape(values.shape[1:]))
        embedding = self._embedding(conditions)
        flow = Flow(base, plan, context_shape=conditions.shape[1:], embedding=embedding).to(values)
        self._refuse_bounded(flow)
        rows = (finite(values) & finite(conditions)).nonzero()[:_INITIAL, 0]
        if len(rows):
            flow.initialize(values[rows], conditions[rows])
        return FlowtorchFlow(flow)

    def _units(self, values: torch.Tensor) -> tuple[Bijector, ...]:
        """Returns what follows the plan."""
        if self.z_score == "none":
            return ()
        if self.x_dist is None:
            return (restoring(values, self.z_score == "structured", self.of),)
        onto = onto_support(self.who, self.x_dist)
        return restoring(preimage(self.who, self.of, onto, values), False, self.of), onto

    def _embedding(self, conditions: torch.Tensor) -> torch.nn.Module | None:
        parts: list[torch.nn.Module] = []
        if self.z_score_condition != "none":
            parts.append(standardizing(conditions, self.z_score_condition == "structured"))
        if self.embedding_net is not None:
            parts.append(copy.deepcopy(self.embedding_net))
        # By itself, a bijector is what a saved flow keeps.
        return torch.nn.Sequential(*parts) if len(parts) > 1 else parts[0] if parts else None

    def _refuse_bounded(self, flow: Flow) -> None:
        codomain = cast(BoundCompose, flow.bijector).parts[0].codomain
        if self.z_score != "none" and not domains.is_real(codomain):
            raise OptionError(
                f"{self.who}: z_score_{self.of}='none' is expected with a plan that gives "
                f"{domains.describe(codomain)} values only; got {self.z_score!r}."
            )
