"""Nothing that is exported escapes the tests, the specification or the documentation."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator

import pytest

import flowtorch.bijectors
import flowtorch.convert
import flowtorch.parameters
from flowtorch.bijectors import Bijector
from flowtorch.parameters import Parameters
from flowtorch.specification import registered
from tests.cases import CASES


def exported(module: object, kind: type) -> list[type]:
    found = [getattr(module, name) for name in module.__all__]  # type: ignore[attr-defined]
    return [c for c in found if isinstance(c, type) and issubclass(c, kind) and not inspect.isabstract(c)]


PLANS = exported(flowtorch.bijectors, Bijector) + exported(flowtorch.convert, Bijector)
CONDITIONERS = exported(flowtorch.parameters, Parameters) + exported(flowtorch.convert, Parameters)


def everything_within(value: object) -> Iterator[object]:
    yield value
    if isinstance(value, tuple):
        for part in value:
            yield from everything_within(part)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for f in dataclasses.fields(value):
            yield from everything_within(getattr(value, f.name))


@pytest.mark.parametrize("plan", [*PLANS, *CONDITIONERS], ids=lambda c: c.__name__)
def test_every_exported_plan_has_a_case(plan: type) -> None:
    held = {type(v) for case in CASES.values() for v in everything_within(case.plan)}
    assert plan in held, f"{plan.__name__} needs an entry in tests/cases.py"


@pytest.mark.parametrize("plan", [*PLANS, *CONDITIONERS], ids=lambda c: c.__name__)
def test_every_exported_plan_is_a_registered_frozen_final_dataclass_with_an_example(plan: type) -> None:
    assert registered().get(plan.__name__) is plan
    assert dataclasses.is_dataclass(plan) and plan.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert getattr(plan, "__final__", False) or not hasattr(__import__("typing").final(type("_", (), {})), "__final__")
    assert ">>>" in (plan.__doc__ or "") and (plan.__doc__ or "").strip()


@pytest.mark.parametrize("plan", PLANS, ids=lambda c: c.__name__)
def test_every_bijector_has_its_formula(plan: type) -> None:
    assert ".. math::" in (plan.__doc__ or "")


def test_all_plans_defined_in_the_package_are_exported() -> None:
    def concrete(cls: type) -> set[type]:
        below = {c for sub in cls.__subclasses__() for c in concrete(sub)}
        return below | ({cls} if not inspect.isabstract(cls) else set())

    ours = {c for kind in (Bijector, Parameters) for c in concrete(kind) if c.__module__.startswith("flowtorch.")}
    assert ours == {*PLANS, *CONDITIONERS}
