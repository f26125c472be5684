"""Variational bounds: from an unnormalised density to a flow, by draws from the flow."""

from __future__ import annotations

import torch
from torch.distributions import Distribution

from .. import options
from ..types import TensorPair
from .draws import LogDensity, at, batch_of, log_mean_exp, log_ratio, path_log_prob, reparameterized


def reverse_kl(
    flow: Distribution,
    log_density: LogDensity,
    count: int = 1,
    context: torch.Tensor | None = None,
    *,
    path_derivative: bool = True,
) -> torch.Tensor:
    r"""The negative evidence lower bound: the reverse Kullback-Leibler divergence to an unnormalised density.

    .. math:: L = E_{y \sim q}[\log q(y) - \log \tilde p(y)] = KL(q \,\|\, p) - \log Z, \qquad p = \tilde p / Z

    The gradient goes through the draws. With the path derivative it goes through nothing else: the derivative of
    :math:`\log q` by its own parameters, whose mean is zero, is left out. That has no variance where q = p, and so
    training ends where the optimum is; it costs a pass of the flow's inverse direction, step by step for
    :func:`flowtorch.flows.iaf`. Without it draws and scores take one pass of the forward direction, which is also what
    an embedding with dropout needs: that other pass would drop other units than the draws'.

    With data as contexts and a density of data and y, it trains an amortised posterior, and the density's parameters by
    the same bound: ``reverse_kl(flow, lambda z: log_joint(x, z), context=x)`` is a variational autoencoder's loss.

    Args:
        flow: a flow whose base has ``rsample``; with the path derivative, the module itself and not a view of it.
        log_density: of the target, ``(count, *batch, *event)`` to ``(count, *batch)``; it may have parameters, which
            get their gradients. Where it is ``-inf`` the loss is infinite and the gradient what it gives there.
        count: how many draws, for each entry of the batch.
        context: ``(*batch, *context_shape)`` where the flow has one; the mean is over the batch, too.
        path_derivative: leaves the score out of the gradient.

    Returns:
        ``()``; its mean over draws is an upper bound of :math:`-\log Z`.

    Raises:
        ShapeError, ContextError: if density or context do not fit.
        OptionError, OptionTypeError: for options out of range.
        NotSupportedError: if the base can only be sampled without gradients.

    Example:
        >>> import torch, flowtorch.bijectors as bij, flowtorch.distributions as dist
        >>> flow = dist.Flow(dist.DiagNormal(2), bij.AffineCoupling())
        >>> reverse_kl(flow, lambda y: -(y - 1).square().sum(-1), 16).backward()

    References:
        Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational Inference (Roeder et al.,
        2017), https://arxiv.org/abs/1703.09194; for flows: Gradients Should Stay on Path (Vaitl et al., 2022),
        https://arxiv.org/abs/2207.08219.
    """
    return -_weighed("reverse_kl", flow, log_density, count, context, path_derivative)[1].mean()


def renyi(
    flow: Distribution,
    log_density: LogDensity,
    count: int,
    alpha: float = 0.0,
    context: torch.Tensor | None = None,
    *,
    path_derivative: bool = True,
) -> torch.Tensor:
    r"""The negative variational Renyi bound; that of importance-weighted autoencoders with ``alpha=0``.

    .. math:: L_\alpha = -\frac{1}{1 - \alpha} \log \frac1K \sum_{k=1}^K w_k^{1 - \alpha}, \qquad
              w_k = \frac{\tilde p(y_k)}{q(y_k)}, \quad y_k \sim q

    At ``alpha=1`` it is :func:`reverse_kl`, its limit; towards 0 and below it covers more of the target's mass.
    With the path derivative the score is integrated by parts: the gradient goes through the draws alone, that of the
    draw k times :math:`\alpha \bar w_k + (1 - \alpha) \bar w_k^2`, where the :math:`\bar w_k \propto w_k^{1 - \alpha}`
    sum to one. A density's own parameters get gradients by :math:`\bar w_k`.

    Args:
        flow: as in :func:`reverse_kl`.
        log_density: as in :func:`reverse_kl`; ``-inf`` for a weight of zero.
        count: K, the number of draws in each bound.
        alpha: the order.
        context: as in :func:`reverse_kl`; each entry of the batch has a bound of its own.
        path_derivative: leaves the score out of the gradient.

    Returns:
        ``()``; for alpha from 0 to 1 its mean over draws is an upper bound of :math:`-\log Z`.

    Raises:
        ShapeError, ContextError: if density or context do not fit.
        OptionError, OptionTypeError: for options out of range.
        NotSupportedError: if the base can only be sampled without gradients.

    Example:
        >>> import torch, flowtorch.bijectors as bij, flowtorch.distributions as dist
        >>> flow = dist.Flow(dist.DiagNormal(2), bij.AffineCoupling())
        >>> renyi(flow, lambda y: -(y - 1).square().sum(-1), 16, alpha=0.5).backward()

    References:
        Renyi Divergence Variational Inference (Li and Turner, 2016), https://arxiv.org/abs/1602.02311, sec. 4.1;
        Importance Weighted Autoencoders (Burda et al., 2016), https://arxiv.org/abs/1509.00519, sec. 3; the gradient:
        Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives (Tucker et al., 2019),
        https://arxiv.org/abs/1810.04152, whose alpha is 0, here with weights to the power of :math:`1 - \alpha`.
    """
    options.number("renyi", "alpha", alpha)
    y, log_weights = _weighed("renyi", flow, log_density, count, context, path_derivative)
    if alpha == 1:
        return -log_weights.mean()
    powers = (1 - alpha) * log_weights
    if path_derivative and y.requires_grad:
        shares = powers.detach().softmax(0).nan_to_num(0.0)  # of nothing but -inf, NaN
        factor = batch_of(alpha + (1 - alpha) * shares, y)
        y.register_hook(lambda gradient: factor * gradient)
    return -(log_mean_exp(powers) / (1 - alpha)).mean()


def _weighed(
    who: str,
    flow: Distribution,
    log_density: LogDensity,
    count: int,
    context: torch.Tensor | None,
    path_derivative: bool,
) -> TensorPair:
    options.integer(who, "count", count, minimum=1)
    options.boolean(who, "path_derivative", path_derivative)
    law = at(who, flow, context)
    if path_derivative:
        y = law.rsample((count,))
        log_prob = path_log_prob(who, flow, y, context)
    else:
        y, log_prob = reparameterized(law, count)
    return y, log_ratio(who, log_density, y, log_prob)
