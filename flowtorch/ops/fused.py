"""Which form of an op runs: the reference form, which is plain PyTorch, or the fused form, which is one kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import torch

from .._native import loader
from ._modes import reference_backward, transformed
from ._slices import cut, sizes_if_joined

Results: TypeAlias = tuple[torch.Tensor, torch.Tensor]
Reference: TypeAlias = Callable[..., Results]
Options: TypeAlias = tuple[float | bool | int, ...]

MAX_BINS, MAX_DIMS = 128, 16  # as in _native/kernels.h

# The ops with a fused form, and whether their parameters have one axis, that of the bins, more than x.
FUSED = {
    "affine": False,
    "fixed": False,
    "mixture": True,
    "rational_linear_spline": True,
    "rational_quadratic_spline": True,
    "signed_power": False,
}
CUDA = ("affine", "rational_linear_spline", "rational_quadratic_spline")  # those that have one for CUDA too


def run(
    name: str, reference: Reference, x: torch.Tensor, parameters: Sequence[torch.Tensor], options: Options
) -> Results:
    """Runs the fused form of an op if it can take the place of the reference form here.

    Args:
        name: That of the op, and of its operator in ``torch.ops.flowtorch``.
        reference: The reference form as a function of ``x`` and the parameters.
        x: The points.
        parameters: The parameters; all shapes broadcast.
        options: What the operator takes after the tensors.

    Returns:
        What the reference form returns.
    """
    if _fits(name, x, parameters):
        return _run_fused(name, reference, x, parameters, options)
    return reference(x, *parameters)


# The maps that the operator ``fixed`` knows, in its order; see _native/fixed.h.
_NAMES = ("exp", "sigmoid", "tanh", "softplus", "elu", "leaky_relu", "softclip", "normal_cdf", "cauchy_cdf")
FIXED = {name: number for number, name in enumerate(_NAMES)}


def run_fixed(name: str, reference: Reference, x: torch.Tensor, a: float = 0.0, b: float = 0.0) -> Results:
    """Runs the fused form of a map without parameters if it can take the place of the reference form here.

    Args:
        name: That of the map.
        reference: The reference form as a function of ``x``.
        x: The points.
        a: The first option of the map.
        b: The second.

    Returns:
        What the reference form returns; that itself for dtypes narrower than float32, in which what float32 keeps
        inside of an interval rounds to its ends.
    """
    if (x.dtype == torch.float32 or x.dtype == torch.float64) and _fits("fixed", x, ()):
        return _call("fixed", reference, (FIXED[name], a, b), x)
    return reference(x)


def _fits(name: str, x: torch.Tensor, parameters: Sequence[torch.Tensor]) -> bool:
    device = x.device
    if not _available(name, device.type) or transformed():
        return False
    # An exported program has to run where flowtorch is not installed.
    if torch.compiler.is_exporting() or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]  # no types
        return False
    for tensor in (x, *parameters):
        if type(tensor) is not torch.Tensor and type(tensor) is not torch.nn.Parameter:
            return False
        if tensor.device != device or not tensor.is_floating_point() or tensor.dim() > MAX_DIMS:
            return False
    if not parameters:
        return True
    dtype = parameters[0].dtype
    return all(p.dtype == dtype for p in parameters) and not (FUSED[name] and parameters[0].shape[-1] > MAX_BINS)


def _available(name: str, device: str) -> bool:
    """Returns whether an op has a fused form for a type of device in this installation."""
    if device == "cpu":
        return loader.capability is not None
    if device != "cuda" or name not in CUDA:
        return False
    from .._triton import loader as triton  # not before: it loads Triton

    return triton.capability is not None


def _run_fused(
    name: str, reference: Reference, x: torch.Tensor, parameters: Sequence[torch.Tensor], options: Options
) -> Results:
    dtype = torch.promote_types(x.dtype, parameters[0].dtype)
    wide = dtype if dtype in (torch.float32, torch.float64) else torch.float32
    x, *parameters = (t if t.dtype == wide else t.to(wide) for t in (x, *parameters))
    bins = FUSED[name]
    shapes = [p.shape[:-1] if bins else p.shape for p in parameters]
    if any(shape != x.shape for shape in shapes):
        shape = torch.broadcast_shapes(x.shape, *shapes)  # type: ignore[no-untyped-call,unused-ignore]  # no types here
        x = x.expand(shape)
        parameters = [p.expand(*shape, p.shape[-1]) if bins else p.expand(shape) for p in parameters]
    value, log_derivative = _call(name, reference, options, x, *parameters)
    return (value, log_derivative) if dtype == wide else (value.to(dtype), log_derivative.to(dtype))


def _call(name: str, reference: Reference, options: Options, *tensors: torch.Tensor) -> Results:
    compiling = torch.compiler.is_compiling()
    if compiling:
        from . import _compiled as _compiled  # not before: what it takes from torch loads the compiler
    elif torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return cast("Callable[..., Results]", _Fused.apply)(name, reference, options, *tensors)
    value, log_derivative = operator(name if compiling else f"{name}_forward")(*tensors, *options)
    return value, log_derivative


class _Fused(torch.autograd.Function):
    """A fused form and its backward, which computes again what it needs: only the inputs are kept."""

    @staticmethod
    def forward(
        ctx: Any, name: str, reference: Reference, options: Options, *tensors: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        ctx.name, ctx.reference, ctx.options = name, reference, options
        return operator(f"{name}_forward")(*tensors, *options)

    @staticmethod
    def backward(
        ctx: Any, grad_value: torch.Tensor | None, grad_log: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, ...]:
        tensors, gradients = ctx.saved_tensors, (grad_value, grad_log)
        # Where the gradient is differentiated in turn, or batched, the reference form takes over.
        if torch.is_grad_enabled() or transformed():
            return None, None, None, *reference_backward(ctx.reference, tensors, gradients)
        x, *parameters = tensors
        sizes = sizes_if_joined(x, parameters) if FUSED[ctx.name] and x.is_cpu else None
        if sizes is not None:
            by_x, whole = operator(f"{ctx.name}_backward_joined")(*gradients, *tensors, *ctx.options)
            return None, None, None, by_x, *cut(whole, sizes)
        found = operator(f"{ctx.name}_backward")(*gradients, *tensors, *ctx.options)
        return None, None, None, *(found if len(tensors) > 1 else (found,))


def operator(name: str) -> Callable[..., tuple[torch.Tensor, ...]]:
    """Returns one of the operators of register.cpp and _triton: an op, or its ``_forward`` or ``_backward``."""
    return cast("Callable[..., tuple[torch.Tensor, ...]]", getattr(torch.ops.flowtorch, name))
