"""Plans as plain data: round trips, and specifications that are wrong, or meant to do harm."""

from __future__ import annotations

import builtins
import dataclasses
import functools
import importlib
import json
import math
import os
from typing import Any, final

import pytest
import torch

import flowtorch
import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch import specification
from flowtorch.errors import SpecificationError
from flowtorch.specification import from_dict, registered, to_dict
from tests.cases import CASES


@pytest.fixture
def clean_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(specification, "_BY_NAME", dict(specification._BY_NAME))


WRITTEN = [n for n in CASES if not any(kind in repr(CASES[n].plan) for kind in ("Network", "FromTransform"))]


def through_json(plan: Any) -> Any:
    return json.loads(json.dumps(plan.to_dict(), allow_nan=False))


# --- there and back


@pytest.mark.parametrize("name", WRITTEN)
def test_every_plan_survives_json(name: str) -> None:
    plan = CASES[name].plan
    written = through_json(plan)
    assert written == plan.to_dict()  # JSON as it stands
    back = flowtorch.plan_from_dict(written)
    assert back == plan and hash(back) == hash(plan) and repr(back) == repr(plan)


@pytest.mark.parametrize("name", WRITTEN)
def test_every_plan_survives_yaml(name: str) -> None:
    yaml = pytest.importorskip("yaml")
    plan = CASES[name].plan
    written = yaml.safe_load(yaml.safe_dump(plan.to_dict()))
    assert written == plan.to_dict()  # YAML as it stands
    assert flowtorch.plan_from_dict(written) == plan


def test_what_a_specification_looks_like() -> None:
    plan = bij.Compose(
        [bij.Invert(bij.AffineAutoregressive(params.MADE((8,), nonlinearity=torch.nn.ELU))), bij.Permute((1, 0))]
    )
    written = plan.to_dict()
    assert list(written) == ["type", "parts", "checkpoint"] and written["type"] == "Compose"
    inverted, permute = written["parts"]
    assert permute == {"type": "Permute", "permutation": [1, 0], "dim": None}
    made = inverted["plan"]["params_fn"]
    assert made == {
        "type": "MADE",
        "hidden_dims": [8],
        "nonlinearity": {"name": "torch.nn.ELU"},
        "permutation": None,
        "passes": None,
        "adjacency": None,
        "skip_connections": False,
        "residual": False,
    }
    assert params.MADE((8,), nonlinearity=torch.nn.ELU) == from_dict(made)


def test_fields_left_out_get_their_defaults() -> None:
    assert flowtorch.plan_from_dict({"type": "Spline"}) == bij.Spline()
    assert flowtorch.plan_from_dict({"type": "AffineAutoregressive", "params_fn": {"type": "MADE"}}) == (
        bij.AffineAutoregressive(params.MADE())
    )


def test_infinite_numbers_have_a_spelling_that_json_knows() -> None:
    plan = bij.Affine(log_scale_min_clip=-math.inf, log_scale_max_clip=math.inf)
    written = through_json(plan)
    assert written["log_scale_min_clip"] == {"float": "-inf"} and written["log_scale_max_clip"] == {"float": "inf"}
    assert flowtorch.plan_from_dict(written) == plan
    # What json.loads makes of Infinity, which is no JSON but common.
    assert flowtorch.plan_from_dict({**plan.to_dict(), "log_scale_max_clip": math.inf}) == plan


def test_numbers_come_back_to_the_last_digit() -> None:
    plan = bij.AffineFixed(loc=(0.1, 1 / 3, 1e-300), scale=(math.pi, -5e-324, 1.7976931348623157e308))
    assert flowtorch.plan_from_dict(through_json(plan)) == plan


@pytest.mark.parametrize("activation", [torch.nn.ReLU, torch.nn.SiLU, torch.nn.GELU, torch.nn.Tanh, torch.nn.PReLU])
def test_activations_of_torch_are_known_by_name(activation: Any) -> None:
    plan = params.DenseNN(nonlinearity=activation)
    assert through_json(plan)["nonlinearity"] == {"name": f"torch.nn.{activation.__name__}"}
    assert from_dict(through_json(plan)) == plan


# --- registering


def small_net(in_features: int, out_features: int) -> torch.nn.Module:
    return torch.nn.Linear(in_features, out_features)


def test_a_registered_factory_is_named(clean_registry: None) -> None:
    plan = bij.AffineCoupling(params.Network(small_net))
    with pytest.raises(SpecificationError, match=r"Network.factory .* flowtorch.register"):
        plan.to_dict()
    assert flowtorch.register(small_net) is small_net
    assert through_json(plan)["params_fn"] == {"type": "Network", "factory": {"name": "small_net"}}
    assert flowtorch.plan_from_dict(through_json(plan)) == plan


def test_a_name_of_one_s_own(clean_registry: None) -> None:
    flowtorch.register(name="lab.net")(small_net)
    plan = params.Network(small_net)
    assert plan.to_dict()["factory"] == {"name": "lab.net"}
    assert registered()["lab.net"] is small_net
    registered().clear()  # a copy
    assert from_dict(plan.to_dict()) == plan


def test_an_author_s_plan_is_registered_by_the_decorator(clean_registry: None) -> None:
    @final
    @dataclasses.dataclass(frozen=True)
    class Mine(bij.Bijector):
        inner: bij.Bijector
        numbers: tuple[float, ...] = (1.0, 2.0)
        hidden: int = dataclasses.field(default=0, init=False)

        def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> Any:
            raise NotImplementedError

    plan = Mine(bij.Exp())
    with pytest.raises(SpecificationError, match=r"a registered plan is expected; got Mine"):
        plan.to_dict()
    flowtorch.register(Mine)
    assert through_json(plan) == {"type": "Mine", "inner": {"type": "Exp"}, "numbers": [1.0, 2.0]}
    assert flowtorch.plan_from_dict(through_json(plan)) == plan


def test_a_name_stands_for_one_thing_but_may_be_registered_again(clean_registry: None) -> None:
    flowtorch.register(small_net, name="net")
    flowtorch.register(small_net, name="net")
    with pytest.raises(SpecificationError, match="the name 'net' is taken"):
        flowtorch.register(torch.nn.Linear, name="net")
    with pytest.raises(SpecificationError, match="a name is expected"):
        flowtorch.register(functools.partial(small_net, 2))


# --- wrong values: each kind of field refuses each wrong type that JSON has

WRONG_TYPES: dict[str, Any] = {
    "a string": "x",
    "a float": 1.5,
    "an integer": 3,
    "a bool": True,
    "null": None,
    "a list": [1, 2],
    "a list of strings": ["x"],
    "a list of nulls": [None],
    "an empty list": [],
    "a bijector": {"type": "Exp"},
    "a conditioner": {"type": "DenseNN"},
    "an activation": {"name": "torch.nn.ReLU"},
    "a plan's class": {"name": "Exp"},
    "infinity": {"float": "inf"},
    "a huge integer": 10**400,
    "a dict": {},
}

# Plan, field, and which of the above it may take.
FIELDS: list[tuple[dict[str, Any], str, set[str]]] = [
    ({"type": "Spline"}, "count_bins", {"an integer"}),
    ({"type": "Spline"}, "bound", {"an integer", "a float", "a list"}),
    ({"type": "Spline"}, "order", set()),
    ({"type": "Spline"}, "params_fn", {"null", "a conditioner"}),
    ({"type": "Affine"}, "scale_fn", set()),
    ({"type": "Affine"}, "clamp_values", {"a bool"}),
    ({"type": "Affine"}, "log_scale_max_clip", {"an integer", "a float", "infinity"}),
    ({"type": "Affine", "scale_fn": "sigmoid"}, "gated", {"a bool"}),
    ({"type": "LeakyReLU"}, "slope", {"an integer", "a float"}),
    ({"type": "Power"}, "exponent", {"an integer", "a float"}),
    ({"type": "AffineFixed"}, "loc", {"an integer", "a float", "a list"}),
    ({"type": "AffineFixed"}, "scale", {"an integer", "a float", "a list"}),
    ({"type": "Standardize", "scale": 1.0}, "loc", {"an integer", "a float", "a list"}),
    ({"type": "Permute"}, "permutation", {"null", "an empty list"}),
    ({"type": "Permute"}, "dim", {"null", "an integer", "a huge integer"}),
    ({"type": "Reverse"}, "dim", {"null", "an integer", "a huge integer"}),
    ({"type": "Compose"}, "parts", set()),
    ({"type": "Invert"}, "plan", {"a bijector"}),
    ({"type": "AffineAutoregressive"}, "params_fn", {"null"}),
    ({"type": "Autoregressive"}, "elementwise", set()),
    ({"type": "Coupling"}, "elementwise", set()),
    ({"type": "AffineCoupling"}, "mask", {"an empty list"}),
    ({"type": "AffineCoupling"}, "split", {"null", "an integer", "a huge integer"}),
    ({"type": "AffineCoupling"}, "swap", {"a bool"}),
    ({"type": "AffineCoupling"}, "untouched", {"null"}),
    ({"type": "AffineCoupling"}, "params_fn", {"null", "a conditioner"}),
    ({"type": "MADE"}, "hidden_dims", {"a list", "an empty list"}),
    ({"type": "MADE"}, "nonlinearity", {"an activation"}),
    ({"type": "MADE"}, "permutation", {"null", "an empty list"}),
    ({"type": "MADE"}, "passes", {"null", "an integer", "a huge integer"}),
    ({"type": "MADE"}, "adjacency", {"null"}),
    ({"type": "MADE"}, "skip_connections", {"a bool"}),
    ({"type": "DenseNN"}, "residual", {"a bool"}),
    ({"type": "Network"}, "factory", {"an activation"}),
]


@pytest.mark.parametrize(("plan", "field", "may"), FIELDS, ids=[f"{p['type']}.{f}" for p, f, _ in FIELDS])
def test_values_of_the_wrong_type_are_refused(plan: dict[str, Any], field: str, may: set[str]) -> None:
    accepted = set()
    for kind, value in WRONG_TYPES.items():
        try:
            from_dict({**plan, field: value})
        except SpecificationError as refused:
            assert str(refused).startswith("plan_from_dict: ")
        else:
            accepted.add(kind)
    assert accepted == may


def net(name: Any) -> dict[str, Any]:
    """A coupling whose network has an activation of this name."""
    return {"type": "AffineCoupling", "params_fn": {"type": "DenseNN", "nonlinearity": {"name": name}}}


SIGMOID = {"type": "Sigmoid"}
FIT = [{"type": "Exp"}, {"type": "Invert", "plan": SIGMOID}]
# What is given, and words of the refusal.
HOSTILE: dict[str, tuple[Any, str]] = {
    "no dict": ("Exp", "a dict with a 'type' is expected"),
    "no type": ({"loc": 1.0}, "a dict with a 'type' is expected"),
    "type is a list": ({"type": ["Exp"]}, "a dict with a 'type' is expected"),
    "type is no class of ours": ({"type": "subprocess.Popen", "args": ["touch", "harm"]}, "a registered plan is"),
    "type is the path of a class of ours": ({"type": "flowtorch.bijectors.Exp"}, "a registered plan is expected"),
    "type is a builtin": ({"type": "eval"}, "a registered plan is expected"),
    "type is an activation": ({"type": "torch.nn.ReLU"}, "a registered plan is expected"),
    "type is an abstract class": ({"type": "Bijector"}, "a registered plan is expected"),
    "type is a conditioner": ({"type": "DenseNN"}, "a Bijector is expected"),
    "dunder field": ({"type": "Exp", "__class__": "x"}, "unknown ['__class__']"),
    "method field": ({"type": "Exp", "_bind": "x"}, "unknown ['_bind']"),
    "unknown field": ({"type": "Exp", "loc": 1.0}, "unknown ['loc']"),
    "field that is no string": ({"type": "Exp", 3: 1.0}, "unknown [3]"),
    "missing field": ({"type": "Compose"}, "needs the fields ['parts']"),
    "name of a class that is no activation": (net("torch.nn.Module"), "a registered name is expected"),
    "name of a layer": (net("torch.nn.Flatten"), "a registered name is expected"),
    "name of a package": (net("torch.nn.functional"), "a registered name is expected"),
    "name through a package": (net("torch.nn.modules.os.system"), "a registered name is expected"),
    "name of an activation with arguments": (net("torch.nn.Threshold"), "a registered name is expected"),
    "name of a dunder": (net("torch.nn.__class__"), "a registered name is expected"),
    "name of a function": (net("os.system"), "a registered name is expected"),
    "name of a plan": (net("Exp"), "nonlinearity is expected to be a class such as torch.nn.ReLU"),
    "name that is no string": (net(["torch.nn.ReLU"]), "a dict with a 'type' is expected"),
    "name with more": ({"type": "Invert", "plan": {"name": "Exp", "args": [1]}}, "a dict with a 'type' is expected"),
    "float that is a word": ({"type": "LeakyReLU", "slope": {"float": "1.0"}}, "a dict with a 'type' is expected"),
    "float that is a list": ({"type": "LeakyReLU", "slope": {"float": ["inf"]}}, "a dict with a 'type' is expected"),
    "not a number": ({"type": "LeakyReLU", "slope": {"float": "nan"}}, "slope is expected to lie in"),
    "an object": ({"type": "AffineFixed", "loc": object()}, "plain data is expected; got object"),
    "bytes": ({"type": "AffineFixed", "loc": b"12"}, "plain data is expected; got bytes"),
    "parts of a string": ({"type": "Compose", "parts": "abc"}, "Compose part 0: the plan is expected to be a Bijector"),
    "parts of a dict": ({"type": "Compose", "parts": {"type": "Exp"}}, "a sequence of plans is expected"),
    "parts that do not fit": ({"type": "Compose", "parts": FIT}, "part 1 (Invert(Sigmoid))"),
    "plans nested too deep": (
        functools.reduce(lambda p, _: {"type": "Invert", "plan": p}, range(10_000), SIGMOID),
        "recursion limit",
    ),
    "lists nested too deep": (
        {"type": "AffineFixed", "loc": functools.reduce(lambda p, _: [p], range(10_000), 1.0)},
        "recursion limit",
    ),
}


FORBIDDEN: list[tuple[Any, str]] = [
    (os, "system"),
    (importlib, "import_module"),
    (torch.nn.ReLU, "__init__"),
    *((builtins, function) for function in ("eval", "exec", "open")),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_specifications_are_refused_and_nothing_runs(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a specification ran code")

    specification, words = HOSTILE[name]
    monkeypatch.chdir(tmp_path)
    before, refused = torch.random.get_rng_state(), ""
    with monkeypatch.context() as patched:
        for module, function in FORBIDDEN:
            patched.setattr(module, function, forbidden)
        try:
            flowtorch.plan_from_dict(specification)
        except SpecificationError as error:
            refused = str(error)
    assert refused.startswith("plan_from_dict: ") and words in refused, refused
    assert torch.equal(before, torch.random.get_rng_state())
    assert not list(tmp_path.iterdir())


def test_a_plan_of_a_hundred_layers_within_layers_is_not_too_deep() -> None:
    spec = functools.reduce(
        lambda p, _: {"type": "Compose", "parts": [p], "checkpoint": False}, range(100), {"type": "Exp"}
    )
    plan = flowtorch.plan_from_dict(spec)
    assert plan.to_dict() == spec
    assert plan.bind((2,)).forward(torch.zeros(2)).tolist() == [1.0, 1.0]


def test_to_dict_gives_data_that_shares_nothing_with_the_plan() -> None:
    plan = bij.Compose([bij.Permute((1, 0))])
    to_dict(plan)["parts"].append({"type": "Exp"})
    assert plan.to_dict()["parts"] == [{"type": "Permute", "permutation": [1, 0], "dim": None}]
