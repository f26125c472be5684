"""Faults of earlier libraries that must not come back: one test each, named after the library and the fault."""

from __future__ import annotations

import copy
import io
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.distributions import Distribution, Independent, Normal

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.testing import autodiff_log_det, perturb

MADE = params.MADE((8,), nonlinearity=torch.nn.Tanh)
NET = params.DenseNN((8,), nonlinearity=torch.nn.Tanh)


def bind(plan: bij.Bijector, shape: tuple[int, ...], context: tuple[int, ...] | None = None) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bound = plan.bind(shape, context).double()
    perturb(bound, torch.Generator().manual_seed(0))
    return bound


def normal(*shape: int) -> Distribution:
    zeros = torch.zeros(shape, dtype=torch.float64)
    return Independent(Normal(zeros, zeros + 1), len(shape))


def make_flow(plan: bij.Bijector, *shape: int, **options: Any) -> dist.Flow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = dist.Flow(normal(*shape), plan, **options)
    perturb(flow, torch.Generator().manual_seed(0))
    return flow


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- FlowTorch 0.8


def test_flowtorch_invert_returned_the_log_det_with_the_wrong_sign() -> None:
    bound, y = bind(bij.Invert(bij.Exp()), (3,)), draw(4, 3).exp()
    torch.testing.assert_close(bound.forward_and_log_det(y)[1], -y.log().sum(-1))
    torch.testing.assert_close(bound.inverse_and_log_det(y.log())[1], y.log().sum(-1))
    bound = bind(bij.Invert(bij.AffineAutoregressive(MADE)), (3,))
    torch.testing.assert_close(bound.forward_and_log_det(y)[1], autodiff_log_det(bound.forward, y, bound.shape))


def test_flowtorch_invert_summed_the_log_det_over_the_batch() -> None:
    bound, y = bind(bij.Invert(bij.AffineAutoregressive(MADE)), (3,)), draw(4, 2, 3)
    x, log_det = bound.inverse_and_log_det(y)
    assert log_det.shape == bound.log_abs_det_jacobian(x, y).shape == (4, 2)
    torch.testing.assert_close(log_det[1, 0], bound.inverse_and_log_det(y[1, 0])[1])


def test_flowtorch_elementwise_before_vector_in_compose_summed_over_the_batch() -> None:
    flow = make_flow(bij.Compose([bij.Affine(), bij.AffineAutoregressive(MADE), bij.Exp()]), 3)
    y = draw(5, 3).exp()
    assert flow.log_prob(y).shape == (5,)
    x, log_det = flow.bijector.inverse_and_log_det(y)
    torch.testing.assert_close(log_det, autodiff_log_det(flow.bijector.inverse, y, torch.Size((3,))))
    torch.testing.assert_close(flow.log_prob(y), normal(3).log_prob(x) + log_det)


def test_flowtorch_compose_of_an_invert_crashed() -> None:
    bound, x = bind(bij.Compose([bij.Invert(bij.AffineAutoregressive(MADE))]), (3,)), draw(4, 3)
    torch.testing.assert_close(bound.inverse(bound.forward(x)), x)


@pytest.mark.parametrize(
    "plan",
    [
        bij.Exp(),
        bij.AffineFixed(1.0, 2.0),
        bij.Permute(),
        bij.Affine(),
        bij.Spline(),
        bij.AffineCoupling(NET),
        bij.AffineAutoregressive(MADE),
        bij.Compose([bij.Affine(), bij.Exp()]),
        bij.Invert(bij.Tanh()),
    ],
    ids=lambda plan: type(plan).__name__,
)
def test_flowtorch_every_bijector_refused_a_context(plan: bij.Bijector) -> None:
    bound, context = bind(plan, (3,), (2,)), draw(4, 2)
    x = 0.3 * draw(4, 3)
    torch.testing.assert_close(bound.inverse(bound.forward(x, context), context), x)


def test_flowtorch_invert_of_a_compose_ignored_the_context() -> None:
    bound = bind(bij.Invert(bij.Compose([bij.Affine(NET), bij.AffineAutoregressive(MADE)])), (3,), (2,))
    x, context = draw(4, 3), draw(4, 2)
    y, log_det = bound.forward_and_log_det(x, context)
    other, other_log_det = bound.forward_and_log_det(x, context + 1)
    assert not torch.isclose(y, other).any() and not torch.isclose(log_det, other_log_det).any()
    torch.testing.assert_close(bound.inverse(y, context), x)


@pytest.mark.parametrize(
    "plan",
    [bij.Affine(), bij.Spline(), bij.AffineAutoregressive(MADE), bij.SplineCoupling(NET), bij.Permute()],
    ids=repr,
)
def test_flowtorch_event_shape_2_3_crashed(plan: bij.Bijector) -> None:
    """It took the sum of the sizes for the number of coordinates, 5 for 6; for (2, 2) the two agree."""
    flow = make_flow(plan, 2, 3)
    y = flow.sample((7,))
    assert y.shape == (7, 2, 3) and flow.log_prob(y).shape == (7,)
    torch.testing.assert_close(flow.bijector.forward(flow.bijector.inverse(y)), y)


def test_flowtorch_permute_was_not_in_the_state_dict() -> None:
    plan = bij.Compose([bij.Permute(), bij.AffineAutoregressive(MADE), bij.Permute()])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flows = [dist.Flow(normal(6), plan) for _ in range(2)]
    perturb(flows[0], torch.Generator().manual_seed(0))
    y = draw(4, 6)
    flows[1].load_state_dict(flows[0].state_dict())
    torch.testing.assert_close(flows[1].log_prob(y), flows[0].log_prob(y), rtol=0, atol=0)
    torch.testing.assert_close(flows[1].bijector.forward(y), flows[0].bijector.forward(y), rtol=0, atol=0)


def test_flowtorch_the_base_stayed_behind_on_double_and_to() -> None:
    base = Independent(Normal(torch.full((2,), 0.1), torch.ones(2)), 1)
    flow = dist.Flow(base, bij.AffineAutoregressive(MADE))
    assert any("loc" in key for key in flow.state_dict())
    for convert, dtype in ((flow.double, torch.float64), (flow.float, torch.float32)):
        convert()
        assert flow.sample((3,)).dtype == flow.log_prob(torch.zeros(2, dtype=dtype)).dtype == dtype
        assert all(t.dtype == dtype for t in flow.state_dict().values() if t.is_floating_point())
    flow.to("meta")
    assert all(t.is_meta for t in flow.state_dict().values())


def test_flowtorch_expand_and_support_raised_and_has_rsample_was_false() -> None:
    flow = make_flow(bij.Compose([bij.AffineAutoregressive(MADE), bij.Exp()]), 2)
    expanded = flow.expand((5,))
    assert (expanded.batch_shape, expanded.event_shape, expanded.sample((3,)).shape) == ((5,), (2,), (3, 5, 2))
    assert flow.support.check(torch.tensor([[1.0, 2.0], [1.0, -2.0]])).tolist() == [True, False]
    assert flow.has_rsample and expanded.has_rsample
    flow.rsample((3,)).sum().backward()
    assert all(p.grad is not None for p in flow.parameters())


def test_flowtorch_skip_connections_crashed() -> None:
    made = params.MADE((8,), nonlinearity=torch.nn.Tanh, skip_connections=True)
    for context in (None, (2,)):
        bound = bind(bij.AffineAutoregressive(made), (3,), context)
        x, given = draw(4, 3), None if context is None else draw(4, 2)
        torch.testing.assert_close(bound.inverse(bound.forward(x, given), given), x)


def test_flowtorch_an_unknown_scale_fn_was_accepted() -> None:
    for plan in (bij.Affine, bij.Scale, bij.AffineAutoregressive, bij.AffineCoupling):
        with pytest.raises(ValueError, match="scale_fn is expected to be one of"):
            plan(scale_fn="nope")  # type: ignore[arg-type]


def test_flowtorch_a_stale_log_prob_was_returned_after_parameters_changed() -> None:
    flow = make_flow(bij.AffineAutoregressive(MADE), 3)
    y = flow.rsample((4,)).detach()
    before = flow.log_prob(y)
    with torch.no_grad():
        for p in flow.parameters():
            p.mul_(2.0)
    after = flow.log_prob(y)
    assert not torch.isclose(before, after).any()
    torch.testing.assert_close(after, copy.deepcopy(flow).log_prob(y.clone()))


IMPORTED = """
import torch
before = torch.random.get_rng_state().clone()
checked = torch.distributions.Distribution._validate_args
dtype = torch.get_default_dtype()
import flowtorch.bijectors as bij, flowtorch.distributions as dist
print(torch.equal(before, torch.random.get_rng_state()),
      torch.distributions.Distribution._validate_args is checked is True, torch.get_default_dtype() is dtype)
flow = dist.Flow(dist.DiagNormal(2), bij.AffineCoupling())
flow.log_prob(flow.sample((3,)))
try:
    torch.distributions.Normal(torch.zeros(2), -torch.ones(2))
except ValueError:
    print("refused")
"""


@pytest.fixture(scope="module")
def imported() -> list[str]:
    """What a fresh interpreter says of itself after importing flowtorch."""
    ran = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    return ran.stdout.split()


def test_flowtorch_importing_drew_random_numbers(imported: list[str]) -> None:
    assert imported[0] == "True"


# In a process of its own: once torch.compile has run, torch itself validates no distributions any more.
def test_zuko_importing_turned_off_argument_validation_for_all_of_torch(imported: list[str]) -> None:
    assert imported[1:] == ["True", "True", "refused"]


# --- Pyro


def test_pyro_a_second_training_step_on_the_same_tensor_failed() -> None:
    flow = make_flow(
        bij.Compose([bij.Permute(), bij.SplineAutoregressive(MADE, count_bins=4), bij.AffineCoupling(NET)]), 3
    )
    optimizer = torch.optim.SGD(flow.parameters(), lr=1e-3)
    y, losses = draw(16, 3), []
    for _ in range(3):
        optimizer.zero_grad()
        loss = -flow.log_prob(y).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > losses[1] > losses[2]


def test_pyro_deepcopy_after_log_prob_failed() -> None:
    flow = make_flow(bij.SplineAutoregressive(MADE, count_bins=4), 3, context_shape=(2,))
    y, context = flow.rsample((4,), draw(2)), draw(4, 2)
    expected = flow.log_prob(y, context)
    other = copy.deepcopy(flow)
    torch.testing.assert_close(other.log_prob(y, context), expected, rtol=0, atol=0)
    buffer = io.BytesIO()
    torch.save(flow, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    torch.testing.assert_close(loaded.log_prob(y, context), expected, rtol=0, atol=0)


@pytest.mark.parametrize("order", ["linear", "quadratic"])
@pytest.mark.parametrize("inverse", [False, True])
def test_pyro_the_spline_failed_outside_its_box(order: Any, inverse: bool) -> None:
    bound = bind(bij.Spline(order=order, bound=2.0, count_bins=4), (5,))
    x = torch.tensor([-1e6, -2.0, 0.3, 2.0, 1e6], dtype=torch.float64).requires_grad_()
    y, log_det = (bound.inverse_and_log_det if inverse else bound.forward_and_log_det)(x)
    assert torch.equal(y[[0, 1, 3, 4]], x[[0, 1, 3, 4]])
    gradients = torch.autograd.grad(y.sum() + log_det, [x, *bound.parameters()])
    assert all(g.isfinite().all() for g in gradients)
    assert gradients[0][0] == gradients[0][4] == 1.0


# --- nflows


@pytest.mark.parametrize(
    "plan",
    [bij.SplineCoupling(NET), bij.AffineAutoregressive(MADE), bij.Permute()],
    ids=lambda plan: type(plan).__name__,
)
def test_nflows_took_only_one_batch_dimension(plan: bij.Bijector) -> None:
    flow = make_flow(plan, 4, context_shape=(2,))
    context = draw(3, 2, 5, 2)
    y = flow.sample((2,), context)
    assert y.shape == (2, 3, 2, 5, 4)
    got = flow.log_prob(y, context)
    assert got.shape == (2, 3, 2, 5)
    flat = flow.log_prob(y.reshape(-1, 4), context.expand(2, 3, 2, 5, 2).reshape(-1, 2))
    torch.testing.assert_close(got.reshape(-1), flat)
    assert flow.log_prob(y[0, 0, 0, 0], context[0, 0, 0]).shape == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_nflows_asserted_on_the_discriminant(dtype: torch.dtype) -> None:
    """Rounding makes it negative for extreme bins, in float32 already: the inverse must be finite and not raise."""
    plan = bij.Spline(order="quadratic", count_bins=8, min_bin_width=1e-4, min_bin_height=1e-4, min_derivative=1e-4)
    bound = plan.bind((4096,)).to(dtype)
    perturb(bound, torch.Generator().manual_seed(0), scale=20.0)
    y = torch.linspace(-3.0, 3.0, 4096).to(dtype)
    x, log_det = bound.inverse_and_log_det(y)
    assert x.isfinite().all() and x.abs().max() <= 3.0 and not log_det.isnan()
