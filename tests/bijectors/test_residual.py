"""Residual maps: log-determinants exact and estimated, training, options."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from flowtorch.bijectors import Bijector, BoundBijector, Compose, Invert
from flowtorch.bijectors.residual import BoundResidual, ConvResidual, Residual
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.errors import NotSupportedError
from flowtorch.nn.lipschitz import Jacobian
from flowtorch.testing import check_bijector

from .residual import BOTH, DENSE, IMAGES, Counted, draw, like, make

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


# The map ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [None, (3,), (2, 2)], ids=str)
@BOTH
def test_at_the_start_it_is_the_identity(plan: Bijector, shape: tuple[int, ...], context: Any) -> None:
    bound = plan.bind(shape, context)
    x = torch.randn(5, *shape)
    given = None if context is None else torch.randn(5, *context)
    y, log_det = bound.forward_and_log_det(x, given)
    assert torch.equal(y, x) and not log_det.any()
    assert torch.equal(bound.inverse(y, given), x)


@BOTH
def test_no_parameters_make_it_more_than_its_constant(plan: Any, shape: tuple[int, ...]) -> None:
    for lipschitz in (0.3, 0.95):
        bound = make(replace(plan, lipschitz=lipschitz), shape, (2,), scale=50.0)
        for seed in range(3):
            x, context = 0.2 * draw(*shape, seed=seed), draw(2, seed=seed)
            jacobian = torch.autograd.functional.jacobian(lambda v, c=context, b=bound: b.forward(v, c) - v, x)
            norm = torch.linalg.matrix_norm(jacobian.reshape(x.numel(), -1), ord=2)
            assert 0.02 * lipschitz < norm <= lipschitz


@BOTH
def test_a_context_moves_points_and_one_context_serves_a_batch(plan: Any, shape: tuple[int, ...]) -> None:
    bound, x = make(plan, shape, (3,)), draw(5, *shape)
    one, two = draw(3), draw(3, seed=1)
    assert (bound.forward(x, one) - bound.forward(x, two)).abs().max() > 1e-3
    torch.testing.assert_close(bound.forward(x, one), bound.forward(x, one.expand(5, 3)))


@BOTH
def test_the_kit_on_what_noise_leaves_in_place(plan: Any, shape: tuple[int, ...]) -> None:
    checks = ["codomain", "outside", "context", "shapes", "gradients", "plan_is_a_value", "specification", "meta"]
    for trace in ("roulette", "truncated"):
        for context in (None, (2,)):
            only = [c for c in checks if c != "context" or context is None]
            check_bijector(replace(plan, trace=trace), shape, context, only=only)


# Log-determinants ---------------------------------------------------------------------------------------------------


def test_exact_up_to_64_coordinates_and_estimated_beyond() -> None:
    assert not Residual((2,)).bind((8, 8)).stochastic and Residual((2,)).bind((65,)).stochastic
    assert not ConvResidual((2,)).bind((1, 8, 8)).stochastic and ConvResidual((2,)).bind((1, 8, 9)).stochastic
    assert not Residual((2,), trace="exact").bind((65,)).stochastic
    for trace in ("roulette", "truncated"):
        assert Residual((2,), trace=trace).bind((2,)).stochastic  # type: ignore[arg-type]


def log_det_and_gradients(bound: BoundResidual, x: torch.Tensor) -> list[torch.Tensor]:
    """The mean log-det of a batch, and its gradients for the one point that all rows are, and for the parameters."""
    point = x.clone().requires_grad_()
    log_det = bound.forward_and_log_det(point.expand(40, *x.shape))[1].mean()
    wanted = [point, *(p for name, p in bound.named_parameters() if name != "net.layers.1.bias")]
    return [log_det.detach(), *torch.autograd.grad(log_det, wanted)]


@pytest.mark.parametrize(
    ("plan", "shape", "lipschitz", "terms"),
    [(Residual((6,)), (3,), 0.9, 1), (Residual((6,)), (3,), 0.97, 3), (ConvResidual((4,)), (1, 2, 2), 0.8, 1)],
    ids=["dense", "dense, all but expanding", "images"],
)
def test_the_estimate_and_its_gradient_have_the_right_mean(
    plan: Any, shape: tuple[int, ...], lipschitz: float, terms: int
) -> None:
    bound, x = make(replace(plan, trace="roulette", lipschitz=lipschitz, terms=terms), shape), draw(*shape)
    expected = log_det_and_gradients(like(bound, trace="exact"), x)
    calls = 500
    with torch.random.fork_rng():
        torch.manual_seed(0)
        samples = [log_det_and_gradients(bound, x) for _ in range(calls)]
    for value, found in zip(expected, map(torch.stack, zip(*samples, strict=True)), strict=True):
        error = found.std(0) / calls**0.5
        assert bool(((found.mean(0) - value).abs() <= 4.0 * error).all())
        assert error.norm() < 0.1 * value.norm()  # close enough to mean something


@pytest.mark.parametrize("terms", [1, 2, 5])
def test_a_truncated_series_has_exactly_its_terms(terms: int) -> None:
    """With one coordinate the noise is 1 or -1, and the estimate the series itself."""
    bound = make(Residual((6,), trace="truncated", terms=terms), (1,))
    x = draw(20, 1)
    slope = torch.autograd.functional.jacobian(lambda v: (bound.forward(v) - v).sum(), x)[:, 0]
    expected = sum((-1) ** (k + 1) * slope**k / k for k in range(1, terms + 1))
    _, log_det = bound.forward_and_log_det(x)
    torch.testing.assert_close(log_det, expected)
    missing = (log_det - torch.log1p(slope)).abs().max()
    assert 0.0 < missing <= 0.9 ** (terms + 1) / ((terms + 1) * 0.1)
    y, forward = bound.forward_and_log_det(x)
    torch.testing.assert_close(bound.inverse_and_log_det(y)[1], -forward)


def test_roulette_takes_the_promised_number_of_terms_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    pulls = Counted(monkeypatch, Jacobian, "pull")
    bound = make(Residual((3,), trace="roulette", terms=5, lipschitz=0.8), (2,))
    counts = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(1000):
            before = pulls.calls
            bound.forward_and_log_det(draw(2))
            counts.append(pulls.calls - before)
    assert min(counts) == 5
    found = torch.tensor(counts, dtype=torch.float64)
    assert abs(found.mean() - (5 + 0.8 / 0.2)) < 4.0 * found.std() / 1000**0.5
    for j in (1, 4, 8):
        share, expected = float((found >= 5 + j).double().mean()), 0.8**j
        assert abs(share - expected) < 4.0 * (expected * (1.0 - expected) / 1000) ** 0.5


def test_the_noise_is_torchs_and_two_calls_differ() -> None:
    bound, x = make(Residual((6,), trace="roulette"), (3,)), draw(5, 3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = bound.forward_and_log_det(x)[1], bound.forward_and_log_det(x)[1]
        torch.manual_seed(0)
        again = bound.forward_and_log_det(x)[1]
    assert torch.equal(first, again) and not torch.equal(first, second)


def test_the_memory_of_a_training_step_does_not_grow_with_the_number_of_terms() -> None:
    def kept(terms: int) -> int:
        bound = make(Residual((32, 32), trace="truncated", terms=terms), (80,))
        seen: dict[int, int] = {}

        def note(t: torch.Tensor) -> torch.Tensor:
            seen[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
            result = bound.forward_and_log_det(draw(64, 80))[1]
        assert result.requires_grad
        return sum(seen.values())

    assert kept(100) == kept(2)


@pytest.mark.parametrize("trace", ["roulette", "truncated"])
def test_second_derivatives_of_estimates_are_refused_rather_than_wrong(trace: Any) -> None:
    bound = make(Residual((6,), trace=trace), (3,))
    x = draw(4, 3).requires_grad_()
    for index, call in ((1, bound.forward_and_log_det), (0, bound.inverse_and_log_det)):
        with pytest.raises(NotSupportedError, match="create_graph is expected .* Use trace='exact'"):
            torch.autograd.grad(call(x)[index].sum(), x, create_graph=True)


def test_second_derivatives_of_the_exact_form_are_right() -> None:
    bound = make(Residual((5,), nonlinearity="softplus"), (3,), (2,))
    x, context = draw(2, 3).requires_grad_(), draw(2, 2, seed=1).requires_grad_()
    for call in (bound.forward_and_log_det, bound.inverse_and_log_det):
        assert torch.autograd.gradcheck(call, (x, context))
        assert torch.autograd.gradgradcheck(call, (x, context))


# In flows -----------------------------------------------------------------------------------------------------------


def test_under_autocast_it_computes_in_full_precision() -> None:
    bound = make(DENSE, (4,), (2,)).float()
    x, context = draw(8, 4).float(), draw(8, 2).float()
    expected = bound.forward_and_log_det(x, context)
    with torch.autocast("cpu", torch.bfloat16):
        got = bound.forward_and_log_det(x, context)
        back = bound.inverse(got[0], context)
        low = bound.forward(x.bfloat16(), context.bfloat16())
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b)
    assert (back - x).abs().max() < 1e-5 and low.dtype == torch.float32


def test_a_flow_learns_a_density_of_two_moons() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = Flow(DiagNormal(2), Compose([Invert(Residual((32, 32), lipschitz=0.95)) for _ in range(3)]))
        angle = math.pi * torch.rand(1000)
        upper = torch.rand(1000) < 0.5
        arc = torch.stack([angle.cos(), angle.sin()], -1)
        y = torch.where(upper[:, None], arc, torch.tensor([1.0, 0.5]) - arc) + 0.1 * torch.randn(1000, 2)
        before = flow.log_prob(y).mean()
        optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
        for _ in range(100):
            optimizer.zero_grad()
            (-flow.log_prob(y).mean()).backward()
            optimizer.step()
        after = flow.log_prob(y).mean()
        drawn = flow.sample((5,))
    assert after > before + 0.5
    torch.testing.assert_close(flow.bijector.forward(flow.normalize(drawn)), drawn, rtol=1e-4, atol=1e-4)


@pytest.mark.slow  # about ten seconds each
@pytest.mark.parametrize(
    ("plan", "shape"),
    [(Residual((32, 32)), (3,)), (Residual((32, 32), trace="roulette"), (3,)), (IMAGES, (2, 3, 3))],
    ids=["dense", "dense, estimated", "images"],
)
def test_a_thousand_steps_towards_random_targets_leave_the_inverse_within_its_tolerance(
    plan: Any, shape: tuple[int, ...]
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bound: BoundBijector[Bijector] = plan.bind(shape).double()
        optimizer = torch.optim.Adam(bound.parameters(), lr=1e-2)
        for _ in range(1000):
            y, log_det = bound.forward_and_log_det(torch.randn(16, *shape, dtype=torch.float64))
            loss = (y - 10.0 * torch.randn_like(y)).square().mean() - log_det.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        x = 3.0 * torch.randn(100, *shape, dtype=torch.float64)
        with torch.no_grad():
            back = bound.inverse(bound.forward(x))
    error = (back - x).flatten(1).norm(dim=1) / (1.0 + x.flatten(1).norm(dim=1))
    assert error.max() <= plan.tolerance


# Options ------------------------------------------------------------------------------------------------------------


def test_options_and_their_defaults() -> None:
    shared = dict(nonlinearity="lipswish", lipschitz=0.9, trace="auto", terms=8, tolerance=1e-10, steps=None)
    assert Residual() == Residual((128, 128), **shared)  # type: ignore[arg-type]
    assert ConvResidual() == ConvResidual((64, 64), kernel_size=3, **shared)  # type: ignore[arg-type]
    assert Residual([4, 5]).hidden_dims == (4, 5)


def test_networks_are_as_the_options_say() -> None:
    net = Residual((7, 6), nonlinearity="elu").bind((2, 2), (3,)).net
    assert [tuple(layer.weight.shape) for layer in net.layers] == [(7, 4), (6, 7), (4, 6)]
    assert net.nonlinearity == "elu" and net.context.weight.shape == (7, 3)
    net = ConvResidual((7, 6), kernel_size=5).bind((2, 8, 9), (3, 2)).net
    assert [tuple(layer.weight.shape) for layer in net.layers] == [(7, 2, 5, 5), (6, 7, 1, 1), (2, 6, 5, 5)]
    assert net.context.weight.shape == (7, 6)


def test_it_explains_itself() -> None:
    text = Residual(lipschitz=0.7).explain()
    assert "0.7" in text and "Forward (base to data: sampling) takes one pass" in text and "numerical" in text
    assert "exact up to 64 coordinates" in text
    assert "from 3 terms" in Residual(trace="truncated", terms=3).explain()
    assert "LipschitzDense, exact trace" in str(Residual().check((3,)))
    assert Residual().bind((3,)).sign == 1
