"""The conformance kit on an author's bijector, on plans and conditioners that are wrong, and its own parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.distributions import constraints

import flowtorch
import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.bijectors import Bijector, BoundBijector
from flowtorch.parameters.made import BoundMADE
from flowtorch.testing import autodiff_jacobian, autodiff_log_det, check_bijector, perturb, sample_in
from tests.testing.stretch import BoundStretch, Stretch

# --- mistakes of plans


@dataclass
class Mutable(Bijector):
    """Not frozen."""

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundBijector[Bijector]:
        return BoundStretch(Stretch(), shape, context_shape)

    __hash__ = object.__hash__


@dataclass(frozen=True, eq=False)
class Unequal(Bijector):
    """Equal to itself only."""

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundBijector[Bijector]:
        return BoundStretch(Stretch(), shape, context_shape)


@flowtorch.register(name="tests.Doubling")
@dataclass(frozen=True)
class Doubling(Bijector):
    """Changes its field each time it is made."""

    number: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", 2 * self.number)

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundBijector[Bijector]:
        return BoundStretch(Stretch(), shape, context_shape)


@dataclass(frozen=True)
class WrongEvent(Bijector):
    """Says that its domain is over two dimensions, whatever the event."""

    domain = constraints.independent(constraints.real, 2)

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundBijector[Bijector]:
        bound = BoundStretch(Stretch(), shape, context_shape)
        bound._plan = self  # type: ignore[assignment]
        return bound


# --- an author's elementwise map


class Tail(torch.nn.Module):
    """A weight that all coordinates share."""

    def __init__(self) -> None:
        super().__init__()
        self.log_weight = torch.nn.Parameter(torch.zeros(()))


@flowtorch.register(name="tests.SinhArcsinh")
@dataclass(frozen=True)
class SinhArcsinh(bij.Elementwise):
    """The map y = sinh(w arsinh(x) + a), a for each coordinate and w > 0 for all."""

    params_fn: params.Parameters | None = None

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((),)

    def bind_map(self, shape: torch.Size) -> Tail:
        return Tail()

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert isinstance(shared, Tail)
        log_w = shared.log_weight
        inner = (x.asinh() - params[0]) * (-log_w).exp() if inverse else x.asinh() * log_w.exp() + params[0]
        log_derivative = inner.cosh().log() - 0.5 * torch.log1p(x * x) + (-log_w if inverse else log_w)
        return inner.sinh(), log_derivative


PLANS: dict[str, tuple[Bijector, str]] = {
    "mutable": (Mutable(), "plan_is_a_value"),
    "unequal": (Unequal(), "plan_is_a_value"),
    "made anew it differs": (Doubling(), "specification"),
    "domain over the wrong event": (WrongEvent(), "transform"),
}


# --- mistakes of conditioners


@dataclass(frozen=True)
class Conditioner(params.AutoregressiveParameters):
    """A MADE whose masks are changed."""

    leaks: bool
    unordered = params.DenseNN((4,))

    def _bind(
        self, layout: Any, input_shape: torch.Size | None, context_shape: torch.Size | None
    ) -> params.BoundParameters:
        made = params.MADE((8,), nonlinearity=torch.nn.Tanh, skip_connections=True)
        bound = made._bind(layout, input_shape, context_shape)
        assert isinstance(bound, BoundMADE) and bound.net.skip is not None and bound.net.output is not None
        for layer in (*bound.net.skip, *bound.net.output):
            layer.mask[:] = self.leaks
        return bound


# --- the tests


def test_the_author_s_bijector_passes() -> None:
    check_bijector(Stretch(), (2, 3))
    check_bijector(Stretch(), (2,), (3,))
    check_bijector(Stretch(), (), (2, 2))


NET = params.DenseNN((6,), nonlinearity=torch.nn.Tanh)
FORMS: list[tuple[Bijector, tuple[int, ...], tuple[int, ...] | None]] = [
    (SinhArcsinh(), (2, 3), None),
    (SinhArcsinh(NET), (3,), (2,)),
    (bij.Autoregressive(SinhArcsinh(), params.MADE((6,), nonlinearity=torch.nn.Tanh)), (3,), (2,)),
    (bij.Coupling(SinhArcsinh(), NET, untouched=SinhArcsinh()), (5,), None),
]


@pytest.mark.parametrize(("plan", "shape", "context"), FORMS, ids=["free", "conditional", "autoregressive", "coupling"])
def test_an_author_s_elementwise_map_has_all_forms_for_nothing(
    plan: Bijector, shape: tuple[int, ...], context: tuple[int, ...] | None
) -> None:
    check_bijector(plan, shape, context, skip=["compile"])
    assert sum("log_weight" in name for name in plan.bind(shape, context).state_dict()) == repr(plan).count("SinhA")


@pytest.mark.parametrize("name", PLANS)
def test_mistakes_of_plans_are_found(name: str) -> None:
    plan, check = PLANS[name]
    with pytest.raises(AssertionError, match=f"check_bijector: {check} fails for {type(plan).__name__}"):
        check_bijector(plan, (2,), only=[check])


@pytest.mark.parametrize(
    ("leaks", "words"), [(True, "depends on one that it must not"), (False, "does not depend on one")]
)
def test_a_jacobian_that_is_not_as_promised_is_found(leaks: bool, words: str) -> None:
    with pytest.raises(AssertionError, match=f"zero_pattern fails .* {words}"):
        check_bijector(bij.AffineAutoregressive(Conditioner(leaks)), (4,), only=["zero_pattern"])
    if leaks:
        with pytest.raises(AssertionError, match="check_bijector: (round_trip|log_det) fails"):
            check_bijector(bij.AffineAutoregressive(Conditioner(leaks)), (4,))


def test_names_of_checks_are_checked() -> None:
    with pytest.raises(ValueError, match=r"names out of \[.*\] are expected; got \['nope'\]"):
        check_bijector(Stretch(), (2,), only=["round_trip", "nope"])
    with pytest.raises(ValueError, match="got .'nope'"):
        check_bijector(Stretch(), (2,), skip=["nope"])


def test_torch_s_random_state_and_validation_are_left_alone() -> None:
    before = torch.random.get_rng_state()
    check_bijector(bij.Compose([bij.Permute(), bij.AffineCoupling()]), (3,))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.distributions.Distribution._validate_args  # the first compilation turns it off


# --- the parts of the kit


def test_jacobians_are_those_of_torch() -> None:
    def twist(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[..., 0].exp() + x[..., 1] ** 2, x[..., 0] * x[..., 1].sin()], -1)

    x = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.func.vmap(torch.func.jacrev(twist))(x)
    torch.testing.assert_close(autodiff_jacobian(twist, x, torch.Size((2,))), expected)
    torch.testing.assert_close(autodiff_log_det(twist, x, torch.Size((2,))), torch.linalg.slogdet(expected).logabsdet)
    constant = autodiff_jacobian(lambda v: torch.cat([v[:, :1], v[:, 1:].detach()], 1), x, torch.Size((2,)))
    assert constant.tolist() == [[[1.0, 0.0], [0.0, 0.0]]] * 5


def test_perturb_moves_every_parameter_reproducibly_and_by_less_where_more_inputs_are_summed() -> None:
    def network(wide: int) -> torch.nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return torch.nn.Linear(wide, 400)

    for wide in (1, 100):
        start, moved, again = (network(wide) for _ in range(3))
        before = torch.random.get_rng_state()
        perturb(moved, torch.Generator().manual_seed(3), scale=2.0)
        perturb(again, torch.Generator().manual_seed(3), scale=2.0)
        assert torch.equal(before, torch.random.get_rng_state())
        for p, q, r in zip(start.parameters(), moved.parameters(), again.parameters(), strict=True):
            assert torch.equal(q, r) and (p != q).all()
        noise = {
            n: (q - p).std().item() for (n, p), q in zip(start.named_parameters(), moved.parameters(), strict=True)
        }
        assert noise["bias"] == pytest.approx(2.0, rel=0.2)
        assert noise["weight"] == pytest.approx(2.0 / wide**0.5, rel=0.2)


@pytest.mark.parametrize(
    "constraint",
    [
        constraints.real,
        constraints.positive,
        constraints.unit_interval,
        constraints.interval(-3.0, -2.0),
        constraints.greater_than(5.0),
        constraints.less_than(-1.0),
        constraints.independent(constraints.unit_interval, 1),
        constraints.simplex,
        constraints.independent(constraints.cat([constraints.positive, constraints.interval(0.0, 2.0)], -1, [1, 2]), 1),
    ],
    ids=str,
)
def test_points_are_drawn_inside_a_set(constraint: constraints.Constraint) -> None:
    x = sample_in(constraint, torch.Size((50, 3)), torch.Generator().manual_seed(0))
    assert x.dtype == torch.float64 and x.shape[0] == 50
    assert constraint.check(x).all()
    assert torch.equal(x, sample_in(constraint, torch.Size((50, 3)), torch.Generator().manual_seed(0)))
    assert x.std() > 0.05
