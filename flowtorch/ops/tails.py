"""Maps with parameters for skewness, tails and slopes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from .elementary import SOFTPLUS_THRESHOLD, sigmoid
from .fused import run
from .logarithms import expm1_or_inf, log1p_square


def smooth_bound(raw: torch.Tensor, bound: float) -> torch.Tensor:
    r"""Bounds a number smoothly, leaving it alone near 0.

    .. math:: b \tanh(r / b)

    Args:
        raw: Any real number :math:`r`.
        bound: The bound :math:`b > 0`.

    Returns:
        A number between :math:`-b` and :math:`b`, with slope 1 and no curvature at 0.

    Example:
        >>> smooth_bound(torch.tensor([-1e6, 0.0, 1.0]), 5.0)
        tensor([-5.0000,  0.0000,  0.9869])
    """
    return bound * torch.tanh(raw / bound)


def sinh_arcsinh(
    x: torch.Tensor, skewness: torch.Tensor, log_tailweight: torch.Tensor, *, inverse: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Gives skewness and lighter or heavier tails; the identity for parameters 0.

    .. math::
        y = \sinh u, \quad u = \delta\, (\operatorname{arsinh} x + \epsilon), \qquad
        \log \left|\frac{dy}{dx}\right| = \log \delta + \log \cosh u - \tfrac{1}{2} \log(1 + x^2), \qquad
        x = \sinh\left(\frac{\operatorname{arsinh} y}{\delta} - \epsilon\right)

    Shapes: all three broadcast; both results have the broadcast shape.

    Args:
        x: Any real number, in both directions.
        skewness: :math:`\epsilon`, any real number; positive skews to the right.
        log_tailweight: :math:`\log \delta`, any real number; positive gives heavier tails.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The value and the log-derivative of the map computed.

    Example:
        >>> zero = torch.zeros(())
        >>> sinh_arcsinh(torch.tensor([-1.0, 1.0]), zero + 0.5, zero)
        (tensor([-0.3907,  1.8646]), tensor([-0.2755,  0.4029]))

    References:
        Sinh-arcsinh distributions (Jones and Pewsey, 2009), https://doi.org/10.1093/biomet/asp053, whose
        transformation to normality is the inverse of this one, with 1 / delta for delta.
    """
    if inverse:
        log_slope = -log_tailweight
        u = _arsinh(x) * torch.exp(log_slope) - skewness
    else:
        log_slope = log_tailweight
        u = (_arsinh(x) + skewness) * torch.exp(log_slope)
    # log cosh by the softplus, which neither overflows nor has the corner of an absolute value at 0.
    log_cosh = F.softplus(2.0 * u, threshold=SOFTPLUS_THRESHOLD) - u - math.log(2.0)
    return _sinh(u), log_slope + log_cosh - 0.5 * log1p_square(x)


def _arsinh(x: torch.Tensor) -> torch.Tensor:
    # torch.asinh squares its argument, beyond the dtype where log(2|x|) is right to rounding.
    big = torch.abs(x) > 1e9 if x.dtype != torch.float16 else torch.abs(x) > 1e2
    outer = torch.where(big, torch.abs(x), 1.0)
    far = torch.log(outer) + math.log(2.0)
    return torch.where(big, torch.where(x < 0.0, -far, far), torch.asinh(torch.where(big, 0.0, x)))


def _sinh(u: torch.Tensor) -> torch.Tensor:
    # Infinity with gradient 0 where the result is beyond the dtype.
    limit = math.log(torch.finfo(u.dtype).max)
    over = torch.where(u < 0.0, -torch.inf, torch.inf)
    return torch.where(torch.abs(u) > limit, over.to(u.dtype), torch.sinh(u.clamp(-limit, limit)))


def tail_transform(
    x: torch.Tensor, log_left: torch.Tensor, log_right: torch.Tensor, *, inverse: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Gives normal tails the weight of generalised Pareto tails, each side its own.

    .. math::
        y = \frac{s}{\lambda_s} \left(e^{\lambda_s E} - 1\right), \quad
        E = -\log \operatorname{erfc}(|x| / \sqrt{2}), \quad s = \operatorname{sign} x, \qquad
        \log \left|\frac{dy}{dx}\right| = \tfrac{1}{2} \log \tfrac{2}{\pi} - \tfrac{1}{2} x^2 + (\lambda_s + 1) E

    Shapes: all three broadcast; both results have the broadcast shape.

    Args:
        x: Any real number, in both directions.
        log_left: :math:`\log \lambda_{-}`, any real number.
        log_right: :math:`\log \lambda_{+}`, any real number.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The value and the log-derivative of the map computed. Inversely, :math:`E = \log(1 + \lambda_s |y|) /
        \lambda_s`, and the inverse of the complementary error function of :math:`e^{-E}` is found without forming that
        exponential, which is 0 in floating point where :math:`E` still is an ordinary number.

    Example:
        >>> log_index = torch.log(torch.tensor(0.5))
        >>> tail_transform(torch.tensor([-4.0, 0.0, 4.0]), log_index, log_index)
        (tensor([-249.2942,    0.0000,  249.2942]), tensor([ 6.2746, -0.2258,  6.2746]))

    References:
        Flexible Tails for Normalizing Flows (Hickling and Prangle, 2024), https://arxiv.org/abs/2406.16971, the
        transformation R of TTF with location 0 and scale 1.
    """
    if x.dtype in (torch.float16, torch.bfloat16):  # torch has no erfcx of halves
        results = tail_transform(x.float(), log_left.float(), log_right.float(), inverse=inverse)
        return results[0].to(x.dtype), results[1].to(x.dtype)
    negative = x < 0.0
    # Not by torch.sign and torch.abs: their gradients at 0, both 0, would make that of the product 0.
    sign = torch.where(negative, -1.0, 1.0).to(x.dtype)
    size = sign * x
    log_index = torch.where(negative, log_left, log_right)
    index = torch.exp(log_index)
    constant = 0.5 * math.log(2.0 / math.pi)
    if inverse:
        log_tail = torch.log1p(index * size)  # index times E
        z, log_ratio = _half_normal_quantile(log_tail / index)
        return sign * z, -(constant + log_tail + log_ratio)
    energy, log_ratio = _half_normal_energy(size)
    log_tail = index * energy
    # Infinity with gradient 0 where the result is beyond the dtype; gradient 0 too where only the derivatives are.
    room = math.log(torch.finfo(x.dtype).max) - log_tail + log_index.clamp_max(0.0)
    over, steep = room < 0.0, room < 10.0
    exponent = torch.where(steep, log_tail.detach(), log_tail)
    value = torch.expm1(torch.where(over, 0.0, exponent)) / torch.where(steep, index.detach(), index)
    return sign * torch.where(over, torch.inf, value), constant + log_tail + log_ratio


def _half_normal_energy(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns E = -log erfc(z / sqrt(2)) of positive numbers, and E - z**2 / 2."""
    near = z < 1.0
    small, large = torch.where(near, z, 0.0), torch.where(near, 1.0, z)
    # erfc is 0 in floating point from z = 14 (float32) or 39 on; erfcx is it without the factor exp(-z**2 / 2).
    inner = -torch.log1p(-torch.erf(small * math.sqrt(0.5)))
    outer = -torch.log(torch.special.erfcx(large * math.sqrt(0.5)))
    energy = torch.where(near, inner, outer + 0.5 * large * large)
    return energy, torch.where(near, inner - 0.5 * small * small, outer)


def _half_normal_quantile(energy: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the z with E(z) = energy, and E - z**2 / 2 there."""
    e = energy.detach()
    near = e < 8.0
    inner = math.sqrt(2.0) * torch.erfinv(-torch.expm1(-torch.where(near, e, 1.0)))
    far = torch.where(near, 8.0, e)
    # erfc(t) is about exp(-t**2) / (t sqrt(pi)), solved for t by one substitution.
    outer = torch.sqrt(2.0 * (far - 0.5 * torch.log(math.pi * (far - 0.5 * torch.log(math.pi * far)))))
    z = torch.where(near, inner, outer)
    # The guess is right to 0.015, one step makes that 4e-5, the next 3e-10, and the last is right to rounding. Only the
    # last two are differentiated: each doubles the order of the derivatives that are right, from none.
    for target in (e, energy, energy):
        reached, log_ratio = _half_normal_energy(z)
        z = z - (reached - target) * torch.exp(-log_ratio) * math.sqrt(0.5 * math.pi)
    return z, _half_normal_energy(z)[1]


def signed_power(
    x: torch.Tensor, log_exponent: torch.Tensor, *, inverse: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Raises to a power on both sides of 0, with slope 1 there; the identity for the exponent 1.

    .. math::
        y = s\, \frac{(1 + |x|)^p - 1}{p}, \quad s = \operatorname{sign} x, \qquad
        \log \left|\frac{dy}{dx}\right| = (p - 1) \log(1 + |x|), \qquad
        x = s \left((1 + p |y|)^{1/p} - 1\right)

    Shapes: both broadcast; both results have the broadcast shape.

    Args:
        x: Any real number, in both directions.
        log_exponent: :math:`\log p`, any real number.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The value and the log-derivative of the map computed.

    Example:
        >>> signed_power(torch.tensor([-2.0, 0.0, 2.0]), torch.log(torch.tensor(2.0)))
        (tensor([-4.,  0.,  4.]), tensor([1.0986, 0.0000, 1.0986]))

    References:
        A new family of power transformations to improve normality or symmetry (Yeo and Johnson, 2000),
        https://doi.org/10.1093/biomet/87.4.954, their map of positive numbers, here on both sides.
    """
    if inverse:
        return _signed_root(x, log_exponent)
    return run("signed_power", _signed_power, x, (log_exponent,), ())


def _signed_power(x: torch.Tensor, log_exponent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    sign, size, exponent = _sign_and_size(x, log_exponent)
    log_size = torch.log1p(size)
    return sign * expm1_or_inf(exponent * log_size) / exponent, torch.expm1(log_exponent) * log_size


def _signed_root(y: torch.Tensor, log_exponent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    sign, size, exponent = _sign_and_size(y, log_exponent)
    log_size = torch.log1p(exponent * size) / exponent
    return sign * expm1_or_inf(log_size), -torch.expm1(log_exponent) * log_size


def _sign_and_size(x: torch.Tensor, log_exponent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    sign = torch.where(x < 0.0, -1.0, 1.0).to(x.dtype)
    return sign, sign * x, torch.exp(log_exponent)


def temperature_sigmoid(
    x: torch.Tensor, log_temperature: torch.Tensor, *, inverse: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps the real line onto the open unit interval, as steeply as is asked for.

    .. math::
        y = \sigma(t x), \qquad \log \left|\frac{dy}{dx}\right| = \log t + \log \sigma(t x) + \log \sigma(-t x), \qquad
        x = \frac{1}{t} \log \frac{y}{1 - y}

    Shapes: both broadcast; both results have the broadcast shape.

    Args:
        x: Any real number; with ``inverse=True``, a number strictly between 0 and 1.
        log_temperature: :math:`\log t`, any real number.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The value, forward never rounded to 0 or 1, and the log-derivative of the map computed.

    Example:
        >>> temperature_sigmoid(torch.tensor([0.0, 1.0]), torch.log(torch.tensor(2.0)))
        (tensor([0.5000, 0.8808]), tensor([-0.6931, -1.5607]))

    References:
        On Calibration of Modern Neural Networks (Guo et al., 2017), https://arxiv.org/abs/1706.04599, temperature
        scaling, with 1 / t for T.
    """
    if inverse:
        value, log_derivative = sigmoid(x, inverse=True)
        return value * torch.exp(-log_temperature), log_derivative - log_temperature
    value, log_derivative = sigmoid(x * torch.exp(log_temperature))
    return value, log_derivative + log_temperature
