"""What is refused when a plan is made: each message by its key words."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.errors import (
    AlreadyBoundError,
    DomainError,
    NotBoundError,
    OptionError,
    OptionTypeError,
    ShapeError,
)

data = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
bound_exp = bij.Exp().bind((2,))
net = params.DenseNN((4,))

# For each class of errors, the words of a message, in this order, and what raises it.
REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionError: {
        "Affine: scale_fn ... 'softplus', 'exp', 'sigmoid' ... got 'nope'": lambda: bij.Affine(scale_fn="nope"),
        "AffineCoupling: scale_fn": lambda: bij.AffineCoupling(scale_fn="nope"),
        "Spline: order ... 'linear', 'quadratic' ... got 'cubic'": lambda: bij.Spline(order="cubic"),
        "Standardize: method ... 'moments', 'quantiles' ... got 'mode'": lambda: bij.Standardize.from_data(
            data, method="mode"
        ),
        "AffineCoupling: mask ... 'half', 'alternate' ... got 'third'": lambda: bij.AffineCoupling(mask="third"),
        "count_bins is expected to be at least 1; got 0": lambda: bij.Spline(count_bins=0),
        "split ... at least 1; got 0": lambda: bij.AffineCoupling(split=0),
        "bound is expected to lie in (0, inf); got -3.0": lambda: bij.Spline(bound=-3.0),
        "bound ... got inf": lambda: bij.Spline(bound=math.inf),
        "bound ... got nan": lambda: bij.Spline(bound=math.nan),
        "LeakyReLU: slope ... (0, inf); got 1000": lambda: bij.LeakyReLU(10**400),
        "LeakyReLU: slope ... got 0.0": lambda: bij.LeakyReLU(0.0),
        "log_scale_min_clip ... (-inf, 0); got 0.0": lambda: bij.Affine(log_scale_min_clip=0.0),
        "Scale: log_scale_max_clip ... (0, inf); got -1.0": lambda: bij.Scale(log_scale_max_clip=-1.0),
        "(0, inf); got -inf": lambda: bij.Scale(log_scale_max_clip=-math.inf),
        "sigmoid_bias ... got inf": lambda: bij.Affine(sigmoid_bias=math.inf),
        "min_bin_width ... (0, 1); got 1.0": lambda: bij.Spline(min_bin_width=1.0),
        "min_derivative ... (0, 1)": lambda: bij.Spline(min_derivative=0.0),
        "min_lambda ... (0, 0.5); got 0.5": lambda: bij.Spline(min_lambda=0.5),
        "SplineCoupling: min_bin_height times count_bins ... below 1; got 0.2 x 5": lambda: bij.SplineCoupling(
            min_bin_height=0.2, count_bins=5
        ),
        "Power: exponent ... got nan": lambda: bij.Power(math.nan),
        "Power: exponent is expected not to be 0 ... got 0": lambda: bij.Power(0),
        "AffineAutoregressive: gated=True ... scale_fn='sigmoid' ... got scale_fn='softplus'": lambda: (
            bij.AffineAutoregressive(gated=True)
        ),
        "each of hidden_dims is expected to be at least 1; got 0": lambda: params.DenseNN((8, 0)),
        "MADE: residual=True ... one width; got hidden_dims=(8, 9)": lambda: params.MADE((8, 9), residual=True),
        "DenseNN: residual=True": lambda: params.DenseNN((8, 9), residual=True),
        "AffineAutoregressive: an autoregressive conditioner such as MADE() ... got DenseNN(": lambda: (
            bij.AffineAutoregressive(net)
        ),
        "SplineCoupling: a conditioner such as DenseNN() ... got MADE(": lambda: bij.SplineCoupling(params.MADE()),
        "Spline: a conditioner such as Tensor() ... got MADE( ... use Autoregressive(Spline(), params_fn)": lambda: (
            bij.Spline(params.MADE())
        ),
        "Coupling: an elementwise plan without a params_fn of its own ... Give the params_fn to Coupling": lambda: (
            bij.Coupling(bij.Affine(net))
        ),
        "Autoregressive: an elementwise plan with parameters ... got Exp, which has none": lambda: bij.Autoregressive(
            bij.Exp()
        ),
        "Compose: at least one part is expected; got none": lambda: bij.Compose([]),
        "either split or mask is expected; got both": lambda: bij.AffineCoupling(mask="alternate", split=1),
        "AffineCoupling: mask is expected to be rectangular ... got tuple": lambda: bij.AffineCoupling(
            mask=((True, False), (True,), (True, False, False))
        ),
        "Permute: permutation ... each of 0 .. 1 once; got (0, 2)": lambda: bij.Permute((0, 2)),
        "MADE: passes is expected to be at least 1; got 0": lambda: params.MADE(passes=0),
        "MADE: adjacency is expected to be a graph without cycles; got one through [0, 2]": lambda: params.MADE(
            adjacency=((0, 0, 1), (0, 0, 0), (1, 1, 0))
        ),
        "MADE: adjacency ... without cycles; got one through [0]": lambda: params.MADE(adjacency=((1,),)),
        "MADE: adjacency ... a row for each coordinate ... got 2 rows of [2, 3]": lambda: params.MADE(
            adjacency=((0, 0), (1, 0, 0))
        ),
        "MADE: adjacency ... a row for each coordinate ... got 2 rows of [1, 1]": lambda: params.MADE(
            adjacency=((0,), (0,))
        ),
        "MADE: permutation ... one of 'identity', 'reverse'; got 'random'": lambda: params.MADE(permutation="random"),
        "MADE: adjacency alone ... got permutation=(0,), passes=None beside it": lambda: params.MADE(
            adjacency=((0,),), permutation=(0,)
        ),
        "MADE: adjacency alone ... got permutation=None, passes=2 beside it": lambda: params.MADE(
            adjacency=((0,),), passes=2
        ),
        "MADE: permutation ... 0 .. 2 once; got (1, 1, 0)": lambda: params.MADE(permutation=[1, 1, 0]),
        "AffineFixed: loc and scale are expected to be finite; got loc=inf": lambda: bij.AffineFixed(loc=math.inf),
        "to be finite ... scale=-inf": lambda: bij.AffineFixed(scale=-(10**400)),
        "AffineFixed: scale is expected not to be 0; got 0 at position 1": lambda: bij.AffineFixed(scale=(1.0, 0.0)),
        "shapes that broadcast are expected; got (2,) and (3,)": lambda: bij.AffineFixed(
            loc=(1.0, 2.0), scale=(1.0, 2.0, 3.0)
        ),
        "Standardize: scale is expected to be positive; got -2": lambda: bij.Standardize(0.0, (1.0, -2.0)),
    },
    OptionTypeError: {
        "clamp_values is expected to be True or False; got 1": lambda: bij.Affine(clamp_values=1),
        "AdditiveCoupling: swap ... True or False; got 'no'": lambda: bij.AdditiveCoupling(swap="no"),
        "gated ... got None": lambda: bij.Affine(gated=None),
        "MADE: residual": lambda: params.MADE(residual=1),
        "MADE: skip_connections": lambda: params.MADE(skip_connections=1),
        "Spline: count_bins ... an integer; got 8.0": lambda: bij.Spline(count_bins=8.0),
        "count_bins ... got True": lambda: bij.Spline(count_bins=True),
        "Permute: dim ... an integer; got 'x'": lambda: bij.Permute(dim="x"),
        "Reverse: dim": lambda: bij.Reverse(dim=1.0),
        "AffineAutoregressive: dim": lambda: bij.AffineAutoregressive(dim=(0,)),
        "AffineCoupling: split ... got True": lambda: bij.AffineCoupling(split=True),
        "Spline: bound is expected to be a number; got '3'": lambda: bij.Spline(bound="3"),
        "bound ... got True": lambda: bij.Spline(bound=True),
        "MADE: hidden_dims ... such as (128, 128); got 64": lambda: params.MADE(64),
        "DenseNN: hidden_dims ... a sequence of integers; got None": lambda: params.DenseNN(None),
        "each of hidden_dims ... got 8.0": lambda: params.DenseNN((8.0,)),
        "MADE: nonlinearity ... a class such as torch.nn.ReLU; got ReLU ReLU()": lambda: params.MADE(
            nonlinearity=torch.nn.ReLU()
        ),
        "DenseNN: nonlinearity ... got str 'relu'": lambda: params.DenseNN(nonlinearity="relu"),
        "got Exp Exp()": lambda: params.DenseNN(nonlinearity=bij.Exp()),
        "got the class Exp": lambda: params.DenseNN(nonlinearity=bij.Exp),
        "got the class int": lambda: params.DenseNN(nonlinearity=int),
        "Network: factory ... a function (in_features, out_features) ... got Linear": lambda: params.Network(
            torch.nn.Linear(2, 3)
        ),
        "Network: factory ... got int 3": lambda: params.Network(3),
        "Affine: params_fn ... a Parameters; got the class DenseNN. Did you mean DenseNN()?": lambda: bij.Affine(
            params.DenseNN
        ),
        "AffineCoupling: params_fn ... got Linear": lambda: bij.AffineCoupling(torch.nn.Linear(2, 2)),
        "AffineAutoregressive: params_fn ... got Exp Exp()": lambda: bij.AffineAutoregressive(bij.Exp()),
        "Coupling: elementwise is expected to be a Elementwise; got Permute": lambda: bij.Coupling(bij.Permute()),
        "AffineCoupling: untouched ... got Permute": lambda: bij.AffineCoupling(untouched=bij.Permute()),
        "Invert: the plan ... Bijector; got the class Exp. Did you mean Exp()?": lambda: bij.Invert(bij.Exp),
        "Invert: a plan is expected; got a list. Use Compose([...])": lambda: bij.Invert([bij.Exp()]),
        "Compose: a sequence of plans is expected; got Exp": lambda: bij.Compose(bij.Exp()),
        "Compose: a sequence of plans ... got generator": lambda: bij.Compose(p for p in (bij.Exp(),)),
        "Compose part 0: a plan is expected; got a list": lambda: bij.Compose([[bij.Exp()]]),
        "Compose part 1: the plan is expected to be a Bijector; got DenseNN": lambda: bij.Compose([bij.Exp(), net]),
        "mask ... or booleans; got tuple (1, 0)": lambda: bij.AffineCoupling(mask=(1, 0)),
        "mask ... or booleans": lambda: bij.AffineCoupling(mask=torch.tensor([1, 0])),
        "mask ... got NoneType None": lambda: bij.AffineCoupling(mask=None),
        "Permute: permutation ... a sequence of integers; got (0.0, 1.0)": lambda: bij.Permute((0.0, 1.0)),
        "MADE: passes is expected to be an integer; got 2.0": lambda: params.MADE(passes=2.0),
        "MADE: adjacency is expected to be rows of True and False; got ((0, 2),)": lambda: params.MADE(
            adjacency=((0, 2),)
        ),
        "MADE: adjacency is expected to be rows of True and False; got (1, 0)": lambda: params.MADE(adjacency=(1, 0)),
        "MADE: adjacency is expected to be rows of True and False; got ()": lambda: params.MADE(adjacency=()),
        "MADE: permutation ... got 3": lambda: params.MADE(permutation=3),
        "AffineFixed: numbers are expected; got '1'": lambda: bij.AffineFixed(loc="1"),
        "AffineFixed: numbers ... got True": lambda: bij.AffineFixed(scale=True),
        "AffineFixed: numbers ... got None": lambda: bij.AffineFixed(loc=None),
        "AffineFixed: numbers ... got {1.0, 2.0}": lambda: bij.AffineFixed(loc={1.0, 2.0}),
        "AffineFixed: at least one number is expected; got ()": lambda: bij.AffineFixed(loc=()),
        "Standardize: at least one number": lambda: bij.Standardize(((), ()), 1.0),
        "AffineFixed: at least one number": lambda: bij.AffineFixed(scale=np.zeros((0,))),
        "nested sequences must be rectangular; got ((1.0, 2.0), (3.0,))": lambda: bij.AffineFixed(
            loc=((1.0, 2.0), (3.0,))
        ),
    },
    DomainError: {
        "the untouched part is expected to live where the driven part does ... real for Affine, and Exp()": lambda: (
            bij.AffineCoupling(untouched=bij.Exp())
        ),
        "Compose: part 1 (Invert(Sigmoid)) ... part 0 (Exp) ... domain is (0, 1), got codomain (0, inf)": lambda: (
            bij.Compose([bij.Exp(), bij.Invert(bij.Sigmoid())])
        ),
        "Standardize: finite values are expected ... column 0, column 1": lambda: bij.Standardize.from_data(data / 0.0),
        "columns with spread are expected; got zero spread in column 'a', column 'b'": lambda: (
            bij.Standardize.from_data(data * 0, names=["a", "b"])
        ),
    },
    ShapeError: {
        "Standardize: data of shape (rows, *event) is expected; got ndarray": lambda: bij.Standardize.from_data(
            np.ones((3, 2))
        ),
        "Standardize: data ... got a tensor of shape (0, 2)": lambda: bij.Standardize.from_data(torch.ones(0, 2)),
        "got a tensor of shape ()": lambda: bij.Standardize.from_data(torch.tensor(1.0)),
        "names for 2 columns are expected; got 1": lambda: bij.Standardize.from_data(data, names=["a"]),
    },
    AlreadyBoundError: {
        "Invert: a plan is expected; got a bound Exp. Pass its .plan": lambda: bij.Invert(bound_exp),
        "Compose part 1: a plan is expected; got a bound Exp": lambda: bij.Compose([bij.Exp(), bound_exp]),
    },
    NotBoundError: {
        "Exp: a plan is bound with plan(shape=...) or plan.bind(shape) ... got a tensor of shape (2,)": lambda: (
            bij.Exp()(torch.zeros(2))
        ),
        "Exp: a plan is bound ... got no shape": lambda: bij.Exp()(),
        "Exp: a bound bijector is expected for .forward; got the plan": lambda: bij.Exp().forward(torch.zeros(2)),
        "DenseNN: a bound conditioner is expected here; got the plan ... .bind(": lambda: net(torch.zeros(2)),
    },
    AttributeError: {
        "'Exp' object has no attribute 'nonsense'": lambda: bij.Exp().nonsense,
    },
}
