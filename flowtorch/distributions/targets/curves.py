"""Normal noise about a curve: its log-density is an integral along the curve."""

from __future__ import annotations

import abc
import math

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint
from torch.distributions.utils import broadcast_all

from ... import options
from ...ops.quadrature import gauss_legendre
from ...types import Size, TensorPair
from ..base import register_base
from .base import Target, ahead, reach

_PANEL = 32  # nodes in each piece of the curve


class _Curve(Target):
    """Half of the points lie about a curve, the others about its image under a half turn, with normal noise."""

    arg_constraints: dict[str, Constraint] = {"noise": constraints.positive}  # noqa: RUF012
    _speed: float  # the greatest along the curve
    _farthest: float  # from the origin
    _centre: tuple[float, float]  # of the half turn
    _power = 1  # of the curve's argument, on [0, 1]: it is uniform

    def __init__(self, noise: torch.Tensor | float, nodes: int | None, validate_args: bool | None) -> None:
        self.noise: torch.Tensor
        (noise,) = broadcast_all(noise)
        super().__init__(2, validate_args, noise=noise)
        if nodes is None:
            # So many nodes in each scale of the noise that a normal density is summed to 1e-8.
            nodes = max(3 * _PANEL, math.ceil(2.4 * self._speed / float(noise.detach().min())))
        options.integer(type(self).__name__, "nodes", nodes, minimum=1)
        self.nodes = nodes
        self._rule = gauss_legendre(_PANEL)

    def _draw(self, shape: Size) -> torch.Tensor:
        first, second = self._curve(self._uniform(shape) ** (1.0 / self._power))
        (x, y), side = self._centre, 1 - 2 * self._choice(2, shape)
        points = torch.stack([x + side * (first - x), y + side * (second - y)], -1)
        return points + self.noise.unsqueeze(-1) * self._normal(torch.Size([*shape, 2]))

    def _log_prob(self, x: torch.Tensor) -> torch.Tensor:
        dims = max(x.dim() - 1, len(self.batch_shape))
        panels = math.ceil(self.nodes / _PANEL)
        t, w = (x.new_tensor(v) for v in zip(*self._rule, strict=True))
        start = torch.arange(panels, dtype=x.dtype, device=x.device).unsqueeze(-1)
        t, w = ((start + t) / panels).flatten(), (w / panels).expand(panels, -1).flatten()
        at = [ahead(c, dims) for c in self._curve(t)]
        log_weights = ahead((self._power * t ** (self._power - 1) * w).log(), dims)
        variance, sides = self.noise.square(), []
        for side in (1.0, -1.0):
            squares = [
                (c + side * (v - c) - p).square() for v, c, p in zip(x.unbind(-1), self._centre, at, strict=True)
            ]
            sides.append((log_weights - 0.5 * (squares[0] + squares[1]) / variance).logsumexp(0))
        return torch.logaddexp(*sides) - (4.0 * math.pi * variance).log()

    def _extent(self) -> tuple[float, float]:
        return reach(self.noise.new_tensor(self._farthest), self.noise)

    @abc.abstractmethod
    def _curve(self, t: torch.Tensor) -> TensorPair:
        """Returns the points of the curve at ``t`` in [0, 1]."""


class TwoMoons(_Curve):
    r"""Two interleaving half circles.

    .. math:: p(x) = \frac{1}{2} \sum_{m} \int_0^1 \mathcal{N}(x; m(u), s^2 I) \, du, \qquad
              m(u) \in \{(\cos \pi u, \sin \pi u), \; (1 - \cos \pi u, \tfrac{1}{2} - \sin \pi u)\}

    The integral is taken by Gauss-Legendre quadrature on pieces, to 1e-8 within ten scales of the noise.

    Args:
        noise: s, the scale of the normal noise on each coordinate, a number or a tensor of the batch shape.
        nodes: at how many points of each curve the integrand is evaluated; as many as that takes by default.
        validate_args: whether values are checked too; arguments are as torch's setting has it.

    Raises:
        OptionError: if there is no node.

    Example:
        >>> TwoMoons().sample((5,)).shape
        torch.Size([5, 2])

    References:
        ``make_moons`` of scikit-learn,
        https://scikit-learn.org/stable/modules/generated/sklearn.datasets.make_moons.html.
    """

    _speed, _farthest, _centre = math.pi, 2.0, (0.5, 0.25)

    def __init__(
        self, noise: torch.Tensor | float = 0.1, *, nodes: int | None = None, validate_args: bool | None = None
    ) -> None:
        super().__init__(noise, nodes, validate_args)

    def _curve(self, t: torch.Tensor) -> TensorPair:
        angle = math.pi * t
        return angle.cos(), angle.sin()


class Spirals(_Curve):
    r"""Two interleaving spirals of one and a half turns.

    .. math:: p(x) = \frac{1}{2} \int_0^1 \mathcal{N}(x; m(u), s^2 I) + \mathcal{N}(x; -m(u), s^2 I) \, du, \qquad
              m(u) = \tfrac{1}{3} a \, (-\cos a, \sin a), \quad a = 3 \pi \sqrt{u}

    The integral is taken by Gauss-Legendre quadrature on pieces, to 1e-8 within ten scales of the noise. The
    reference's code adds a uniform jitter as well, which is left out here.

    Args:
        noise: s, the scale of the normal noise on each coordinate, a number or a tensor of the batch shape.
        nodes: at how many points of each curve the integrand is evaluated; as many as that takes by default.
        validate_args: whether values are checked too; arguments are as torch's setting has it.

    Raises:
        OptionError: if there is no node.

    Example:
        >>> Spirals(0.2).log_prob(torch.zeros(5, 2)).shape
        torch.Size([5])

    References:
        FFJORD: Free-form continuous dynamics for scalable reversible generative models (Grathwohl et al., 2019),
        https://arxiv.org/abs/1810.01367, figure 2.
    """

    _speed, _farthest, _centre = math.pi * math.hypot(1.0, 3.0 * math.pi), math.pi, (0.0, 0.0)
    _power = 2  # nearly uniform along the curve, and the integrand is smooth at its beginning

    def __init__(
        self, noise: torch.Tensor | float = 0.1, *, nodes: int | None = None, validate_args: bool | None = None
    ) -> None:
        super().__init__(noise, nodes, validate_args)

    def _curve(self, t: torch.Tensor) -> TensorPair:
        angle = 3.0 * math.pi * t
        return -angle * angle.cos() / 3.0, angle * angle.sin() / 3.0


register_base(TwoMoons, "noise", "nodes")
register_base(Spirals, "noise", "nodes")
