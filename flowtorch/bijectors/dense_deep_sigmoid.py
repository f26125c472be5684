"""Layers of logits of mixtures of sigmoids, of each coordinate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch

from .. import options
from ..errors import OptionError
from ..ops.dense_deep_sigmoid import dense_deep_sigmoid
from ..parameters import Parameters
from ..specification import register
from ..types import TensorPair
from .elementwise import Elementwise
from .numerical import NumericalOptions


@dataclass(frozen=True, kw_only=True)
class DenseDeepSigmoidOptions(NumericalOptions):
    """The options of all plans of this map."""

    hidden_dims: Sequence[int] = (8, 8)

    def __post_init__(self) -> None:
        """Checks the options."""
        who = type(self).__name__
        object.__setattr__(self, "hidden_dims", options.hidden_dims(who, self.hidden_dims))
        if not self.hidden_dims:
            raise OptionError(f"{who}: hidden_dims is expected to name at least one layer; got ().")
        super().__post_init__()


@register
@final
@dataclass(frozen=True)
class DenseDeepSigmoid(DenseDeepSigmoidOptions, Elementwise):
    r"""The dense deep sigmoidal flow: layers of convex combinations of sigmoids, each followed by the logit.

    .. math:: h'_i = \operatorname{logit} \sum_j w_{ij} \sigma\Big(a_j \sum_k u_{jk} h_k + b_j\Big), \qquad a_j > 0,
              \quad \sum_j w_{ij} = \sum_k u_{jk} = 1

    from :math:`h = x` to the single output :math:`y` of the last layer. All sums are taken over logarithms, so that
    nothing saturates and nothing is clipped: it maps the line onto the line, far out straight. The parameters, all
    produced by the conditioner, are many: :math:`K_l (K_{l-1} + K_l + 2)` a layer, 168 for ``(8, 8)``. All at zero,
    every layer has :math:`y(0) = 0` and slopes in (0.93, 1]. The inverse is iterated within a bracket.

    Args:
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        hidden_dims: how many sigmoids each layer has; all but the last have as many outputs.
        tolerance: how small a Newton step ends the search for the inverse, relative to :math:`1 + |x|`.
        steps: how many steps; fewer are taken in eager mode if they suffice.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> bound = DenseDeepSigmoid(hidden_dims=(4, 3)).bind((2,))
        >>> [round(v, 2) for v in bound.inverse(bound.forward(torch.tensor([-2.0, 1000.0]))).tolist()]
        [-2.0, 1000.0]

    References:
        Neural Autoregressive Flows (Huang et al., 2018), https://arxiv.org/abs/1804.00779, eq. 9 and sec. 3.2.
    """

    params_fn: Parameters | None = None

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of each layer the mixing of its inputs (not of the first), slopes, biases, and logits of the weights."""
        widths = tuple(self.hidden_dims)
        outputs = (*widths[:-1], 1)
        layers = [((k,), (k,), (n, k)) for k, n in zip(widths, outputs, strict=True)]
        shapes: list[tuple[int, ...]] = [*layers[0]]
        for inputs, k, layer in zip(widths, widths[1:], layers[1:], strict=False):
            shapes += [(k, inputs), *layer]
        return tuple(shapes)

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        return dense_deep_sigmoid(x, *params, tolerance=self.tolerance, steps=self.steps, inverse=inverse)

    def describe(self) -> str:
        """Returns the formula in one line."""
        layers = ", ".join(map(str, self.hidden_dims))
        return f"layers of y = logit(sum of w sigmoid(a (sum of u x) + b)), of {layers} sigmoids."
