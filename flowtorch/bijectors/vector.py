"""Plans of how a vector moves as a whole, with parameters that are free or come from the context."""

from __future__ import annotations

import abc
from dataclasses import KW_ONLY, dataclass
from functools import reduce

import torch

from .. import options
from ..errors import OptionError
from ..parameters import AutoregressiveParameters, Parameters, Tensor
from ..parameters.tensor import BoundTensor
from ..types import TensorPair
from .axis import Axis, check_dim
from .base import Bijector
from .bound import BoundBijector
from .elementwise import default_source, sum_event


@dataclass(frozen=True)
class VectorMap(Bijector):
    """A plan of how a vector moves as a whole: the flattened event, or each of the vectors along one of its axes.

    An author writes :meth:`param_shapes`, :meth:`apply` and :attr:`parameter_count`, and overrides :meth:`start` where
    parameters do not start at zero, and :meth:`constants` where something is drawn or computed once, at binding.

    Args:
        params_fn: where parameters come from, ``Tensor()`` or ``DenseNN()``; None for free parameters without a
            context, and a ``DenseNN`` of it with one.
        dim: the axis that the vectors lie along, one vector at each position of the others, all with the same
            parameters; None for the flattened event.
    """

    params_fn: Parameters | None = None
    _: KW_ONLY
    dim: int | None = None
    min_event_dim = 1

    def __post_init__(self) -> None:
        """Checks the options that all share."""
        who = type(self).__name__
        check_dim(who, self.dim)
        if self.params_fn is not None:
            options.instance(who, "params_fn", self.params_fn, Parameters)
            if isinstance(self.params_fn, AutoregressiveParameters):
                raise OptionError(
                    f"{who}: a conditioner such as Tensor() or DenseNN() is expected as params_fn; got "
                    f"{self.params_fn!r}."
                )

    @abc.abstractmethod
    def param_shapes(self, size: int) -> tuple[tuple[int, ...], ...]:
        """Returns the shape of each parameter for vectors of ``size`` coordinates; refuses a size that does not fit."""

    def start(self, size: int) -> tuple[torch.Tensor, ...]:
        """Returns what the parameters start at: free ones are set to it, others are added to it."""
        return tuple(torch.zeros(shape) for shape in self.param_shapes(size))

    def constants(self, size: int) -> tuple[torch.Tensor, ...]:
        """Returns what is kept in the state beside the parameters; :meth:`apply` gets it after them."""
        return ()

    @abc.abstractmethod
    def apply(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], *, inverse: bool) -> TensorPair:
        """Moves each vector.

        Args:
            x: ``(*batch, size)``.
            params: the parameters, each ``(*batch, *shape)`` or, where they depend on nothing, ``shape``; batches
                broadcast. After them the constants.
            inverse: whether to go back.

        Returns:
            The images ``(*batch, size)`` and log|det| of the direction taken, which broadcasts with ``(*batch)``.
        """

    @property
    @abc.abstractmethod
    def parameter_count(self) -> str:
        """How many numbers drive a vector of D coordinates, as a formula."""

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundVectorMap:
        return BoundVectorMap(self, shape, context_shape)

    def explain(self) -> str:
        """Returns what this plan does and where its parameters come from, in words."""
        what = (
            "the flattened event, of D coordinates," if self.dim is None else f"each vector of D along axis {self.dim}"
        )
        source = (
            "free when bound without a context, else from a DenseNN of the context"
            if self.params_fn is None
            else "free"
            if isinstance(self.params_fn, Tensor)
            else f"from {self.params_fn.describe()}"
        )
        return super().explain() + (
            f"\n  It moves {what} with {self.parameter_count} parameters, {source}; gradients reach them, and the "
            "input, in both directions."
        )


class BoundVectorMap(BoundBijector[VectorMap]):
    """The bound form of all of them."""

    def __init__(self, plan: VectorMap, shape: torch.Size, context_shape: torch.Size | None) -> None:
        super().__init__(plan, shape, context_shape)
        self.axis = Axis(shape, plan.dim, type(plan).__name__)
        size = self.axis.size
        source = default_source(plan.params_fn, context_shape)
        self.params = source.bind(plan.param_shapes(size), None, context_shape, coordinate_dims=0)
        self._conditioner = source.describe()
        self.fixed = Buffers(plan.constants(size))
        start = plan.start(size)
        if isinstance(self.params, BoundTensor):
            with torch.no_grad():
                for value, given in zip(self.params.values, start, strict=True):
                    value.copy_(given)
            start = ()
        self.starts = Buffers(start)

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._move(x, context, inverse=False)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._move(y, context, inverse=True)

    def _move(self, x: torch.Tensor, context: torch.Tensor | None, inverse: bool) -> TensorPair:
        vectors = self.axis.split(x).movedim(-self.axis.ndim, -1)
        params = self._given(context)
        # Products want one dtype, and solutions none below float32.
        common = reduce(torch.promote_types, (p.dtype for p in params if p.is_floating_point()), x.dtype)
        wide = torch.promote_types(common, torch.float32)
        params = tuple(p.to(wide) if p.is_floating_point() else p for p in params)
        if x.is_meta or not torch.is_autocast_enabled(x.device.type):
            y, log_det = self.plan.apply(vectors.to(wide), params, inverse=inverse)
        else:  # autocast is for the networks
            with torch.autocast(x.device.type, enabled=False):
                y, log_det = self.plan.apply(vectors.to(wide), params, inverse=inverse)
        log_det = sum_event(log_det.to(common).expand(vectors.shape[:-1]), len(self.axis.block))
        return self.axis.join(y.to(common).movedim(-1, -self.axis.ndim)), log_det

    def _given(self, context: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        params = self.params(None, context)
        starts = self.starts()
        if starts:
            params = tuple(p + s for p, s in zip(params, starts, strict=True))
        ones = (1,) * len(self.axis.block)
        if ones:  # one set of parameters for all vectors of an event
            params = tuple(
                p.reshape(*p.shape[: p.dim() - len(s)], *ones, *s) if p.dim() > len(s) else p
                for p, s in zip(params, self.params.param_shapes, strict=True)
            )
        return (*params, *self.fixed())

    def conditioner(self) -> str:
        """Returns a few words on where the parameters come from."""
        return self._conditioner


class Buffers(torch.nn.Module):
    """Tensors that are no parameters, kept in the state."""

    def __init__(self, tensors: tuple[torch.Tensor, ...]) -> None:
        super().__init__()
        for index, tensor in enumerate(tensors):
            self.register_buffer(str(index), tensor)

    def forward(self) -> tuple[torch.Tensor, ...]:
        """Returns them."""
        return tuple(self._buffers[name] for name in self._buffers)  # type: ignore[misc]  # None is never registered
