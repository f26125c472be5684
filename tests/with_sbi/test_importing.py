"""Importing the part for sbi: without traces in torch, and with a word on what is missing."""

from __future__ import annotations

import subprocess
import sys

IMPORTS = """
import torch
assert torch.distributions.Distribution._validate_args is True
import flowtorch.sbi
assert torch.distributions.Distribution._validate_args is True
"""
MISSING = """
import sys
sys.modules["sbi"] = None
import flowtorch
try:
    import flowtorch.sbi
except ImportError as error:
    print(error)
"""


def run(program: str) -> str:
    ran = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_it_warns_of_nothing_and_leaves_torchs_checks_as_they_were() -> None:
    run(IMPORTS)


def test_without_sbi_the_error_says_how_to_get_it() -> None:
    assert run(MISSING) == "flowtorch.sbi: sbi is expected; pip install 'flowtorch[sbi]' installs it.\n"
