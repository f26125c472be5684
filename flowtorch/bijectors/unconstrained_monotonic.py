"""The integral of a positive network, of each coordinate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import cast, final

import torch

from .. import options
from ..nn import Dense
from ..ops.monotonic_integral import monotonic_integral
from ..ops.quadrature import gauss_legendre
from ..parameters import Parameters
from ..specification import register
from ..types import ModuleFactory, TensorPair
from .elementwise import Elementwise
from .numerical import NumericalOptions


@register
@final
@dataclass(frozen=True)
class UnconstrainedMonotonic(NumericalOptions, Elementwise):
    r"""The integral of a positive network that all coordinates share, each with a conditioning vector of its own.

    .. math:: y = c + \int_0^x g(t; h)\, dt, \qquad \log|dy/dx| = \log g(x; h), \qquad
              g = \exp \operatorname{bounded}(\mathrm{network}(t, h))

    The integral is Gauss-Legendre's within ``[-bound, bound]``; outside the integrand is constant and the map straight.
    The log-derivative is that of the integral, not of the quadrature, from which it differs by the quadrature's error:
    take more ``nodes`` for a wiggly integrand, and smooth activations. Slopes lie within (exp(-5), exp(3)). The last
    layer of the network starts at zero, and so the map at the identity. The inverse is iterated.

    Args:
        params_fn: where the conditioning vector and the offset come from; None for free ones, or a ``DenseNN`` of the
            context if there is one.
        hidden_dims: the widths of the network's hidden layers.
        nonlinearity: the class of its activations.
        count_conditions: the length of the conditioning vector.
        nodes: how many nodes the quadrature has.
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
    _: KW_ONLY
    hidden_dims: Sequence[int] = (32, 32)
    nonlinearity: ModuleFactory = torch.nn.Tanh
    count_conditions: int = 8
    nodes: int = 32
    bound: float = 5.0

    def __post_init__(self) -> None:
        """Checks the options."""
        who = type(self).__name__
        object.__setattr__(self, "hidden_dims", options.hidden_dims(who, self.hidden_dims))
        options.module_factory(who, "nonlinearity", self.nonlinearity)
        options.integer(who, "count_conditions", self.count_conditions, minimum=1)
        options.integer(who, "nodes", self.nodes, minimum=1)
        options.number(who, "bound", self.bound, above=0.0)
        super().__post_init__()

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
        return monotonic_integral(
            x,
            integrand,
            (conditions,),
            offset,
            bound=self.bound,
            rule=integrand.rule,
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
        self.rule = tuple(gauss_legendre(plan.nodes))

    def forward(self, t: torch.Tensor, params: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Returns a number for each point ``(N, *batch, *event)``, given conditions ``(*batch, *event, C)``."""
        out: torch.Tensor = self.net(t.unsqueeze(-1), params[0])
        return out.squeeze(-1)
