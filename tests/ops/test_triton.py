"""The kernels for CUDA, without a GPU: interpreted they give what they should, compiled they fit into registers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import flowtorch
from flowtorch._native import loader as native
from flowtorch.ops import fused

ROOT = Path(flowtorch.__file__).parent.parent
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
THEIRS = "(affine or quadratic or linear)"
# Of every kind of test, with a few cases.
A_FEW = f"{THEIRS} and not (ends or exp or sigmoid or gated or unbounded)"


def in_a_process(*arguments: str, **environment: str) -> str:
    """What a process of its own prints, which must not fail."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "FLOWTORCH_"))}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**inherited, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def interpreted(which: str, *files: str) -> None:
    """Runs tests of fused forms with these kernels in the interpreter of Triton, which has to be there first."""
    command = "-m pytest -q -p no:cacheprovider -p tests.ops.triton_on_cpu".split()
    # NumPy's, of NaN; torch's, in forward mode and in the compiler.
    for ignored in ("invalid value encountered in cast", "`torch.jit.script(_method)?` is deprecated"):
        command += ["-W", f"ignore:{ignored}"]
    paths = [f"tests/ops/{file}" for file in files]
    printed = in_a_process(*command, "-k", which, *paths, TRITON_INTERPRET="1", FLOWTORCH_KERNELS="reference")
    assert " passed" in printed


@needs_triton
def test_programs_of_any_size_interpreted() -> None:
    interpreted("test", "triton_interpreted.py")


@needs_triton
def test_values_and_gradients_interpreted() -> None:
    tests = "(float64 or float32 or strides or broadcast or outside or fifty or nan or shape)"
    interpreted(f"{A_FEW} and {tests}", "test_fused_values.py")


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize("file", ["test_fused_values.py", "test_fused_derivatives.py", "test_fused_programs.py"])
def test_everything_interpreted(file: str) -> None:
    interpreted(f"{THEIRS} and not finite_differences or refuse", file)


# --- compiled


RESOURCES = """
import sys
sys.path.insert(0, "scripts")
import torch, triton_resources
for dtype, bins in ((torch.float32, 8), (torch.float64, 8), (torch.float32, 32)):
    for name, (variant, *_) in triton_resources.VARIANTS.items():
        for kernel, call in triton_resources.calls(name, bins, dtype, variant):
            print(name, kernel, dtype, bins, *triton_resources.resources(call, 80))
"""


@needs_triton
@pytest.mark.skipif(not (ROOT / "scripts").is_dir(), reason="flowtorch is installed without its sources")
def test_compiled_for_cuda_nothing_is_spilled(tmp_path: Path) -> None:
    lines = in_a_process("-c", RESOURCES, TRITON_CACHE_DIR=str(tmp_path)).splitlines()
    assert len(lines) == 18
    for line in lines:
        *_, registers, spills, _ = line.split()
        assert spills == "0" and 0 < int(registers) <= 168, line  # of 255


@needs_triton
@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "scripts").is_dir(), reason="flowtorch is installed without its sources")
def test_no_kernel_is_spilled(tmp_path: Path) -> None:
    bins = ("3", "8", "32")
    printed = in_a_process("scripts/triton_resources.py", "--bins", *bins, TRITON_CACHE_DIR=str(tmp_path))
    rows = [line.split() for line in printed.splitlines()[2:]]
    assert len(rows) == 16 * (3 + 2 * 3 * len(bins))  # dtypes, directions, kernels, architectures; variants
    assert [row for row in rows if row[-2] != "0"] == []


@needs_triton
@pytest.mark.skipif(not (ROOT / "scripts").is_dir(), reason="flowtorch is installed without its sources")
def test_what_is_spilled_is_seen(tmp_path: Path) -> None:
    # A program with too many numbers, so that a table of zeros means something.
    program = """
import sys
sys.path.insert(0, "scripts")
import torch, triton_resources
from flowtorch._triton import launch
launch._block = lambda constants, dtype: 1024
(_, call), _ = triton_resources.calls("rational_quadratic_spline", 8, torch.float64, "ends")
print(triton_resources.resources(call, 80).spills)
"""
    assert int(in_a_process("-c", program, TRITON_CACHE_DIR=str(tmp_path))) > 0


# --- where they run


LOADED = """
import sys, torch, flowtorch
from flowtorch.ops import fused
assert not fused._available("mixture", "cuda") and not fused._available("affine", "meta")
assert "triton" not in sys.modules
print(fused._available("affine", "cuda"), torch._C._dispatch_has_kernel_for_dispatch_key("flowtorch::affine", "CUDA"))
"""


@needs_triton
def test_triton_is_loaded_with_the_first_tensor_that_it_is_for() -> None:
    assert in_a_process("-c", LOADED).split() == ["True", "True"]


COMPILED = """
import torch, flowtorch
from flowtorch.ops import fused
traced = torch.compile(lambda x: x + fused._available("affine", "cuda"), fullgraph=True, backend="eager")
from flowtorch._native import loader as native
assert traced(torch.zeros(())) == (native.reason != "FLOWTORCH_KERNELS=reference")
from flowtorch._triton import loader
if loader.capability is None:
    loader.register("CUDA")
import flowtorch.ops._compiled
from torch._subclasses import FakeTensorMode

def cuda(bins, dtype=torch.float32):
    return torch.empty_strided((4, 3, bins), (3 * bins, 1, 3), dtype=dtype, device="cuda")

with FakeTensorMode():
    x = torch.empty(4, 3, device="cuda")
    arguments = x, cuda(8), cuda(8), cuda(7), 3.0, 1e-3, 1e-3, 1e-3, False
    results = torch.ops.flowtorch.rational_quadratic_spline(*arguments)
    results += torch.ops.flowtorch.rational_quadratic_spline_backward(x, None, *arguments)
    with torch.autocast("cuda", torch.bfloat16):
        results += torch.ops.flowtorch.rational_quadratic_spline(x, cuda(8, torch.bfloat16), *arguments[2:])
for result in results:
    print(result.device.type, result.dtype, *result.stride())
"""


@needs_triton
@pytest.mark.parametrize("kernels", ["", "reference"])  # the second as where there is no compiler
def test_the_compiler_meets_the_operators_for_cuda(kernels: str) -> None:
    expected = ["cuda torch.float32 3 1"] * 3 + [f"cuda torch.float32 {n} 1 3" for n in (24, 24, 21)]
    printed = in_a_process("-W", "ignore", "-c", COMPILED, FLOWTORCH_KERNELS=kernels)
    assert printed.splitlines() == expected + ["cuda torch.float32 3 1"] * 2


WITHOUT = """
import importlib.util, sys, torch, flowtorch
from flowtorch.ops import fused
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "triton" else find(name, *a)
assert not fused._available("affine", "cuda")
flowtorch.show_config()
"""


def test_without_triton_the_reference_forms_run() -> None:
    assert "CUDA kernels: none (Triton is not installed)" in in_a_process("-c", WITHOUT)
    assert "CUDA kernels: none (FLOWTORCH_KERNELS=reference)" in in_a_process(
        "-c", WITHOUT, FLOWTORCH_KERNELS="reference"
    )


@needs_triton
def test_a_triton_or_a_gpu_that_does_not_fit_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from flowtorch._triton import loader

    monkeypatch.delenv("FLOWTORCH_KERNELS", raising=False)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "3.3.1")
    assert loader._load() == (None, "Triton 3.4 or newer is expected; got 3.3.1")
    monkeypatch.undo()
    monkeypatch.delenv("FLOWTORCH_KERNELS", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: ((9, 0), (6, 1))[device])
    assert loader._load() == (None, "GPUs of compute capability (7, 0) or newer are expected; got (6, 1)")

    def broken(key: str) -> None:
        raise ImportError("no such file")

    monkeypatch.undo()
    monkeypatch.delenv("FLOWTORCH_KERNELS", raising=False)
    monkeypatch.setattr(loader, "register", broken)
    assert loader._load() == (None, "Triton is not loaded: no such file")


@needs_triton
@pytest.mark.skipif(native.capability is None, reason="no compiled kernels")
def test_operators_are_defined_alike_by_both() -> None:
    from flowtorch._triton import loader

    for name, arguments in loader.ARGUMENTS.items():
        assert name in fused.CUDA
        schema = getattr(torch.ops.flowtorch, name).default._schema
        assert str(schema) == f"flowtorch::{name}({arguments}) -> (Tensor, Tensor)"
        tensors = ", ".join(["Tensor"] * arguments.count("Tensor "))
        schema = getattr(torch.ops.flowtorch, f"{name}_backward").default._schema
        given = f"Tensor? grad_value, Tensor? grad_log, {arguments}"
        assert str(schema) == f"flowtorch::{name}_backward({given}) -> ({tensors})"
    assert set(fused.CUDA) == set(loader.ARGUMENTS)


@needs_triton
def test_results_are_as_the_compiler_is_told() -> None:
    from flowtorch._triton import launch

    x, parameter = torch.empty(4, 3), torch.empty(4, 5, 3).transpose(1, 2)
    tensors = [x, parameter, parameter, parameter[..., :4]]
    call = launch.backward("rational_quadratic_spline", [x, None], tensors, (3.0, 1e-3, 1e-3, 1e-3, False))
    assert [r.stride() for r in call.results] == [(3, 1), (15, 1, 3), (15, 1, 3), (12, 1, 3)]
    assert call.programs == 1 and launch.forward("affine", [x[:0]] * 3, (0, 0.5, 0, 0, -5.0, 3.0, 0)).programs == 0
