"""Functions of a flow as programs of ``torch.export``, which run without flowtorch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch.export import Dim, ExportedProgram

from .. import options
from ..distributions import Flow
from ..errors import FlowTorchError, NotSupportedError

Function: TypeAlias = Literal["log_prob", "forward", "inverse", "sample", "rsample_and_log_prob"]

# The names of what a function takes beside a context, and of what it gives.
SIGNATURES: dict[Function, tuple[str, tuple[str, ...]]] = {
    "log_prob": ("value", ("log_prob",)),
    "forward": ("x", ("y", "log_det")),
    "inverse": ("y", ("x", "log_det")),
    "sample": ("count", ("sample",)),
    "rsample_and_log_prob": ("count", ("sample", "log_prob")),
}


def to_program(
    flow: Flow, function: Function = "log_prob", *, context_dtype: torch.dtype | None = None
) -> ExportedProgram:
    """Returns a function of a flow as a program of ``torch.export``.

    ========================  =====================  =========================
    function                  takes                  gives
    ========================  =====================  =========================
    ``log_prob``              ``value``              ``log_prob``
    ``forward``               ``x``, noise           ``(y, log_det)``, data
    ``inverse``               ``y``, data            ``(x, log_det)``, noise
    ``sample``                ``count``, an ``int``  ``sample``
    ``rsample_and_log_prob``  ``count``, an ``int``  ``(sample, log_prob)``
    ========================  =====================  =========================

    and then, where the flow has one, a ``context``. Tensors have one batch dimension of any size, which comes first,
    the same in both; the two last functions draw ``count`` times for each context. The program needs torch alone: fused
    kernels are left out of it. The sequential direction of an autoregressive plan is unrolled, one step a coordinate,
    and so are the steps of numerical inverses, some hundred for each layer, which take minutes to export.

    Args:
        flow: the flow; the program does what it does after ``flow.eval()``, and does not validate.
        function: which function.
        context_dtype: that of the context, if it is not the parameters'.

    Returns:
        The program; ``program.module()`` is called, ``torch.export.save`` writes it.

    Raises:
        NotSupportedError: if ``torch.export`` cannot follow it, as where a base draws until it accepts.

    Example:
        >>> import flowtorch.bijectors as bij
        >>> from flowtorch.distributions import DiagNormal
        >>> program = to_program(Flow(DiagNormal(2), bij.Affine()), "log_prob")
        >>> program.module()(torch.zeros(7, 2)).shape
        torch.Size([7])

    References:
        torch.export, https://docs.pytorch.org/docs/stable/export.html
    """
    options.instance("to_program", "flow", flow, Flow)
    options.one_of("to_program", "function", function, tuple(SIGNATURES))
    made = example(flow, function, context_dtype)
    try:
        with _evaluating(flow):
            return torch.export.export(Part(flow, function), made.inputs, dynamic_shapes=made.dynamic, strict=False)
    except FlowTorchError:
        raise
    except Exception as error:  # torch's own, of many kinds
        raise NotSupportedError(
            f"to_program: a function that torch.export can follow is expected; got {function!r} of a flow of "
            f"{type(flow.plan).__name__} from {type(flow.base).__name__}: {' '.join(str(error).split()):.200}."
        ) from error


class Part(torch.nn.Module):
    """One function of a flow as the ``forward`` of a module."""

    def __init__(self, flow: Flow, function: Function) -> None:
        super().__init__()
        self.flow, self.function = flow, function
        self.training = flow.training

    def forward(self, given: Any, context: torch.Tensor | None = None) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Returns what the function does."""
        flow = self.flow
        if self.function == "log_prob":
            return flow.log_prob(given, context)
        if self.function == "sample":
            return flow.sample((given,), context)
        if self.function == "rsample_and_log_prob":
            return flow.rsample_and_log_prob((given,), context)
        bound, context = flow.bijector, flow._context(context, self.function)
        return (bound.forward_and_log_det if self.function == "forward" else bound.inverse_and_log_det)(given, context)


class Example(NamedTuple):
    """Inputs to trace a function with, and their names."""

    inputs: tuple[torch.Tensor | int, ...]
    dynamic: tuple[object, ...]
    names: tuple[str, ...]


def example(flow: Flow, function: Function, context_dtype: torch.dtype | None) -> Example:
    """Returns inputs of a function; their values do not matter."""
    name = SIGNATURES[function][0]
    tensors = (*flow.parameters(), *flow.buffers())
    like = next((t for t in tensors if t.is_floating_point()), torch.empty(0))
    batch = {0: Dim("batch")}
    inputs: list[torch.Tensor | int] = [3]  # neither 0 nor 1, which torch takes for constants
    dynamic: list[object] = [Dim.DYNAMIC]
    if name != "count":
        event = flow.bijector.shape if function == "forward" else flow.event_shape
        inputs, dynamic = [like.new_full((3, *flow.batch_shape, *event), 0.5)], [batch]
    if flow.context_shape is None:
        return Example(tuple(inputs), tuple(dynamic), (name,))
    context = like.new_zeros((3, *flow.batch_shape, *flow.context_shape), dtype=context_dtype or like.dtype)
    return Example((*inputs, context), (*dynamic, batch), (name, "context"))


@contextlib.contextmanager
def _evaluating(flow: Flow) -> Iterator[None]:
    """Puts a flow in evaluation mode, without validation, and back as it was."""
    modes = {part: part.training for part in flow.modules()}
    validating = flow._validate_args
    flow.eval()._validate_args = False
    try:
        yield
    finally:
        flow._validate_args = validating
        for part, mode in modes.items():
            part.training = mode
