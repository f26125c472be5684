"""Any network of the user's as a conditioner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch

from .. import options
from ..errors import OptionTypeError, ShapeError
from ..specification import register
from ..types import numel
from .base import BoundParameters, ParameterLayout, Parameters, need_context


@register
@final
@dataclass(frozen=True)
class Network(Parameters):
    """A conditioner made by a function of your own.

    ``factory(in_features, out_features)`` returns the module. It is called with one tensor ``(N, in_features)``, the
    part of the input it may see followed by the context, each flattened, and returns ``(N, out_features)``. The output
    is read as ``(per_coordinate, *coordinates)``: all numbers of one kind together, as a convolution's channels are.
    Zero the last layer if the flow should start near the identity. ``flowtorch.register`` the factory if the plan is
    to be saved.

    Args:
        factory: what makes the module, anew at each binding.

    Raises:
        OptionTypeError: if the factory is no function, or does not return a module.
        ShapeError: if the module's output has the wrong shape.

    Example:
        >>> from flowtorch.bijectors import AffineCoupling
        >>> plan = AffineCoupling(Network(lambda i, o: torch.nn.Linear(i, o)))
        >>> plan.bind((4,)).forward(torch.zeros(5, 4)).shape
        torch.Size([5, 4])
    """

    factory: Callable[[int, int], torch.nn.Module]

    def __post_init__(self) -> None:
        like = "a function (in_features, out_features) that returns an nn.Module"
        options.module_factory("Network", "factory", self.factory, like)

    def _bind(
        self, layout: ParameterLayout, input_shape: torch.Size | None, context_shape: torch.Size | None
    ) -> BoundNetwork:
        need_context("Network", input_shape, context_shape)
        return BoundNetwork(self, layout, input_shape, context_shape)

    def describe(self) -> str:
        """Returns a few words on what this is, for summaries."""
        return f"Network({getattr(self.factory, '__name__', 'factory')})"


class BoundNetwork(BoundParameters):
    """The bound form of :class:`Network`."""

    def __init__(
        self, plan: Network, layout: ParameterLayout, input_shape: torch.Size | None, context_shape: torch.Size | None
    ) -> None:
        super().__init__(layout, input_shape, context_shape)
        in_features = sum(numel(s) for s in (input_shape, context_shape) if s is not None)
        net = plan.factory(in_features, layout.out_features)
        if not isinstance(net, torch.nn.Module):
            raise OptionTypeError(f"Network: the factory is expected to return an nn.Module; got {options.short(net)}.")
        self.net = net

    def forward(self, x: torch.Tensor | None, context: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """Returns the parameters."""
        given = [t for t in (self.flat_input(x), self.flat_context(context)) if t is not None]
        batch = torch.broadcast_shapes(*(t.shape[:-1] for t in given))
        joined = torch.cat([t.expand(*batch, t.shape[-1]) for t in given], -1)
        out = self.net(joined.reshape(numel(batch), joined.shape[-1]))
        layout = self.layout
        if out.shape != (numel(batch), layout.out_features):
            raise ShapeError(
                f"Network: an output of shape {(numel(batch), layout.out_features)} is expected; got "
                f"{tuple(out.shape)}."
            )
        return layout.cut(out.reshape(*batch, layout.per_coordinate, layout.count))
