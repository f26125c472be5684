"""Ready-made plans: values, bound at any shape with a context or without, near the identity, and as they are told."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch import flows, plan_from_dict
from flowtorch.distributions.targets import TwoMoons
from flowtorch.flows.stack import Mixing
from flowtorch.testing import check_bijector
from flowtorch.testing.sampling import perturb

FLOWS: dict[str, Callable[..., bij.Compose]] = {name: getattr(flows, name) for name in flows.__all__ if name != "stack"}
ALL: dict[str, Callable[..., bij.Compose]] = {
    **FLOWS,
    "nsf, coupling": functools.partial(flows.nsf, coupling=True),
    "ncsf, coupling": functools.partial(flows.ncsf, coupling=True),
}
SHAPES = ((1,), (2,), (5,), (2, 3))
CONTEXTS = (None, (3,))

every_flow = pytest.mark.parametrize("name", FLOWS)
every_kind = pytest.mark.parametrize("name", ALL)


def base_for(name: str, shape: tuple[int, ...]) -> torch.distributions.Distribution:
    return dist.UniformCircle(shape) if name.startswith("ncsf") else dist.DiagNormal(shape)


def make(
    name: str, shape: tuple[int, ...] = (2,), context_shape: tuple[int, ...] | None = None, **options: object
) -> dist.Flow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return dist.Flow(base_for(name, shape), ALL[name](**options), context_shape=context_shape).double()


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- values


@every_kind
def test_it_returns_an_equal_plan_each_time_and_one_that_can_be_written_down(name: str) -> None:
    plan = ALL[name]()
    assert isinstance(plan, bij.Bijector)
    assert plan == ALL[name]() and hash(plan) == hash(ALL[name]())
    assert plan_from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_no_two_of_them_are_the_same() -> None:
    assert len({f() for f in ALL.values()}) == len(ALL)


@every_flow
def test_every_option_is_by_name_and_has_a_default_and_a_line_in_the_docs(name: str) -> None:
    for option in inspect.signature(FLOWS[name]).parameters.values():
        assert option.kind is option.KEYWORD_ONLY and option.default is not option.empty
        assert f"    {option.name}: " in (FLOWS[name].__doc__ or ""), option.name


# --- what they can be bound to


@pytest.mark.parametrize("context_shape", CONTEXTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@every_kind
def test_it_makes_a_flow_over_events_of_any_shape(
    name: str, shape: tuple[int, ...], context_shape: tuple[int, ...] | None
) -> None:
    flow = make(name, shape, context_shape)
    perturb(flow, torch.Generator().manual_seed(0))
    x, context = some(4, *shape), None if context_shape is None else some(4, *context_shape, seed=1)
    log_prob = flow.log_prob(x, context)
    assert log_prob.shape == (4,) and log_prob.isfinite().all()
    if context is not None:
        assert not torch.isclose(flow.log_prob(x, context + 1.0), log_prob).any()


@every_kind
def test_a_gradient_reaches_every_parameter(name: str) -> None:
    flow = make(name, (5,), (3,))
    perturb(flow, torch.Generator().manual_seed(0))
    flow.log_prob(some(64, 5), some(64, 3, seed=1)).sum().backward()
    without = [n for n, p in flow.named_parameters() if p.grad is None or not p.grad.count_nonzero()]
    assert without == []


# The direction that takes one pass.
CHEAP = {"iaf": "forward", **dict.fromkeys(["nice", "realnvp", "gf", "planar", "radial"], "both")}


@every_kind
def test_densities_are_scored_in_one_pass_but_for_those_made_to_sample(name: str) -> None:
    assert ALL[name]().cheap == CHEAP.get(name, "both" if "coupling" in name else "inverse")


# --- where they start

# How far a fresh layer may move a point of (-2, 2), and the logarithm of its volume: zero to rounding by default.
MOVES = {"naf": (0.15, 0.15), "gf": (0.03, 0.03), "sospf": (0.1, 0.15), "bnaf": (0.9, 0.9)}
NEAR: dict[str, dict[str, object]] = {"bnaf": {"residual": "gated", "layers": 1}}  # by default a random increasing map


@pytest.mark.parametrize("context_shape", CONTEXTS)
@every_kind
def test_a_fresh_flow_is_near_the_identity(name: str, context_shape: tuple[int, ...] | None) -> None:
    flow = make(name, (3,), context_shape, **NEAR.get(name, {}))
    y = 2.0 * torch.tanh(some(50, 3))
    x, log_det = flow.bijector.inverse_and_log_det(y, None if context_shape is None else some(50, 3, seed=1))
    count = len(layers_of(name, ALL[name](**NEAR.get(name, {}))))
    moved, volume = MOVES.get(name, (1e-9, 1e-9))
    assert (x - y).abs().max() <= count * moved
    assert log_det.abs().max() <= 3 * count * volume


def test_a_fresh_bnaf_about_keeps_the_spread_of_points() -> None:
    for count in (1, 2, 20):
        x = some(1000, 3)
        z, log_det = make("bnaf", (3,), layers=count).bijector.inverse_and_log_det(x)
        assert log_det.isfinite().all() and ((z.std(0) > 0.1) & (z.std(0) < 10.0)).all()


@every_kind
def test_a_deep_one_starts_finite_and_so_do_its_gradients(name: str) -> None:
    flow = make(name, (3,), layers=20)
    x = some(16, 3)
    log_prob = flow.log_prob(x)
    log_prob.sum().backward()
    assert log_prob.isfinite().all() and flow.sample((4,)).isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in flow.parameters())


@pytest.mark.parametrize("name", [name for name in ALL if not name.startswith("ncsf")])
def test_a_point_far_out_is_scored_and_trained_on(name: str) -> None:
    flow = make(name).float()
    loss = -flow.log_prob(torch.tensor([[1000.0, -2000.0], [1.0, 0.0]])).mean()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in flow.parameters())


# --- options: where each goes, and another value for it

LAYERS = {
    "nice": bij.Coupling,
    "realnvp": bij.Coupling,
    "gf": bij.GaussianMixtureCDF,
    "bnaf": bij.BlockAutoregressive,
    "planar": bij.Planar,
    "radial": bij.Radial,
    "sylvester": bij.Sylvester,
    "residual": bij.Residual,
}
BETWEEN = {"lu": bij.LU, "orthogonal": bij.Orthogonal, "permute": bij.Permute}
# For each option another value, and others that must come with it.
OTHER: dict[str, tuple[object, dict[str, object]]] = {
    "activation": ("leaky_relu", {}),
    "bound": (4.0, {}),
    "count_bins": (5, {}),
    "count_components": (3, {}),
    "count_conditions": (3, {}),
    "count_polynomials": (5, {}),
    "count_transforms": (3, {}),
    "degree": (6, {}),
    "gated": (True, {"scale_fn": "sigmoid"}),
    "hidden_dims": ((7, 9), {}),
    "hidden_factors": ((3, 2, 5), {}),
    "integrand_dims": ((11,), {}),
    "kind": ("triangular", {}),
    "lipschitz": (0.5, {}),
    "mask": ("alternate", {}),
    "negative_slope": (0.1, {"nonlinearity": "leaky_relu"}),
    "nodes": (7, {}),
    "nonlinearity": (torch.nn.Softplus, {}),
    "order": (9, {}),
    "params_fn": (params.DenseNN((7,)), {}),
    "rank": (1, {"kind": "orthogonal"}),
    "residual": ("normal", {}),
    "scale_fn": ("softplus", {}),
    "trace": ("truncated", {}),
}
OTHER_OF = {"planar": {"nonlinearity": "leaky_relu"}, "residual": {"nonlinearity": "tanh"}, "nsf": {"order": "linear"}}
FIELDS = {"integrand_dims": "hidden_dims"}
STRUCTURE = {"layers", "mixing", "act_norm", "coupling", "affine"}


def within(value: object) -> Iterator[Any]:
    """A plan and all the plans that it holds."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield value
        for field in dataclasses.fields(value):
            yield from within(getattr(value, field.name))
    elif isinstance(value, tuple):
        for part in value:
            yield from within(part)


def layers_of(name: str, plan: bij.Compose) -> list[bij.Bijector]:
    """The parts that are layers, out of their inverses."""
    kind = bij.Coupling if "coupling" in name else LAYERS.get(name, bij.Autoregressive)
    parts = [part.plan if isinstance(part, bij.Invert) else part for part in plan.parts]
    layers = [part for part in parts if isinstance(part, kind)]
    outer = len(layers) - len(outer_of(name, plan))
    return layers[:outer]


def outer_of(name: str, plan: bij.Compose) -> list[bij.Bijector]:
    """The affine layers that the data of some meet first."""
    parts = [part.plan if isinstance(part, bij.Invert) else part for part in plan.parts]
    affine = [p for p in parts if isinstance(getattr(p, "elementwise", None), bij.Affine)]
    return affine if name.split(",")[0] in ("nsf", "umnn") else []


def values(layer: object, field: str) -> list[object]:
    return [getattr(part, field) for part in within(layer) if field in {f.name for f in dataclasses.fields(part)}]


OPTIONS = [
    (name, option)
    for name, f in ALL.items()
    for option in inspect.signature(FLOWS[name.split(",")[0]]).parameters
    if option not in STRUCTURE
]


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=" ".join)
def test_every_layer_holds_the_value_of_every_option(name: str, option: str) -> None:
    value, beside = OTHER[option]
    value = OTHER_OF.get(name.split(",")[0], {}).get(option, value)
    field = FIELDS.get(option, option)
    fresh = layers_of(name, ALL[name]())
    changed = layers_of(name, ALL[name](**{option: value}, **beside))
    assert fresh and len(changed) == len(fresh)
    assert all(value not in values(layer, field) for layer in fresh)
    assert all(value in values(layer, field) for layer in changed)


@pytest.mark.parametrize("count", [1, 2, 7])
@every_kind
def test_it_has_as_many_layers_as_it_is_told(name: str, count: int) -> None:
    assert len(layers_of(name, ALL[name](layers=count))) == count


@pytest.mark.parametrize("name", [name for name in ALL if not name.startswith("ncsf")])
def test_an_act_norm_follows_every_layer_where_it_is_told(name: str) -> None:
    parts = ALL[name](layers=3, act_norm=True).parts
    where = [i for i, p in enumerate(parts) if isinstance(p, bij.ActNorm)]
    layers = [len(layers_of(name, bij.Compose(parts[:i]))) for i in where]
    assert layers == [1, 2, 3]
    assert not any(isinstance(p, bij.ActNorm) for p in ALL[name](layers=3).parts)


@pytest.mark.parametrize(
    ("name", "mixing"), [(n, m) for n in ALL for m in BETWEEN if m == "permute" or "ncsf" not in n]
)
def test_what_mixes_stands_between_layers(name: str, mixing: str) -> None:
    parts = ALL[name](layers=3, mixing=mixing).parts
    where = [i for i, p in enumerate(parts) if type(p) is BETWEEN[mixing]]
    layers = [len(layers_of(name, bij.Compose(parts[:i]))) for i in where]
    assert layers == [1, 2]


def test_data_meet_an_affine_layer_before_integrals() -> None:
    whole = flows.umnn()
    assert whole.parts[:-1] == flows.umnn(affine=False).parts
    assert whole.parts[-1:] == flows.maf(layers=1, hidden_dims=(64, 64)).parts


@pytest.mark.parametrize("coupling", [False, True])
def test_data_meet_an_affine_layer_before_splines(coupling: bool) -> None:
    whole, splines = flows.nsf(coupling=coupling), flows.nsf(coupling=coupling, affine=False)
    outer = outer_of("nsf", whole)
    assert whole.parts[: -len(outer)] == splines.parts and outer_of("nsf", splines) == []
    assert len(outer) == 1 + coupling  # every coordinate is moved
    alike = flows.realnvp(layers=2, hidden_dims=(64, 64)) if coupling else flows.maf(layers=1, hidden_dims=(64, 64))
    assert set(whole.parts[-len(outer) :]) == set(alike.parts)


@every_kind
def test_reversed_layers_meet_the_coordinates_in_turns(name: str) -> None:
    """What an odd layer lets depend on what differs from what an even one does."""
    plan = ALL[name](layers=2, mixing="reverse")
    first, second = layers_of(name, plan)
    if isinstance(first, bij.Coupling) and isinstance(second, bij.Coupling):
        assert [first.swap, second.swap] == ([True, False] if name == "realnvp" else [False, True])
    elif isinstance(first, bij.Autoregressive):
        patterns = []
        for layer in (first, second):
            bound = layer.bind((3,)).double()
            perturb(bound, torch.Generator().manual_seed(0))
            jacobian = torch.autograd.functional.jacobian(bound, some(3))
            patterns.append(jacobian.abs() > 1e-12)
        assert torch.equal(patterns[0], torch.ones(3, 3).tril().bool())
        assert torch.equal(patterns[1], torch.ones(3, 3).triu().bool())
    else:
        assert sum(isinstance(p, bij.Reverse) for p in plan.parts) == 1


@pytest.mark.parametrize("layers", [1, 2, 3, 8])
def test_what_data_meet_first_in_realnvp_moves_the_second_part(layers: int) -> None:
    swaps = [layer.swap for layer in layers_of("realnvp", flows.realnvp(layers=layers))]
    assert swaps[::-1] == [bool(i % 2) for i in range(layers)]


def test_coupling_is_a_choice_of_the_layer() -> None:
    for f in (flows.nsf, flows.ncsf):
        assert not any(isinstance(part, bij.Coupling) for part in within(f()))
        assert not any(isinstance(part, bij.Autoregressive) for part in within(f(coupling=True)))


def test_a_stack_turns_couplings_and_leaves_other_layers_as_they_are() -> None:
    assert flows.stack(bij.Planar(), layers=2, mixing=None) == bij.Compose([bij.Planar(), bij.Planar()])
    swapped = [bij.SplineCoupling(swap=True), bij.LU(params.Tensor(), bias=True), bij.SplineCoupling()]
    assert flows.stack(bij.SplineCoupling(swap=True), layers=2, mixing="lu") == bij.Compose(swapped)
    assert flows.stack(bij.Radial(), layers=1, act_norm=True) == bij.Compose([bij.Radial(), bij.ActNorm()])


# --- what they compute


@every_kind
def test_log_dets_are_those_of_automatic_differentiation(name: str) -> None:
    options = {"umnn": {"nodes": 64}}.get(name, {})
    plan = ALL[name](layers=2, **options)
    # Integrals by quadrature: the log-derivative is that of the integral, which it agrees with to the rule's error.
    tolerance = {"umnn": 1e-5}.get(name, 1e-7)
    check_bijector(plan, (3,), (2,), only=["round_trip", "log_det"], tolerance=tolerance)


@pytest.mark.parametrize("mixing", ["reverse", "permute", "lu", "orthogonal"])
def test_every_mixing_is_scored_right(mixing: Mixing) -> None:
    check_bijector(flows.nsf(layers=3, mixing=mixing, act_norm=True), (3,), only=["round_trip", "log_det"])


@every_kind
def test_training_lowers_the_loss(name: str) -> None:
    flow = make(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        data = TwoMoons().sample((256,)).double()
    optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = -flow.log_prob(data).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.05
