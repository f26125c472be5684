"""Elementwise plans, and the family in which their parameters come from nothing or from the context."""

from __future__ import annotations

import abc
from typing import ClassVar, cast

import torch

from .. import domains, options
from ..errors import OptionError
from ..parameters import AutoregressiveParameters, BoundParameters, DenseNN, Parameters, Tensor
from ..types import TensorPair
from .base import Bijector
from .bound import BoundBijector


class Elementwise(Bijector):
    """A plan of how one coordinate moves, given its parameters; it does not say where those come from.

    Used alone, the parameters are free or come from the context (``params_fn``); inside ``Autoregressive`` and
    ``Coupling`` they come from other coordinates. An author writes :attr:`param_shapes` and :meth:`apply`, and
    overrides ``domain``, ``codomain`` and ``increasing`` where the defaults do not hold.
    """

    params_fn: Parameters | None
    increasing: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks the options that all share."""
        if self.params_fn is not None:
            who = type(self).__name__
            options.instance(who, "params_fn", self.params_fn, Parameters)
            if isinstance(self.params_fn, AutoregressiveParameters):
                raise OptionError(
                    f"{who}: a conditioner such as Tensor() or DenseNN() is expected as params_fn; got "
                    f"{self.params_fn!r}. "
                    f"For parameters from other coordinates use Autoregressive({who}(), params_fn)."
                )

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The trailing shape of each parameter of a coordinate: ``((), ())`` for a location and a scale."""
        return ()

    @abc.abstractmethod
    def apply(
        self,
        x: torch.Tensor,
        params: tuple[torch.Tensor, ...],
        shared: torch.nn.Module | None,
        *,
        inverse: bool,
    ) -> TensorPair:
        """Moves each coordinate.

        Args:
            x: ``(*batch, *coordinates)``.
            params: the parameters, each ``(*batch, *coordinates, *trailing)``; batches broadcast.
            shared: what :meth:`bind_map` returned.
            inverse: whether to go back.

        Returns:
            The image and the logarithm of the derivative of the direction taken, both of the shape of ``x``.
        """

    def bind_map(self, shape: torch.Size) -> torch.nn.Module | None:
        """Returns a module with weights that all coordinates share, if the map has any."""
        return None

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundElementwise:
        return BoundElementwise(self, shape, context_shape, self, self.params_fn)

    def explain(self) -> str:
        """Returns what this plan does and where its parameters come from, in words."""
        if not self.param_shapes:
            return super().explain() + "\n  It has no parameters."
        count = sum(torch.Size(s).numel() for s in self.param_shapes)
        source = (
            "free when bound without a context, else from a DenseNN of the context"
            if self.params_fn is None
            else f"from {self.params_fn.describe()}"
            if not isinstance(self.params_fn, Tensor)
            else "free"
        )
        return super().explain() + f"\n  {count} parameters per coordinate, {source}."


class Fixed(Elementwise):
    """An elementwise plan without parameters."""

    params_fn: ClassVar[None] = None  # type: ignore[misc]  # never a field here


class BoundMap(torch.nn.Module):
    """An elementwise plan at work: guarded against values outside its domain, given its parameters by a family.

    Outside, the map is applied to a point inside instead and the log-derivative is ``-inf``: selecting before as well
    as after keeps gradients finite, which an infinite value would turn into NaN.
    """

    def __init__(self, plan: Elementwise, shape: torch.Size) -> None:
        super().__init__()
        self.plan = plan
        self.shared = plan.bind_map(shape)
        self._guards = (_guard(plan.domain), _guard(plan.codomain))

    def forward(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], inverse: bool) -> TensorPair:
        """Moves each coordinate, see :meth:`Elementwise.apply`."""
        guard = self._guards[inverse]
        if guard is None:
            return self.plan.apply(x, params, self.shared, inverse=inverse)
        lower, upper, inside = guard
        outside = (x <= lower) | (x >= upper)  # False for NaN, which goes through
        y, log_derivative = self.plan.apply(torch.where(outside, inside, x), params, self.shared, inverse=inverse)
        return y, torch.where(outside, -torch.inf, log_derivative)


def _guard(constraint: torch.distributions.constraints.Constraint) -> tuple[float, float, float] | None:
    box = domains.region(constraint)
    if not isinstance(box, domains.Box) or box.is_real:
        return None
    return box.lower[0], box.upper[0], domains.middle(box)[0]


class BoundElementwise(BoundBijector[Bijector]):
    """The bound form of an elementwise plan, and of a family that has only one coordinate to act on."""

    def __init__(
        self,
        plan: Bijector,
        shape: torch.Size,
        context_shape: torch.Size | None,
        elementwise: Elementwise,
        params_fn: Parameters | None,
    ) -> None:
        super().__init__(plan, shape, context_shape)
        self.map = BoundMap(elementwise, shape)
        self.params: BoundParameters | None = None
        self._conditioner = "-"
        if elementwise.param_shapes:
            source = params_fn or (Tensor() if context_shape is None else DenseNN())
            shapes = [(*shape, *trailing) for trailing in elementwise.param_shapes]
            self.params = source.bind(shapes, None, context_shape, coordinate_dims=len(shape))
            self._conditioner = source.describe()

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._move(x, context, inverse=False)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._move(y, context, inverse=True)

    def _move(self, x: torch.Tensor, context: torch.Tensor | None, inverse: bool) -> TensorPair:
        params = () if self.params is None else self.params(None, context)
        y, log_derivative = self.map(x, params, inverse)
        return y, sum_event(log_derivative, len(self.shape))

    @property
    def sign(self) -> int:
        """+1 for increasing maps; for decreasing ones it depends on how many coordinates there are."""
        return 1 if self.map.plan.increasing or self.shape.numel() % 2 == 0 else -1

    def conditioner(self) -> str:
        """Returns a few words on where the parameters come from."""
        return self._conditioner


def sum_event(x: torch.Tensor, dims: int) -> torch.Tensor:
    """Returns ``x`` summed over its last ``dims`` dimensions."""
    return x if dims == 0 else x.flatten(-dims).sum(-1) if dims > 1 else x.sum(-1)


def bare(who: str, value: object) -> Elementwise:
    """Returns an elementwise plan that a family can drive, or refuses it."""
    options.instance(who, "elementwise", value, Elementwise)
    plan = cast(Elementwise, value)
    if plan.params_fn is not None:
        raise OptionError(
            f"{who}: an elementwise plan without a params_fn of its own is expected, as the family says where "
            "parameters "
            f"come from; got {plan!r}. Give the params_fn to {who}."
        )
    if not plan.param_shapes:
        raise OptionError(
            f"{who}: an elementwise plan with parameters is expected; got {type(plan).__name__}, which has none to "
            "drive."
        )
    return plan
