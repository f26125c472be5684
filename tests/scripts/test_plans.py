"""The page of all plans is that of the plans as they are."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import flowtorch.bijectors as bij

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("plans", ROOT / "scripts" / "plans.py")
assert spec is not None and spec.loader is not None
plans = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plans)


def test_the_page_is_what_the_script_writes_now() -> None:
    assert plans.PAGE.read_text(encoding="utf-8") == plans.page(), "run scripts/plans"


def test_every_plan_stands_under_one_heading() -> None:
    text = plans.page()
    assert all(text.count(f"| `{plan.__name__}` |") == 1 for plan in plans.plans())


def test_what_is_said_of_a_few_plans_is_right() -> None:
    assert plans.row(bij.Exp) == "| `Exp` | real | (0, inf) | - | both | exact | - |"
    spline = plans.row(bij.SplineAutoregressive)
    assert "| real | real |" in spline and "| forward | exact | [Neural Spline Flows" in spline
    assert "| D^2 (256) |" in plans.row(bij.LU) and "| 2 a coordinate |" in plans.row(bij.Affine)


def test_all_that_learns_names_its_source() -> None:
    unnamed = [p.__name__ for p in plans.plans() if plans.parameter_count(plans.example(p)) and plans.linked(p) == "-"]
    made_of_others = [p.__name__ for p in plans.plans() if plans.has_parts(plans.example(p))]
    assert set(unnamed) - {"ZukoAffine", "NflowsAffine"} <= set(made_of_others)  # which their libraries document


def test_titles_and_addresses_are_told_apart() -> None:
    titles = dict(plans.references(bij.Spline))
    assert list(titles.values()) == ["https://arxiv.org/abs/1906.04032", "https://arxiv.org/abs/2001.05168"]
    assert all(not title.startswith("eq") for title in titles)
