"""Learnable affine maps of each coordinate: location and scale, and either alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, final

import torch

from .. import ops, options
from ..errors import OptionError
from ..ops.affine import scale_options
from ..parameters import Parameters
from ..specification import register
from ..types import TensorPair
from .elementwise import Elementwise

ScaleFn: TypeAlias = Literal["softplus", "exp", "sigmoid"]


@dataclass(frozen=True, kw_only=True)
class ScaleOptions:
    """How a scale is made of an unbounded number; shared by all plans that have one."""

    scale_fn: ScaleFn = "softplus"
    clamp_values: bool = False
    log_scale_min_clip: float = -5.0
    log_scale_max_clip: float = 3.0
    sigmoid_bias: float = 2.0

    def __post_init__(self) -> None:
        """Checks the options."""
        who = type(self).__name__
        options.one_of(who, "scale_fn", self.scale_fn, ("softplus", "exp", "sigmoid"))
        options.boolean(who, "clamp_values", self.clamp_values)
        options.number(who, "log_scale_min_clip", self.log_scale_min_clip, below=0.0, infinite=True)
        options.number(who, "log_scale_max_clip", self.log_scale_max_clip, above=0.0, infinite=True)
        options.number(who, "sigmoid_bias", self.sigmoid_bias)
        super().__post_init__()  # type: ignore[misc]  # the plan that these are the options of


@dataclass(frozen=True, kw_only=True)
class AffineOptions(ScaleOptions):
    """The options of all affine plans."""

    gated: bool = False

    def __post_init__(self) -> None:
        """Checks the options."""
        options.boolean(type(self).__name__, "gated", self.gated)
        if self.gated and self.scale_fn != "sigmoid":
            raise OptionError(
                f"{type(self).__name__}: gated=True is expected to come with scale_fn='sigmoid', a gate in (0, 1); got "
                f"scale_fn={self.scale_fn!r}."
            )
        super().__post_init__()


@register
@final
@dataclass(frozen=True)
class Affine(AffineOptions, Elementwise):
    r"""The affine map :math:`y = s x + \mu` of each coordinate.

    .. math:: y = s x + \mu \quad\text{or, gated,}\quad y = s x + (1 - s) \mu, \qquad \log|dy/dx| = \log s

    The scale is made of an unbounded number :math:`a` by :math:`\mathrm{softplus}(a + \log(e - 1))`, :math:`e^a` or
    :math:`\sigma(a + \mathrm{sigmoid\_bias})`, and bounded by default: at :math:`a = 0` the first two are 1.

    Args:
        params_fn: where location and scale come from; None for free ones, or a ``DenseNN`` of the context if there is
        one.
        scale_fn: ``"softplus"``, ``"exp"`` or ``"sigmoid"``.
        clamp_values: clamps the log-scale hard, with gradients as if it did not; by default it is bounded smoothly.
        log_scale_min_clip: the bound of the log-scale from below, negative; ``-inf`` for none.
        log_scale_max_clip: the bound of the log-scale from above, positive; ``inf`` for none.
        sigmoid_bias: what is added to :math:`a` under the sigmoid, so that a fresh map is close to the identity.
        gated: the update of inverse autoregressive flow, which moves towards :math:`\mu`; needs ``scale_fn="sigmoid"``.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> y, log_det = Affine().bind((2,)).forward_and_log_det(torch.tensor([1.0, 2.0]))
        >>> y.tolist(), log_det.item()
        ([1.0, 2.0], 0.0)

    References:
        Density estimation using Real NVP (Dinh et al., 2017), https://arxiv.org/abs/1605.08803.
        Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
        https://arxiv.org/abs/1606.04934, eq. 13-14 for the gated form.
    """

    params_fn: Parameters | None = None

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """A location and an unbounded scale."""
        return (), ()

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        loc, raw_scale = params
        return ops.affine(
            x,
            loc,
            raw_scale,
            scale_fn=self.scale_fn,
            gated=self.gated,
            sigmoid_bias=self.sigmoid_bias,
            clamp_values=self.clamp_values,
            log_scale_min_clip=self.log_scale_min_clip,
            log_scale_max_clip=self.log_scale_max_clip,
            inverse=inverse,
        )

    def affine_options(self) -> tuple[float | bool | int, ...]:
        """Returns what operators that know affine maps are told of this one."""
        bounds = self.log_scale_min_clip, self.log_scale_max_clip
        return scale_options(self.scale_fn, self.gated, self.sigmoid_bias, self.clamp_values, *bounds)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return (
            "y = s x + (1 - s) mu, s = sigmoid(a + bias)." if self.gated else f"y = s x + mu, s = {self.scale_fn}(a)."
        )


@register
@final
@dataclass(frozen=True)
class Shift(Elementwise):
    r"""The translation :math:`y = x + \mu` of each coordinate.

    .. math:: y = x + \mu, \qquad \log|dy/dx| = 0

    Args:
        params_fn: where the shift comes from; None for a free one, or a ``DenseNN`` of the context if there is one.

    Example:
        >>> Shift().bind((2,)).forward(torch.tensor([1.0, 2.0])).tolist()
        [1.0, 2.0]

    References:
        NICE: Non-linear Independent Components Estimation (Dinh et al., 2015), https://arxiv.org/abs/1410.8516, sec.
        3.2.
    """

    params_fn: Parameters | None = None

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """A shift."""
        return ((),)

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        y = x - params[0] if inverse else x + params[0]
        return y, torch.zeros_like(y)

    def describe(self) -> str:
        """Returns the formula in one line."""
        return "y = x + mu."


@register
@final
@dataclass(frozen=True)
class Scale(ScaleOptions, Elementwise):
    r"""The scaling :math:`y = s x` of each coordinate, :math:`s > 0`.

    .. math:: y = s x, \qquad \log|dy/dx| = \log s

    Args:
        params_fn: where the scale comes from; None for a free one, or a ``DenseNN`` of the context if there is one.
        scale_fn: ``"softplus"``, ``"exp"`` or ``"sigmoid"``, see :class:`Affine`.
        clamp_values: clamps the log-scale hard, with gradients as if it did not; by default it is bounded smoothly.
        log_scale_min_clip: the bound of the log-scale from below, negative; ``-inf`` for none.
        log_scale_max_clip: the bound of the log-scale from above, positive; ``inf`` for none.
        sigmoid_bias: what is added under the sigmoid.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> Scale().bind((2,)).forward(torch.tensor([1.0, 2.0])).tolist()
        [1.0, 2.0]

    References:
        NICE: Non-linear Independent Components Estimation (Dinh et al., 2015), https://arxiv.org/abs/1410.8516, sec.
        3.3.
    """

    params_fn: Parameters | None = None

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """An unbounded scale."""
        return ((),)

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        return ops.affine(
            x,
            torch.zeros_like(params[0]),
            params[0],
            scale_fn=self.scale_fn,
            sigmoid_bias=self.sigmoid_bias,
            clamp_values=self.clamp_values,
            log_scale_min_clip=self.log_scale_min_clip,
            log_scale_max_clip=self.log_scale_max_clip,
            inverse=inverse,
        )

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = s x, s = {self.scale_fn}(a)."
