"""One linear map of the channels at every position: the invertible 1x1 convolution."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal, final

import torch

from .. import options
from ..ops.raw_scale import raw_scale
from ..specification import register
from ..types import TensorPair
from .lu import Permutation, PermutedLU


@register
@final
@dataclass(frozen=True)
class GeneralizedChannelPermute(PermutedLU):
    r"""One linear map of the channels at every position: on events (C, H, W) the invertible 1x1 convolution of Glow.

    .. math::
        y_{:hw} = S P L U x_{:hw} + b, \quad (P v)_i = v_{\pi(i)}, \qquad
        \log|\det dy/dx| = H W \sum_i \log U_{ii}

    :math:`L` is unit lower and :math:`U` upper triangular with a positive diagonal, of :math:`C^2` numbers;
    :math:`S = \mathrm{diag}(\pm 1)` and the permutation stay as they are at binding. The inverse is two substitutions.
    It starts as a random rotation or reflection, up to what the bounds of the diagonal keep from it, or as a
    permutation.

    After 1,000 steps of Adam at 1e-2 towards random correlated Gaussians the error of the inverse is below 1e-12 in
    float64 and 1e-4 in float32, relative to the largest coordinate.

    Args:
        params_fn: where the triangles and :math:`b` come from; None for free ones, or a ``DenseNN`` of the context if
            there is one, added to where they start.
        dim: the axis of the channels.
        bias: whether there is a :math:`b`.
        permutation: :math:`\pi`, or ``"identity"``; None draws one at each binding.
        initial: ``"rotation"`` starts from an orthogonal matrix drawn at binding, with signs :math:`S` drawn as well;
            ``"permutation"`` from :math:`P`, with :math:`S` and both triangles at the identity.
        scale_fn: how the diagonal is made positive: ``"softplus"``, ``"exp"`` or ``"sigmoid"``.
        clamp_values: clamps its logarithm hard; by default it is bounded smoothly.
        log_scale_min_clip: the bound of the logarithm from below, negative; ``-inf`` for none.
        log_scale_max_clip: the bound from above, positive; ``inf`` for none.
        sigmoid_bias: what is added under the sigmoid.

    Raises:
        OptionError, OptionTypeError: for options out of range, and for what is not a permutation.
        ShapeError: when bound to an event without that axis, or of another size than the permutation's.

    Example:
        >>> bound = GeneralizedChannelPermute().bind((3, 8, 8))
        >>> x = torch.ones(5, 3, 8, 8)
        >>> y, log_det = bound.forward_and_log_det(x)
        >>> torch.allclose(y.square().sum(1), x.square().sum(1)), log_det.shape
        (True, torch.Size([5]))

    References:
        Glow: Generative Flow with Invertible 1x1 Convolutions (Kingma & Dhariwal, 2018),
        https://arxiv.org/abs/1807.03039, sec. 3.2, eq. 10-11.
    """

    _: KW_ONLY
    dim: int | None = 0
    permutation: Permutation = None
    initial: Literal["rotation", "permutation"] = "rotation"

    def __post_init__(self) -> None:
        super().__post_init__()
        options.one_of("GeneralizedChannelPermute", "initial", self.initial, ("rotation", "permutation"))

    def constants(self, size: int) -> tuple[torch.Tensor, ...]:
        """The permutation and the signs."""
        signs = torch.ones(size) if self.initial == "permutation" else torch.randint(2, (size,)) * 2.0 - 1.0
        return (*super().constants(size), signs)

    def matrix_start(self, size: int) -> tuple[torch.Tensor, ...]:
        """The triangles of a random orthogonal matrix, or those of the identity."""
        if self.initial == "permutation":
            return super().matrix_start(size)
        # Rows of Q may be permuted and change their sign, and it stays orthogonal: so those that its own decomposition
        # takes, for which no entry of L is above 1, are replaced by those of `constants`.
        rotation = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64)).Q
        both = torch.linalg.lu_factor(rotation)[0]
        signs = both.diagonal().sign()
        lower, upper = both.tril(-1) * signs * signs.unsqueeze(-1), both.triu(1) * signs.unsqueeze(-1)
        diagonal = raw_scale(
            both.diagonal().abs().log(),
            scale_fn=self.scale_fn,
            sigmoid_bias=self.sigmoid_bias,
            clamp_values=self.clamp_values,
            log_scale_min_clip=self.log_scale_min_clip,
            log_scale_max_clip=self.log_scale_max_clip,
        )
        return ((lower + upper + torch.diag(diagonal)).to(torch.get_default_dtype()),)

    def multiply(self, x: torch.Tensor, params: tuple[torch.Tensor, ...], *, inverse: bool) -> TensorPair:
        """Moves vectors."""
        *rest, signs = params
        if inverse:
            return super().multiply(signs * x, tuple(rest), inverse=True)
        y, log_det = super().multiply(x, tuple(rest), inverse=False)
        return signs * y, log_det

    def describe(self) -> str:
        """Returns the formula in one line."""
        p = "" if self.permutation == "identity" else "P "
        return (
            f"y = S {p}L U x{' + b' if self.bias else ''} at each position, S signs, {self.formula()[:-1]}; "
            f"starts as a {self.initial}."
        )
