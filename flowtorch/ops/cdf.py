"""Distribution functions and quantile functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import torch

from ..errors import OptionError
from . import _student_t as student_t
from .elementary import sigmoid
from .fused import FIXED, run_fixed
from .logarithms import log1p_square

Name: TypeAlias = Literal["normal", "logistic", "laplace", "cauchy", "gumbel", "student_t"]
DISTRIBUTIONS: tuple[Name, ...] = ("normal", "logistic", "laplace", "cauchy", "gumbel", "student_t")


def cdf(
    x: torch.Tensor,
    distribution: Name,
    loc: float = 0.0,
    scale: float = 1.0,
    *,
    df: float | None = None,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps the real line onto the unit interval by a distribution function.

    .. math::
        y = F\!\left(\frac{x - \mu}{\sigma}\right), \qquad
        \log \left|\frac{dy}{dx}\right| = \log f\!\left(\frac{x - \mu}{\sigma}\right) - \log \sigma, \qquad
        x = \mu + \sigma F^{-1}(y)

    with, for :math:`F(z)`, ``"normal"`` :math:`\Phi(z)`, ``"logistic"`` :math:`1 / (1 + e^{-z})`, ``"laplace"``
    :math:`e^z / 2` below 0 and :math:`1 - e^{-z} / 2` above, ``"cauchy"`` :math:`1/2 + \arctan(z) / \pi`, ``"gumbel"``
    :math:`e^{-e^{-z}}`, ``"student_t"`` :math:`C \int_{-\infty}^z (1 + t^2 / \nu)^{-(\nu + 1) / 2} dt`, by quadrature.

    Shapes: both results have the shape of ``x``.

    Args:
        x: Any real number; with ``inverse=True``, a number strictly between 0 and 1.
        distribution: Which one.
        loc: The location :math:`\mu`.
        scale: The scale :math:`\sigma > 0`.
        df: The degrees of freedom :math:`\nu > 0`, of ``"student_t"`` only.
        inverse: Takes ``y`` and returns ``x``.

    Returns:
        The value, forward never rounded to 0 or 1, and the log-derivative of the map computed: from the log-density, so
        that it is right far out in the tails, where the value has no digits left.

    Raises:
        OptionError: For an unknown distribution, a scale that is not positive, or degrees of freedom that are not
            positive, missing, or given to another distribution.

    Example:
        >>> cdf(torch.tensor([0.0, 1e3]), "normal")
        (tensor([0.5000, 1.0000]), tensor([-9.1894e-01, -5.0000e+05]))
    """
    if distribution not in DISTRIBUTIONS:
        raise OptionError(f"cdf: one of {', '.join(DISTRIBUTIONS)} is expected; got {distribution!r}.")
    if not scale > 0.0:
        raise OptionError(f"cdf: a scale above 0 is expected; got {scale}.")
    if (df is None) is (distribution == "student_t") or not (df is None or df > 0.0):
        raise OptionError(f"cdf: df above 0 is expected for 'student_t', and for no other; got {df}, {distribution!r}.")
    forward, quantile = _FUNCTIONS[distribution] if df is None else (_student_t(df), _student_t_quantile(df))
    if inverse:
        z, log_derivative = quantile(x)
        return loc + scale * z, log_derivative + math.log(scale)

    def reference(x: torch.Tensor) -> Pair:
        y, log_derivative = forward((x - loc) / scale)
        info = torch.finfo(x.dtype)
        return y.clamp(info.tiny, 1.0 - info.eps / 2.0), log_derivative - math.log(scale)

    name = f"{distribution}_cdf"
    return run_fixed(name, reference, x, loc, scale) if name in FIXED else reference(x)


Pair: TypeAlias = tuple[torch.Tensor, torch.Tensor]


def _normal(z: torch.Tensor) -> Pair:
    # torch.special.ndtr has lost six digits at -6 and is 0 at -9 (torch 2.13).
    return 0.5 * torch.erfc(-math.sqrt(0.5) * z), _log_normal(z)


def _normal_quantile(y: torch.Tensor) -> Pair:
    # Halves have no ndtri, which torch has for the larger dtypes only.
    half = y.dtype in (torch.float16, torch.bfloat16)
    z = torch.special.ndtri(y.float()).to(y.dtype) if half else torch.special.ndtri(y)
    return z, -_log_normal(z)


def _log_normal(z: torch.Tensor) -> torch.Tensor:
    return -0.5 * z * z - 0.5 * math.log(2.0 * math.pi)


def _logistic(z: torch.Tensor) -> Pair:
    return sigmoid(z)


def _logistic_quantile(y: torch.Tensor) -> Pair:
    return sigmoid(y, inverse=True)


def _laplace(z: torch.Tensor) -> Pair:
    # Not by torch.abs: its gradient at 0 is 0, and the slope of the distribution function there is not.
    size = torch.where(z < 0.0, -z, z)
    tail = 0.5 * torch.exp(-size)
    return torch.where(z < 0.0, tail, 1.0 - tail), -size - math.log(2.0)


def _laplace_quantile(y: torch.Tensor) -> Pair:
    # 1 - y is exact where it is used.
    tail = torch.where(y < 0.5, y, 1.0 - y)
    log_tail = torch.log(2.0 * tail)
    return torch.where(y < 0.5, log_tail, -log_tail), -torch.log(tail)


def _cauchy(z: torch.Tensor) -> Pair:
    # 1/2 + atan(z) / pi has no digits left in the lower tail.
    return torch.atan2(torch.ones_like(z), -z) / math.pi, -math.log(math.pi) - log1p_square(z)


def _cauchy_quantile(y: torch.Tensor) -> Pair:
    # tan(pi (y - 1/2)) is right to rounding in the middle, -1 / tan(pi y) in the lower tail; 1 - y is exact.
    middle = (y > 0.25) & (y < 0.75)
    centre = torch.tan(math.pi * (torch.where(middle, y, 0.5) - 0.5))
    tail = torch.where(middle, 0.25, torch.where(y < 0.5, y, 1.0 - y))
    far = 1.0 / torch.tan(math.pi * tail)
    z = torch.where(middle, centre, torch.where(y < 0.5, -far, far))
    return z, math.log(math.pi) + log1p_square(z)


def _gumbel(z: torch.Tensor) -> Pair:
    # Below, the exponential is beyond the dtype; infinity times a derivative of 0 would be NaN.
    limit = math.log(torch.finfo(z.dtype).max)
    below = z < -limit
    rate = torch.exp(-torch.where(below, 0.0, z))
    return torch.where(below, 0.0, torch.exp(-rate)), torch.where(below, -torch.inf, -z - rate)


def _gumbel_quantile(y: torch.Tensor) -> Pair:
    rate = -torch.log(y)
    z = -torch.log(rate)
    return z, z + rate


def _student_t(df: float) -> Callable[[torch.Tensor], Pair]:
    def forward(z: torch.Tensor) -> Pair:
        tail = torch.exp(student_t.log_tail(torch.where(z < 0.0, -z, z), df))
        return torch.where(z < 0.0, tail, 1.0 - tail), student_t.log_density(z, df)

    return forward


def _student_t_quantile(df: float) -> Callable[[torch.Tensor], Pair]:
    def quantile(y: torch.Tensor) -> Pair:
        wide = y.to(torch.promote_types(y.dtype, torch.float32))  # steps of a half are too coarse to search with
        z = student_t.quantile(wide, df)
        return z.to(y.dtype), -student_t.log_density(z, df).to(y.dtype)

    return quantile


_FUNCTIONS: dict[str, tuple[Callable[[torch.Tensor], Pair], Callable[[torch.Tensor], Pair]]] = {
    "normal": (_normal, _normal_quantile),
    "logistic": (_logistic, _logistic_quantile),
    "laplace": (_laplace, _laplace_quantile),
    "cauchy": (_cauchy, _cauchy_quantile),
    "gumbel": (_gumbel, _gumbel_quantile),
}
