"""Functions of flows in ONNX, run by onnxruntime: the same numbers to 1e-5 in float32, for any batch."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import onnxruntime
import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
from flowtorch.errors import NotSupportedError
from flowtorch.export import to_onnx
from flowtorch.export.onnx import Written
from tests.export.shared import LINEAR, MADE, NET, SPLINE, furthest, inputs, make, wanted
from tests.maps import LEARNABLE

FUNCTIONS: tuple[Written, ...] = ("log_prob", "forward", "inverse")


def run(path: Path, given: list[torch.Tensor]) -> list[torch.Tensor]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    found = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, given, strict=True)})
    return [torch.from_numpy(f) for f in found]


def agrees(flow: dist.Flow, function: Written, path: Path) -> None:
    to_onnx(flow, path, function)
    for count in (1, 2, 7):
        given = inputs(flow, function, count)
        assert furthest(run(path, given), wanted(flow, function, given)) <= 1e-5


def test_a_spline_coupling_flow_with_a_context(tmp_path: Path) -> None:
    flow, path = make(SPLINE, context=True), tmp_path / "a.onnx"
    agrees(flow, "log_prob", path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("value", ["batch", 3]), ("context", ["batch", 2])]
    assert [(o.name, o.shape) for o in session.get_outputs()] == [("log_prob", ["batch"])]
    assert os.listdir(tmp_path) == ["a.onnx"]


@pytest.mark.parametrize("function", [pytest.param("forward", marks=pytest.mark.slow), "inverse"])
def test_every_matrix(function: Written, tmp_path: Path) -> None:
    agrees(make(LINEAR, (4,)), function, tmp_path / "a.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_matrix_that_a_context_gives(function: Written, tmp_path: Path) -> None:
    agrees(make(LINEAR, (4,), context=True), function, tmp_path / "a.onnx")


ARRAYS: dict[str, tuple[bij.Bijector, tuple[int, ...]]] = {
    "channels": (bij.GeneralizedChannelPermute(), (3, 2, 2)),
    "cosines": (bij.DiscreteCosine(), (4,)),
    "haar": (bij.Haar(), (1, 4, 4)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ARRAYS)
def test_matrices_along_the_axes_of_arrays(name: str, tmp_path: Path) -> None:
    plan, shape = ARRAYS[name]
    for function in FUNCTIONS[1:]:
        agrees(make(plan, shape), function, tmp_path / "a.onnx")


# Those of this library's own with a formula in both directions.
MAPS = {
    name: plan
    for name, plan in LEARNABLE.items()
    if (name in ("shift", "scale", "signed power") or name.startswith("affine") or "spline" in name)
    and " of " not in name
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MAPS)
def test_couplings(name: str, tmp_path: Path) -> None:
    base = {"circular": dist.UniformCircle(2), "box": dist.BoxUniform(2, -1.0, 2.5)}
    flow = make(bij.Coupling(MAPS[name], NET), (2,), base=next((base[kind] for kind in base if kind in name), None))
    for function in FUNCTIONS[1:]:
        agrees(flow, function, tmp_path / "a.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", ["affine", "rational quadratic spline"])
def test_autoregressive_maps_in_both_directions(name: str, function: Written, tmp_path: Path) -> None:
    agrees(make(bij.Invert(bij.Autoregressive(MAPS[name], MADE)), context=True), function, tmp_path / "a.onnx")


# The file ------------------------------------------------------------------------------------------------------------

SMALL = bij.AffineFixed(loc=1.0, scale=2.0)


def test_a_file_is_replaced_by_a_whole_one_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.onnx"
    path.write_text("another")
    to_onnx(make(SMALL), path, "forward")
    given = inputs(make(SMALL), "forward", 3)
    assert torch.equal(run(path, given)[0], 2.0 * given[0] + 1.0)
    old = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        to_onnx(make(SMALL), path, "inverse")
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["a.onnx"]


def test_what_onnx_cannot_say_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    flow = make(bij.Compose([bij.Sigmoid(), bij.Invert(bij.CDF("normal"))]))
    with pytest.raises(NotSupportedError, match=r"to_onnx: 'forward' in operators .* got prims.ndtri, in a"):
        to_onnx(flow, tmp_path / "a.onnx", "forward")
    with pytest.raises(NotSupportedError, match="draws no random numbers is expected; got 'sample'"):
        to_onnx(flow, tmp_path / "a.onnx", "sample")  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


def test_without_the_library_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"flowtorch.export: .* expected; pip install 'flowtorch\[export\]' installs"):
        to_onnx(make(SMALL), tmp_path / "a.onnx")
