"""What all tests here share: one thread, and torch's random state put back after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from flowtorch.distributions.base import _ARGUMENTS


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def _registry() -> Iterator[None]:
    """Forgets what a test registers."""
    before = dict(_ARGUMENTS)
    yield
    _ARGUMENTS.clear()
    _ARGUMENTS.update(before)
