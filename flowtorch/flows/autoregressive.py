"""Ready-made autoregressive flows, each with an elementwise map of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .. import bijectors as bij
from .. import options
from ..bijectors.affine import ScaleFn
from ..types import ModuleFactory
from .stack import Mixing, autoregressive, build, inverted


def maf(
    *,
    layers: int = 8,
    hidden_dims: Sequence[int] = (128, 128),
    nonlinearity: ModuleFactory = torch.nn.ReLU,
    scale_fn: ScaleFn = "exp",
    mixing: Mixing | None = "reverse",
    act_norm: bool = False,
) -> bij.Compose:
    r"""The masked autoregressive flow: affine maps with location and scale from the coordinates before.

    .. math:: x_i = s_i(y_{<i}, c)\, y_i + \mu_i(y_{<i}, c) \quad\text{in each layer, from the data } y

    It scores in one pass of each network. Sampling goes step by step, exact, at the cost of one pass more or less.

    Args:
        layers: how many.
        hidden_dims: the widths of the hidden layers of each ``MADE``.
        nonlinearity: the class of its activations.
        scale_fn: how the scale is made, see :class:`~flowtorch.bijectors.Affine`.
        mixing: what stands between layers, see :func:`stack`. With ``"reverse"`` layers meet the coordinates in their
            own order, else in one drawn for each.
        act_norm: whether an ``ActNorm`` follows every layer, see :func:`stack`.

    Returns:
        A plan, for a base on the reals and events of any shape but ``()``, with a context or without.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import flowtorch.distributions as dist
        >>> flow = dist.Flow(dist.DiagNormal(2), maf(layers=3), context_shape=(4,))
        >>> flow.log_prob(torch.zeros(5, 2), torch.ones(4)).shape
        torch.Size([5])

    References:
        Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017),
        https://arxiv.org/abs/1705.07057, eq. 3-5.
    """
    elementwise = bij.Affine(scale_fn=scale_fn)
    kinds = autoregressive(elementwise, hidden_dims, nonlinearity, mixing)
    return build("maf", inverted(kinds), layers=layers, mixing=mixing, act_norm=act_norm)


def iaf(
    *,
    layers: int = 8,
    hidden_dims: Sequence[int] = (128, 128),
    nonlinearity: ModuleFactory = torch.nn.ReLU,
    scale_fn: ScaleFn = "exp",
    gated: bool = False,
    mixing: Mixing | None = "reverse",
    act_norm: bool = False,
) -> bij.Compose:
    r"""The inverse autoregressive flow: affine maps, the sampling of which takes one pass.

    .. math:: y_i = s_i(x_{<i}, c)\, x_i + \mu_i(x_{<i}, c) \quad\text{in each layer}

    The other way round than :func:`maf`: made for variational inference, which scores its own samples
    (``flow.rsample_and_log_prob``). Scores of data go step by step.

    Args:
        layers: how many.
        hidden_dims: the widths of the hidden layers of each ``MADE``.
        nonlinearity: the class of its activations.
        scale_fn: how the scale is made, see :class:`~flowtorch.bijectors.Affine`.
        gated: the paper's update :math:`y_i = s_i x_i + (1 - s_i) \mu_i`, which never expands; needs
            ``scale_fn="sigmoid"``.
        mixing: what stands between layers, see :func:`maf`.
        act_norm: whether an ``ActNorm`` follows every layer, see :func:`stack`.

    Returns:
        A plan, for a base on the reals and events of any shape but ``()``, with a context or without.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import flowtorch.distributions as dist
        >>> y, log_prob = dist.Flow(dist.DiagNormal(3), iaf(layers=3)).rsample_and_log_prob((5,))
        >>> y.shape, log_prob.shape
        (torch.Size([5, 3]), torch.Size([5]))

    References:
        Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016),
        https://arxiv.org/abs/1606.04934, sec. 3-4.
    """
    elementwise = bij.Affine(scale_fn=scale_fn, gated=gated)
    kinds = autoregressive(elementwise, hidden_dims, nonlinearity, mixing)
    return build("iaf", kinds, layers=layers, mixing=mixing, act_norm=act_norm)


def naf(
    *,
    layers: int = 3,
    hidden_dims: Sequence[int] = (64, 64),
    nonlinearity: ModuleFactory = torch.nn.ReLU,
    count_components: int = 16,
    mixing: Mixing | None = "reverse",
    act_norm: bool = False,
) -> bij.Compose:
    r"""The neural autoregressive flow: deep sigmoidal maps with parameters from the coordinates before.

    .. math:: x_i = \operatorname{logit} \sum_{k=1}^K w_k \sigma(a_k y_i + b_k), \qquad
              (w, a, b) = \theta_i(y_{<i}, c) \quad\text{in each layer, from the data } y

    It scores in one pass of each network. Sampling goes step by step, by an iteration for each coordinate.

    Args:
        layers: how many.
        hidden_dims: the widths of the hidden layers of each ``MADE``.
        nonlinearity: the class of its activations.
        count_components: K, see :class:`~flowtorch.bijectors.DeepSigmoid`.
        mixing: what stands between layers, see :func:`maf`.
        act_norm: whether an ``ActNorm`` follows every layer, see :func:`stack`.

    Returns:
        A plan, for a base on the reals and events of any shape but ``()``, with a context or without.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import flowtorch.distributions as dist
        >>> dist.Flow(dist.DiagNormal(3), naf(count_components=4)).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])

    References:
        Neural Autoregressive Flows (Huang et al., 2018), https://arxiv.org/abs/1804.00779, eq. 8.
    """
    elementwise = bij.DeepSigmoid(count_components=count_components)
    kinds = autoregressive(elementwise, hidden_dims, nonlinearity, mixing)
    return build("naf", inverted(kinds), layers=layers, mixing=mixing, act_norm=act_norm)


def umnn(
    *,
    layers: int = 6,
    hidden_dims: Sequence[int] = (64, 64),
    nonlinearity: ModuleFactory = torch.nn.ReLU,
    integrand_dims: Sequence[int] = (32, 32),
    count_conditions: int = 16,
    nodes: int = 16,
    bound: float = 5.0,
    affine: bool = True,
    mixing: Mixing | None = "reverse",
    act_norm: bool = False,
) -> bij.Compose:
    r"""The unconstrained monotonic neural flow: integrals of a positive network, and an affine layer.

    .. math:: x_i = c_i + \int_0^{y_i} g(t; h_i)\, dt, \qquad
              (h_i, c_i) = \theta_i(y_{<i}, c) \quad\text{in each layer, from the data } y

    It scores in one pass of each network, and one of the integrand for each of the ``nodes``. Sampling goes step by
    step, by an iteration for each coordinate. What data meet first is an affine layer, as in :func:`nsf`, and for the
    same reason: beyond its bound the integrand is constant.

    Args:
        layers: how many.
        hidden_dims: the widths of the hidden layers of each ``MADE``.
        nonlinearity: the class of its activations; those of the integrand are ELU.
        integrand_dims: the widths of the hidden layers of g: ``hidden_dims`` of
            :class:`~flowtorch.bijectors.UnconstrainedMonotonic`, as the next three are that plan's.
        count_conditions: the length of h.
        nodes: how many nodes the quadrature has.
        bound: where g becomes constant.
        affine: whether the integrals are followed, on the side of the data, by an affine layer like those of
            :func:`maf`.
        mixing: what stands between layers, see :func:`maf`.
        act_norm: whether an ``ActNorm`` follows every layer, see :func:`stack`.

    Returns:
        A plan, for a base on the reals and events of any shape but ``()``, with a context or without.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import flowtorch.distributions as dist
        >>> dist.Flow(dist.DiagNormal(3), umnn(layers=1)).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])

    References:
        Unconstrained Monotonic Neural Networks (Wehenkel and Louppe, 2019), https://arxiv.org/abs/1908.05164, sec. 4.
    """
    options.boolean("umnn", "affine", affine)
    # The exponential of a network that is linear far out falls and rises faster than one that saturates.
    elementwise = bij.UnconstrainedMonotonic(
        hidden_dims=integrand_dims,
        nonlinearity=torch.nn.ELU,
        count_conditions=count_conditions,
        nodes=nodes,
        bound=bound,
    )
    kinds = autoregressive(elementwise, hidden_dims, nonlinearity, mixing)
    plan = build("umnn", inverted(kinds), layers=layers, mixing=mixing, act_norm=act_norm)
    outer = inverted(autoregressive(bij.Affine(scale_fn="exp"), hidden_dims, nonlinearity, mixing))[:1]
    return bij.Compose((*plan.parts, *outer)) if affine else plan
