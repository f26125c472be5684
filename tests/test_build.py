"""Installing: with kernels where they can be built, without them otherwise; and what the kernels depend on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import flowtorch
from flowtorch._native import loader

ROOT = Path(flowtorch.__file__).parent.parent
LIBRARY = Path(loader.__file__).with_name("_kernels.abi3.so")
pytestmark = pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="flowtorch is installed without its sources")
# As where packages are built in an environment of their own.
WITHOUT_TORCH = """
import importlib.util, runpy, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "torch" else find(name, *a)
sys.argv[0] = "setup.py"
runpy.run_path("setup.py", run_name="__main__")
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of what a package is built from, without what was built before."""
    folder = tmp_path / "sources"
    shutil.copytree(ROOT / "flowtorch", folder / "flowtorch", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def build(sources: Path, *command: str, **environment: str) -> tuple[int, str, list[str]]:
    """The exit code and output of a build, and the libraries it made."""
    done = subprocess.run(
        [sys.executable, *command, "build", "--build-lib", "made"],
        cwd=sources,
        env={**os.environ, "FLOWTORCH_BUILD": "", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode or (sources / "made/flowtorch/__init__.py").is_file()
    return done.returncode, done.stdout, [p.name for p in sources.glob("made/**/*.so")]


def test_without_torch_there_are_no_kernels(sources: Path) -> None:
    code, output, libraries = build(sources, "-c", WITHOUT_TORCH)
    assert (code, libraries) == (0, []) and "without compiled kernels: torch is not installed" in output
    code, output, _ = build(sources, "-c", WITHOUT_TORCH, FLOWTORCH_BUILD="require")
    assert code and "FLOWTORCH_BUILD=require" in output and "torch is not installed" in output


def test_without_a_compiler_there_are_no_kernels(sources: Path) -> None:
    missing = {"CC": "no-such-compiler", "CXX": "no-such-compiler"}
    code, output, libraries = build(sources, "setup.py", **missing)
    assert (code, libraries) == (0, []) and "flowtorch._native._kernels" in output
    code, output, _ = build(sources, "setup.py", FLOWTORCH_BUILD="require", **missing)
    assert code and "no-such-compiler" in output


def test_kernels_can_be_left_out(sources: Path) -> None:
    assert build(sources, "setup.py", FLOWTORCH_BUILD="skip")[::2] == (0, [])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="no compiler")
def test_kernels_are_built_without_warnings(sources: Path) -> None:
    flags = "-Wall -Wextra -Werror"
    code, output, libraries = build(sources, "setup.py", FLOWTORCH_BUILD="require", CFLAGS=flags, CXXFLAGS=flags)
    assert (code, libraries) == (0, ["_kernels.abi3.so"]), output


@pytest.mark.skipif(not LIBRARY.is_file() or shutil.which("nm") is None, reason="no compiled kernels, or no nm")
def test_the_library_needs_only_what_torch_promises_to_keep() -> None:
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", LIBRARY], capture_output=True, text=True, check=True
    ).stdout
    names = [line.split()[-1] for line in listed.splitlines()]
    foreign = [
        n for n in names if "@" not in n and not n.startswith(("_ITM_", "__gmon"))
    ]  # "@": libc's and libstdc++'s
    assert any(n.startswith("aoti_torch_") for n in foreign)
    assert [n for n in foreign if not re.match(r"(aoti_)?torch_[a-z_0-9]+$", n)] == []


@pytest.mark.skipif(not LIBRARY.is_file() or shutil.which("nm") is None, reason="no compiled kernels, or no nm")
def test_nothing_compiled_for_one_instruction_set_can_stand_in_for_another() -> None:
    # A function with external linkage that two instruction sets share is kept once by the linker, whichever it finds.
    listed = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], capture_output=True, text=True, check=True).stdout
    assert not [line for line in listed.splitlines() if re.search(r"Maths|Tile|spline|quadratic|affine_", line)]
    # Nor do the kernels include code that another translation unit has too; call.h, which does, is not for them.
    seen, todo = set(), ["kernels.cpp"]
    while todo:
        text = (ROOT / "flowtorch/_native" / todo.pop()).read_text()
        assert set(re.findall(r"#include <(.*)>", text)) <= {"cstdint"}
        new = set(re.findall(r'#include "(.*)"', text)) - seen
        seen |= new
        todo += new
    assert "tile.h" in seen and "call.h" not in seen
