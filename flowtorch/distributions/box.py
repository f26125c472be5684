"""Uniform base distributions over boxes."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.distributions import Uniform

from ..errors import OptionError
from ..types import ShapeLike
from .base import register_base
from .independent import OverEvent, spread


class BoxUniform(OverEvent[Uniform]):
    r"""Independent uniforms over an event of any shape: constant inside a box, ``-inf`` outside.

    .. math:: \log p(x) = -\sum_i \log(b_i - a_i), \qquad a_i \le x_i < b_i

    The box is no parameter: ``learn_base=True`` leaves it as it is.

    Args:
        shape: the event's shape; an integer for a vector.
        low: :math:`a`, a number or a tensor that broadcasts to ``shape``.
        high: :math:`b > a`, likewise.

    Raises:
        ShapeError: if an end does not broadcast to the shape.
        OptionError: unless ``low < high`` and both are finite (not checked with ``validate_args=False``).

    Example:
        >>> BoxUniform(2, low=torch.tensor([0.0, -1.0])).log_prob(torch.tensor([0.5, 0.5]))
        tensor(-0.6931)
    """

    fixed: ClassVar[tuple[str, ...]] = ("low", "high")

    def __init__(
        self,
        shape: ShapeLike,
        low: torch.Tensor | float = 0.0,
        high: torch.Tensor | float = 1.0,
        *,
        validate_args: bool | None = None,
    ) -> None:
        a, b = spread("BoxUniform", shape, low=low, high=high)
        if validate_args is not False and not bool(((a < b) & (b - a).isfinite()).all()):
            raise OptionError(f"BoxUniform: finite low < high is expected; got {low} and {high}.")
        super().__init__(Uniform(a, b, validate_args=validate_args), validate_args=validate_args)

    @property
    def low(self) -> torch.Tensor:
        """The lower end of each coordinate."""
        return self.base_dist.low

    @property
    def high(self) -> torch.Tensor:
        """The upper end of each coordinate."""
        return self.base_dist.high


register_base(BoxUniform, "shape", "low", "high")
