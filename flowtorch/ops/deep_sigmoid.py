"""The logit of a mixture of sigmoids: neural autoregressive flows, and mixtures of logistic distributions."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..errors import ShapeError
from .affine import affine, log_scale
from .elementary import SOFTPLUS_THRESHOLD
from .numerical_inverse import STEPS, TOLERANCE, numerical_inverse

# How far apart equal components start: without it they would have equal gradients for ever.
SPREAD = 0.5


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

    with :math:`w` = softmax of ``logits``, :math:`\log a_k` = :func:`log_scale` of ``raw_slopes``, within (-5, 3), and
    :math:`b_k` = ``biases`` plus K numbers evenly spaced on [-0.5, 0.5]. All sums are taken over logarithms, of
    :math:`1 - S` too, so that nothing saturates. At all parameters 0 it is the identity but for the spacing of the
    biases: :math:`y(0) = 0`, and :math:`dy/dx` lies in (0.93, 1]. The inverse is iterated; it lies between the least
    and the greatest of :math:`(y - b_k) / a_k`. Dtypes narrower than float32 are computed in float32.

    Shapes: ``x`` is ``(*batch, *event)``, the parameters ``(*batch, *event, K)``; all but the last axis broadcasts
    against ``x``, and both results have the broadcast shape.

    Args:
        x: The points, or the images with ``inverse=True``.
        logits: The logarithms of the weights, up to a constant: any real numbers.
        raw_slopes: What the slopes are made of, any real numbers; 0 is a slope of 1.
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
        tensor([0.0000, 0.2474])

    References:
        Neural Autoregressive Flows (Huang et al., 2018), https://arxiv.org/abs/1804.00779, equation 8.
    """
    dtype, (x, logits, raw_slopes, biases) = prepare("deep_sigmoid", x, logits, raw_slopes, biases)
    log_slopes = log_scale(raw_slopes)
    value, log_derivative = _solve_or_map(x, logits, log_slopes, biases + spread(biases), tolerance, steps, inverse)
    return value.to(dtype), log_derivative.to(dtype)


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
        >>> logistic_mixture_cdf(x, flat, flat, flat, zero, zero)  # one component: affine
        (tensor([1.0000e+06, 2.0000e+00]), tensor([0., 0.]))

    References:
        Flow++: Improving Flow-Based Generative Models with Variational Dequantization and Architecture Design (Ho et
        al., 2019), https://arxiv.org/abs/1902.00275, section 3.2.
    """
    dtype, (x, logits, locs, raw_scales) = prepare("logistic_mixture_cdf", x, logits, locs, raw_scales)
    loc, raw_scale = loc.to(x.dtype), raw_scale.to(x.dtype)
    log_slopes = -log_scale(raw_scales, scale_fn="exp")
    biases = -(locs + spread(locs)) * torch.exp(log_slopes)
    if inverse:
        x, outer = affine(x, loc, raw_scale, scale_fn="exp", inverse=True)
    value, log_derivative = _solve_or_map(x, logits, log_slopes, biases, tolerance, steps, inverse)
    if not inverse:
        value, outer = affine(value, loc, raw_scale, scale_fn="exp")
    return value.to(dtype), (log_derivative + outer).to(dtype)


def prepare(who: str, x: torch.Tensor, *params: torch.Tensor) -> tuple[torch.dtype, list[torch.Tensor]]:
    """Returns the dtype of results, and all tensors in that of the computation, with the components' axis first.

    Over a short last axis torch's logsumexp falls back to scalar code on the CPU; over the first it is vectorised.
    """
    sizes = [p.shape[-1] if p.dim() else 0 for p in params]
    if len(set(sizes)) > 1 or sizes[0] < 1:
        raise ShapeError(f"{who}: parameters with last axes of one size, at least 1, are expected; got sizes {sizes}.")
    dtype = torch.promote_types(x.dtype, params[0].dtype)
    wide = torch.promote_types(dtype, torch.float32)
    ndim = 1 + max(x.dim(), *(p.dim() - 1 for p in params))
    return dtype, [x.to(wide), *(p.to(wide)[(None,) * (ndim - p.dim())].movedim(-1, 0) for p in params)]


def spread(like: torch.Tensor) -> torch.Tensor:
    """Returns numbers evenly spaced around zero, one an entry of the first axis; 0 for one component."""
    count = like.shape[0]
    steps = torch.arange(count, dtype=like.dtype, device=like.device).reshape(-1, *(1,) * (like.dim() - 1))
    return (2.0 * steps - (count - 1)) * (SPREAD / max(count - 1, 1))


def _solve_or_map(
    x: torch.Tensor,
    logits: torch.Tensor,
    log_slopes: torch.Tensor,
    biases: torch.Tensor,
    tolerance: float,
    steps: int,
    inverse: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    params = torch.log_softmax(logits, 0), log_slopes, torch.exp(log_slopes), biases
    if not inverse:
        return _map(x, params)
    with torch.no_grad():
        # S is an average of the sigmoids, so that none of them, nor its argument, is on one side of y with all others.
        points = (x.detach() - biases.detach()) * torch.exp(-log_slopes.detach())
        guess = (points * params[0].detach().exp()).sum(0)
        bracket = points.amin(0), points.amax(0)
    return numerical_inverse(_map, x, params, bracket=bracket, start=guess, tolerance=tolerance, steps=steps)


def _map(x: torch.Tensor, params: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    log_weights, log_slopes, slopes, biases = params
    z = slopes * x + biases
    log_below = -F.softplus(-z, threshold=SOFTPLUS_THRESHOLD)  # log sigmoid(z)
    log_above = -F.softplus(z, threshold=SOFTPLUS_THRESHOLD)
    log_s = torch.logsumexp(log_weights + log_below, 0)
    log_rest = torch.logsumexp(log_weights + log_above, 0)
    # Far out log S or log(1 - S) is as large as z. From the tail's side, it is divided into each term before the sum:
    # afterwards the two would cancel.
    right = log_s >= log_rest
    shares = torch.log_softmax(log_weights + torch.where(right, log_above, log_below), 0)
    log_slope = torch.logsumexp(shares + log_slopes + torch.where(right, log_below, log_above), 0)
    return log_s - log_rest, log_slope - torch.where(right, log_s, log_rest)
