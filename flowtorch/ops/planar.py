"""The planar map of vectors."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F

from ..errors import OptionError
from ._tanh_root import mixed, slope_at_zero, tanh_root, tanh_slopes

Ridge: TypeAlias = Literal["tanh", "leaky_relu"]

RIDGES = ("tanh", "leaky_relu")


def planar(
    x: torch.Tensor,
    weight: torch.Tensor,
    raw_shift: torch.Tensor,
    bias: torch.Tensor,
    *,
    nonlinearity: Ridge = "tanh",
    negative_slope: float = 0.2,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Moves vectors along one direction, by a function of their coordinate along another.

    .. math::
        y = x + \hat u\, h(w^T x + b), \qquad \log|\det dy/dx| = \log(1 + (k - 1)\, h'(w^T x + b)), \qquad
        \hat u = u + \frac{(u^T \bar w)^2}{1 + \sqrt{1 + a^2}}\, w, \quad a = w^T u, \quad \bar w = w / |w|

    so that :math:`1 + w^T \hat u = k = a + \sqrt{1 + a^2} > 0`, and the map is one to one. The correction vanishes with
    w, which the usual one, by a softplus, divides by, and k falls like :math:`1 / |2a|`, where that falls like
    :math:`e^a` and underflows. In the inverse :math:`v = w^T x + b` solves :math:`v + (k - 1) h(v) = w^T y + b`: in
    closed form for a leaky rectifier, for tanh by five monotone Newton steps, which end at rounding whatever k is.
    Dtypes narrower than float32 are computed in float32.

    Shapes: ``x``, ``weight`` and ``raw_shift`` are ``(*batch, D)``, ``bias`` is ``(*batch)``; batches broadcast.

    Args:
        x: The points, or the images with ``inverse=True``.
        weight: :math:`w`, any real numbers.
        raw_shift: :math:`u`, any real numbers; of a given :math:`\hat u` with :math:`w^T \hat u = k - 1 > -1` it is
            :math:`u = \hat u - w\, (k - 1)^2 / (2 k |w|^2)`.
        bias: :math:`b`, any real number.
        nonlinearity: :math:`h`, ``"tanh"`` or ``"leaky_relu"``.
        negative_slope: That of the leaky rectifier, between 0 and 1.
        inverse: Solves for ``x``.

    Returns:
        The images ``(*batch, D)`` and the log-determinant ``(*batch)`` of the direction computed.

    Raises:
        OptionError: If ``nonlinearity`` is unknown.

    Example:
        >>> planar(
        ...     torch.zeros(2),
        ...     torch.ones(2),
        ...     torch.tensor([0.0, 1.0]),
        ...     torch.tensor(2.0),
        ...     nonlinearity="leaky_relu",
        ... )
        (tensor([0.4142, 2.4142]), tensor(0.8814))

    References:
        Variational Inference with Normalizing Flows (Rezende and Mohamed, 2015), https://arxiv.org/abs/1505.05770,
        equations 10 to 12, and appendix A.1 for a condition that makes it one to one.
    """
    if nonlinearity not in RIDGES:
        raise OptionError(f"planar: nonlinearity is 'tanh' or 'leaky_relu'; got {nonlinearity!r}.")
    dtype = torch.promote_types(x.dtype, weight.dtype)
    wide = torch.promote_types(dtype, torch.float32)
    x, w, u, b = (t.to(wide) for t in (x, weight, raw_shift, bias))
    a = _dot(w, u)
    k = slope_at_zero(a)
    v = _dot(w, x) + b
    if nonlinearity == "tanh":
        if inverse:
            v = tanh_root(v, a)
        h, slope = torch.tanh(v), mixed(k, *tanh_slopes(v))
    else:
        slope = torch.where(v < 0.0, mixed(k, negative_slope, 1.0 - negative_slope), k)
        if inverse:
            v = v / slope
        h = F.leaky_relu(v, negative_slope)
    step = _shift(w, u, a) * h.unsqueeze(-1)
    log_det = torch.log(slope)
    y, log_det = (x - step, -log_det) if inverse else (x + step, log_det)
    return y.to(dtype), log_det.to(dtype)


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return b @ a if a.dim() == 1 else (a * b).sum(-1)


def _shift(w: torch.Tensor, u: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """Returns the shift whose product with w is above -1."""
    square = _dot(w, w)
    # Below, the correction is lost in rounding, and its derivatives overflow.
    nil = square < torch.finfo(w.dtype).eps ** 2
    excess = torch.where(nil, 0.0, a**2) / torch.where(nil, 1.0, square)
    return u + (excess / (1.0 + torch.sqrt(1.0 + a**2))).unsqueeze(-1) * w
