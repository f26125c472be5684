"""The two halves of a conditioner: a shape-free plan, and the module it is bound to."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from typing import Any, final

import torch

from ..errors import ContextError, NotBoundError, ShapeError
from ..ops._slices import cut
from ..specification import to_dict
from ..types import ShapeLike, as_size, numel


class Parameters(abc.ABC):
    """A plan of where parameters come from: a value, made once, bound any number of times.

    An author writes a frozen dataclass with :meth:`_bind`, its one abstract method.
    """

    @final
    def bind(
        self,
        param_shapes: Sequence[ShapeLike],
        input_shape: ShapeLike | None,
        context_shape: ShapeLike | None,
        *,
        coordinate_dims: int | None = None,
    ) -> BoundParameters:
        """Allocates what produces parameters of ``param_shapes``.

        Args:
            param_shapes: the full shape of each parameter: the coordinates' shape, then the trailing shape.
            input_shape: the shape of the part of the event that it may look at; None for none.
            context_shape: the shape of the context; None for none.
            coordinate_dims: how many leading dimensions of the shapes are the coordinates'; by default all that they
            share.

        Raises:
            ContextError: if it needs a context and there is none.
            ShapeError: if the shapes do not fit.
        """
        who = type(self).__name__
        shapes = tuple(as_size(s, who) for s in param_shapes)
        if not shapes:
            raise ShapeError(f"{who}: at least one parameter is expected; got no param_shapes.")
        shared = _common_prefix(shapes)
        dims = shared if coordinate_dims is None else coordinate_dims
        if not 0 <= dims <= shared:
            raise ShapeError(
                f"{who}: the parameters are expected to share their first {dims} dimensions, those of the coordinates; "
                f"got shapes {[tuple(s) for s in shapes]}."
            )
        inputs = None if input_shape is None else as_size(input_shape, who)
        context = None if context_shape is None else as_size(context_shape, who)
        return self._bind(ParameterLayout(shapes, dims), inputs, context)

    @abc.abstractmethod
    def _bind(
        self, layout: ParameterLayout, input_shape: torch.Size | None, context_shape: torch.Size | None
    ) -> BoundParameters:
        """Returns the bound form."""

    def describe(self) -> str:
        """Returns a few words on what this is, for summaries."""
        return type(self).__name__

    def to_dict(self) -> dict[str, Any]:
        """Returns the plan as a plain specification, see :func:`flowtorch.plan_from_dict`."""
        return to_dict(self)

    def __call__(self, *args: object, **kwargs: object) -> BoundParameters:
        """Refuses to be used as the module it is the plan of."""
        raise NotBoundError(
            f"{type(self).__name__}: a bound conditioner is expected here; got the plan. "
            "Call .bind(param_shapes, input_shape, context_shape) first."
        )


class ParameterLayout:
    """How the flat output of a network is cut into parameters.

    A network gives ``(*batch, per_coordinate, count)``, the coordinates last so that they are contiguous in memory;
    each parameter is a view of it of shape ``(*batch, *coordinates, *trailing)``.
    """

    def __init__(self, shapes: tuple[torch.Size, ...], coordinate_dims: int) -> None:
        self.shapes = shapes
        self.coordinates = shapes[0][:coordinate_dims]
        self.trailing = tuple(s[coordinate_dims:] for s in shapes)
        self.sizes = [numel(t) for t in self.trailing]
        self.at_most_one = all(len(t) <= 1 for t in self.trailing)
        self.lengths = [t[0] if len(t) == 1 else None for t in self.trailing]
        self.count = numel(self.coordinates)
        self.per_coordinate = sum(self.sizes)

    @property
    def out_features(self) -> int:
        """How many numbers there are in all."""
        return self.count * self.per_coordinate

    def cut(self, out: torch.Tensor, coordinates: Sequence[int] | None = None) -> tuple[torch.Tensor, ...]:
        """Returns the parameters in ``out``, ``(*batch, per_coordinate, count)``, for all or some ``coordinates``."""
        where = self.coordinates if coordinates is None else coordinates
        if len(where) == 1 and self.at_most_one:  # as they are, but for the order of axes: steps are short
            return cut(out, self.lengths)
        parts = out.split(self.sizes, -2)
        batch = out.shape[:-2]
        return tuple(
            part.mT.reshape((*batch, *where, *trailing)) for part, trailing in zip(parts, self.trailing, strict=True)
        )


def _common_prefix(shapes: Sequence[torch.Size]) -> int:
    dims = min(len(s) for s in shapes)
    return next((i for i in range(dims) if len({s[i] for s in shapes}) > 1), dims)


class BoundParameters(torch.nn.Module, abc.ABC):
    """What a plan is bound to: a module that gives the parameters.

    Args:
        layout: the shapes to produce.
        input_shape: the shape of the part of the event it sees, or None.
        context_shape: the shape of the context, or None.
    """

    def __init__(
        self, layout: ParameterLayout, input_shape: torch.Size | None, context_shape: torch.Size | None
    ) -> None:
        super().__init__()
        self.layout = layout
        self.input_shape = input_shape
        self.context_shape = context_shape

    @property
    def param_shapes(self) -> tuple[torch.Size, ...]:
        """The full shape of each parameter."""
        return self.layout.shapes

    @abc.abstractmethod
    def forward(self, x: torch.Tensor | None, context: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """Returns each parameter, ``(*batch, *param_shape)``; a batch that nothing depends on may be missing."""

    def flat_input(self, x: torch.Tensor | None) -> torch.Tensor | None:
        """Returns ``x`` as ``(*batch, features)``."""
        return None if x is None or self.input_shape is None else flat(x, self.input_shape)

    def flat_context(self, context: torch.Tensor | None) -> torch.Tensor | None:
        """Returns the context as ``(*batch, features)``."""
        return None if context is None or self.context_shape is None else flat(context, self.context_shape)


def flat(x: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Returns ``(*batch, *shape)`` as ``(*batch, numel(shape))``."""
    return x if len(shape) == 1 else x.reshape(*x.shape[: x.dim() - len(shape)], numel(shape))


class AutoregressiveParameters(Parameters):
    """A plan of parameters of which those of a coordinate depend only on the coordinates before it.

    It is autoregressive along the first axis of its input; a step covers a whole slice of the others.
    """

    @property
    @abc.abstractmethod
    def unordered(self) -> Parameters:
        """What takes its place where there is one step only, and so nothing before it but the context."""


class AutoregressiveSteps(abc.ABC):
    """A conditioner at work one step at a time: ask for a step's parameters, give its values, go on."""

    @abc.abstractmethod
    def parameters(self, step: int) -> tuple[torch.Tensor, ...]:
        """Returns the parameters ``(*batch, size, *rest, *trailing)`` of the coordinates that ``step`` covers."""

    @abc.abstractmethod
    def update(self, step: int, values: torch.Tensor) -> None:
        """Takes the values ``(*batch, size, *rest)`` of those coordinates."""

    def invert_affine(
        self, y: torch.Tensor, options: tuple[float | bool | int, ...]
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Takes all steps of the inverse of an affine map in one operator, where there is one for it.

        Args:
            y: all coordinates, in the order of the steps.
            options: those of the map, see :func:`flowtorch.ops.affine`.

        Returns:
            The values and the logarithms of the derivatives of the inverse, or None.
        """
        return None


class BoundAutoregressiveParameters(BoundParameters):
    """A bound conditioner that knows how to go one step at a time.

    It sees coordinates in the order of the steps, and gives their parameters in that order: who calls it puts them in
    ``order``.

    Args:
        layout: the shapes to produce; its coordinates' shape is ``input_shape``.
        input_shape: the event's shape; the first axis is the one that is autoregressive.
        context_shape: the shape of the context, or None.
        order: the indices along the first axis in the order in which they are met; kept in the state.
        step_sizes: how many of them each step covers; one each by default.
        block_sizes: how many of them each of :meth:`blocks` covers; all by default.
    """

    order: torch.Tensor

    def __init__(
        self,
        layout: ParameterLayout,
        input_shape: torch.Size,
        context_shape: torch.Size | None,
        order: torch.Tensor,
        step_sizes: Sequence[int] | None = None,
        block_sizes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(layout, input_shape, context_shape)
        self.event: torch.Size = input_shape
        self.step_sizes = tuple(step_sizes) if step_sizes is not None else (1,) * input_shape[0]
        self.block_sizes = tuple(block_sizes) if block_sizes is not None else (input_shape[0],)
        self.register_buffer("order", order)

    @property
    def dependence(self) -> torch.Tensor:
        """Which coordinate (rows) may depend on which (columns) along the first axis, in the order of steps."""
        step = torch.arange(len(self.step_sizes)).repeat_interleave(torch.tensor(self.step_sizes))
        return step[:, None] > step[None, :]

    def blocks(self, x: torch.Tensor, context: torch.Tensor | None) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yields the parameters for consecutive blocks of coordinates; by default one, of all."""
        yield self(x, context)

    def sequential(self, context: torch.Tensor | None, batch: torch.Size) -> AutoregressiveSteps:
        """Starts a pass over the steps. By default each recomputes everything: slow, and always right."""
        return RecomputedSteps(self, context, batch)


class RecomputedSteps(AutoregressiveSteps):
    """Steps of a conditioner of which nothing is known: the parallel form, once a step."""

    def __init__(self, bound: BoundAutoregressiveParameters, context: torch.Tensor | None, batch: torch.Size) -> None:
        self.bound, self.context = bound, context
        like = next(bound.parameters(), None)
        dtype = None if like is None else like.dtype
        self.x = torch.zeros(*batch, *bound.event, dtype=dtype, device=bound.order.device)
        self.axis = -len(bound.event)
        sizes = bound.step_sizes
        self.starts = [sum(sizes[:i]) for i in range(len(sizes))]

    def parameters(self, step: int) -> tuple[torch.Tensor, ...]:
        """Returns the parameters of the step's coordinates."""
        found = self.bound(self.x, self.context)
        start, size = self.starts[step], self.bound.step_sizes[step]
        trailing = self.bound.layout.trailing
        return tuple(p.narrow(self.axis - len(t), start, size) for p, t in zip(found, trailing, strict=True))

    def update(self, step: int, values: torch.Tensor) -> None:
        """Takes the values of the step's coordinates."""
        start = self.starts[step]
        before, rest = self.x.narrow(self.axis, 0, start), self.x.shape[self.axis] - start - values.shape[self.axis]
        after = self.x.narrow(self.axis, self.x.shape[self.axis] - rest, rest)
        self.x = torch.cat([before.to(values.dtype), values, after.to(values.dtype)], self.axis)


def need_context(who: str, input_shape: torch.Size | None, context_shape: torch.Size | None) -> None:
    """Refuses a network that would have nothing to look at."""
    if input_shape is None and context_shape is None:
        raise ContextError(
            f"{who}: a context_shape is expected, as this network has nothing else to depend on here; got None. "
            "Use params.Tensor() for free parameters."
        )
