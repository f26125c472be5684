"""On what, with what and when."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

DISTRIBUTIONS = ("torch", "zuko", "nflows", "normflows", "pyro-ppl", "flowjax", "jax", "numpy")


def describe(threads: int, clock: str) -> dict[str, object]:
    """Returns the machine, the versions, the date and how busy the machine is before the run."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": threads,
        "clock": clock,
        "system": f"{platform.system()} {platform.machine()}",
        "load average": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "FLOWTORCH_KERNELS": os.environ.get("FLOWTORCH_KERNELS", ""),
        "versions": {name: version for name in DISTRIBUTIONS if (version := _version(name))},
    }


def sentence(machine: dict[str, object]) -> str:
    """Returns the same for the foot of a table."""
    versions = machine["versions"]
    assert isinstance(versions, dict)
    threads = "1 thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {threads}, float32, {machine['clock']} time; "
        f"Python {machine['python']}, "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f"; {machine['date']}, commit {machine['commit']}; load average before the run {machine['load average']}."
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
