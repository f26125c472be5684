"""The standard normal distribution, on the scale of logarithms and far into its tails."""

from __future__ import annotations

import math

import torch

from ._modes import differentiating
from ._own_backward import Tensors, own_backward

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
NORMAL_PEAK = 1.0 / math.sqrt(2.0 * math.pi)

# Chebyshev's interpolation of exp(u^2 / 2) Phi(-u) / t, t = 4 / (4 + u), by polynomials in 2 t - 1, right to rounding
# for all u >= 0 in float32 and float64. torch's erfcx takes ten times as long, and loses its derivative far out.
_SCALED = {
    torch.float32: (
        0.1888212817838964,
        0.15197410095365885,
        0.09678439072771228,
        0.046631677717931246,
        0.015098823967489227,
        0.0018780578454378914,
        -0.0008690419737272307,
        -0.00039094672470664006,
        3.233142033518819e-05,
        3.9330142396146074e-05,
    ),
    torch.float64: (
        0.18882128260393785,
        0.15197416049297308,
        0.09678435018555664,
        0.04663046448990915,
        0.01509914372259023,
        0.001885047241846578,
        -0.0008699230891628756,
        -0.00040770461685247714,
        3.3336052290036945e-05,
        5.7773754340693565e-05,
        -4.769190076797745e-07,
        -8.786277975709413e-06,
        1.7865053828168654e-07,
        1.4804027614809944e-06,
        -1.5623877693912945e-07,
        -2.5619627541381934e-07,
        6.61834320494967e-08,
        3.994349035559805e-08,
        -1.9695900856734096e-08,
        -4.461231943245354e-09,
        4.01684673933235e-09,
        1.4684066912467977e-10,
        -4.221644241696684e-10,
        2.999445507813274e-11,
    ),
}


def scaled_tail(u: torch.Tensor) -> torch.Tensor:
    r"""Returns :math:`e^{u^2/2} \Phi(-u)` for :math:`u \ge 0`: 1/2 at 0, about :math:`1 / \sqrt{2 \pi} u` far out."""
    t = 4.0 / (4.0 + u)
    s = 2.0 * t - 1.0
    first, *rest = reversed(_SCALED[u.dtype])
    value = first * s
    for c in rest[:-1]:
        value = (value + c) * s
    return (value + rest[-1]) * t


def scaled_tail_(u: torch.Tensor) -> torch.Tensor:
    """Returns :func:`scaled_tail` where there is no graph: with fewer passes over memory."""
    t = 4.0 / (4.0 + u)
    s = (2.0 * t).sub_(1.0)
    first, *rest = reversed(_SCALED[u.dtype])
    value = first * s
    for c in rest[:-1]:
        value.add_(c).mul_(s)
    return value.add_(rest[-1]).mul_(t)


def log_mills(z: torch.Tensor) -> torch.Tensor:
    r"""Returns :math:`\log(\Phi(z) / \phi(z))` for :math:`z \le 0`, where nothing overflows."""
    return torch.log(scaled_tail(-z)) + HALF_LOG_2PI


def inverse_log_cdf(log_p: torch.Tensor) -> torch.Tensor:
    r"""Returns the :math:`z` with :math:`\log \Phi(z)` = ``log_p``, for :math:`\log p \le \log \tfrac12`.

    A rational approximation with an error below 5e-4 and two of Halley's steps, each of which cubes it. Derivatives are
    those of the implicit function: :math:`dz = (\Phi / \phi)(z) \, d \log p`.

    References:
        Handbook of Mathematical Functions (Abramowitz and Stegun, 1964), 26.2.23, for the first approximation.
    """
    return own_backward(_carried, _solved, _backward, log_p)[0]


def _solved(log_p: torch.Tensor) -> tuple[Tensors, Tensors]:
    w = torch.sqrt(-2.0 * log_p)
    v = 1.0 / w
    z = -w + v * (0.010328 + v * (0.802853 + v * 2.515517)) / (0.001308 + v * (0.189269 + v * (1.432788 + v)))
    for _ in range(2):
        error, mills = _excess(z, log_p)
        step = error * mills  # Newton's; the second derivative of log Phi is -(z + 1 / mills) times the first
        z = z - step / (1.0 + 0.5 * step * (z + 1.0 / mills))
    return (z,), (z,)


def _backward(tensors: Tensors, saved: Tensors, gradients: Tensors) -> tuple[torch.Tensor, ...]:
    return (gradients[0] * _excess(saved[0], tensors[0])[1],)


def _carried(log_p: torch.Tensor) -> Tensors:
    with torch.no_grad():
        (z,), _ = _solved(log_p.detach())
    z = z.detach()
    if differentiating():
        for _ in range(2):  # steps of value zero that carry first and second derivatives
            error, mills = _excess(z, log_p)
            step = error * mills
            z = z - (step - step.detach())
    return (z,)


def _excess(z: torch.Tensor, log_p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Returns :math:`\log \Phi(z) - \log p` and :math:`\Phi(z) / \phi(z)`."""
    scaled = scaled_tail(-z)
    return torch.log(scaled) - 0.5 * z * z - log_p, scaled / NORMAL_PEAK
