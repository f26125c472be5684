"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    """One thread, the same random numbers in any order, and validation, which torch.compile and zuko turn off."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.distributions.Distribution.set_default_validate_args(True)
    yield
    torch.distributions.Distribution.set_default_validate_args(True)
