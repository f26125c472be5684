"""What the compiler has to know of the fused forms: shapes of results, and derivatives. Importing it tells torch."""

from __future__ import annotations

from typing import Any

import torch

from .fused import FUSED, Results, operator

# x and the parameters
TENSORS = {
    "affine": 3,
    "fixed": 1,
    "mixture": 4,
    "rational_linear_spline": 5,
    "rational_quadratic_spline": 4,
    "signed_power": 2,
}


def _empty(like: torch.Tensor, bins: bool) -> torch.Tensor:
    """Returns a tensor with the shape of ``like`` and the strides that register.cpp gives a result."""
    if not bins or like.dim() < 2:
        return torch.empty_like(like, memory_format=torch.contiguous_format)
    return torch.empty_like(like.transpose(-1, -2), memory_format=torch.contiguous_format).transpose(-1, -2)


def _register(name: str, bins: bool) -> None:
    count = TENSORS[name]

    def fake_forward(x: torch.Tensor, *_: object) -> Results:
        return _empty(x, False), _empty(x, False)

    def fake_backward(*arguments: object) -> torch.Tensor | tuple[torch.Tensor, ...]:
        x, *parameters = (t for t in arguments[2 : count + 2] if isinstance(t, torch.Tensor))
        return (_empty(x, False), *(_empty(p, bins) for p in parameters)) if parameters else _empty(x, False)

    def setup(ctx: Any, inputs: tuple[Any, ...], output: Results) -> None:
        ctx.save_for_backward(*inputs[:count])
        ctx.options = inputs[count:]

    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        found = operator(f"{name}_backward")(*gradients, *ctx.saved_tensors, *ctx.options)
        return *(found if count > 1 else (found,)), *(None for _ in ctx.options)

    torch.library.register_fake(f"flowtorch::{name}", fake_forward)
    torch.library.register_fake(f"flowtorch::{name}_backward", fake_backward)
    torch.library.register_autograd(f"flowtorch::{name}", backward, setup_context=setup)


for _name, _bins in FUSED.items():
    _register(_name, _bins)
