"""The logit of a mixture of sigmoids: neural autoregressive flows, and mixtures of logistic distributions."""

from __future__ import annotations

import torch

from ._mixture import mixture_op, rates
from .numerical_inverse import STEPS, TOLERANCE


def deep_sigmoid(
    x: torch.Tensor,
    logits: torch.Tensor,
    raw_slopes: torch.Tensor,
    biases: torch.Tensor,
    *,
    tolerance: float = TOLERANCE,
    steps: int = STEPS,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps each coordinate by the logit of a convex combination of sigmoids.

    .. math::
        y &= \operatorname{logit} S, \qquad S = \sum_{k=1}^K w_k \sigma(z_k), \qquad z_k = a_k x + b_k, \\
        \log \frac{dy}{dx} &= \log \sum_k w_k a_k \sigma(z_k) \sigma(-z_k) - \log S - \log(1 - S)

    with :math:`w` = softmax of ``logits``, :math:`\log a_k` = :func:`log_scale` of ``raw_slopes``, within (-5, 3), with
    ``scale_fn="exp"``, and :math:`b_k` = ``biases`` plus K numbers evenly spaced on [-0.5, 0.5]. All sums are taken on
    the scale of logarithms, of :math:`1 - S` too, so that nothing saturates. At all parameters 0 it is the identity
    but for the spacing of the biases: :math:`y(0) = 0`, and :math:`dy/dx` lies in (0.93, 1]. The inverse is iterated;
    it lies between the least and the greatest of :math:`(y - b_k) / a_k`. Dtypes narrower than float32 are computed in
    float32.

    Shapes: ``x`` is ``(*batch, *event)``, the parameters ``(*batch, *event, K)``; all but the last axis broadcasts
    against ``x``, and both results have the broadcast shape.

    Args:
        x: The points, or the images with ``inverse=True``.
        logits: The logarithms of the weights, up to a constant: any real numbers.
        raw_slopes: The logarithms of the slopes, before they are bounded.
        biases: The biases, any real numbers.
        tolerance: That of :func:`numerical_inverse`.
        steps: Those of :func:`numerical_inverse`.
        inverse: Solves for ``x``.

    Returns:
        The value and the log-derivative of the map computed: with ``inverse=True`` it is :math:`\log|dx/dy|`.

    Raises:
        ShapeError: If the last axes of the parameters are not of one size, at least 1.

    Example:
        >>> x, flat = torch.tensor([-1e6, 0.0]), torch.zeros(2)
        >>> deep_sigmoid(x, flat, torch.tensor([0.0, 1.0]), flat)[1]
        tensor([0.0000, 0.5325])

    References:
        Neural Autoregressive Flows (Huang et al., 2018), https://arxiv.org/abs/1804.00779, equation 8.
    """
    return mixture_op(
        "deep_sigmoid",
        "logistic",
        x,
        logits,
        raw_slopes,
        biases,
        centred=False,
        tolerance=tolerance,
        steps=steps,
        inverse=inverse,
    )


def logistic_mixture_cdf(
    x: torch.Tensor,
    logits: torch.Tensor,
    locs: torch.Tensor,
    raw_scales: torch.Tensor,
    loc: torch.Tensor,
    raw_scale: torch.Tensor,
    *,
    tolerance: float = TOLERANCE,
    steps: int = STEPS,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps each coordinate by the distribution function of a mixture of logistics, a logit, and an affine map.

    .. math::
        y = s \operatorname{logit} F(x) + t, \qquad F(x) = \sum_{k=1}^K w_k \sigma\!\left(\frac{x - m_k}{s_k}\right)

    with :math:`w` = softmax of ``logits``, :math:`m_k` = ``locs`` plus K numbers evenly spaced on [-0.5, 0.5],
    :math:`\log s_k` and :math:`\log s` = :func:`log_scale` of ``raw_scales`` and ``raw_scale``, within (-5, 3), with
    ``scale_fn="exp"``, and :math:`t` = ``loc``. Nothing saturates, see :func:`deep_sigmoid`. At all parameters 0 it is
    the identity but for the spacing of the locations: :math:`dy/dx` lies in (0.93, 1]. The inverse is iterated. Dtypes
    narrower than float32 are computed in float32.

    Shapes: ``x``, ``loc`` and ``raw_scale`` are ``(*batch, *event)``, the other parameters ``(*batch, *event, K)``; all
    but this last axis broadcasts, and both results have the broadcast shape.

    Args:
        x: The points, or the images with ``inverse=True``.
        logits: The logarithms of the weights, up to a constant: any real numbers.
        locs: The locations of the components, any real numbers.
        raw_scales: The logarithms of the scales of the components, before they are bounded.
        loc: The shift after the logit, any real number.
        raw_scale: The logarithm of the scale after the logit, before it is bounded.
        tolerance: That of :func:`numerical_inverse`.
        steps: Those of :func:`numerical_inverse`.
        inverse: Solves for ``x``.

    Returns:
        The value and the log-derivative of the map computed: with ``inverse=True`` it is :math:`\log|dx/dy|`.

    Raises:
        ShapeError: If the last axes of the parameters are not of one size, at least 1.

    Example:
        >>> x, flat, zero = torch.tensor([1e6, 2.0]), torch.zeros(1), torch.zeros(())
        >>> logistic_mixture_cdf(x, flat, flat, flat, zero, zero)[0]  # one component: affine
        tensor([1.0000e+06, 2.0000e+00])

    References:
        Flow++: Improving Flow-Based Generative Models with Variational Dequantization and Architecture Design (Ho et
        al., 2019), https://arxiv.org/abs/1902.00275, section 3.2.
    """
    dtype = torch.promote_types(x.dtype, logits.dtype)
    x = x.to(torch.promote_types(dtype, torch.float32))
    loc, scale = loc.to(x.dtype), rates(raw_scale.to(x.dtype))
    if inverse:
        x = (x - loc) / scale
    value, log_derivative = mixture_op(
        "logistic_mixture_cdf",
        "logistic",
        x,
        logits,
        raw_scales,
        locs,
        centred=True,
        tolerance=tolerance,
        steps=steps,
        inverse=inverse,
    )
    if inverse:
        return value.to(dtype), (log_derivative - torch.log(scale)).to(dtype)
    return (value * scale + loc).to(dtype), (log_derivative + torch.log(scale)).to(dtype)
