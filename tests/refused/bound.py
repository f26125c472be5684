"""What is refused when a plan is bound or its bound form used, and in specifications: each message by its key words."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import torch

import flowtorch
import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.errors import (
    ContextError,
    NotSupportedError,
    OptionError,
    OptionTypeError,
    ShapeError,
    SpecificationError,
)
from flowtorch.nn import Dense
from flowtorch.specification import from_dict

net = params.DenseNN((4,))
exp = bij.Exp().bind((2, 3))
conditional = bij.Affine(net).bind((2,), (3,))
composed = bij.Compose([bij.Exp(), bij.Invert(bij.Exp())]).bind((2,))
x, row, context = torch.zeros(5, 2, 3), torch.zeros(5, 2), torch.zeros(5, 3)


def network(made: Callable[[int, int], Any]) -> bij.BoundBijector[bij.Bijector]:
    return bij.AffineCoupling(params.Network(made)).bind((2,))


@dataclasses.dataclass(frozen=True)
class Unregistered(params.Parameters):
    """A conditioner that no specification can name."""

    def _bind(self, *_: object) -> params.BoundParameters:
        raise NotImplementedError


def second_derivative() -> object:
    y = torch.ones(2, requires_grad=True)
    bound = bij.Autoregressive(bij.Affine(), inversion="parallel").bind((2,))
    return torch.autograd.grad(bound.inverse(y).square().sum(), y, create_graph=True)


class Unordered(params.AutoregressiveParameters):
    """A conditioner that says it is autoregressive, and binds to what is not."""

    unordered = params.Tensor()

    def _bind(self, *shapes: Any) -> params.BoundParameters:
        return params.Tensor()._bind(*shapes)


def nested(depth: int) -> dict[str, Any]:
    return functools.reduce(lambda inner, _: {"type": "Invert", "plan": inner}, range(depth), {"type": "Exp"})


# For each class of errors, the words of a message, in this order, and what raises it.
REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    ShapeError: {
        "Exp: a shape is a sequence of integers; got (2.5,)": lambda: bij.Exp().bind((2.5,)),
        "Exp: a shape is a sequence of integers; got '23'": lambda: bij.Exp().bind("23"),
        "Exp: a shape is a sequence of integers; got None": lambda: bij.Exp().bind(None),
        "Affine: a shape is a sequence of integers; got 2.0": lambda: bij.Affine().bind((2,), 2.0),
        "Exp: a shape has no negative sizes; got (2, -1)": lambda: bij.Exp()(shape=(2, -1)),
        "Permute: an event of at least 1 dimension(s) is expected; got event shape ()": lambda: bij.Permute().bind(()),
        "AffineCoupling: an event of at least 1 dimension(s)": lambda: bij.AffineCoupling().bind(()),
        "Compose: an event of at least 1 dimension(s)": lambda: bij.Compose([bij.Exp(), bij.Permute()]).bind(()),
        "AffineFixed: an event of at least 2 dimension(s)": lambda: bij.AffineFixed(((1.0, 2.0),)).bind((2,)),
        "Exp: an event of at least one coordinate is expected; got event shape (2, 0)": lambda: bij.Exp().bind((2, 0)),
        "Reverse: an event with an axis dim=2 ... got event shape (2, 3)": lambda: bij.Reverse(dim=2).bind((2, 3)),
        "AffineAutoregressive: an event with an axis dim=-2": lambda: bij.AffineAutoregressive(dim=-2).bind((3,)),
        "Permute: permutation has 2 entries; got 3 coordinates": lambda: bij.Permute((1, 0)).bind((3,)),
        "MADE: permutation has 2 entries; got 3 coordinates": lambda: bij.AffineAutoregressive(
            params.MADE(permutation=(1, 0))
        ).bind((3,)),
        "MADE: adjacency has 2 rows of 2; got 3 coordinates and 0 features ... 3 rows of 3 or 3 are expected": lambda: (
            bij.AffineAutoregressive(params.MADE(adjacency=((0, 0), (1, 0)))).bind((3,))
        ),
        "MADE: adjacency has 2 rows of 4; got 2 coordinates and 1 ... 2 rows of 2 or 3": lambda: (
            bij.AffineAutoregressive(params.MADE(adjacency=((0, 0, 1, 1), (1, 0, 1, 1)))).bind((2,), (1,))
        ),
        "AffineFixed: an event that ends in the shape of loc, (2,), is expected; got event shape (2, 3)": lambda: (
            bij.AffineFixed((1.0, 2.0)).bind((2, 3))
        ),
        "Standardize: ... the shape of scale, (3,)": lambda: bij.Standardize(0.0, (1.0, 2.0, 3.0)).bind((2,)),
        "AffineCoupling: split=3 leaves nothing to drive; got 3": lambda: bij.AffineCoupling(split=3).bind((3,)),
        "AffineCoupling: a mask for 3 coordinates of an event (3,) ... got one of shape (2,)": lambda: (
            bij.AffineCoupling(mask=(True, False)).bind((3,))
        ),
        "a mask that leaves some coordinates untouched and drives others ... got 2 untouched of 2": lambda: (
            bij.AffineCoupling(mask=(True, True)).bind((2,))
        ),
        "Compose part 1 (Permute): Permute: permutation has 2 entries": lambda: bij.Compose(
            [bij.Exp(), bij.Permute((1, 0))]
        ).bind((3,)),
        "Tensor: at least one parameter is expected; got no param_shapes": lambda: params.Tensor().bind([], None, None),
        "DenseNN: the parameters are expected to share their first 2 dimensions ... got shapes [(2, 3), (2, 4)]": (
            lambda: net.bind([(2, 3), (2, 4)], (3,), None, coordinate_dims=2)
        ),
        "MADE: an input of at least one dimension is expected; got none": lambda: params.MADE().bind(
            [(2,)], None, (3,)
        ),
        "MADE: parameters for each coordinate of its input (3,) ... got parameters for (2,)": lambda: (
            params.MADE().bind([(2,)], (3,), None)
        ),
        "Exp.forward: a tensor of shape (*batch, *event) with event (2, 3) is expected; got (5, 3, 2)": lambda: (
            exp.forward(x.mT)
        ),
        "Exp.inverse: a tensor of shape (*batch, *event) ... got (3,)": lambda: exp.inverse(torch.zeros(3)),
        "Exp.initialize: a tensor of shape": lambda: exp.initialize(row),
        "Exp: a shape ending in (2, 3) is expected; got (5, 3)": lambda: exp.forward_shape(torch.Size((5, 3))),
        "Network: an output of shape (5, 2) is expected; got (5, 3)": lambda: network(
            lambda i, o: torch.nn.Linear(i, o + 1)
        ).forward(row),
    },
    ContextError: {
        "Affine.forward: a context of shape (*batch, *context) with context (3,) is expected; got none": lambda: (
            conditional.forward(row)
        ),
        "Affine.inverse: ... with context (3,) is expected; got (5, 2)": lambda: conditional.inverse(row, row),
        "Affine.forward: ... is expected; got ()": lambda: conditional.forward(row, torch.zeros(())),
        "Affine.forward: ... is expected; got list [1.0, 2.0, 3.0]": lambda: conditional.forward(row, [1.0, 2.0, 3.0]),
        "Affine.forward: a context whose batch broadcasts with the values' batch (5,) is expected; got batch (4,)": (
            lambda: conditional.forward(row, context[:4])
        ),
        "Exp.forward: no context is expected, as none was declared (context_shape=None); got one of shape (5, 3)": (
            lambda: exp.forward(x, context)
        ),
        "Exp.condition: no context is expected": lambda: exp.condition(context),
        "Affine.condition: ... got (5, 2)": lambda: conditional.condition(row),
        "Compose.inverse: no context is expected": lambda: composed.inverse(row, context),
        "DenseNN: a context_shape is expected ... got None. Use params.Tensor()": lambda: bij.Affine(net).bind((2,)),
        "Network: a context_shape is expected": lambda: bij.Spline(params.Network(torch.nn.Linear)).bind((2,)),
        "Compose part 0 (Affine): DenseNN: a context_shape": lambda: bij.Compose([bij.Affine(net)]).bind((2,)),
        "Dense: x or a context is expected; got neither": lambda: Dense(2, 0, (), 1)(None, None),
    },
    OptionError: {
        "Compose: a slice with at least one of its 2 parts is expected; got none": lambda: composed[2:],
    },
    OptionTypeError: {
        "Autoregressive: a conditioner that binds to BoundAutoregressiveParameters is expected as params_fn; got a "
        "BoundTensor from ": lambda: bij.Autoregressive(bij.Affine(), Unordered()).bind((2,)),
        "Compose: a slice such as [:2] is expected; got 0. Parts are in .parts": lambda: composed[0],
        "Exp.forward: a tensor is expected; got list [[1.0, 2.0": lambda: exp.forward([[1.0, 2.0, 3.0]] * 2),
        "Exp.inverse: a tensor is expected; got NoneType": lambda: exp.inverse(None),
        "Exp.forward: a floating-point tensor is expected; got torch.int64": lambda: exp.forward(x.long()),
        "Network: the factory is expected to return an nn.Module; got int 3": lambda: network(lambda i, o: 3),
    },
    NotSupportedError: {
        "Permute: the sign of the Jacobian's determinant is not known": lambda: bij.Permute().bind((2,)).sign,
        "Autoregressive: a backward pass without create_graph ... got create_graph=True": second_derivative,
    },
    SpecificationError: {
        "register: a name is expected for functools.partial": lambda: flowtorch.register(functools.partial(int)),
        "register: the name 'Exp' is taken by ('flowtorch.bijectors.fixed', 'Exp'); got": lambda: flowtorch.register(
            lambda i, o: None, name="Exp"
        ),
        "to_dict: a registered plan is expected; got Unregistered ... @flowtorch.register": lambda: bij.Affine(
            Unregistered()
        ).to_dict(),
        "to_dict: Network.factory is expected to be plain or registered; got <function": lambda: bij.AffineCoupling(
            params.Network(lambda i, o: torch.nn.Linear(i, o))
        ).to_dict(),
        "to_dict: MADE.nonlinearity ... got <class 'torch.nn.modules.linear.Identity'>": lambda: params.MADE(
            nonlinearity=torch.nn.Identity
        ).to_dict(),
        "plan_from_dict: a dict with a 'type' is expected; got [1]": lambda: flowtorch.plan_from_dict([1]),
        "plan_from_dict: a dict with a 'type' is expected; got {'type': 3}": lambda: from_dict({"type": 3}),
        "plan_from_dict: a registered plan is expected; got type 'os.system'": lambda: from_dict({"type": "os.system"}),
        "plan_from_dict: a Bijector is expected; got type 'MADE'": lambda: flowtorch.plan_from_dict({"type": "MADE"}),
        "plan_from_dict: Exp has the fields []; got unknown ['x']": lambda: from_dict({"type": "Exp", "x": 1}),
        "plan_from_dict: Invert needs the fields ['plan']; got no ['plan']": lambda: from_dict({"type": "Invert"}),
        "plan_from_dict: Spline refused its fields: Spline: order": lambda: from_dict({"type": "Spline", "order": "x"}),
        "plan_from_dict: plain data is expected; got Tensor": lambda: from_dict({"type": "AffineFixed", "loc": row}),
        "plan_from_dict: a registered name is expected; got 'torch.nn.Linear'": lambda: from_dict(
            {"type": "MADE", "nonlinearity": {"name": "torch.nn.Linear"}}
        ),
        "plan_from_dict: nesting that Python's recursion limit admits": lambda: from_dict(nested(20_000)),
    },
}
