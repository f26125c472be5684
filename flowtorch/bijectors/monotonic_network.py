"""A monotone network, of each coordinate."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, final

import torch

from .. import options
from ..errors import OptionError
from ..ops.monotonic_network import MonotonicWeights, monotonic_network
from ..parameters import Parameters
from ..specification import register
from ..types import TensorPair
from .elementwise import Elementwise
from .numerical import NumericalOptions


@dataclass(frozen=True, kw_only=True)
class MonotonicNetworkOptions(NumericalOptions):
    """The options of all plans of this map."""

    hidden_dims: Sequence[int] = (64, 64)
    count_conditions: int = 16

    def __post_init__(self) -> None:
        """Checks the options."""
        who = type(self).__name__
        object.__setattr__(self, "hidden_dims", options.hidden_dims(who, self.hidden_dims))
        if not self.hidden_dims:
            raise OptionError(f"{who}: hidden_dims is expected to name at least one layer; got ().")
        options.integer(who, "count_conditions", self.count_conditions, minimum=1)
        super().__post_init__()


@register
@final
@dataclass(frozen=True)
class MonotonicNetwork(MonotonicNetworkOptions, Elementwise):
    r"""A network with positive weights that all coordinates share, each with a conditioning vector, gate and scale.

    .. math:: y = t + s \big((1 - \alpha) x + \alpha \, \mathrm{network}(x; h)\big), \qquad 0.01 \le 1 - \alpha

    Half of the units of each layer are convex, half concave. The derivative is carried through the layers with the
    values. As slopes are bounded away from zero, the map is onto the line, and its inverse, which is iterated, has a
    bracket. All parameters at zero give nine parts of the identity and one of the network.

    Args:
        params_fn: where the conditioning vector, the shift, the scale and the gate come from; None for free ones, or a
            ``DenseNN`` of the context if there is one.
        hidden_dims: the widths of the network's hidden layers.
        count_conditions: the length of the conditioning vector.
        tolerance: how small a Newton step ends the search for the inverse, relative to :math:`1 + |x|`.
        steps: how many steps; fewer are taken in eager mode if they suffice.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> bound = MonotonicNetwork(hidden_dims=(16, 16)).bind((2,))
        >>> [round(v, 2) for v in bound.inverse(bound.forward(torch.tensor([-2.0, 1000.0]))).tolist()]
        [-2.0, 1000.0]

    References:
        Neural Autoregressive Flows (Huang et al., 2018), https://arxiv.org/abs/1804.00779, sec. 3.
        Constrained Monotonic Neural Networks (Runje and Shankaranarayana, 2023), https://arxiv.org/abs/2205.11775.
    """

    params_fn: Parameters | None = None

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """A conditioning vector, a shift, a log-scale and a gate."""
        return (self.count_conditions,), (), (), ()

    def bind_map(self, shape: torch.Size) -> BoundNetwork:
        """Returns the weights."""
        return BoundNetwork(self)

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        conditions, loc, raw_scale, raw_gate = params
        return monotonic_network(
            x,
            conditions,
            loc,
            raw_scale,
            raw_gate,
            cast(BoundNetwork, shared)(),
            tolerance=self.tolerance,
            steps=self.steps,
            inverse=inverse,
        )

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = t + s times a mean of x and a monotone network of x with layers {self.hidden_dims}."


class BoundNetwork(torch.nn.Module):
    """The weights of the network, before they are made positive; kinks start spread over (-3, 3)."""

    def __init__(self, plan: MonotonicNetwork) -> None:
        super().__init__()
        widths = (1, *plan.hidden_dims, 1)
        self.raw = torch.nn.ParameterList(torch.randn(b, a) for a, b in itertools.pairwise(widths))
        self.biases = torch.nn.ParameterList(6.0 * torch.rand(n) - 3.0 for n in plan.hidden_dims)
        scale = plan.count_conditions**-0.5
        self.from_conditions = torch.nn.Parameter(scale * torch.randn(widths[1], plan.count_conditions))

    def forward(self) -> MonotonicWeights:
        """Returns the weights."""
        return MonotonicWeights(tuple(self.raw), tuple(self.biases), self.from_conditions)
