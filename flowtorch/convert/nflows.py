"""Flows of nflows."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from ..bijectors import LU, Shift, Spline
from ..distributions import DiagNormal, Flow
from ..errors import NotSupportedError
from ..parameters import Tensor
from ..types import ShapeLike
from .affine import NflowsAffine
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
    inverse,
    lookup,
    part,
    permute,
    verified,
)
from .networks import Block, Masked, linear, made, residual_dense, residual_made
from .spline import slope_shift

WHO = "from_nflows"


def from_nflows(flow: torch.nn.Module, context_shape: ShapeLike | None = None) -> Flow:
    r"""Returns a flow of nflows as one of ours, with the same density and the same samples from the same noise.

    .. math:: p(y \mid c) = p_{base}(f_n \circ \cdots \circ f_1(y; c)) \, |\det \partial f / \partial y|

    It is a flow like any other: it may be trained, saved and conditioned, and shares no parameters with the one given.
    Carried are affine and rational quadratic masked autoregressive transforms, additive, affine and rational quadratic
    couplings with a ``ResidualNet``, ``LULinear``, permutations, compositions and inverses of these, over vectors;
    ``ActNorm``, ``BatchNorm`` and ``PointwiseAffineTransform`` become affine maps with the numbers of evaluation.
    Dropout is left out, as it is in evaluation. Masked networks of feedforward blocks may come out a little wider, by
    units without a say.

    Args:
        flow: the trained flow.
        context_shape: the shape of the contexts, which is needed where the flow has an ``embedding_net``.

    Returns:
        The flow, of the dtype and on the device of its parameters.

    Raises:
        NotSupportedError: for a part of another kind, naming it.

    Example:
        >>> from nflows import distributions, flows, transforms  # doctest: +SKIP
        >>> layer = transforms.MaskedAffineAutoregressiveTransform(3, 16)  # doctest: +SKIP
        >>> flow = flows.Flow(layer, distributions.StandardNormal([3]))  # doctest: +SKIP
        >>> from_nflows(flow).log_prob(torch.zeros(3))  # doctest: +SKIP

    References:
        nflows: normalizing flows in PyTorch (Durkan et al., 2020), https://github.com/bayesiains/nflows.
    """
    if not (hasattr(flow, "_transform") and hasattr(flow, "_distribution")):
        raise NotSupportedError(f"{WHO}: a nflows.flows.Flow is expected; got {type(flow).__name__}.")
    layers, contexts = [], []
    for i, (transform, backwards) in enumerate(_flat(flow._transform, False)):
        make = lookup(f"{WHO}: transform {i}", transform, _LAYERS)
        found, context = part(f"{WHO}: transform {i}", transform, partial(make, transform))
        layers.append(found if backwards else inverse(found))
        contexts.append(context)
    embedding = getattr(flow, "_embedding_net", None)
    options: dict[str, Any] = {}
    if embedding is not None and not isinstance(embedding, torch.nn.Identity):
        if context_shape is None:
            raise NotSupportedError(f"{WHO}: a context_shape is expected, as the flow embeds contexts; got None.")
        options = {"context_shape": context_shape, "embedding": copy.deepcopy(embedding)}
    base, learnt = _base(flow)
    made = build(WHO, base, reversed(layers), contexts, learn_base=learnt, **options)
    return verified(WHO, made, flow, lambda x, context: flow.log_prob(x, context=context))  # type: ignore[operator]  # theirs


def _flat(transform: Any, backwards: bool) -> list[tuple[Any, bool]]:
    """Returns the transforms one after the other, data to base, and whether each is to be inverted."""
    name = type(transform).__name__
    if name == "InverseTransform":
        return _flat(transform._transform, not backwards)
    if name == "CompositeTransform":
        parts = [_flat(t, backwards) for t in transform._transforms]
        return [t for p in (reversed(parts) if backwards else parts) for t in p]
    return [] if name == "IdentityTransform" else [(transform, backwards)]


def _base(flow: Any) -> tuple[DiagNormal, bool]:
    """Returns the base, and whether it is learnt."""
    base, like = flow._distribution, next(flow.parameters(), torch.zeros(()))
    shape = getattr(base, "_shape", ())
    zeros = torch.zeros(shape, dtype=like.dtype, device=like.device)
    name = type(base).__name__
    if name == "StandardNormal" and len(shape) == 1:
        return DiagNormal(shape, zeros, zeros + 1.0), False
    if name == "DiagonalNormal" and len(shape) == 1:
        return DiagNormal(shape, base.mean_.detach()[0], base.log_std_.detach()[0].exp()), True
    raise NotSupportedError(f"{WHO}: a base StandardNormal or DiagonalNormal over vectors is expected; got {name}.")


def _spline(transform: Any, count: int, net: Any) -> Driven:
    """Returns the rational quadratic spline of a transform, whose network gives a coordinate's parameters together."""
    if transform.tails != "linear":
        raise NotSupportedError(f"tails: 'linear' is expected; got {transform.tails!r}.")
    bins = transform.num_bins
    # nflows divides what makes widths and heights by the root of the width, where a network tells it.
    narrow = 1.0 / math.sqrt(net.hidden_features) if hasattr(net, "hidden_features") else 1.0
    return driven(
        _spline_plan(transform, bins),
        count,
        by_coordinate=True,
        scale=[narrow] * (2 * bins) + [1.0] * (bins - 1),
        shift=[0.0] * (2 * bins) + [-slope_shift(transform.min_derivative)] * (bins - 1),
    )


def _spline_plan(transform: Any, bins: int) -> Spline:
    return Spline(
        order="quadratic",
        count_bins=bins,
        bound=float(transform.tail_bound),
        min_bin_width=transform.min_bin_width,
        min_bin_height=transform.min_bin_height,
        min_derivative=transform.min_derivative,
    )


def _affine(scale_fn: str, shift: float, count: int, *, by_coordinate: bool, order: Sequence[int]) -> Driven:
    plan = NflowsAffine(scale_fn=scale_fn)  # type: ignore[arg-type]  # checked by the plan
    return driven(plan, count, by_coordinate=by_coordinate, order=order, shift=[0.0, shift - plan.shift])


def _made(net: Any, drive: Driven) -> Conditioner:
    """Returns a masked network as a conditioner."""
    first, output, blocks = linear(net.initial_layer), linear(net.final_layer), list(net.blocks)
    size, context = first.weight.shape[1], getattr(net, "context_layer", None)
    if any(getattr(b, "use_batch_norm", False) or getattr(b, "batch_norm", None) is not None for b in blocks):
        raise NotSupportedError("autoregressive_net: blocks without batch norm are expected; got use_batch_norm=True.")
    kind = activation(net.activation)
    if net.use_residual_blocks:
        features = 0 if context is None else context.in_features
        # Its features of the context have no columns in the first layer: they come in by a layer of their own.
        columns = range(size + features)
        wide = first._replace(
            weight=F.pad(first.weight, (0, features)), mask=F.pad(net.initial_layer.mask, (0, features), value=1.0)
        )
        masked = Masked([wide], output, drive, columns, features, range(size), kind)
        added = None if context is None else linear(context)
        pairs = [_block(b) for b in blocks]
        return residual_made(masked, pairs, added, preactivation=True)
    if context is not None:
        raise NotSupportedError(
            "autoregressive_net: residual blocks are expected with a context; got use_residual_blocks=False."
        )
    hidden = [first, *(linear(block.linear) for block in blocks)]
    return made(Masked(hidden, output, drive, range(size), 0, range(size), kind))


def _block(block: Any) -> Block:
    first, second = block.linear_layers
    context = getattr(block, "context_layer", None)
    return Block(linear(first), linear(second), None if context is None else linear(context))


def _features(net: Any) -> int:
    context = getattr(net, "context_layer", None)
    return 0 if context is None else int(context.in_features)


def _masked(transform: Any, drive: Callable[[int], Driven]) -> tuple[Layer, int]:
    net = transform.autoregressive_net
    size = net.initial_layer.in_features
    if size < 2:
        raise NotSupportedError(f"features: at least two are expected; got {size}.")
    found = drive(size)
    return autoregressive(found.plan, _made(net, found)), _features(net)


def _masked_affine(transform: Any) -> tuple[Layer, int]:
    if transform._epsilon != 1e-3:
        raise NotSupportedError(f"scale: a least scale of 1e-3 is expected; got {transform._epsilon}.")
    return _masked(transform, lambda count: _affine("softplus", 0.0, count, by_coordinate=True, order=(1, 0)))


def _masked_spline(transform: Any) -> tuple[Layer, int]:
    return _masked(transform, lambda count: _spline(transform, count, transform.autoregressive_net))


def _coupling(transform: Any, drive: Driven, untouched: Layer | None = None) -> tuple[Layer, int]:
    net = transform.transform_net
    if type(net).__name__ != "ResidualNet":
        raise NotSupportedError(f"transform_net: a ResidualNet is expected; got {type(net).__name__}.")
    if any(block.use_batch_norm for block in net.blocks):
        raise NotSupportedError("transform_net: blocks without batch norm are expected; got use_batch_norm=True.")
    kinds = {activation(block.activation) for block in net.blocks} or {torch.nn.ReLU}
    blocks = [_block(block) for block in net.blocks]
    conditioner = residual_dense(linear(net.initial_layer), blocks, linear(net.final_layer), drive, kinds.pop())
    kept = set(transform.identity_features.tolist())
    mask = [i in kept for i in range(transform.features)]
    return coupling(drive.plan, conditioner, mask, untouched), net.initial_layer.in_features - len(kept)


def _affine_coupling(transform: Any) -> tuple[Layer, int]:
    count = len(transform.transform_features)
    probe = torch.linspace(-3.0, 3.0, 7)
    scale = getattr(transform, "scale_activation", None)  # an option of later versions
    if scale is not None and not torch.allclose(scale(probe), torch.sigmoid(probe + 2.0) + 1e-3):
        raise NotSupportedError("scale_activation: sigmoid(a + 2) + 1e-3, the default, is expected; got another.")
    return _coupling(transform, _affine("sigmoid", 2.0, count, by_coordinate=False, order=(0, 1)))


def _additive_coupling(transform: Any) -> tuple[Layer, int]:
    return _coupling(transform, driven(Shift(), len(transform.transform_features), by_coordinate=False))


def _spline_coupling(transform: Any) -> tuple[Layer, int]:
    alone, untouched = transform.unconditional_transform, None
    if alone is not None:
        if alone.tails != "linear":
            raise NotSupportedError(f"unconditional_transform: tails='linear' is expected; got {alone.tails!r}.")
        derivatives = alone.unnormalized_derivatives.detach() - slope_shift(alone.min_derivative)
        values = (alone.unnormalized_widths.detach(), alone.unnormalized_heights.detach(), derivatives)
        untouched = free(_spline_plan(alone, values[0].shape[-1]), values)
    drive = _spline(transform, len(transform.transform_features), transform.transform_net)
    return _coupling(transform, drive, untouched)


def _lu(transform: Any) -> tuple[Layer, int]:
    lower, upper = (m.detach() for m in transform._create_lower_upper())

    def load(bound: Any) -> None:
        shift, both = bound.params.values
        shift.copy_(transform.bias)
        both.copy_(lower.tril(-1) + upper.triu(1) + torch.diag(upper.diagonal().log()))

    plan = LU(Tensor(), bias=True, scale_fn="exp", log_scale_min_clip=-math.inf, log_scale_max_clip=math.inf)
    return Layer(plan, load), 0


def _permutation(transform: Any) -> tuple[Layer, int]:
    return permute(transform._permutation), 0


def _act_norm(transform: Any) -> tuple[Layer, int]:
    return fixed_affine(transform.shift, transform.log_scale), 0


def _batch_norm(transform: Any) -> tuple[Layer, int]:
    scale = transform.weight / torch.sqrt(transform.running_var + transform.eps)
    return fixed_affine(transform.bias - scale * transform.running_mean, scale.log()), 0


def _pointwise(transform: Any) -> tuple[Layer, int]:
    return fixed_affine(transform._shift, transform._scale.log()), 0


_LAYERS: dict[str, Callable[[Any], tuple[Layer, int]]] = {
    "ActNorm": _act_norm,
    "AdditiveCouplingTransform": _additive_coupling,
    "AffineCouplingTransform": _affine_coupling,
    "BatchNorm": _batch_norm,
    "LULinear": _lu,
    "MaskedAffineAutoregressiveTransform": _masked_affine,
    "MaskedPiecewiseRationalQuadraticAutoregressiveTransform": _masked_spline,
    "Permutation": _permutation,
    "PiecewiseRationalQuadraticCouplingTransform": _spline_coupling,
    "PointwiseAffineTransform": _pointwise,
    "RandomPermutation": _permutation,
    "ReversePermutation": _permutation,
}
