"""The computation as boxes: all layers, shapes, parameters and contexts of the summary."""

from __future__ import annotations

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.flows as flows
import flowtorch.parameters as params
from flowtorch.plot import graph
from flowtorch.plot.extra import Figure

from .laws import conditional, flow


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def arrows(figure: Figure) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    return [(t.xyann, t.xy) for t in figure.axes[0].texts if hasattr(t, "xyann")]


def test_boxes_are_base_layers_and_data_with_shapes_between() -> None:
    assert texts(graph(flow(4))) == [
        "base: DiagNormal",
        "(4,)",
        "AffineCoupling",
        "DenseNN(8,): 60 parameters",
        "(4,)",
        "Permute",
        "(4,)",
        "AffineAutoregressive",
        "MADE(8,): 112 parameters;  density step by step",
        "(4,)",
        "data",
    ]


def test_counts_are_those_of_the_summary() -> None:
    law = flow(4)
    for row in law.summary().rows:
        if row.parameters:
            assert any(f"{row.parameters:,} parameters" in text for text in texts(graph(law)))


def test_a_plan_with_a_shape_and_its_bound_form_look_alike() -> None:
    plan = flows.realnvp()
    assert texts(graph(plan, (5,))) == texts(graph(plan.bind((5,))))
    assert texts(graph(plan, (5,)))[0] == "x" and texts(graph(plan, (5,)))[-1] == "y"


def test_a_large_plan_allocates_nothing() -> None:
    plan = bij.AffineCoupling(params.DenseNN((100_000, 100_000)))  # forty gigabytes, were they allocated
    assert "DenseNN(100000, 100000): 10,000,800,004 parameters" in texts(graph(plan, (4,)))


def test_shapes_that_change() -> None:
    plan = bij.Compose([bij.AffineCoupling(), bij.Reshape((4,), (2, 2))])
    found = texts(graph(dist.Flow(dist.DiagNormal(4), plan)))
    assert found[found.index("Reshape") + 1] == "(2, 2)"


@pytest.mark.parametrize(("plan", "shown"), [(flows.realnvp(layers=6), ["× 6"]), (flows.residual(layers=3), ["× 2"])])
def test_layers_that_repeat_are_drawn_once(plan: bij.Bijector, shown: list[str]) -> None:
    assert [text for text in texts(graph(plan, (4,))) if "×" in text] == shown


def test_arrows_go_from_the_context_to_all_that_take_it() -> None:
    figure = graph(conditional())
    right = [end for start, end in arrows(figure) if start[1] == end[1]]
    assert len(right) == 2  # coupling and autoregressive layer, not the permutation
    found = texts(figure)
    assert found.count("context") == 1 and "(3,)" in found
    assert not [1 for start, end in arrows(graph(flow())) if start[1] == end[1]]


def test_the_embedding_and_a_base_that_takes_the_context() -> None:
    base = dist.ConditionalNormal(2, 5)
    embedding = torch.nn.Linear(3, 5)
    law = dist.Flow(base, bij.AffineCoupling(), context_shape=(3,), embedding=embedding)
    figure = graph(law)
    found = texts(figure)
    assert "embedding: Linear" in found and "20 parameters" in found and "(5,)" in found and "(3,)" in found
    assert len([1 for start, end in arrows(figure) if start[1] == end[1]]) == 2


def test_free_parameters_and_directions_that_go_step_by_step() -> None:
    assert "4 free parameters" in texts(graph(bij.Affine(), (2,)))
    assert any("density step by step" in text for text in texts(graph(bij.AffineAutoregressive(), (2,))))
    assert any("sampling step by step" in text for text in texts(graph(bij.Invert(bij.AffineAutoregressive()), (2,))))
