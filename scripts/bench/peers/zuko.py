"""zuko."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import zuko
from zuko import transforms as T
from zuko.flows import polynomial

from ..cases import Case
from ..model import NotOffered, TorchModel, fixed_model

FIXED = {"softclip": partial(T.SoftclipTransform, bound=5.0)}


def univariate(case: Case) -> tuple[Callable[..., Any], list[tuple[int, ...]]]:
    """Returns the constructor of the map and the shapes of its parameters."""
    bins = case.bins
    maps: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
        "affine": (T.MonotonicAffineTransform, [(), ()]),
        "shift": (T.AdditiveTransform, [()]),
        "signed_power": (T.SignedPowerTransform, [()]),
        "rational_quadratic": (partial(T.MonotonicRQSTransform, bound=3.0), [(bins,), (bins,), (bins - 1,)]),
        "bernstein": (T.BoundedBernsteinTransform, [(17,)]),
        "sum_of_squares": (polynomial.ShiftedSOSPTransform, [(3, 5), ()]),
        "gaussian_mixture_cdf": (T.GaussianizationTransform, [(8,), (8,)]),
    }
    if case.map not in maps:
        raise NotOffered(case.map)
    return maps[case.map]


def build(case: Case) -> TorchModel:
    """Returns the model."""
    if case.structure == "elementwise":
        if case.map not in FIXED:
            raise NotOffered(case.map)
        transform = FIXED[case.map]()

        def call(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            y = transform(x)
            return y, transform.log_abs_det_jacobian(x, y).sum(-1)

        return fixed_model(call, case)
    flow = _flow(case)
    if case.direction == "sampling":
        flow = zuko.flows.Flow(flow.transform.inv, flow.base)
    return TorchModel(
        flow.parameters(), lambda x: flow().log_prob(x), lambda n: flow().sample((n,)), lambda n: flow().rsample((n,))
    )


def _flow(case: Case) -> Any:
    sizes = {"features": case.dim, "transforms": case.layers, "hidden_features": case.hidden}
    if case.structure == "autoregressive":
        whole: dict[str, Callable[..., Any]] = {
            "circular": partial(zuko.flows.NCSF, bins=case.bins),
            "monotonic_network": zuko.flows.NAF,
            "unconstrained_monotonic": zuko.flows.UNAF,
        }
        if case.map in whole:
            return whole[case.map](**sizes)
    family = zuko.flows.NICE if case.structure == "coupling" else zuko.flows.MAF
    constructor, shapes = univariate(case)
    return family(**sizes, univariate=constructor, shapes=shapes)
