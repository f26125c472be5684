"""Learnable maps of few parameters: skewness, tails, slopes."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, final

import torch
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from .. import options
from ..ops import elementary, tails
from ..parameters import Parameters
from ..specification import register
from ..types import TensorPair
from .elementwise import Elementwise

Params = tuple[torch.Tensor, ...]


@register
@final
@dataclass(frozen=True)
class SinhArcsinh(Elementwise):
    r"""The sinh-arcsinh map: skewness and lighter or heavier tails.

    .. math:: y = \sinh u, \quad u = \delta\, (\operatorname{arsinh} x + \epsilon), \qquad
              \log|dy/dx| = \log \delta + \log \cosh u - \tfrac{1}{2} \log(1 + x^2)

    The skewness :math:`\epsilon` and :math:`\log \delta` are made of unbounded numbers :math:`a` by
    :math:`b \tanh(a / b)`. All parameters at zero give the identity. Far out :math:`y` grows like
    :math:`|x|^\delta`, by :math:`e^{\delta \epsilon}` more on one side than :math:`1` and as much less on the other.

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        max_skewness: the bound of :math:`|\epsilon|`.
        max_tailweight: the bound of :math:`\delta`, above 1; its inverse is the bound from below.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> y = SinhArcsinh().bind((2,)).forward(torch.tensor([1.0, -2.0]))
        >>> [round(v, 4) for v in y.tolist()]
        [1.0, -2.0]

    References:
        Sinh-arcsinh distributions (Jones and Pewsey, 2009), https://doi.org/10.1093/biomet/asp053, whose
        transformation to normality is the inverse of this one, with 1 / delta for delta.
    """

    params_fn: Parameters | None = None
    _: KW_ONLY
    max_skewness: float = 3.0
    max_tailweight: float = 4.0

    def __post_init__(self) -> None:
        options.number("SinhArcsinh", "max_skewness", self.max_skewness, above=0.0)
        options.number("SinhArcsinh", "max_tailweight", self.max_tailweight, above=1.0)
        super().__post_init__()

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """A skewness and a tailweight."""
        return (), ()

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        skewness = tails.smooth_bound(params[0], self.max_skewness)
        log_tailweight = tails.smooth_bound(params[1], math.log(self.max_tailweight))
        return tails.sinh_arcsinh(x, skewness, log_tailweight, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = sinh(d (arsinh(x) + e)), skewness e and tailweight d."


@register
@final
@dataclass(frozen=True)
class TailTransform(Elementwise):
    r"""A map that turns normal tails into heavy ones, with a learnable index on each side.

    .. math:: y = \frac{s}{\lambda_s} \left(\operatorname{erfc}(|x| / \sqrt{2})^{-\lambda_s} - 1\right), \quad
              s = \operatorname{sign} x, \qquad
              \log|dy/dx| = \tfrac{1}{2} \log \tfrac{2}{\pi} - \tfrac{1}{2} x^2
              - (\lambda_s + 1) \log \operatorname{erfc}(|x| / \sqrt{2})

    Of a standard normal it makes a generalised Pareto distribution on each side of 0, with :math:`P(|y| > t) \sim
    t^{-1/\lambda}`: of moments, those below :math:`1/\lambda` exist. A flow of Lipschitz maps from a normal base
    cannot do that. Put it last (followed by an ``Affine`` or ``Standardize``, if at all), so that the layers before
    see data with normal tails. Each index is :math:`\lambda = \lambda_0 e^{b \tanh(a / b)}`, :math:`a` unbounded
    and 0 to start with. No parameter makes this the identity: in the limit of :math:`\lambda = 0` tails are
    exponential.

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        index: :math:`\lambda_0 > 0`, from which both sides start.
        max_factor: the bound :math:`e^b` of how many times larger or smaller an index can become, above 1.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> y = TailTransform(index=0.5).bind((3,)).forward(torch.tensor([-4.0, 0.0, 4.0]))
        >>> [round(v, 1) for v in y.tolist()]
        [-249.3, 0.0, 249.3]

    References:
        Flexible Tails for Normalizing Flows (Hickling and Prangle, 2024), https://arxiv.org/abs/2406.16971, the
        transformation TTF with location 0 and scale 1.
    """

    params_fn: Parameters | None = None
    _: KW_ONLY
    index: float = 0.1
    max_factor: float = 20.0

    def __post_init__(self) -> None:
        options.number("TailTransform", "index", self.index, above=0.0)
        options.number("TailTransform", "max_factor", self.max_factor, above=1.0)
        super().__post_init__()

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """An index of the left tail and one of the right."""
        return (), ()

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        start, bound = math.log(self.index), math.log(self.max_factor)
        left, right = (start + tails.smooth_bound(p, bound) for p in params)
        return tails.tail_transform(x, left, right, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = sign(x) (erfc(|x| / sqrt(2))^-l - 1) / l, l the tail index of that side."


@register
@final
@dataclass(frozen=True)
class SignedPower(Elementwise):
    r"""A power on both sides of 0, with slope 1 there.

    .. math:: y = \operatorname{sign}(x) \frac{(1 + |x|)^p - 1}{p}, \qquad \log|dy/dx| = (p - 1) \log(1 + |x|)

    The plain :math:`\operatorname{sign}(x) |x|^p` has slope 0 or infinity at 0, and there no density; with the 1 under
    the power, the map and its inverse are differentiable everywhere. The exponent is made of an unbounded number
    :math:`a` as :math:`\log p = b \tanh(a / b)`; at zero it is 1 and the map the identity. Powers above 1 give heavier
    tails, powers below 1 lighter ones.

    Args:
        params_fn: where the exponent comes from; None for a free one, or a ``DenseNN`` of the context if there is one.
        max_exponent: the bound of :math:`p`, above 1; its inverse is the bound from below.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> y = SignedPower().bind((2,)).forward(torch.tensor([1.0, -2.0]))
        >>> [round(v, 4) for v in y.tolist()]
        [1.0, -2.0]

    References:
        A new family of power transformations to improve normality or symmetry (Yeo and Johnson, 2000),
        https://doi.org/10.1093/biomet/87.4.954, their map of positive numbers, here on both sides.
    """

    params_fn: Parameters | None = None
    _: KW_ONLY
    max_exponent: float = 4.0

    def __post_init__(self) -> None:
        options.number("SignedPower", "max_exponent", self.max_exponent, above=1.0)
        super().__post_init__()

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """An exponent."""
        return ((),)

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        log_exponent = tails.smooth_bound(params[0], math.log(self.max_exponent))
        return tails.signed_power(x, log_exponent, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = sign(x) ((1 + |x|)^p - 1) / p."


@register
@final
@dataclass(frozen=True)
class LearnableLeakyReLU(Elementwise):
    r"""The leaky rectifier with a learnable slope: the identity above 0, :math:`a x` below.

    .. math:: y = \begin{cases} x & x \ge 0 \\ a x & x < 0 \end{cases}, \qquad
              \log|dy/dx| = \begin{cases} 0 & x \ge 0 \\ \log a & x < 0 \end{cases}

    The slope is made of an unbounded number :math:`r` as :math:`\log a = b \tanh(r / b)`; at zero it is 1 and the map
    the identity. See ``LeakyReLU`` for a given slope.

    Args:
        params_fn: where the slope comes from; None for a free one, or a ``DenseNN`` of the context if there is one.
        max_slope: the bound of :math:`a`, above 1; its inverse is the bound from below.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> LearnableLeakyReLU().bind((2,)).forward(torch.tensor([2.0, -2.0])).tolist()
        [2.0, -2.0]

    References:
        Delving Deep into Rectifiers (He et al., 2015), https://arxiv.org/abs/1502.01852, eq. 1, with a positive slope.
    """

    params_fn: Parameters | None = None
    _: KW_ONLY
    max_slope: float = 20.0

    def __post_init__(self) -> None:
        options.number("LearnableLeakyReLU", "max_slope", self.max_slope, above=1.0)
        super().__post_init__()

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """A slope."""
        return ((),)

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        slope = torch.exp(tails.smooth_bound(params[0], math.log(self.max_slope)))
        return elementary.leaky_relu(x, slope, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = x above 0, a x below, a learnable."


@register
@final
@dataclass(frozen=True)
class TemperatureSigmoid(Elementwise):
    r"""The logistic function with a learnable steepness, from the reals to the unit interval.

    .. math:: y = \sigma(t x), \qquad \log|dy/dx| = \log t + \log y + \log(1 - y)

    The temperature is made of an unbounded number :math:`a` as :math:`\log t = b \tanh(a / b)`; at zero it is 1 and
    the map is ``Sigmoid``.

    Args:
        params_fn: where it comes from; None for a free one, or a ``DenseNN`` of the context if there is one.
        max_temperature: the bound of :math:`t`, above 1; its inverse is the bound from below.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> TemperatureSigmoid().bind((2,)).forward(torch.zeros(2)).tolist()
        [0.5, 0.5]

    References:
        On Calibration of Modern Neural Networks (Guo et al., 2017), https://arxiv.org/abs/1706.04599, temperature
        scaling, with 1 / t for T.
    """

    codomain: ClassVar[Constraint] = constraints.unit_interval

    params_fn: Parameters | None = None
    _: KW_ONLY
    max_temperature: float = 20.0

    def __post_init__(self) -> None:
        options.number("TemperatureSigmoid", "max_temperature", self.max_temperature, above=1.0)
        super().__post_init__()

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """A temperature."""
        return ((),)

    def apply(self, x: torch.Tensor, params: Params, shared: torch.nn.Module | None, *, inverse: bool) -> TensorPair:
        """Moves each coordinate."""
        log_temperature = tails.smooth_bound(params[0], math.log(self.max_temperature))
        return tails.temperature_sigmoid(x, log_temperature, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = 1 / (1 + exp(-t x)), t learnable."
