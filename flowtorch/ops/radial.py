"""The radial map of vectors."""

from __future__ import annotations

import torch

from ._tanh_root import mixed, slope_at_zero


def radial(
    x: torch.Tensor, centre: torch.Tensor, raw_radius: torch.Tensor, raw_slope: torch.Tensor, *, inverse: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Moves vectors away from a point, or towards it.

    .. math::
        y = x + \frac{\beta}{\alpha + r} (x - x_0), \quad r = |x - x_0|, \qquad
        \log|\det dy/dx| = (D - 1) \log\left(1 + \frac{k - 1}{1 + \rho}\right)
            + \log\left(1 + \frac{k - 1}{(1 + \rho)^2}\right), \quad \rho = r / \alpha

    with :math:`\alpha = e^{\operatorname{arsinh} a}` and the factor :math:`k = 1 + \beta / \alpha =
    e^{\operatorname{arsinh} s}` by which distances near :math:`x_0` grow: :math:`\beta > -\alpha`, and the map is one
    to one. In the inverse :math:`\rho^2 + (k - \rho_y) \rho = \rho_y` with :math:`\rho_y = |y - x_0| / \alpha`, of
    whose two forms of the root the one without cancellation is taken. Dtypes narrower than float32 are computed in
    float32.

    Shapes: ``x`` and ``centre`` are ``(*batch, D)``, ``raw_radius`` and ``raw_slope`` ``(*batch)``; batches broadcast.

    Args:
        x: The points, or the images with ``inverse=True``.
        centre: :math:`x_0`, any real numbers.
        raw_radius: :math:`a`, any real number; of a given :math:`\alpha` it is :math:`\sinh \log \alpha`.
        raw_slope: :math:`s`, any real number; of a given :math:`\beta` it is :math:`\sinh \log(1 + \beta / \alpha)`.
        inverse: Solves for ``x``.

    Returns:
        The images ``(*batch, D)`` and the log-determinant ``(*batch)`` of the direction computed.

    Example:
        >>> radial(
        ...     torch.tensor([3.0, 4.0]), torch.zeros(2), torch.tensor(0.0), torch.tensor(0.75)
        ... )  # alpha, k = 1, 2
        (tensor([3.5000, 4.6667]), tensor(0.1815))

    References:
        Variational Inference with Normalizing Flows (Rezende and Mohamed, 2015), https://arxiv.org/abs/1505.05770,
        equation 14, and appendix A.2 for the condition that makes it one to one.
    """
    dtype = torch.promote_types(x.dtype, centre.dtype)
    wide = torch.promote_types(dtype, torch.float32)
    x, centre, raw_radius, raw_slope = (t.to(wide) for t in (x, centre, raw_radius, raw_slope))
    k = slope_at_zero(raw_slope)
    away = x - centre
    rho = _length(away) * slope_at_zero(-raw_radius)
    if inverse:
        rho = _root(rho, k)
    near = 1.0 / (1.0 + rho)
    far = rho * near  # 1 - near, without cancellation
    factor = mixed(k, near, far)
    slope = mixed(k, near**2, far * (1.0 + near))
    log_det = (x.shape[-1] - 1) * torch.log(factor) + torch.log(slope)
    if inverse:
        factor, log_det = 1.0 / factor, -log_det
    return (centre + factor.unsqueeze(-1) * away).to(dtype), log_det.to(dtype)


def _length(x: torch.Tensor) -> torch.Tensor:
    """Returns the length of vectors, with gradient 0 at 0 where that of the square root is infinite."""
    square = (x**2).sum(-1)
    nil = square == 0.0
    return torch.where(nil, 0.0, torch.sqrt(torch.where(nil, 1.0, square)))


def _root(image: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """Returns the positive root of rho^2 + (k - image) rho = image."""
    p = k - image
    # Not the absolute value, whose gradient at 0 is that of neither side.
    q = torch.where(p > 0.0, p, -p) + torch.sqrt(p**2 + 4.0 * image)
    return torch.where(p > 0.0, 2.0 * image / q, 0.5 * q)
