"""The matrix-product limit: the conditioners' dense layers and activations alone, as plain PyTorch."""

from __future__ import annotations

import itertools
from math import prod

import torch

from ..cases import Case
from ..model import NotOffered, TorchModel
from .flowtorch import elementwise


def build(case: Case) -> TorchModel:
    """Returns a model of the same networks, unmasked, side by side; its "density" is the sum of what they return."""
    if case.structure == "elementwise":
        raise NotOffered("there is no network")
    each = sum(prod(shape) for shape in elementwise(case).param_shapes)
    half = case.dim // 2
    ends = (case.dim, case.dim) if case.structure == "autoregressive" else (half, case.dim - half)
    networks = torch.nn.ModuleList(_network(ends[0], case.hidden, ends[1] * each) for _ in range(case.layers))

    def log_prob(x: torch.Tensor) -> torch.Tensor:
        x = x[..., : ends[0]]
        return torch.stack([network(x).sum(-1) for network in networks]).sum(0)

    # To sample one coordinate at a time takes the same products, each once.
    def sample(n: int) -> torch.Tensor:
        return log_prob(torch.randn(n, case.dim))

    return TorchModel(networks.parameters(), log_prob, sample, sample)


def _network(inputs: int, hidden: tuple[int, ...], outputs: int) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for width, following in itertools.pairwise((inputs, *hidden, outputs)):
        layers += [torch.nn.Linear(width, following), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])
