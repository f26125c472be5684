"""Flows of FlowTorch 0.8, from what it saved: the two have one name, and cannot be imported together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch.distributions import Distribution

from ..bijectors import (
    ELU,
    Affine,
    AffineAutoregressive,
    AffineFixed,
    Bijector,
    Compose,
    Exp,
    Invert,
    LeakyReLU,
    Permute,
    Power,
    Sigmoid,
    Softplus,
    Spline,
    SplineAutoregressive,
    Tanh,
)
from ..distributions import Flow
from ..errors import NotSupportedError, OptionError
from ..parameters import MADE
from .common import Layer, activation, autoregressive, build, driven, free, inverse, part
from .networks import Linear, Masked, made
from .spline import PyroSpline, slope_shift

WHO = "from_flowtorch"
_FIXED = (AffineFixed, ELU, Exp, LeakyReLU, Permute, Power, Sigmoid, Softplus, Tanh)
# What could be said of a bijector then; all other options are as they are by default.
_OPTIONS = {
    "params_fn", "log_scale_min_clip", "log_scale_max_clip", "sigmoid_bias", "count_bins", "bound", "order",
}  # fmt: skip


def from_flowtorch(state: Mapping[str, torch.Tensor], base_dist: Distribution, bijector: Bijector) -> Flow:
    r"""Returns a flow of FlowTorch 0.8 as one of today's, with the same samples from the same noise.

    .. math:: y = f_n \circ \cdots \circ f_1(x), \qquad x \sim p_{base}

    Densities are the same too, but where 0.8 was wrong: within ``Invert``, whose log-determinant had the wrong sign,
    and where an elementwise bijector came before others. Scales are those of then, exponentials with a hard clamp,
    whatever ``scale_fn`` is by default today. Masked networks may come out a little wider, by units without a say.

    Args:
        state: ``flow.state_dict()``, as saved there.
        base_dist: the base, which was no part of the state, over vectors.
        bijector: the plan, written as it was then: of affine and spline, elementwise and autoregressive bijectors,
            fixed ones, ``Permute`` with its permutation, which was no part of the state, ``Compose`` and ``Invert``.
            Only ``nonlinearity`` is read of ``DenseAutoregressive``; all else is in the state.

    Returns:
        The flow, of the dtype and on the device of the base.

    Raises:
        NotSupportedError: for a part of another kind, naming it.
        OptionError: for a state that is not of such a plan.

    Example:
        >>> import flowtorch.bijectors as bij
        >>> from flowtorch.distributions import DiagNormal
        >>> state = {f"bijector._params_fn.params.{i}": torch.ones(2) for i in range(2)}
        >>> from_flowtorch(state, DiagNormal(2), bij.Affine()).log_prob(torch.ones(2)).detach()
        tensor(-3.8379)
    """
    left = {key: value for key, value in state.items() if not key.endswith("_params_fn.permutation")}
    shape = base_dist.event_shape or base_dist.batch_shape
    if len(shape) != 1:
        raise NotSupportedError(f"{WHO}: a base over vectors is expected; got event shape {tuple(shape)}.")
    layers = _layers(bijector, "bijector.", dict(state), left, shape[0])
    if left:
        raise OptionError(f"{WHO}: a state of the given plan is expected; got {sorted(left)} beside it.")
    return build(WHO, base_dist, layers, ())


def _layers(
    plan: Bijector, prefix: str, state: Mapping[str, torch.Tensor], left: dict[str, torch.Tensor], size: int
) -> list[Layer]:
    """Returns the layers of a plan, base to data; takes what they use from what is ``left`` of the state."""
    if isinstance(plan, Compose):
        parts = [_layers(p, f"{prefix}bijectors.{i}.", state, left, size) for i, p in enumerate(plan.parts)]
        return [layer for p in parts for layer in p]
    if isinstance(plan, Invert):
        return [inverse(layer) for layer in reversed(_layers(plan.plan, f"{prefix}bijector.", state, left, size))]
    return [part(f"{WHO}: {prefix.rstrip('.')}", plan, lambda: _layer(plan, prefix, state, left, size))]


def _layer(
    plan: Bijector, prefix: str, state: Mapping[str, torch.Tensor], left: dict[str, torch.Tensor], size: int
) -> Layer:
    def take(key: str) -> torch.Tensor:
        name = f"{prefix}_params_fn.{key}"
        if name not in state:
            raise OptionError(f"state: a tensor {name} is expected; got none.")
        left.pop(name, None)
        return state[name].detach()

    if isinstance(plan, Permute) and plan.permutation is None:
        raise NotSupportedError("permutation: the one that was drawn is expected, as the state lacks it; got None.")
    if isinstance(plan, _FIXED):
        return Layer(plan)
    if isinstance(plan, Affine | AffineAutoregressive):
        _check(plan)
        clips = {"log_scale_min_clip": plan.log_scale_min_clip, "log_scale_max_clip": plan.log_scale_max_clip}
        affine = Affine(scale_fn="exp", clamp_values=True, **clips)  # type: ignore[arg-type]  # numbers both
        return _driven(plan, affine, [0.0, 0.0], take, state, prefix, size)
    if isinstance(plan, Spline | SplineAutoregressive):
        _check(plan)
        spline = PyroSpline(count_bins=plan.count_bins, bound=plan.bound, order=plan.order)  # type: ignore[arg-type]  # checked there
        widths, *_, slopes = (sizes[0] for sizes in spline.param_shapes[:3])
        rest = [0.0] * sum(sizes[0] for sizes in spline.param_shapes[3:])
        shift = [0.0] * (2 * widths) + [-slope_shift(1e-3)] * slopes + rest
        return _driven(plan, spline, shift, take, state, prefix, size)
    known = sorted(
        c.__name__ for c in (*_FIXED, Affine, AffineAutoregressive, Compose, Invert, Spline, SplineAutoregressive)
    )
    raise NotSupportedError(f"plan: one of {', '.join(known)} is expected; got {type(plan).__name__}.")


def _check(plan: Any) -> None:
    """Refuses options that 0.8 did not have."""
    defaults = {f.name: f.default for f in dataclasses.fields(plan)}
    new = [name for name, value in defaults.items() if name not in _OPTIONS and getattr(plan, name) != value]
    if new:
        raise NotSupportedError(f"options: those of FlowTorch 0.8, {sorted(_OPTIONS)}, are expected; got {new}.")


def _driven(
    plan: Any, elementwise: Any, shift: list[float], take: Any, state: Mapping[str, Any], prefix: str, size: int
) -> Layer:
    """Returns an elementwise map with its free parameters, or driven by its network."""
    if isinstance(plan, Affine | Spline):
        starts = iter(shift)
        values = []
        for i, trailing in enumerate(elementwise.param_shapes):
            added = [next(starts) for _ in range(torch.Size(trailing).numel())]
            values.append(take(f"params.{i}") + torch.tensor(added, dtype=torch.float64).reshape(trailing))
        return free(elementwise, values)
    if size < 2:
        raise NotSupportedError(f"event: at least two coordinates are expected; got {size}.")
    net = plan.params_fn or MADE()
    count = sum(key.startswith(f"{prefix}_params_fn.layers.") and key.endswith("weight") for key in state)
    if count < 2:
        raise OptionError(f"state: a network of at least two layers is expected at {prefix}_params_fn; got {count}.")
    layers = [Linear(*(take(f"layers.{2 * i}.{name}") for name in ("weight", "bias", "mask"))) for i in range(count)]
    drive = driven(elementwise, size, by_coordinate=True, shift=shift)
    order = take("permutation").tolist()
    masked = Masked(layers[:-1], layers[-1], drive, range(size), 0, order, activation(net.nonlinearity))
    return autoregressive(elementwise, made(masked))
