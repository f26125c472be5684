"""What all tests here share: a param store of their own, and torch's random state put back after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from flowtorch.pyro.extra import pyro


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]), pyro.get_param_store().scope():
        torch.manual_seed(0)
        yield
