"""What conversions share: a plan, and what copies the other library's numbers into its bound form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch.distributions import Distribution
from torch.nn import functional as F

from ..bijectors import (
    Affine,
    Autoregressive,
    Bijector,
    BoundBijector,
    BoundElementwise,
    Compose,
    Coupling,
    Elementwise,
    Invert,
    Permute,
)
from ..distributions import Flow
from ..errors import NotSupportedError, naming
from ..parameters import Parameters, Tensor
from ..types import ModuleFactory

T = TypeVar("T")


class Conditioner(NamedTuple):
    """A conditioner's plan, and what fills its bound form."""

    plan: Parameters
    load: Callable[[Any], None]


class Layer(NamedTuple):
    """A bijector's plan, and what fills its bound form."""

    plan: Bijector
    load: Callable[[Any], None] = lambda bound: None


@dataclass(frozen=True)
class Driven:
    """An elementwise plan, and where a network of another library has its parameters.

    Args:
        plan: how a coordinate moves.
        rows: ``(P, D)``, the row of the network's output that is parameter ``p`` of coordinate ``i``; the network's
            layout and ours differ.
        scale: ``(P,)``, what the output is multiplied by to be our parameter.
        shift: ``(P,)``, what is added then.
    """

    plan: Elementwise
    rows: torch.Tensor
    scale: torch.Tensor
    shift: torch.Tensor

    def of(self, output: torch.Tensor) -> torch.Tensor:
        """Returns numbers that a network puts out, ``(P D, ...)``, as ours, ``(P, D, ...)``, without the shift."""
        rows = self.rows.to(output.device)
        scale = self.scale.to(output).reshape(-1, *(1,) * output.dim())
        return output.detach()[rows] * scale

    def bias(self, output: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
        """Returns the biases of a network's output as ours, ``(P, D)``."""
        given = like.new_zeros(self.rows.numel()) if output is None else output
        return self.of(given) + self.shift.to(like)[:, None]


def driven(
    plan: Elementwise,
    count: int,
    *,
    by_coordinate: bool,
    order: Sequence[int] | None = None,
    scale: Sequence[float] | float = 1.0,
    shift: Sequence[float] | float = 0.0,
) -> Driven:
    """Returns where parameters are that lie one coordinate after the other, or one parameter after the other.

    Args:
        plan: how a coordinate moves.
        count: how many coordinates.
        by_coordinate: whether all parameters of a coordinate come together.
        order: which of the network's parameters each of ours is.
        scale: what to multiply each with.
        shift: what to add then.
    """
    total = sum(torch.Size(s).numel() for s in plan.param_shapes)
    rows = torch.arange(total * count)
    rows = rows.reshape(count, total).mT if by_coordinate else rows.reshape(total, count)
    if order is not None:
        rows = rows[list(order)]
    factors = torch.as_tensor(scale, dtype=torch.float64).expand(total)
    return Driven(plan, rows, factors, torch.as_tensor(shift, dtype=torch.float64).expand(total))


def autoregressive(elementwise: Elementwise, conditioner: Conditioner) -> Layer:
    """Returns an autoregressive layer of at least two coordinates."""
    return Layer(Autoregressive(elementwise, conditioner.plan), lambda bound: conditioner.load(bound.params))


def coupling(
    elementwise: Elementwise, conditioner: Conditioner, mask: Sequence[bool], untouched: Layer | None = None
) -> Layer:
    """Returns a coupling that leaves the coordinates where ``mask`` is True, or moves them by ``untouched``."""

    def load(bound: Any) -> None:
        conditioner.load(bound.params)
        if untouched is not None:
            untouched.load(bound.untouched)

    other = None if untouched is None else untouched.plan
    return Layer(Coupling(elementwise, conditioner.plan, mask=tuple(mask), untouched=other), load)  # type: ignore[arg-type]  # elementwise


def free(elementwise: Elementwise, values: Sequence[torch.Tensor]) -> Layer:
    """Returns an elementwise layer with free parameters of these values, whatever the context."""

    def load(bound: BoundElementwise) -> None:
        assert bound.params is not None
        for parameter, value in zip(bound.params.parameters(), values, strict=True):
            parameter.copy_(value)

    return Layer(replace(cast(Any, elementwise), params_fn=Tensor()), load)


def from_context(elementwise: Elementwise, conditioner: Conditioner) -> Layer:
    """Returns an elementwise layer whose parameters come from the context."""
    plan = replace(cast(Any, elementwise), params_fn=conditioner.plan)
    return Layer(plan, lambda bound: conditioner.load(bound.params))


def fixed_affine(loc: torch.Tensor, log_scale: torch.Tensor) -> Layer:
    """Returns ``y = loc + exp(log_scale) x`` with free parameters that start there."""
    plan = Affine(scale_fn="exp", log_scale_min_clip=-torch.inf, log_scale_max_clip=torch.inf)
    return free(plan, (loc.detach(), log_scale.detach()))


def permute(permutation: torch.Tensor) -> Layer:
    """Returns ``y_i = x_permutation[i]``."""
    return Layer(Permute(tuple(permutation.tolist())))


def inverse(layer: Layer) -> Layer:
    """Returns the inverse of a layer; of an inverse, what it is the inverse of."""
    if isinstance(layer.plan, Invert):
        return Layer(layer.plan.plan, lambda bound: layer.load(_Outer(bound)))
    if isinstance(layer.plan, Permute) and layer.plan.permutation is not None:
        return permute(torch.tensor(layer.plan.permutation).argsort())
    return Layer(Invert(layer.plan), lambda bound: layer.load(bound.bijector))


class _Outer(NamedTuple):
    """A bound bijector, in the place that an inverse has for it."""

    bijector: BoundBijector[Bijector]


def build(who: str, base: Distribution, layers: Iterable[Layer], contexts: Iterable[int], **options: Any) -> Flow:
    """Returns the flow of these layers, base to data, filled.

    Args:
        who: the function asked.
        base: the base, over vectors.
        layers: the layers.
        contexts: the lengths of the contexts that layers see; 0 for none.
        options: further options of the flow.
    """
    layers, lengths = list(layers), sorted({*contexts} - {0})
    if len(lengths) > 1:
        raise NotSupportedError(f"{who}: transforms of one context are expected; got contexts of lengths {lengths}.")
    context = (lengths[0],) if lengths else None
    flow = Flow(base, Compose([layer.plan for layer in layers]), **{"context_shape": context, **options})
    with torch.no_grad():
        for layer, bound in zip(layers, flow.bijector.parts, strict=True):  # type: ignore[arg-type]  # of a Compose
            layer.load(bound)
    return flow


def verified(who: str, made: Flow, origin: Any, log_prob: Callable[[torch.Tensor, Any], torch.Tensor]) -> Flow:
    """Returns the flow made, if it scores some points as its origin does.

    Other versions of a library may compute otherwise under the same names, and that must not go unnoticed.
    """
    like = next(made.parameters(), torch.zeros(()))
    context = None
    if made.context_shape is not None:
        generator = torch.Generator().manual_seed(0)
        context = torch.randn(16, *made.context_shape, generator=generator).to(like)
    modules = list(origin.modules()) if isinstance(origin, torch.nn.Module) else []
    modes = [module.training for module in modules]
    for module in modules:
        module.training = False
    made.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            x = made.sample((16,) if context is None else (), context)
            expected, got = log_prob(x, context), made.log_prob(x, context)
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        made.train(getattr(origin, "training", True))
    # The median: of points that lie far off, as some may, rounding leaves few digits.
    apart = ((got - expected).abs() / (1.0 + expected.abs())).median().item()
    if not apart < 1e-3:
        raise NotSupportedError(
            f"{who}: a flow that computes as the version known here does is expected; got one whose log_prob differs "
            f"by {apart:.1e}."
        )
    return made


def part(where: str, value: object, make: Callable[[], T]) -> T:
    """Calls ``make``; what it refuses, it refuses in the name of a part of the flow."""
    with naming(f"{where} ({type(value).__name__})"):
        return make()


def lookup(who: str, value: object, known: dict[str, T]) -> T:
    """Returns what is known of an object's class, by its name."""
    name = type(value).__name__
    if name not in known:
        raise NotSupportedError(f"{who}: one of {', '.join(sorted(known))} is expected; got {name}.")
    return known[name]


_FUNCTIONS: dict[Callable[..., object], ModuleFactory] = {
    F.relu: torch.nn.ReLU,
    torch.relu: torch.nn.ReLU,
    F.elu: torch.nn.ELU,
    F.selu: torch.nn.SELU,
    F.gelu: torch.nn.GELU,
    F.silu: torch.nn.SiLU,
    F.leaky_relu: torch.nn.LeakyReLU,
    F.softplus: torch.nn.Softplus,
    F.mish: torch.nn.Mish,
    F.tanh: torch.nn.Tanh,
    torch.tanh: torch.nn.Tanh,
    F.sigmoid: torch.nn.Sigmoid,
    torch.sigmoid: torch.nn.Sigmoid,
}


def activation(value: Any) -> ModuleFactory:
    """Returns the class of an activation, given as a function, a module or its class."""
    if value in _FUNCTIONS:
        return _FUNCTIONS[value]
    kind = value if isinstance(value, type) else type(value)
    if kind.__module__ == "torch.nn.modules.activation":
        made = value if not isinstance(value, type) else kind()
        if made.extra_repr() == kind().extra_repr() and not list(made.parameters()):
            return kind
    raise NotSupportedError(
        f"activation: one of torch.nn without parameters and with its default options is expected; got {value!r}."
    )


def one_activation(modules: Sequence[object]) -> ModuleFactory:
    """Returns the class of the activations, all the same; ReLU if there are none."""
    kinds = {activation(m) for m in modules}
    if len(kinds) > 1:
        raise NotSupportedError(f"activation: the same after every layer is expected; got {len(kinds)} kinds.")
    return kinds.pop() if kinds else torch.nn.ReLU
