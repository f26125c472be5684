"""The integral of a positive network, of each coordinate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, final

import torch
import torch.nn.functional as F

from .. import options
from ..nn import Dense
from ..ops.monotonic_integral import monotonic_integral
from ..ops.quadrature import clenshaw_curtis, gauss_legendre
from ..parameters import Parameters
from ..specification import register
from ..types import ModuleFactory, TensorPair
from .elementwise import Elementwise
from .numerical import NumericalOptions

_RULES = {"gauss_legendre": gauss_legendre, "clenshaw_curtis": clenshaw_curtis}


@dataclass(frozen=True, kw_only=True)
class UnconstrainedMonotonicOptions(NumericalOptions):
    """The options of all plans of this map."""

    hidden_dims: Sequence[int] = (32, 32)
    nonlinearity: ModuleFactory = torch.nn.Tanh
    count_conditions: int = 8
    nodes: int = 32
    quadrature: Literal["gauss_legendre", "clenshaw_curtis"] = "gauss_legendre"
    bound: float = 5.0

    def __post_init__(self) -> None:
        """Checks the options."""
        who = type(self).__name__
        object.__setattr__(self, "hidden_dims", options.hidden_dims(who, self.hidden_dims))
        options.module_factory(who, "nonlinearity", self.nonlinearity)
        options.integer(who, "count_conditions", self.count_conditions, minimum=1)
        options.integer(who, "nodes", self.nodes, minimum=1)
        options.one_of(who, "quadrature", self.quadrature, tuple(_RULES))
        options.number(who, "bound", self.bound, above=0.0)
        super().__post_init__()


@register
@final
@dataclass(frozen=True)
class UnconstrainedMonotonic(UnconstrainedMonotonicOptions, Elementwise):
    r"""The integral of a positive network that all coordinates share, each with a conditioning vector of its own.

    .. math:: y = c + \int_0^x g(t; h)\, dt, \qquad \log|dy/dx| = \log g(x; h), \qquad
              g = \exp \operatorname{bounded}(\mathrm{network}(t, h))

    The integral is taken by quadrature within ``[-bound, bound]``; outside the integrand is constant, the map straight.
    The log-derivative is that of the integral, not of the quadrature, from which it differs by the quadrature's error:
    take more ``nodes`` for a wiggly integrand, and smooth activations. Slopes lie within (exp(-5), exp(3)). The last
    layer of the network starts at zero, and so the map at the identity. The inverse is iterated.

    Args:
        params_fn: where the conditioning vector and the offset come from; None for free ones, or a ``DenseNN`` of the
            context if there is one.
        hidden_dims: the widths of the network's hidden layers.
        nonlinearity: the class of its activations.
        count_conditions: the length of the conditioning vector.
        nodes: how many nodes the quadrature has; as the backward pass evaluates the integrand again, a few nodes at a
            time, memory does not grow with them.
        quadrature: ``"gauss_legendre"``, exact for polynomials of twice the degree, or ``"clenshaw_curtis"``, of nested
            nodes that include the ends.
        bound: where the straight lines begin.
        tolerance: how small a Newton step ends the search for the inverse, relative to :math:`1 + |x|`.
        steps: how many steps; fewer are taken in eager mode if they suffice.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> bound = UnconstrainedMonotonic(hidden_dims=(16,)).bind((2,))
        >>> [round(v, 2) for v in bound.inverse(bound.forward(torch.tensor([-2.0, 1000.0]))).tolist()]
        [-2.0, 1000.0]

    References:
        Unconstrained Monotonic Neural Networks (Wehenkel and Louppe, 2019), https://arxiv.org/abs/1908.05164, eq. 1-5.
    """

    params_fn: Parameters | None = None

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """A conditioning vector, and an offset."""
        return (self.count_conditions,), ()

    def bind_map(self, shape: torch.Size) -> BoundIntegrand:
        """Returns the network under the integral."""
        return BoundIntegrand(self)

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        integrand, (conditions, offset) = cast(BoundIntegrand, shared), params
        weights = dict(integrand.named_parameters())

        def network(t: torch.Tensor, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
            named = dict(zip(weights, given[1:], strict=True))
            out: torch.Tensor = torch.func.functional_call(integrand, named, (t, given[0]))
            return out

        return monotonic_integral(
            x,
            network,
            (integrand.start(conditions), *weights.values()),
            offset,
            bound=self.bound,
            rule=integrand.rule,
            recompute=True,
            tolerance=self.tolerance,
            steps=self.steps,
            inverse=inverse,
        )

    def describe(self) -> str:
        """Returns the formula in one line."""
        return f"y = c + the integral from 0 to x of a positive network, by {self.nodes} nodes."


class BoundIntegrand(torch.nn.Module):
    """The network under the integral; the logarithm of the integrand, before it is bounded."""

    def __init__(self, plan: UnconstrainedMonotonic) -> None:
        super().__init__()
        self.net = Dense(1, plan.count_conditions, plan.hidden_dims, 1, nonlinearity=plan.nonlinearity)
        self.rule = tuple(_RULES[plan.quadrature](plan.nodes))

    def start(self, conditions: torch.Tensor) -> torch.Tensor:
        """Returns what the conditions ``(*batch, *event, C)`` add to the first layer: once, not for each node."""
        first = self.net.layers[0]
        return F.linear(conditions, first.weight[:, 1:], first.bias)

    def forward(self, t: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        """Returns a number for each point ``(N, *batch, *event)``."""
        h = torch.addcmul(start, t.unsqueeze(-1), self.net.layers[0].weight[:, 0])
        for activation, layer in zip(self.net.activations, self.net.layers[1:], strict=True):
            h = layer(activation(h))
        return h.squeeze(-1)
