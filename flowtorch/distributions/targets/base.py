"""What all targets share: arguments that broadcast, shapes, and an entropy by quadrature."""

from __future__ import annotations

import abc
import math

import torch
from torch.distributions import Distribution, constraints
from torch.distributions.constraints import Constraint

from ...errors import NotSupportedError, ShapeError
from ...types import Size, TensorPair
from ..moments import WithoutMoments

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
# How far from where it is centred, and in what steps, a density is summed for its entropy, in units of its scales.
_TAIL, _STEP = 9.0, 0.4


class Target(WithoutMoments, abc.ABC):
    """A distribution over vectors that is there to be fitted.

    Data type, device and batch shape come from its arguments, the names in ``arg_constraints``: numbers, or tensors
    that broadcast, as those of torch's own distributions. Values outside of the support have the log-density ``-inf``,
    as under a flow, unless ``validate_args=True`` asks for an error.
    """

    has_rsample = True

    def __init__(self, event: int, validate_args: bool | None, **arguments: torch.Tensor) -> None:
        for name, value in arguments.items():
            setattr(self, name, value)
        trailing = {name: getattr(c, "event_dim", 0) for name, c in self.arg_constraints.items()}
        batch = torch.broadcast_shapes(*(v.shape[: v.dim() - trailing[name]] for name, v in arguments.items()))
        super().__init__(batch, torch.Size([event]), validate_args)
        self._validate_args = validate_args is True

    @property
    def support(self) -> Constraint:
        """The whole space, unless a target says otherwise."""
        return constraints.real_vector

    def expand(
        self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: Distribution | None = None
    ) -> Target:
        """Returns the distribution with this batch shape."""
        new: Target = self._get_checked_instance(type(self), _instance)  # type: ignore[no-untyped-call]  # in torch
        new.__dict__.update(self.__dict__)
        for name in self.arg_constraints:
            value = getattr(self, name)
            trailing = value.shape[len(self.batch_shape) :]
            setattr(new, name, value.expand(torch.Size(batch_shape) + trailing))
        new._batch_shape = torch.Size(batch_shape)
        return new

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size()) -> torch.Tensor:  # noqa: B008
        """Returns samples ``(*sample_shape, *batch, event)``, drawn from torch's global generator."""
        with torch.no_grad():
            return self._draw(self._extended_shape(torch.Size(sample_shape))[:-1])

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = torch.Size()) -> torch.Tensor:  # noqa: B008
        """Returns samples that can be differentiated by the arguments, if ``has_rsample``.

        Raises:
            NotSupportedError: if they cannot.
        """
        if not self.has_rsample:
            who = type(self).__name__
            raise NotSupportedError(f"{who}.rsample: a target whose draws have gradients is expected; got a {who}.")
        return self._draw(self._extended_shape(torch.Size(sample_shape))[:-1])

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Returns the log-density at ``value`` ``(*batch, event)``, of shape ``batch``.

        Raises:
            ShapeError: if ``value`` is no batch of events.
        """
        if value.shape[-1:] != self.event_shape:
            raise ShapeError(
                f"{type(self).__name__}: values of shape (*batch, {self.event_shape[0]}) are expected; got "
                f"{tuple(value.shape)}."
            )
        if self._validate_args:
            self._validate_sample(value)
        dtype = torch.promote_types(value.dtype, self._like().dtype)
        return self._log_prob(value.to(torch.promote_types(dtype, torch.float32))).to(dtype)

    def entropy(self) -> torch.Tensor:
        r"""Returns :math:`-\int p \log p`, by the trapezoidal rule on a grid: to some 1e-8 for smooth densities."""
        reach, finest = self._extent()
        count = 2 * math.ceil((reach + 1e-9) / (_STEP * finest)) + 1
        axis = torch.linspace(-reach, reach, count, dtype=torch.float64, device=self._like().device)
        sums = []
        for x in axis:  # a line at a time: the grid at once takes too much memory
            line = torch.stack([x.expand(count), axis], -1).view(count, *[1] * len(self.batch_shape), 2)
            log_p = self._log_prob(line)
            sums.append((log_p.exp() * log_p.clamp(min=-1e3)).sum(0))
        step = 2.0 * reach / (count - 1)
        return (torch.stack(sums).sum(0) * -(step**2)).to(self._like().dtype)

    def _like(self) -> torch.Tensor:
        """An argument, for data type and device."""
        value: torch.Tensor = getattr(self, next(iter(self.arg_constraints)))
        return value

    def _normal(self, shape: Size) -> torch.Tensor:
        return torch.randn(shape, dtype=self._like().dtype, device=self._like().device)

    def _uniform(self, shape: Size) -> torch.Tensor:
        return torch.rand(shape, dtype=self._like().dtype, device=self._like().device)

    def _choice(self, count: int, shape: Size) -> torch.Tensor:
        return torch.randint(count, shape, device=self._like().device)

    @abc.abstractmethod
    def _draw(self, shape: Size) -> torch.Tensor:
        """Returns samples of shape ``(*shape, event)``; ``shape`` ends with the batch shape."""

    @abc.abstractmethod
    def _log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """Returns log-densities at events in float32 or more."""

    def _extent(self) -> tuple[float, float]:
        """Returns how far from the origin the density reaches and the smallest scale on which it changes."""
        who = type(self).__name__
        raise NotSupportedError(f"{who}.entropy: a target with an extent to sum over is expected; got a {who}.")


def reach(centre: torch.Tensor, scale: torch.Tensor) -> tuple[float, float]:
    """Returns what ``_extent`` does, for parts ``centre`` from the origin with normal tails of ``scale``."""
    return float(centre.detach().abs().max() + _TAIL * scale.detach().max()), float(scale.detach().min())


def log_normal(x: torch.Tensor, loc: torch.Tensor | float, scale: torch.Tensor) -> torch.Tensor:
    """Returns the log-density of a normal distribution."""
    return -0.5 * ((x - loc) / scale) ** 2 - scale.log() - _HALF_LOG_2PI


def polar(x: torch.Tensor) -> TensorPair:
    """Returns the distance from the origin and the coordinates divided by it, with finite derivatives at the origin."""
    tiny = torch.finfo(x.dtype).tiny
    r = x.square().sum(-1).clamp(min=tiny).sqrt()
    return r, x / r.unsqueeze(-1)


def ahead(values: torch.Tensor, dims: int) -> torch.Tensor:
    """Returns ``values`` ``(count, *rest)`` as ``(count, 1, ..., 1, *rest)``: components stand before ``dims`` others.

    Softmax and sums over a short last axis are slow on CPUs.
    """
    return values.view(values.shape[0], *[1] * (dims + 1 - values.dim()), *values.shape[1:])
