"""Ready-made autoregressive flows of polynomials."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .. import bijectors as bij
from ..types import ModuleFactory
from .stack import Mixing, autoregressive, build, inverted

# Close to the identity within its scale, far out a logarithm: what a polynomial makes of a point, the next can take.
_SCALE = 5.0
_TAMED = (bij.CDF("logistic", scale=_SCALE * math.pi / 4), bij.Invert(bij.CDF("cauchy", scale=_SCALE)))


def sospf(
    *,
    layers: int = 3,
    hidden_dims: Sequence[int] = (128, 128),
    nonlinearity: ModuleFactory = torch.nn.ReLU,
    degree: int = 3,
    count_polynomials: int = 2,
    mixing: Mixing | None = "reverse",
    act_norm: bool = False,
) -> bij.Compose:
    r"""The sum-of-squares polynomial flow: integrals of sums of squares of polynomials.

    .. math:: x_i = t\Big(c_i + \int_0^{y_i} \Big(\epsilon + \sum_{k=1}^K p_{ik}(u)^2\Big) du\Big), \qquad
              (p_i, c_i) = \theta_i(y_{<i}, c) \quad\text{in each layer, from the data } t(y)

    where t, the logistic quantile of the distribution function of a Cauchy distribution, is close to the identity in
    the bulk, and far out a logarithm. Without it, what one polynomial makes of a point far out would overflow in the
    next.

    It scores in one pass of each network. Sampling goes step by step, by an iteration for each coordinate.

    Args:
        layers: how many.
        hidden_dims: the widths of the hidden layers of each ``MADE``.
        nonlinearity: the class of its activations.
        degree: that of the polynomials p, see :class:`~flowtorch.bijectors.SumOfSquares`.
        count_polynomials: K.
        mixing: what stands between layers, see :func:`maf`.
        act_norm: whether an ``ActNorm`` follows every layer, see :func:`stack`.

    Returns:
        A plan, for a base on the reals and events of any shape but ``()``, with a context or without.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import flowtorch.distributions as dist
        >>> dist.Flow(dist.DiagNormal(3), sospf(degree=2)).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])

    References:
        Sum-of-Squares Polynomial Flow (Jaini et al., 2019), https://arxiv.org/abs/1905.02325, eq. 9.
    """
    elementwise = bij.SumOfSquares(degree=degree, count_polynomials=count_polynomials)
    kinds = inverted(autoregressive(elementwise, hidden_dims, nonlinearity, mixing))
    plan = build("sospf", kinds, layers=layers, mixing=mixing, act_norm=act_norm, after=_TAMED)
    return bij.Compose((*_TAMED, *plan.parts))


def bpf(
    *,
    layers: int = 5,
    hidden_dims: Sequence[int] = (64, 64),
    nonlinearity: ModuleFactory = torch.nn.ReLU,
    order: int = 16,
    bound: float = 5.0,
    mixing: Mixing | None = "reverse",
    act_norm: bool = False,
) -> bij.Compose:
    r"""The Bernstein polynomial flow: increasing polynomials on a box, straight lines outside.

    .. math:: x_i = \sum_{k=0}^n \theta_{ik} \binom{n}{k} t^k (1 - t)^{n-k}, \quad t = \frac{y_i + B}{2B}, \qquad
              \theta_i = \theta_i(y_{<i}, c) \quad\text{in each layer, from the data } y

    It scores in one pass of each network. Sampling goes step by step, by an iteration for each coordinate.

    Args:
        layers: how many.
        hidden_dims: the widths of the hidden layers of each ``MADE``.
        nonlinearity: the class of its activations.
        order: n, see :class:`~flowtorch.bijectors.Bernstein`.
        bound: B.
        mixing: what stands between layers, see :func:`maf`.
        act_norm: whether an ``ActNorm`` follows every layer, see :func:`stack`.

    Returns:
        A plan, for a base on the reals and events of any shape but ``()``, with a context or without.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import flowtorch.distributions as dist
        >>> dist.Flow(dist.DiagNormal(3), bpf(order=8)).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])

    References:
        Short-Term Density Forecasting of Low-Voltage Load using Bernstein-Polynomial Normalizing Flows (Arpogaus
        et al., 2022), https://arxiv.org/abs/2204.13939, eq. 5-6.
    """
    elementwise = bij.Bernstein(order=order, bound=bound)
    kinds = inverted(autoregressive(elementwise, hidden_dims, nonlinearity, mixing))
    return build("bpf", kinds, layers=layers, mixing=mixing, act_norm=act_norm)
