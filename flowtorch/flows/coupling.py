"""Ready-made flows of affine couplings."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .. import bijectors as bij
from .. import options
from ..bijectors.affine import ScaleFn
from ..bijectors.coupling import Mask
from ..types import ModuleFactory
from .stack import Mixing, build, coupled, inverted


def nice(
    *,
    layers: int = 8,
    hidden_dims: Sequence[int] = (128, 128),
    nonlinearity: ModuleFactory = torch.nn.ReLU,
    mask: Mask = "half",
    mixing: Mixing | None = "lu",
    act_norm: bool = False,
) -> bij.Compose:
    r"""Additive couplings on scaled coordinates: nonlinear independent components estimation.

    .. math:: y_A = x_A, \quad y_B = x_B + \mu(x_A, c) \quad\text{in each layer;}\qquad
              \text{before the first } y = s(c)\, x

    Couplings keep volumes; scales are those of the base's coordinates, and of the learnable matrices between layers
    (None or ``"reverse"`` for the paper's model). Both directions take one pass.

    Args:
        layers: how many couplings; every other one moves the other part.
        hidden_dims: the widths of the hidden layers of each ``DenseNN``.
        nonlinearity: the class of its activations.
        mask: which part is left untouched, see :class:`~flowtorch.bijectors.Coupling`.
        mixing: what stands between layers, see :func:`stack`.
        act_norm: whether an ``ActNorm`` follows every layer, see :func:`stack`.

    Returns:
        A plan, for a base on the reals and events of any shape but ``()``, with a context or without.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import flowtorch.distributions as dist
        >>> dist.Flow(dist.DiagNormal(4), nice(mixing="reverse")).log_prob(torch.zeros(5, 4)).shape
        torch.Size([5])

    References:
        NICE: Non-linear Independent Components Estimation (Dinh et al., 2015), https://arxiv.org/abs/1410.8516,
        sec. 3.2-3.3.
    """
    kinds = coupled(bij.Shift(), hidden_dims, nonlinearity, mask)
    plan = build("nice", kinds, layers=layers, mixing=mixing, act_norm=act_norm)
    return bij.Compose((bij.Scale(), *plan.parts))


def realnvp(
    *,
    layers: int = 8,
    hidden_dims: Sequence[int] = (128, 128),
    nonlinearity: ModuleFactory = torch.nn.ReLU,
    mask: Mask = "half",
    scale_fn: ScaleFn = "exp",
    mixing: Mixing | None = "reverse",
    act_norm: bool = False,
) -> bij.Compose:
    r"""Affine couplings: location and scale of one part of the coordinates from the other part.

    .. math:: x_A = y_A, \quad x_B = s(y_A, c)\, y_B + \mu(y_A, c) \quad\text{in each layer, from the data } y

    Both directions take one pass.

    Args:
        layers: how many couplings; every other one moves the other part.
        hidden_dims: the widths of the hidden layers of each ``DenseNN``.
        nonlinearity: the class of its activations.
        mask: which part is left untouched, see :class:`~flowtorch.bijectors.Coupling`.
        scale_fn: how the scale is made, see :class:`~flowtorch.bijectors.Affine`.
        mixing: what stands between layers, see :func:`stack`.
        act_norm: whether an ``ActNorm`` follows every layer, see :func:`stack`.

    Returns:
        A plan, for a base on the reals and events of any shape but ``()``, with a context or without.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import flowtorch.distributions as dist
        >>> dist.Flow(dist.DiagNormal((2, 3)), realnvp()).log_prob(torch.zeros(5, 2, 3)).shape
        torch.Size([5])

    References:
        Density estimation using Real NVP (Dinh et al., 2017), https://arxiv.org/abs/1605.08803, eq. 4-8.
    """
    options.integer("realnvp", "layers", layers, minimum=1)
    kinds = inverted(coupled(bij.Affine(scale_fn=scale_fn), hidden_dims, nonlinearity, mask))
    # The layer that data meet first moves the second part, whatever the number of layers.
    return build("realnvp", kinds if layers % 2 else kinds[::-1], layers=layers, mixing=mixing, act_norm=act_norm)
