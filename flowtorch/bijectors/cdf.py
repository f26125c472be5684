"""Distribution functions as maps from the reals to the unit interval."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, final

import torch
from torch.distributions import Cauchy, Distribution, Gumbel, Laplace, Normal, StudentT, constraints
from torch.distributions.constraints import Constraint
from typing_extensions import Self

from .. import options
from ..errors import OptionError, ShapeError
from ..ops.cdf import DISTRIBUTIONS, Name, cdf
from ..specification import register
from ..types import TensorPair
from .elementwise import Fixed

Params = tuple[torch.Tensor, ...]
_BY_CLASS: dict[type[Distribution], Name] = {
    Normal: "normal",
    Laplace: "laplace",
    Cauchy: "cauchy",
    Gumbel: "gumbel",
    StudentT: "student_t",
}


@register
@final
@dataclass(frozen=True)
class CDF(Fixed):
    r"""The distribution function of a distribution on the reals, onto the unit interval; ``Invert`` it for quantiles.

    .. math:: y = F\!\left(\frac{x - \mu}{\sigma}\right), \qquad
              \log|dy/dx| = \log f\!\left(\frac{x - \mu}{\sigma}\right) - \log \sigma

    It makes samples of the distribution uniform. The log-derivative is the log-density, and right however far out;
    values never round to 0 or 1. Far out above, though, many ``x`` have one and the same ``y``, which the inverse
    cannot tell apart. :meth:`of` takes name and numbers from one of torch's distributions.

    Args:
        distribution: ``"normal"``, ``"logistic"``, ``"laplace"``, ``"cauchy"``, ``"gumbel"`` or ``"student_t"``.
        loc: :math:`\mu`.
        scale: :math:`\sigma > 0`.
        df: the degrees of freedom of ``"student_t"``, any positive number; None for the others.

    Raises:
        OptionError, OptionTypeError: for an unknown distribution, or numbers out of range.

    Example:
        >>> CDF("normal", loc=1.0, scale=2.0).bind((2,)).forward(torch.tensor([1.0, 1.0])).tolist()
        [0.5, 0.5]
    """

    codomain: ClassVar[Constraint] = constraints.unit_interval

    distribution: Name = "normal"
    _: KW_ONLY
    loc: float = 0.0
    scale: float = 1.0
    df: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.distribution, Distribution):
            raise OptionError(
                "CDF: the name of a distribution is expected, as a plan holds no tensors; got a "
                f"{type(self.distribution).__name__}. Use CDF.of(distribution)."
            )
        options.one_of("CDF", "distribution", self.distribution, DISTRIBUTIONS)
        options.number("CDF", "loc", self.loc)
        options.number("CDF", "scale", self.scale, above=0.0)
        if (self.df is None) is (self.distribution == "student_t"):
            raise OptionError(
                f"CDF: df is expected for 'student_t', and for no other; got {self.df}, {self.distribution!r}."
            )
        if self.df is not None:
            options.number("CDF", "df", self.df, above=0.0)

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        return cdf(x, self.distribution, self.loc, self.scale, df=self.df, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = F((x - {self.loc:g}) / {self.scale:g}), F the {self.distribution} distribution function."

    @classmethod
    def of(cls, distribution: Distribution) -> Self:
        """Takes name and numbers from one of torch's distributions.

        Args:
            distribution: a ``Normal``, ``Laplace``, ``Cauchy``, ``Gumbel`` or ``StudentT`` with a single location and
                scale.

        Raises:
            OptionError: for another distribution.
            ShapeError: if it has batch dimensions of more than one entry.

        Example:
            >>> CDF.of(torch.distributions.Normal(1.0, 2.0))
            CDF(distribution='normal', loc=1.0, scale=2.0, df=None)
        """
        name = _BY_CLASS.get(type(distribution))
        if name is None or not isinstance(distribution, Normal | Laplace | Cauchy | Gumbel | StudentT):
            raise OptionError(
                f"CDF: one of torch's {', '.join(c.__name__ for c in _BY_CLASS)} is expected; got "
                f"{options.short(distribution)}."
            )
        loc, scale = torch.as_tensor(distribution.loc), torch.as_tensor(distribution.scale)
        if loc.numel() != 1 or scale.numel() != 1 or distribution.batch_shape.numel() != 1:
            raise ShapeError(
                f"CDF: a single location and scale are expected; got batch shape {tuple(distribution.batch_shape)}."
            )
        df = float(distribution.df) if isinstance(distribution, StudentT) else None
        return cls(name, loc=float(loc), scale=float(scale), df=df)


@register
@final
@dataclass(frozen=True)
class CauchyCDF(Fixed):
    r"""The distribution function of the standard Cauchy distribution: ``CDF("cauchy")`` by its usual name.

    .. math:: y = \tfrac{1}{2} + \tfrac{1}{\pi} \arctan x, \qquad \log|dy/dx| = -\log \pi - \log(1 + x^2)

    Example:
        >>> CauchyCDF().bind((2,)).forward(torch.tensor([0.0, 1.0])).tolist()
        [0.5, 0.75]
    """

    codomain: ClassVar[Constraint] = constraints.unit_interval

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        return cdf(x, "cauchy", inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = 1/2 + arctan(x) / pi."
