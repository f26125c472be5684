"""Peak memory of one repetition, as the operating system counts it, in a process that does nothing else."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from collections.abc import Callable
from pathlib import Path

# Set for the process before it starts: glibc then returns each large block at once, and takes it anew each time.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak(make_run: Callable[[], Callable[[], object]]) -> int:
    """Returns by how many bytes memory grows, at most, while what ``make_run`` returns runs for the first time.

    That contains everything a first repetition allocates: gradients and the optimiser's state too. Two repetitions of
    another one before, which is then dropped, leave code and caches loaded.
    """
    run = make_run()
    for _ in range(2):
        run()
    run = make_run()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
        _CLEAR.write_text("5")  # the high-water mark starts again from here
        before = _kilobytes("VmRSS")
        run()
        return max(0, _kilobytes("VmHWM") - before) * 1024
    # Elsewhere the mark cannot be reset: what the warm-up reached already is not seen.
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit


def limit(share: float = 0.7) -> None:
    """Makes this process fail, rather than the machine, where more than a share of what is free is asked for."""
    if sys.platform == "linux":
        free = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (int(share * 1024 * int(free.split()[1])), hard))


def _kilobytes(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1])
