"""Targets: densities that integrate to one, samples that follow them, and closed forms from elsewhere."""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from torch import distributions as td

import flowtorch.bijectors as bij
from flowtorch.distributions import Flow, targets
from flowtorch.distributions.targets.base import Target
from tests.distributions.helpers import close, draw

Make = Callable[..., Target]
# Each with its arguments away from the defaults, of which none equals another; a box that holds its mass; cells a side.
TARGETS: dict[str, tuple[Make, dict[str, float], tuple[float, float, float, float], int]] = {
    "funnel": (targets.NealsFunnel, {"scale": 0.4}, (-3.2, 3.2, -30.0, 30.0), 20),
    "moons": (targets.TwoMoons, {"noise": 0.2}, (-3.0, 4.0, -2.5, 3.0), 14),
    "circles": (targets.TwoCircles, {"factor": 0.3, "noise": 0.2}, (-3.0, 3.0, -3.0, 3.0), 15),
    "eight": (targets.EightGaussians, {"radius": 2.0, "noise": 0.4}, (-5.5, 5.5, -5.5, 5.5), 15),
    "board": (targets.Checkerboard, {"bound": 3.0}, (-3.0, 3.0, -3.0, 3.0), 8),
    "pinwheel": (
        targets.Pinwheel,
        {"radius": 1.5, "radial": 0.4, "tangential": 0.25, "rate": 0.3},
        (-5.0, 5.0, -5.0, 5.0),
        15,
    ),
    "spirals": (targets.Spirals, {"noise": 0.3}, (-5.5, 5.5, -5.5, 5.5), 15),
    "banana": (targets.Banana, {"scale": 1.2, "curvature": 0.4, "noise": 0.5}, (-9.0, 9.0, -5.0, 35.0), 20),
    "mixture": (targets.DiagNormalMixture, {}, (-10.0, 10.0, -11.0, 11.0), 20),
}
names = pytest.mark.parametrize("name", TARGETS)


def double(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def make(name: str, dtype: torch.dtype = torch.float64) -> Target:
    """The target in the data type, which it takes from its arguments."""
    cls, arguments, _, _ = TARGETS[name]
    if name == "mixture":
        mixture = targets.DiagNormalMixture()
        return targets.DiagNormalMixture(*(v.to(dtype) for v in (mixture.locs, mixture.scales, mixture.weights)))
    return cls(**{k: torch.tensor(v, dtype=dtype) for k, v in arguments.items()})


def midpoints(name: str, cells: int, each: int) -> tuple[torch.Tensor, float]:
    """The middles of ``each`` by ``each`` parts of all cells, (cells, each, cells, each, 2), and the parts' area."""
    a, b, c, d = TARGETS[name][2]
    at = (torch.arange(cells * each, dtype=torch.float64) + 0.5) / (cells * each)
    grid = torch.stack(torch.meshgrid(a + (b - a) * at, c + (d - c) * at, indexing="ij"), -1)
    return grid.view(cells, each, cells, each, 2), (b - a) * (d - c) / (cells * each) ** 2


@names
def test_it_integrates_to_one(name: str) -> None:
    # The board's edges lie between cells; the rule of midpoints is exact there, and spectral for the others.
    x, area = midpoints(name, 8, 60 if name == "funnel" else 20)
    assert abs(float(make(name).log_prob(x).exp().sum()) * area - 1.0) < 1e-6


@names
def test_samples_follow_the_density(name: str) -> None:
    _, _, (a, b, c, d), cells = TARGETS[name]
    count, target = 50_000, make(name)
    x, area = midpoints(name, cells, 10)
    expected = count * area * target.log_prob(x).exp().sum((1, 3)).numpy()
    torch.manual_seed(1)
    rows = target.sample((count,)).numpy()
    found = np.histogram2d(rows[:, 0], rows[:, 1], cells, [[a, b], [c, d]])[0]
    assert found[expected < 1e-12].sum() == 0
    much = expected > 10
    few = [np.append(v[much], count - v[much].sum()) for v in (found, expected)]
    assert much.sum() > 10 and scipy.stats.chisquare(few[0], few[1] * count / few[1].sum()).pvalue > 1e-3


@names
def test_the_entropy_is_the_mean_of_minus_log_p(name: str) -> None:
    target = make(name)
    log_p = target.log_prob(target.sample((20_000,)))
    assert abs(float(target.entropy() + log_p.mean())) < 4 * float(log_p.std()) / math.sqrt(20_000) + 1e-9


def test_entropies_in_closed_form() -> None:
    normal = 0.5 * math.log(2 * math.pi * math.e)
    close(targets.NealsFunnel(5, double(2.0)).entropy(), double(5 * normal + math.log(2.0)))
    close(targets.Checkerboard(double(3.0), count=3).entropy(), double(math.log(20.0)))
    # By quadrature, where there is a closed form: one circle that is a point, and normals that are far apart.
    apart = targets.DiagNormalMixture(torch.tensor([[-9.0, 0.0], [9.0, 0.0]]).double(), 0.5)
    close(apart.entropy(), double(2 * normal + 2 * math.log(0.5) + math.log(2.0)), 1e-8)
    s = 0.3
    circles = targets.TwoCircles(double(1.0), double(s))
    rice = scipy.stats.rice(1.0 / s, scale=s)
    radial = scipy.integrate.quad(
        lambda r: -rice.pdf(r) * (rice.logpdf(r) - math.log(2 * math.pi * r)), 1e-12, 4.0, epsabs=1e-11, limit=200
    )[0]
    close(circles.entropy(), double(radial), 1e-8)
    # A twist keeps areas: without it, the entropy is the same.
    twisted, plain = (targets.Pinwheel(rate=double(rate)).entropy() for rate in (0.25, 0.0))
    close(twisted, plain, 1e-8)


def test_the_funnel_is_that_of_scipy() -> None:
    x = draw(50, 4)
    scale = x[:, :1].div(2).exp().numpy()
    expected = scipy.stats.norm(0, 2.0).logpdf(x[:, 0].numpy())
    expected += scipy.stats.norm(0, scale).logpdf(x[:, 1:].numpy()).sum(-1)
    close(targets.NealsFunnel(4, double(2.0)).log_prob(x), torch.from_numpy(expected))


def test_the_banana_is_that_of_scipy() -> None:
    x = draw(50, 2)
    first, second = x.unbind(-1)
    expected = scipy.stats.norm(0, 1.2).logpdf(first.numpy())
    expected += scipy.stats.norm(0.4 * (first.numpy() ** 2 - 1.44), 0.5).logpdf(second.numpy())
    close(make("banana").log_prob(x), torch.from_numpy(expected))


def test_the_mixture_is_that_of_scipy_and_torch() -> None:
    mixture = targets.DiagNormalMixture.random(3, 4, seed=1)
    locs, scales, weights = (v.double() for v in (mixture.locs, mixture.scales, mixture.weights))
    x = 2 * draw(50, 4)
    parts = [
        w * scipy.stats.multivariate_normal(m.numpy(), np.diag(s.numpy() ** 2)).pdf(x.numpy())
        for m, s, w in zip(locs, scales, weights.tolist(), strict=True)
    ]
    found = targets.DiagNormalMixture(locs, scales, weights).log_prob(x)
    close(found, torch.from_numpy(np.log(sum(parts))), 1e-6)  # the weights were normalised in float32
    components = td.Independent(td.Normal(locs, scales), 1)
    close(found, td.MixtureSameFamily(td.Categorical(weights / weights.sum()), components).log_prob(x))


def test_the_eight_normals_are_a_mixture() -> None:
    angle = torch.arange(8).double() * math.pi / 4
    locs = 2.0 * torch.stack([angle.cos(), angle.sin()], -1)
    x = 2 * draw(50, 2)
    close(make("eight").log_prob(x), targets.DiagNormalMixture(locs, double(0.4)).log_prob(x))


def test_a_circle_has_a_rice_distribution() -> None:
    x = draw(50, 2)
    r = x.norm(dim=-1).numpy()
    rings = [scipy.stats.rice(b / 0.2, scale=0.2).pdf(r) / (2 * math.pi * r) for b in (1.0, 0.3)]
    close(make("circles").log_prob(x), torch.from_numpy(np.log(sum(rings) / 2)), 1e-8)


def moons(u: float) -> list[tuple[float, float]]:
    a, b = math.cos(math.pi * u), math.sin(math.pi * u)
    return [(a, b), (1 - a, 0.5 - b)]


def spirals(u: float) -> list[tuple[float, float]]:
    a = 3 * math.pi * math.sqrt(u)
    x, y = -a * math.cos(a) / 3, a * math.sin(a) / 3
    return [(x, y), (-x, -y)]


@pytest.mark.parametrize("noise", [0.05, 0.3, 1.5])
@pytest.mark.parametrize(("cls", "curve"), [(targets.TwoMoons, moons), (targets.Spirals, spirals)])
def test_noise_about_a_curve_is_an_integral_along_it(
    cls: type[targets.TwoMoons] | type[targets.Spirals],
    curve: Callable[[float], list[tuple[float, float]]],
    noise: float,
) -> None:
    target = cls(double(noise))
    near = target.sample((4,))
    x = torch.cat([near, near + 7 * noise, torch.tensor([[0.0, 0.0], curve(1.0)[0], curve(0.0)[1]])])
    pieces = np.linspace(0.0, 1.0, 400)

    def integrate(row: list[float], top: float) -> float:
        def density(s: float) -> float:  # by s = sqrt(u), in which the spirals are smooth
            terms = [-((row[0] - a) ** 2 + (row[1] - b) ** 2) / (2 * noise**2) - top for a, b in curve(s * s)]
            return s * sum(math.exp(t) for t in terms)  # du / 2

        parts = [scipy.integrate.fixed_quad(np.vectorize(density), a, b, n=8)[0] for a, b in itertools.pairwise(pieces)]
        return float(sum(parts))

    for row in x:
        found = float(target.log_prob(row))
        top = found + math.log(2 * math.pi * noise**2)
        assert abs(math.log(integrate(row.tolist(), top))) < 1e-8


@names
def test_data_type_and_shapes(name: str) -> None:
    for dtype, tolerance in ((torch.float32, 1e-3), (torch.float64, 0.0)):
        target = make(name, dtype)
        x = target.sample((3, 4))
        assert x.shape == (3, 4, 2) and x.dtype == dtype and target.batch_shape == () and target.event_shape == (2,)
        log_p = target.log_prob(x)
        assert log_p.shape == (3, 4) and log_p.dtype == dtype == target.entropy().dtype
        close(log_p.double(), make(name).log_prob(x.double()), tolerance)
        assert target.support.check(x).all()
        assert not x.requires_grad and target.sample().shape == (2,)
    half = make(name, torch.float16)
    assert half.log_prob(half.sample((3,))).dtype == half.sample().dtype == torch.float16


@names
def test_defaults_are_of_the_default_type(name: str) -> None:
    target = TARGETS[name][0]()
    assert target.sample().dtype == torch.get_default_dtype() and target.batch_shape == ()
    assert target.log_prob(torch.zeros(2).double()).dtype == torch.float64


@names
def test_expand(name: str) -> None:
    target = make(name)
    many = target.expand((3, 1))
    assert many.batch_shape == (3, 1) and type(many) is type(target)
    x = many.sample((4,))
    assert x.shape == (4, 3, 1, 2) and x.std(1).min() > 0  # each draws its own
    close(many.log_prob(x), target.log_prob(x))
    close(many.log_prob(x[0, 0, 0]), target.log_prob(x[0, 0, 0]).expand(3, 1))
    close(many.entropy(), target.entropy().expand(3, 1), 1e-8)


@names
def test_a_batch_holds_one_for_each_argument(name: str) -> None:
    cls, arguments, _, _ = TARGETS[name]
    if name == "mixture":
        one, two = make(name), make(name)
        two.locs = two.locs + 0.5  # type: ignore[attr-defined]
        stacked = [torch.stack([getattr(t, k) for t in (one, two)]) for k in ("locs", "scales", "weights")]
        both: Target = targets.DiagNormalMixture(*stacked)
    else:
        first = next(iter(arguments))
        one, two = make(name), cls(**{**arguments, first: double(1.3 * arguments[first])})
        both = cls(**{**arguments, first: double(arguments[first]) * torch.tensor([1.0, 1.3], dtype=torch.float64)})
    assert both.batch_shape == (2,)
    x = both.sample((5,))
    close(both.log_prob(x), torch.stack([t.log_prob(x[:, i]) for i, t in enumerate((one, two))], -1), 1e-7)
    close(both.entropy(), torch.stack([one.entropy(), two.entropy()]), 1e-7)


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "mixture"])
def test_samples_are_differentiable_by_the_arguments(name: str) -> None:
    cls, arguments, _, _ = TARGETS[name]

    def sampled(step: float = 0.0, **free: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return cls(**{k: double(v + step) for k, v in arguments.items()} | free).rsample((100,))

    free = {k: double(v).requires_grad_() for k, v in arguments.items()}
    found = sum(torch.autograd.grad(sampled(**free).sin().sum(), list(free.values())))
    assert isinstance(found, torch.Tensor)
    expected = (sampled(1e-6).sin().sum() - sampled(-1e-6).sin().sum()) / 2e-6
    close(found, expected, 1e-5)


def test_which_component_is_drawn_is_not_differentiable() -> None:
    mixture = make("mixture")
    assert not mixture.has_rsample
    with pytest.raises(NotImplementedError):
        mixture.rsample()


@names
def test_far_away_and_at_the_origin_derivatives_are_finite(name: str) -> None:
    target = make(name, torch.float32)
    x = torch.tensor([[0.0, 0.0], [-200.0, 0.0], [1e4, -1e4], [0.0, 1e3]], requires_grad=True)
    log_p = target.log_prob(x)
    assert not log_p.isnan().any()
    if name != "board":  # which is flat
        assert torch.autograd.grad(log_p.clamp(min=-1e6).sum(), x)[0].isfinite().all()
    assert target.log_prob(torch.tensor([math.nan, 0.0])).isnan()


@names
def test_scores_under_transforms_and_compilers(name: str) -> None:
    target = make(name)
    x = target.sample((6,))
    if name != "board":  # which is flat
        free = x.clone().requires_grad_()
        expected = torch.autograd.grad(target.log_prob(free).sum(), free)[0]
        close(torch.func.vmap(torch.func.grad(target.log_prob))(x), expected)
    torch._dynamo.reset()  # its cache is of the method, for all targets
    compiled = torch.compile(target.log_prob, fullgraph=True, backend="eager")
    close(compiled(x), target.log_prob(x))


@names
def test_a_flow_carries_it(name: str) -> None:
    target = make(name, torch.float32)
    flow = Flow(target, bij.Affine()).double()  # warnings are errors: its type is registered
    x = target.sample((5,)).double()
    close(flow.log_prob(x), make(name).log_prob(x), 1e-5)
    assert flow.sample((3,)).dtype == torch.float64
    again = pickle.loads(pickle.dumps(flow))
    close(again.log_prob(x), flow.log_prob(x))


def test_arguments_are_checked() -> None:
    for call in (
        lambda: targets.NealsFunnel(scale=-1.0, validate_args=True),
        lambda: targets.TwoMoons(0.0, validate_args=True),
        lambda: targets.Checkerboard(torch.tensor([1.0, 0.0]), validate_args=True),
        lambda: targets.DiagNormalMixture([[0.0]], -1.0, validate_args=True),
        lambda: targets.DiagNormalMixture([[0.0], [1.0]], 1.0, [2.0, -1.0], validate_args=True),
    ):
        with pytest.raises(ValueError, match="to satisfy the constraint"):
            call()


def test_outside_of_the_squares_there_is_nothing() -> None:
    x = torch.tensor([[-3.0, -3.0], [-1.0, -3.0], [5.0, -3.0], [-5.0, -3.0]])
    expected = [-math.log(32.0), -math.inf, -math.inf, -math.inf]
    assert targets.Checkerboard().log_prob(x).tolist() == pytest.approx(expected)
    assert targets.Checkerboard().support.check(x).tolist() == [True, False, False, False]
    with pytest.raises(ValueError, match="within the support"):
        targets.Checkerboard(validate_args=True).log_prob(x)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_boards_of_any_number_of_squares(count: int) -> None:
    target = targets.Checkerboard(double(1.0), count=count)
    x = target.sample((2_000,))
    assert target.support.check(x).all()
    squares = {(int(a), int(b)) for a, b in ((x + 1) * count / 2).floor().tolist()}
    assert squares == {(i, j) for i in range(count) for j in range(count) if (i + j) % 2 == 0}


def test_random_mixtures() -> None:
    first, again, other = (targets.DiagNormalMixture.random(4, 3, seed=s) for s in (1, 1, 2))
    assert first.locs.shape == first.scales.shape == (4, 3) and first.weights.shape == (4,)
    assert torch.equal(first.locs, again.locs) and not torch.equal(first.locs, other.locs)
    with pytest.raises(NotImplementedError):
        first.entropy()


def test_parts_of_no_weight_change_nothing() -> None:
    x = draw(5, 2)
    mixture = targets.DiagNormalMixture([[0.0, 1.0], [3.0, 2.0]], 0.5, [1.0, 0.0])
    close(mixture.log_prob(x), targets.DiagNormalMixture([[0.0, 1.0]], 0.5).log_prob(x))
    assert mixture.sample((1_000,)).mean(0).sub(torch.tensor([0.0, 1.0])).abs().max() < 0.1


def test_a_funnel_of_more_coordinates() -> None:
    target = targets.NealsFunnel(10)
    assert target.dim == 10 and target.sample((3,)).shape == (3, 10)
