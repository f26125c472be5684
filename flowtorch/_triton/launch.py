"""What calls the kernels: tensors in, tensors out, with the arguments of the operators that register.cpp defines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch

from . import affine, rational_linear, rational_quadratic
from .affine import Scale
from .elements import Operand
from .results import room
from .spline import Box

Option: TypeAlias = float | bool | int
Tensors: TypeAlias = Sequence[torch.Tensor]

MAX_BINS = 128  # as in _native/kernels.h
KERNELS = {
    "affine": affine,
    "rational_linear_spline": rational_linear,
    "rational_quadratic_spline": rational_quadratic,
}


class Call(NamedTuple):
    """A kernel, what it is called with, and what it fills."""

    kernel: Any
    programs: int
    arguments: tuple[object, ...]
    constants: Mapping[str, object]
    results: tuple[torch.Tensor, ...]


def run(call: Call) -> tuple[torch.Tensor, ...]:
    """Returns the results."""
    if call.programs:
        with torch.cuda.device_of(call.results[0]):
            call.kernel[call.programs,](*call.arguments, **call.constants)
    return call.results


def forward(name: str, tensors: Tensors, options: Sequence[Option]) -> Call:
    """Prepares an op."""
    results = room(tensors[0]), room(tensors[0])
    return _call(name, KERNELS[name].forward, tensors, (), results, options)


def backward(name: str, gradients: Sequence[torch.Tensor | None], tensors: Tensors, options: Sequence[Option]) -> Call:
    """Prepares the backward of an op; a gradient that is not there is zero."""
    x = tensors[0]
    given = [x.new_zeros(()).expand(x.shape) if g is None else g for g in gradients]
    results = tuple(room(t, t.dim() > x.dim()) for t in tensors)
    return _call(name, KERNELS[name].backward, tensors, given, results, options)


def _call(
    name: str, kernel: Any, tensors: Tensors, gradients: Tensors, results: Tensors, options: Sequence[Option]
) -> Call:
    x = tensors[0]
    _check((x, *gradients), x, 0)
    _check(tensors[1:], x, 0 if name == "affine" else 1)
    constants = _scale(options) if name == "affine" else _box(*tensors[1:], options=options)
    block = _block(constants, x.dtype)
    count, columns = x.numel(), x.shape[-1] if x.dim() else 1
    operands = [_operand(t, x.dim()) for t in (*tensors, *gradients, *results)]
    given = {"OPTIONS": constants, "BLOCK": block, "WIDE": count > 2**30}
    return Call(kernel, -(-count // block), (count, columns, *operands), given, tuple(results))


def _block(constants: Scale | Box, dtype: torch.dtype) -> int:
    """Returns how many elements a program of 128 threads takes, such that registers suffice.

    One element to a thread, with all of its bins; fewer where bins are so many that threads share them out. What comes
    of it is printed by scripts/triton_resources.py.
    """
    double = dtype == torch.float64
    if isinstance(constants, Scale):
        return 128 if double else 256
    numbers = 2048 if not double else 1024 if constants.padded <= 8 else 512
    return min(128, numbers // constants.padded)


def _check(tensors: Tensors, x: torch.Tensor, axes: int) -> None:
    if x.dtype not in (torch.float32, torch.float64):
        raise RuntimeError(f"flowtorch: float32 or float64 is expected; got {x.dtype}.")
    for t in tensors:
        alike = t.dim() == x.dim() + axes and t.shape[: x.dim()] == x.shape
        if not alike or t.dtype != x.dtype or t.device != x.device:
            raise RuntimeError(
                "flowtorch: tensors of one dtype on one device are expected, all of the shape of the first, those with "
                "bins with one axis more."
            )


def _scale(options: Sequence[Option]) -> Scale:
    fn, shift, gated, clamp_values, least, most, inverse = options
    return Scale(int(fn), shift, bool(gated), bool(clamp_values), least, most, bool(inverse))


def _box(
    widths: torch.Tensor,
    heights: torch.Tensor,
    derivatives: torch.Tensor,
    *lambdas: torch.Tensor,
    options: Sequence[Option],
) -> Box:
    bins, given = widths.shape[-1], derivatives.shape[-1]
    if not 1 <= bins <= MAX_BINS:
        raise RuntimeError(f"flowtorch: 1 to {MAX_BINS} bins are expected; got {bins}.")
    if given not in (bins - 1, bins + 1) or any(t.shape[-1] != bins for t in (heights, *lambdas)):
        raise RuntimeError(f"flowtorch: K - 1 or K + 1 derivatives and K of the others are expected; got {given}.")
    bound, min_bin_width, min_bin_height, min_derivative, *rest = options
    min_lambda = rest[0] if lambdas else 0.5
    ends, inverse = given > bins, bool(rest[-1])
    return Box(bins, ends, bound, min_bin_width, min_bin_height, min_derivative, min_lambda, inverse)


def _operand(tensor: torch.Tensor, dims: int) -> Operand:
    """Returns a tensor as rows, columns and bins; a copy where its rows are not the same distance apart."""
    rows = _stride(tensor.shape[: dims - 1], tensor.stride()[: dims - 1]) if dims > 1 else 0
    if rows is None:
        tensor = room(tensor, tensor.dim() > dims).copy_(tensor)
        rows = tensor.stride(dims - 2)
    column = tensor.stride(dims - 1) if dims and tensor.shape[dims - 1] > 1 else 0
    return Operand(tensor, rows, column, *tensor.stride()[dims:])


def _stride(sizes: Sequence[int], strides: Sequence[int]) -> int | None:
    """Returns the stride of the one dimension that all of these make up, if they do."""
    least = beyond = None
    for size, stride in zip(reversed(sizes), reversed(strides), strict=True):
        if size == 1:
            continue
        if least is None:
            least = stride
        elif stride != beyond:
            return None
        beyond = stride * size
    return least or 0
