"""Builds the kernels for the CPU. Metadata is in setup.cfg.

They are compiled against the torch that is installed, so: ``pip install --no-build-isolation .``. Without torch or a
compiler the package is installed without them and runs the reference forms; ``FLOWTORCH_BUILD=require`` makes that an
error, ``FLOWTORCH_BUILD=skip`` does not try. ``flowtorch.show_config()`` says what came of it.
"""

import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

WISH = os.environ.get("FLOWTORCH_BUILD", "")
SOURCES = Path("flowtorch", "_native")
LEAST_TORCH = 2, 10  # the first with torch::stable::parallel_for

# Kernels are compiled once for each instruction set; the best that the processor has is chosen when they are loaded.
INSTRUCTION_SETS = {"Default": []}
if platform.machine() in ("x86_64", "AMD64"):
    INSTRUCTION_SETS["Avx2"] = ["-mavx2", "-mfma"]
    INSTRUCTION_SETS["Avx512"] = ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma"]


class BuildKernels(build_ext):
    """Compiles one source several times, with flags of its own each time."""

    def build_extension(self, ext):
        for name, flags in INSTRUCTION_SETS.items():
            ext.extra_objects += self.compiler.compile(
                [str(SOURCES / "kernels.cpp")],
                output_dir=str(Path(self.build_temp, name)),
                macros=[("FLOWTORCH_TABLE", f"k{name}Kernels"), ("FLOWTORCH_CAPABILITY", f'"{name.upper()}"')],
                extra_postargs=[*ext.extra_compile_args, *flags],
                depends=ext.depends,
            )
        super().build_extension(ext)


class PlainWheel(bdist_wheel):
    """A wheel for every Python: the kernels know nothing of Python."""

    def get_tag(self):
        _, _, system = super().get_tag()
        return "py3", "none", system


def kernels():
    """Returns the extension, or none with the reason."""
    if WISH == "skip":
        return [], "FLOWTORCH_BUILD=skip"
    if sys.platform == "win32":
        return [], "they need GCC or Clang, whose vectors they are written in"
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        return [], "torch is not installed where this is built; pip install --no-build-isolation sees the one in use"
    version = importlib.metadata.version("torch")
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < LEAST_TORCH:
        return [], f"torch 2.10 or newer is expected; got {version}"
    folder = Path(torch.origin).parent
    extension = Extension(
        "flowtorch._native._kernels",
        [str(SOURCES / "register.cpp")],
        library_dirs=[str(folder / "lib")],
        libraries=["torch_cpu"],
        depends=[*sorted(map(str, SOURCES.glob("*.h"))), str(SOURCES / "kernels.cpp")],
        define_macros=[
            ("TORCH_TARGET_VERSION", f"0x{LEAST_TORCH[0]:02x}{LEAST_TORCH[1]:02x}000000000000"),
            ("FLOWTORCH_TORCH_VERSION", f'"{version}"'),
        ],
        # -fno-math-errno: a square root is one instruction. -Wno-psabi: vectors are passed in no call.
        extra_compile_args=[
            f"-isystem{folder / 'include'}",
            "-std=c++17",
            "-O2",
            "-g0",
            "-fno-math-errno",
            "-fno-trapping-math",
            "-fvisibility=hidden",
            "-Wno-psabi",
        ],
        py_limited_api=True,
        language="c++",
        optional=WISH != "require",
    )
    return [extension], ""


found, why = kernels()
if why and WISH != "skip":
    if WISH == "require":
        raise SystemExit(f"flowtorch: FLOWTORCH_BUILD=require, but the kernels cannot be built: {why}.")
    print(f"flowtorch: installed without compiled kernels: {why}.", file=sys.stderr)
setup(ext_modules=found, cmdclass={"build_ext": BuildKernels, **({"bdist_wheel": PlainWheel} if found else {})})
