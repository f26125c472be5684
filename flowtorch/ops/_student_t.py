"""Student's t distribution with any number of degrees of freedom: its tails, which torch has no functions for."""

from __future__ import annotations

import math

import torch

from .elementary import log_of_largest
from .logarithms import log1p_square
from .numerical_inverse import numerical_inverse

_NODES = 80
# Beyond these many degrees of freedom the integrand of the tail is, in the angle, a peak at its lower end.
_MANY = 30.0


def log_density(z: torch.Tensor, df: float) -> torch.Tensor:
    """Returns the log-density."""
    return _log_constant(df) - 0.5 * math.log(df) - 0.5 * (df + 1.0) * log1p_square(z / math.sqrt(df))


def log_tail(z: torch.Tensor, df: float) -> torch.Tensor:
    r"""Returns :math:`\log P(T > z)` for :math:`z \ge 0`, to rounding of the probability itself, however small.

    With :math:`z = \sqrt\nu \tan\theta` and :math:`\psi = \pi/2 - \theta`,

    .. math:: P(T > z) = C \int_0^\psi \sin^{\nu - 1} \phi \, d\phi, \qquad
              C = \frac{\Gamma((\nu + 1) / 2)}{\sqrt\pi \, \Gamma(\nu / 2)}

    by Clenshaw-Curtis quadrature: in the tail in :math:`v`, :math:`\phi = \psi v^k`, with a :math:`k` that makes the
    integrand smooth at 0; near the middle as 1/2 less the rest; and for many degrees of freedom from the peak on.
    """
    slope = z / math.sqrt(df)  # tan(theta)
    if df > _MANY:
        return _log_from_the_peak(slope, df)
    near = slope < 0.4
    middle = _from_the_middle(torch.where(near, slope, 0.0), df)
    return torch.where(near, torch.log(middle), _log_from_the_end(torch.where(near, 1.0, slope), df))


def quantile(y: torch.Tensor, df: float) -> torch.Tensor:
    r"""Returns the :math:`z` with :math:`P(T \le z) = y`."""
    lower = y < 0.5
    log_p = torch.log(torch.where(lower, y, 1.0 - y))  # 1 - y is exact where it is used

    limit = log_of_largest(y) - 2.0

    def function(s: torch.Tensor, params: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        # In s, z = sqrt(df) sinh(s), the logarithm of the tail is nearly straight. Newton's guesses may be beyond ends.
        within = s.clamp(0.0, limit)
        z = math.sqrt(df) * torch.sinh(within)
        log_q = log_tail(z, df)
        log_slope = log_density(z, df) + 0.5 * math.log(df) + torch.log(torch.cosh(within)) - log_q
        return (s - within) - log_q, log_slope

    aim = -log_p
    # The sine is below its argument, and so the tail below C / (nu sinh(s)^nu).
    most = ((_log_constant(df) - math.log(df) + aim.detach()) / df).clamp_min(0.0) + 1.0
    s, _ = numerical_inverse(function, aim, bracket=(torch.full_like(most, -1e-3), most), start=most - 0.5, steps=16)
    z = math.sqrt(df) * torch.sinh(s.clamp_max(limit))
    return torch.where(lower, -z, z)


def _log_constant(df: float) -> float:
    return math.lgamma(0.5 * (df + 1.0)) - math.lgamma(0.5 * df) - 0.5 * math.log(math.pi)


def _rule(like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns nodes and weights of :func:`flowtorch.ops.clenshaw_curtis`, along a new first axis.

    By operations on tensors: the loops of a rule would be traced step by step where an op is compiled.
    """
    k = torch.arange(_NODES + 1, dtype=like.dtype, device=like.device)
    j = torch.arange(1, _NODES // 2 + 1, dtype=like.dtype, device=like.device)
    sums = torch.cos(j * k[:, None] * (2.0 * math.pi / _NODES)) / (4.0 * j * j - 1.0)
    weights = (1.0 - 2.0 * sums.sum(1) + sums[:, -1]) / _NODES
    weights = torch.where(k % _NODES == 0.0, 0.5 * weights, weights)
    nodes = 0.5 - 0.5 * torch.cos(k * (math.pi / _NODES))
    shape = (-1, *(1,) * like.dim())
    return nodes.reshape(shape), weights.reshape(shape)


def _from_the_middle(slope: torch.Tensor, df: float) -> torch.Tensor:
    theta = torch.atan(slope)
    nodes, weights = _rule(theta)
    integral = (weights * torch.exp((df - 1.0) * torch.log(torch.cos(nodes * theta)))).sum(0)
    return 0.5 - math.exp(_log_constant(df)) * theta * integral


def _log_from_the_end(slope: torch.Tensor, df: float) -> torch.Tensor:
    psi = torch.atan(1.0 / slope)
    power = max(1, math.ceil(2.0 * df)) if df < 6.0 else df
    k = power / df
    nodes, weights = _rule(psi)
    weights = k * weights * nodes ** (power - 1.0)
    integral = (weights * torch.exp((df - 1.0) * _log_sinc(nodes**k * psi))).sum(0)
    return _log_constant(df) + df * torch.log(psi) + torch.log(integral)


def _log_sinc(phi: torch.Tensor) -> torch.Tensor:
    small = phi < 1e-3
    safe = torch.where(small, 1.0, phi)
    return torch.where(small, -phi * phi / 6.0, torch.log(torch.sin(safe) / safe))


def _log_from_the_peak(slope: torch.Tensor, df: float) -> torch.Tensor:
    rest = math.pi / 2.0 - torch.atan(slope)
    rate = df - 1.0
    # As far as the integrand is above exp(-40).
    length = 80.0 / (rate * (slope + torch.sqrt(slope * slope + 80.0 / rate)))
    length = torch.minimum(length, torch.where(slope > 1.0, torch.atan(1.0 / slope.clamp_min(1.0)), rest)).detach()
    nodes, weights = _rule(slope)
    delta = nodes * length
    fall = (torch.cos(delta) - slope * torch.sin(delta)).clamp_min(torch.finfo(slope.dtype).tiny)
    integral = (weights * torch.exp(rate * torch.log(fall))).sum(0)
    return _log_constant(df) - 0.5 * rate * log1p_square(slope) + torch.log(length * integral)
