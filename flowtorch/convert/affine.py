"""Affine maps with the scales of other libraries, which no option of :class:`flowtorch.bijectors.Affine` gives."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Literal, TypeAlias, final

import torch
from torch.nn import functional as F

from .. import ops, options
from ..bijectors import Elementwise
from ..parameters import Parameters
from ..specification import register
from ..types import TensorPair

NflowsScale: TypeAlias = Literal["softplus", "sigmoid"]


@register
@final
@dataclass(frozen=True)
class ZukoAffine(Elementwise):
    r"""The affine map of zuko, whose log-scale is bounded softly on both sides.

    .. math:: y = s x + \mu, \qquad \log s = \frac{a}{1 + |a / \log \epsilon|}

    Args:
        params_fn: where location and scale come from; None for free ones, or a ``DenseNN`` of the context if there is
            one.
        slope: :math:`\epsilon`, which the scale stays above; it stays below the reciprocal.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> ZukoAffine().bind((2,)).forward(torch.tensor([1.0, 2.0])).tolist()
        [1.0, 2.0]

    References:
        zuko's ``MonotonicAffineTransform``, https://zuko.readthedocs.io/stable/api/zuko.transforms.html.
    """

    params_fn: Parameters | None = None
    _: KW_ONLY
    slope: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        options.number("ZukoAffine", "slope", self.slope, above=0.0, below=1.0)

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """A location and an unbounded log-scale."""
        return (), ()

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        loc, raw = params
        return scaled(x, loc, soft_clip(raw, -math.log(self.slope)), inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = s x + mu, s = exp(a / (1 + |a / log {self.slope:g}|))."


@register
@final
@dataclass(frozen=True)
class NflowsAffine(Elementwise):
    r"""The affine map of nflows, whose scale has a least value and, under a sigmoid, a largest.

    .. math:: y = s x + \mu, \qquad s = \epsilon + \mathrm{softplus}(a + b) \quad\text{or}\quad
              s = \epsilon + \sigma(a + b)

    The shift :math:`b` makes :math:`s = 1` of :math:`a = 0`.

    Args:
        params_fn: where location and scale come from; None for free ones, or a ``DenseNN`` of the context if there is
            one.
        scale_fn: ``"softplus"`` or ``"sigmoid"``.
        least: :math:`\epsilon`.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> NflowsAffine().bind((2,)).forward(torch.tensor([1.0, 2.0])).detach().round(decimals=4).tolist()
        [1.0, 2.0]

    References:
        nflows: normalizing flows in PyTorch (Durkan et al., 2020), https://github.com/bayesiains/nflows,
        ``MaskedAffineAutoregressiveTransform`` and ``AffineCouplingTransform``.
    """

    params_fn: Parameters | None = None
    _: KW_ONLY
    scale_fn: NflowsScale = "softplus"
    least: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        options.one_of("NflowsAffine", "scale_fn", self.scale_fn, ("softplus", "sigmoid"))
        options.number("NflowsAffine", "least", self.least, above=0.0, below=1.0)

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """A location and what the scale is made of."""
        return (), ()

    @property
    def shift(self) -> float:
        """What is added to a raw number, so that 0 is a scale of 1."""
        rest = 1.0 - self.least
        return math.log(math.expm1(rest)) if self.scale_fn == "softplus" else math.log(rest / self.least)

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        loc, raw = params
        a = raw.to(torch.promote_types(raw.dtype, torch.float32)) + self.shift
        scale = F.softplus(a, threshold=40.0) if self.scale_fn == "softplus" else torch.sigmoid(a)
        return scaled(x, loc, torch.log(scale + self.least).to(raw.dtype), inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = s x + mu, s = {self.least:g} + {self.scale_fn}(a + {self.shift:.4g})."


def soft_clip(a: torch.Tensor, bound: float) -> torch.Tensor:
    """Returns a number between plus and minus the bound that is ``a`` near 0."""
    return a / (1.0 + (a / bound).abs())


def scaled(x: torch.Tensor, loc: torch.Tensor, log_s: torch.Tensor, inverse: bool) -> TensorPair:
    """Applies the affine map with the scale of this logarithm."""
    return ops.affine(
        x,
        loc,
        log_s,
        scale_fn="exp",
        log_scale_min_clip=-math.inf,
        log_scale_max_clip=math.inf,
        inverse=inverse,
    )
