"""Equal layers with stacked parameters, run as one layer in a loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, cast, final

import torch

from .. import options
from ..errors import NotSupportedError, ShapeError, naming
from ..ops._modes import transformed
from ..specification import register
from ..summary import Row
from ..types import TensorPair
from .base import Bijector
from .bound import BoundBijector, as_plan
from .compose import Compose, name
from .composed import Composed


@register
@final
@dataclass(frozen=True)
class Scan(Composed):
    r"""Equal layers, one after the other, as one layer in a loop over stacked parameters.

    .. math:: y = f_n(\cdots f_1(x)), \qquad f_i = f(\cdot\,; \theta_i), \qquad \theta \in \mathbb{R}^{n \times \cdots}

    The map is that of ``Repeat(plan, count)``. Each parameter, and what a layer draws when bound, is one tensor with
    the layers along its first axis, in the ``state_dict`` too. Under ``torch.compile`` and ``torch.export`` both
    directions and their backward passes hold a single layer, by torch's ``scan``: compiling takes as long for 100
    layers as for one. Without a compiler, and under transforms of ``torch.func``, the layers run one by one,
    at the speed of ``Repeat`` but for what it takes to hand a layer its parameters.

    Limits of ``scan`` (a prototype in torch 2.13): compiled, a layer must keep the dtype of its input, and must not
    change its state, as ``BatchNorm`` does in a training step; the backward pass through the iterated inverse of
    ``Residual`` does not compile. ``Repeat`` has none of these limits.

    Args:
        plan: the layer; a ``Compose`` of what alternates, perhaps. It keeps the event's shape and draws no noise.
        count: how many layers.

    Raises:
        OptionError, OptionTypeError: for what is no plan or count.
        DomainError: if the plan's codomain does not lie in its domain.
        ShapeError: when bound to an event of which the plan changes the shape.
        NotSupportedError: when bound, for layers that draw noise, or of which more than tensors differs.

    Example:
        >>> from flowtorch.bijectors import AffineCoupling, Compose, Permute
        >>> bound = Scan(Compose([AffineCoupling(), Permute()]), 16).bind((4,))
        >>> {tensor.shape[0] for tensor in bound.state_dict().values()}
        {16}
    """

    plan: Bijector
    count: int

    def __post_init__(self) -> None:
        as_plan("Scan", self.plan)
        options.integer("Scan", "count", self.count, minimum=1)
        super().__post_init__()

    @property
    def composition(self) -> Compose:
        """The layers, written out."""
        return Compose((self.plan,) * self.count)

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundScan:
        self.domain_at(shape)
        return BoundScan(self, shape, context_shape)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"{self.count} times, with stacked parameters: {self.plan.describe()}"

    def explain(self) -> str:
        """Returns an account of one layer."""
        return f"Scan: {self.count} layers in a loop, each\n   " + self.plan.explain().replace("\n", "\n   ")


class BoundScan(BoundBijector[Scan]):
    """The bound form of :class:`Scan`; ``layer`` holds the tensors of all layers, stacked."""

    def __init__(self, plan: Scan, shape: torch.Size, context_shape: torch.Size | None) -> None:
        with naming("Scan"):
            layers = [plan.plan.bind(shape, context_shape) for _ in range(plan.count)]
        after = layers[0].out_shape
        if after != shape:
            raise ShapeError(
                f"Scan: a plan that keeps the event shape {tuple(shape)} is expected; got {name(plan.plan)}, which "
                f"makes it {tuple(after)}."
            )
        if layers[0].stochastic:
            raise NotSupportedError(
                f"Scan: a plan without noise is expected; got {name(plan.plan)}, which draws some. Use Repeat."
            )
        if any(_structure(layer) != _structure(layers[0]) for layer in layers):
            raise NotSupportedError(
                f"Scan: layers that differ in tensors only are expected; got {name(plan.plan)}, which draws other "
                "things when it is bound. Use Repeat."
            )
        super().__init__(plan, shape, context_shape)
        self.layer = Layer(layers[0])
        self._stacked = _stack(self.layer, [Layer(other) for other in layers[1:]])

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._through(x, context, inverse=False)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._through(y, context, inverse=True)

    def _through(self, x: torch.Tensor, context: torch.Tensor | None, inverse: bool) -> TensorPair:
        method = "_inverse_and_log_det" if inverse else "_forward_and_log_det"
        stacked = self._tensors()
        total = x.new_zeros(x.shape[: x.dim() - len(self.shape)])
        if stacked and torch.compiler.is_compiling() and not transformed():
            # Here, as a prototype: where it is missing or has moved, all else still works.
            from torch._higher_order_ops.scan import scan

            def step(carry: TensorPair, tensors: dict[str, torch.Tensor]) -> tuple[TensorPair, torch.Tensor]:
                y, log_det = self._layer(tensors, method, carry[0], context)
                # Neither a view of what came nor in another layout: the loop asks for both.
                return (y.clone(memory_format=torch.contiguous_format), carry[1] + log_det), log_det.new_zeros(())

            (x, total), _ = scan(step, (x.contiguous(), total), stacked, reverse=inverse)
            return x, total
        slices = self._slices(stacked)
        for tensors in reversed(slices) if inverse else slices:
            x, log_det = self._layer(tensors, method, x, context)
            total = total + log_det
        return x, total

    def _layer(
        self, tensors: dict[str, torch.Tensor], method: str, x: torch.Tensor, context: torch.Tensor | None
    ) -> Any:
        return torch.func.functional_call(self.layer, tensors, (method, x, context))

    def _tensors(self) -> dict[str, torch.Tensor]:
        return {key: cast(torch.Tensor, reduce(getattr, key.split("."), self.layer)) for key in self._stacked}

    def _slices(self, stacked: dict[str, torch.Tensor]) -> Sequence[dict[str, torch.Tensor]]:
        # Unbound at once: taken one by one, the gradient of each slice would be a tensor as large as the stack.
        parts = {key: tensor.unbind() for key, tensor in stacked.items()}
        return [{key: tensors[i] for key, tensors in parts.items()} for i in range(self.plan.count)]

    def initialize(self, y: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Starts every layer from what the layers after it make of the data."""
        super().initialize(y, context)
        with torch.no_grad():  # what layers change is a view of the stack
            for tensors in reversed(self._slices(self._tensors())):
                self._layer(tensors, "initialize", y, context)
                y = self._layer(tensors, "inverse", y, context)

    def initialize_forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Starts every layer from what the layers before it make of the data."""
        with torch.no_grad():
            for tensors in self._slices(self._tensors()):
                self._layer(tensors, "initialize_forward", x, context)
                x = self._layer(tensors, "forward", x, context)

    def rows(self) -> list[Row]:
        """Returns the lines of a layer, with the parameters of all."""
        return [replace(row, layer=f"{row.layer} x {self.plan.count}") for row in self.layer.bijector.rows()]


class Layer(torch.nn.Module):
    """Makes any method of a layer one that ``functional_call`` can call."""

    def __init__(self, bijector: BoundBijector[Bijector]) -> None:
        super().__init__()
        self.bijector = bijector

    def forward(self, method: str, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair | torch.Tensor | None:
        """Returns what the method does."""
        return cast("TensorPair | torch.Tensor | None", getattr(self.bijector, method)(x, context))


def _stack(first: Layer, others: Sequence[Layer]) -> tuple[str, ...]:
    """Puts stacks in the place of the first layer's tensors, and returns their names.

    A buffer that is in no state follows from the plan: it stays as it is where it is the same in all layers.
    """
    names: dict[int, str] = {}  # by the tensor: those that a layer uses twice are stacked once
    stacks: dict[int, torch.Tensor] = {}
    for path, module in first.named_modules():
        same = [other.get_submodule(path) for other in others]
        for held in ("_parameters", "_buffers"):
            for key, tensor in getattr(module, held).items():
                if tensor is None:
                    continue
                tensors = [tensor.detach(), *(getattr(m, held)[key].detach() for m in same)]
                derived = held == "_buffers" and key in module._non_persistent_buffers_set
                if derived and (tensor.is_meta or all(torch.equal(t, tensors[0]) for t in tensors)):
                    continue
                if id(tensor) not in stacks:
                    stack = torch.stack(tensors)
                    stacks[id(tensor)] = (
                        torch.nn.Parameter(stack, tensor.requires_grad) if held == "_parameters" else stack
                    )
                    names[id(tensor)] = f"{path}.{key}"
                getattr(module, held)[key] = stacks[id(tensor)]
    return tuple(names.values())


def _structure(layer: torch.nn.Module) -> list[Any]:
    """Returns what a layer's modules hold beside tensors and other objects."""
    return [(type(m), {key: _plain(value) for key, value in vars(m).items()}) for m in layer.modules()]


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):
        return tuple(_plain(v) for v in value)
    return value if isinstance(value, bool | int | float | str) else None
