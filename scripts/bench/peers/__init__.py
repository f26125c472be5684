"""The libraries that take part, a file each, with ``build(case)`` returning a model or raising ``NotOffered``."""

from __future__ import annotations

import importlib
from typing import cast

import torch

from ..cases import Case
from ..model import Model, TorchModel

# What the tables call them -> the file. The first is what the others are compared with.
LIBRARIES = {
    "flowtorch": "flowtorch",
    "flowtorch, bfloat16": "flowtorch_bfloat16",
    "zuko": "zuko",
    "nflows": "nflows",
    "normflows": "normflows",
    "pyro": "pyro",
    "FlowJAX": "flowjax",
    "matrix products": "limit",
}
OURS, REMOTE, LIMIT = "flowtorch", ("FlowJAX",), "matrix products"
NOT_PEERS = ("flowtorch", "flowtorch, bfloat16", *REMOTE, LIMIT)  # a peer is a library for PyTorch


def build(library: str, case: Case) -> Model:
    """Returns the model, checked. Raises ImportError if the library is missing, ``NotOffered`` if it has none such."""
    module = importlib.import_module(f"{__name__}.{LIBRARIES[library]}")
    # zuko and Pyro set this global, to different values, when they are imported.
    torch.distributions.Distribution.set_default_validate_args(False)
    torch.manual_seed(0)
    model = cast(Model, module.build(case))
    if isinstance(model, TorchModel):
        model.perturb()
    model.check(case)
    return model
