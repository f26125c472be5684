"""Plans: their spelling, what they say of themselves, and the numbers of the elementwise ones against torch's."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import scipy.special
import torch
from torch.distributions import transforms as tt

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.bijectors import BoundBijector
from flowtorch.errors import NotBoundError
from flowtorch.testing import perturb
from flowtorch.types import numel

INF = math.inf


def bind(plan: bij.Bijector, shape: tuple[int, ...], context: tuple[int, ...] | None = None) -> BoundBijector[Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bound = plan.bind(shape, context).double()
    perturb(bound, torch.Generator().manual_seed(0))
    return bound


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- spelling


@pytest.mark.parametrize(
    ("shape", "expected"), [(3, (3,)), ((3,), (3,)), ([2, 3], (2, 3)), (torch.Size([2, 3]), (2, 3)), ((), ())], ids=str
)
def test_plans_are_bound_by_bind_and_in_the_spelling_of_flowtorch_0(shape: Any, expected: tuple[int, ...]) -> None:
    plan = bij.Exp()
    for bound in (plan.bind(shape), plan(shape=shape), plan(shape=shape, context_shape=None)):
        assert bound.shape == bound.out_shape == torch.Size(expected)
        assert bound.context_shape is None and bound.plan is plan
    conditional = bij.Affine()(shape=torch.Size([3]), context_shape=torch.Size([2]))
    assert conditional.context_shape == (2,)
    assert conditional.forward(torch.zeros(3), torch.zeros(5, 2)).shape == (5, 3)
    assert bij.Affine().bind(3, 2).context_shape == (2,)


def test_scalar_contexts_are_contexts() -> None:
    bound = bind(bij.AffineCoupling(params.DenseNN((4,))), (3,), ())
    x, context = draw(5, 3), draw(5)
    y = bound.forward(x, context)
    assert not torch.allclose(y, bound.forward(x, context.flip(0)))


def test_same_plan_bound_twice_gives_independent_parameters() -> None:
    plan = bij.SplineCoupling(params.DenseNN((4,)))
    a, b = plan.bind((3,)), plan.bind((3,))
    before = [p.clone() for p in b.parameters()]
    perturb(a, torch.Generator().manual_seed(0))
    assert all(torch.equal(p, q) for p, q in zip(b.parameters(), before, strict=True))
    assert a != b and a.plan == b.plan


def test_params_fn_decides_where_parameters_come_from() -> None:
    def conditioner(plan: bij.Bijector, context: int | None = None) -> str:
        return plan.check((3,), context).rows[0].conditioner

    assert conditioner(bij.Affine()) == "free"
    assert conditioner(bij.Affine(), 2) == "DenseNN(256, 256)"
    assert conditioner(bij.Affine(params.Tensor()), 2) == "free"
    assert conditioner(bij.Affine(params.DenseNN((8,))), 2) == "DenseNN(8,)"
    assert conditioner(bij.AffineAutoregressive()) == "MADE(256, 256)"
    assert conditioner(bij.AffineCoupling(params.DenseNN(()))) == "DenseNN()"
    assert conditioner(bij.AffineCoupling(params.Network(torch.nn.Linear))) == "Network(Linear)"
    assert conditioner(bij.Exp()) == "-"


def test_plans_are_immutable_values() -> None:
    plan = bij.Spline(count_bins=5, order="quadratic")
    assert plan == bij.Spline(order="quadratic", count_bins=5) != bij.Spline(count_bins=5)
    assert len({plan, dataclasses.replace(plan), bij.Spline()}) == 2
    assert bij.Compose([plan, bij.Exp()]) == bij.Compose((bij.Spline(count_bins=5, order="quadratic"), bij.Exp()))
    assert params.MADE([4, 4]) == params.MADE((4, 4))
    assert "count_bins=5" in repr(plan) and "quadratic" in repr(plan)
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.count_bins = 4  # type: ignore[misc]


def test_a_plan_has_no_attribute_of_a_bound_form() -> None:
    for name in ("forward", "forward_and_log_det", "log_abs_det_jacobian", "parameters", "state_dict", "condition"):
        assert not hasattr(bij.Exp(), name)
        with pytest.raises(NotBoundError, match=f"a bound bijector is expected for .{name}; got the plan"):
            getattr(bij.Exp(), name)
    with pytest.raises(AttributeError, match="'Exp' object has no attribute 'nonsense'"):
        _ = bij.Exp().nonsense


# --- what a plan says of itself


def test_check_returns_the_table_of_layers() -> None:
    plan = bij.Compose(
        [
            bij.Invert(bij.SplineAutoregressive(params.MADE((8,)), count_bins=4)),
            bij.Permute(),
            bij.AffineCoupling(params.DenseNN((6,))),
            bij.Exp(),
        ]
    )
    table = plan.check((4,), (2,))
    made = (4 * 8 + 8) + 2 * 8 + (8 + 1) * 4 * (4 + 4 + 3 + 4)
    dense = (2 + 2) * 6 + 6 + (6 + 1) * 2 * 2
    expected = [
        ("Invert(SplineAutoregressive)", made, "MADE(8,)", "inverse"),
        ("Permute", 0, "-", "both"),
        ("AffineCoupling", dense, "DenseNN(6,)", "both"),
        ("Exp", 0, "-", "both"),
    ]
    assert [(r.layer, r.parameters, r.conditioner, r.cheap) for r in table.rows] == expected
    assert all(r.shape == r.out_shape == (4,) and r.inverse == "exact" for r in table.rows)
    assert table.parameters == made + dense == sum(p.numel() for p in plan.bind((4,), (2,)).parameters())
    head, rule, *body, foot = str(table).splitlines()
    assert head.split() == ["layer", "in", "out", "parameters", "conditioner", "cheap", "inverse"]
    assert set(rule) <= {"-", " "}
    assert body[0].split() == [
        "0",
        "Invert(SplineAutoregressive)",
        "(4,)",
        "(4,)",
        f"{made}",
        "MADE(8,)",
        "inverse",
        "exact",
    ]
    assert foot == f"{made + dense:,} parameters in 4 layers"
    assert len({line.find("exact") for line in body}) == 1  # columns are aligned


def test_check_allocates_nothing_and_draws_nothing() -> None:
    before = torch.random.get_rng_state()
    assert bij.AffineAutoregressive(params.MADE((100_000, 100_000))).check((1000,)).parameters > 10**10
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (bij.Exp(), ["Exp: y = exp(x).", "real to (0, inf)", "Both directions take one pass", "no parameters"]),
        (
            bij.Affine(),
            ["y = s x + mu, s = softplus(a)", "2 parameters per coordinate, free when bound without a context"],
        ),
        (bij.Affine(gated=True, scale_fn="sigmoid"), ["y = s x + (1 - s) mu"]),
        (bij.Affine(params.Tensor()), ["per coordinate, free."]),
        (bij.Spline(params.DenseNN((8,)), count_bins=4), ["15 parameters per coordinate, from DenseNN(8,)", "4 bins"]),
        (
            bij.AffineAutoregressive(),
            ["Forward (base to data: sampling) takes one pass", "through MADE(256, 256)", "of the flattened event"],
        ),
        (bij.AffineAutoregressive(dim=-1), ["along axis -1"]),
        (
            bij.Invert(bij.AffineAutoregressive()),
            ["The inverse (density) takes one pass", "the inverse of", "of AffineAutoregressive"],
        ),
        (
            bij.AffineCoupling(),
            [
                "The first half of the coordinates stay as they are, and drive the others through DenseNN(256, 256)",
                "swap=True",
            ],
        ),
        (bij.AffineCoupling(swap=True), ["The others stay as they are, and drive the first half of the coordinates"]),
        (bij.AffineCoupling(mask="alternate"), ["Every other coordinate stay"]),
        (bij.AffineCoupling(mask=(True, False)), ["where the mask is true stay"]),
        (bij.AffineCoupling(split=2), ["The first 2 coordinates stay"]),
        (bij.SplineCoupling(untouched=bij.Spline()), ["move by Spline alone"]),
        (
            bij.Compose([bij.Exp(), bij.Invert(bij.Exp())]),
            ["2 parts, base to data", "0. Exp:", "1. Invert:", "(0, inf) to real"],
        ),
        (bij.Permute((1, 0)), ["pi = (1, 0)"]),
        (bij.Permute(), ["drawn when bound"]),
        (bij.LeakyReLU(0.25), ["0.25 x below"]),
    ],
    ids=lambda v: "" if isinstance(v, list) else repr(v)[:50],
)
def test_explain_says_it_in_words(plan: bij.Bijector, words: list[str]) -> None:
    text = plan.explain()
    for w in words:
        assert w in text, text


# --- the elementwise plans against torch's transforms

ORACLES: dict[str, tuple[bij.Bijector, tt.Transform]] = {
    "exp": (bij.Exp(), tt.ExpTransform()),
    "sigmoid": (bij.Sigmoid(), tt.SigmoidTransform()),
    "tanh": (bij.Tanh(), tt.TanhTransform()),
    "softplus": (bij.Softplus(), tt.SoftplusTransform()),
    "invert exp": (bij.Compose([bij.Exp(), bij.Invert(bij.Exp())]), tt.identity_transform),
    "power": (
        bij.Compose([bij.Exp(), bij.Power(1.5)]),
        tt.ComposeTransform([tt.ExpTransform(), tt.PowerTransform(torch.tensor(1.5).double())]),
    ),
    "affine fixed": (bij.AffineFixed(2.0, -3.0), tt.AffineTransform(2.0, -3.0)),
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)], ids=str)
def test_fixed_maps_are_those_of_torch_summed_over_the_event(name: str, shape: tuple[int, ...]) -> None:
    plan, oracle = ORACLES[name]
    bound, x = bind(plan, shape), draw(4, *shape)
    y, log_det = bound.forward_and_log_det(x)
    torch.testing.assert_close(y, oracle(x), rtol=1e-12, atol=1e-12)
    expected = oracle.log_abs_det_jacobian(x, y).reshape(4, numel(shape)).sum(-1)
    torch.testing.assert_close(log_det, expected, rtol=1e-8, atol=1e-8)  # torch's own are not exact in the tails
    back, log_det = bound.inverse_and_log_det(y)
    torch.testing.assert_close(back, x, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_det, -expected, rtol=1e-8, atol=1e-8)


def test_elu_and_leaky_relu_are_the_activations_of_those_names() -> None:
    x = draw(20)
    assert torch.equal(bind(bij.LeakyReLU(0.2), (20,)).forward(x), torch.nn.functional.leaky_relu(x, 0.2))
    torch.testing.assert_close(bind(bij.ELU(), (20,)).forward(x), torch.nn.functional.elu(x), rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("inverse", [False, True])
def test_gated_affine_is_equation_14_of_inverse_autoregressive_flow(inverse: bool) -> None:
    """z' = sigma z + (1 - sigma) m with sigma = sigmoid(s + bias): in the paper the bias is 1 to 2."""
    plan = bij.Affine(scale_fn="sigmoid", gated=True, sigmoid_bias=1.5, log_scale_min_clip=-INF)
    bound, z = bind(plan, (2, 3)), draw(5, 2, 3)
    m, s = (p.detach().numpy() for p in bound.params(None, None))
    sigma = scipy.special.expit(s + 1.5)
    expected = (z.numpy() - (1 - sigma) * m) / sigma if inverse else sigma * z.numpy() + (1 - sigma) * m
    value, log_det = (bound.inverse_and_log_det if inverse else bound.forward_and_log_det)(z)
    torch.testing.assert_close(value, torch.from_numpy(expected), rtol=1e-12, atol=1e-12)
    total = torch.tensor(scipy.special.log_expit(s + 1.5).sum()).expand(5)
    torch.testing.assert_close(log_det, -total if inverse else total, rtol=1e-12, atol=1e-12)


def scaled(plan: Any, raw: float, **options: Any) -> tuple[float, float]:
    """The log-scale, and its gradient, that raw numbers of ``raw`` give."""
    bound = plan(scale_fn="exp", **options).bind(()).double()
    with torch.no_grad():
        bound.params.values[-1].fill_(raw)
    log_det = bound.forward_and_log_det(torch.ones((), dtype=torch.float64))[1]
    (gradient,) = torch.autograd.grad(log_det, bound.params.values[-1])
    return log_det.item(), gradient.item()


@pytest.mark.parametrize("plan", [bij.Scale, bij.Affine])
def test_log_scales_are_bounded_smoothly_or_clamped_or_not_at_all(plan: Any) -> None:
    bounds = {"log_scale_min_clip": -4.0, "log_scale_max_clip": 2.0}
    none = {"log_scale_min_clip": -INF, "log_scale_max_clip": INF}
    for raw in (-30.0, -4.0, -1.0, 0.0, 1.0, 2.5, 30.0):
        smooth, slope = scaled(plan, raw, **bounds)
        limit = 2.0 if raw > 0 else 4.0
        assert smooth == pytest.approx(limit * math.tanh(raw / limit), rel=1e-12)
        assert slope == pytest.approx(1 - math.tanh(raw / limit) ** 2, rel=1e-9, abs=1e-12)
        clamped, slope = scaled(plan, raw, **bounds, clamp_values=True)
        assert (clamped, slope) == (min(max(raw, -4.0), 2.0), 1.0)  # a gradient even outside
        assert scaled(plan, raw, **none) == scaled(plan, raw, **none, clamp_values=True) == (raw, 1.0)


SCALE = {"scale_fn": "sigmoid", "clamp_values": True, "log_scale_min_clip": -1.0, "log_scale_max_clip": 0.5}
KNOTS = {"min_bin_width": 0.1, "min_bin_height": 0.05, "min_derivative": 0.2, "min_lambda": 0.3}


@pytest.mark.parametrize(
    ("plan", "families", "options"),
    [
        (bij.Affine, (bij.AffineAutoregressive, bij.AffineCoupling), {**SCALE, "sigmoid_bias": 0.5, "gated": True}),
        (
            bij.Spline,
            (bij.SplineAutoregressive, bij.SplineCoupling),
            {**KNOTS, "count_bins": 5, "bound": 2.0, "order": "quadratic", "tails": None},
        ),
    ],
    ids=["affine", "spline"],
)
def test_named_plans_pass_on_all_options_of_their_map(plan: Any, families: Any, options: dict[str, Any]) -> None:
    default = plan()
    assert all(getattr(default, name) != value for name, value in options.items())
    assert set(options) | {"params_fn"} == {f.name for f in dataclasses.fields(plan)}
    for family in families:
        assert family(**options)._elementwise() == plan(**options)


@pytest.mark.parametrize(
    "plan",
    [
        bij.Affine(),
        bij.Affine(scale_fn="exp"),
        bij.Shift(),
        bij.Scale(),
        bij.Spline(),
        bij.Spline(order="quadratic"),
        bij.AffineCoupling(),
        bij.SplineCoupling(),
        bij.AdditiveCoupling(),
        bij.AffineAutoregressive(),
        bij.SplineAutoregressive(),
    ],
    ids=lambda p: type(p).__name__,
)
def test_a_fresh_map_is_the_identity(plan: bij.Bijector) -> None:
    with torch.random.fork_rng(devices=[]):
        bound = plan.bind((3,)).double()
    x = 2.0 * draw(50, 3)
    y, log_det = bound.forward_and_log_det(x)
    torch.testing.assert_close(y, x, rtol=1e-6, atol=1e-6)  # the softplus of a shift rounded in float32
    torch.testing.assert_close(log_det, torch.zeros(50, dtype=torch.float64), rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", [bij.Autoregressive, bij.Coupling])
def test_a_family_is_as_exact_as_its_map(family: Any) -> None:
    assert family(bij.Affine()).exactness == "exact"
    assert family(bij.Bernstein()).exactness == "numerical"
    assert bij.BernsteinCoupling().exactness == bij.NeuralAutoregressive().exactness == "numerical"
