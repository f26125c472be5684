"""Finds Triton, and gives the operators of the kernels that are written in it their implementation for CUDA.

``capability`` is its version, None if the kernels are not in use; ``reason`` says why. Not for import before there is a
tensor to work on: Triton takes a while to load.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Callable
from typing import Any

import torch

LEAST, LEAST_GPU = (3, 4), (7, 0)
_SPLINE = "Tensor x, Tensor widths, Tensor heights, Tensor derivatives, "
_BOX = "float bound, float min_bin_width, float min_bin_height, float min_derivative, "
# What the operators take, as in _native/register.cpp.
ARGUMENTS = {
    "affine": "Tensor x, Tensor loc, Tensor raw_scale, int scale_fn, float shift, bool gated, bool clamp_values, "
    "float least, float most, bool inverse",
    "rational_linear_spline": f"{_SPLINE}Tensor lambdas, {_BOX}float min_lambda, bool inverse",
    "rational_quadratic_spline": f"{_SPLINE}{_BOX}bool inverse",
}
_LIBRARY = torch.library.Library("flowtorch", "FRAGMENT")  # what it registers lasts as long as it does


def register(key: str) -> None:
    """Makes the kernels the implementation of their operators under a dispatch key, and defines those if need be."""
    from . import launch

    for name, arguments in ARGUMENTS.items():
        count = arguments.count("Tensor ")

        def run(*given: Any, name: str = name, count: int = count) -> tuple[torch.Tensor, ...]:
            return launch.run(launch.forward(name, given[:count], given[count:]))

        def run_backward(*given: Any, name: str = name, count: int = count) -> tuple[torch.Tensor, ...]:
            return launch.run(launch.backward(name, given[:2], given[2 : count + 2], given[count + 2 :]))

        gradients = ", ".join(["Tensor"] * count)
        _implement(key, name, f"({arguments}) -> (Tensor, Tensor)", run)
        _implement(key, f"{name}_forward", f"({arguments}) -> (Tensor, Tensor)", run)
        signature = f"(Tensor? grad_value, Tensor? grad_log, {arguments}) -> ({gradients})"
        _implement(key, f"{name}_backward", signature, run_backward)


def _implement(key: str, name: str, signature: str, run: Callable[..., tuple[torch.Tensor, ...]]) -> None:
    if not hasattr(torch.ops.flowtorch, name):  # the kernels for the CPU define them too
        _LIBRARY.define(name + signature)
    _LIBRARY.impl(name, run, key)


def _load() -> tuple[str | None, str]:
    """Imports the kernels, if they are wanted and Triton is there."""
    if os.environ.get("FLOWTORCH_KERNELS") == "reference":
        return None, "FLOWTORCH_KERNELS=reference"
    if importlib.util.find_spec("triton") is None:
        return None, "Triton is not installed"
    try:
        version = importlib.metadata.version("triton")
        if tuple(map(int, re.findall(r"\d+", version)[:2])) < LEAST:
            return None, f"Triton {LEAST[0]}.{LEAST[1]} or newer is expected; got {version}"
        if torch.cuda.is_available():
            oldest = min(map(torch.cuda.get_device_capability, range(torch.cuda.device_count())))
            if oldest < LEAST_GPU:
                return None, f"GPUs of compute capability {LEAST_GPU} or newer are expected; got {oldest}"
        register("CUDA")
    except Exception as error:  # whatever is wrong with this Triton, the reference forms run
        return None, f"Triton is not loaded: {error}"
    return version, "not yet timed on a GPU"


capability, reason = _load()
