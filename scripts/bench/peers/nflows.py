"""nflows. A transform's ``forward`` goes from data to base."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from nflows import transforms as T
from nflows.distributions import StandardNormal
from nflows.flows import Flow
from nflows.nn.nets import MLP
from nflows.transforms.nonlinearities import CauchyCDF

from ..cases import Case
from ..model import NotOffered, TorchModel, fixed_model

BOX = {"tails": "linear", "tail_bound": 3.0}
FIXED: dict[str, Callable[[], Any]] = {
    "sigmoid": T.Sigmoid,
    "tanh": T.Tanh,
    "leaky_relu": T.LeakyReLU,
    "cauchy_cdf": CauchyCDF,
}
COUPLINGS = {
    "affine": T.AffineCouplingTransform,
    "shift": T.AdditiveCouplingTransform,
    "rational_quadratic": T.PiecewiseRationalQuadraticCouplingTransform,
    "linear": T.PiecewiseLinearCouplingTransform,
    "quadratic": T.PiecewiseQuadraticCouplingTransform,
    "cubic": T.PiecewiseCubicCouplingTransform,
}
AUTOREGRESSIVES = {
    "affine": T.MaskedAffineAutoregressiveTransform,
    "rational_quadratic": T.MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
    "quadratic": T.MaskedPiecewiseQuadraticAutoregressiveTransform,
}


class _Network(MLP):  # type: ignore[misc]  # untyped
    """The dense network as the couplings call it."""

    def __init__(self, case: Case, inputs: int, outputs: int) -> None:
        super().__init__((inputs,), (outputs,), case.hidden)
        self.hidden_features = case.hidden[0]  # what the splines scale by, and warn without

    def forward(self, inputs: torch.Tensor, context: None = None) -> Any:
        return super().forward(inputs)


def build(case: Case) -> TorchModel:
    """Returns the model."""
    table: dict[str, Any] = {"coupling": COUPLINGS, "autoregressive": AUTOREGRESSIVES, "elementwise": FIXED}
    kind = table[case.structure].get(case.map)
    if kind is None:
        raise NotOffered(case.map)
    if case.structure == "elementwise":
        return fixed_model(kind(), case)
    options = {} if case.map in ("affine", "shift") else {"num_bins": case.bins, **BOX}
    layers = []
    for index in range(case.layers):
        if case.structure == "coupling":
            mask = torch.arange(case.dim) % 2 == index % 2
            layer = kind(mask.int(), lambda i, o: _Network(case, i, o), **options)
        else:
            # Of plain blocks, as ours are, there is one less than hidden layers.
            network = {"hidden_features": case.hidden[0], "num_blocks": len(case.hidden) - 1}
            layer = kind(features=case.dim, use_residual_blocks=False, **network, **options)
            layers.append(T.ReversePermutation(case.dim))
        layers.append(layer if case.direction == "density" else T.InverseTransform(layer))
    flow = Flow(T.CompositeTransform(layers), StandardNormal([case.dim]))
    # There is no rsample, but nothing keeps gradients out of sample.
    return TorchModel(flow.parameters(), flow.log_prob, flow.sample, flow.sample)
