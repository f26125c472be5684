"""Planar flows."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import final

import torch

from .. import options
from ..ops.planar import RIDGES, Ridge, planar
from ..specification import register
from ..types import TensorPair
from .vector import VectorMap


@register
@final
@dataclass(frozen=True)
class Planar(VectorMap):
    r"""A vector moves along one direction, by a function of its coordinate along another.

    .. math::
        y = x + \hat u\, h(w^T x + b), \qquad \log|\det dy/dx| = \log(1 + (k - 1)\, h'(w^T x + b)), \qquad
        k = 1 + w^T \hat u > 0

    The parameters are w, u and b, of which :math:`\hat u` is made as :func:`flowtorch.ops.planar.planar` says, so that
    the map is one to one whatever they are. Both directions cost O(D), and the inverse is exact to rounding: in closed
    form for a leaky rectifier, by five Newton steps in one dimension for tanh. Nothing bounds k: an inverse loses the
    digits that so steep or so flat a map takes. It starts as the identity, u = 0, with random w and b.

    Args:
        params_fn: where parameters come from, ``Tensor()`` or ``DenseNN()``; None for free parameters without a
            context, and a ``DenseNN`` of it with one.
        dim: the axis that the vectors lie along; None for the flattened event.
        nonlinearity: :math:`h`, ``"tanh"`` or ``"leaky_relu"``.
        negative_slope: that of the leaky rectifier, between 0 and 1.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> bound = Planar().bind((3,))
        >>> x = torch.randn(5, 3)
        >>> torch.allclose(bound.inverse(bound.forward(x)), x)
        True

    References:
        Variational Inference with Normalizing Flows (Rezende and Mohamed, 2015), https://arxiv.org/abs/1505.05770,
        eq. 10-12 and appendix A.1.
    """

    _: KW_ONLY
    nonlinearity: Ridge = "tanh"
    negative_slope: float = 0.2

    def __post_init__(self) -> None:
        """Checks the options."""
        super().__post_init__()
        options.one_of("Planar", "nonlinearity", self.nonlinearity, RIDGES)
        options.number("Planar", "negative_slope", self.negative_slope, above=0.0, below=1.0)

    @property
    def parameter_count(self) -> str:
        """How many numbers drive a vector of D coordinates, as a formula."""
        return "2 D + 1"

    def param_shapes(self, size: int) -> tuple[tuple[int, ...], ...]:
        """The direction looked along, the direction moved along, and the bias."""
        return (size,), (size,), ()

    def start(self, size: int) -> tuple[torch.Tensor, ...]:
        """Random ridges that do not move anything yet: were all zero, so would be the gradients."""
        return torch.randn(size) / size**0.5, torch.zeros(size), torch.randn(())

    def apply(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], *, inverse: bool) -> TensorPair:
        """Moves each vector."""
        return planar(x, *params, nonlinearity=self.nonlinearity, negative_slope=self.negative_slope, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        h = "tanh" if self.nonlinearity == "tanh" else f"a leaky rectifier of slope {self.negative_slope:g}"
        return f"y = x + u h(w.x + b), h = {h}, made one to one by w.u > -1; log-det at O(D)."
