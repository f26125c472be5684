"""Functions of a flow in ONNX."""

from __future__ import annotations

import os
import re
import warnings
from typing import Literal, TypeAlias

import torch

from .. import options
from ..container import replacing
from ..distributions import Flow
from ..errors import NotSupportedError
from .extra import needs_onnx
from .folding import folded
from .program import SIGNATURES, Function, example, to_program

Written: TypeAlias = Literal["log_prob", "forward", "inverse"]
_MISSING = re.compile(r"No ONNX function found for <OpOverload\(op='(\w+)\.(\w+)'")


def to_onnx(
    flow: Flow,
    path: str | os.PathLike[str],
    function: Written = "log_prob",
    *,
    context_dtype: torch.dtype | None = None,
) -> None:
    r"""Writes a function of a flow as an ONNX model, whose runtimes need neither flowtorch nor torch.

    ============  =====================  =======================
    function      inputs                 outputs
    ============  =====================  =======================
    ``log_prob``  ``value``              ``log_prob``
    ``forward``   ``x``, noise           ``y``, data; ``log_det``
    ``inverse``   ``y``, data            ``x``, noise; ``log_det``
    ============  =====================  =======================

    and last among the inputs a ``context``, where the flow has one. All have one batch dimension, of any size of one or
    more, first. To sample, give ``forward`` draws from the base: a runtime's own random numbers differ from one to the
    next. The sequential direction of an autoregressive plan is unrolled, one step a coordinate; numerical inverses have
    too many steps for that.

    Args:
        flow: the flow; what is written is how it works after ``flow.eval()``.
        path: the file's name; a file of that name is replaced, by a whole one or not at all.
        function: which function.
        context_dtype: that of the context, if it is not the parameters'.

    Raises:
        NotSupportedError: if the function takes what ONNX has no operator for, which the message names.
        ImportError: without the libraries of the extra ``export``.
        OSError: if the file cannot be written.

    Example:
        >>> import tempfile, flowtorch.bijectors as bij
        >>> from flowtorch.distributions import DiagNormal, Flow
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     to_onnx(Flow(DiagNormal(2), bij.LU()), f"{folder}/density.onnx")

    References:
        Open Neural Network Exchange, https://onnx.ai/onnx/intro
    """
    needs_onnx()
    options.instance("to_onnx", "flow", flow, Flow)
    if function in ("sample", "rsample_and_log_prob"):
        raise NotSupportedError(
            f"to_onnx: a function that draws no random numbers is expected; got {function!r}. Export 'forward', and "
            "give it draws from the base."
        )
    options.one_of("to_onnx", "function", function, ("log_prob", "forward", "inverse"))
    model = _model(flow, function, context_dtype)
    with replacing(path) as file:
        file.write(model)


def _model(flow: Flow, function: Function, context_dtype: torch.dtype | None) -> bytes:
    made, program = example(flow, function, context_dtype), to_program(flow, function, context_dtype=context_dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch uses what it deprecates itself
            found = torch.onnx.export(
                folded(program),
                made.inputs,
                input_names=made.names,
                output_names=SIGNATURES[function][1],
                dynamic_shapes=made.dynamic,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        names = sorted({".".join(pair) for pair in _MISSING.findall(str(error))})
        raise NotSupportedError(
            f"to_onnx: {function!r} in operators that ONNX has is expected; got {', '.join(names) or 'others'}, in a "
            f"flow of {type(flow.plan).__name__}."
        ) from error
    assert found is not None  # it is without dynamo only
    content: bytes = found.model_proto.SerializeToString()
    return content
