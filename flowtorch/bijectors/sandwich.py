"""A bijector between another and its inverse."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch

from ..errors import ShapeError, naming
from ..specification import register
from ..summary import Row
from ..types import TensorPair
from .base import Bijector
from .bound import BoundBijector, as_plan
from .compose import Compose, name
from .composed import Composed
from .invert import Invert


@register
@final
@dataclass(frozen=True)
class Sandwich(Composed):
    r"""A map :math:`f` in the coordinates that another map :math:`g` leads to: there, on, and back.

    .. math::
        y = g^{-1}(f(g(x))), \qquad
        \log|\det dy/dx| = \log|\det dg(x)| + \log|\det df(g(x))| - \log|\det dg(y)|

    :math:`g` is bound once: both of its uses have the same parameters, which a ``Compose`` of three parts would not.
    With an orthogonal :math:`g`, ``Sandwich(Householder(), Affine())`` is a symmetric linear map and a shift.

    Args:
        outer: :math:`g`, forward first and its inverse last.
        inner: :math:`f`; it keeps the shape, and what it gives lies in the codomain of the outer.

    Raises:
        OptionTypeError: for what is no plan.
        DomainError: if inner does not take all that outer gives, or gives what the inverse of outer does not take.
        ShapeError: when bound to an event of which inner changes the shape.

    Example:
        >>> from flowtorch.bijectors import AffineFixed, Log
        >>> Sandwich(Log(), AffineFixed(scale=2.0)).bind((1,)).forward(torch.tensor([3.0]))  # exp(2 log 3)
        tensor([9.])
    """

    outer: Bijector
    inner: Bijector

    def __post_init__(self) -> None:
        as_plan("Sandwich outer", self.outer)
        as_plan("Sandwich inner", self.inner)
        super().__post_init__()

    @property
    def composition(self) -> Compose:
        """There, on, and back, as far as shapes and domains go."""
        return Compose((self.outer, self.inner, Invert(self.outer)))

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundSandwich:
        bound = BoundSandwich(self, shape, context_shape)
        self.domain_at(shape)
        return bound

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = g^-1(f(g(x))); f: {self.inner.describe()} g: {self.outer.describe()}"

    def explain(self) -> str:
        """Returns an account of both."""
        outer, inner = (p.explain().replace("\n", "\n   ") for p in (self.outer, self.inner))
        return f"{super().explain()}\n  outer, forward first and its inverse last: {outer}\n  inner: {inner}"


class BoundSandwich(BoundBijector[Sandwich]):
    """The bound form of :class:`Sandwich`."""

    def __init__(self, plan: Sandwich, shape: torch.Size, context_shape: torch.Size | None) -> None:
        with naming("Sandwich"):
            between = plan.outer.forward_shape(shape)
            after = plan.inner.forward_shape(between)
        if after != between:
            raise ShapeError(
                f"Sandwich: an inner plan that keeps the shape {tuple(between)} is expected; got {name(plan.inner)}, "
                f"which makes it {tuple(after)}."
            )
        super().__init__(plan, shape, context_shape)
        with naming("Sandwich"):
            self.outer = plan.outer.bind(shape, context_shape)
            self.inner = plan.inner.bind(between, context_shape)
        self.stochastic = self.outer.stochastic or self.inner.stochastic

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._through(x, context, inverse=False)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self._through(y, context, inverse=True)

    def _through(self, x: torch.Tensor, context: torch.Tensor | None, inverse: bool) -> TensorPair:
        inner = self.inner._inverse_and_log_det if inverse else self.inner._forward_and_log_det
        u, there = self.outer._forward_and_log_det(x, context)
        v, on = inner(u, context)
        y, back = self.outer._inverse_and_log_det(v, context)
        return y, there + on + back

    @property
    def sign(self) -> int:
        """The inner's: the outer's counts twice, if it is the same everywhere."""
        return self.outer.sign**2 * self.inner.sign

    def initialize(self, y: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Starts the outer, which data enter forward, and the inner from what the outer makes of them."""
        super().initialize(y, context)
        self.outer.initialize_forward(y, context)
        self.inner.initialize(self.outer.forward(y, context), context)

    def initialize_forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> None:
        """Starts both likewise from data that enter forward."""
        self.outer.initialize_forward(x, context)
        self.inner.initialize_forward(self.outer.forward(x, context), context)

    def rows(self) -> list[Row]:
        """Returns the lines of the outer, once, and of the inner."""
        outer = [replace(row, layer=f"Sandwich({row.layer})") for row in self.outer.rows()]
        return [*outer, *self.inner.rows()]
