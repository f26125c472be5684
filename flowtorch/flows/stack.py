"""Layers of one kind, and what mixes the coordinates between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from .. import bijectors as bij
from .. import options
from ..bijectors.coupling import CouplingFamily, Mask
from ..parameters import MADE, DenseNN, Tensor
from ..parameters.steps import Order
from ..types import ModuleFactory

Mixing: TypeAlias = Literal["reverse", "permute", "lu", "orthogonal"]
_MIXING: dict[Mixing | None, tuple[bij.Bijector, ...]] = {
    None: (),
    "reverse": (bij.Reverse(),),
    "permute": (bij.Permute(),),
    "lu": (bij.LU(Tensor(), bias=True),),
    "orthogonal": (bij.Orthogonal(Tensor(), bias=True),),
}


def stack(
    layer: bij.Bijector, *, layers: int, mixing: Mixing | None = "reverse", act_norm: bool = False
) -> bij.Compose:
    r"""Layers of one kind, with something between them that mixes the coordinates.

    .. math:: y = \ell_n(m(\cdots \ell_2(m(\ell_1(x)))))

    Every other one of couplings moves the other part of the coordinates (``swap``), whatever ``mixing`` says. The
    plans of this package are stacks, and so is what they do not name::

        stack(bij.Invert(bij.Autoregressive(bij.Spline(), params.MADE(passes=2))), layers=4, mixing="lu")

    Args:
        layer: the plan of one layer.
        layers: how many.
        mixing: what stands between two layers: ``"reverse"`` for the coordinates in reverse order (nothing between
            couplings, which swap their parts), ``"permute"`` for an order drawn when it is bound, ``"lu"`` for a
            learnable matrix and shift, ``"orthogonal"`` for a learnable rotation and shift; None for nothing. The
            learnable ones start at the identity, and do not depend on a context.
        act_norm: whether every layer is followed by an ``ActNorm``, to be started by ``flow.initialize(x)``.

    Returns:
        A ``Compose`` of the layers, base to data.

    Raises:
        OptionError, OptionTypeError: for options out of range.

    Example:
        >>> import flowtorch.bijectors as bij
        >>> [type(part).__name__ for part in stack(bij.Planar(), layers=2, mixing="lu").parts]
        ['Planar', 'LU', 'Planar']
    """
    return build("stack", _alternating(layer), layers=layers, mixing=mixing, act_norm=act_norm)


def _alternating(layer: bij.Bijector) -> tuple[bij.Bijector, ...]:
    return (layer, replace(layer, swap=not layer.swap)) if isinstance(layer, CouplingFamily) else (layer,)


def build(
    who: str,
    kinds: Sequence[bij.Bijector],
    *,
    layers: int,
    mixing: Mixing | None,
    act_norm: bool,
    after: Sequence[bij.Bijector] = (),
) -> bij.Compose:
    """Returns :func:`stack` in the name of ``who``: of layers by turns, with what stands after each."""
    for layer in kinds:
        options.instance(who, "layer", layer, bij.Bijector)
    options.integer(who, "layers", layers, minimum=1)
    options.one_of(who, "mixing", mixing, tuple(_MIXING))
    options.boolean(who, "act_norm", act_norm)
    # Two kinds by turns are the reverse of one another.
    between = () if mixing == "reverse" and len(kinds) == 2 else _MIXING[mixing]
    norm = (bij.ActNorm(),) if act_norm else ()
    parts: list[bij.Bijector] = []
    for index in range(layers):
        parts += [*(between if index else ()), kinds[index % len(kinds)], *after, *norm]
    return bij.Compose(parts)


def coupled(
    elementwise: bij.Elementwise, hidden_dims: Sequence[int], nonlinearity: ModuleFactory, mask: Mask = "half"
) -> tuple[bij.Bijector, ...]:
    """Returns couplings that move one part and the other."""
    return _alternating(bij.Coupling(elementwise, DenseNN(hidden_dims, nonlinearity=nonlinearity), mask=mask))


def autoregressive(
    elementwise: bij.Elementwise, hidden_dims: Sequence[int], nonlinearity: ModuleFactory, mixing: Mixing | None
) -> tuple[bij.Autoregressive, ...]:
    """Returns layers in the order of the coordinates and in reverse; or one, in an order drawn for each binding."""
    orders: tuple[Order | None, ...] = ("identity", "reverse") if mixing == "reverse" else (None,)
    return tuple(
        bij.Autoregressive(elementwise, MADE(hidden_dims, nonlinearity=nonlinearity, permutation=order))
        for order in orders
    )


def inverted(kinds: Sequence[bij.Bijector]) -> tuple[bij.Bijector, ...]:
    """Returns layers, the other way round."""
    return tuple(bij.Invert(layer) for layer in kinds)
