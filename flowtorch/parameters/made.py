"""Parameters from the coordinates before, by a masked network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import final

import torch

from .. import options
from ..errors import OptionError, ShapeError
from ..nn import Dependence, FusedSteps, MaskedDense, MaskedDenseSteps
from ..nn.fused_steps import can_fuse
from ..specification import register
from ..types import ModuleFactory, numel
from .base import AutoregressiveParameters, AutoregressiveSteps, BoundAutoregressiveParameters, ParameterLayout
from .base import flat as flatten
from .dense_nn import DenseNN
from .steps import Order, Steps, as_adjacency, as_order, draw_order, in_passes, matrix_of, of_graph


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

    Steps may cover several coordinates at once: ``passes=n`` goes through all in ``n`` steps (two are a coupling in
    both halves, one after the other), and with a graph, ``adjacency``, there are as many as the graph is deep. The
    inverse is the faster, the fewer there are.

    Args:
        hidden_dims: the widths of the hidden layers.
        nonlinearity: the class of the activations; they must act on each unit alone.
        permutation: the order :math:`\pi` in which coordinates are met, ``permutation[0]`` first, or of any number of
            them ``"identity"`` or ``"reverse"``. None draws one at each binding, as stacked layers need different ones,
            and keeps it in the ``state_dict``.
        passes: in how many steps coordinates are met, as many in each as go evenly; None for one in each. At most as
            many as there are coordinates are taken.
        adjacency: which coordinates each coordinate sees, in place of all before it: rows of booleans, one for each
            coordinate, ``adjacency[i][j]`` for what ``i`` sees of ``j``; a graph without cycles. Columns after those
            are for the features of the context; without them each coordinate sees the whole context.
        skip_connections: adds a linear map from the input to the parameters.
        residual: adds the input of every hidden layer but the first to its output (one width).

    Raises:
        OptionError, OptionTypeError: for options out of range.
        ShapeError: when a permutation or an adjacency of another size is bound.

    Example:
        >>> from flowtorch.bijectors import AffineAutoregressive
        >>> bound = AffineAutoregressive(MADE(hidden_dims=(32, 32, 32), permutation=(2, 0, 1))).bind((3,))
        >>> torch.autograd.functional.jacobian(bound, torch.ones(3)).shape
        torch.Size([3, 3])

    References:
        Masked Autoencoder for Distribution Estimation (Germain et al., 2015), https://arxiv.org/abs/1502.03509, sec. 4.
        Structured Neural Networks for Density Estimation and Causal Inference (Chen et al., 2023),
        https://arxiv.org/abs/2311.02221, sec. 3.
        Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017), https://arxiv.org/abs/1705.07057.
    """

    hidden_dims: Sequence[int] = (256, 256)
    _: KW_ONLY
    nonlinearity: ModuleFactory = torch.nn.ReLU
    permutation: Order | None = None
    passes: int | None = None
    adjacency: Sequence[Sequence[bool]] | None = None
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
            object.__setattr__(self, "permutation", as_order("MADE", self.permutation))
        if self.passes is not None:
            options.integer("MADE", "passes", self.passes, minimum=1)
        if self.adjacency is not None:
            object.__setattr__(self, "adjacency", as_adjacency("MADE", self.adjacency))
            if self.permutation is not None or self.passes is not None:
                raise OptionError(
                    "MADE: adjacency alone, which has its own order, is expected; got permutation="
                    f"{self.permutation}, passes={self.passes} beside it."
                )

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

    def steps(self, size: int, context_features: int) -> Steps:
        """Returns the steps in which ``size`` coordinates are met; draws the order where none is given."""
        if self.adjacency is not None:
            return of_graph("MADE", self.adjacency, size, context_features)
        return in_passes(draw_order("MADE", self.permutation, size), self.passes, context_features)

    def describe(self) -> str:
        """Returns a few words on what this is, for summaries."""
        steps = "" if self.passes is None else f" in {self.passes} passes"
        return f"MADE{self.hidden_dims}{steps if self.adjacency is None else ' over a graph'}"


class BoundMADE(BoundAutoregressiveParameters):
    """The bound form of :class:`MADE`."""

    def __init__(
        self, plan: MADE, layout: ParameterLayout, input_shape: torch.Size, context_shape: torch.Size | None
    ) -> None:
        size, context_features = input_shape[0], 0 if context_shape is None else numel(context_shape)
        steps = plan.steps(size, context_features)
        block = layout.count // size
        net = MaskedDense(
            Dependence(steps.sees, steps.sizes, block, context_features),
            plan.hidden_dims,
            layout.per_coordinate,
            nonlinearity=plan.nonlinearity,
            skip_connections=plan.skip_connections,
            residual=plan.residual,
        )
        block_sizes = [size // block for size in net.block_sizes]
        super().__init__(layout, input_shape, context_shape, steps.order, steps.sizes, block_sizes)
        self.net = net
        self.sees = steps.sees

    @property
    def dependence(self) -> torch.Tensor:
        """Which coordinate (rows) may depend on which (columns) along the first axis, in the order of steps."""
        return matrix_of(self.sees)

    def forward(self, x: torch.Tensor | None, context: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """Returns the parameters of all coordinates at once."""
        return self.layout.cut(self.net(self.flat_input(x), self.flat_context(context)))

    def blocks(self, x: torch.Tensor, context: torch.Tensor | None) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yields the parameters for consecutive blocks of coordinates."""
        found = self.net.blocks(flatten(x, self.event), self.flat_context(context))
        for size, out in zip(self.block_sizes, found, strict=True):
            yield self.layout.cut(out, (size, *self.event[1:]))

    def sequential(self, context: torch.Tensor | None, batch: torch.Size) -> BoundMADESteps:
        """Starts a pass over the steps in which each hidden unit and each output is evaluated once."""
        fused = can_fuse(self.net, self.net.last[0].weight)
        return BoundMADESteps(
            self, (FusedSteps if fused else MaskedDenseSteps)(self.net, self.flat_context(context), batch)
        )


class BoundMADESteps(AutoregressiveSteps):
    """:class:`MaskedDenseSteps`, its outputs cut into parameters."""

    def __init__(self, bound: BoundMADE, steps: MaskedDenseSteps | FusedSteps) -> None:
        self.bound, self.steps = bound, steps

    def _shape(self, step: int) -> torch.Size:
        return torch.Size((self.bound.step_sizes[step], *self.bound.event[1:]))

    def parameters(self, step: int) -> tuple[torch.Tensor, ...]:
        """Returns the parameters of the step's coordinates."""
        return self.bound.layout.cut(self.steps.outputs(step), self._shape(step))

    def update(self, step: int, values: torch.Tensor) -> None:
        """Takes the values of the step's coordinates."""
        self.steps.update(flatten(values, self._shape(step)))

    def invert_affine(
        self, y: torch.Tensor, options: tuple[float | bool | int, ...]
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Takes all steps at once where the steps are fused."""
        if not isinstance(self.steps, FusedSteps):
            return None
        found = self.steps.invert_affine(flatten(y, self.bound.event), options)
        return None if found is None else (found[0].reshape(y.shape), found[1].reshape(y.shape))
