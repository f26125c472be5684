"""This library, its networks in bfloat16."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import torch

from ..cases import Case
from ..model import NotOffered, TorchModel
from . import flowtorch

T = TypeVar("T")


def _autocast(function: Callable[[T], torch.Tensor]) -> Callable[[T], torch.Tensor]:
    @functools.wraps(function)
    def wrapped(argument: T) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return function(argument)

    return wrapped


def build(case: Case) -> TorchModel:
    """Returns the model."""
    if case.structure == "elementwise":
        raise NotOffered("there is no network")
    model = flowtorch.build(case)
    assert model.sample is not None and model.rsample is not None
    return TorchModel(model.parameters, _autocast(model.log_prob), _autocast(model.sample), _autocast(model.rsample))
