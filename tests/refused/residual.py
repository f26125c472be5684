"""What residual maps and norms refuse: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable

import torch

from flowtorch.bijectors.act_norm import ActNorm
from flowtorch.bijectors.batch_norm import BatchNorm
from flowtorch.bijectors.residual import ConvResidual, Residual
from flowtorch.errors import DomainError, NotSupportedError, OptionError, OptionTypeError, ShapeError
from flowtorch.nn.lipschitz import activate

ROWS = torch.tensor([[1.0, 2.0, 3.0], [1.0, 5.0, 3.0]])


def second_derivative() -> object:
    x = torch.ones(3, requires_grad=True)
    return torch.autograd.grad(
        Residual((4,), trace="truncated").bind((3,)).forward_and_log_det(x)[1], x, create_graph=True
    )


# For each class of errors, the words of a message, in this order, and what raises it.
REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionError: {
        "activate: a sharpness ... 'lipswish'; got none": lambda: activate("lipswish", ROWS),
        "Residual: nonlinearity ... 'lipswish', 'elu', 'softplus', 'tanh'; got 'relu'": lambda: Residual(
            nonlinearity="relu"  # type: ignore[arg-type]
        ),
        "Residual: lipschitz ... (0, 1); got 1.0": lambda: Residual(lipschitz=1.0),
        "ConvResidual: trace ... 'roulette', 'truncated'; got 'nope'": lambda: ConvResidual(
            trace="nope"  # type: ignore[arg-type]
        ),
        "Residual: terms ... at least 1; got 0": lambda: Residual(terms=0),
        "Residual: tolerance ... (0, 1); got 0.0": lambda: Residual(tolerance=0.0),
        "Residual: steps ... at least 1; got 0": lambda: Residual(steps=0),
        "ConvResidual: each of hidden_dims ... at least 1; got 0": lambda: ConvResidual((0,)),
        "ConvResidual: kernel_size ... odd; got 4": lambda: ConvResidual(kernel_size=4),
        "ConvResidual: kernel_size ... at least 1; got -1": lambda: ConvResidual(kernel_size=-1),
        "BatchNorm: momentum ... (0, 1); got 0.0": lambda: BatchNorm(momentum=0.0),
        "BatchNorm: eps ... (0, 1); got -1.0": lambda: BatchNorm(eps=-1.0),
    },
    OptionTypeError: {
        "Residual: hidden_dims ... a sequence such as (128, 128); got 8": lambda: Residual(8),  # type: ignore[arg-type]
        "ActNorm: dim ... an integer; got 'x'": lambda: ActNorm(dim="x"),  # type: ignore[arg-type]
        "BatchNorm: dim ... an integer; got 0.5": lambda: BatchNorm(dim=0.5),  # type: ignore[arg-type]
    },
    ShapeError: {
        "ConvResidual: an event (channels, height, width) is expected; got event shape (1, 2, 3, 4)": lambda: (
            ConvResidual().bind((1, 2, 3, 4))
        ),
        "ConvResidual: an event of at least 3 dimension(s)": lambda: ConvResidual().bind((3, 4)),
        "Residual: an event of at least 1 dimension(s)": lambda: Residual().bind(()),
        "ActNorm: an event with an axis dim=2 is expected; got event shape (3,)": lambda: ActNorm(dim=2).bind((3,)),
        "BatchNorm.initialize: a tensor of shape ... event (4,)": lambda: BatchNorm().bind((4,)).initialize(ROWS),
    },
    DomainError: {
        "ActNorm.initialize: data of a positive, finite variance in each of 3 ... none in channel(s) 0, 2": lambda: (
            ActNorm().bind((3,)).initialize(ROWS)
        ),
        "BatchNorm.initialize: data of a positive, finite variance ... got none in channel(s) 0": lambda: (
            BatchNorm().bind((2,)).initialize(ROWS[:, :2])
        ),
    },
    NotSupportedError: {
        "Residual: a backward pass without create_graph is expected ... got create_graph=True": second_derivative,
        "BatchNorm.initialize: an inverse that leads from data to base ... got it within Invert": lambda: (
            BatchNorm().bind((3,)).initialize_forward(ROWS)  # type: ignore[attr-defined]
        ),
    },
}
