"""The distribution function of a mixture of logistics, of each coordinate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from ..ops.deep_sigmoid import logistic_mixture_cdf
from ..specification import register
from ..types import TensorPair
from .numerical import Mixture


@register
@final
@dataclass(frozen=True)
class LogisticMixtureCDF(Mixture):
    r"""The distribution function of a mixture of logistics, a logit, and an affine map: that of Flow++.

    .. math:: y = s \operatorname{logit} \Big(\sum_{k=1}^K w_k \sigma\big((x - m_k) / s_k\big)\Big) + t

    It maps the line to the line, far out straight. All parameters at zero give :math:`y(0) = 0` and slopes in
    (0.93, 1]: the locations start apart, else the components would stay equal. The inverse is iterated.

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        count_components: how many logistics.
        tolerance: how small a Newton step ends the search for the inverse, relative to :math:`1 + |x|`.
        steps: how many steps; fewer are taken in eager mode if they suffice.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch
        >>> bound = LogisticMixtureCDF(count_components=4).bind((2,))
        >>> [round(v, 2) for v in bound.inverse(bound.forward(torch.tensor([-2.0, 1000.0]))).tolist()]
        [-2.0, 1000.0]

    References:
        Flow++: Improving Flow-Based Generative Models with Variational Dequantization and Architecture Design (Ho et
        al., 2019), https://arxiv.org/abs/1902.00275, sec. 3.2.
    """

    @property
    def op(self) -> Callable[..., TensorPair]:
        """The function on tensors."""
        return logistic_mixture_cdf

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The components' logits, locations and log-scales; a shift and a log-scale after the logit."""
        return *super().param_shapes, (), ()

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = s logit(F(x)) + t, F the distribution function of a mixture of {self.count_components} logistics."
