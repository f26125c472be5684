"""Block autoregressive maps away from where they start, which several files of tests share."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from flowtorch.bijectors.block_autoregressive import BlockAutoregressive, BoundBlockAutoregressive
from flowtorch.ops.block import ACTIVATIONS
from flowtorch.testing import perturb

Context = tuple[int, ...] | None
RESIDUALS: tuple[Any, ...] = ("gated", "normal", None)
FORMS = list(itertools.product(ACTIVATIONS, RESIDUALS))
every_form = pytest.mark.parametrize(("activation", "residual"), FORMS)


def bind(
    plan: BlockAutoregressive,
    shape: tuple[int, ...] = (3,),
    context_shape: Context = None,
    *,
    dtype: torch.dtype = torch.float64,
    scale: float = 0.5,
) -> BoundBlockAutoregressive:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bound = plan.bind(shape, context_shape)
    perturb(bound, torch.Generator().manual_seed(1), scale)
    assert isinstance(bound, BoundBlockAutoregressive)
    return bound.to(dtype)


def points(*shape: int, seed: int = 2) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
