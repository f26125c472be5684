"""Importing the part for sbi: without traces in torch, and with a word on what is missing."""

from __future__ import annotations

from tests.fresh import run, said_without

IMPORTS = """
import torch
assert torch.distributions.Distribution._validate_args is True
import flowtorch.sbi
assert torch.distributions.Distribution._validate_args is True
"""


def test_it_warns_of_nothing_and_leaves_torchs_checks_as_they_were() -> None:
    run(IMPORTS)


def test_without_sbi_the_error_says_how_to_get_it() -> None:
    assert (
        said_without("sbi", "flowtorch.sbi")
        == "flowtorch.sbi: sbi is expected; pip install 'flowtorch[sbi]' installs it.\n"
    )
