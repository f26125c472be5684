"""What torch has to know of the operators of fused forms. Importing it tells torch.

The compiler asks for the shapes of results and for derivatives. Who calls ``torch.ops.flowtorch`` directly also meets
the rules for ``vmap`` and autocast; the ops themselves run their reference forms in function transforms, and widen what
networks give under autocast.
"""

from __future__ import annotations

from typing import Any

import torch

from .._triton.results import room
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


def _register(name: str, bins: bool) -> None:
    count = TENSORS[name]

    def fake_forward(x: torch.Tensor, *_: object) -> Results:
        return room(x, False), room(x, False)

    def fake_backward(*arguments: object) -> torch.Tensor | tuple[torch.Tensor, ...]:
        x, *parameters = (t for t in arguments[2 : count + 2] if isinstance(t, torch.Tensor))
        return (room(x, False), *(room(p, bins) for p in parameters)) if parameters else room(x, False)

    def setup(ctx: Any, inputs: tuple[Any, ...], output: Results) -> None:
        ctx.save_for_backward(*inputs[:count])
        ctx.options = inputs[count:]

    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        found = operator(f"{name}_backward")(*gradients, *ctx.saved_tensors, *ctx.options)
        return *(found if count > 1 else (found,)), *(None for _ in ctx.options)

    torch.library.register_fake(f"flowtorch::{name}", fake_forward)
    torch.library.register_fake(f"flowtorch::{name}_backward", fake_backward)
    torch.library.register_autograd(f"flowtorch::{name}", backward, setup_context=setup)
    for suffix in ("", "_forward", "_backward"):
        _register_vmap(name + suffix)
    if hasattr(torch.library, "register_autocast"):  # from torch 2.7 on; before, operators refuse other dtypes
        for device in ("cpu", "cuda"):
            torch.library.register_autocast(f"flowtorch::{name}", device, torch.float32)


def _register_vmap(name: str) -> None:
    def batched(info: Any, dims: tuple[int | None, ...], *arguments: Any) -> tuple[object, object]:
        """Maps one dimension more, the first: every number depends on those at its place only."""

        def widened(argument: Any, dim: int | None) -> Any:
            if not isinstance(argument, torch.Tensor):
                return argument
            return argument.expand(info.batch_size, *argument.shape) if dim is None else argument.movedim(dim, 0)

        found = operator(name)(*map(widened, arguments, dims))
        return found, 0 if isinstance(found, torch.Tensor) else (0,) * len(found)

    torch.library.register_vmap(f"flowtorch::{name}", batched)


for _name, _bins in FUSED.items():
    if hasattr(torch.ops.flowtorch, _name):  # without the library of register.cpp only some are defined
        _register(_name, _bins)
