"""Learnable maps of few parameters: what is theirs beyond the conformance kit."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.bijectors import Elementwise, LeakyReLU, Sigmoid
from flowtorch.bijectors.tails import LearnableLeakyReLU, SignedPower, SinhArcsinh, TailTransform, TemperatureSigmoid
from flowtorch.errors import OptionError, OptionTypeError

NET = params.DenseNN((12, 10), nonlinearity=torch.nn.Tanh)
MADE = params.MADE((12, 10), nonlinearity=torch.nn.Tanh)
PLANS = [SinhArcsinh, TailTransform, SignedPower, LearnableLeakyReLU, TemperatureSigmoid]
every_plan = pytest.mark.parametrize("plan", PLANS, ids=lambda p: p.__name__)
EXTREMES = (-1e6, -1e3, -1e-8, 0.0, 1e-8, 1e3, 1e6)


def _untouched(plan: type[Elementwise]) -> Elementwise | None:
    return Sigmoid() if plan is TemperatureSigmoid else None


@pytest.mark.parametrize("plan", [SinhArcsinh, SignedPower, LearnableLeakyReLU], ids=lambda p: p.__name__)
def test_parameters_at_zero_give_the_identity(plan: type[Elementwise]) -> None:
    for dtype, tolerance in ((torch.float64, 1e-14), (torch.float32, 5e-6)):
        x = torch.tensor(EXTREMES, dtype=dtype)
        for got in (plan().bind(()).to(dtype)(x), plan().bind(()).to(dtype).inverse(x)):
            torch.testing.assert_close(got, x, rtol=tolerance, atol=0.0)
        log_det = plan().bind(()).to(dtype).forward_and_log_det(x)[1]
        torch.testing.assert_close(log_det, torch.zeros_like(x), rtol=0.0, atol=tolerance)


def test_temperature_at_zero_is_the_sigmoid() -> None:
    x = torch.tensor(EXTREMES)
    assert torch.equal(TemperatureSigmoid().bind(()).forward(x), Sigmoid().bind(()).forward(x))


def test_learnable_leaky_relu_learns_leaky_relu() -> None:
    bound = LearnableLeakyReLU(max_slope=1e6).bind(()).double()
    b = math.log(1e6)
    with torch.no_grad():
        for p in bound.parameters():
            p.fill_(b * math.atanh(math.log(0.1) / b))
    x = torch.tensor([-3.0, -1e-8, 2.0], dtype=torch.float64)
    expected = LeakyReLU(slope=0.1).bind(()).forward_and_log_det(x)
    torch.testing.assert_close(bound.forward_and_log_det(x), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("raw", [0.0, 1.0, -1.0, 50.0, -50.0])
@every_plan
def test_extremes_of_inputs_and_parameters(plan: type[Elementwise], raw: float, dtype: torch.dtype) -> None:
    bound = plan().bind(()).to(dtype)
    with torch.no_grad():
        for p in bound.parameters():
            p.fill_(raw)
    x = torch.tensor(EXTREMES, dtype=dtype, requires_grad=True)
    ends = (1e-8, 0.25, 0.5, 1.0 - 1e-6)
    y = torch.tensor(ends if plan is TemperatureSigmoid else EXTREMES, dtype=dtype, requires_grad=True)
    for call, given in ((bound.forward_and_log_det, x), (bound.inverse_and_log_det, y)):
        value, log_det = call(given)
        assert not value.isnan().any() and log_det.isfinite().all()
        if plan is not TailTransform:  # which goes beyond any dtype, as exp(x**2 / 2) does
            assert value.isfinite().all()
        if plan is not TemperatureSigmoid:
            assert torch.equal(value.sign(), given.sign()) or plan is SinhArcsinh
        for result in (value, log_det):
            gradients = torch.autograd.grad(result.sum(), [given, *bound.parameters()], retain_graph=True)
            assert all(g.isfinite().all() for g in gradients), (call, gradients)


@every_plan
def test_round_trip_in_float32(plan: type[Elementwise]) -> None:
    bound = plan().bind(())
    with torch.no_grad():
        for i, p in enumerate(bound.parameters()):
            p.fill_(0.4 - 0.6 * i)
    x = torch.linspace(-4.0, 4.0, 801)
    back = bound.inverse(bound.forward(x))
    # Steep where the sigmoid is flat: 1 - y has few digits.
    tolerance = 2e-4 if plan is TemperatureSigmoid else 1e-5
    torch.testing.assert_close(back, x, rtol=tolerance, atol=tolerance)


def test_tail_transform_of_a_normal_is_a_generalised_pareto_on_each_side() -> None:
    plan = TailTransform(index=0.5)
    flow = dist.Flow(dist.DiagNormal((1,)), plan)
    y = torch.tensor([[-1e6], [-100.0], [-0.5], [0.0], [2.0], [1e4]])
    expected = stats.genpareto(0.5).logpdf(y.abs().numpy()) - math.log(2.0)
    torch.testing.assert_close(flow.log_prob(y), torch.from_numpy(expected[:, 0]).float(), rtol=1e-5, atol=1e-5)


def test_tail_transform_fits_the_indices_of_heavy_tailed_data() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        side = (torch.rand(4000, 1) < 0.5).float() * 2 - 1
        u = torch.rand(4000, 1)
        index = torch.where(side > 0, 0.8, 0.2)
        data = side * (u**-index - 1) / index
        flow = dist.Flow(dist.DiagNormal((1,)), TailTransform(index=0.4))
        optimizer = torch.optim.Adam(flow.parameters(), lr=0.05)
        for _ in range(120):
            optimizer.zero_grad()
            loss = -flow.log_prob(data).mean()
            loss.backward()
            optimizer.step()
    b = math.log(20.0)
    left, right = (0.4 * math.exp(b * math.tanh(float(p.detach()) / b)) for p in flow.parameters())
    assert abs(left - 0.2) < 0.06 and abs(right - 0.8) < 0.1, (left, right)


def test_signed_power_has_slope_one_at_zero_in_both_directions() -> None:
    bound = SignedPower().bind(()).double()
    with torch.no_grad():
        for p in bound.parameters():
            p.fill_(1.0)
    zero = torch.zeros((), dtype=torch.float64)
    for f in (bound.forward, bound.inverse):
        assert torch.func.grad(f)(zero).item() == 1.0


def test_options_out_of_range_are_refused() -> None:
    for plan, name, bad in (
        (SinhArcsinh, "max_skewness", 0.0),
        (SinhArcsinh, "max_tailweight", 1.0),
        (TailTransform, "index", 0.0),
        (TailTransform, "max_factor", 1.0),
        (SignedPower, "max_exponent", 0.5),
        (LearnableLeakyReLU, "max_slope", 1.0),
        (TemperatureSigmoid, "max_temperature", -1.0),
    ):
        with pytest.raises(OptionError, match=f"{plan.__name__}: {name}"):
            plan(**{name: bad})
        with pytest.raises(OptionTypeError, match=f"{plan.__name__}: {name}"):
            plan(**{name: "2"})


@every_plan
def test_describe_and_explain(plan: type[Elementwise]) -> None:
    assert plan().describe().startswith("y = ")
    assert "parameters per coordinate" in plan().explain()
