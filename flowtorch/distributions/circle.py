"""Base distributions of angles."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch.distributions import Uniform, constraints
from torch.distributions import VonMises as UnivariateVonMises
from torch.distributions.constraints import Constraint

from ..types import ShapeLike, as_size
from .base import register_base
from .independent import OverEvent, spread

# Of numbers, not of tensors: a float32 pi is larger than pi, and would be outside the domain of maps of angles.
_CIRCLE: Constraint = constraints.half_open_interval(-math.pi, math.pi)


class _UniformAngle(Uniform):
    support = _CIRCLE

    @property
    def mode(self) -> torch.Tensor:
        return torch.nan * self.high

    @property
    def variance(self) -> torch.Tensor:
        return torch.ones_like(self.high)

    @property
    def stddev(self) -> torch.Tensor:
        return self.variance.sqrt()


class UniformCircle(OverEvent[Uniform]):
    r"""Independent angles, uniform in :math:`[-\pi, \pi)`, over an event of any shape.

    .. math:: \log p(x) = -n \log 2 \pi

    It fits the maps of angles (``CircularShift``, ``CircularSpline``) in any floating point type. Its variance is the
    circular one, 1; no direction is its mean, for which 0 stands.

    Args:
        shape: the event's shape; an integer for a vector.
        like: a tensor that tells type and device.

    Example:
        >>> import flowtorch.bijectors as bij
        >>> from flowtorch.distributions import Flow
        >>> flow = Flow(UniformCircle(2), bij.Compose([bij.CircularSpline(), bij.CircularShift()]))
        >>> flow.sample((5,)).abs().max() < torch.pi
        tensor(True)
    """

    fixed: ClassVar[tuple[str, ...]] = ("like",)

    def __init__(
        self, shape: ShapeLike, *, like: torch.Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        zero = torch.zeros(()) if like is None else like.new_zeros(())
        end = (zero + math.pi).expand(as_size(shape, "UniformCircle"))
        super().__init__(_UniformAngle(-end, end, validate_args=validate_args), validate_args=validate_args)

    @property
    def like(self) -> torch.Tensor:
        """A zero of the type and device of the samples."""
        return self.base_dist.low.new_zeros(())


class _VonMisesAngle(UnivariateVonMises):
    support = _CIRCLE  # type: ignore[assignment]  # torch says the real line

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        # torch's own approximates the Bessel function to seven digits. This one cancels nothing where it is narrow.
        fall = -2 * self.concentration * torch.sin(0.5 * (value - self.loc)).square()
        return fall - _log_scaled_bessel(self.concentration) - math.log(2 * math.pi)

    @torch.no_grad()
    def sample(self, sample_shape: ShapeLike = ()) -> torch.Tensor:
        drawn: torch.Tensor = super().sample(as_size(sample_shape, "VonMises.sample"))  # type: ignore[no-untyped-call]  # in torch
        # Rounding to float32 may give the end itself, which is the beginning.
        return torch.where(drawn >= math.pi, -drawn, drawn)

    @property
    def variance(self) -> torch.Tensor:
        return 1 - self._resultant

    @property
    def _resultant(self) -> torch.Tensor:
        resultant: torch.Tensor = torch.special.i1e(self.concentration) / torch.special.i0e(self.concentration)
        return resultant

    def entropy(self) -> torch.Tensor:
        log_peak = -_log_scaled_bessel(self.concentration) - math.log(2 * math.pi)
        return self.concentration * self.variance - log_peak


def _log_scaled_bessel(concentration: torch.Tensor) -> torch.Tensor:
    scaled: torch.Tensor = torch.special.i0e(concentration)
    return scaled.log()


class VonMises(OverEvent[UnivariateVonMises]):
    r"""Independent von Mises angles in :math:`[-\pi, \pi)` over an event of any shape: the circle's normal.

    .. math:: \log p(x) = \sum_i \kappa_i \cos(x_i - \mu_i) - \log 2 \pi I_0(\kappa_i)

    Mean and variance are the circular ones. Samples carry no gradients.

    Args:
        shape: the event's shape; an integer for a vector.
        loc: the direction :math:`\mu`, a number or a tensor that broadcasts to ``shape``.
        concentration: :math:`\kappa > 0`, likewise.

    Raises:
        ShapeError: if one of them does not broadcast to the shape.

    Example:
        >>> VonMises(2, loc=1.0, concentration=4.0).log_prob(torch.ones(2))
        tensor(-0.5257)

    References:
        Directional Statistics (Mardia and Jupp, 2000), https://doi.org/10.1002/9780470316979, eq. 3.5.17.
    """

    # For what is learnt of it; as torch declares it.
    arg_constraints: dict[str, Constraint] = {  # noqa: RUF012
        "loc": constraints.real,
        "concentration": constraints.positive,
    }

    def __init__(
        self,
        shape: ShapeLike,
        loc: torch.Tensor | float = 0.0,
        concentration: torch.Tensor | float = 1.0,
        *,
        validate_args: bool | None = None,
    ) -> None:
        loc, concentration = spread("VonMises", shape, loc=loc, concentration=concentration)
        super().__init__(_VonMisesAngle(loc, concentration, validate_args), validate_args=validate_args)

    @property
    def loc(self) -> torch.Tensor:
        """The direction of each angle."""
        return self.base_dist.loc

    @property
    def concentration(self) -> torch.Tensor:
        """How narrow each angle's distribution is."""
        return self.base_dist.concentration


register_base(UniformCircle, "shape", "like")
register_base(VonMises, "shape", "loc", "concentration")
