"""Finds and loads the compiled kernels.

``capability`` is the instruction set in use, None if the kernels are not; ``reason`` says why.
"""

from __future__ import annotations

import ctypes
import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch

NOT_BUILT = "not built: install with --no-build-isolation, a C++ compiler, and torch 2.10 or newer"


def _load() -> tuple[str | None, str]:
    """Loads the library, if it was built and is wanted; its operators are then ``torch.ops.flowtorch``."""
    if os.environ.get("FLOWTORCH_KERNELS") == "reference":
        return None, "FLOWTORCH_KERNELS=reference"
    here = Path(__file__).parent
    path = next((p for p in (here / f"_kernels{suffix}" for suffix in EXTENSION_SUFFIXES) if p.exists()), None)
    if path is None:
        return None, NOT_BUILT
    try:
        torch.ops.load_library(path)
        library = ctypes.CDLL(str(path))
    except OSError as error:  # this torch is older than the headers they were built with promise
        return None, f"not loaded: {error}"
    library.flowtorch_capability.restype = library.flowtorch_built_with.restype = ctypes.c_char_p
    return library.flowtorch_capability().decode(), f"built with torch {library.flowtorch_built_with().decode()}"


capability, reason = _load()
