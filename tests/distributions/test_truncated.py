"""``Truncated``: against scipy's truncated normal and quadrature; estimates that say when they are out of date."""

from __future__ import annotations

import copy
import io
import math
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import scipy.stats
import torch
from torch import distributions as td
from torch.distributions import Distribution, constraints
from torch.func import functional_call, grad, vmap

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch import domains
from flowtorch.distributions import DiagNormal, Flow, load
from flowtorch.distributions.mixture_of_flows import MixtureOfFlows
from flowtorch.distributions.resampled import ResampledBase
from flowtorch.distributions.truncated import Truncated
from tests.distributions.helpers import MADE, NET, close, draw, integral, make, normal, same_draws

INFINITY = math.inf


def flow(**options: object) -> Flow:
    return make(normal(2), bij.AffineAutoregressive(MADE), **options)  # type: ignore[arg-type]


def disc(x: torch.Tensor) -> torch.Tensor:
    return x.square().sum(-1) < 1.0


def grid() -> tuple[torch.Tensor, float]:
    u = torch.linspace(-6.0, 6.0, 601, dtype=torch.float64)
    return torch.cartesian_prod(u, u), float(u[1] - u[0]) ** 2


# Exact normalizers


@pytest.mark.parametrize(("low", "high"), [(-1.0, 0.5), (0.5, INFINITY), (-INFINITY, -1.0), (4.0, 5.0)])
def test_a_univariate_normal_is_scipys_truncnorm(low: float, high: float) -> None:
    found = Truncated(td.Normal(torch.tensor(0.3).double(), 1.5), low, high)
    oracle = scipy.stats.truncnorm((low - 0.3) / 1.5, (high - 0.3) / 1.5, 0.3, 1.5)
    x = torch.linspace(-4.0, 6.0, 41).double()
    close(found.log_prob(x), torch.from_numpy(oracle.logpdf(x.numpy())), 1e-8)
    drawn = found.sample((2000,))
    assert scipy.stats.kstest(drawn.numpy(), oracle.cdf).pvalue > 0.01
    assert bool(((drawn >= low) & (drawn <= high)).all())
    close(found.normalizer_error, torch.zeros(()).double())


def test_independent_coordinates_have_an_exact_normalizer() -> None:
    low, high = torch.tensor([-1.0, -INFINITY, 0.0]), torch.tensor([1.0, 0.5, INFINITY])
    base = DiagNormal(3, loc=torch.tensor([0.1, 0.2, 0.3]).double(), scale=2.0)
    found, x = Truncated(base, low, high), draw(50, 3)
    expected = torch.zeros(50).double()
    for i in range(3):
        a, b = ((float(end[i]) - 0.1 * (i + 1)) / 2 for end in (low, high))
        expected += torch.from_numpy(scipy.stats.truncnorm(a, b, 0.1 * (i + 1), 2.0).logpdf(x[:, i].numpy()))
    close(found.log_prob(x), expected, 1e-7)
    assert found.has_rsample and bool(torch.isfinite(found.log_prob(found.sample((100,)))).all())
    assert found.sample((4, 5)).shape == (4, 5, 3) and not found.stale


def test_a_univariate_flow_integrates_to_one_and_trains() -> None:
    inner = make(td.Normal(torch.zeros(()).double(), 1.0), bij.Spline(count_bins=4), seed=1)
    found = Truncated(inner, -0.7, 1.1)
    assert abs(integral(found.log_prob, -0.7, 1.1) - 1.0) < 1e-6
    found.log_prob(torch.linspace(-0.6, 1.0, 7).double()).sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in inner.parameters())
    # The gradient is that of the density with the normalizer that quadrature gives.
    parameter = next(inner.parameters())
    got = torch.autograd.grad(found.log_normalizer(), parameter)[0]
    x = torch.linspace(-0.7, 1.1, 20001).double()
    expected = torch.autograd.grad(torch.trapezoid(inner.log_prob(x).exp(), x).log(), parameter)[0]
    close(got, expected, 1e-5)


def test_draws_with_gradients_where_there_is_an_icdf() -> None:
    loc = torch.tensor(0.4).double()
    inner = Flow(td.Normal(torch.zeros(()).double(), 1.0), bij.Affine()).double()
    with torch.no_grad():
        for p in inner.parameters():
            p.add_(loc)
    found = Truncated(inner, -1.0, 2.0)
    assert found.has_rsample
    # d/dp E[x^2] by draws, and by quadrature.
    parameter = next(inner.parameters())
    got = torch.autograd.grad(found.rsample((200_000,)).square().mean(), parameter)[0]
    x = torch.linspace(-1.0, 2.0, 4001).double()
    second = torch.trapezoid(found.log_prob(x).exp() * x.square(), x)
    close(got, torch.autograd.grad(second, parameter)[0], 1e-2)


def test_exact_normalizers_of_contexts() -> None:
    inner = make(td.Normal(torch.zeros(()).double(), 1.0), bij.Affine(NET), context_shape=2)
    found, context = Truncated(inner, low=0.0), draw(4, 2)
    close(found.log_normalizer(context), (1 - inner.cdf(torch.zeros(4).double(), context)).log())
    assert found.sample((5,), context).shape == (5, 4) and bool((found.sample((5,), context) >= 0).all())
    view = found.condition(context)
    assert view.sample((5,)).shape == (5, 4) and view.has_rsample
    close(view.log_prob(draw(4).abs()), found.log_prob(draw(4).abs(), context))
    upper = make(found, bij.Affine(), seed=2, context_shape=2)
    y, log_prob = upper.rsample_and_log_prob((5,), context)
    close(upper.log_prob(y, context), log_prob)
    assert y.shape == (5, 4)
    fixed = Truncated(inner, low=0.0, context=context)
    close(fixed.log_prob(draw(4).abs()), view.log_prob(draw(4).abs()))
    assert fixed.batch_shape == (4,) and fixed.sample((5,)).shape == (5, 4)


def test_a_cdf_without_an_icdf_is_sampled_by_rejection() -> None:
    gamma = td.Gamma(torch.tensor(2.0).double(), torch.tensor(1.0).double())
    found = Truncated(gamma, 1.0, 3.0)
    oracle = scipy.stats.gamma(2.0)
    assert not found.has_rsample and not found.stale
    close(found.log_normalizer(), torch.tensor(math.log(oracle.cdf(3.0) - oracle.cdf(1.0)), dtype=torch.float64))
    x = found.sample((3000,)).numpy()
    share = oracle.cdf(3.0) - oracle.cdf(1.0)
    assert scipy.stats.kstest(x, lambda v: (oracle.cdf(v) - oracle.cdf(1.0)) / share).pvalue > 0.01
    with pytest.raises(NotImplementedError, match="Truncated.rsample: it can only be sampled without gradients"):
        found.rsample()


# Estimated normalizers


PARTS: dict[str, Callable[[Distribution], Truncated]] = {
    "box": lambda d: Truncated(
        d, low=torch.tensor([-0.5, -INFINITY]), high=torch.tensor([1.0, 0.8]), count_draws=200_000
    ),
    "disc": lambda d: Truncated(d, inside=disc, count_draws=50_000),
    "both": lambda d: Truncated(d, low=0.0, inside=disc, count_draws=50_000),
}


@pytest.mark.parametrize("part", PARTS)
def test_the_estimate_is_that_of_quadrature_within_its_error(part: str) -> None:
    found = PARTS[part](flow())
    x, cell = grid()
    with torch.no_grad():
        inside = found._contains(x)
        mass = (flow().log_prob(x).exp() * inside).sum() * cell
        total = found.log_prob(x).exp().sum() * cell
    error = found.normalizer_error
    assert 0 < float(error) < 0.03 and abs(float(found.log_normalizer() - mass.log())) < 4 * float(error) + 5e-3
    assert abs(float(total) - 1.0) < 4 * float(error) + 5e-3
    assert bool(found.log_prob(x[~inside]).isneginf().all())
    drawn = found.sample((500,))
    assert bool(found._contains(drawn).all()) and drawn.shape == (500, 2)


def test_draws_by_rejection_are_those_of_the_flow_that_lie_inside() -> None:
    found, x = PARTS["both"](flow()), flow().sample((40_000,))
    kept = x[disc(x) & (x >= 0).all(-1)]
    for statistic in (lambda v: v[:, 0], lambda v: v[:, 1], lambda v: v.prod(-1)):
        assert scipy.stats.ks_2samp(statistic(found.sample((4000,))).numpy(), statistic(kept).numpy()).pvalue > 0.01


def test_a_change_of_the_flow_is_not_passed_over() -> None:
    inner = flow()
    found, x = Truncated(inner, low=0.0), draw(5, 2)
    before = found.log_normalizer().clone()
    optimizer = torch.optim.SGD(inner.parameters(), lr=0.1)
    inner.log_prob(x).sum().backward()
    assert not found.stale
    optimizer.step()
    assert found.stale
    with pytest.raises(ValueError, match=r"the distribution as it is now is expected; got one from .*refresh\(\)"):
        found.log_prob(x)
    assert found.sample((3,)).shape == (3, 2)  # draws need no normalizer
    found.refresh(count_draws=1000)
    with pytest.raises(ValueError, match="count_draws is expected to be at least 1; got 0"):
        found.refresh(count_draws=0)
    assert found.count_draws == 1000  # what was refused leaves nothing behind
    assert not found.stale and float(found.log_normalizer()) != float(before)
    inner.load_state_dict(flow(seed=4).state_dict())
    assert found.stale  # loading counts as a change of the flow


def test_whole_copies_states_and_moves_keep_the_estimate() -> None:
    found, x = PARTS["disc"](flow()), draw(5, 2)
    other = Truncated(make(normal(2), bij.AffineAutoregressive(MADE), seed=7), inside=disc)
    other.load_state_dict(found.state_dict())
    buffer = io.BytesIO()
    torch.save(found, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    for same in (other, copy.deepcopy(found), pickle.loads(pickle.dumps(found)), loaded):
        close(same.log_prob(x), found.log_prob(x))
        same_draws(same, found)
    outer = Flow(copy.deepcopy(found), bij.AffineCoupling(NET)).float()
    assert outer.log_prob(x.float()).dtype == outer.sample((2,)).dtype == torch.float32
    close(found.float().log_prob(x.float()).double(), other.log_prob(x), 1e-4)


def test_moves_and_copies_do_not_hide_that_it_is_stale() -> None:
    inner = flow()
    found = Truncated(inner, low=0.0)
    with torch.no_grad():
        next(inner.parameters()).add_(0.1)
    for same in (found, copy.deepcopy(found), pickle.loads(pickle.dumps(found)), copy.deepcopy(found).float()):
        assert same.stale
    fresh = copy.deepcopy(found)
    fresh.refresh()
    assert not fresh.stale and found.stale


def test_a_flow_at_a_context() -> None:
    inner, context = flow(context_shape=3), draw(4, 3)
    found = Truncated(inner, low=-0.5, high=1.0, context=context, count_draws=20_000)
    assert found.batch_shape == (4,) and found.context_shape is None and found.log_normalizer().shape == (4,)
    x, cell = grid()
    with torch.no_grad():
        inside = ((x >= -0.5) & (x <= 1.0)).all(-1)
        mass = (inner.log_prob(x[inside][:, None], context).exp()).sum(0) * cell
    assert bool(((found.log_normalizer() - mass.log()).abs() < 4 * found.normalizer_error + 2e-2).all())
    drawn = found.sample((5, 6))
    assert drawn.shape == (5, 6, 4, 2) and bool(((drawn >= -0.5) & (drawn <= 1.0)).all())
    y = drawn[0, 0]
    close(found.log_prob(y), inner.log_prob(y, context) - found.log_normalizer())
    assert found.expand((3, 4)).sample((2,)).shape == (2, 3, 4, 2)


def test_each_draw_has_the_context_of_its_own_row() -> None:
    base = Flow(
        DiagNormal(1, scale=torch.tensor(0.1).double()), bij.Shift(params.DenseNN(())), context_shape=1
    ).double()
    with torch.no_grad():
        for p in base.parameters():
            p.fill_(1.0)  # a shift by the context plus one
    context = torch.linspace(-3.0, 3.0, 6).double().reshape(2, 3, 1)
    found = Truncated(base, inside=lambda x: torch.ones(x.shape[:-1], dtype=torch.bool), context=context)
    close(found.sample((2000,)).mean(0), context + 1, 2e-2)


def test_a_flow_whose_context_is_not_fixed() -> None:
    inner, context = flow(context_shape=3), draw(4, 3)
    found = Truncated(inner, low=0.0)
    drawn = found.sample((5,), context)
    assert drawn.shape == (5, 4, 2) and bool((drawn >= 0).all())
    for call in (lambda: found.log_prob(drawn, context), found.refresh, lambda: found.normalizer_error):
        with pytest.raises(NotImplementedError, match=r"a fixed context is expected.*Use condition\(context\)"):
            call()
    at = found.condition(context)
    assert isinstance(at, Truncated) and at.dist is inner
    close(at.log_prob(drawn), inner.log_prob(drawn, context) - at.log_normalizer())


def test_contexts_that_are_scalars() -> None:
    inner, context = flow(context_shape=()), draw(4)
    free = Truncated(inner, low=0.0)
    assert free.sample((5,), context).shape == (5, 4, 2) and "log_mass" not in free.state_dict()
    at = free.condition(context)
    close(at.log_prob(draw(2).abs()), inner.log_prob(draw(2).abs(), context) - at.log_normalizer())  # type: ignore[attr-defined]


def test_components_with_a_batch() -> None:
    batched = make(td.Independent(td.Normal(draw(4, 3), 1.0), 1), bij.AffineCoupling(NET))
    found = Truncated(batched, low=-0.5)
    assert found.log_normalizer().shape == (4,) and found.sample((5,)).shape == (5, 4, 3)
    mean, direct = found.sample((3000,)).mean(0), batched.sample((30_000,))
    for b in range(4):
        kept = direct[:, b][(direct[:, b] >= -0.5).all(-1)]
        assert bool(((mean[b] - kept.mean(0)).abs() < 0.15).all())


# What is common


def test_supports() -> None:
    low = torch.tensor([-0.5, 0.0])
    box = Truncated(flow(), low=low, high=INFINITY)
    assert domains.describe(box.support) == "(-0.5, inf) x (0, inf)"
    positive = Flow(DiagNormal(2), bij.Exp())
    assert domains.describe(Truncated(positive, low=-1.0, high=3.0).support) == "(0, 3)"
    part = Truncated(flow(), low=0.0, inside=disc)
    points = torch.tensor([[0.5, 0.5], [0.9, 0.9], [-0.1, 0.1]]).double()
    assert part.support.check(points).tolist() == [True, False, False]
    assert domains.includes(constraints.positive, part.support)
    assert Flow(part, bij.Power(2.0)).sample((3,)).shape == (3, 2)
    with pytest.raises(ValueError, match=r"base \(Truncated\) gives; its domain is \(0, inf\)"):
        Flow(box, bij.Power(2.0))


def test_outside_and_nan() -> None:
    for found in (Truncated(flow(), low=-1.0, high=1.0), Truncated(normal(2), low=-1.0, high=1.0)):
        x = torch.tensor([[0.5, 0.5], [0.5, 1.5], [-INFINITY, 0.0], [math.nan, 0.0]]).double().requires_grad_()
        log_prob = found.log_prob(x)
        assert log_prob[0].isfinite() and log_prob[1] == log_prob[2] == -INFINITY and log_prob[3].isnan()
        gradients = torch.autograd.grad(log_prob[:3].clamp(min=-9.0).sum(), [x, *found.parameters()], retain_graph=True)
        assert bool(gradients[0][:3].isfinite().all())
        log_prob = found.log_prob(x[:3])
        gradients = torch.autograd.grad(log_prob.clamp(min=-9.0).sum(), [x, *found.parameters()])
        assert all(bool(g.isfinite().all()) for g in gradients)
    strict = Truncated(flow(), low=-1.0, high=1.0, validate_args=True)
    with pytest.raises(ValueError, match="Truncated.log_prob: values of positive density.* got 1 of 2 of none"):
        strict.log_prob(x.detach()[:2])


def test_a_truncated_mixture_as_the_base_of_a_flow() -> None:
    inner = MixtureOfFlows([flow(), make(normal(2), bij.AffineFixed(loc=2.0))])
    base = Truncated(inner, low=-1.0)
    outer = make(base, bij.AffineCoupling(NET), seed=3)
    base.refresh()
    y = outer.sample((5,))
    x, log_det = outer.bijector.inverse_and_log_det(y)
    close(outer.log_prob(y), inner.log_prob(x) - base.log_normalizer() + log_det)
    assert Truncated(inner, low=-1.0, count_draws=10).count_draws == 10


def test_a_univariate_mixture_is_exact() -> None:
    parts = [make(td.Normal(m.double(), 1.0), bij.Affine(), seed=i) for i, m in enumerate(torch.tensor([-2.0, 2.0]))]
    found = Truncated(MixtureOfFlows(parts), -1.5, 2.5)
    assert abs(integral(found.log_prob, -1.5, 2.5) - 1.0) < 1e-7 and not found.has_rsample
    assert bool((found.sample((50,)).abs() <= 2.5).all())


@pytest.mark.parametrize("kind", ["estimated", "exact"])
def test_compiled_densities(kind: str) -> None:
    found = Truncated(flow() if kind == "estimated" else normal(2), low=-0.5)
    compiled = torch.compile(found, fullgraph=True, backend="eager")
    close(compiled(draw(6, 2)), found.log_prob(draw(6, 2)))


@pytest.mark.parametrize("kind", ["estimated", "exact"])
def test_per_sample_gradients_of_parameters(kind: str) -> None:
    univariate = make(td.Normal(torch.zeros(()).double(), 1.0), bij.Affine())
    found, x = (
        (Truncated(flow(), low=0.0), draw(5, 2).abs())
        if kind == "estimated"
        else (Truncated(univariate, low=0.0), draw(5).abs())
    )
    parameters = dict(found.named_parameters())
    each = vmap(grad(lambda p, v: functional_call(found, p, (v,))), in_dims=(None, 0))(parameters, x)
    found.log_prob(x).sum().backward()
    for name, p in parameters.items():
        close(each[name].sum(0), p.grad)  # type: ignore[arg-type]


BASES: dict[str, Callable[[], torch.nn.Module]] = {
    "resampled": lambda: ResampledBase(2, NET).double(),
    "mixture": lambda: MixtureOfFlows([flow(), flow()]),
    "estimated": lambda: Truncated(flow(), low=0.0),
    "exact": lambda: Truncated(normal(2), low=0.0),
}


@pytest.mark.parametrize("kind", BASES)
def test_saved_flows_are_loaded_with_a_like_base(kind: str, tmp_path: Path) -> None:
    plan = bij.Power(2.0) if kind in ("estimated", "exact") else bij.AffineCoupling(NET)
    saved = make(BASES[kind](), plan, seed=5).eval()
    if isinstance(saved.base, Truncated):
        saved.base.refresh()
    saved.save(tmp_path / "my.flow")
    found, y = load(tmp_path / "my.flow", base=BASES[kind]()), draw(5, 2).abs()
    close(found.log_prob(y), saved.log_prob(y))
    same_draws(found, saved)


def test_giving_up_states_the_rate() -> None:
    found = Truncated(flow(), low=0.0, max_rounds=1)
    words = r"Truncated.sample: 200 draws inside are expected within 1 rounds; got \d+, at an acceptance rate of 0\.\d+"
    with pytest.raises(ValueError, match=words):
        found.sample((200,))
    assert found.sample((0,)).shape == (0, 2)
