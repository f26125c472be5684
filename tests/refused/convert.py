"""What conversions refuse: each message by its key words. The flows of other libraries are made up, by their names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch.distributions import Independent, Laplace, Normal, TransformedDistribution

import flowtorch.bijectors as bij
import flowtorch.convert as convert
from flowtorch.convert.common import driven
from flowtorch.convert.networks import Block, Linear, Masked, made, residual_made
from flowtorch.distributions import DiagNormal
from flowtorch.errors import ContextError, NotSupportedError, OptionError, OptionTypeError, ShapeError


def fake(name: str, **attributes: Any) -> Any:
    """An object of a class of this name, with these attributes."""
    made = type(name, (torch.nn.Module,), {"forward": lambda self, *given: self.result})()
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


def linear(inputs: int, outputs: int, name: str = "Linear", **attributes: Any) -> Any:
    zeros = {"weight": torch.zeros(outputs, inputs), "bias": torch.zeros(outputs)}
    return fake(name, in_features=inputs, **zeros, **attributes)


# zuko ----------------------------------------------------------------------------------------------------------------


def MonotonicAffineTransform() -> None:
    """The name is all that counts."""


NORMAL = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)


def zuko(*transforms: Any, base: Any = None, result: Any = None) -> Any:
    base = fake("UnconditionalDistribution", result=NORMAL) if base is None else base
    parts = fake("LazyComposedTransform", transforms=transforms)
    return convert.from_zuko(fake("Flow", transform=parts, base=base, result=result))


def univariate(name: str = "MonotonicAffineTransform", **attributes: Any) -> Any:
    given = {"univariate": MonotonicAffineTransform, "shapes": ((), ()), **attributes}
    return fake(name, **given)


def masked(*modules: Any) -> Any:
    hyper = type("MaskedMLP", (list,), {"in_features": 2})(modules)
    return univariate("MaskedAutoregressiveTransform", hyper=hyper, order=torch.arange(2))


def alone(context: int = 0) -> Any:
    if context == 0:
        return univariate("ElementWiseTransform", phi=[torch.zeros(2), torch.zeros(2)])
    hyper = type("MLP", (list,), {"in_features": context})([linear(context, 4)])
    return univariate("ElementWiseTransform", hyper=hyper)


RELU, RESIDUAL = torch.nn.ReLU(), type("Residual", (list,), {})
OTHER = SimpleNamespace(log_prob=lambda x: torch.full(x.shape[:1], 7.0))


# nflows --------------------------------------------------------------------------------------------------------------


def nflows(*transforms: Any, base: Any = None, **attributes: Any) -> Any:
    base = fake("StandardNormal", _shape=torch.Size((2,))) if base is None else base
    parts = fake("CompositeTransform", _transforms=transforms)
    return convert.from_nflows(fake("Flow", _transform=parts, _distribution=base, **attributes))


def net(size: int = 2, residual: bool = True, **attributes: Any) -> Any:
    layer = {"mask": torch.ones(3, size)}
    parts = {"initial_layer": linear(size, 3, **layer), "final_layer": linear(3, 4, mask=torch.ones(4, 3))}
    blocks = attributes.pop("blocks", [])
    return fake("MADE", **parts, blocks=blocks, activation=torch.relu, use_residual_blocks=residual, **attributes)


def masked_affine(made: Any, epsilon: float = 1e-3) -> Any:
    return fake("MaskedAffineAutoregressiveTransform", autoregressive_net=made, _epsilon=epsilon)


def coupling(name: str, network: Any, **attributes: Any) -> Any:
    features = {"identity_features": torch.tensor([0]), "transform_features": torch.tensor([1]), "features": 2}
    return fake(name, transform_net=network, **features, **attributes)


SPLINE = "MaskedPiecewiseRationalQuadraticAutoregressiveTransform"
SPLINES = "PiecewiseRationalQuadraticCouplingTransform"


# Pyro ----------------------------------------------------------------------------------------------------------------


def pyro(*transforms: Any, base: Any = NORMAL) -> Any:
    return convert.from_pyro(fake("TransformedDistribution", base_dist=base, transforms=list(transforms)))


# FlowTorch 0.8 -------------------------------------------------------------------------------------------------------


def old(plan: bij.Bijector, size: int = 2, **state: torch.Tensor) -> Any:
    named = {f"bijector._params_fn.{key.replace('_', '.')}": value for key, value in state.items()}
    return convert.from_flowtorch(named, DiagNormal(size), plan)


AFFINE = driven(bij.Affine(), 2, by_coordinate=False)
ALL = Linear(torch.ones(3, 2), torch.zeros(3)), Linear(torch.ones(4, 3), torch.zeros(4))


def beyond_its_block() -> None:
    first = ALL[0]._replace(mask=torch.tensor([[0, 0], [1, 0], [1, 0]]))
    last = ALL[1]._replace(mask=torch.tensor([[1, 0, 0], [1, 1, 1]] * 2))
    everything = Linear(torch.ones(3, 3), torch.zeros(3))
    net = Masked([first], last, AFFINE, range(2), 0, (0, 1))
    plan, load = residual_made(net, [Block(everything, everything)], preactivation=True)
    with torch.no_grad():
        load(bij.AffineAutoregressive(plan).bind((2,)).params)


# For each class of errors, the words of a message, in this order, and what raises it.
REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    NotSupportedError: {
        # What all share
        "networks: hidden units that see no more than what they drive": lambda: made(
            Masked([ALL[0]], ALL[1], AFFINE, range(2), 0, (0, 1))
        ),
        "networks: layers of units that see no more than their residual block's": beyond_its_block,
        "activation: one of torch.nn without parameters ... got PReLU": lambda: zuko(
            masked(linear(2, 3), torch.nn.PReLU(), linear(3, 4))
        ),
        "activation: ... default options is expected; got LeakyReLU(negative_slope=0.2)": lambda: zuko(
            masked(linear(2, 3), torch.nn.LeakyReLU(0.2), linear(3, 4))
        ),
        "activation: the same after every layer is expected; got 2 kinds": lambda: zuko(
            masked(linear(2, 3), RELU, linear(3, 3), torch.nn.Tanh(), linear(3, 4))
        ),
        "from_zuko: transforms of one context are expected; got contexts of lengths [2, 3]": lambda: zuko(
            alone(3), alone(), alone(2)
        ),
        "from_zuko: a flow that computes as the version known here does is expected; got one whose": lambda: zuko(
            alone(), result=OTHER
        ),
        # zuko
        "from_zuko: a zuko.lazy.Flow is expected; got ReLU": lambda: convert.from_zuko(torch.nn.ReLU()),
        "from_zuko: transform 1: one of ElementWiseTransform ... is expected; got FFJTransform": lambda: zuko(
            alone(), fake("FFJTransform")
        ),
        "from_zuko: a base DiagNormal or BoxUniform ... got UnconditionalDistribution": lambda: zuko(
            base=fake("UnconditionalDistribution", result=Independent(Laplace(torch.zeros(2), torch.ones(2)), 1))
        ),
        "from_zuko: transform 0 (ElementWiseTransform): univariate ... got SOSPolynomialTransform with []": lambda: (
            zuko(univariate("ElementWiseTransform", univariate=type("SOSPolynomialTransform", (), {})))
        ),
        "univariate: MonotonicAffineTransform ... got MonotonicAffineTransform with ['bound']": lambda: zuko(
            univariate("ElementWiseTransform", univariate=partial(MonotonicAffineTransform, bound=1.0))
        ),
        "transform 0 (MaskedAutoregressiveTransform): hyper: linear layers and activations by turns": lambda: zuko(
            masked(linear(2, 3), RELU, torch.nn.LayerNorm(3), linear(3, 4))
        ),
        "hyper: residual blocks of one width are expected; got linear layers between": lambda: zuko(
            masked(linear(2, 3), RESIDUAL([0, RELU, 0]), linear(3, 5), RESIDUAL([0, RELU, 0]), linear(5, 4))
        ),
        # nflows
        "from_nflows: a nflows.flows.Flow is expected; got ReLU": lambda: convert.from_nflows(torch.nn.ReLU()),
        "from_nflows: transform 0: one of ActNorm, ... is expected; got SVDLinear": lambda: nflows(fake("SVDLinear")),
        "from_nflows: a context_shape is expected, as the flow embeds contexts; got None": lambda: nflows(
            _embedding_net=torch.nn.Linear(2, 2)
        ),
        "from_nflows: a base StandardNormal or DiagonalNormal ... got ConditionalDiagonalNormal": lambda: nflows(
            base=fake("ConditionalDiagonalNormal", _shape=(2,))
        ),
        "tails: 'linear' is expected; got None": lambda: nflows(fake(SPLINE, tails=None, autoregressive_net=net())),
        "autoregressive_net: blocks without batch norm": lambda: nflows(
            masked_affine(net(blocks=[SimpleNamespace(use_batch_norm=True)]))
        ),
        "autoregressive_net: residual blocks are expected with a context; got": lambda: nflows(
            masked_affine(net(residual=False, context_layer=linear(1, 3)))
        ),
        "features: at least two are expected; got 1": lambda: nflows(masked_affine(net(1))),
        "scale: a least scale of 1e-3 is expected; got 0.1": lambda: nflows(masked_affine(net(), 0.1)),
        "transform 0 (AffineCouplingTransform): transform_net: a ResidualNet is expected; got Linear": lambda: nflows(
            coupling("AffineCouplingTransform", torch.nn.Linear(1, 2))
        ),
        "transform_net: blocks without batch norm": lambda: nflows(
            coupling("AdditiveCouplingTransform", fake("ResidualNet", blocks=[SimpleNamespace(use_batch_norm=True)]))
        ),
        "scale_activation: sigmoid(a + 2) + 1e-3, the default, is expected; got another": lambda: nflows(
            coupling("AffineCouplingTransform", fake("ResidualNet"), scale_activation=torch.exp)
        ),
        "unconditional_transform: tails='linear' is expected; got None": lambda: nflows(
            coupling(SPLINES, fake("ResidualNet"), unconditional_transform=SimpleNamespace(tails=None))
        ),
        # Pyro
        "from_pyro: a TransformedDistribution or ConditionalTransformedDistribution is expected; got Normal": lambda: (
            convert.from_pyro(Normal(0.0, 1.0))
        ),
        "from_pyro: transform 0: one of AffineAutoregressive, ... is expected; got Planar": lambda: pyro(
            fake("Planar")
        ),
        "from_pyro: a Normal over vectors is expected as base; got Laplace (2,)": lambda: pyro(
            base=Laplace(torch.zeros(2), torch.ones(2))
        ),
        "from_pyro: a Normal over vectors is expected as base; got Normal ()": lambda: convert.from_pyro(
            TransformedDistribution(Normal(0.0, 1.0), [])
        ),
        "network: a (Conditional)AutoRegressiveNN is expected; got Linear": lambda: pyro(
            fake("AffineAutoregressive", arn=torch.nn.Linear(2, 2))
        ),
        "input_dim: at least two coordinates are expected; got 1": lambda: pyro(
            fake("AffineAutoregressive", arn=fake("AutoRegressiveNN", input_dim=1))
        ),
        "network: a (Conditional)DenseNN is expected; got Linear": lambda: pyro(
            fake("AffineCoupling", split_dim=1, nn=torch.nn.Linear(1, 2))
        ),
        "transform 0 (AffineCoupling): dim: -1 is expected; got -2": lambda: pyro(fake("AffineCoupling", dim=-2)),
        "network: a DenseNN of the context is expected; got Linear": lambda: pyro(
            fake("ConditionalSpline", nn=torch.nn.Linear(1, 2))
        ),
        "transform 0 (Permute): dim: -1 is expected; got -3": lambda: pyro(fake("Permute", dim=-3)),
        # FlowTorch 0.8
        "from_flowtorch: a base over vectors is expected; got event shape (2, 3)": lambda: convert.from_flowtorch(
            {}, DiagNormal((2, 3)), bij.Exp()
        ),
        "from_flowtorch: bijector (Permute): permutation: the one that was drawn": lambda: old(bij.Permute()),
        "from_flowtorch: bijector.bijectors.1 (LU): plan: one of Affine, ... is expected; got LU": lambda: old(
            bij.Compose([bij.LeakyReLU(), bij.LU()])
        ),
        "options: those of FlowTorch 0.8, ... are expected; got ['scale_fn', 'gated']": lambda: old(
            bij.AffineAutoregressive(scale_fn="sigmoid", gated=True)
        ),
        "event: at least two coordinates are expected; got 1": lambda: old(bij.AffineAutoregressive(), 1),
    },
    OptionError: {
        "from_flowtorch: a state of the given plan is expected; got ['bijector._params_fn.other']": lambda: old(
            bij.Exp(), other=torch.zeros(2)
        ),
        "from_flowtorch: bijector (Affine): state: a tensor ... params.1 is expected; got none": lambda: old(
            bij.Affine(), params_0=torch.zeros(2)
        ),
        "state: a network of at least two layers is expected at bijector._params_fn; got 0": lambda: old(
            bij.AffineAutoregressive()
        ),
        "ZukoAffine: slope ... (0, 1); got 1.0": lambda: convert.ZukoAffine(slope=1.0),
        "ZukoSpline: count_bins ... at least 1; got 0": lambda: convert.ZukoSpline(count_bins=0),
        "ZukoSpline: bound ... got 0.0": lambda: convert.ZukoSpline(bound=0.0),
        "ZukoSpline: slope ... (0, 1); got 2.0": lambda: convert.ZukoSpline(slope=2.0),
        "ZukoCircularSpline: count_bins ... at least 1; got 0": lambda: convert.ZukoCircularSpline(count_bins=0),
        "ZukoCircularSpline: slope ... (0, 1); got 0.0": lambda: convert.ZukoCircularSpline(slope=0.0),
        "NflowsAffine: scale_fn ... 'softplus', 'sigmoid'; got 'exp'": lambda: convert.NflowsAffine(
            scale_fn="exp"  # type: ignore[arg-type]
        ),
        "NflowsAffine: least ... (0, 1); got 1.0": lambda: convert.NflowsAffine(least=1.0),
        "PyroSpline: count_bins ... at least 1; got 0": lambda: convert.PyroSpline(count_bins=0),
        "PyroSpline: bound ... got -1.0": lambda: convert.PyroSpline(bound=-1.0),
        "PyroSpline: order ... 'linear', 'quadratic'; got 'cubic'": lambda: convert.PyroSpline(
            order="cubic"  # type: ignore[arg-type]
        ),
        "ResidualMADE: hidden_features ... at least 1; got 0": lambda: convert.ResidualMADE(0),
        "ResidualMADE: each of hidden_features ... at least 0; got -1": lambda: convert.ResidualMADE((2, -1)),
        "ResidualMADE: hidden_features is expected to be of at least one unit; got (0, 0)": lambda: (
            convert.ResidualMADE((0, 0))
        ),
        "ResidualMADE: blocks ... at least 0; got -1": lambda: convert.ResidualMADE(blocks=-1),
        "ResidualMADE: adjacency alone, ... got permutation=(0, 1) beside it": lambda: convert.ResidualMADE(
            adjacency=((False, False), (True, False)), permutation=(0, 1)
        ),
        "ResidualMADE: permutation ... each of 0 .. 1 once; got (0, 0)": lambda: convert.ResidualMADE(
            permutation=(0, 0)
        ),
        "ResidualNN: hidden_features ... at least 1; got 0": lambda: convert.ResidualNN(0),
        "ResidualNN: blocks ... at least 0; got -1": lambda: convert.ResidualNN(blocks=-1),
    },
    OptionTypeError: {
        "ResidualMADE: nonlinearity ... a class such as torch.nn.ReLU; got ReLU": lambda: convert.ResidualMADE(
            nonlinearity=torch.nn.ReLU()
        ),
        "ResidualMADE: preactivation ... True or False; got 1": lambda: convert.ResidualMADE(
            preactivation=1  # type: ignore[arg-type]
        ),
        "ResidualNN: nonlinearity ... a class such as torch.nn.ReLU; got ReLU": lambda: convert.ResidualNN(
            nonlinearity=torch.nn.ReLU()
        ),
    },
    ShapeError: {
        "ResidualMADE: parameters for each coordinate of its input, a vector, are expected; got": lambda: (
            convert.ResidualMADE().bind([(3,)], (2,), None)
        ),
        "ResidualMADE: hidden_features for each of 3 sets that are seen are expected; got (4, 4)": lambda: (
            bij.AffineAutoregressive(convert.ResidualMADE((4, 4))).bind((3,))
        ),
    },
    ContextError: {
        "ResidualNN: a context_shape is expected": lambda: convert.ResidualNN().bind([(2,)], None, None),
    },
}
