"""Elementwise plans with an inverse found by iteration; the base for an author who has the forward form only."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass

import torch

from .. import options
from ..ops.numerical_inverse import STEPS, TOLERANCE, numerical_inverse
from ..parameters import Parameters
from ..types import Exactness, TensorPair
from .elementwise import Elementwise


@dataclass(frozen=True, kw_only=True)
class NumericalOptions:
    """The options of all plans whose inverse is iterated; see :func:`flowtorch.ops.numerical_inverse`."""

    tolerance: float = TOLERANCE
    steps: int = STEPS

    def __post_init__(self) -> None:
        """Checks the options."""
        who = type(self).__name__
        options.number(who, "tolerance", self.tolerance, above=0.0, below=1.0)
        options.integer(who, "steps", self.steps, minimum=1)
        super().__post_init__()  # type: ignore[misc]  # the plan that these are the options of

    @property
    def exactness(self) -> Exactness:
        """The inverse is iterated to a tolerance."""
        return "numerical"


@dataclass(frozen=True, kw_only=True)
class MixtureOptions(NumericalOptions):
    """The options of all plans of distribution functions of mixtures."""

    count_components: int = 8

    def __post_init__(self) -> None:
        """Checks the options."""
        options.integer(type(self).__name__, "count_components", self.count_components, minimum=1)
        super().__post_init__()


@dataclass(frozen=True)
class Mixture(MixtureOptions, Elementwise):
    """What the maps by distribution functions of mixtures share; an author writes :attr:`op`."""

    params_fn: Parameters | None = None

    @property
    @abc.abstractmethod
    def op(self) -> Callable[..., TensorPair]:
        """The function on tensors."""

    @property
    def param_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Three parameters of each component: the logits of the weights come first."""
        k = self.count_components
        return (k,), (k,), (k,)

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        return self.op(x, *params, tolerance=self.tolerance, steps=self.steps, inverse=inverse)


@dataclass(frozen=True, kw_only=True)
class NumericallyInverted(NumericalOptions, Elementwise):
    r"""An increasing elementwise map of which the author gives the forward form only.

    .. math:: x = f^{-1}(y; \theta), \qquad \log|dx/dy| = -\log f'(x; \theta)

    An author writes ``param_shapes`` and :meth:`forward_map`, and :meth:`bracket` where something is known of where
    the solution lies; the inverse, with gradients to ``y``, the parameters and shared weights, follows. The map must
    increase from minus to plus infinity.

    Args:
        tolerance: how small a Newton step ends the search, relative to :math:`1 + |x|`.
        steps: how many steps; fewer are taken in eager mode if they suffice.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> @dataclass(frozen=True)
        ... class Cubic(NumericallyInverted):
        ...     params_fn: None = None
        ...
        ...     def forward_map(self, x, params, shared):
        ...         return x + x**3, torch.log1p(3 * x**2)
        >>> Cubic().bind((2,)).inverse(torch.tensor([2.0, -10.0]))
        tensor([ 1., -2.])
    """

    @abc.abstractmethod
    def forward_map(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None
    ) -> TensorPair:
        """Returns the image of each coordinate and the logarithm of the derivative; arguments as for ``apply``."""

    def bracket(
        self, y: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None
    ) -> TensorPair | None:
        """Returns numbers that enclose the solution, without need of gradients; None to have them searched for."""
        return None

    def apply(
        self, x: torch.Tensor, params: tuple[torch.Tensor, ...], shared: torch.nn.Module | None, *, inverse: bool
    ) -> TensorPair:
        """Moves each coordinate."""
        if not inverse:
            return self.forward_map(x, params, shared)
        with torch.no_grad():
            bracket = self.bracket(x.detach(), tuple(p.detach() for p in params), shared)
        return numerical_inverse(
            lambda v, p: self.forward_map(v, p, shared),
            x,
            params,
            bracket=bracket,
            tolerance=self.tolerance,
            steps=self.steps,
        )
