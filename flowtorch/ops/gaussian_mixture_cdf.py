"""The distribution function of a mixture of normals, followed by the normal quantile: Gaussianization."""

from __future__ import annotations

import math

import torch

from ._mixture import mixture_op, spread_variance
from .numerical_inverse import STEPS, TOLERANCE


def gaussian_mixture_cdf(
    x: torch.Tensor,
    logits: torch.Tensor,
    locs: torch.Tensor,
    raw_scales: torch.Tensor,
    *,
    tolerance: float = TOLERANCE,
    steps: int = STEPS,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps each coordinate by the distribution function of a mixture of normals and the normal quantile function.

    .. math::
        y = \Phi^{-1}(F(x)), \qquad F(x) = \sum_{k=1}^K w_k \Phi(z_k), \quad z_k = \frac{x - m_k}{s_k}, \qquad
        \log \frac{dy}{dx} = \log \sum_k \frac{w_k}{s_k} \phi(z_k) - \log \phi(y)

    with :math:`w` = softmax of ``logits``, :math:`m_k` = ``locs`` plus K numbers evenly spaced on [-0.5, 0.5], and
    :math:`\log s_k` = :func:`log_scale` of ``raw_scales``, within (-5, 3), with ``scale_fn="exp"``, less a constant
    that makes the variance 1 at the start. All is computed from the logarithm of the smaller of :math:`F` and
    :math:`1 - F`, and the log-derivative from ratios :math:`\phi / \Phi`, so that tails neither saturate nor cancel: at
    :math:`x = 10^6` both are right to rounding. At all parameters 0 the map has :math:`y(0) = 0`,
    :math:`dy/dx` within 0.03 of 1 for :math:`|x| < 1`, rising to :math:`1/s_k`, at most 1.16, far out (one
    component: the identity). The inverse is iterated; it lies between the least and the greatest of
    :math:`m_k + s_k y`. Dtypes narrower than float32 are computed in float32.

    Shapes: ``x`` is ``(*batch, *event)``, the parameters ``(*batch, *event, K)``; all but the last axis broadcasts
    against ``x``, and both results have the broadcast shape.

    Args:
        x: The points, or the images with ``inverse=True``.
        logits: The logarithms of the weights, up to a constant: any real numbers.
        locs: The locations of the components, any real numbers.
        raw_scales: The logarithms of the scales of the components, before they are bounded.
        tolerance: That of :func:`numerical_inverse`.
        steps: Those of :func:`numerical_inverse`.
        inverse: Solves for ``x``.

    Returns:
        The value and the log-derivative of the map computed: with ``inverse=True`` it is :math:`\log|dx/dy|`.

    Raises:
        ShapeError: If the last axes of the parameters are not of one size, at least 1.

    Example:
        >>> x, logits, flat = torch.tensor([-1e6, 0.5]), torch.tensor([0.0, 1.0]), torch.zeros(2)
        >>> y, _ = gaussian_mixture_cdf(x, logits, flat, torch.tensor([0.0, 0.5]))
        >>> gaussian_mixture_cdf(y, logits, flat, torch.tensor([0.0, 0.5]), inverse=True)[0]
        tensor([-1.0000e+06,  5.0000e-01])

    References:
        Gaussianization Flows (Meng et al., 2020), https://arxiv.org/abs/2003.01941, equation 7.
    """
    return mixture_op(
        "gaussian_mixture_cdf",
        "normal",
        x,
        logits,
        raw_scales,
        locs,
        centred=True,
        # The variance of all components together is then 1 at the start.
        start=-0.5 * math.log1p(-spread_variance(locs.shape[-1] if locs.dim() else 1)),
        tolerance=tolerance,
        steps=steps,
        inverse=inverse,
    )
