"""Flows of zuko."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch.distributions import Distribution, Independent, Normal, Uniform

from ..bijectors import Elementwise
from ..distributions import DiagNormal, Flow
from ..errors import NotSupportedError
from .affine import ZukoAffine
from .common import (
    Driven,
    Layer,
    autoregressive,
    build,
    coupling,
    driven,
    free,
    from_context,
    inverse,
    lookup,
    one_activation,
    part,
    verified,
)
from .networks import Block, Linear, Masked, dense, linear, made, residual_made
from .spline import ZukoCircularSpline, ZukoSpline

WHO = "from_zuko"


def from_zuko(flow: torch.nn.Module) -> Flow:
    r"""Returns a flow of zuko as one of ours, with the same density and the same samples from the same noise.

    .. math:: p(y \mid c) = p_{base}(f_n \circ \cdots \circ f_1(y; c)) \, |\det \partial f / \partial y|

    It is a flow like any other: it may be trained, saved and conditioned, and shares no parameters with the one given.
    Carried are ``MAF``, ``NSF``, ``NCSF``, ``NICE``, ``RealNVP`` and any ``zuko.lazy.Flow`` of masked autoregressive,
    coupling and elementwise transforms, each of affine maps or (circular) rational quadratic splines, with orders,
    passes, adjacencies, masks and contexts, plain and residual networks. Masked networks may come out a little wider,
    by units without a say. The base of ``NCSF`` reaches 1e-5 beyond the circle, where its transforms do not; ours is
    of the circle, which adds 3e-6 to the log-density for each coordinate.

    Args:
        flow: the trained flow.

    Returns:
        The flow, of the dtype and on the device of its parameters.

    Raises:
        NotSupportedError: for a part of another kind, naming it.

    Example:
        >>> import zuko  # doctest: +SKIP
        >>> from_zuko(zuko.flows.NSF(3, context=2)).log_prob(torch.zeros(3), torch.zeros(2))  # doctest: +SKIP

    References:
        zuko, https://zuko.readthedocs.io.
    """
    if not (hasattr(flow, "transform") and hasattr(flow, "base")):
        raise NotSupportedError(f"{WHO}: a zuko.lazy.Flow is expected; got {type(flow).__name__}.")
    base, learnt = _base(flow.base)
    size = base.event_shape[0]
    layers, contexts = [], []
    for i, transform in enumerate(_flat(flow.transform)):
        make = lookup(f"{WHO}: transform {i}", transform, _LAYERS)
        found, context = part(f"{WHO}: transform {i}", transform, partial(make, transform, size))
        layers.append(inverse(found))
        contexts.append(context)
    made_flow = build(WHO, base, reversed(layers), contexts, learn_base=learnt)
    return verified(WHO, made_flow, flow, lambda x, c: flow(c).log_prob(x))


def _flat(transform: Any) -> list[Any]:
    """Returns the transforms one after the other, data to base."""
    if type(transform).__name__ == "LazyComposedTransform":
        return [t for p in transform.transforms for t in _flat(p)]
    return [transform]


def _base(base: Any) -> tuple[Distribution, bool]:
    """Returns the base, and whether it is learnt."""
    found = base() if callable(base) and type(base).__name__ == "UnconditionalDistribution" else None
    inner = getattr(found, "base_dist", None)
    if isinstance(found, Independent) and found.batch_shape == () and len(found.event_shape) == 1:
        learnt = any(True for _ in base.parameters())
        if isinstance(inner, Normal):
            return DiagNormal(inner.loc.shape, inner.loc.detach(), inner.scale.detach()), learnt
        if isinstance(inner, Uniform):
            low, high = inner.low.detach(), inner.high.detach()
            if bool((torch.stack((-low, high)) - math.pi - 1e-5).abs().max() < 1e-6):
                # That of NCSF, a little larger than the circle that is all its transforms reach.
                low, high = low.clamp_min(-math.pi), high.clamp_max(math.pi)
            return Independent(Uniform(low, high), 1), learnt
    raise NotSupportedError(
        f"{WHO}: a base DiagNormal or BoxUniform without a context is expected; got {type(base).__name__}."
    )


def _elementwise(transform: Any, count: int) -> Driven:
    """Returns how a coordinate moves: zuko gives all parameters of a coordinate together."""
    univariate = transform.univariate
    options = dict(univariate.keywords) if isinstance(univariate, partial) else {}
    name = getattr(univariate.func if isinstance(univariate, partial) else univariate, "__name__", repr(univariate))
    plan: Elementwise
    if name == "MonotonicAffineTransform" and set(options) <= {"slope"}:
        plan = ZukoAffine(**options)
    elif name == "MonotonicRQSTransform" and set(options) <= {"slope", "bound"}:
        plan = ZukoSpline(count_bins=transform.shapes[0][0], **options)
    elif name == "CircularRQSTransform" and set(options) <= {"slope"}:
        plan = ZukoCircularSpline(count_bins=transform.shapes[0][0], **options)
    else:
        raise NotSupportedError(
            "univariate: MonotonicAffineTransform, MonotonicRQSTransform or CircularRQSTransform, with options slope "
            f"and bound, is expected; got {name} with {sorted(options)}."
        )
    return driven(plan, count, by_coordinate=True)


def _plain(network: Any) -> tuple[list[Linear], Any]:
    """Returns the layers and the activation of a network in which these alternate."""
    modules = list(network)
    layers, others = modules[::2], modules[1::2]
    if any(type(m).__name__ not in ("Linear", "MaskedLinear") or m.weight.dim() != 2 for m in layers):
        names = [type(m).__name__ for m in modules]
        raise NotSupportedError(f"hyper: linear layers and activations by turns are expected; got {names}.")
    return [linear(m) for m in layers], one_activation(others)


def _autoregressive(transform: Any, size: int) -> tuple[Layer, int]:
    modules = list(transform.hyper)
    context = transform.hyper.in_features - size
    ranks: Sequence[int] | None = None if transform.order is None else transform.order.tolist()
    order = None if ranks is None or len(set(ranks)) < size else sorted(range(size), key=ranks.__getitem__)
    drive, columns = _elementwise(transform, size), range(size + context)
    blocks = [m for m in modules if type(m).__name__ == "Residual"]
    if not blocks:
        (*hidden, output), kind = _plain(modules)
        net = Masked(hidden, output, drive, columns, context, order, kind)
        return autoregressive(drive.plan, made(net)), context
    first, *between, last = modules
    if between != blocks:
        raise NotSupportedError("hyper: residual blocks of one width are expected; got linear layers between them.")
    kind = one_activation([block[1] for block in blocks])
    net = Masked([linear(first)], linear(last), drive, columns, context, order, kind)
    pairs = [Block(linear(block[0]), linear(block[2])) for block in blocks]
    return autoregressive(drive.plan, residual_made(net, pairs, preactivation=False)), context


def _coupling(transform: Any, size: int) -> tuple[Layer, int]:
    mask = transform.mask.tolist()
    drive = _elementwise(transform, size - sum(mask))
    (*hidden, output), kind = _plain(transform.hyper)
    inputs = transform.hyper.in_features
    return coupling(drive.plan, dense(hidden, output, drive, range(inputs), kind), mask), inputs - sum(mask)


def _alone(transform: Any, size: int) -> tuple[Layer, int]:
    drive = _elementwise(transform, size)
    if not hasattr(transform, "hyper"):
        return free(drive.plan, [p.detach() for p in transform.phi]), 0
    (*hidden, output), kind = _plain(transform.hyper)
    inputs = transform.hyper.in_features
    return from_context(drive.plan, dense(hidden, output, drive, range(inputs), kind)), inputs


_LAYERS: dict[str, Callable[[Any, int], tuple[Layer, int]]] = {
    "ElementWiseTransform": _alone,
    "GeneralCouplingTransform": _coupling,
    "MaskedAutoregressiveTransform": _autoregressive,
}
