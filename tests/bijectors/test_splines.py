"""Splines as plans: boxes of all forms, with tails and without, and what is the circle's own."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.distributions import Independent, Uniform, constraints

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.bijectors.circular_spline import CircularSpline
from flowtorch.bijectors.cubic_spline import CubicSpline
from flowtorch.bijectors.linear_spline import LinearSpline
from flowtorch.bijectors.quadratic_spline import QuadraticSpline
from flowtorch.testing import check_bijector
from flowtorch.testing.sampling import perturb

NET = params.DenseNN((12, 10), nonlinearity=torch.nn.Tanh)
MADE = params.MADE((12, 10), nonlinearity=torch.nn.Tanh)
SPLINES: dict[str, Callable[..., bij.Elementwise]] = {
    "linear": LinearSpline,
    "quadratic": QuadraticSpline,
    "cubic": CubicSpline,
    "rational linear": bij.Spline,
    "rational quadratic": lambda *a, **options: bij.Spline(*a, order="quadratic", **options),
}
every_spline = pytest.mark.parametrize("spline", [pytest.param(s, id=name) for name, s in SPLINES.items()])
BOXES = {
    "a box of its own": {"bound": 2.0, "tails": None},
    "sides": {"bound": (-1.0, 2.5)},
    "sides of a box of its own": {"bound": (-1.0, 2.5), "tails": None},
}
every_box = pytest.mark.parametrize("box", [pytest.param(box, id=name) for name, box in BOXES.items()])


def drawn(plan: bij.Bijector, shape: tuple[int, ...], scale: float = 1.0, seed: int = 0) -> bij.BoundBijector:
    """The plan bound, in float64, with parameters away from zero."""
    bound = plan.bind(shape).double()
    perturb(bound, torch.Generator().manual_seed(seed), scale)
    return bound


# --- conformance, where the table of cases has only one of many


@every_box
@every_spline
def test_conforms_however_it_is_driven(spline: Callable[..., bij.Elementwise], box: dict[str, object]) -> None:
    plan, slow = spline(count_bins=4, **box), ("compile", "integrates_to_one")
    check_bijector(plan, (2, 3), skip=slow)
    check_bijector(plan, (), skip=("compile",))
    check_bijector(spline(NET, count_bins=3, **box), (1,), (2,), skip=("compile",))
    check_bijector(bij.Autoregressive(plan, MADE), (3,), (2,), skip=slow)
    check_bijector(bij.Coupling(plan, NET), (2, 3), skip=slow)


@every_spline
def test_starts_at_the_identity(spline: Callable[..., bij.Elementwise]) -> None:
    x = torch.linspace(-0.99, 2.49, 12, dtype=torch.float64)
    for box in BOXES.values():
        y, log_det = spline(**box).bind((12,)).double().forward_and_log_det(0.8 * x)
        torch.testing.assert_close(y, 0.8 * x, rtol=1e-14, atol=1e-14)
        assert log_det.abs().item() < 1e-12


# --- the box


@every_spline
def test_box_with_two_sides_is_the_symmetric_one_moved_and_scaled(spline: Callable[..., bij.Elementwise]) -> None:
    for tails in ("linear", None):
        unit = drawn(spline(bound=1.0, tails=tails), (50,))
        moved = drawn(spline(bound=(2.0, 5.0), tails=tails), (50,))
        u = torch.linspace(-0.99, 0.99, 50, dtype=torch.float64)
        v, log_det = unit.forward_and_log_det(u)
        y, same = moved.forward_and_log_det(3.5 + 1.5 * u)
        torch.testing.assert_close(y, 3.5 + 1.5 * v)
        torch.testing.assert_close(same, log_det)
        symmetric = drawn(spline(bound=(-1.0, 1.0), tails=tails), (50,))
        assert torch.equal(symmetric.forward(u), v)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@every_spline
def test_outside_of_two_sides_it_is_exactly_the_identity(
    spline: Callable[..., bij.Elementwise], dtype: torch.dtype
) -> None:
    far = torch.tensor([-math.inf, -1e6, -3.1, 0.1, 0.7, 1e3, math.inf], dtype=dtype)
    bound = drawn(spline(bound=(-0.3, 0.1)), (7,)).to(dtype)
    x = far.clone().requires_grad_()
    for direction in (bound.forward_and_log_det, bound.inverse_and_log_det):
        y, log_det = direction(x)
        assert torch.equal(y, far) and y.dtype == dtype and log_det.item() == 0.0
        (gradient,) = torch.autograd.grad(y.sum() + log_det, x)
        assert torch.equal(gradient, torch.ones_like(far))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("tails", ["linear", None])
@every_spline
def test_numbers_that_break_formulas(
    spline: Callable[..., bij.Elementwise], tails: str | None, dtype: torch.dtype
) -> None:
    low, high = -0.3, 1.1
    eps = torch.finfo(dtype).eps
    special = [low, high, low + eps, high - eps, 0.0, 1e-8, -1e-8, 0.4, 1e3, -1e6, 1e6]
    x = torch.tensor(special, dtype=dtype)
    for scale in (0.0, 1.0, 50.0):
        bound = drawn(spline(bound=(low, high), tails=tails), x.shape, scale).to(dtype)
        for direction in (bound.forward_and_log_det, bound.inverse_and_log_det):
            leaf = x.clone().requires_grad_()
            y, _ = direction(leaf)
            assert y.isfinite().all()
            if tails is None:
                assert ((y > low) & (y < high)).all()
                leaf = x[2:8].clone().requires_grad_()
                part = drawn(spline(bound=(low, high), tails=tails), leaf.shape, scale).to(dtype)
                y, log_det = getattr(part, direction.__name__)(leaf)
            else:
                _, log_det = direction(leaf)
            assert log_det.isfinite()
            wanted = [leaf, *bound.parameters()] if tails else [leaf]
            gradients = torch.autograd.grad(
                (direction(leaf)[0].sum() + direction(leaf)[1]) if tails else y.sum() + log_det, wanted
            )
            assert all(g.isfinite().all() for g in gradients)


@every_spline
def test_without_tails_the_map_lives_on_the_box(spline: Callable[..., bij.Elementwise]) -> None:
    plan = spline(bound=(0.0, 1.0), tails=None)
    assert isinstance(plan.domain, type(constraints.unit_interval)) and str(plan.codomain) == str(plan.domain)
    x, log_det = plan.bind((2,)).inverse_and_log_det(torch.tensor([[0.5, 1.5], [0.5, 0.25]]))
    assert log_det.isneginf().tolist() == [True, False] and x.isfinite().all()
    base = Independent(Uniform(torch.zeros(1), torch.ones(1)), 1)
    flow = dist.Flow(base, plan).double()
    perturb(flow, torch.Generator().manual_seed(1), 1.0)
    points = (torch.arange(20_000, dtype=torch.float64)[:, None] + 0.5) / 20_000
    density = flow.log_prob(points).exp()
    assert density.mean().item() == pytest.approx(1.0, abs=1e-4)
    assert flow.log_prob(torch.tensor([[1.5]]).double()).item() == -math.inf
    # Not the uniform density, at the ends neither: the slopes there are learnt.
    assert (density[[0, -1]] - 1.0).abs().min() > 0.01


@every_spline
def test_with_tails_the_slopes_at_the_ends_are_not_learnt(spline: Callable[..., bij.Elementwise]) -> None:
    count = [
        sum(torch.Size(s).numel() for s in spline(count_bins=6, tails=tails).param_shapes) for tails in ("linear", None)
    ]
    expected = 0 if spline is LinearSpline else 2
    assert count[1] - count[0] == expected


def test_named_plans_hand_on_the_options_of_the_box() -> None:
    for plan in (
        bij.SplineAutoregressive(MADE, count_bins=3, bound=(0.0, 1.0), tails=None),
        bij.SplineCoupling(NET, count_bins=3, bound=(0.0, 1.0), tails=None),
    ):
        assert plan._elementwise() == bij.Spline(count_bins=3, bound=(0.0, 1.0), tails=None)
        check_bijector(plan, (3,), only=("round_trip", "log_det", "codomain", "outside", "specification"))


def test_untouched_part_has_to_live_in_the_box_too() -> None:
    box = {"bound": (0.0, 1.0), "tails": None}
    plan = bij.SplineCoupling(NET, untouched=CubicSpline(**box), **box)
    check_bijector(plan, (3,), only=("round_trip", "log_det", "codomain"))


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (2, 2),
        ([-1.0, 2.0], (-1.0, 2.0)),
        (torch.tensor([-1.0, 2.0]), (-1.0, 2.0)),
        ([1.0, [-2.0, 1.0], 3.0], (1.0, (-2.0, 1.0), 3.0)),
        ([[-1.0, 1.0], [-2.0, 2.0]], ((-1.0, 1.0), (-2.0, 2.0))),
    ],
    ids=str,
)
def test_bounds_are_stored_as_tuples(given: object, stored: object) -> None:
    plan = QuadraticSpline(bound=given)  # type: ignore[arg-type]  # that is the point
    assert plan.bound == stored and plan == QuadraticSpline(bound=stored) and isinstance(hash(plan), int)


def test_describe() -> None:
    assert bij.Spline().describe() == ("a monotone rational linear spline of 8 bins on [-3, 3], the identity outside.")
    assert (
        LinearSpline(bound=(0.0, 1.0), tails=None).describe() == "a monotone linear spline of 8 equal bins on [0, 1]."
    )
    assert QuadraticSpline(bound=((0.0, 1.0), 2.0)).describe() == (
        "a monotone quadratic spline of 8 bins on a box of its own for each coordinate, the identity outside."
    )
    assert CubicSpline(count_bins=4, bound=2.0).describe() == (
        "a monotone cubic spline of 4 bins on [-2, 2], the identity outside."
    )
    assert CircularSpline().describe() == "a monotone rational quadratic spline of 8 bins around the circle."


# --- the circle


def test_circular_spline_conforms_however_it_is_driven() -> None:
    plan, slow = CircularSpline(count_bins=4), ("compile", "integrates_to_one")
    check_bijector(plan, (2, 3), skip=slow)
    check_bijector(plan, ())
    check_bijector(CircularSpline(NET, count_bins=3), (1,), (2,), skip=("compile",))
    check_bijector(bij.Autoregressive(plan, MADE), (3,), (2,), skip=slow)
    check_bijector(bij.Coupling(plan, NET), (2, 3), skip=slow)


def test_seam_of_the_circle_is_a_knot_like_the_others() -> None:
    bound = drawn(CircularSpline(count_bins=5), ())
    ends = torch.tensor([-math.pi + 1e-9, math.pi - 1e-9], dtype=torch.float64)
    y, log_det = bound.forward_and_log_det(ends)
    torch.testing.assert_close(y, ends, rtol=0.0, atol=1e-8)
    torch.testing.assert_close(log_det[0], log_det[1], rtol=0.0, atol=1e-7)
    assert log_det[0].abs() > 0.1


def test_density_on_the_circle_is_continuous_across_the_seam_and_integrates_to_one() -> None:
    plan = bij.Compose([bij.CircularShift(), CircularSpline(count_bins=5), bij.CircularShift(), CircularSpline()])
    turn = torch.full((1,), math.pi, dtype=torch.float64)  # in float32 it is beyond the circle
    base = Independent(Uniform(-turn, turn), 1)
    flow = dist.Flow(base, plan).double()
    perturb(flow, torch.Generator().manual_seed(2), 0.3)
    angles = (torch.arange(100_000, dtype=torch.float64)[:, None] + 0.5) * (math.tau / 100_000) - math.pi
    density = flow.log_prob(angles).exp()
    assert density.mean().item() * math.tau == pytest.approx(1.0, abs=1e-6)
    around = torch.cat((density, density[:1])).diff().abs()
    assert around.max() < 1e-3 < density.std()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_images_stay_on_the_open_circle(dtype: torch.dtype) -> None:
    ends = torch.tensor([-math.pi, math.pi], dtype=dtype)
    x = torch.stack((ends.nextafter(torch.zeros_like(ends)), torch.tensor([0.0, 1e-8], dtype=dtype)))
    for scale in (0.0, 1.0, 50.0):
        bound = drawn(CircularSpline(), (2,), scale).to(dtype)
        for direction in (bound.forward_and_log_det, bound.inverse_and_log_det):
            y, log_det = direction(x)
            assert (y.abs() < math.pi).all() and log_det[1].isfinite()
