"""ONNX, or an error that says how to install it."""

from __future__ import annotations


def needs_onnx() -> None:
    """Refuses to go on without the libraries that write ONNX; programs of ``torch.export`` need none."""
    try:
        import onnx as onnx
        import onnxscript as onnxscript
    except ImportError as error:
        raise ImportError(
            "flowtorch.export: ONNX and ONNX Script are expected; pip install 'flowtorch[export]' installs them."
        ) from error
