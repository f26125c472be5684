"""Flows for other runtimes: programs of ``torch.export``, and ONNX (extra ``export``)."""

from .onnx import to_onnx as to_onnx
from .program import to_program as to_program

__all__ = [
    "to_onnx",
    "to_program",
]
