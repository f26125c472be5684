"""Maps of angles."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, final

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from .. import options
from ..errors import OptionError
from ..ops import circular
from ..parameters import Parameters
from ..specification import register
from ..types import TensorPair
from .elementwise import Elementwise

_CIRCLE: Constraint = constraints.half_open_interval(-math.pi, math.pi)


@register
@final
@dataclass(frozen=True)
class CircularShift(Elementwise):
    r"""A turn of each angle in :math:`[-\pi, \pi)`, by a given or a learnable shift.

    .. math:: y = ((x + s + \pi) \bmod 2\pi) - \pi, \qquad \log|dy/dx| = 0

    It is what lets maps that keep the end of the interval where it is (circular splines) act on all of the circle. A
    learnable shift of 0 gives the identity. The end itself, a set of measure zero, counts as outside.

    Args:
        params_fn: where the shift comes from; None for a free one, or a ``DenseNN`` of the context if there is one.
        shift: a given shift in its place; then there are no parameters.

    Raises:
        OptionError, OptionTypeError: for a shift that is not a finite number, or comes together with a ``params_fn``.

    Example:
        >>> y = CircularShift(shift=1.0).bind((2,)).forward(torch.tensor([0.0, 3.0]))
        >>> [round(v, 4) for v in y.tolist()]
        [1.0, -2.2832]

    References:
        Normalizing Flows on Tori and Spheres (Rezende et al., 2020), https://arxiv.org/abs/2002.02428, sec. 2.1, the
        phase translation.
    """

    domain: ClassVar[Constraint] = _CIRCLE
    codomain: ClassVar[Constraint] = _CIRCLE

    params_fn: Parameters | None = None
    _: KW_ONLY
    shift: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shift is not None:
            options.number("CircularShift", "shift", self.shift)
            if self.params_fn is not None:
                raise OptionError("CircularShift: either a shift or a params_fn is expected; got both.")

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """A shift, unless it is given."""
        return ((),) if self.shift is None else ()

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        return circular.circular_shift(x, params[0] if self.shift is None else self.shift, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = x + {'s' if self.shift is None else format(self.shift, 'g')}, wrapped into [-pi, pi)."
