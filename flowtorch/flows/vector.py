"""Ready-made flows of maps of whole vectors."""

from __future__ import annotations

from collections.abc import Sequence

from .. import bijectors as bij
from ..bijectors.block_autoregressive import Mixing as BlockMixing
from ..bijectors.residual import Trace
from ..bijectors.sylvester import SylvesterKind
from ..nn.lipschitz import Activation
from ..ops.block import ActivationName
from ..ops.planar import Ridge
from ..parameters import Parameters
from .stack import Mixing, build


def bnaf(
    *,
    layers: int = 5,
    hidden_factors: Sequence[int] = (8, 8),
    activation: ActivationName = "leaky_tanh",
    residual: BlockMixing | None = None,
    mixing: Mixing | None = "reverse",
    act_norm: bool = False,
) -> bij.Compose:
    r"""The block neural autoregressive flow: each layer one network of weights in triangular blocks.

    .. math:: x = f(y; c) \quad\text{in each layer, from the data } y, \qquad
              \log|\det dx/dy| = \sum_i \log \frac{\partial x_i}{\partial y_i}

    It scores in one pass of each network. Sampling goes step by step, by an iteration for each coordinate. It starts
    as a random increasing map; near the identity with ``residual="gated"``, from which it learns more slowly.

    Args:
        layers: how many.
        hidden_factors: how many units of each hidden layer belong to a coordinate, see
            :class:`~flowtorch.bijectors.BlockAutoregressive`, as for the two that follow.
        activation: the networks' activation.
        residual: how the identity is mixed in.
        mixing: what stands between layers, see :func:`stack`.
        act_norm: whether an ``ActNorm`` follows every layer, see :func:`stack`.

    Returns:
        A plan, for a base on the reals and events of any shape but ``()``, with a context or without.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch, flowtorch.distributions as dist
        >>> dist.Flow(dist.DiagNormal(3), bnaf()).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])

    References:
        Block Neural Autoregressive Flow (De Cao et al., 2019), https://arxiv.org/abs/1904.04676, sec. 3.
    """
    layer = bij.BlockAutoregressive(hidden_factors, activation=activation, residual=residual)
    return build("bnaf", [bij.Invert(layer)], layers=layers, mixing=mixing, act_norm=act_norm)


def gf(
    *,
    layers: int = 8,
    count_components: int = 8,
    params_fn: Parameters | None = None,
    mixing: Mixing | None = "orthogonal",
    act_norm: bool = False,
) -> bij.Compose:
    r"""The Gaussianization flow: each coordinate made normal, and rotations between.

    .. math:: x_i = \Phi^{-1}\Big(\sum_{k=1}^K w_{ik} \Phi\big((y_i - m_{ik}) / s_{ik}\big)\Big)
              \quad\text{in each layer, from the data } y

    It scores in one pass, without any network unless there is a context. Sampling solves for all coordinates at once,
    by an iteration for each layer.

    Args:
        layers: how many.
        count_components: K, see :class:`~flowtorch.bijectors.GaussianMixtureCDF`.
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        mixing: what stands between layers, see :func:`stack`.
        act_norm: whether an ``ActNorm`` follows every layer, see :func:`stack`.

    Returns:
        A plan, for a base on the reals and events of any shape but ``()``, with a context or without.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch, flowtorch.distributions as dist
        >>> dist.Flow(dist.DiagNormal(3), gf()).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])

    References:
        Gaussianization Flows (Meng et al., 2020), https://arxiv.org/abs/2003.01941, sec. 3.
    """
    layer = bij.GaussianMixtureCDF(params_fn, count_components=count_components)
    return build("gf", [bij.Invert(layer)], layers=layers, mixing=mixing, act_norm=act_norm)


def planar(
    *,
    layers: int = 16,
    params_fn: Parameters | None = None,
    nonlinearity: Ridge = "tanh",
    negative_slope: float = 0.2,
    mixing: Mixing | None = "lu",
    act_norm: bool = False,
) -> bij.Compose:
    r"""Planar flows, the other way round than their paper's, to fit densities.

    .. math:: x = y + \hat u\, h(w^T y + b) \quad\text{in each layer, from the data } y

    Both directions take one pass, exact to rounding; a context drives all of w, u, b.

    Args:
        layers: how many.
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        nonlinearity: h, see :class:`~flowtorch.bijectors.Planar`.
        negative_slope: that of ``"leaky_relu"``.
        mixing: what stands between layers, see :func:`stack`.
        act_norm: whether an ``ActNorm`` follows every layer, see :func:`stack`.

    Returns:
        A plan, for a base on the reals and events of any shape but ``()``, with a context or without.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch, flowtorch.distributions as dist
        >>> dist.Flow(dist.DiagNormal(3), planar(layers=4)).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])

    References:
        Variational Inference with Normalizing Flows (Rezende and Mohamed, 2015), https://arxiv.org/abs/1505.05770,
        eq. 10-13.
    """
    layer = bij.Planar(params_fn, nonlinearity=nonlinearity, negative_slope=negative_slope)
    return build("planar", [bij.Invert(layer)], layers=layers, mixing=mixing, act_norm=act_norm)


def radial(
    *,
    layers: int = 16,
    params_fn: Parameters | None = None,
    mixing: Mixing | None = "lu",
    act_norm: bool = False,
) -> bij.Compose:
    r"""Radial flows, the other way round than their paper's, to fit densities.

    .. math:: x = y + \frac{\beta}{\alpha + |y - y_0|} (y - y_0) \quad\text{in each layer, from the data } y

    Both directions take one pass, in closed form; a context drives all of the parameters.

    Args:
        layers: how many.
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        mixing: what stands between layers, see :func:`stack`.
        act_norm: whether an ``ActNorm`` follows every layer, see :func:`stack`.

    Returns:
        A plan, for a base on the reals and events of any shape but ``()``, with a context or without.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch, flowtorch.distributions as dist
        >>> dist.Flow(dist.DiagNormal(3), radial(layers=4)).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])

    References:
        Variational Inference with Normalizing Flows (Rezende and Mohamed, 2015), https://arxiv.org/abs/1505.05770,
        eq. 14.
    """
    return build("radial", [bij.Invert(bij.Radial(params_fn))], layers=layers, mixing=mixing, act_norm=act_norm)


def sylvester(
    *,
    layers: int = 8,
    params_fn: Parameters | None = None,
    kind: SylvesterKind = "householder",
    count_transforms: int | None = None,
    rank: int | None = None,
    mixing: Mixing | None = "lu",
    act_norm: bool = False,
) -> bij.Compose:
    r"""Sylvester flows, the other way round than their paper's, to fit densities.

    .. math:: x = y + Q R \tanh(\tilde R Q^T y + b) \quad\text{in each layer, from the data } y

    It scores in one pass. Sampling solves one equation after the other in each layer, exact to rounding.

    Args:
        layers: how many.
        params_fn: where the parameters come from; None for free ones, or a ``DenseNN`` of the context if there is one.
        kind: what Q is, see :class:`~flowtorch.bijectors.Sylvester`, as for the two that follow.
        count_transforms: how many reflections, with ``"householder"``.
        rank: how many columns, with ``"orthogonal"``.
        mixing: what stands between layers, see :func:`stack`.
        act_norm: whether an ``ActNorm`` follows every layer, see :func:`stack`.

    Returns:
        A plan, for a base on the reals and events of any shape but ``()``, with a context or without.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch, flowtorch.distributions as dist
        >>> dist.Flow(dist.DiagNormal(3), sylvester(layers=2)).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])

    References:
        Sylvester Normalizing Flows for Variational Inference (van den Berg et al., 2018),
        https://arxiv.org/abs/1803.05649, eq. 7-15.
    """
    layer = bij.Sylvester(params_fn, kind=kind, count_transforms=count_transforms, rank=rank)
    return build("sylvester", [bij.Invert(layer)], layers=layers, mixing=mixing, act_norm=act_norm)


def residual(
    *,
    layers: int = 8,
    hidden_dims: Sequence[int] = (64, 64),
    nonlinearity: Activation = "lipswish",
    lipschitz: float = 0.9,
    trace: Trace = "auto",
    mixing: Mixing | None = "lu",
    act_norm: bool = False,
) -> bij.Compose:
    r"""The residual flow: each layer the identity plus a contraction.

    .. math:: x = y + g(y; c), \quad \|g(y; c) - g(y'; c)\| \le \kappa \|y - y'\|
              \quad\text{in each layer, from the data } y

    It scores in one pass, its log-determinants exact up to 64 coordinates and estimated beyond, see ``trace``.
    Sampling is iterated.

    Args:
        layers: how many.
        hidden_dims: the widths of the hidden layers of each g.
        nonlinearity: its activations, see :class:`~flowtorch.bijectors.Residual`, as for the two that follow.
        lipschitz: :math:`\kappa`.
        trace: how log-determinants are found.
        mixing: what stands between layers, see :func:`stack`.
        act_norm: whether an ``ActNorm`` follows every layer, see :func:`stack`.

    Returns:
        A plan, for a base on the reals and events of any shape but ``()``, with a context or without.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import torch, flowtorch.distributions as dist
        >>> dist.Flow(dist.DiagNormal(3), residual(layers=2)).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])

    References:
        Residual Flows for Invertible Generative Modeling (Chen et al., 2019),
        https://arxiv.org/abs/1906.02735, eq. 6-8.
    """
    layer = bij.Residual(hidden_dims, nonlinearity=nonlinearity, lipschitz=lipschitz, trace=trace)
    return build("residual", [bij.Invert(layer)], layers=layers, mixing=mixing, act_norm=act_norm)
