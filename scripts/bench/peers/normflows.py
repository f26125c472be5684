"""normflows. A flow's ``forward`` goes from base to data, that of its inner transforms the other way."""

from __future__ import annotations

from typing import Any

import normflows as nf
import torch
from normflows.flows.neural_spline.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressive
from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling

from ..cases import Case
from ..model import NotOffered, TorchModel


def build(case: Case) -> TorchModel:
    """Returns the model."""
    layer = {
        ("affine", "autoregressive"): _affine_autoregressive,
        ("affine", "coupling"): _affine_coupling,
        ("shift", "coupling"): _affine_coupling,
        ("rational_quadratic", "autoregressive"): _spline_autoregressive,
        ("rational_quadratic", "coupling"): _spline_coupling,
        ("circular", "autoregressive"): _spline_autoregressive,
    }.get((case.map, case.structure))
    if layer is None:
        raise NotOffered(case.map)
    layers = []
    for index in range(case.layers):
        one = layer(case, index)
        # Affine ones sample in one pass as they are, splines score in one.
        quick = "sampling" if layer is _affine_autoregressive else "density"
        reverse = case.structure == "autoregressive" and case.direction != quick
        layers.append(nf.flows.Reverse(one) if reverse else one)
        if layer is not _spline_coupling:  # its mask alternates
            layers.append(nf.flows.Permute(case.dim, mode="swap"))
    base: Any = nf.distributions.DiagGaussian(case.dim, trainable=False)
    if case.map == "circular":
        base = nf.distributions.base.Uniform(case.dim, -torch.pi, torch.pi)
    flow = nf.NormalizingFlow(base, layers)

    def sample(n: int) -> torch.Tensor:
        x: torch.Tensor = flow.sample(n)[0]
        return x

    return TorchModel(flow.parameters(), flow.log_prob, sample, sample)


class _Network(nf.nets.MLP):
    """The dense network as the splines call it. Its wrappers know residual networks only."""

    def __init__(self, case: Case, inputs: int, outputs: int) -> None:
        super().__init__([inputs, *case.hidden, outputs])
        self.hidden_features = case.hidden[0]  # without it, a warning at each call

    def forward(self, x: torch.Tensor, context: None = None) -> Any:
        return super().forward(x)


class _Layer(nf.flows.Flow):
    """An inner transform as a flow."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, z: torch.Tensor) -> Any:
        return self.inner.inverse(z)

    def inverse(self, z: torch.Tensor) -> Any:
        return self.inner(z)


# Of plain blocks, as ours are, there is one less than hidden layers.
def _masked(case: Case) -> dict[str, Any]:
    return {
        "features": case.dim,
        "hidden_features": case.hidden[0],
        "num_blocks": len(case.hidden) - 1,
        "use_residual_blocks": False,
    }


def _affine_autoregressive(case: Case, index: int) -> Any:
    return nf.flows.MaskedAffineAutoregressive(**_masked(case))


def _spline_autoregressive(case: Case, index: int) -> Any:
    tails = ["circular"] * case.dim if case.map == "circular" else "linear"
    bound = torch.pi if case.map == "circular" else 3.0
    return _Layer(
        MaskedPiecewiseRationalQuadraticAutoregressive(
            **_masked(case), num_bins=case.bins, tails=tails, tail_bound=bound
        )
    )


def _affine_coupling(case: Case, index: int) -> Any:
    half = case.dim // 2
    shift_only = case.map == "shift"
    network = _Network(case, case.dim - half, half if shift_only else 2 * half)
    return nf.flows.AffineCouplingBlock(network, scale=not shift_only)


def _spline_coupling(case: Case, index: int) -> Any:
    mask = torch.arange(case.dim) % 2 == index % 2
    return _Layer(
        PiecewiseRationalQuadraticCoupling(
            mask.int(), lambda i, o: _Network(case, i, o), num_bins=case.bins, tails="linear", tail_bound=3.0
        )
    )
