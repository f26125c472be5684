"""``show_config`` says which forms run, and why; the environment decides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import flowtorch
from flowtorch._native import loader
from flowtorch._triton import loader as triton

ROOT = Path(flowtorch.__file__).parent.parent
SPLINE = """
import sys, torch, flowtorch
flowtorch.show_config()
x, w, d = torch.linspace(-4, 4, 67), torch.linspace(-1, 2, 67 * 8).reshape(67, 8), torch.ones(67, 7).cumsum(1)
inputs = [t.requires_grad_() for t in (x, w, w.flip(1).clone().detach(), d)]
results = flowtorch.ops.rational_quadratic_spline(*inputs)
torch.save([*results, *torch.autograd.grad(sum(r.sum() for r in results), inputs)], sys.argv[1])
"""


def run(tmp_path: Path, **environment: str) -> tuple[str, list[torch.Tensor]]:
    """What a process of its own prints, and computes."""
    path = tmp_path / "results.pt"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SPLINE, str(path)],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, torch.load(path)


def test_it_prints_the_versions_and_every_fused_op(capsys: pytest.CaptureFixture[str]) -> None:
    flowtorch.show_config()
    printed = capsys.readouterr().out
    assert f"torch {torch.__version__}" in printed and loader.reason in printed
    cpu, cuda = ("reference" if kernels.capability is None else "fused" for kernels in (loader, triton))
    for name in ("affine", "rational_linear_spline", "rational_quadratic_spline"):
        assert f"{name} {cpu} {cuda} reference" in " ".join(printed.split())
    assert f"tanh {cpu} reference reference" in " ".join(printed.split())
    assert triton.reason in printed


def test_without_kernels_it_says_why(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for kernels in (loader, triton):
        monkeypatch.setattr(kernels, "capability", None)
        monkeypatch.setattr(kernels, "reason", f"the reason of {kernels.__name__}")
    flowtorch.show_config()
    printed = capsys.readouterr().out
    assert "CPU kernels: none (the reason of flowtorch._native.loader)" in printed
    assert "CUDA kernels: none (the reason of flowtorch._triton.loader)" in printed
    assert "fused" not in printed.replace("a fused form", "")


def test_a_library_that_does_not_load_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWTORCH_KERNELS", raising=False)
    (tmp_path / "_kernels.abi3.so").write_bytes(b"not a library")
    monkeypatch.setattr(loader, "__file__", str(tmp_path / "loader.py"))
    capability, reason = loader._load()
    assert capability is None and reason.startswith("not loaded: ")
    (tmp_path / "_kernels.abi3.so").unlink()
    assert loader._load() == (None, loader.NOT_BUILT)
    monkeypatch.setenv("FLOWTORCH_KERNELS", "reference")
    assert loader._load() == (None, "FLOWTORCH_KERNELS=reference")


@pytest.mark.slow
@pytest.mark.skipif(loader.capability is None, reason="no compiled kernels")
def test_the_environment_chooses_and_results_agree(tmp_path: Path) -> None:
    printed, expected = run(tmp_path, FLOWTORCH_KERNELS="reference")
    assert "CPU kernels: none (FLOWTORCH_KERNELS=reference)" in printed
    for wanted in ("default", "avx2", "avx512"):
        printed, results = run(tmp_path, ATEN_CPU_CAPABILITY=wanted)
        if wanted == "default":
            assert "CPU kernels: DEFAULT" in printed
        torch.testing.assert_close(results, expected, rtol=1e-3, atol=1e-4)
