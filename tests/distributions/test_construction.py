"""What is checked when a flow is built: domains, with the names of both parts, plans, and the errors of the parts."""

from __future__ import annotations

import pytest
import torch
from torch import distributions as td
from torch.distributions import transforms

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.errors import (
    AlreadyBoundError,
    ContextError,
    DomainError,
    FlowTorchError,
    OptionTypeError,
    ShapeError,
)
from tests.distributions.helpers import normal

ONE = torch.ones(3)
SIGMOID_INVERSE = bij.Invert(bij.Sigmoid())


def of(base: td.Distribution) -> td.Distribution:
    return td.Independent(base, 1)


MISMATCHES = {
    "a normal into a power": (
        of(td.Normal(0 * ONE, ONE)),
        bij.Power(),
        "Power",
        "Independent(Normal)",
        "(0, inf)",
        "real",
    ),
    "into an inverse": (
        of(td.Gamma(ONE, ONE)),
        SIGMOID_INVERSE,
        "Invert(Sigmoid)",
        "Independent(Gamma)",
        "(0, 1)",
        "(0, inf)",
    ),
    "into the first of a composition": (
        td.MultivariateNormal(0 * ONE, torch.eye(3)),
        bij.Compose([bij.Compose([SIGMOID_INVERSE, bij.Affine()]), bij.Exp()]),
        "Invert(Sigmoid)",
        "MultivariateNormal",
        "(0, 1)",
        "real",
    ),
    "bounds of each coordinate": (
        of(td.Uniform(torch.tensor([0.0, 0.5]), torch.tensor([1.0, 1.5]))),
        SIGMOID_INVERSE,
        "Invert(Sigmoid)",
        "Independent(Uniform)",
        "(0, 1)",
        "(0, 1) x (0.5, 1.5)",
    ),
    "a simplex": (td.Dirichlet(ONE), bij.AffineCoupling(), "AffineCoupling", "Dirichlet", "real", "Simplex"),
    "a simplex of normals": (td.LogisticNormal(ONE, ONE), bij.Spline(), "Spline", "LogisticNormal", "real", "Simplex"),
    "matrices": (
        td.Wishart(torch.tensor(5.0), torch.eye(3)),
        bij.Affine(),
        "Affine",
        "Wishart",
        "real",
        "PositiveDefinite",
    ),
    "counts": (of(td.Poisson(ONE)), bij.Affine(), "Affine", "Independent(Poisson)", "real", "IntegerGreaterThan(0)"),
    "truth values": (
        of(td.Bernoulli(ONE / 2)),
        bij.AffineCoupling(),
        "AffineCoupling",
        "Independent(Bernoulli)",
        "real",
        "Boolean",
    ),
    "categories": (
        td.OneHotCategorical(ONE),
        bij.AffineCoupling(),
        "AffineCoupling",
        "OneHotCategorical",
        "real",
        "OneHot",
    ),
    "a mixture": (
        td.MixtureSameFamily(td.Categorical(ONE), td.Exponential(ONE)),
        SIGMOID_INVERSE,
        "Invert(Sigmoid)",
        "MixtureSameFamily",
        "(0, 1)",
        "(0, inf)",
    ),
}
EXPONENTIATED = td.TransformedDistribution(td.Normal(0 * ONE, ONE), [transforms.ExpTransform()])


@pytest.mark.parametrize("name", MISMATCHES)
def test_the_bases_support_must_lie_in_the_first_domain(name: str) -> None:
    base, plan, layer, called, domain, support = MISMATCHES[name]
    with pytest.raises(DomainError) as got:
        Flow(base, plan)
    assert str(got.value) == (
        f"Flow: the first layer ({layer}) is expected to take all that the base ({called}) gives; its domain is "
        f"{domain}, got support {support}."
    )


@pytest.mark.parametrize(
    ("base", "plan"),
    [
        (of(td.Gamma(ONE, ONE)), bij.Power()),
        (of(td.LogNormal(0 * ONE, ONE)), bij.Invert(bij.Exp())),
        (of(td.Beta(ONE, ONE)), SIGMOID_INVERSE),
        (of(td.Beta(ONE, ONE)), bij.Power()),
        (of(td.Uniform(0 * ONE, ONE)), bij.Invert(bij.Tanh())),
        (of(td.Uniform(torch.tensor([0.0, 0.5]), torch.tensor([0.5, 1.0]))), SIGMOID_INVERSE),
        (of(td.Gamma(ONE, ONE)), bij.AffineCoupling()),
        (of(td.Kumaraswamy(ONE, ONE)), bij.Invert(bij.ELU())),
        (of(td.Pareto(ONE, ONE)), bij.Power()),
        (EXPONENTIATED, bij.Autoregressive(bij.Spline())),
        (td.MixtureSameFamily(td.Categorical(ONE), td.Beta(ONE, ONE)), SIGMOID_INVERSE),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_bases_that_fit_are_taken(base: td.Distribution, plan: bij.Bijector) -> None:
    flow = Flow(base, plan)
    assert bool(flow.log_prob(flow.sample((20,))).isfinite().all())


def test_errors_of_the_parts_name_the_part() -> None:
    plan = bij.Compose([bij.Affine(), bij.Permute((1, 0)), bij.Exp()])
    with pytest.raises(ShapeError, match=r"Compose part 1 \(Permute\): Permute"):
        Flow(normal(3), plan)
    with pytest.raises(DomainError, match=r"part 1 \(Invert\(Sigmoid\)\) .* part 0 \(Exp\) gives"):
        Flow(normal(3), bij.Compose([bij.Exp(), SIGMOID_INVERSE]))


def test_what_is_no_plan_is_refused_with_the_remedy() -> None:
    with pytest.raises(AlreadyBoundError, match="Flow: a plan is expected; got a bound AffineCoupling. Pass its .plan"):
        Flow(normal(3), bij.AffineCoupling().bind((3,)))  # type: ignore[arg-type]
    with pytest.raises(
        OptionTypeError, match=r"Flow: the plan is expected to be a Bijector; .*Did you mean Affine\(\)"
    ):
        Flow(normal(3), bij.Affine)  # type: ignore[arg-type]
    with pytest.raises(OptionTypeError, match=r"Flow: a plan is expected; got a list. Use Compose\(\[...\]\)"):
        Flow(normal(3), [bij.Affine()])  # type: ignore[arg-type]
    with pytest.raises(OptionTypeError, match="Flow: the plan is expected to be a Bijector"):
        Flow(normal(3), transforms.ExpTransform())  # type: ignore[arg-type]


def test_context_shapes() -> None:
    assert Flow(normal(3), bij.AffineCoupling(), context_shape=2).context_shape == (2,)
    assert Flow(normal(3), bij.AffineCoupling(), context_shape=[2, 3]).context_shape == (2, 3)
    assert Flow(normal(3), bij.AffineCoupling()).context_shape is None
    with pytest.raises(ShapeError, match="Flow: a shape is a sequence of integers"):
        Flow(normal(3), bij.AffineCoupling(), context_shape="two")  # type: ignore[arg-type]
    with pytest.raises(ContextError, match="a context_shape is expected"):
        Flow(normal(3), bij.Affine(params.DenseNN()))


def test_errors_are_also_what_one_would_catch_without_knowing_the_library() -> None:
    with pytest.raises(ValueError) as refused:
        Flow(DiagNormal(2), bij.Power())
    assert isinstance(refused.value, FlowTorchError)
    with pytest.raises(TypeError):
        Flow(DiagNormal(2), bij.Power)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError):
        Flow(DiagNormal(2), bij.Affine()).cdf(torch.zeros(2))


def test_the_plan_and_its_parameters() -> None:
    plan = bij.Compose([bij.Affine(), bij.AffineCoupling()])
    a, b = Flow(normal(3), plan), Flow(normal(3), plan)
    assert a.plan == plan == b.plan and a.bijector is not b.bijector
    assert not {id(p) for p in a.parameters()} & {id(p) for p in b.parameters()}


def test_building_a_flow_changes_no_global_of_torch() -> None:
    def globals_of_torch() -> tuple[object, ...]:
        return torch.get_default_dtype(), td.Distribution._validate_args, torch.is_grad_enabled()

    before = globals_of_torch()
    Flow(normal(3).expand(()), bij.AffineCoupling(), context_shape=2, embedding=torch.nn.Linear(2, 2))
    assert before == globals_of_torch()
