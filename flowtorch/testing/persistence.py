"""Checks of plans as values, and of bound forms pickled, copied, saved and bound on the meta device."""

from __future__ import annotations

import copy
import io
import json
import pickle
from typing import TYPE_CHECKING

import torch

from ..errors import SpecificationError
from ..specification import from_dict

if TYPE_CHECKING:
    from .check import Case


def plan_is_a_value(case: Case) -> None:
    """Plans are equal by value, hashable, printable, picklable and immutable; ``inv`` of an inverse is the plan."""
    plan = case.plan
    try:
        pickled = pickle.dumps(plan)
    except (AttributeError, pickle.PicklingError):  # a lambda among its fields: the user's choice
        pickled = None
    for other in (copy.deepcopy(plan), *([] if pickled is None else [pickle.loads(pickled)])):
        if other != plan or hash(other) != hash(plan) or repr(other) != repr(plan):
            raise AssertionError("a copy of a plan is expected to be equal to it, with the same hash and repr.")
    if type(plan).__name__ not in repr(plan) or not plan.explain():
        raise AssertionError("repr and explain() are expected to name the plan.")
    if type(plan).__name__ != "Invert" and plan.inv.inv is not plan:
        raise AssertionError("plan.inv.inv is expected to be the plan.")
    try:
        plan.something = 1  # type: ignore[attr-defined]  # that is the point
    except AttributeError:
        return
    raise AssertionError("a plan is expected to be immutable.")


def specification(case: Case) -> None:
    """``to_dict`` is JSON, and the way back gives an equal plan."""
    try:
        written = case.plan.to_dict()
    except SpecificationError as refused:
        if "register" in str(refused):  # an unregistered factory, which the message says how to register
            return
        raise
    if from_dict(json.loads(json.dumps(written, allow_nan=False))) != case.plan:
        raise AssertionError("a plan is expected to survive to_dict, JSON and back.")


def state(case: Case) -> None:
    """A state loaded into a differently seeded copy gives the same function both ways: densities and samples."""
    other = case.bind(offset=100)
    other.load_state_dict(case.bound.state_dict())
    given, x, y = case.context((4,)), case.x((4,)), case.y((4,))
    case.agree(other.forward_and_log_det(x, given), case.bound.forward_and_log_det(x, given), "state_dict, forward")
    case.agree(other.inverse_and_log_det(y, given), case.bound.inverse_and_log_det(y, given), "state_dict, inverse")
    if any(p is q for p, q in zip(case.bound.parameters(), other.parameters(), strict=True)):
        raise AssertionError("binding twice is expected to give independent parameters.")


def copies(case: Case) -> None:
    """Deep copies and pickles, of the inverse view too, give the same function with parameters of their own."""
    given, x = case.context((4,)), case.x((4,))
    expected = case.bound.forward_and_log_det(x, given)  # before copying: a cached graph would not copy
    found = [copy.deepcopy(case.bound), copy.deepcopy(case.bound.inv).bound]
    try:
        buffer = io.BytesIO()
        torch.save(case.bound, buffer)
        buffer.seek(0)
        found.append(torch.load(buffer, weights_only=False))
    except (AttributeError, pickle.PicklingError):  # a lambda among its fields
        pass
    for other in found:
        case.agree(other.forward_and_log_det(x, given), expected, "copy")
        if any(p is q for p, q in zip(case.bound.parameters(), other.parameters(), strict=True)):
            raise AssertionError("a copy is expected to have parameters of its own.")


def meta(case: Case) -> None:
    """``check`` binds on the meta device, draws nothing, and counts the parameters that binding makes."""
    before = torch.random.get_rng_state()
    summary = case.plan.check(case.shape, case.context_shape)
    if not torch.equal(before, torch.random.get_rng_state()):
        raise AssertionError("check is expected to leave the random state alone.")
    if summary.parameters != sum(p.numel() for p in case.bound.parameters()) or not str(summary):
        raise AssertionError(f"check is expected to count the parameters; got {summary.parameters}.")
    if summary != case.bound.summary():
        raise AssertionError("check and the bound form's summary are expected to agree.")
