"""Block autoregressive maps against those of Pyro, with the parameters carried over."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from flowtorch.bijectors.block_autoregressive import BlockAutoregressive, BoundBlockAutoregressive

transforms = pytest.importorskip("pyro.distributions.transforms")
# Of all but ours; theirs adds 1e-8 to norms and gates.
ACTIVATIONS = {"tanh": "tanh", "sigmoid": "sigmoid", "elu": "ELU", "leaky_relu": "LeakyReLU"}
close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)


def before_bounds(log_scale: torch.Tensor) -> torch.Tensor:
    """What our ``log_scale`` bounds to this, within (-5, 3)."""
    limit = torch.where(log_scale < 0.0, 5.0, 3.0)
    return limit * torch.atanh(log_scale / limit)


def carry_over(theirs: Any, ours: BoundBlockAutoregressive) -> None:
    """Theirs has the units of a block side by side, ours the blocks; and one matrix for the diagonal and below."""
    with torch.no_grad():
        for source, layer in zip(theirs.layers, ours.net.layers, strict=True):
            outputs, inputs, size = layer.diagonal.shape
            blocks = source._weight.reshape(size, outputs, size, inputs).permute(1, 3, 0, 2)
            layer.diagonal.copy_(blocks.diagonal(dim1=-2, dim2=-1))
            if layer.weight is not None:
                layer.weight.copy_(blocks)
            layer.raw_scale.copy_(before_bounds(source._diag_weight.reshape(size, outputs).T))
            layer.bias.copy_(source.bias.reshape(size, outputs).T)
        if ours.gate is not None:
            ours.gate.copy_(torch.logit((theirs.gate[0].sigmoid() - 0.01) / 0.99))


@pytest.mark.parametrize("residual", [None, "normal", "gated"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("size", "hidden_factors"), [(3, (8, 8)), (4, (5,)), (2, (3, 4, 2)), (1, (8, 8))])
def test_it_is_that_of_pyro(activation: Any, residual: Any, size: int, hidden_factors: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    theirs = transforms.BlockAutoregressive(
        size, hidden_factors=list(hidden_factors), activation=ACTIVATIONS[activation], residual=residual
    ).double()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.empty_like(parameter).uniform_(-1.0, 1.0))
    bound = BlockAutoregressive(hidden_factors, activation=activation, residual=residual).bind((size,)).double()
    assert isinstance(bound, BoundBlockAutoregressive)
    carry_over(theirs, bound)
    x = 1.5 * torch.randn(50, size, dtype=torch.float64)
    expected = theirs._call(x)
    y, log_det = bound.forward_and_log_det(x)
    close(y, expected)
    close(log_det, theirs._cached_logDetJ.sum(-1))
    # What theirs does not have.
    back, inverse_log_det = bound.inverse_and_log_det(y)
    close(back, x)
    close(inverse_log_det, -log_det)
