"""The uniform distribution on a checkerboard."""

from __future__ import annotations

import math

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint
from torch.distributions.utils import broadcast_all

from ... import domains, options
from ...types import Size
from ..base import register_base
from .base import Target


class Checkerboard(Target):
    r"""Uniform on every other square of a board.

    .. math:: p(x) = \frac{1}{n} \Big(\frac{c}{2 b}\Big)^2 \quad \text{if } |x_1|, |x_2| < b \text{ and }
              \Big\lfloor c \, \frac{x_1 + b}{2 b} \Big\rfloor + \Big\lfloor c \, \frac{x_2 + b}{2 b} \Big\rfloor
              \text{ is even}

    and zero elsewhere, with n the number of such squares. The entropy is exact.

    Args:
        bound: b, half of the board's side, a number or a tensor of the batch shape.
        count: c, how many squares lie along a side.
        validate_args: whether values are checked too; arguments are as torch's setting has it.

    Raises:
        OptionError: if there is no square.

    Example:
        >>> Checkerboard().log_prob(torch.tensor([[-3.0, -3.0], [-1.0, -3.0]])).exp()
        tensor([0.0312, 0.0000])

    References:
        FFJORD: Free-form continuous dynamics for scalable reversible generative models (Grathwohl et al., 2019),
        https://arxiv.org/abs/1810.01367, figure 2.
    """

    arg_constraints: dict[str, Constraint] = {"bound": constraints.positive}  # noqa: RUF012

    def __init__(self, bound: torch.Tensor | float = 4.0, *, count: int = 4, validate_args: bool | None = None) -> None:
        options.integer("Checkerboard", "count", count, minimum=1)
        self.count = count
        self.bound: torch.Tensor
        (bound,) = broadcast_all(bound)
        super().__init__(2, validate_args, bound=bound)

    @property
    def support(self) -> Constraint:
        """The squares."""
        return _Squares(self.bound, self.count)

    def entropy(self) -> torch.Tensor:
        """Returns the entropy, exactly: the logarithm of the area."""
        return 2.0 * (2.0 * self.bound / self.count).log() + math.log(self._filled)

    @property
    def _filled(self) -> int:
        return (self.count**2 + 1) // 2

    def _draw(self, shape: Size) -> torch.Tensor:
        index = 2 * self._choice(self._filled, shape)
        row, column = index // self.count, index % self.count
        if self.count % 2 == 0:  # else the squares alternate from row to row by themselves
            column = column + row % 2
        corner = torch.stack([row, column], -1).to(self.bound)
        side = (2.0 * self.bound / self.count).unsqueeze(-1)
        # Rounding must not move a point from the edge of its square into the next.
        edge = 4.0 * self.count * torch.finfo(self.bound.dtype).eps
        within = edge + (1.0 - 2.0 * edge) * self._uniform(torch.Size([*shape, 2]))
        return (corner + within - 0.5 * self.count) * side

    def _log_prob(self, x: torch.Tensor) -> torch.Tensor:
        inside = _inside(x, self.bound, self.count)
        log_p = torch.where(inside, -self.entropy().to(x.dtype), -math.inf)
        return torch.where(x.isnan().any(-1), math.nan, log_p)


class _Squares(domains.Within):
    """The filled squares of a board."""

    def __init__(self, bound: torch.Tensor, count: int) -> None:
        super().__init__(constraints.independent(constraints.interval(-bound.unsqueeze(-1), bound.unsqueeze(-1)), 1))
        self._bound, self._count = bound, count

    def check(self, value: torch.Tensor) -> torch.Tensor:
        """Returns whether events lie in a filled square."""
        return _inside(value, self._bound, self._count)


def _inside(x: torch.Tensor, bound: torch.Tensor, count: int) -> torch.Tensor:
    place = (0.5 * count) * (x / bound.unsqueeze(-1) + 1.0)
    inside = ((place >= 0.0) & (place < count)).all(-1)
    return inside & (place.floor().sum(-1).remainder(2.0) == 0.0)


register_base(Checkerboard, "bound", "count")
