"""Residual maps away from where they start, which several files of tests share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from flowtorch.bijectors import Bijector
from flowtorch.bijectors.residual import BoundResidual, ConvResidual, Residual
from flowtorch.testing import perturb

DENSE = Residual((9, 8))
IMAGES = ConvResidual((4, 3))
BOTH = pytest.mark.parametrize(
    ("plan", "shape"), [(DENSE, (4,)), (DENSE, (2, 3)), (IMAGES, (2, 2, 3))], ids=["vectors", "matrices", "images"]
)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def make(
    plan: Bijector, shape: tuple[int, ...], context: tuple[int, ...] | None = None, scale: float = 2.0
) -> BoundResidual:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bound = plan.bind(shape, context).double()
    perturb(bound, torch.Generator().manual_seed(0), scale)
    assert isinstance(bound, BoundResidual)
    return bound


def like(bound: BoundResidual, **changes: Any) -> BoundResidual:
    """The same parameters under other options."""
    other = make(replace(bound.plan, **changes), tuple(bound.shape), bound.context_shape)
    other.load_state_dict(bound.state_dict())
    return other


class Counted:
    """Counts the calls of a method of a class."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        self.calls, method = 0, getattr(owner, name)

        def counting(*args: Any) -> Any:
            self.calls += 1
            return method(*args)

        monkeypatch.setattr(owner, name, counting)
