"""Rotations, by skew-symmetric matrices."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal, TypeAlias, final

import torch

from .. import options
from ..ops.matrices import product
from ..ops.matrix_exponential import cayley, matrix_exponential
from ..ops.packed import skew_symmetric
from ..specification import register
from ..types import TensorPair
from .linear import Linear

OrthogonalMethod: TypeAlias = Literal["cayley", "exponential"]


@register
@final
@dataclass(frozen=True)
class Orthogonal(Linear):
    r"""A rotation, made of a skew-symmetric matrix :math:`A` by Cayley's formula or the exponential.

    .. math:: y = W x + b, \qquad W = \left(I - \tfrac12 A\right)^{-1} \left(I + \tfrac12 A\right)
              \quad\text{or}\quad W = e^A, \qquad \log|\det dy/dx| = 0

    The two agree to second order in :math:`A`, which starts at zero: :math:`W` starts as the identity. The exponential
    reaches every rotation; Cayley's formula, which takes a single solution of linear equations, all but those that
    turn a plane by 180 degrees, which it comes close to. The inverse is the transpose, and exact to 1e-12 in float64
    as long as the entries of :math:`A` are below 100. Free, :math:`D^3` operations for all vectors and :math:`D^2`
    more for each; from a context, :math:`D^3` for each: :class:`Householder` is cheaper there. On one coordinate it is
    the identity, and the one parameter does nothing.

    Args:
        params_fn: where the entries of A come from; None for free ones, or a ``DenseNN`` of the context if there is
            one.
        dim: the axis that the vectors lie along; None for the flattened event.
        bias: whether to add a shift :math:`b`, which starts at zero.
        method: ``"cayley"`` or ``"exponential"``.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> bound = Orthogonal(method="exponential").bind((2,))
        >>> _ = torch.nn.init.constant_(*bound.parameters(), torch.pi / 2)
        >>> bound.forward(torch.tensor([1.0, 2.0])).round(decimals=3)
        tensor([ 2., -1.], grad_fn=<RoundBackward1>)

    References:
        Cheap Orthogonal Constraints in Neural Networks (Lezcano-Casado and Martinez-Rubio, 2019),
        https://arxiv.org/abs/1901.08428, on both.
    """

    _: KW_ONLY
    method: OrthogonalMethod = "cayley"

    def __post_init__(self) -> None:
        """Checks the options."""
        options.one_of("Orthogonal", "method", self.method, ("cayley", "exponential"))
        super().__post_init__()

    def matrix_shapes(self, size: int) -> tuple[tuple[int, ...], ...]:
        """What is above the diagonal of A."""
        return ((max(1, size * (size - 1) // 2),),)

    @property
    def matrix_count(self) -> str:
        """How many numbers make the matrix, as a formula in D."""
        return "D (D - 1) / 2"

    def multiply(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], *, inverse: bool) -> TensorPair:
        """Rotates each vector."""
        skew = skew_symmetric(params[0], x.shape[-1])
        rotation = cayley(skew) if self.method == "cayley" else matrix_exponential(skew)
        return product(rotation.mT if inverse else rotation, x), x.new_zeros(())

    def describe(self) -> str:
        """Returns the formula in one line."""
        formula = "(I - A/2)^-1 (I + A/2)" if self.method == "cayley" else "exp(A)"
        return f"y = W x, W = {formula} orthogonal, as A is skew-symmetric: its log-det is 0, its inverse W^T."
