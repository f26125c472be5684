"""Parameters from the coordinates before, by a masked network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import final

import torch

from .. import options
from ..errors import OptionError, OptionTypeError, ShapeError
from ..nn import MaskedDense, MaskedDenseSteps
from ..specification import register
from ..types import ModuleFactory, numel
from .base import AutoregressiveParameters, AutoregressiveSteps, BoundAutoregressiveParameters, ParameterLayout
from .base import flat as flatten
from .dense_nn import DenseNN


@register
@final
@dataclass(frozen=True)
class MADE(AutoregressiveParameters):
    r"""A masked dense network: the parameters of a coordinate depend on the coordinates before it and on the context.

    .. math:: \theta_{\pi(s)} = f_s(x_{\pi(0)}, \ldots, x_{\pi(s-1)}, c)

    FlowTorch 0.8 called it ``DenseAutoregressive``; both names are exported. All steps together are one pass of the
    network; going one step at a time, for an inverse, evaluates each hidden unit and each output once, so that is one
    pass too. To add or remove layers change ``hidden_dims``: ``(64, 64, 64)`` has three hidden layers, ``()`` none
    (each parameter a linear function of what is before). The last layer starts at zero.
    Hidden layers narrower than the number of coordinates cannot carry all of them: ``skip_connections`` then restores
    the dependences that are lost.

    Args:
        hidden_dims: the widths of the hidden layers.
        nonlinearity: the class of the activations; they must act on each unit alone.
        permutation: the order :math:`\pi` in which coordinates are met, ``permutation[0]`` first. None draws one at
            each binding, as stacked layers need different ones, and keeps it in the ``state_dict``.
        skip_connections: adds a linear map from the input to the parameters.
        residual: adds the input of every hidden layer but the first to its output (one width).

    Raises:
        OptionError, OptionTypeError: for options out of range.
        ShapeError: when a permutation of another length is bound.

    Example:
        >>> from flowtorch.bijectors import AffineAutoregressive
        >>> bound = AffineAutoregressive(MADE(hidden_dims=(32, 32, 32), permutation=(2, 0, 1))).bind((3,))
        >>> torch.autograd.functional.jacobian(bound, torch.ones(3)).shape
        torch.Size([3, 3])

    References:
        Masked Autoencoder for Distribution Estimation (Germain et al., 2015), https://arxiv.org/abs/1502.03509, sec. 4.
        Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017), https://arxiv.org/abs/1705.07057.
    """

    hidden_dims: Sequence[int] = (256, 256)
    _: KW_ONLY
    nonlinearity: ModuleFactory = torch.nn.ReLU
    permutation: Sequence[int] | None = None
    skip_connections: bool = False
    residual: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden_dims", options.hidden_dims("MADE", self.hidden_dims))
        options.module_factory("MADE", "nonlinearity", self.nonlinearity)
        options.boolean("MADE", "skip_connections", self.skip_connections)
        options.boolean("MADE", "residual", self.residual)
        if self.residual:
            options.residual_widths("MADE", self.hidden_dims)
        if self.permutation is not None:
            object.__setattr__(self, "permutation", as_permutation("MADE", self.permutation))

    def _bind(
        self, layout: ParameterLayout, input_shape: torch.Size | None, context_shape: torch.Size | None
    ) -> BoundMADE:
        if input_shape is None or len(input_shape) == 0:
            raise ShapeError("MADE: an input of at least one dimension is expected; got none. Use DenseNN() instead.")
        if input_shape != layout.coordinates:
            raise ShapeError(
                f"MADE: parameters for each coordinate of its input {tuple(input_shape)} are expected; got "
                "parameters for "
                f"{tuple(layout.coordinates)}. For a coupling or an elementwise plan use DenseNN()."
            )
        return BoundMADE(self, layout, input_shape, context_shape)

    @property
    def unordered(self) -> DenseNN:
        """The dense network that takes its place where there is one step only."""
        return DenseNN(self.hidden_dims, nonlinearity=self.nonlinearity, residual=self.residual)

    def describe(self) -> str:
        """Returns a few words on what this is, for summaries."""
        return f"MADE{self.hidden_dims}"


class BoundMADE(BoundAutoregressiveParameters):
    """The bound form of :class:`MADE`."""

    def __init__(
        self, plan: MADE, layout: ParameterLayout, input_shape: torch.Size, context_shape: torch.Size | None
    ) -> None:
        steps = input_shape[0]
        super().__init__(layout, input_shape, context_shape, draw_order("MADE", plan.permutation, steps))
        self.net = MaskedDense(
            self.order,
            layout.count // steps,
            0 if context_shape is None else numel(context_shape),
            plan.hidden_dims,
            layout.per_coordinate,
            nonlinearity=plan.nonlinearity,
            skip_connections=plan.skip_connections,
            residual=plan.residual,
        )

    def forward(self, x: torch.Tensor | None, context: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """Returns the parameters of all coordinates at once."""
        return self.layout.cut(self.net(self.flat_input(x), self.flat_context(context)))

    def sequential(self, context: torch.Tensor | None, batch: torch.Size) -> BoundMADESteps:
        """Starts a pass over the steps in which each hidden unit and each output is evaluated once."""
        return BoundMADESteps(self, MaskedDenseSteps(self.net, self.order, self.flat_context(context), batch))


class BoundMADESteps(AutoregressiveSteps):
    """:class:`MaskedDenseSteps`, its outputs cut into parameters."""

    def __init__(self, bound: BoundMADE, steps: MaskedDenseSteps) -> None:
        self.bound, self.steps = bound, steps
        self.shape = torch.Size((1, *bound.event[1:]))

    def parameters(self, step: int) -> tuple[torch.Tensor, ...]:
        """Returns the parameters of the step's coordinates."""
        return self.bound.layout.cut(self.steps.outputs(step), self.shape)

    def update(self, step: int, values: torch.Tensor) -> None:
        """Takes the values of the step's coordinates."""
        self.steps.update(flatten(values, self.shape))


def as_permutation(who: str, value: object) -> tuple[int, ...]:
    """Returns a permutation of ``0 .. n-1`` as a tuple, or refuses it."""
    items = value.tolist() if hasattr(value, "tolist") else value  # a tensor, or numpy's
    if not isinstance(items, Sequence) or any(isinstance(i, bool) or not isinstance(i, int) for i in items):
        raise OptionTypeError(f"{who}: permutation is expected to be a sequence of integers; got {value!r}.")
    if sorted(items) != list(range(len(items))):
        raise OptionError(
            f"{who}: permutation is expected to hold each of 0 .. {len(items) - 1} once; got {tuple(items)}."
        )
    return tuple(items)


def draw_order(who: str, permutation: Sequence[int] | None, size: int) -> torch.Tensor:
    """Returns ``permutation`` as a tensor, or a random one of this size."""
    if permutation is None:
        return torch.randperm(size)
    if len(permutation) != size:
        raise ShapeError(f"{who}: permutation has {len(permutation)} entries; got {size} coordinates to permute.")
    return torch.tensor(permutation)
