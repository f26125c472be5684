"""Plans in YAML as people write it: short forms, numbers, and texts that are wrong, or meant to do harm."""

from __future__ import annotations

import importlib
import math
import sys
import time

import pytest
import torch

pytest.importorskip("yaml")

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch import flows
from flowtorch.errors import SpecificationError
from flowtorch.yaml import plan_from_yaml, plan_to_yaml
from tests.cases import CASES

WRITTEN = [n for n in CASES if not any(kind in repr(CASES[n].plan) for kind in ("Network", "FromTransform"))]


@pytest.mark.parametrize("name", WRITTEN[::9])  # tests/test_specification.py has all, in the YAML of to_dict
def test_what_is_written_is_read_back_equal(name: str) -> None:
    text = plan_to_yaml(CASES[name].plan)
    assert plan_from_yaml(text) == CASES[name].plan
    assert text.startswith("type: ")


@pytest.mark.parametrize("name", [name for name in flows.__all__ if name != "stack"])
def test_ready_made_plans_are_named_and_written_out(name: str) -> None:
    plan = getattr(flows, name)(layers=2)
    assert plan_from_yaml(f"flow: {name}\nlayers: 2") == plan
    assert plan_from_yaml(plan_to_yaml(plan)) == plan


BY_HAND: dict[str, tuple[str, bij.Bijector]] = {
    "a plan": ("type: Spline\ncount_bins: 4", bij.Spline(count_bins=4)),
    "a name alone": ("Permute", bij.Permute()),
    "a list": (
        "- type: AffineCoupling\n  params_fn: {type: DenseNN, hidden_dims: [8, 8]}\n- Permute\n- {type: Exp}\n",
        bij.Compose([bij.AffineCoupling(params.DenseNN((8, 8))), bij.Permute(), bij.Exp()]),
    ),
    "a list within": (
        "type: Invert\nplan:\n  type: Compose\n  parts:\n  - type: Exp\n  - type: LeakyReLU",
        bij.Invert(bij.Compose([bij.Exp(), bij.LeakyReLU()])),
    ),
    "an activation": (
        "type: AffineCoupling\nparams_fn: {type: DenseNN, nonlinearity: torch.nn.SiLU}",
        bij.AffineCoupling(params.DenseNN(nonlinearity=torch.nn.SiLU)),
    ),
    "an activation in full": (
        "type: AffineCoupling\nparams_fn: {type: DenseNN, nonlinearity: {name: torch.nn.SiLU}}",
        bij.AffineCoupling(params.DenseNN(nonlinearity=torch.nn.SiLU)),
    ),
    "numbers with exponents": (
        "{type: Spline, bound: 1e1, min_bin_width: 1E-4}",
        bij.Spline(bound=10.0, min_bin_width=1e-4),
    ),
    "infinity": ("{type: Affine, log_scale_max_clip: .inf}", bij.Affine(log_scale_max_clip=math.inf)),
    "a part used twice": (
        "- type: AffineCoupling\n  params_fn: &net {type: DenseNN, hidden_dims: [3]}\n"
        "- {type: SplineCoupling, params_fn: *net}",
        bij.Compose([bij.AffineCoupling(params.DenseNN((3,))), bij.SplineCoupling(params.DenseNN((3,)))]),
    ),
    "a ready-made one": (
        "flow: nsf\nlayers: 3\nhidden_dims: [16, 16]\nnonlinearity: torch.nn.ELU",
        flows.nsf(layers=3, hidden_dims=(16, 16), nonlinearity=torch.nn.ELU),
    ),
    "a stack": ("flow: stack\nlayer: {type: Planar}\nlayers: 2", flows.stack(bij.Planar(), layers=2)),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_what_people_write(name: str) -> None:
    text, plan = BY_HAND[name]
    assert plan_from_yaml(text) == plan
    assert plan_from_yaml(plan_to_yaml(plan)) == plan


def nested(depth: int, width: int) -> str:
    """A text of a few lines that stands for width**depth values."""
    lines = ["a0: &a0 [" + ",".join(["x"] * width) + "]"]
    lines += [f"a{i}: &a{i} [" + ",".join([f"*a{i - 1}"] * width) + "]" for i in range(1, depth)]
    return "\n".join(lines)


HOSTILE = {
    "an object": "!!python/object/apply:os.mkdir [exploded]",
    "a module": "!!python/module:antigravity",
    "values that unfold": nested(12, 12),
    "a value within itself": "type: &a [*a]",
    "lists nested too deep": "[" * 2_000,
    "no text": "\x00",
    "a date": "{type: LeakyReLU, slope: 2001-01-01}",
    "a class that is no activation": "type: AffineCoupling\nparams_fn: {type: DenseNN, nonlinearity: torch.nn.Module}",
    "a flow that is none": "flow: __all__",
    "a flow that is a module": "flow: os",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_refused_soon_and_nothing_runs(
    name: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    start = time.process_time()
    with pytest.raises(SpecificationError):
        plan_from_yaml(HOSTILE[name])
    assert time.process_time() - start < 10.0  # seconds; it takes one at most
    assert "antigravity" not in sys.modules


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "flowtorch.yaml")
    with pytest.raises(
        ImportError, match=r"flowtorch.yaml: PyYAML is expected; pip install 'flowtorch\[cli\]' installs"
    ):
        importlib.import_module("flowtorch.yaml")
