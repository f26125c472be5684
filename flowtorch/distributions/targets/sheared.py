"""Normal distributions of which a coordinate shifts or scales the others: exact, entropy included."""

from __future__ import annotations

import math

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint
from torch.distributions.utils import broadcast_all

from ... import options
from ...types import Size
from ..base import register_base
from .base import Target, log_normal

_NORMAL_ENTROPY = 0.5 * math.log(2.0 * math.pi * math.e)


class NealsFunnel(Target):
    r"""Neal's funnel: the first coordinate is the logarithm of the variance of all others.

    .. math:: x_1 \sim \mathcal{N}(0, \sigma^2), \qquad x_i \mid x_1 \sim \mathcal{N}(0, e^{x_1}), \quad i > 1

    Its entropy is exact: :math:`\frac{D}{2} \log(2 \pi e) + \log \sigma`.

    Args:
        dim: D, how many coordinates; Neal has 10.
        scale: :math:`\sigma`, a number or a tensor of the batch shape.
        validate_args: whether values are checked too; arguments are as torch's setting has it.

    Raises:
        OptionError: if ``dim`` is below 2.

    Example:
        >>> NealsFunnel(10).sample((5,)).shape
        torch.Size([5, 10])

    References:
        Slice sampling (Neal, 2003), https://arxiv.org/abs/physics/0009028, section 8.
    """

    arg_constraints: dict[str, Constraint] = {"scale": constraints.positive}  # noqa: RUF012

    def __init__(self, dim: int = 2, scale: torch.Tensor | float = 3.0, *, validate_args: bool | None = None) -> None:
        options.integer("NealsFunnel", "dim", dim, minimum=2)
        self.scale: torch.Tensor
        (scale,) = broadcast_all(scale)
        super().__init__(dim, validate_args, scale=scale)

    @property
    def dim(self) -> int:
        """How many coordinates there are."""
        return self.event_shape[0]

    def _draw(self, shape: Size) -> torch.Tensor:
        z = self._normal(shape + self.event_shape)
        first = self.scale.unsqueeze(-1) * z[..., :1]
        return torch.cat([first, (0.5 * first).exp() * z[..., 1:]], -1)

    def _log_prob(self, x: torch.Tensor) -> torch.Tensor:
        first, others = x[..., 0], x[..., 1:]
        # Bounded, as zero times infinity is no number.
        inverse = (-0.5 * first).clamp(max=0.5 * math.log(torch.finfo(x.dtype).max)).exp()
        squares = (others * inverse.unsqueeze(-1)).square().sum(-1)
        constant = (self.dim - 1) * 0.5 * math.log(2.0 * math.pi)
        return log_normal(first, 0.0, self.scale) - 0.5 * (squares + (self.dim - 1) * first) - constant

    def entropy(self) -> torch.Tensor:
        """Returns the entropy, exactly."""
        return self.dim * _NORMAL_ENTROPY + self.scale.log()


class Banana(Target):
    r"""A normal distribution bent along a parabola.

    .. math:: x_1 \sim \mathcal{N}(0, \sigma^2), \qquad x_2 \mid x_1 \sim \mathcal{N}(b \, (x_1^2 - \sigma^2), s^2)

    The bend keeps areas, so the entropy is exact: :math:`\log(2 \pi e \, \sigma s)`. The original has
    :math:`\sigma = 10`, :math:`s = 1` and :math:`b = 0.03` or 0.1.

    Args:
        scale: :math:`\sigma`, a number or a tensor; arguments broadcast to the batch shape.
        curvature: b.
        noise: s.
        validate_args: whether values are checked too; arguments are as torch's setting has it.

    Example:
        >>> Banana().log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])

    References:
        Adaptive proposal distribution for random walk Metropolis algorithm (Haario et al., 1999),
        https://doi.org/10.1007/s001800050022, section 3.
    """

    arg_constraints: dict[str, Constraint] = {  # noqa: RUF012
        "scale": constraints.positive,
        "curvature": constraints.real,
        "noise": constraints.positive,
    }

    def __init__(
        self,
        scale: torch.Tensor | float = 2.0,
        curvature: torch.Tensor | float = 0.25,
        noise: torch.Tensor | float = 0.5,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.scale: torch.Tensor
        self.curvature: torch.Tensor
        self.noise: torch.Tensor
        scale, curvature, noise = broadcast_all(scale, curvature, noise)
        super().__init__(2, validate_args, scale=scale, curvature=curvature, noise=noise)

    def _draw(self, shape: Size) -> torch.Tensor:
        first, second = self._normal(torch.Size([2, *shape]))
        first = self.scale * first
        return torch.stack([first, self._centre(first) + self.noise * second], -1)

    def _log_prob(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.unbind(-1)
        return log_normal(first, 0.0, self.scale) + log_normal(second, self._centre(first), self.noise)

    def entropy(self) -> torch.Tensor:
        """Returns the entropy, exactly."""
        return 2.0 * _NORMAL_ENTROPY + self.scale.log() + self.noise.log()

    def _centre(self, first: torch.Tensor) -> torch.Tensor:
        return self.curvature * (first.square() - self.scale.square())


register_base(NealsFunnel, "dim", "scale")
register_base(Banana, "scale", "curvature", "noise")
