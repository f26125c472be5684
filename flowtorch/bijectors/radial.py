"""Radial flows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from ..ops.radial import radial
from ..specification import register
from ..types import TensorPair
from .vector import VectorMap


@register
@final
@dataclass(frozen=True)
class Radial(VectorMap):
    r"""A vector moves away from a point or towards it, the less the farther away it is, relative to its distance.

    .. math::
        y = x + \frac{\beta}{\alpha + r} (x - x_0), \quad r = |x - x_0|, \quad \alpha > 0, \quad \beta > -\alpha

    The parameters are :math:`x_0`, and those of which :math:`\alpha` and :math:`\beta` are made as
    :func:`flowtorch.ops.radial.radial` says. Both directions, in closed form, cost O(D). It starts as the identity,
    :math:`\beta = 0`, with a random :math:`x_0`.

    Args:
        params_fn: where parameters come from, ``Tensor()`` or ``DenseNN()``; None for free parameters without a
            context, and a ``DenseNN`` of it with one.
        dim: the axis that the vectors lie along; None for the flattened event.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> bound = Radial().bind((3,))
        >>> x = torch.randn(5, 3)
        >>> torch.allclose(bound.inverse(bound.forward(x)), x)
        True

    References:
        Variational Inference with Normalizing Flows (Rezende and Mohamed, 2015), https://arxiv.org/abs/1505.05770,
        eq. 14 and appendix A.2.
    """

    @property
    def parameter_count(self) -> str:
        """How many numbers drive a vector of D coordinates, as a formula."""
        return "D + 2"

    def param_shapes(self, size: int) -> tuple[tuple[int, ...], ...]:
        """The centre, the radius and the slope there."""
        return (size,), (), ()

    def start(self, size: int) -> tuple[torch.Tensor, ...]:
        """Random centres, so that layers one after the other do not learn the same."""
        return torch.randn(size) / size**0.5, torch.zeros(()), torch.zeros(())

    def apply(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], *, inverse: bool) -> TensorPair:
        """Moves each vector."""
        centre, raw_radius, raw_slope = params
        return radial(x, centre, raw_radius, raw_slope, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = x + beta (x - x0) / (alpha + |x - x0|), made one to one by beta > -alpha; log-det at O(D)."
