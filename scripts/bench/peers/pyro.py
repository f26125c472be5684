"""Pyro. Its autoregressive transforms go fast forward; density estimation takes their ``inv``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import transforms as T
from pyro.nn import AutoRegressiveNN, DenseNN

from ..cases import Case
from ..model import NotOffered, TorchModel, fixed_model

# What torch.distributions has is Pyro's too.
FIXED: dict[str, Callable[[], Any]] = {
    "exp": T.ExpTransform,
    "sigmoid": T.SigmoidTransform,
    "tanh": T.TanhTransform,
    "softplus": T.SoftplusTransform,
    "elu": T.ELUTransform,
    "leaky_relu": T.LeakyReLUTransform,
    "normal_cdf": lambda: T.CumulativeDistributionTransform(dist.Normal(0.0, 1.0)),
}


def build(case: Case) -> TorchModel:
    """Returns the model."""
    if case.structure == "elementwise":
        return _fixed(case)
    layer = (_coupling if case.structure == "coupling" else _autoregressive)(case)
    layers: list[Any] = []
    for _ in range(case.layers):
        layers += [layer(), T.permute(case.dim, torch.arange(case.dim).flip(0))]
    base = dist.Normal(torch.zeros(case.dim), torch.ones(case.dim)).to_event(1)
    flow = dist.TransformedDistribution(base, [t.inv for t in layers] if case.direction == "density" else layers)
    parameters = [p for t in layers if isinstance(t, torch.nn.Module) for p in t.parameters()]

    def fresh(method: Callable[..., torch.Tensor]) -> Callable[[Any], torch.Tensor]:
        def call(argument: Any) -> torch.Tensor:
            for t in layers:  # what flow.clear_cache does, which does not see through .inv
                t.clear_cache()
            return method(argument)

        return call

    return TorchModel(
        parameters, fresh(flow.log_prob), fresh(lambda n: flow.sample((n,))), fresh(lambda n: flow.rsample((n,)))
    )


def _fixed(case: Case) -> TorchModel:
    if case.map not in FIXED:
        raise NotOffered(case.map)
    transform = FIXED[case.map]()

    def call(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = transform(x)
        return y, transform.log_abs_det_jacobian(x, y).sum(-1)

    return fixed_model(call, case)


def _autoregressive(case: Case) -> Callable[[], Any]:
    dim, hidden, bins = case.dim, list(case.hidden), case.bins

    def network(*sizes: int) -> Any:
        return AutoRegressiveNN(dim, hidden, param_dims=list(sizes))

    layers: dict[str, Callable[[], Any]] = {
        "affine": lambda: T.affine_autoregressive(dim, hidden),
        "rational_quadratic": lambda: T.SplineAutoregressive(
            dim, network(bins, bins, bins - 1), count_bins=bins, order="quadratic"
        ),
        "rational_linear": lambda: T.spline_autoregressive(dim, hidden, count_bins=bins),
        "sum_of_squares": lambda: T.Polynomial(network(15), dim, count_degree=4, count_sum=3),
        "deep_sigmoid": lambda: T.neural_autoregressive(dim, hidden, width=16),
    }
    if case.map not in layers:
        raise NotOffered(case.map)
    return layers[case.map]


def _coupling(case: Case) -> Callable[[], Any]:
    dim, hidden, bins, half = case.dim, list(case.hidden), case.bins, case.dim // 2
    sizes = {"rational_quadratic": (bins, bins, bins - 1), "rational_linear": (bins, bins, bins - 1, bins)}
    if case.map == "affine":
        return lambda: T.affine_coupling(dim, hidden)
    if case.map not in sizes:
        raise NotOffered(case.map)
    order = case.map.removeprefix("rational_")

    def layer() -> Any:
        network = DenseNN(half, hidden, param_dims=[(dim - half) * size for size in sizes[case.map]])
        coupling = T.SplineCoupling(dim, half, network, bins, order=order, identity=True)
        coupling.lower_spline.requires_grad_(False)  # unused
        return coupling

    return layer
