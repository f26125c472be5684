"""What scales are made of: ``raw_scale`` undoes ``log_scale``."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from flowtorch.ops import log_scale
from flowtorch.ops.raw_scale import raw_scale

OPTIONS: dict[str, dict[str, Any]] = {
    "softplus": {},
    "exp": {"scale_fn": "exp"},
    "sigmoid": {"scale_fn": "sigmoid", "sigmoid_bias": 0.5},
    "clamped": {"clamp_values": True, "log_scale_min_clip": -2.0, "log_scale_max_clip": 1.0},
    "other bounds": {"log_scale_min_clip": -2.0, "log_scale_max_clip": 1.0},
    "unbounded": {"log_scale_min_clip": -math.inf, "log_scale_max_clip": math.inf},
    "unbounded exp": {"scale_fn": "exp", "log_scale_min_clip": -math.inf, "log_scale_max_clip": math.inf},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_it_undoes_log_scale_within_the_bounds(name: str) -> None:
    options = OPTIONS[name]
    high = -0.05 if name == "sigmoid" else 0.95
    log_s = torch.linspace(-1.9, high, 41, dtype=torch.float64)
    raw = raw_scale(log_s, **options)
    torch.testing.assert_close(log_scale(raw, **options), log_s, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["softplus", "exp", "sigmoid", "clamped", "other bounds"])
def test_beyond_the_bounds_it_is_finite_and_stays_just_inside(name: str) -> None:
    options = OPTIONS[name]
    found = log_scale(raw_scale(torch.tensor([-100.0, 100.0], dtype=torch.float64), **options), **options)
    low, high = options.get("log_scale_min_clip", -5.0), options.get("log_scale_max_clip", 3.0)
    expected = [0.95 * low, 0.95 * high if name != "sigmoid" else -0.05]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)
