"""Layers of logits of mixtures of sigmoids: dense deep sigmoidal flows."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..errors import ShapeError
from ._mixture import first_axis, logit, mixture, rates, spread
from .numerical_inverse import STEPS, TOLERANCE, numerical_inverse

# How much the weights of different outputs of a layer start apart: equal ones would have equal gradients for ever.
TILT = 2.0


class _Layer(NamedTuple):
    mixing: torch.Tensor | None  # (inputs, K, ...), before the softmax over the inputs
    slopes: torch.Tensor  # (K, ...)
    biases: torch.Tensor  # (K, ...)
    logits: torch.Tensor  # (K, outputs, ...), before the softmax over K


def dense_deep_sigmoid(
    x: torch.Tensor,
    *params: torch.Tensor,
    tolerance: float = TOLERANCE,
    steps: int = STEPS,
    inverse: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Maps each coordinate by layers of convex combinations of sigmoids, each followed by the logit.

    .. math::
        z_j &= a_j \sum_k u_{jk} h_k + b_j, \qquad h'_i = \operatorname{logit} S_i, \quad
        S_i = \sum_j w_{ij} \sigma(z_j), \\
        \frac{dh'_i}{dx} &= \sum_j \frac{w_{ij} \sigma(z_j) \sigma(-z_j)}{S_i (1 - S_i)}
        a_j \sum_k u_{jk} \frac{dh_k}{dx}

    for each layer, from :math:`h = x` to the single output :math:`y` of the last, with :math:`u_j` and :math:`w_i` =
    softmax of ``mixing`` and ``logits``, :math:`\log a_j` = :func:`log_scale` of ``raw_slopes``, within (-5, 3), with
    ``scale_fn="exp"``, and :math:`b_j` = ``biases`` plus numbers evenly spaced on [-0.5, 0.5]. Sums of sigmoids and of
    derivatives are taken over logarithms, so that nothing saturates. At all parameters 0 each layer is the identity but
    for that spacing, and for a tilt of the weights by which its outputs differ. The inverse is iterated: as every layer
    lies between the least and the greatest of its :math:`a_j h + b_j`, so is it bracketed. Dtypes narrower than float32
    are computed in float32.

    Shapes: ``x`` is ``(*batch, *event)``, the parameters ``(*batch, *event, *trailing)``, for each layer in turn
    ``mixing`` ``(K, inputs)`` (not in the first layer, which has one input), ``raw_slopes`` ``(K,)``, ``biases``
    ``(K,)`` and ``logits`` ``(outputs, K)``, the inputs being the outputs of the layer before, and one output the
    last's. All but the trailing shapes broadcasts, and both results have the broadcast shape.

    Args:
        x: The points, or the images with ``inverse=True``.
        params: Three parameters of the first layer, four of each that follows; any real numbers.
        tolerance: That of :func:`numerical_inverse`.
        steps: Those of :func:`numerical_inverse`.
        inverse: Solves for ``x``.

    Returns:
        The value and the log-derivative of the map computed: with ``inverse=True`` it is :math:`\log|dx/dy|`.

    Raises:
        ShapeError: If the number of parameters, or their trailing shapes, are not those of a chain of layers.

    Example:
        >>> x, k = torch.tensor([-1e6, 0.5]), torch.zeros(3)
        >>> first, last = (k, k, torch.zeros(2, 3)), (torch.zeros(3, 2), k, k, torch.zeros(1, 3))
        >>> y, _ = dense_deep_sigmoid(x, *first, *last)
        >>> dense_deep_sigmoid(y, *first, *last, inverse=True)[0]
        tensor([-1.0000e+06,  5.0000e-01])

    References:
        Neural Autoregressive Flows (Huang et al., 2018), https://arxiv.org/abs/1804.00779, equation 9 and section 3.2.
    """
    _check([tuple(p.shape) for p in params])
    dtype = torch.promote_types(x.dtype, params[0].dtype)
    wide = torch.promote_types(dtype, torch.float32)
    x = x.to(wide)
    first, *rest = (p.to(wide) for p in params)
    given = [None, first, *rest]
    dims = max(x.dim(), first.dim() - 1)
    layers = [_layer(dims, *given[i : i + 4]) for i in range(0, len(given), 4)]  # type: ignore[arg-type]  # one None

    if not inverse:
        value, log_derivative = _map(x, layers)
        return value.to(dtype), log_derivative.to(dtype)
    flat = tuple(p for layer in layers for p in layer if p is not None)

    def function(v: torch.Tensor, p: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        all_of = (None, *p)
        layers_of = [_Layer(*all_of[i : i + 4]) for i in range(0, len(all_of), 4)]  # type: ignore[arg-type]  # first None
        return _map(v, layers_of)

    with torch.no_grad():
        low = high = guess = x.detach()
        for layer in reversed(layers):
            slopes, biases = layer.slopes.detach(), layer.biases.detach()
            low = ((low - biases) / slopes).amin(0)
            high = ((high - biases) / slopes).amax(0)
            guess = ((guess - biases) / slopes).mean(0)
    value, log_derivative = numerical_inverse(
        function, x, flat, bracket=(low, high), start=guess, tolerance=tolerance, steps=steps
    )
    return value.to(dtype), log_derivative.to(dtype)


def _check(shapes: list[tuple[int, ...]]) -> None:
    given: list[tuple[int, ...]] = [(1, 1), *shapes]  # of the first layer, what needs no mixing
    inputs, good = 1, len(given) % 4 == 0
    for start in range(0, len(given), 4) if good else ():
        mixing, slopes, biases, logits = given[start : start + 4]
        units = slopes[-1:]
        good = good and len(logits) > 1 and units == biases[-1:] == logits[-1:] and units not in ((), (0,))
        good = good and (start == 0 or mixing[-2:] == (*units, inputs))
        inputs = logits[-2] if good else 0
    if inputs != 1 or not good:
        raise ShapeError(
            "dense_deep_sigmoid: for the first layer parameters (K,), (K,), (outputs, K) are expected, for the others "
            f"(K, inputs) before them, and one output in the end; got {shapes}."
        )


def _layer(
    dims: int, mixing: torch.Tensor | None, raw_slopes: torch.Tensor, biases: torch.Tensor, logits: torch.Tensor
) -> _Layer:
    biases = first_axis(biases, dims + 1)
    logits = first_axis(logits, dims + 2, 2)
    units, outputs = spread(logits), spread(logits.transpose(0, 1)).transpose(0, 1)
    return _Layer(
        None if mixing is None else first_axis(mixing, dims + 2, 2),
        rates(first_axis(raw_slopes, dims + 1)),
        biases + spread(biases),
        logits + TILT * units * outputs,
    )


def _map(x: torch.Tensor, layers: list[_Layer]) -> tuple[torch.Tensor, torch.Tensor]:
    h, log_slopes = x.unsqueeze(0), torch.zeros_like(x).unsqueeze(0)
    for mixing, slopes, biases, logits in layers:
        if mixing is not None:
            shares = torch.log_softmax(mixing, 0)
            h = (torch.exp(shares) * h.unsqueeze(1)).sum(0)
            log_slopes = torch.logsumexp(shares + log_slopes.unsqueeze(1), 0)
        log_slopes = log_slopes + torch.log(slopes)
        largest = log_slopes.detach().amax(0)
        h, relative = logit(
            *mixture(
                "logistic",
                torch.addcmul(biases, slopes, h).unsqueeze(1),
                torch.log_softmax(logits, 0),
                torch.exp(log_slopes - largest).unsqueeze(1),
            )
        )
        log_slopes = relative + largest
    return h.squeeze(0), log_slopes.squeeze(0)
