"""Compiles every kernel for CUDA as it would be called, without a GPU, and prints what it needs of one.

Registers are those of a thread: a program has 128 threads, a multiprocessor 65,536 registers. Spills are the bytes that
a thread keeps in memory for lack of registers; shared is the memory that the threads of a program have in common.

    python scripts/triton_resources.py                     every kernel, float32 and float64, sm_80 and sm_90
    python scripts/triton_resources.py --bins 8 --arch 90  some of them
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import create_function_from_signature

from flowtorch._triton import launch

BINS, ARCHITECTURES = (1, 2, 3, 8, 16, 32, 64, 128), (80, 90)
DTYPES = {"float32": torch.float32, "float64": torch.float64}
# Derivatives are given at inner knots, or at the ends of the box too; or the bins lie side by side in memory, where
# otherwise, as conditioners lay parameters out, the coordinates do.
SPLINES = ("inner", "ends", "together")
VARIANTS = {
    "affine": ("softplus", "exp", "sigmoid"),
    "rational_linear_spline": SPLINES,
    "rational_quadratic_spline": SPLINES,
}
CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"


class Resources(NamedTuple):
    """What a kernel needs."""

    registers: int
    spills: int
    shared: int


def calls(
    name: str, bins: int, dtype: torch.dtype, variant: str, inverse: bool = False
) -> Iterator[tuple[str, launch.Call]]:
    """The forward and the backward kernel of an op."""
    x = torch.empty(64, 16, dtype=dtype)
    if name == "affine":
        tensors, options = [x, x, x], (VARIANTS[name].index(variant), 0.5, False, False, -5.0, 3.0, inverse)
    else:
        entries = [bins, bins, bins + (1 if variant == "ends" else -1), *([bins] if "linear" in name else [])]
        tensors = [x, *(torch.empty(64, n, 16, dtype=dtype).transpose(1, 2) for n in entries)]
        if variant == "together":
            tensors = [t.contiguous() for t in tensors]
        options = (3.0, 1e-3, 1e-3, 1e-3, *([0.025] if "linear" in name else []), inverse)
    yield "forward", launch.forward(name, tensors, options)
    yield "backward", launch.backward(name, [x, x], tensors, options)


def source(call: launch.Call, target: GPUTarget) -> ASTSource:
    """What the just-in-time compiler makes of a call: which arguments are constants, or known to be multiples of 16."""
    kernel, backend = call.kernel, make_backend(target)
    bind = create_function_from_signature(kernel.signature, kernel.params, backend)
    arguments, specialization, given = bind(*call.arguments, **call.constants)
    _, signature, constants, attributes = kernel._pack_args(backend, given, arguments, specialization, given)
    return ASTSource(kernel, signature, constants, attributes)


def resources(call: launch.Call, architecture: int) -> Resources:
    """Compiles a kernel, and asks the tool that comes with Triton what it needs."""
    target = GPUTarget("cuda", architecture, 32)
    compiled = triton.compile(source(call, target), target=target)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [str(CUOBJDUMP), "--dump-resource-usage", file.name]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    numbers = dict(re.findall(r"(REG|STACK|LOCAL|SHARED):(\d+)", printed))
    # Of what is spilled, and only of that here, the stack is made; LOCAL is 0 even where much is.
    spills = int(numbers["LOCAL"]) + int(numbers["STACK"])
    return Resources(int(numbers["REG"]), spills, compiled.metadata.shared)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bins", type=int, nargs="+", default=BINS)
    parser.add_argument("--arch", type=int, nargs="+", default=ARCHITECTURES)
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--op", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    given = parser.parse_args()
    print(f"Triton {triton.__version__}")
    print(
        f"{'op':<27}{'variant':<10}{'bins':>4} {'dtype':<9}{'direction':<9} {'kernel':<9}"
        f"{'arch':>5}{'registers':>11}{'spills':>8}{'shared':>8}"
    )
    for name, dtype, inverse in product(given.op, given.dtype, (False, True)):
        direction = "inverse" if inverse else "forward"
        for variant, bins in product(VARIANTS[name], given.bins if name != "affine" else [0]):
            made = calls(name, bins, DTYPES[dtype], variant, inverse)
            for (kernel, call), architecture in product(made, given.arch):
                needed = resources(call, architecture)
                print(
                    f"{name:<27}{variant:<10}{bins or '-':>4} {dtype:<9}{direction:<9} {kernel:<9}"
                    f"sm_{architecture}{needed.registers:>10}{needed.spills:>8}{needed.shared:>8}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
