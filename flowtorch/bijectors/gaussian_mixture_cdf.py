"""Gaussianization of each coordinate by a mixture of normals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from ..ops.gaussian_mixture_cdf import gaussian_mixture_cdf
from ..specification import register
from ..types import TensorPair
from .numerical import Mixture


@register
@final
@dataclass(frozen=True)
class GaussianMixtureCDF(Mixture):
    r"""The distribution function of a mixture of normals and the normal quantile function: Gaussianization.

    .. math:: y = \Phi^{-1}\Big(\sum_{k=1}^K w_k \Phi\big((x - m_k) / s_k\big)\Big)

    ``forward`` maps a coordinate with that mixture's distribution to a standard normal one; for density estimation by
    one pass take ``Invert(GaussianMixtureCDF())``. Computed from the logarithm of the smaller tail, it neither
    saturates nor cancels. All parameters at zero give :math:`y(0) = 0` and slopes within 0.03 of 1 for :math:`|x| < 1`,
    at most 1.16 far out: the locations start apart, else the components would stay equal. The inverse is iterated.

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        count_components: how many normals.
        tolerance: how small a Newton step ends the search for the inverse, relative to :math:`1 + |x|`.
        steps: how many steps; fewer are taken in eager mode if they suffice.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch
        >>> bound = GaussianMixtureCDF(count_components=4).bind((2,))
        >>> [round(v, 2) for v in bound.inverse(bound.forward(torch.tensor([-2.0, 1000.0]))).tolist()]
        [-2.0, 1000.0]

    References:
        Gaussianization Flows (Meng et al., 2020), https://arxiv.org/abs/2003.01941, eq. 7.
    """

    @property
    def op(self) -> Callable[..., TensorPair]:
        """The function on tensors."""
        return gaussian_mixture_cdf

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = the normal quantile of F(x), F that of a mixture of {self.count_components} normals."
