"""The logit of a mixture of sigmoids of each coordinate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from ..ops.deep_sigmoid import deep_sigmoid
from ..specification import register
from ..types import TensorPair
from .numerical import Mixture


@register
@final
@dataclass(frozen=True)
class DeepSigmoid(Mixture):
    r"""The deep sigmoidal flow: the logit of a convex combination of sigmoids.

    .. math:: y = \operatorname{logit} \sum_{k=1}^K w_k \sigma(a_k x + b_k), \qquad a_k > 0, \quad w_k > 0, \quad
              \sum_k w_k = 1

    All sums are taken over logarithms, so that nothing saturates and nothing is clipped: far out it is straight, with
    the least of the slopes. All parameters at zero give :math:`y(0) = 0` and slopes in (0.93, 1]: the biases start
    apart, else the components would stay equal. The inverse is iterated.

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        count_components: how many sigmoids.
        tolerance: how small a Newton step ends the search for the inverse, relative to :math:`1 + |x|`.
        steps: how many steps; fewer are taken in eager mode if they suffice.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch
        >>> bound = DeepSigmoid(count_components=4).bind((2,))
        >>> [round(v, 2) for v in bound.inverse(bound.forward(torch.tensor([-2.0, 1000.0]))).tolist()]
        [-2.0, 1000.0]

    References:
        Neural Autoregressive Flows (Huang et al., 2018), https://arxiv.org/abs/1804.00779, eq. 8.
    """

    @property
    def op(self) -> Callable[..., TensorPair]:
        """The function on tensors."""
        return deep_sigmoid

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = logit(sum of w sigmoid(a x + b)) over {self.count_components} components."
