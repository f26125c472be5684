"""What ``Flow`` and the files of flows refuse: each message by its key words."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import torch
import torch.distributions as td

import flowtorch
import flowtorch.bijectors as bij
import flowtorch.distributions as dist
from flowtorch.errors import (
    BaseError,
    ContextError,
    DomainError,
    FileError,
    NotSupportedError,
    OptionError,
    OptionTypeError,
    ShapeError,
    SpecificationError,
)

X, CONTEXT = torch.zeros(5, 2), torch.zeros(5, 3)


def plain(plan: bij.Bijector | None = None, **options: Any) -> dist.Flow:
    return dist.Flow(dist.DiagNormal(2), plan or bij.Affine(), **options)


def scalar() -> dist.Flow:
    return dist.Flow(dist.DiagNormal(()), bij.Affine())


def batched() -> dist.Flow:
    """A batch of four flows."""
    return dist.Flow(td.Independent(td.Normal(torch.zeros(4, 2), 1.0), 1), bij.AffineCoupling())


def given() -> dist.Flow:
    return plain(context_shape=(3,))


class Own(td.Normal):
    """A base that nobody has registered."""


class Odd(td.Normal):
    """A base with an argument that torch knows no free form of."""

    arg_constraints: ClassVar = {"loc": td.constraints.symmetric, "scale": td.constraints.positive}


@mock.patch.dict("flowtorch.distributions.base._ARGUMENTS")
def learnt_odd() -> dist.Flow:
    dist.register_base(Odd, "loc", "scale")
    return dist.Flow(Odd(torch.eye(2), 1.0, validate_args=False), bij.AffineCoupling(), learn_base=True)


def keeping(call: Callable[[], object]) -> Callable[[], object]:
    """Runs it without the warning that a base of an unknown type is kept as it is."""

    def quiet() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()

    return quiet


def saved(prepare: Callable[[bytes], bytes] = bytes, of: Callable[[], dist.Flow] = plain, **options: Any) -> object:
    """Saves a flow, changes the file, and loads what is left."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "my.flow"
        of().save(path)
        path.write_bytes(prepare(path.read_bytes()))
        return flowtorch.load(path, **options)


def saving(flow: Callable[[], dist.Flow], **options: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        flow().save(Path(folder) / "my.flow", **options)


def embedded() -> dist.Flow:
    return plain(context_shape=(4,), embedding=torch.nn.Linear(4, 3))


REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionTypeError: {
        "Flow: a base distribution is expected; got the class Normal": lambda: dist.Flow(td.Normal, bij.Affine()),  # type: ignore[arg-type]
        "Flow: a torch.distributions.Distribution is expected as base; got int 2": lambda: dist.Flow(2, bij.Affine()),  # type: ignore[arg-type]
        "Flow: the plan is expected to be a Bijector; got the class Spline. Did you mean Spline()?": lambda: plain(
            bij.Spline  # type: ignore[arg-type]
        ),
        "Flow: a plan is expected; got a list. Use Compose([...])": lambda: plain([bij.Spline()]),  # type: ignore[arg-type]
        "Flow: a slice [:k] is expected; got 0. Layers are in flow.bijector.parts": lambda: plain()[0],  # type: ignore[index]
        "Flow: learn_base is expected to be True or False; got 1": lambda: plain(learn_base=1),
        "Flow.log_prob: a tensor is expected; got list": lambda: plain().log_prob([[0.0, 0.0]]),  # type: ignore[arg-type]
        "Flow.log_prob: a floating-point tensor is expected; got torch.int64": lambda: plain().log_prob(X.long()),
        "Flow.icdf: a tensor is expected; got float 0.5": lambda: scalar().icdf(0.5),  # type: ignore[arg-type]
        "save: notes that JSON can hold are expected; got": lambda: saving(plain, notes={"x": X}),
    },
    OptionError: {
        "Flow: a slice [:k] from the base is expected; got slice(1, None": lambda: plain()[1:],
        "Flow: [:1] is expected of a flow of one layer; got [:2]": lambda: plain()[:2],
    },
    ShapeError: {
        "Flow: a base without batch dimensions is expected under Spline ... pass Independent(base, 1)": (
            lambda: dist.Flow(td.Normal(torch.zeros(2), 1.0), bij.Spline())
        ),
        "Flow: a base with at least 1 event dimensions is expected by AffineCoupling; got event shape ()": (
            lambda: dist.Flow(td.Normal(0.0, 1.0), bij.AffineCoupling())
        ),
        "Flow.log_prob: a tensor of shape (*batch, *event) with event (2,) is expected; got (3, 4)": (
            lambda: plain().log_prob(torch.zeros(3, 4))
        ),
        # What broadcasts is no event either.
        "Flow.log_prob: ... event (2,) is expected; got (5, 1)": lambda: plain().log_prob(torch.zeros(5, 1)),
        "Flow.log_prob: ... event (2,) is expected; got ()": lambda: plain().log_prob(torch.zeros(())),
        "FlowView.log_prob: ... event (2,) is expected; got (5, 3)": lambda: (
            given().condition(CONTEXT).log_prob(CONTEXT)
        ),
        "Flow.normalize: ... event (2,) is expected; got (5, 3)": lambda: plain().normalize(CONTEXT),
        "Flow.rnormalize: ... event (2,) is expected; got (5, 3)": lambda: plain().rnormalize(CONTEXT),
        "Flow.initialize: ... event (2,) is expected; got (5, 3)": lambda: plain().initialize(CONTEXT),
        "Flow.log_prob: values of a batch that broadcasts with (4,) are expected; got batch (5,)": (
            lambda: batched().log_prob(X)
        ),
        "FlowView.log_prob: values of a batch that broadcasts with (7, 4) are expected; got batch (5,)": (
            lambda: batched().expand((7, 4)).log_prob(X)
        ),
        "FlowView.cdf: values of a batch that broadcasts with (4,) are expected; got batch (5,)": (
            lambda: scalar().expand((4,)).cdf(torch.zeros(5))
        ),
        "FlowView.expand: a batch shape that (2,) broadcasts to is expected; got (3,)": (
            lambda: given().condition(torch.zeros(2, 3)).expand((3,))
        ),
    },
    ContextError: {
        "Flow.log_prob: a context of shape (*batch, *context) with context (3,) is expected; got none": (
            lambda: given().log_prob(X)
        ),
        "Flow.log_prob: no context is expected, as none was declared (context_shape=None); got": (
            lambda: plain().log_prob(X, CONTEXT)
        ),
        "Flow.log_prob: a context whose batch broadcasts with the values' batch (5,) is expected; got batch (4,)": (
            lambda: given().log_prob(X, torch.zeros(4, 3))
        ),
        "Flow.base_dist: a base that needs no context is expected; got one that needs a context. Use "
        "flow.base.condition(context).": lambda: (
            dist.Flow(dist.ConditionalNormal(2, 3), bij.Affine(), context_shape=3).base_dist
        ),
        "ConditionalNormal: a context of shape (*batch, *context) with context (3,) is expected; got (5, 2)": (
            lambda: dist.ConditionalNormal(2, 3).condition(X)
        ),
        "Flow: a context_shape is expected along with an embedding; got None": (
            lambda: plain(embedding=torch.nn.Linear(4, 3))
        ),
        "Flow: an embedding that returns a tensor (N, *embedded) for N = 1 contexts is expected; got": (
            lambda: plain(context_shape=(4,), embedding=torch.nn.Flatten(0))
        ),
        "Flow: a context of shape (3,), the base's, is expected after any embedding; got None": (
            lambda: dist.Flow(dist.ConditionalNormal(2, 3), bij.Affine())
        ),
        "no context is expected, as this view holds one or needs none; got another": (
            lambda: given().condition(CONTEXT).log_prob(X, CONTEXT)
        ),
        "FlowView.condition: a view that needs a context is expected; got one that needs none": (
            lambda: given().condition(CONTEXT).condition(CONTEXT)
        ),
    },
    DomainError: {
        "Flow: the first layer (Log) is expected to take all that the base ... its domain is (0, inf), got support": (
            lambda: plain(bij.Log())
        ),
        "Flow.log_prob: values in the support ... are expected; got 5 of 5 outside": (
            lambda: plain(bij.Exp(), validate_args=True).log_prob(X - 1)
        ),
    },
    BaseError: {
        "is expected to be a plain tensor; got one that requires gradients ... pass plain values and learn_base=True": (
            lambda: dist.Flow(td.Normal(torch.zeros(2, requires_grad=True), 1.0), bij.AffineCoupling())
        ),
        "Flow: learn_base=True is expected with a registered type of base; got Own. Register it: ... (Own": (
            lambda: dist.Flow(Own(0.0, 1.0), bij.Affine(), learn_base=True)
        ),
        "Flow: learn_base=True is expected with arguments that have constraints of their own; got Uniform.low": (
            lambda: dist.Flow(td.Uniform(0.0, 1.0), bij.Affine(), learn_base=True)
        ),
        "Flow: a base with event dimensions of its own is expected by AffineCoupling; got batch (4,)": (
            lambda: dist.Flow(dist.MixtureOfFlows([td.Normal(torch.zeros(4), 1.0)]), bij.AffineCoupling())
        ),
        "Flow: the base's Odd.loc is expected to have a constraint of its own to be learnt; got Symm": learnt_odd,
        "register_base: a class of distributions or transforms is expected; got": lambda: dist.register_base(
            3,  # type: ignore[arg-type]
            "loc",
        ),
    },
    NotSupportedError: {
        "Flow.cdf: a flow with event shape () is expected; got (2,), for which there is no exact cdf": (
            lambda: plain().cdf(X)
        ),
        "Flow.icdf: a base with an exact icdf is expected; got Gamma": (
            lambda: dist.Flow(td.Gamma(torch.tensor(2.0), torch.tensor(1.0)), bij.Log()).icdf(torch.tensor(0.5))
        ),
        "Flow.mean: a distribution with a closed form of its mean is expected; got a Flow. Estimate it": lambda: (
            plain().mean
        ),
        "Flow.variance: ... is expected; got a Flow. Estimate it from draws, as": lambda: plain().stddev,
        "FlowView.mode: ... is expected; got a FlowView. Maximise log_prob": lambda: plain().expand(3).mode,
        "Flow.entropy: ... got a Flow. flowtorch.objectives.entropy(flow, count) estimates it": plain().entropy,
        "MixtureOfFlows.entropy: ... got a MixtureOfFlows. flowtorch.objectives.entropy": lambda: dist.MixtureOfFlows(
            [plain()]
        ).perplexity(),
        "ModuleView.mean: ... is expected; got a ModuleView. Estimate it": lambda: (
            dist.MixtureOfFlows([plain()]).expand(3).mean
        ),
        "Flow.rsample: a base with rsample is expected; got VonMises, which can only be sampled without gradients": (
            lambda: dist.Flow(td.VonMises(torch.tensor(0.0), torch.tensor(1.0)), bij.Affine()).rsample()
        ),
    },
    SpecificationError: {
        "to_dict: Network.factory is expected to be plain or registered; got": lambda: saving(
            lambda: plain(bij.AffineCoupling(flowtorch.parameters.Network(lambda i, o: torch.nn.Linear(i, o))))
        ),
    },
    FileError: {
        "save: a base of a registered type is expected; got Own": keeping(
            lambda: saving(lambda: dist.Flow(Own(0.0, 1.0), bij.Affine()))
        ),
        "load: a file that flowtorch saved is expected in ... got an empty one": lambda: saved(lambda b: b""),
        "load: a file that flowtorch saved is expected in ... got another": lambda: saved(lambda b: b"x,y\n" * 20),
        "load: version 1 of the format is expected in ... got 2": lambda: saved(lambda b: b[:12] + b"\2" + b[13:]),
        "load: a description of ... bytes is expected in ... got a file cut off or damaged": lambda: saved(
            lambda b: b[:100]
        ),
        "load: a description with the SHA-256 that it was saved with is expected in ... got another": lambda: saved(
            lambda b: b.replace(b'"Affine"', b'"Affino"')
        ),
        "with the SHA-256 that it was saved with is expected in ... got another": lambda: saved(
            lambda b: b[:-1] + bytes([b[-1] ^ 1])
        ),
        "bytes or more in all is expected in ... a file cut off": lambda: saved(lambda b: b[:-8]),
        "bytes in all is expected in": lambda: saved(lambda b: b + b"more"),
        "load: embedding=, a module like the Linear that was saved, is expected with ... got None": lambda: saved(
            of=embedded
        ),
        "load: embedding=None is expected with ... got Linear": lambda: saved(embedding=torch.nn.Linear(4, 3)),
        "load: parts that fit is expected with ... got this: Flow: an embedding": lambda: saved(
            of=embedded, embedding=torch.nn.Flatten(0)
        ),
        "load: 'embedding.weight' of shape (5, 4) is expected with ... got one of shape (3, 4)": lambda: saved(
            of=embedded, embedding=torch.nn.Linear(4, 5)
        ),
    },
}
