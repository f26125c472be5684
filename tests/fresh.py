"""Programs in a Python of their own, where nothing is imported yet."""

from __future__ import annotations

import subprocess
import sys

MISSING = """
import sys
sys.modules["{library}"] = None
import flowtorch
try:
    import {part}
except ImportError as error:
    print(error)
"""


def run(program: str) -> str:
    """What it prints; a warning is an error."""
    ran = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def said_without(library: str, part: str) -> str:
    """What importing a part of flowtorch says where a library is not installed."""
    return run(MISSING.format(library=library, part=part))
