"""What exporting is refused for; what ONNX has no operator for is in tests/export/test_onnx.py, next to what it has."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
from flowtorch.errors import NotSupportedError, OptionError, OptionTypeError
from flowtorch.export import to_onnx, to_program

FLOW = dist.Flow(dist.DiagNormal(2), bij.Affine())


def writing(flow: Any, *arguments: Any, **options: Any) -> Callable[[], object]:
    def call() -> object:
        with tempfile.TemporaryDirectory() as folder:
            return to_onnx(flow, f"{folder}/a.onnx", *arguments, **options)

    return call


class Peculiar(torch.nn.Module):
    """A network that looks at its numbers, which no program can follow."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if float(x.sum()) > 0.0 else -x


PECULIAR = dist.Flow(dist.DiagNormal(2), bij.Affine(), context_shape=(3,), embedding=Peculiar())

REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionTypeError: {
        "to_program: flow is expected to be a Flow; got": lambda: to_program(bij.Affine()),  # type: ignore[arg-type]
        "to_onnx: flow is expected to be a Flow; got": writing(bij.Affine()),
    },
    OptionError: {
        "to_program: function is expected to be one of 'log_prob', 'forward', 'inverse', 'sample'": lambda: to_program(
            FLOW,
            "cdf",  # type: ignore[arg-type]
        ),
        "to_onnx: function is expected to be one of 'log_prob', 'forward', 'inverse'; got 'cdf'": writing(FLOW, "cdf"),
    },
    NotSupportedError: {
        "to_onnx: a function that draws no random numbers is expected; got 'sample'": writing(FLOW, "sample"),
        "to_onnx: 'log_prob' in operators that ONNX has is expected; got prims.ndtri": writing(
            dist.Flow(dist.DiagNormal(2), bij.CDF("normal"))
        ),
        "to_program: a function that torch.export can follow is expected; got 'log_prob' of a flow of Affine from": (
            lambda: to_program(PECULIAR)
        ),
        "Flow.rsample_and_log_prob: a base with rsample is expected; got VonMises": (
            lambda: to_program(
                dist.Flow(torch.distributions.VonMises(torch.zeros(()), 1.0), bij.Affine()), "rsample_and_log_prob"
            )
        ),
    },
}
