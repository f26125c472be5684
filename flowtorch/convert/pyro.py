"""Flows of Pyro."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch.distributions import Normal
from torch.distributions.transforms import _InverseTransform

from .. import bijectors as bij
from ..bijectors import Affine, Elementwise
from ..bijectors.spline import Order
from ..distributions import DiagNormal, Flow
from ..errors import NotSupportedError
from .common import (
    Conditioner,
    Driven,
    Layer,
    activation,
    autoregressive,
    build,
    coupling,
    driven,
    fixed_affine,
    free,
    from_context,
    inverse,
    lookup,
    part,
    permute,
    verified,
)
from .networks import Masked, dense, linear, made
from .spline import PyroSpline, slope_shift

WHO = "from_pyro"
MIN_DERIVATIVE = 1e-3  # of its splines, and of ours by default


def from_pyro(distribution: object) -> Flow:
    r"""Returns a (conditional) transformed distribution of Pyro as a flow, with the same density and samples.

    .. math:: y = f_n \circ \cdots \circ f_1(x; c), \qquad x \sim p_{base}

    It is a flow like any other: it may be trained, saved and conditioned, and shares no parameters with the one given.
    Carried are ``AffineAutoregressive``, ``AffineCoupling``, ``SplineAutoregressive``, ``SplineCoupling`` and
    ``Spline``, conditional ones too, ``Permute``, ``BatchNorm`` as an affine map with the numbers of evaluation,
    torch's own ``AffineTransform``, ``ExpTransform``, ``SigmoidTransform``, ``SoftplusTransform`` and
    ``TanhTransform``, compositions and inverses, over vectors. Masked networks may come out a little wider, by units
    without a say.

    Args:
        distribution: a ``TransformedDistribution`` or ``ConditionalTransformedDistribution``, trained.

    Returns:
        The flow, of the dtype and on the device of the base.

    Raises:
        NotSupportedError: for a part of another kind, naming it.

    Example:
        >>> import pyro.distributions as dist  # doctest: +SKIP
        >>> base = dist.Normal(torch.zeros(3), torch.ones(3)).to_event(1)  # doctest: +SKIP
        >>> given = dist.TransformedDistribution(
        ...     base, [dist.transforms.affine_autoregressive(3)]
        ... )  # doctest: +SKIP
        >>> from_pyro(given).sample((5,)).shape  # doctest: +SKIP

    References:
        Pyro: Deep Universal Probabilistic Programming (Bingham et al., 2019), https://arxiv.org/abs/1810.09538.
    """
    if not (hasattr(distribution, "base_dist") and hasattr(distribution, "transforms")):
        raise NotSupportedError(
            f"{WHO}: a TransformedDistribution or ConditionalTransformedDistribution is expected; got "
            f"{type(distribution).__name__}."
        )
    transforms: Sequence[Any] = distribution.transforms
    base = _base(distribution.base_dist)
    size = base.event_shape[0]
    flat = [t for p in transforms for t in _flat(p, False)]
    layers, contexts = [], []
    for i, (transform, backwards) in enumerate(flat):
        make = lookup(f"{WHO}: transform {i}", transform, _LAYERS)
        found, context = part(f"{WHO}: transform {i}", transform, partial(make, transform, size))
        layers.append(inverse(found) if backwards else found)
        contexts.append(context)
    flow = build(WHO, base, layers, contexts)

    def log_prob(x: torch.Tensor, context: Any) -> torch.Tensor:
        given: Any = distribution.condition(context) if hasattr(distribution, "condition") else distribution
        found: torch.Tensor = given.log_prob(x)
        return found

    parts = torch.nn.ModuleList(t for t, _ in flat if isinstance(t, torch.nn.Module))
    return verified(WHO, flow, parts, log_prob)


def _flat(transform: Any, backwards: bool) -> list[tuple[Any, bool]]:
    """Returns the transforms one after the other, base to data, and whether each is to be inverted."""
    name = type(transform).__name__
    if isinstance(transform, _InverseTransform):  # torch's, which zuko gives another name
        return _flat(transform._inv, not backwards)
    if name == "_ConditionalInverseTransformModule":
        return _flat(transform._transform, not backwards)
    if name == "ConstantConditionalTransform":
        return _flat(transform.transform, backwards)
    if name in ("ComposeTransform", "ComposeTransformModule", "ConditionalComposeTransformModule"):
        parts = [
            _flat(t, backwards) for t in (transform.parts if hasattr(transform, "parts") else transform.transforms)
        ]
        return [t for p in (reversed(parts) if backwards else parts) for t in p]
    return [(transform, backwards)]


def _base(base: Any) -> DiagNormal:
    """Returns the base over vectors."""
    if type(base).__name__ == "ConstantConditionalDistribution":
        base = base.base_dist
    inner = base
    while type(inner).__name__ in ("Independent", "ExpandedDistribution"):
        inner = inner.base_dist
    shape = (*getattr(base, "batch_shape", ()), *getattr(base, "event_shape", ()))
    if len(shape) != 1 or not isinstance(inner, Normal):
        raise NotSupportedError(
            f"{WHO}: a Normal over vectors is expected as base; got {type(inner).__name__} {shape}."
        )
    return DiagNormal(shape, inner.loc.detach(), inner.scale.detach())


def _affine(transform: Any, options: dict[str, Any]) -> Affine:
    def option(name: str, default: Any) -> Any:
        return options.get(name, getattr(transform, name, default))

    if option("stable", False):
        return Affine(
            scale_fn="sigmoid",
            gated=True,
            sigmoid_bias=float(option("sigmoid_bias", 2.0)),
            log_scale_min_clip=-torch.inf,
            log_scale_max_clip=torch.inf,
        )
    return Affine(
        scale_fn="exp",
        clamp_values=True,
        log_scale_min_clip=float(option("log_scale_min_clip", -5.0)),
        log_scale_max_clip=float(option("log_scale_max_clip", 3.0)),
    )


def _plan(count_bins: int = 8, bound: float = 3.0, order: Order = "linear") -> PyroSpline:
    return PyroSpline(count_bins=count_bins, bound=float(bound), order=order)


def _plan_of(spline: Any) -> PyroSpline:
    return _plan(spline.count_bins, spline.bound, spline.order)


def _spline(plan: PyroSpline, count: int, *, by_parameter: bool) -> Driven:
    """Returns where a network has a spline's parameters: number by number, or coordinate by coordinate in each."""
    sizes = [size for (size,) in plan.param_shapes]
    shift = [0.0] * (2 * sizes[0]) + [-slope_shift(MIN_DERIVATIVE)] * sizes[2] + [0.0] * sum(sizes[3:])
    found = driven(plan, count, by_coordinate=False, shift=shift)
    if by_parameter:
        return found
    starts = [count * sum(sizes[:i]) for i in range(len(sizes))]
    rows = [torch.arange(count * n).reshape(count, n).mT + start for n, start in zip(sizes, starts, strict=True)]
    return Driven(plan, torch.cat(rows), found.scale, found.shift)


def _autoregressive(drive: Driven, net: Any) -> tuple[Layer, int]:
    name = type(net).__name__
    if name not in ("AutoRegressiveNN", "ConditionalAutoRegressiveNN"):
        raise NotSupportedError(f"network: a (Conditional)AutoRegressiveNN is expected; got {name}.")
    if net.input_dim < 2:
        raise NotSupportedError(f"input_dim: at least two coordinates are expected; got {net.input_dim}.")
    *hidden, output = map(linear, net.layers)
    columns = [*range(net.context_dim, net.context_dim + net.input_dim), *range(net.context_dim)]
    skip = None if net.skip_layer is None else linear(net.skip_layer)
    order, kind = net.permutation.tolist(), activation(net.f)
    masked = Masked(hidden, output, drive, columns, net.context_dim, order, kind, skip)
    return autoregressive(drive.plan, made(masked)), net.context_dim


def _dense(net: Any, drive: Driven) -> Conditioner:
    name = type(net).__name__
    if name not in ("DenseNN", "ConditionalDenseNN"):
        raise NotSupportedError(f"network: a (Conditional)DenseNN is expected; got {name}.")
    *hidden, output = map(linear, net.layers)
    columns = [*range(net.context_dim, net.context_dim + net.input_dim), *range(net.context_dim)]
    return dense(hidden, output, drive, columns, activation(net.f))


def _affine_autoregressive(transform: Any, size: int) -> tuple[Layer, int]:
    conditional = hasattr(transform, "kwargs")
    plan = _affine(transform, transform.kwargs if conditional else {})
    net = transform.nn if conditional else transform.arn
    return _autoregressive(driven(plan, size, by_coordinate=False), net)


def _affine_coupling(transform: Any, size: int) -> tuple[Layer, int]:
    options = getattr(transform, "kwargs", {})
    dim = options.get("dim", getattr(transform, "dim", -1))
    if dim != -1:
        raise NotSupportedError(f"dim: -1 is expected; got {dim}.")
    split, net = transform.split_dim, transform.nn
    drive = driven(_affine(transform, options), size - split, by_coordinate=False)
    return coupling(drive.plan, _dense(net, drive), _first(split, size)), net.context_dim


def _first(split: int, size: int) -> list[bool]:
    return [i < split for i in range(size)]


def _spline_autoregressive(transform: Any, size: int) -> tuple[Layer, int]:
    conditional = hasattr(transform, "kwargs")
    plan = _plan(**transform.kwargs) if conditional else _plan_of(transform.spline)
    return _autoregressive(_spline(plan, size, by_parameter=True), transform.nn if conditional else transform.arn)


def _spline_coupling(transform: Any, size: int) -> tuple[Layer, int]:
    split, upper = transform.split_dim, transform.upper_spline
    drive = _spline(_plan_of(upper), size - split, by_parameter=False)
    untouched = None if transform.identity else _free_spline(transform.lower_spline, split)[0]
    return coupling(drive.plan, _dense(upper.nn, drive), _first(split, size), untouched), upper.nn.context_dim


def _free_spline(transform: Any, size: int) -> tuple[Layer, int]:
    names = ["widths", "heights", "derivatives", *(["lambdas"] if transform.order == "linear" else [])]
    values = [getattr(transform, f"unnormalized_{name}").detach() for name in names]
    values[2] = values[2] - slope_shift(MIN_DERIVATIVE)
    return free(_plan_of(transform), values), 0


def _spline_from_context(transform: Any, size: int) -> tuple[Layer, int]:
    net = transform.nn
    if type(net).__name__ != "DenseNN":
        raise NotSupportedError(f"network: a DenseNN of the context is expected; got {type(net).__name__}.")
    drive = _spline(_plan_of(transform), size, by_parameter=False)
    *hidden, output = map(linear, net.layers)
    return from_context(
        drive.plan, dense(hidden, output, drive, range(net.input_dim), activation(net.f))
    ), net.input_dim


def _permute(transform: Any, size: int) -> tuple[Layer, int]:
    if transform.dim != -1:
        raise NotSupportedError(f"dim: -1 is expected; got {transform.dim}.")
    return permute(transform.permutation), 0


def _batch_norm(transform: Any, size: int) -> tuple[Layer, int]:
    scale = torch.sqrt(transform.moving_variance + transform.epsilon) / transform.constrained_gamma
    return fixed_affine(transform.moving_mean - scale * transform.beta, scale.log()), 0


def _torch_affine(transform: Any, size: int) -> tuple[Layer, int]:
    loc, scale = (torch.as_tensor(t).detach() for t in (transform.loc, transform.scale))
    return Layer(bij.AffineFixed(loc.tolist(), scale.tolist())), 0


def _fixed(plan: Elementwise) -> Callable[[Any, int], tuple[Layer, int]]:
    return lambda transform, size: (Layer(plan), 0)


_LAYERS: dict[str, Callable[[Any, int], tuple[Layer, int]]] = {
    "AffineAutoregressive": _affine_autoregressive,
    "AffineCoupling": _affine_coupling,
    "AffineTransform": _torch_affine,
    "BatchNorm": _batch_norm,
    "ConditionalAffineAutoregressive": _affine_autoregressive,
    "ConditionalAffineCoupling": _affine_coupling,
    "ConditionalSpline": _spline_from_context,
    "ConditionalSplineAutoregressive": _spline_autoregressive,
    "ExpTransform": _fixed(bij.Exp()),
    "Permute": _permute,
    "SigmoidTransform": _fixed(bij.Sigmoid()),
    "SoftplusTransform": _fixed(bij.Softplus()),
    "Spline": _free_spline,
    "SplineAutoregressive": _spline_autoregressive,
    "SplineCoupling": _spline_coupling,
    "TanhTransform": _fixed(bij.Tanh()),
}
