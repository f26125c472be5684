"""Bounds by draws from the flow: their values, and estimators of the gradient that agree in the mean."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.distributions import ConditionalNormal, DiagNormal, Flow
from flowtorch.objectives import renyi, reverse_kl
from flowtorch.objectives.draws import log_ratio
from tests.distributions.helpers import MADE, NET, close, draw, make, normal

TARGET = torch.distributions.MultivariateNormal(
    torch.tensor([0.3, -0.8, 0.5], dtype=torch.float64),
    torch.tensor([[1.0, 0.4, 0.0], [0.4, 0.8, -0.2], [0.0, -0.2, 0.5]], dtype=torch.float64),
    validate_args=False,
)
LOG_Z = 2.5
LOSSES = pytest.mark.parametrize("loss", [reverse_kl, renyi], ids=lambda f: f.__name__)
PATHS = pytest.mark.parametrize("path", [False, True])


def target(y: torch.Tensor) -> torch.Tensor:
    """Its log-density plus a constant."""
    return TARGET.log_prob(y) + LOG_Z


def gradient(flow: Flow, loss: torch.Tensor) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(flow.parameters()), materialize_grads=True)])


def gradients(flow: Flow, loss: Callable[[], torch.Tensor], repeats: int) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.stack([gradient(flow, loss()) for _ in range(repeats)])


def at_the_target() -> tuple[Flow, Callable[[torch.Tensor], torch.Tensor]]:
    """A flow, and its own density times a constant."""
    flow = make(normal(3), bij.Compose([bij.AffineAutoregressive(MADE), bij.AffineCoupling(NET)]))
    fixed = copy.deepcopy(flow).requires_grad_(False)
    return flow, lambda y: fixed.log_prob(y) + LOG_Z


# The reverse divergence ----------------------------------------------------------------------------------------------


@PATHS
def test_it_is_the_divergence_less_log_z(path: bool) -> None:
    flow = make(normal(3), bij.Affine(params.Tensor()))
    torch.manual_seed(1)
    y, log_prob = flow.rsample_and_log_prob((500,))
    torch.manual_seed(1)
    close(reverse_kl(flow, target, 500, path_derivative=path), (log_prob - target(y)).mean())


def test_of_two_normal_distributions_value_and_gradient_are_the_closed_form() -> None:
    # KL(N(m, s) || N(0, 1)) = (s² + m² - 1) / 2 - log s
    flow = make(DiagNormal(()), bij.Affine(params.Tensor()))
    loc = flow.bijector.forward(torch.zeros(()).double())
    scale = flow.bijector.forward(torch.ones(()).double()) - loc
    exact = (scale**2 + loc**2 - 1) / 2 - scale.log()
    wanted = gradient(flow, exact)
    for path in (True, False):
        torch.manual_seed(0)
        found = reverse_kl(flow, torch.distributions.Normal(0.0, 1.0).log_prob, 200_000, path_derivative=path)
        close(found, exact, 0.01)
        close(gradient(flow, found), wanted, 0.02)


PLANS: dict[str, tuple[bij.Bijector, dict[str, object]]] = {
    "autoregressive": (bij.AffineAutoregressive(MADE), {}),
    "inverse": (bij.Invert(bij.AffineAutoregressive(MADE)), {}),
    "coupling": (bij.SplineCoupling(NET, count_bins=4), {}),
    "checkpoint": (bij.Compose([bij.AffineCoupling(NET), bij.AffineCoupling(NET, swap=True)], checkpoint=True), {}),
    "learnt base": (bij.AffineCoupling(NET), {"learn_base": True}),
}


@pytest.mark.parametrize("name", PLANS)
def test_the_path_derivative_leaves_out_the_score_and_nothing_else(name: str) -> None:
    plan, options = PLANS[name]
    flow = make(normal(3), plan, **options)
    torch.manual_seed(1)
    path = gradient(flow, reverse_kl(flow, target, 5))
    torch.manual_seed(1)
    whole = gradient(flow, reverse_kl(flow, target, 5, path_derivative=False))
    torch.manual_seed(1)
    y = flow.rsample((5,)).detach()
    close(path, whole - gradient(flow, flow.log_prob(y).mean()))
    assert (path - whole).abs().max() > 1e-3


def test_in_the_mean_both_gradients_are_the_same() -> None:
    flow = make(normal(3), bij.AffineAutoregressive(MADE))
    means = [
        gradients(flow, lambda path=path: reverse_kl(flow, target, 1_000, path_derivative=path), 60)  # type: ignore[misc]
        for path in (True, False)
    ]
    error = (means[0].var(0) + means[1].var(0)).sqrt() / math.sqrt(60)
    assert ((means[0].mean(0) - means[1].mean(0)).abs() < 5 * error + 1e-12).all()


def test_at_the_optimum_the_path_derivative_has_no_variance() -> None:
    flow, density = at_the_target()
    assert gradients(flow, lambda: reverse_kl(flow, density, 2), 20).abs().max() < 1e-10
    assert gradients(flow, lambda: reverse_kl(flow, density, 2, path_derivative=False), 20).std(0).max() > 0.1
    assert reverse_kl(flow, density, 3).item() == pytest.approx(-LOG_Z, abs=1e-10)


def test_a_batch_of_contexts_each_with_draws_of_its_own() -> None:
    base = ConditionalNormal(3, context_shape=5)
    flow = make(base, bij.AffineCoupling(NET), context_shape=(2,), embedding=torch.nn.Linear(2, 5))
    context = draw(4, 2, seed=1).requires_grad_()
    shapes = []

    def log_density(y: torch.Tensor) -> torch.Tensor:
        shapes.append(y.shape)
        return target(y - context.detach().sum(-1, keepdim=True))

    torch.manual_seed(1)
    loss = reverse_kl(flow, log_density, 5, context)
    assert shapes == [(5, 4, 3)] and loss.shape == ()
    of_context, *path = torch.autograd.grad(loss, [context, *flow.parameters()])
    torch.manual_seed(1)
    y = flow.rsample((5,), context)
    whole = (flow.log_prob(y, context) - log_density(y)).mean()
    score = flow.log_prob(y.detach(), context).mean()
    expected = torch.autograd.grad(whole - score, [context, *flow.parameters()])
    for found, wanted in zip((of_context, *path), expected, strict=True):  # the context's score is left out, too
        close(found, wanted)


def test_a_target_that_has_parameters_gets_their_gradients() -> None:
    flow = make(normal(3), bij.AffineAutoregressive(MADE))
    shift = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(1)
    (found,) = torch.autograd.grad(reverse_kl(flow, lambda y: target(y - shift), 7), shift)
    torch.manual_seed(1)
    y = flow.sample((7,))
    close(found, -torch.autograd.grad(target(y - shift).mean(), shift)[0])


def test_draws_of_no_density_make_the_loss_infinite_and_leave_gradients_finite() -> None:
    flow = make(normal(3), bij.AffineAutoregressive(MADE))

    def half(y: torch.Tensor) -> torch.Tensor:
        return torch.where(y[..., 0] > 0, target(y), -math.inf)

    loss = reverse_kl(flow, half, 100)
    assert loss == math.inf
    assert gradient(flow, loss).isfinite().all()


@LOSSES
def test_without_gradients_it_is_a_number(loss: Callable[..., torch.Tensor]) -> None:
    flow = make(normal(3), bij.AffineAutoregressive(MADE))
    with torch.no_grad():
        assert not loss(flow, target, 5).requires_grad
    for parameter in flow.parameters():
        parameter.requires_grad_(False)
    assert not loss(flow, target, 5).requires_grad


@LOSSES
def test_it_keeps_float32(loss: Callable[..., torch.Tensor]) -> None:
    flow = make(normal(3), bij.AffineAutoregressive(MADE)).float()
    found = loss(flow, lambda y: -y.square().sum(-1), 5)
    assert found.dtype == torch.float32
    assert gradient(flow, found).isfinite().all()


@LOSSES
@PATHS
def test_it_compiles_to_one_graph(loss: Callable[..., torch.Tensor], path: bool) -> None:
    flow = make(normal(3), bij.AffineCoupling(NET))
    torch.manual_seed(1)
    expected = gradient(flow, loss(flow, target, 5, path_derivative=path))
    torch.manual_seed(1)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    close(gradient(flow, compiled(flow, target, 5, path_derivative=path)), expected)


@LOSSES
@PATHS
def test_torch_func_differentiates_it(loss: Callable[..., torch.Tensor], path: bool) -> None:
    flow = make(normal(3), bij.AffineCoupling(NET), context_shape=(2,))
    context = draw(4, 2, seed=1).requires_grad_()

    class Loss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flow = flow

        def forward(self, context: torch.Tensor) -> torch.Tensor:
            torch.manual_seed(1)
            return loss(self.flow, target, 5, context=context, path_derivative=path)

    module = Loss()
    named = {name: parameter.detach() for name, parameter in module.named_parameters()}
    of_named, of_context = torch.func.grad(
        lambda named, context: torch.func.functional_call(module, named, (context,)), (0, 1)
    )(named, context.detach())
    found = torch.autograd.grad(module(context), [context, *module.parameters()])
    close(of_context, found[0])
    for name, wanted in zip(named, found[1:], strict=True):
        close(of_named[name], wanted)


def test_a_draw_that_neither_has_a_density_at_has_no_weight() -> None:
    log_prob = torch.tensor([-math.inf, 0.0, 0.0], requires_grad=True)
    log_target = torch.tensor([-math.inf, -math.inf, 2.0], requires_grad=True)
    found = log_ratio("test", lambda y: log_target, torch.zeros(3), log_prob)
    assert found.tolist() == [-math.inf, -math.inf, 2.0]
    found.sum().backward()
    for given in (log_prob, log_target):
        assert given.grad is not None and given.grad.isfinite().all()


# Renyi bounds ---------------------------------------------------------------------------------------------------------


def weights_of(flow: Flow, count: int) -> torch.Tensor:
    torch.manual_seed(1)
    y, log_prob = flow.rsample_and_log_prob((count,))
    return (target(y) - log_prob).exp()


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 0.5, 2.0])
@PATHS
def test_the_bound_is_the_logarithm_of_a_mean_of_powers(alpha: float, path: bool) -> None:
    flow = make(normal(3), bij.AffineAutoregressive(MADE))
    expected = -weights_of(flow, 50).pow(1 - alpha).mean().log() / (1 - alpha)
    torch.manual_seed(1)
    close(renyi(flow, target, 50, alpha, path_derivative=path), expected)


@PATHS
def test_alpha_one_is_the_reverse_divergence_and_the_limit(path: bool) -> None:
    flow = make(normal(3), bij.AffineAutoregressive(MADE))
    found = []
    for loss in (
        lambda: reverse_kl(flow, target, 50, path_derivative=path),
        lambda: renyi(flow, target, 50, alpha=1.0, path_derivative=path),
        lambda: renyi(flow, target, 50, alpha=1.0 - 1e-6, path_derivative=path),
    ):
        torch.manual_seed(1)
        value = loss()
        found.append(torch.cat([value.detach()[None], gradient(flow, value)]))
    close(found[1], found[0])
    close(found[2], found[0], 1e-4)


def test_the_bounds_fall_with_alpha_and_tighten_with_draws() -> None:
    flow = make(normal(3), bij.AffineAutoregressive(MADE))
    values = []
    for alpha in (-1.0, 0.0, 0.5, 1.0, 2.0):
        torch.manual_seed(1)
        values.append(renyi(flow, target, 200, alpha).item())
    assert values == sorted(values)
    torch.manual_seed(1)
    with torch.no_grad():
        few, many = (sum(renyi(flow, target, count).item() for _ in range(500)) / 500 for count in (2, 32))
    assert few > many > -LOG_Z - 0.01


@pytest.mark.parametrize("alpha", [0.0, 0.5, -0.5])
def test_in_the_mean_the_gradient_of_the_path_is_that_of_the_bound(alpha: float) -> None:
    flow = make(normal(3), bij.AffineAutoregressive(MADE), context_shape=(2,))
    context = torch.zeros(2_000, 2, dtype=torch.float64)  # as many bounds, of four draws each
    repeats = 20
    found = [
        gradients(flow, lambda path=path: renyi(flow, target, 4, alpha, context, path_derivative=path), repeats)  # type: ignore[misc]
        for path in (True, False)
    ]
    error = (found[0].var(0) + found[1].var(0)).sqrt() / math.sqrt(repeats)
    assert ((found[0].mean(0) - found[1].mean(0)).abs() < 5 * error + 1e-12).all()
    size = found[1].mean(0).abs().max()
    assert error.max() < 0.05 * size


def test_at_the_optimum_its_path_derivative_has_no_variance_either() -> None:
    flow, density = at_the_target()
    assert gradients(flow, lambda: renyi(flow, density, 4, 0.3), 20).abs().max() < 1e-10


def test_a_targets_parameters_get_gradients_by_the_weights() -> None:
    flow = make(normal(3), bij.AffineAutoregressive(MADE))
    shift = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    found = []
    for path in (True, False):
        torch.manual_seed(1)
        found += torch.autograd.grad(renyi(flow, lambda y: target(y - shift), 7, path_derivative=path), shift)
    torch.manual_seed(1)
    y, log_prob = flow.rsample_and_log_prob((7,))
    y, log_prob = y.detach(), log_prob.detach()
    exact = torch.autograd.grad((target(y - shift) - log_prob).logsumexp(0), shift)[0]
    close(found[1] - found[0], torch.zeros(3).double())
    close(found[0], -exact)


def test_each_context_has_a_bound_of_its_own() -> None:
    flow = make(normal(3), bij.AffineCoupling(NET), context_shape=(2,))
    context = draw(4, 2, seed=1)
    torch.manual_seed(1)
    y, log_prob = flow.rsample_and_log_prob((6,), context)
    expected = -(target(y) - log_prob).exp().mean(0).log().mean()
    torch.manual_seed(1)
    close(renyi(flow, target, 6, context=context), expected)


@PATHS
def test_weights_of_zero_are_left_out_and_gradients_stay_finite(path: bool) -> None:
    flow = make(normal(3), bij.AffineAutoregressive(MADE))

    def half(y: torch.Tensor) -> torch.Tensor:
        return torch.where(y[..., 0] > 0, target(y), -math.inf)

    torch.manual_seed(1)
    loss = renyi(flow, half, 100, path_derivative=path)
    torch.manual_seed(1)
    y, log_prob = flow.rsample_and_log_prob((100,))
    close(loss, -(half(y) - log_prob).exp().mean().log())
    assert gradient(flow, loss).isfinite().all()
    nothing = renyi(flow, lambda y: target(y) - math.inf, 100, path_derivative=path)
    assert nothing == math.inf
    assert gradient(flow, nothing).isfinite().all()
