"""Ready-made flows of splines, on the reals and on the circle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from .. import bijectors as bij
from .. import options
from ..bijectors.spline import Order
from ..parameters import Tensor
from ..types import ModuleFactory, Nested
from .stack import Mixing, autoregressive, build, coupled, inverted


def nsf(
    *,
    coupling: bool = False,
    layers: int = 8,
    hidden_dims: Sequence[int] = (64, 64),
    nonlinearity: ModuleFactory = torch.nn.ReLU,
    count_bins: int = 8,
    bound: Nested = 5.0,
    order: Order = "quadratic",
    affine: bool = True,
    mixing: Mixing | None = "reverse",
    act_norm: bool = False,
) -> bij.Compose:
    r"""The neural spline flow: rational splines with parameters from other coordinates, and an affine layer.

    .. math:: x_i = f(y_i; \theta_i(y_{<i}, c)) \quad\text{or, in couplings,}\quad
              x_B = f(y_B; \theta(y_A, c)) \quad\text{in each layer, from the data } y

    Autoregressive, it scores in one pass of each network, and sampling goes step by step, exact, at the cost of one
    pass more or less; couplings take one pass both ways, and want more layers.

    Splines are the identity outside of their box. What data meet first is therefore an affine layer that learns to
    bring them into it: on Neal's funnel, which reaches far out, it makes all the difference.

    Args:
        coupling: couplings in place of autoregressive layers; every other one moves the other half.
        layers: how many.
        hidden_dims: the widths of the hidden layers of each ``MADE``, or ``DenseNN``.
        nonlinearity: the class of its activations.
        count_bins: how many bins, see :class:`~flowtorch.bijectors.Spline`, as for the two that follow.
        bound: where the box ends and the identity begins.
        order: ``"linear"`` or ``"quadratic"``.
        affine: whether the splines are followed, on the side of the data, by an affine layer like those of :func:`maf`,
            or two couplings like those of :func:`realnvp`.
        mixing: what stands between layers, see :func:`maf`.
        act_norm: whether an ``ActNorm`` follows every layer, see :func:`stack`.

    Returns:
        A plan, for a base on the reals and events of any shape but ``()``, with a context or without.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import flowtorch.distributions as dist
        >>> dist.Flow(dist.DiagNormal(3), nsf(count_bins=4)).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])

    References:
        Neural Spline Flows (Durkan et al., 2019), https://arxiv.org/abs/1906.04032, sec. 3.
    """
    options.boolean("nsf", "coupling", coupling)
    options.boolean("nsf", "affine", affine)
    spline = bij.Spline(count_bins=count_bins, bound=bound, order=order)
    kinds = _layers(spline, coupling, hidden_dims, nonlinearity, mixing)
    plan = build("nsf", kinds, layers=layers, mixing=mixing, act_norm=act_norm)
    if not affine:
        return plan
    outer = _layers(bij.Affine(scale_fn="exp"), coupling, hidden_dims, nonlinearity, mixing)
    return bij.Compose((*plan.parts, *(outer if coupling else outer[:1])))


def ncsf(
    *,
    coupling: bool = False,
    layers: int = 4,
    hidden_dims: Sequence[int] = (64, 64),
    nonlinearity: ModuleFactory = torch.nn.ReLU,
    count_bins: int = 16,
    mixing: Literal["reverse", "permute"] | None = "reverse",
) -> bij.Compose:
    r"""The neural circular spline flow, of angles: splines around the circle, each layer turned by learnable shifts.

    .. math:: x_i = f(y_i; \theta_i(y_{<i}, c)) \in [-\pi, \pi) \quad\text{in each layer,} \qquad
              y = (x + s) \bmod 2 \pi \quad\text{after it}

    The base is to live on the torus: ``dist.UniformCircle`` is there what the normal distribution is on the reals.
    Angles enter the networks as they are. Costs are those of :func:`nsf`.

    Args:
        coupling: couplings in place of autoregressive layers; every other one moves the other half.
        layers: how many.
        hidden_dims: the widths of the hidden layers of each ``MADE``, or ``DenseNN``.
        nonlinearity: the class of its activations.
        count_bins: how many bins, see :class:`~flowtorch.bijectors.CircularSpline`.
        mixing: what stands between layers, see :func:`maf`; nothing that leaves the torus.

    Returns:
        A plan, for a base on :math:`[-\pi, \pi)` and events of any shape but ``()``, with a context or without.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import flowtorch.distributions as dist
        >>> dist.Flow(dist.UniformCircle(2), ncsf()).log_prob(torch.ones(5, 2)).shape
        torch.Size([5])

    References:
        Normalizing Flows on Tori and Spheres (Rezende et al., 2020), https://arxiv.org/abs/2002.02428, sec. 2.1.2, 2.2.
    """
    options.boolean("ncsf", "coupling", coupling)
    options.one_of("ncsf", "mixing", mixing, (None, "reverse", "permute"))
    kinds = _layers(bij.CircularSpline(count_bins=count_bins), coupling, hidden_dims, nonlinearity, mixing)
    shift = bij.CircularShift(Tensor())
    return build("ncsf", kinds, layers=layers, mixing=mixing, act_norm=False, after=[shift])


def _layers(
    spline: bij.Elementwise,
    coupling: bool,
    hidden_dims: Sequence[int],
    nonlinearity: ModuleFactory,
    mixing: Mixing | None,
) -> tuple[bij.Bijector, ...]:
    if coupling:
        return inverted(coupled(spline, hidden_dims, nonlinearity))
    return inverted(autoregressive(spline, hidden_dims, nonlinearity, mixing))
