"""``plan.explain()`` says how a map is structured, how many parameters it has, how gradients flow; and it is true."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from tests.cases import CASES

D = 6


def allocated(plan: bij.Bijector, size: int = D) -> int:
    return sum(p.numel() for p in plan.bind((size,)).parameters())


def value(formula: str, **names: int) -> int:
    """What a formula such as "4 K - 1" or "D (D - 1) / 2" comes to."""
    python = re.sub(r"(?<=[\w)]) (?=[\w(])", " * ", formula).replace("^", "**")
    assert re.fullmatch(r"[\d\s+\-*/()DK]+", python), formula
    found = eval(python, dict(names))
    assert found == int(found)
    return int(found)


def gradients(plan: bij.Spline, x: float, inverse: bool) -> tuple[torch.Tensor, ...]:
    """The gradients of the value and log-derivative at a point: to the point, then to each parameter."""
    torch.manual_seed(0)
    point = torch.tensor([x], dtype=torch.float64, requires_grad=True)
    raw = tuple((0.3 * torch.randn(1, *s, dtype=torch.float64)).requires_grad_() for s in plan.param_shapes)
    y, log_slope = plan.apply(point, raw, None, inverse=inverse)
    return torch.autograd.grad((y + 0.3 * log_slope).sum(), (point, *raw), materialize_grads=True)


# Spline --------------------------------------------------------------------------------------------------------------

SPLINES = {
    "linear": bij.Spline(),
    "quadratic": bij.Spline(order="quadratic", count_bins=5),
    "linear, box": bij.Spline(tails=None, bound=(-1.0, 2.0)),
    "quadratic, box": bij.Spline(tails=None, order="quadratic", count_bins=3),
}


@pytest.mark.parametrize("name", SPLINES)
def test_a_spline_states_the_parameters_that_it_has(name: str) -> None:
    plan = SPLINES[name]
    text = plan.explain()
    formula = re.search(r"Parameters: (.+?) for each coordinate", text)
    total = re.search(r"(\d+) parameters per coordinate", text)
    assert formula is not None and total is not None
    assert value(formula[1], K=plan.count_bins) == int(total[1]) == allocated(plan) / D
    slopes = re.search(r"(\d+) slopes", text)
    assert slopes is not None and int(slopes[1]) == plan.param_shapes[2][0]


@pytest.mark.parametrize("name", SPLINES)
def test_a_spline_says_how_it_is_structured_and_where_its_parameters_come_from(name: str) -> None:
    plan = SPLINES[name]
    text = plan.explain()
    k = plan.count_bins
    expected = [
        "Structure: ",
        f"K = {k} bins between {k + 1} knots",
        "cumulative sums of softmaxes",
        "free or from the context",
        "in Autoregressive(Spline()) also from the coordinates before, by MADE()",
        "in Coupling(Spline()) from those that stay, by DenseNN()",
    ]
    assert all(words in text for words in expected)
    assert (f"{k} points that cut the bins" in text and "the cut," in text) == (plan.order == "linear")
    assert ("at the ends being 1" in text) == ("outside, x gets them as they are" in text) == (plan.tails is not None)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("name", SPLINES)
def test_gradients_of_a_spline_flow_as_it_says(name: str, inverse: bool) -> None:
    plan = SPLINES[name]
    _, widths, heights, *local = gradients(plan, 0.3, inverse)
    assert bool((widths != 0.0).all()) and bool((heights != 0.0).all())
    touched = [int((g != 0.0).sum()) for g in local]
    assert touched == ([2, 1] if plan.order == "linear" else [2])  # 0.3 lies in no outer bin, whose end has no slope
    if plan.tails is not None:
        at_x, *others = gradients(plan, 3.5, inverse)
        assert at_x.item() == 1.0 and all(bool((g == 0.0).all()) for g in others)


@pytest.mark.parametrize("order", ["linear", "quadratic"])
def test_conditioners_named_for_families_are_their_defaults(order: Any) -> None:
    plan = bij.Spline(order=order)
    assert "MADE(" in bij.Autoregressive(plan).explain() and "DenseNN(" in bij.Coupling(plan).explain()
    assert "from DenseNN(" in bij.Spline(params.DenseNN(), order=order).explain()
    assert "DenseNN(" in plan.bind((2,), (3,)).conditioner() and plan.bind((2,)).conditioner() == "free"


# Householder ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("bias", [False, True])
def test_reflections_state_the_parameters_that_they_have(count: int, bias: bool) -> None:
    plan = bij.Householder(count_transforms=count, bias=bias)
    text = plan.explain()
    formula = re.search(r"with (.+?) parameters", text)
    assert formula is not None and value(formula[1], D=D) == allocated(plan)
    expected = [f"K = {count} reflections of D numbers each", "no D x D matrix", "log-det is 0", "free when bound"]
    assert all(words in text for words in expected)


def test_gradients_of_reflections_flow_as_they_say() -> None:
    text = bij.Householder(count_transforms=3).explain()
    assert "keep its length" in text and "orthogonal to v_k" in text
    torch.manual_seed(0)
    bound = bij.Householder(count_transforms=3).bind((D,)).double()
    x, back = torch.randn(2, D, dtype=torch.float64)
    at_x, at_vectors = torch.autograd.grad(bound.forward(x.requires_grad_()), (x, *bound.parameters()), back)
    (vectors,) = bound.parameters()
    torch.testing.assert_close(at_x.norm(), back.norm())
    torch.testing.assert_close((at_vectors * vectors).sum(-1), torch.zeros(3, dtype=torch.float64))
    assert bool((at_vectors.norm(dim=-1) > 0.01).all())


# DiscreteCosine ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smooth", [0.0, 1.0])
@pytest.mark.parametrize("size", [6, 200])
def test_cosines_have_no_parameters_and_gradients_flow_as_they_say(smooth: float, size: int) -> None:
    plan = bij.DiscreteCosine(smooth=smooth)
    text = plan.explain()
    assert "It has no parameters" in text and allocated(plan, size) == 0
    assert "a product up to D = 128, a Fourier transform at O(D log D) beyond" in text
    assert ("they multiply gradients as well" in text) == (smooth != 0.0)
    bound = plan.bind((size,)).double()
    x, back = torch.randn(2, size, dtype=torch.float64)
    (at_x,) = torch.autograd.grad(bound.forward(x.requires_grad_()), x, back)
    matrix = bound.forward(torch.eye(size, dtype=torch.float64)).mT
    torch.testing.assert_close(at_x, matrix.mT @ back)
    assert (abs(at_x.norm() - back.norm()) < 1e-10) == (smooth == 0.0)


# All -----------------------------------------------------------------------------------------------------------------

WITH_FORMULAS = {
    name: case
    for name, case in CASES.items()
    if re.search(r"with ([^,]+) parameters, free", case.plan.explain())
    and case.context_shape is None
    and not isinstance(case.plan, bij.Sandwich | bij.Scan)  # which have several parts, or layers
}


@pytest.mark.parametrize("name", WITH_FORMULAS)
def test_formulas_of_parameters_are_right(name: str) -> None:
    plan, shape, _ = WITH_FORMULAS[name]
    formula = re.search(r"with ([^,]+) parameters", plan.explain())
    assert formula is not None
    dim = getattr(plan, "dim", None)
    size = torch.Size(shape).numel() if dim is None else shape[dim]
    found = sum(p.numel() for p in plan.bind(shape).parameters())
    k = max(2, size - size % 2)  # reflections, unless said otherwise
    python = re.sub(r"\((D // 2 \+ 1)\)", str(size // 2 + 1), formula[1])
    assert value(python, D=size, K=k) == found or size == 1  # where some have one that does nothing
