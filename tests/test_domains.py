"""Inclusion of supports, domains and codomains, for every constraint and every distribution that torch has."""

from __future__ import annotations

import itertools
import math
import pickle

import pytest
import torch
from torch import distributions as td
from torch.distributions import constraints as c
from torch.distributions.constraints import Constraint

from flowtorch import domains
from flowtorch.distributions.density import Part, support_of
from flowtorch.domains import Box, Named, describe, includes, is_real, lift, middle, region

INF = math.inf


def t(*values: float) -> torch.Tensor:
    return torch.tensor(values)


REAL, POSITIVE, UNIT = Box(), Box((0.0,), (INF,)), Box((0.0,), (1.0,))


def lattice(name: str, *numbers: float) -> Named:
    return Named(name, numbers, discrete=True)


# Every name that torch exports; an example, its normal form, and its text.
CONSTRAINTS: dict[str, list[tuple[Constraint, object, str]]] = {
    "real": [(c.real, REAL, "real")],
    "real_vector": [(c.real_vector, REAL, "real")],
    "positive": [(c.positive, POSITIVE, "(0, inf)")],
    "nonnegative": [(c.nonnegative, POSITIVE, "(0, inf)")],
    "unit_interval": [(c.unit_interval, UNIT, "(0, 1)")],
    "greater_than": [(c.greater_than(-1.5), Box((-1.5,), (INF,)), "(-1.5, inf)")],
    "greater_than_eq": [(c.greater_than_eq(2), Box((2.0,), (INF,)), "(2, inf)")],
    "less_than": [(c.less_than(3.0), Box((-INF,), (3.0,)), "(-inf, 3)")],
    "interval": [
        (c.interval(-1.0, 2.0), Box((-1.0,), (2.0,)), "(-1, 2)"),
        (c.interval(t(0.0, -1.0), 2.0), Box((0.0, -1.0), (2.0,)), "(0, 2) x (-1, 2)"),
        (c.interval(t(0.0, 0.0), t(1.0, 1.0)), UNIT, "(0, 1)"),
        (c.interval(0.0, t(1.0, 2.0, 3.0, 4.0, 5.0)), None, "(0, 1) x (0, 2) x (0, 3) x ... (5 coordinates)"),
    ],
    "half_open_interval": [(c.half_open_interval(0.0, 1.0), UNIT, "(0, 1)")],
    "independent": [
        (c.independent(c.positive, 2), POSITIVE, "(0, inf)"),
        (c.independent(c.independent(c.unit_interval, 1), 1), UNIT, "(0, 1)"),
        (c.independent(c.simplex, 1), Named("Simplex"), "Simplex"),
    ],
    "cat": [
        (c.cat([c.positive, c.positive], -1), POSITIVE, "(0, inf)"),
        (c.cat([c.positive, c.real], -1, [2, 1]), Box((0.0, 0.0, -INF), (INF,) * 3), None),
        (
            c.cat([c.interval(t(0.0, 1.0), 2.0), c.real], -1, [2, 1]),
            Box((0.0, 1.0, -INF), (2.0, 2.0, INF)),
            "(0, 2) x (1, 2) x (-inf, inf)",
        ),
        (c.cat([c.positive, c.boolean]), None, "product of (0, inf) and Boolean"),
    ],
    "stack": [
        (c.stack([c.positive, c.real]), Box((0.0, -INF), (INF, INF)), "(0, inf) x (-inf, inf)"),
        (c.stack([c.real, c.real], -1), REAL, "real"),
        (c.stack([c.simplex, c.real_vector]), None, "product of Simplex and real"),
    ],
    "dependent": [(c.dependent, domains.UNKNOWN, "unknown"), (c.dependent(event_dim=1), domains.UNKNOWN, "unknown")],
    "dependent_property": [(td.Uniform.support, domains.UNKNOWN, "unknown")],
    "boolean": [(c.boolean, lattice("Boolean"), "Boolean")],
    "integer_interval": [(c.integer_interval(0, 5), lattice("IntegerInterval", 0.0, 5.0), "IntegerInterval(0, 5)")],
    "nonnegative_integer": [(c.nonnegative_integer, lattice("IntegerGreaterThan", 0.0), "IntegerGreaterThan(0)")],
    "positive_integer": [(c.positive_integer, lattice("IntegerGreaterThan", 1.0), "IntegerGreaterThan(1)")],
    "one_hot": [(c.one_hot, lattice("OneHot"), "OneHot")],
    "multinomial": [(c.multinomial(4), lattice("Multinomial", 4.0), "Multinomial(4)")],
    "simplex": [(c.simplex, Named("Simplex"), "Simplex")],
    "square": [(c.square, Named("Square"), "Square")],
    "symmetric": [(c.symmetric, Named("Symmetric"), "Symmetric")],
    "lower_triangular": [(c.lower_triangular, Named("LowerTriangular"), "LowerTriangular")],
    "lower_cholesky": [(c.lower_cholesky, Named("LowerCholesky"), "LowerCholesky")],
    "corr_cholesky": [(c.corr_cholesky, Named("CorrCholesky"), "CorrCholesky")],
    "positive_definite": [(c.positive_definite, Named("PositiveDefinite"), "PositiveDefinite")],
    "positive_semidefinite": [(c.positive_semidefinite, Named("PositiveSemidefinite"), "PositiveSemidefinite")],
    "MixtureSameFamilyConstraint": [],
}
if hasattr(c, "MixtureSameFamilyConstraint"):
    CONSTRAINTS["MixtureSameFamilyConstraint"] = [(c.MixtureSameFamilyConstraint(c.positive), POSITIVE, "(0, inf)")]
EXAMPLES = [(name, i) for name, rows in CONSTRAINTS.items() for i in range(len(rows))]
NOT_CONSTRAINTS = {"Constraint", "is_dependent"}


def test_every_constraint_of_torch_is_here() -> None:
    assert set(c.__all__) - NOT_CONSTRAINTS <= set(CONSTRAINTS)


@pytest.mark.parametrize(("name", "i"), EXAMPLES)
def test_normal_form_and_text(name: str, i: int) -> None:
    constraint, expected, text = CONSTRAINTS[name][i]
    found = region(constraint)
    if expected is not None:
        assert found == expected
    if text is not None:
        assert describe(constraint) == text == str(found)
    assert is_real(constraint) == (found == REAL)


@pytest.mark.parametrize(("name", "i"), EXAMPLES)
def test_every_set_includes_itself_after_pickling_too(name: str, i: int) -> None:
    constraint = CONSTRAINTS[name][i][0]
    assert includes(constraint, constraint)
    if name != "dependent_property":
        assert includes(constraint, pickle.loads(pickle.dumps(constraint)))


@pytest.mark.parametrize(("name", "i"), EXAMPLES)
def test_what_lies_in_the_whole_space(name: str, i: int) -> None:
    constraint = CONSTRAINTS[name][i][0]
    boxes_and_unknown = isinstance(region(constraint), Box) or region(constraint) == domains.UNKNOWN
    # Sets of lower dimension and lattices do not: over the whole space they have no density.
    assert includes(c.real, constraint) == includes(c.real_vector, constraint) == boxes_and_unknown


@pytest.mark.parametrize(("name", "i"), EXAMPLES)
def test_the_whole_space_lies_in_nothing_else(name: str, i: int) -> None:
    constraint = CONSTRAINTS[name][i][0]
    assert includes(constraint, c.real) == is_real(constraint)


INTERVALS = (
    [
        (a, b, c.interval(a, b) if b < INF else c.greater_than(a))
        for a, b in itertools.product((-2.0, 0.0, 1.0), (1.0, 3.0, INF))
        if a < b
    ]
    + [(-INF, b, c.less_than(b)) for b in (-2.0, 0.0, 3.0)]
    + [(-INF, INF, c.real)]
)


def test_inclusion_of_intervals() -> None:
    for (a, b, outer), (x, y, inner) in itertools.product(INTERVALS, INTERVALS):
        assert includes(outer, inner) == (a <= x and y <= b), (outer, inner)


def test_inclusion_is_up_to_sets_of_measure_zero() -> None:
    for a, b in itertools.permutations([c.positive, c.nonnegative, c.greater_than(0.0), c.greater_than_eq(0.0)], 2):
        assert includes(a, b)
    assert includes(c.half_open_interval(0.0, 1.0), c.unit_interval)


def test_inclusion_of_boxes_with_bounds_of_each_coordinate() -> None:
    outer = c.independent(c.interval(t(0.0, -1.0), t(1.0, 1.0)), 1)
    for low, high, expected in (
        ((0.0, -1.0), (1.0, 1.0), True),
        ((0.5, -0.5), (0.6, 0.5), True),
        ((-0.5, -0.5), (0.5, 0.5), False),
        ((0.5, -0.5), (0.6, 1.5), False),
    ):
        assert includes(outer, c.interval(t(*low), t(*high))) is expected
    assert includes(outer, c.unit_interval) and not includes(outer, c.interval(-1.0, 1.0))
    assert includes(c.interval(-1.0, 1.0), outer) and not includes(c.unit_interval, outer)
    # Of other numbers of coordinates the answer errs on the safe side.
    three = c.interval(t(0.1, 0.2, 0.3), t(0.5, 0.6, 0.7))
    assert includes(c.interval(t(0.0, -1.0), t(1.0, 2.0)), three)
    assert not includes(c.interval(t(0.0, 0.2), 1.0), three)
    assert not includes(three, c.interval(t(0.2, 0.4), t(0.5, 0.6)))


def test_inclusion_of_joined_sets() -> None:
    half = c.cat([c.positive, c.real], -1, [2, 1])
    assert includes(half, c.positive) and not includes(half, c.real) and not includes(c.positive, half)
    assert includes(half, c.stack([c.positive, c.unit_interval, c.real], -1))
    assert not includes(half, c.stack([c.positive, c.real, c.real], -1))
    assert not includes(c.real, c.cat([c.real, c.boolean])) and not includes(
        c.real, c.stack([c.simplex, c.real_vector])
    )


def test_named_sets_are_equal_by_name_and_numbers() -> None:
    assert includes(c.simplex, c.independent(c.simplex, 1)) and not includes(c.simplex, c.symmetric)
    assert includes(c.integer_interval(0, 5), c.integer_interval(0, 5))
    assert not includes(c.integer_interval(0, 5), c.integer_interval(0, 4))
    assert includes(c.integer_interval(t(0.0, 1.0), 5), c.integer_interval(t(0.0, 1.0), 5))
    assert not includes(c.positive, c.nonnegative_integer) and not includes(c.unit_interval, c.boolean)


def test_what_is_unknown_lies_in_the_whole_space_at_the_users_word_and_in_nothing_else() -> None:
    for unknown in (c.dependent, c.independent(c.dependent(event_dim=0), 1)):
        assert includes(c.real, unknown) and includes(c.dependent, unknown)
        assert not includes(c.positive, unknown) and not includes(c.simplex, unknown)
        assert not includes(unknown, c.real) and not is_real(unknown)


def test_a_part_lies_where_the_larger_set_lies_and_includes_nothing_but_itself() -> None:
    part = Part(lambda x: x > 2, c.positive)
    other = Part(lambda x: x > 3, c.positive)
    for found in (part, c.independent(part, 1)):
        assert includes(c.real, found) and includes(c.positive, found) and not includes(c.unit_interval, found)
        assert not includes(found, c.unit_interval) and not is_real(found)
        assert describe(found) == "a part of (0, inf)"
    assert not includes(part, other)
    assert part.check(t(1.0, 4.0)).tolist() == [False, True] and part.event_dim == 0


class Ball(Constraint):
    """A set that torch does not know."""

    event_dim = 1

    def __init__(self, radius: float) -> None:
        self.radius = radius

    def check(self, value: torch.Tensor) -> torch.Tensor:
        return value.norm(dim=-1) < self.radius


def test_sets_of_the_users_own_are_compared_by_class_and_numbers() -> None:
    assert includes(Ball(1.0), Ball(1.0)) and not includes(Ball(2.0), Ball(1.0))
    assert not includes(c.real_vector, Ball(1.0)) and not includes(Ball(1.0), c.real_vector)
    assert describe(Ball(1.5)) == "Ball(1.5)"


# Supports of distributions

ONE, TWO = torch.ones(2), 2 * torch.ones(2)
SUPPORTS: dict[str, tuple[td.Distribution, str]] = {
    "Bernoulli": (td.Bernoulli(ONE / 2), "Boolean"),
    "Beta": (td.Beta(ONE, TWO), "(0, 1)"),
    "Binomial": (td.Binomial(3, ONE / 2), "IntegerInterval(0, 3)"),
    "Categorical": (td.Categorical(ONE), "IntegerInterval(0, 1)"),
    "Cauchy": (td.Cauchy(ONE, TWO), "real"),
    "Chi2": (td.Chi2(ONE), "(0, inf)"),
    "ContinuousBernoulli": (td.ContinuousBernoulli(ONE / 3), "(0, 1)"),
    "Dirichlet": (td.Dirichlet(ONE), "Simplex"),
    "Exponential": (td.Exponential(ONE), "(0, inf)"),
    "FisherSnedecor": (td.FisherSnedecor(ONE, TWO), "(0, inf)"),
    "Gamma": (td.Gamma(ONE, TWO), "(0, inf)"),
    "Geometric": (td.Geometric(ONE / 2), "IntegerGreaterThan(0)"),
    "Gumbel": (td.Gumbel(ONE, TWO), "real"),
    "HalfCauchy": (td.HalfCauchy(ONE), "(0, inf)"),
    "HalfNormal": (td.HalfNormal(ONE), "(0, inf)"),
    "Independent": (td.Independent(td.Gamma(ONE, TWO), 1), "(0, inf)"),
    "InverseGamma": (td.InverseGamma(ONE, TWO), "(0, inf)"),
    "Kumaraswamy": (td.Kumaraswamy(ONE, TWO), "(0, 1)"),
    "LKJCholesky": (td.LKJCholesky(3), "CorrCholesky"),
    "Laplace": (td.Laplace(ONE, TWO), "real"),
    "LogNormal": (td.LogNormal(ONE, TWO), "(0, inf)"),
    "LogisticNormal": (td.LogisticNormal(ONE, TWO), "Simplex"),
    "LowRankMultivariateNormal": (td.LowRankMultivariateNormal(ONE, ONE[:, None], ONE), "real"),
    "MixtureSameFamily": (td.MixtureSameFamily(td.Categorical(ONE), td.Gamma(ONE, TWO)), "(0, inf)"),
    "Multinomial": (td.Multinomial(3, ONE), "Multinomial(3)"),
    "MultivariateNormal": (td.MultivariateNormal(ONE, torch.eye(2)), "real"),
    "NegativeBinomial": (td.NegativeBinomial(ONE, ONE / 2), "IntegerGreaterThan(0)"),
    "Normal": (td.Normal(ONE, TWO), "real"),
    "OneHotCategorical": (td.OneHotCategorical(ONE), "OneHot"),
    "OneHotCategoricalStraightThrough": (td.OneHotCategoricalStraightThrough(ONE), "OneHot"),
    "Pareto": (td.Pareto(t(1.0, 2.0), ONE), "(1, inf) x (2, inf)"),
    "Poisson": (td.Poisson(ONE), "IntegerGreaterThan(0)"),
    "RelaxedBernoulli": (td.RelaxedBernoulli(t(0.5), ONE / 2), "(0, 1)"),
    "RelaxedOneHotCategorical": (td.RelaxedOneHotCategorical(t(0.5), ONE), "Simplex"),
    "StudentT": (td.StudentT(ONE), "real"),
    "TransformedDistribution": (td.TransformedDistribution(td.Normal(ONE, TWO), [td.ExpTransform()]), "(0, inf)"),
    "Uniform": (td.Uniform(-ONE, t(1.0, 2.0)), "(-1, 1) x (-1, 2)"),
    # torch says the whole line, over which its density has no integral.
    "VonMises": (td.VonMises(ONE, TWO), "(-3.14159, 3.14159)"),
    "Weibull": (td.Weibull(ONE, TWO), "(0, inf)"),
    "Wishart": (td.Wishart(t(3.0)[0], torch.eye(2)), "PositiveDefinite"),
}
if hasattr(td, "GeneralizedPareto"):
    SUPPORTS["GeneralizedPareto"] = (td.GeneralizedPareto(t(1.0, 1.0), ONE, ONE), "(1, inf)")


def test_every_distribution_of_torch_is_here() -> None:
    kinds = [getattr(td, name) for name in td.__all__]
    named = {k.__name__ for k in kinds if isinstance(k, type) and issubclass(k, td.Distribution)}
    assert named - {"Distribution", "ExponentialFamily"} <= set(SUPPORTS)


@pytest.mark.parametrize("name", SUPPORTS)
def test_supports_of_distributions(name: str) -> None:
    base, text = SUPPORTS[name]
    support = support_of(base)
    assert describe(support) == text
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # Wishart's sampler warns of singular matrices wherever there are none.
        drawn = torch.eye(2).expand(3, 2, 2) if name == "Wishart" else base.sample((3,))
    checked = support.check(drawn)
    assert bool(checked.all()) and support.event_dim == len(base.event_shape)
    continuous = isinstance(region(support), Box)
    assert includes(c.real, support) == continuous
    if not continuous and name not in (
        "Dirichlet",
        "LogisticNormal",
        "RelaxedOneHotCategorical",
        "Wishart",
        "LKJCholesky",
    ):
        assert support.is_discrete


def test_ends_may_differ_by_the_rounding_of_float32() -> None:
    assert includes(c.interval(-math.pi, math.pi), c.interval(t(-math.pi), t(math.pi)))
    assert not includes(c.interval(0.0, 1.0), c.interval(0.0, 1.0 + 1e-6))


def test_middle_is_inside() -> None:
    assert middle(Box()) == (0.0,)
    assert middle(Box((2.0,), (INF,))) == (3.0,)
    assert middle(Box((-INF,), (2.0,))) == (1.0,)
    assert middle(Box((2.0,), (5.0,))) == (3.5,)
    assert middle(Box((2.0, -INF, 0.0), (5.0,))) == (3.5, 4.0, 2.5)


def test_lift() -> None:
    assert lift(c.positive, 0) is c.positive and lift(c.simplex, 1) is c.simplex
    assert lift(c.positive, 2).event_dim == 2 and lift(c.simplex, 3).event_dim == 3
    assert lift(c.positive, 2).check(torch.ones(4, 2, 3)).shape == (4,)
