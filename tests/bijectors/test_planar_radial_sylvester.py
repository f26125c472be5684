"""Planar, radial and Sylvester plans: the kit on every form, options, starts, and stability in training."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.bijectors import Bijector, Invert
from flowtorch.bijectors.planar import Planar
from flowtorch.bijectors.radial import Radial
from flowtorch.bijectors.sylvester import Sylvester
from flowtorch.bijectors.vector import VectorMap
from flowtorch.testing import check_bijector
from flowtorch.testing.sampling import perturb

NET = params.DenseNN((12, 10), nonlinearity=torch.nn.Tanh)
FORMS: dict[str, tuple[type[VectorMap], dict[str, Any]]] = {
    "planar": (Planar, {}),
    "planar, leaky relu": (Planar, {"nonlinearity": "leaky_relu", "negative_slope": 0.3}),
    "radial": (Radial, {}),
    "sylvester": (Sylvester, {}),
    "sylvester, more reflections than coordinates": (Sylvester, {"count_transforms": 7}),
    "sylvester, orthogonal": (Sylvester, {"kind": "orthogonal"}),
    "sylvester, one column": (Sylvester, {"kind": "orthogonal", "rank": 1}),
    "sylvester, triangular": (Sylvester, {"kind": "triangular"}),
    "sylvester, flipped": (Sylvester, {"kind": "triangular", "flip": True}),
}
every_form = pytest.mark.parametrize("name", FORMS)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def plan_of(name: str, source: params.Parameters | None = None, **options: Any) -> VectorMap:
    kind, given = FORMS[name]
    return kind(source, **given, **options)


def perturbed(plan: Bijector, *shape: int, scale: float = 0.5) -> Any:
    bound = plan.bind(shape).double()
    perturb(bound, torch.Generator().manual_seed(1), scale)
    return bound


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


@every_form
@pytest.mark.parametrize(
    ("source", "shape", "context_shape", "dim"),
    [
        (None, (3,), None, None),
        (NET, (3,), (2,), None),
        (None, (2, 3), None, None),
        (NET, (2, 3), (2,), 0),
        (None, (2, 3, 2), None, -2),
        (None, (1,), None, None),
        (NET, (1,), (2,), None),
        (params.Tensor(), (2,), (3,), None),
    ],
    ids=["vectors", "context", "event flattened", "context, dim 0", "dim -2", "one", "one, context", "context ignored"],
)
def test_conforms(
    name: str,
    source: params.Parameters | None,
    shape: tuple[int, ...],
    context_shape: tuple[int, ...] | None,
    dim: int | None,
) -> None:
    # Compiled once with free parameters and once with a context: what is traced is the same on other shapes.
    check_bijector(
        plan_of(name, source, dim=dim), shape, context_shape, skip=() if shape == (3,) and dim is None else ["compile"]
    )


@every_form
def test_starts_as_the_identity_but_not_where_gradients_vanish(name: str) -> None:
    """Correlated, skewed points: a gradient that is zero in all parameters would stay so."""
    for source, context in ((None, None), (NET, draw(2))):
        plan = plan_of(name, source)
        flow = dist.Flow(dist.DiagNormal((3,)), plan, context_shape=None if context is None else (2,)).double()
        x = draw(50, 3).exp() @ draw(3, 3)
        y, log_det = flow.bijector.forward_and_log_det(x, context)
        torch.testing.assert_close(y, x)
        torch.testing.assert_close(log_det, torch.zeros_like(log_det))
        loss = -flow.log_prob(x, context).mean()
        loss.backward()
        assert any(bool(p.grad.any()) for p in flow.parameters() if p.grad is not None)


def test_layers_start_apart() -> None:
    """Those that started alike would learn alike."""
    for name in FORMS:
        one, other = (plan_of(name).bind((3,)).state_dict() for _ in range(2))
        assert any(not torch.equal(one[key], other[key]) for key in one)


@every_form
def test_parameters_are_as_many_as_the_formula_says(name: str) -> None:
    plan = plan_of(name)
    for size in (2, 5):
        formula = re.sub(r"(?<=[\d)]) (?=[\d(])", "*", plan.parameter_count.replace("D", str(size)))
        assert sum(p.numel() for p in plan.bind((size,)).parameters()) == eval(formula)


@every_form
def test_explanations(name: str) -> None:
    plan = plan_of(name)
    text = plan.explain()
    assert plan.parameter_count in text and "log-det at O(" in text and plan.exactness == "exact"
    for option in ("nonlinearity", "negative_slope", "count_transforms", "rank"):
        value = FORMS[name][1].get(option)
        assert value is None or str(value).replace("_relu", "") in text
    assert ("step by step" in text) == isinstance(plan, Sylvester)


# Options


def test_a_negative_slope_is_that_of_the_rectifier() -> None:
    x = draw(6, 3)
    for slope in (0.1, 0.7):
        bound = perturbed(Planar(nonlinearity="leaky_relu", negative_slope=slope), 3)
        w, _, b = bound.params.values
        moved = (bound.forward(x) - x).norm(dim=-1)
        v = x @ w + b
        ratio = moved / v.abs()
        assert (v < 0.0).any() and (v > 0.0).any()
        torch.testing.assert_close(ratio[v < 0.0] / slope, ratio[v > 0.0][:1].expand_as(ratio[v < 0.0]))


def test_tanh_is_bounded_and_a_rectifier_is_not() -> None:
    x = 1e6 * draw(6, 3)
    assert (perturbed(Planar(), 3).forward(x) - x).abs().max() < 10.0
    assert (perturbed(Planar(nonlinearity="leaky_relu"), 3).forward(x) - x).abs().max() > 1e4


@pytest.mark.parametrize(
    ("options", "shapes"),
    [
        ({}, [(3, 4), (10,), (10,), (4,)]),
        ({"count_transforms": 5}, [(5, 4), (10,), (10,), (4,)]),
        ({"kind": "orthogonal"}, [(4, 4), (10,), (10,), (4,)]),
        ({"kind": "orthogonal", "rank": 2}, [(2, 4), (3,), (3,), (2,)]),
        ({"kind": "triangular"}, [(10,), (10,), (4,)]),
    ],
)
def test_kinds_of_sylvester_maps(options: dict[str, Any], shapes: list[tuple[int, ...]]) -> None:
    assert [tuple(p.shape) for p in Sylvester(**options).bind((4,)).parameters()] == shapes


def test_a_sylvester_map_of_low_rank_moves_within_a_subspace() -> None:
    x = draw(20, 5)
    for rank in (1, 3):
        bound = perturbed(Sylvester(kind="orthogonal", rank=rank), 5)
        assert int(torch.linalg.matrix_rank(bound.forward(x) - x, atol=1e-9)) == rank


def test_a_flipped_triangular_map_depends_on_earlier_coordinates() -> None:
    """R and R~ are upper triangular: a coordinate depends on later ones, and on earlier ones if flipped."""
    for flip in (False, True):
        bound = perturbed(Sylvester(kind="triangular", flip=flip), 4)
        jacobian = torch.autograd.functional.jacobian(bound.forward, draw(4))
        below = jacobian.mT if flip else jacobian
        assert not below.tril(-1).any() and below.triu(1).any()


@pytest.mark.parametrize("name", ["planar", "radial", "sylvester"])
def test_dim_names_the_axis_of_vectors_that_share_parameters(name: str) -> None:
    x = draw(7, 2, 3)
    bound = perturbed(plan_of(name, dim=0), 2, 3)
    one = plan_of(name).bind((2,)).double()
    one.load_state_dict(bound.state_dict())
    y, log_det = bound.forward_and_log_det(x)
    expected, expected_log_det = one.forward_and_log_det(x.mT)
    torch.testing.assert_close(y, expected.mT)
    torch.testing.assert_close(log_det, expected_log_det.sum(-1))


# Stability

TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-10}


def worst_round_trip(bound: Any, points: torch.Tensor) -> float:
    """The largest error of forward after inverse, relative to the size of the points."""
    with torch.no_grad():
        x, log_det = bound.inverse_and_log_det(points)
        y, again = bound.forward_and_log_det(x)
        assert x.isfinite().all() and log_det.isfinite().all()
        return float(((y - points).abs() / (1.0 + points.abs())).max() + (log_det + again).abs().max())


@every_form
def test_inverses_are_exact_for_parameters_of_any_size(name: str) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        for scale in (0.1, 1.0, 5.0, 20.0):
            bound = perturbed(plan_of(name), 4, scale=scale)
            for spread in (1e-3, 1.0, 1e4):
                y = spread * draw(100, 4)
                with torch.no_grad():
                    x = bound.inverse(y)
                    again = bound.forward(x)
                # Of the order of rounding times the terms that are added; a rectifier's are as large as the points.
                terms = (1.0 + scale**2 * 16.0) * (1.0 + (float(x.abs().max()) if "leaky" in name else 0.0))
                torch.testing.assert_close(again, y, rtol=1e-12, atol=1e-13 * terms)


@pytest.mark.parametrize("inverted", [False, True], ids=["plan", "inverted"])
@every_form
def test_the_inverse_stays_exact_through_a_thousand_steps_of_adam(name: str, inverted: bool) -> None:
    torch.manual_seed(5)
    sample = (torch.randn(128, 3) * 0.8).exp() @ torch.randn(3, 3) + torch.randn(3)  # skewed and correlated
    plan: Bijector = plan_of(name)
    flow = dist.Flow(dist.DiagNormal((3,)), Invert(plan) if inverted else plan)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    losses = []
    for _ in range(1000):
        optimizer.zero_grad()
        loss = -flow.log_prob(sample).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    assert torch.stack(losses).isfinite().all() and losses[-1] < losses[0] - 0.1
    for dtype, tolerance in TOLERANCE.items():
        points = torch.cat([sample, 100.0 * sample]).to(dtype)
        assert worst_round_trip(flow.to(dtype).bijector, points) < tolerance
