"""Mixtures of normals and of rings in closed form."""

from __future__ import annotations

import math

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint
from torch.distributions.utils import broadcast_all

from ... import options
from ...errors import ShapeError
from ...types import NestedLike, Size, as_nested
from ..base import register_base
from .base import Target, ahead, log_normal, polar, reach

_FARTHEST = 8.0  # the twist of a pinwheel grows with the radius up to here, in radii: beyond it there is nothing


class DiagNormalMixture(Target):
    r"""A mixture of normals with independent coordinates.

    .. math:: p(x) = \sum_k w_k \prod_i \mathcal{N}(x_i; \mu_{ki}, \sigma_{ki}^2)

    Args:
        locs: :math:`\mu`, ``(*batch, count, dim)``; five centres in the plane by default, with scales and weights.
        scales: :math:`\sigma`, which broadcasts to the same shape.
        weights: w, ``(*batch, count)``, positive; divided by their sum. Equal by default.
        validate_args: whether values are checked too; arguments are as torch's setting has it.

    Raises:
        ShapeError: if the shapes do not fit together.

    Example:
        >>> DiagNormalMixture([[-1.0, 0.0, 1.0], [1.0, 0.0, -1.0]], 0.5).event_shape
        torch.Size([3])
    """

    arg_constraints: dict[str, Constraint] = {  # noqa: RUF012
        "locs": constraints.independent(constraints.real, 2),
        "scales": constraints.independent(constraints.positive, 2),
        "weights": constraints.simplex,
    }
    has_rsample = False

    def __init__(
        self,
        locs: NestedLike | None = None,
        scales: NestedLike | None = None,
        weights: NestedLike | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        if locs is None:
            locs = [[-2.0, -1.0], [2.0, -2.0], [0.0, 2.0], [2.5, 1.5], [-2.5, 2.0]]
            scales = [[0.5, 1.0], [0.8, 0.3], [0.3, 0.6], [0.4, 0.4], [1.0, 0.25]] if scales is None else scales
            weights = [0.3, 0.2, 0.2, 0.15, 0.15] if weights is None else weights
        given = [_tensor(v) for v in (locs, 1.0 if scales is None else scales, 1.0 if weights is None else weights)]
        like = next((v for v in (locs, scales, weights) if isinstance(v, torch.Tensor)), given[0])
        means, deviations, shares = (v.to(like) for v in given)
        self.locs: torch.Tensor
        self.scales: torch.Tensor
        self.weights: torch.Tensor
        try:
            means, deviations = torch.broadcast_tensors(means, deviations)
            shares = shares.expand(torch.broadcast_shapes(means.shape[:-1], shares.shape))
            means, deviations = (v.expand(*shares.shape, v.shape[-1]) for v in (means, deviations))
        except (RuntimeError, IndexError):
            means = means.new_empty(0)
        if means.dim() < 2:
            raise ShapeError(
                "DiagNormalMixture: locs and scales of shape (*batch, count, dim) and weights of shape (*batch, count) "
                f"are expected; got {', '.join(str(tuple(v.shape)) for v in given)}."
            )
        shares = shares / shares.sum(-1, keepdim=True)
        super().__init__(means.shape[-1], validate_args, locs=means, scales=deviations, weights=shares)

    @classmethod
    def random(cls, count: int = 8, dim: int = 2, *, seed: int = 0) -> DiagNormalMixture:
        """Returns a random one, the same for the same seed: centres spread by 2, scales between 0.2 and 1."""
        for name, value, minimum in (("count", count, 1), ("dim", dim, 1), ("seed", seed, 0)):
            options.integer("DiagNormalMixture", name, value, minimum=minimum)
        generator = torch.Generator().manual_seed(seed)
        locs = 2.0 * torch.randn(count, dim, generator=generator)
        scales = 0.2 * 5.0 ** torch.rand(count, dim, generator=generator)
        return cls(locs, scales, 0.5 + torch.rand(count, generator=generator))

    def _draw(self, shape: Size) -> torch.Tensor:
        count, dim = self.locs.shape[-2:]
        cumulative = self.weights.cumsum(-1)[..., :-1]  # without the last, which rounding may leave below one
        index = (self._uniform(torch.Size([*shape, 1])) > cumulative).sum(-1)
        index = index.view(*shape, 1, 1).expand(*shape, 1, dim)
        locs, scales = (v.expand(*shape, count, dim).gather(-2, index).squeeze(-2) for v in (self.locs, self.scales))
        return locs + scales * self._normal(torch.Size([*shape, dim]))

    def _log_prob(self, x: torch.Tensor) -> torch.Tensor:
        locs, scales = (ahead(v.movedim(-2, 0), x.dim()) for v in (self.locs, self.scales))
        weights = ahead(self.weights.movedim(-1, 0), x.dim() - 1)
        return (log_normal(x, locs, scales).sum(-1) + weights.log()).logsumexp(0)

    def entropy(self) -> torch.Tensor:
        """Returns the entropy, by the trapezoidal rule; over pairs only."""
        if self.event_shape != (2,):
            return super(Target, self).entropy()  # a refusal
        return super().entropy()

    def _extent(self) -> tuple[float, float]:
        return reach(self.locs, self.scales)


class EightGaussians(Target):
    r"""Eight equal normals on a circle.

    .. math:: p(x) = \frac{1}{8} \sum_{k=0}^{7} \mathcal{N}(x; r (\cos \tfrac{k \pi}{4}, \sin \tfrac{k \pi}{4}), s^2 I)

    Args:
        radius: r, a number or a tensor; arguments broadcast to the batch shape. The defaults are those of the
            reference's code.
        noise: s.
        validate_args: whether values are checked too; arguments are as torch's setting has it.

    Example:
        >>> EightGaussians().sample((5,)).shape
        torch.Size([5, 2])

    References:
        FFJORD: Free-form continuous dynamics for scalable reversible generative models (Grathwohl et al., 2019),
        https://arxiv.org/abs/1810.01367, figure 2.
    """

    arg_constraints: dict[str, Constraint] = {  # noqa: RUF012
        "radius": constraints.nonnegative,
        "noise": constraints.positive,
    }

    def __init__(
        self,
        radius: torch.Tensor | float = 8.0**0.5,
        noise: torch.Tensor | float = 8.0**-0.5,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.radius: torch.Tensor
        self.noise: torch.Tensor
        radius, noise = broadcast_all(radius, noise)
        super().__init__(2, validate_args, radius=radius, noise=noise)

    def _draw(self, shape: Size) -> torch.Tensor:
        angle = self._choice(8, shape).to(self.radius) * (0.25 * math.pi)
        return _circle(angle, self.radius) + self.noise.unsqueeze(-1) * self._normal(torch.Size([*shape, 2]))

    def _log_prob(self, x: torch.Tensor) -> torch.Tensor:
        angles = ahead(_angles(8, x), max(x.dim() - 1, len(self.batch_shape)))
        locs = _circle(angles, self.radius)
        return log_normal(x, locs, self.noise.unsqueeze(-1)).sum(-1).logsumexp(0) - math.log(8.0)

    def _extent(self) -> tuple[float, float]:
        return reach(self.radius, self.noise)


class Pinwheel(Target):
    r"""Normals on a circle, each drawn out along its radius, twisted into a pinwheel.

    .. math:: x = R\big(\tfrac{2 \pi k}{K} + c \, e^{|u| / r}\big) \, u, \qquad u \sim \mathcal{N}\big((r, 0),
              \mathrm{diag}(s_r^2, s_t^2)\big), \quad k \sim \mathrm{Uniform}\{0, \dots, K - 1\}

    R rotates by an angle. It depends on the distance from the origin alone, so the twist keeps areas, and the density
    is that of the untwisted normals. (In the reference's code it depends on the first coordinate of u, which is much
    the same but does not keep areas.) Beyond eight radii the angle grows no further.

    Args:
        radius: r, a number or a tensor; arguments broadcast to the batch shape.
        radial: :math:`s_r`, the length of the arms.
        tangential: :math:`s_t`, their width.
        rate: c, how much they are twisted.
        count_arms: K.
        validate_args: whether values are checked too; arguments are as torch's setting has it.

    Raises:
        OptionError: if there is no arm.

    Example:
        >>> Pinwheel(count_arms=3).sample((5,)).shape
        torch.Size([5, 2])

    References:
        Composing graphical models with neural networks for structured representations and fast inference (Johnson et
        al., 2016), https://arxiv.org/abs/1603.06277, figure 1.
    """

    arg_constraints: dict[str, Constraint] = {  # noqa: RUF012
        "radius": constraints.positive,
        "radial": constraints.positive,
        "tangential": constraints.positive,
        "rate": constraints.real,
    }

    def __init__(
        self,
        radius: torch.Tensor | float = 2.0,
        radial: torch.Tensor | float = 0.6,
        tangential: torch.Tensor | float = 0.2,
        rate: torch.Tensor | float = 0.25,
        *,
        count_arms: int = 5,
        validate_args: bool | None = None,
    ) -> None:
        options.integer("Pinwheel", "count_arms", count_arms, minimum=1)
        self.count_arms = count_arms
        self.radius: torch.Tensor
        self.radial: torch.Tensor
        self.tangential: torch.Tensor
        self.rate: torch.Tensor
        radius, radial, tangential, rate = broadcast_all(radius, radial, tangential, rate)
        super().__init__(2, validate_args, radius=radius, radial=radial, tangential=tangential, rate=rate)

    def _draw(self, shape: Size) -> torch.Tensor:
        first, second = self._normal(torch.Size([2, *shape]))
        u = torch.stack([self.radius + self.radial * first, self.tangential * second], -1)
        arm = self._choice(self.count_arms, shape).to(self.radius) * (2.0 * math.pi / self.count_arms)
        return torch.stack(_rotate(u, arm + self._twist(u)), -1)

    def _log_prob(self, x: torch.Tensor) -> torch.Tensor:
        twist = self._twist(x)
        first, second = _rotate(x, -(ahead(_angles(self.count_arms, x), twist.dim()) + twist))
        parts = log_normal(first, self.radius, self.radial) + log_normal(second, 0.0, self.tangential)
        return parts.logsumexp(0) - math.log(self.count_arms)

    def _twist(self, x: torch.Tensor) -> torch.Tensor:
        return self.rate * (polar(x)[0] / self.radius).clamp(max=_FARTHEST).exp()

    def _extent(self) -> tuple[float, float]:
        # A twist shears, and arms become narrower: by the slope of the angle where the density still matters.
        far, fine = reach(self.radius, torch.maximum(self.radial, self.tangential))
        fine = float(torch.minimum(self.radial, self.tangential).detach().min())
        outer = 1.0 + 2.0 * float((self.radial / self.radius).detach().max())
        slope = float(self.rate.detach().abs().max()) * outer * math.exp(outer)
        return far, fine / math.hypot(1.0, slope)


class TwoCircles(Target):
    r"""Two noisy circles about the origin, one inside the other.

    .. math:: p(x) = \frac{1}{2} \sum_{r \in \{1, f\}} \frac{1}{2 \pi s^2}
              \exp\Big(-\frac{(|x| - r)^2}{2 s^2}\Big) \, e^{-z_r} I_0(z_r), \qquad z_r = \frac{|x| \, r}{s^2}

    with :math:`I_0` the modified Bessel function: the distance from the origin has a Rice distribution for each circle.

    Args:
        factor: f, the radius of the inner circle, a number or a tensor; arguments broadcast to the batch shape.
        noise: s, the scale of the normal noise on each coordinate.
        validate_args: whether values are checked too; arguments are as torch's setting has it.

    Example:
        >>> TwoCircles().sample((5,)).shape
        torch.Size([5, 2])

    References:
        ``make_circles`` of scikit-learn,
        https://scikit-learn.org/stable/modules/generated/sklearn.datasets.make_circles.html.
        Mathematical analysis of random noise (Rice, 1945), https://doi.org/10.1002/j.1538-7305.1945.tb00453.x,
        equation 3.10-11.
    """

    arg_constraints: dict[str, Constraint] = {  # noqa: RUF012
        "factor": constraints.nonnegative,
        "noise": constraints.positive,
    }

    def __init__(
        self,
        factor: torch.Tensor | float = 0.5,
        noise: torch.Tensor | float = 0.1,
        *,
        validate_args: bool | None = None,
    ) -> None:
        self.factor: torch.Tensor
        self.noise: torch.Tensor
        factor, noise = broadcast_all(factor, noise)
        super().__init__(2, validate_args, factor=factor, noise=noise)

    def _draw(self, shape: Size) -> torch.Tensor:
        radius = torch.where(self._choice(2, shape) == 0, torch.ones_like(self.factor), self.factor)
        ring = _circle(2.0 * math.pi * self._uniform(shape), radius)
        return ring + self.noise.unsqueeze(-1) * self._normal(torch.Size([*shape, 2]))

    def _log_prob(self, x: torch.Tensor) -> torch.Tensor:
        r, variance = polar(x)[0], self.noise.square()
        ones = torch.ones_like(self.factor)
        rings = [
            torch.special.i0e(r * radius / variance).log() - 0.5 * ((r - radius) / self.noise).square()
            for radius in (ones, self.factor)
        ]
        return torch.logaddexp(*rings) - (4.0 * math.pi * variance).log()

    def _extent(self) -> tuple[float, float]:
        return reach(torch.maximum(self.factor, torch.ones_like(self.factor)), self.noise)


def _tensor(value: NestedLike) -> torch.Tensor:
    return value if isinstance(value, torch.Tensor) else torch.tensor(as_nested(value, "DiagNormalMixture"))


def _angles(count: int, like: torch.Tensor) -> torch.Tensor:
    return torch.arange(count, dtype=like.dtype, device=like.device) * (2.0 * math.pi / count)


def _circle(angle: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    return torch.stack([radius * angle.cos(), radius * angle.sin()], -1)


def _rotate(x: torch.Tensor, angle: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = x.unbind(-1)
    cosine, sine = angle.cos(), angle.sin()
    return first * cosine - second * sine, first * sine + second * cosine


register_base(DiagNormalMixture, "locs", "scales", "weights")
register_base(EightGaussians, "radius", "noise")
register_base(Pinwheel, "radius", "radial", "tangential", "rate", "count_arms")
register_base(TwoCircles, "factor", "noise")
