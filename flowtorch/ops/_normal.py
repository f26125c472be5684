"""The standard normal distribution, on the scale of logarithms and far into its tails."""

from __future__ import annotations

import math

import torch

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def log_normal(z: torch.Tensor) -> torch.Tensor:
    r"""Returns :math:`\log \phi(z)`."""
    return -0.5 * z * z - _HALF_LOG_2PI


def log_mills(z: torch.Tensor) -> torch.Tensor:
    r"""Returns :math:`\log(\Phi(z) / \phi(z))`, for which nothing overflows where ``z`` is negative."""
    return log_cdf_and_mills(z)[1]


def log_cdf(z: torch.Tensor) -> torch.Tensor:
    r"""Returns :math:`\log \Phi(z)`."""
    return log_cdf_and_mills(z)[0]


def log_cdf_and_mills(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Returns :math:`\log \Phi(z)` and :math:`\log(\Phi(z) / \phi(z))`.

    Three forms, each given arguments of its own only, so that the gradients of those not taken are finite: the
    definition above -1; the scaled complementary error function; and an asymptotic series below -30, where the
    derivative of that function is a difference of two nearly equal numbers.
    """
    right, left = z.clamp_min(-1.0), z.clamp_max(-1.0)
    body = torch.log1p(-0.5 * torch.erfc(right * math.sqrt(0.5)))
    scaled = torch.special.erfcx(left.clamp_min(-30.0) * -math.sqrt(0.5))
    far = z.clamp_max(-30.0)
    u = 1.0 / (far * far)
    tail = torch.log1p(u * (-1.0 + u * (3.0 + u * (-15.0 + u * (105.0 - 945.0 * u))))) - torch.log(-far)
    mills = torch.where(z > -30.0, torch.log(scaled) + 0.5 * math.log(0.5 * math.pi), tail)
    near = z > -1.0
    return torch.where(near, body, mills + log_normal(left)), torch.where(near, body - log_normal(right), mills)


def inverse_log_cdf(log_p: torch.Tensor) -> torch.Tensor:
    r"""Returns the :math:`z` with :math:`\log \Phi(z)` = ``log_p``, for :math:`\log p \le \log \tfrac12`.

    Newton's method on a concave function, started below the solution, where it climbs without overshooting: at
    :math:`-\sqrt{-2 \log p}` the distribution function is below :math:`p / 2`. Six steps suffice for float64.
    """
    with torch.no_grad():
        given = log_p.detach()
        z = -torch.sqrt(-2.0 * given)
        for _ in range(6):
            log_p_z, mills = log_cdf_and_mills(z)
            z = z - (log_p_z - given) * torch.exp(mills)
    z = z.detach()
    for _ in range(2):  # steps of value zero that carry first and second derivatives
        log_p_z, mills = log_cdf_and_mills(z)
        step = (log_p_z - log_p) * torch.exp(mills)
        z = z - (step - step.detach())
    return z
