"""``summary()``: the table of base, embedding and layers."""

from __future__ import annotations

import torch
from torch import distributions as td

import flowtorch.bijectors as bij
from flowtorch.distributions import ConditionalNormal, DiagNormal, Flow
from flowtorch.summary import Summary
from tests.distributions.helpers import MADE, NET, normal

PLAN = bij.Compose(
    [bij.AffineAutoregressive(MADE), bij.Permute(), bij.Invert(bij.AffineAutoregressive(MADE)), bij.Exp()]
)


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_a_line_for_base_and_each_layer() -> None:
    flow = Flow(normal(3), PLAN)
    summary = flow.summary()
    assert isinstance(summary, Summary)
    assert [r.layer for r in summary.rows] == [
        "base: Independent",
        "AffineAutoregressive",
        "Permute",
        "Invert(AffineAutoregressive)",
        "Exp",
    ]
    assert [r.cheap for r in summary.rows] == ["both", "forward", "both", "inverse", "both"]
    assert all(r.shape == r.out_shape == (3,) and r.inverse == "exact" for r in summary.rows)
    layers = flow.bijector.parts  # type: ignore[union-attr]
    assert [r.parameters for r in summary.rows] == [0, *(count(layer) for layer in layers)]
    assert summary.parameters == count(flow) == sum(r.parameters for r in summary.rows)
    assert [r.conditioner.startswith("MADE") for r in summary.rows] == [False, True, False, True, False]


def test_the_text_is_a_table_with_the_total() -> None:
    flow = Flow(DiagNormal((2, 3)), bij.AffineCoupling(NET), context_shape=4)
    lines = str(flow.summary()).splitlines()
    assert lines[0].split() == ["layer", "in", "out", "parameters", "conditioner", "cheap", "inverse"]
    assert lines[2].split()[:5] == ["0", "base:", "DiagNormal", "(2,", "3)"]
    assert f"{count(flow):,}" in lines[3] and "AffineCoupling" in lines[3]
    assert lines[-1] == f"{count(flow):,} parameters in 2 layers"
    assert all(line == line.rstrip() for line in lines)


def test_learnt_bases_conditional_bases_and_embeddings_are_counted() -> None:
    learnt = Flow(DiagNormal(3), bij.AffineCoupling(NET), learn_base=True).summary()
    assert learnt.rows[0].parameters == 6 and learnt.rows[0].layer == "base: DiagNormal"
    embedding = torch.nn.Linear(5, 4)
    flow = Flow(ConditionalNormal(3, 4), bij.AffineCoupling(NET), context_shape=5, embedding=embedding)
    rows = flow.summary().rows
    assert [r.layer for r in rows] == ["base: ConditionalNormal", "embedding: Linear", "AffineCoupling"]
    assert rows[0].parameters == count(flow.base) > 0
    assert (rows[1].shape, rows[1].out_shape, rows[1].parameters) == ((5,), (4,), 24)
    assert flow.summary().parameters == count(flow)


def test_what_several_parts_share_is_counted_once_in_the_total() -> None:
    shared = torch.nn.Linear(3, 3)
    base = Flow(DiagNormal(3), bij.AffineCoupling(NET), context_shape=3, embedding=shared)
    flow = Flow(base, bij.AffineCoupling(NET), context_shape=3, embedding=shared)
    summary = flow.summary()
    assert summary.parameters == count(flow) == sum(r.parameters for r in summary.rows) - 12


def test_bases_are_named_by_what_they_are() -> None:
    for base, name in (
        (td.MultivariateNormal(torch.zeros(2), torch.eye(2)), "MultivariateNormal"),
        (
            td.MixtureSameFamily(td.Categorical(torch.ones(2)), td.Independent(td.Normal(torch.eye(2), 1.0), 1)),
            "MixtureSameFamily",
        ),
        (Flow(DiagNormal(2), bij.Affine()), "Flow"),
    ):
        assert Flow(base, bij.Affine()).summary().rows[0].layer == f"base: {name}"


def test_the_rows_of_the_layers_are_those_of_the_plans_check() -> None:
    assert Flow(normal(3), PLAN).summary().rows[1:] == PLAN.check((3,)).rows


def test_reading_it_draws_no_random_number() -> None:
    flow = Flow(normal(3), PLAN)
    before = torch.random.get_rng_state()
    str(flow.summary())
    assert torch.equal(before, torch.random.get_rng_state())
