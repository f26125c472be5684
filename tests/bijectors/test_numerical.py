"""Plans with numerical inverses: the base for authors, options, and every structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.bijectors.bernstein import Bernstein
from flowtorch.bijectors.deep_sigmoid import DeepSigmoid
from flowtorch.bijectors.dense_deep_sigmoid import DenseDeepSigmoid
from flowtorch.bijectors.elementwise import Elementwise
from flowtorch.bijectors.gaussian_mixture_cdf import GaussianMixtureCDF
from flowtorch.bijectors.logistic_mixture_cdf import LogisticMixtureCDF
from flowtorch.bijectors.monotonic_network import MonotonicNetwork
from flowtorch.bijectors.numerical import NumericallyInverted
from flowtorch.bijectors.sum_of_squares import SumOfSquares
from flowtorch.bijectors.unconstrained_monotonic import UnconstrainedMonotonic
from flowtorch.errors import OptionError, OptionTypeError
from flowtorch.parameters import Parameters
from flowtorch.testing import check_bijector
from flowtorch.types import TensorPair

NET = params.DenseNN((12, 10), nonlinearity=torch.nn.Tanh)
MADE = params.MADE((12, 10), nonlinearity=torch.nn.Tanh)
PLANS: dict[str, tuple[type[Elementwise], dict[str, Any]]] = {
    "bernstein": (Bernstein, {"order": 5}),
    "sum of squares": (SumOfSquares, {"degree": 2}),
    "deep sigmoid": (DeepSigmoid, {"count_components": 3}),
    "logistic mixture": (LogisticMixtureCDF, {"count_components": 3}),
    "gaussian mixture": (GaussianMixtureCDF, {"count_components": 3}),
    "dense deep sigmoid": (DenseDeepSigmoid, {"hidden_dims": (3, 2)}),
    "monotonic network": (MonotonicNetwork, {"hidden_dims": (6, 5), "count_conditions": 3}),
    "unconstrained monotonic": (
        UnconstrainedMonotonic,
        {"hidden_dims": (6,), "count_conditions": 3, "nodes": 20, "bound": 4.0},
    ),
}
every_plan = pytest.mark.parametrize("name", PLANS)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Leaning(NumericallyInverted):
    """An author's own: the forward form only."""

    params_fn: Parameters | None = None

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        return (), ()

    def forward_map(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None
    ) -> TensorPair:
        a, b = params
        return x * a.exp() + torch.tanh(x + b), torch.log(a.exp() + torch.cosh(x + b) ** -2)


@dataclass(frozen=True)
class Bracketed(NumericallyInverted):
    """With a bracket: |tanh| is below 1."""

    params_fn: Parameters | None = None

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((),)

    def forward_map(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None
    ) -> TensorPair:
        return x + torch.tanh(x + params[0]), torch.log1p(torch.cosh(x + params[0]) ** -2)

    def bracket(self, y: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None) -> TensorPair:
        return y - 1.0, y + 1.0


@pytest.mark.parametrize("plan", [Leaning(steps=20), Bracketed(steps=20)], ids=lambda p: type(p).__name__)
def test_an_author_gives_the_forward_form_only(plan: NumericallyInverted) -> None:
    check_bijector(plan, (2, 3), skip=["specification"])
    check_bijector(bij.Autoregressive(plan, MADE), (3,), skip=["specification", "compile"])
    assert plan.exactness == "numerical"


@every_plan
@pytest.mark.parametrize("structure", ["free", "scalar", "context", "autoregressive", "one coordinate", "coupling"])
def test_conforms_in_every_structure(name: str, structure: str) -> None:
    kind, options = PLANS[name]
    plan = kind(**options)
    case: tuple[bij.Bijector, tuple[int, ...], tuple[int, ...] | None] = {
        "free": (plan, (2, 3), None),
        "scalar": (plan, (), None),
        "context": (kind(params_fn=NET, **options), (2,), (3,)),
        "autoregressive": (bij.Autoregressive(plan, MADE), (2,), None),
        "one coordinate": (bij.Autoregressive(plan, MADE), (1,), (2,)),
        "coupling": (bij.Coupling(plan, NET, mask="alternate"), (2, 3), (2,)),
    }[structure]
    # Compiled in tests/cases.py, with fewer steps. Densities of polynomials reach beyond the kit's grid, which ends at
    # +-30: tests/ops integrates those.
    skip = ["compile", *(["integrates_to_one"] if name == "sum of squares" else [])]
    check_bijector(*case, skip=skip)


@every_plan
def test_descriptions(name: str) -> None:
    kind, options = PLANS[name]
    plan = kind(**options)
    assert plan.exactness == "numerical" and "numerical" in plan.explain() and plan.describe().endswith(".")


@pytest.mark.parametrize(
    ("kind", "bad", "error"),
    [
        (Bernstein, {"order": 0}, OptionError),
        (Bernstein, {"order": 101}, OptionError),
        (Bernstein, {"bound": -1.0}, OptionError),
        (Bernstein, {"min_slope": 1.0}, OptionError),
        (SumOfSquares, {"degree": -1}, OptionError),
        (SumOfSquares, {"count_polynomials": 0}, OptionError),
        (SumOfSquares, {"min_slope": 0.0}, OptionError),
        (DeepSigmoid, {"count_components": 0}, OptionError),
        (LogisticMixtureCDF, {"count_components": 1.5}, OptionTypeError),
        (GaussianMixtureCDF, {"count_components": 0}, OptionError),
        (UnconstrainedMonotonic, {"nodes": 0}, OptionError),
        (UnconstrainedMonotonic, {"bound": 0.0}, OptionError),
        (UnconstrainedMonotonic, {"count_conditions": 0}, OptionError),
        (UnconstrainedMonotonic, {"hidden_dims": 3}, OptionTypeError),
        (UnconstrainedMonotonic, {"nonlinearity": torch.nn.Tanh()}, OptionTypeError),
        (DeepSigmoid, {"tolerance": 0.0}, OptionError),
        (DeepSigmoid, {"steps": 0}, OptionError),
    ],
)
def test_options_are_checked(kind: Any, bad: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(bad))):
        kind(**bad)


def test_a_fresh_unconstrained_monotonic_map_is_the_identity() -> None:
    x = torch.linspace(-8.0, 8.0, 9)[:, None]
    torch.testing.assert_close(UnconstrainedMonotonic().bind((1,)).forward(x), x)


def test_fresh_networks_are_near_the_identity() -> None:
    torch.manual_seed(0)
    x = torch.linspace(-8.0, 8.0, 33)[:, None]
    for plan in (MonotonicNetwork(), DenseDeepSigmoid()):
        y, log_det = (t.detach() for t in plan.bind((1,)).forward_and_log_det(x))
        assert 0.8 < log_det.exp().min() and log_det.exp().max() < 1.5 and float((y - x).abs().max()) < 2.5


def test_a_dense_deep_sigmoid_has_the_parameters_of_the_paper() -> None:
    assert DenseDeepSigmoid(hidden_dims=(4, 3)).param_shapes == ((4,), (4,), (4, 4), (3, 4), (3,), (3,), (1, 3))
    assert DenseDeepSigmoid(hidden_dims=(5,)).param_shapes == ((5,), (5,), (1, 5))


@pytest.mark.parametrize("quadrature", ["gauss_legendre", "clenshaw_curtis"])
def test_both_rules_agree(quadrature: Any) -> None:
    torch.manual_seed(0)
    plan = UnconstrainedMonotonic(hidden_dims=(6,), nodes=40, quadrature=quadrature)
    bound, fine = (p.bind((2,)).double() for p in (plan, UnconstrainedMonotonic(hidden_dims=(6,), nodes=80)))
    with torch.no_grad():
        for p in bound.parameters():
            p.add_(0.3 * torch.randn_like(p))
    fine.load_state_dict(bound.state_dict())
    x = torch.linspace(-6.0, 6.0, 14, dtype=torch.float64).reshape(7, 2)
    torch.testing.assert_close(bound.forward(x), fine.forward(x), rtol=1e-7, atol=1e-7)
    check_bijector(plan, (2,), skip=["compile"])
