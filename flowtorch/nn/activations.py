"""The activations that the kernels know: see _native/activation.h."""

from __future__ import annotations

import torch

# The number of each there, and the name of the number that it takes.
ACTIVATIONS: dict[type[torch.nn.Module], tuple[int, str | None]] = {
    torch.nn.Identity: (0, None),
    torch.nn.ReLU: (1, None),
    torch.nn.LeakyReLU: (2, "negative_slope"),
    torch.nn.Tanh: (3, None),
    torch.nn.SiLU: (4, None),
    torch.nn.ELU: (5, "alpha"),
}


def number(activation: torch.nn.Module) -> tuple[int, float]:
    """Returns what operators are told of an activation that they know."""
    of_type, name = ACTIVATIONS[type(activation)]
    return of_type, 0.0 if name is None else float(getattr(activation, name))


def with_gradient(activation: torch.nn.Module) -> tuple[int, float] | None:
    """Returns what operators are told of an activation whose derivative can be told from its value; of others None."""
    kind = type(activation)
    if kind not in ACTIVATIONS or kind is torch.nn.SiLU:
        return None
    found = number(activation)
    return None if ACTIVATIONS[kind][1] is not None and found[1] <= 0.0 else found
