"""ActNorm and BatchNorm: started from data, batch statistics in training steps, and what is kept in the state."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from flowtorch.bijectors import AffineCoupling, Bijector, Compose, Permute
from flowtorch.bijectors.act_norm import ActNorm, BoundActNorm
from flowtorch.bijectors.batch_norm import BatchNorm, BoundBatchNorm
from flowtorch.bijectors.residual import Residual
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.errors import DomainError, ShapeError
from flowtorch.parameters import DenseNN
from flowtorch.testing import check_bijector, perturb

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
NORMS = pytest.mark.parametrize("norm", [ActNorm, BatchNorm], ids=lambda c: c.__name__)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def data(batch: tuple[int, ...] = (50,), seed: int = 0) -> torch.Tensor:
    return torch.tensor([5.0, -2.0, 0.3]) + torch.tensor([2.0, 1e-4, 300.0]) * draw(*batch, 3, seed=seed)


def started(norm: Any, y: torch.Tensor | None = None, **options: Any) -> Any:
    bound = norm(**options).bind((3,)).double()
    bound.initialize(data() if y is None else y)
    return bound


def is_standard(values: torch.Tensor) -> None:
    """All along the last dimension are of mean 0 and variance 1."""
    mean, std = values.mean(-1), values.std(-1, correction=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0.0, atol=1e-8)
    torch.testing.assert_close(std, torch.ones_like(std), rtol=1e-8, atol=0.0)


# Both ---------------------------------------------------------------------------------------------------------------


@NORMS
@pytest.mark.parametrize(
    ("shape", "dim"), [((), None), ((2,), None), ((2, 3), None), ((2, 3), 1), ((2, 3, 2), 0), ((2, 3), -2)], ids=str
)
def test_the_kit(norm: Any, shape: tuple[int, ...], dim: int | None) -> None:
    check_bijector(norm(dim=dim), shape)
    # A context is taken and ignored, so that no gradient reaches it.
    check_bijector(norm(dim=dim), shape, (2,), skip=["gradients"])


@NORMS
def test_it_is_the_identity_until_it_is_started(norm: Any) -> None:
    bound, y = norm().bind((3,)).double(), data()
    for _ in range(3):
        x, log_det = bound.inverse_and_log_det(y)
        assert torch.equal(x, y) and not log_det.any()
    assert torch.equal(bound.forward(y), y)


@NORMS
@pytest.mark.parametrize(
    ("shape", "dim", "channels"), [((3,), None, 3), ((2, 3), None, 6), ((2, 3), 0, 2), ((2, 3), -1, 3), ((), None, 1)]
)
def test_started_from_data_it_standardises_each_channel(
    norm: Any, shape: tuple[int, ...], dim: int | None, channels: int
) -> None:
    bound = norm(dim=dim).bind(shape).double()
    y = 3.0 + 2.0 * draw(4, 10, *shape) * (1.0 + torch.rand(shape, dtype=torch.float64))
    bound.initialize(y)
    assert all(p.shape == (channels,) for p in bound.parameters())
    with torch.no_grad():
        x, log_det = bound.inverse_and_log_det(y)
    assert x.shape == y.shape and log_det.shape == (4, 10)
    axes = range(2, y.dim()) if dim is None else [dim % len(shape) + 2]
    is_standard(x.permute(*axes, *(i for i in range(y.dim()) if i not in axes)).reshape(channels, -1))


@NORMS
def test_in_a_flow_started_the_density_is_that_of_the_standardised_data(norm: Any) -> None:
    flow, y = Flow(DiagNormal(3), norm()).double(), data((5, 10))
    flow.initialize(y)
    flow.eval()
    is_standard(flow.normalize(y).reshape(-1, 3).T)
    spread = y.reshape(-1, 3).std(0, correction=0)
    expected = torch.distributions.Normal(y.reshape(-1, 3).mean(0), spread).log_prob(y).sum(-1)
    torch.testing.assert_close(flow.log_prob(y), expected)
    assert all(p.requires_grad and p.grad is None for p in flow.parameters())


@NORMS
def test_layers_are_started_from_what_those_after_them_make_of_the_data(norm: Any) -> None:
    net = DenseNN((6,), nonlinearity=torch.nn.Tanh)
    plan = Compose([norm(), AffineCoupling(net), Permute((2, 0, 1)), norm(), Residual((5,))])
    flow = Flow(DiagNormal(3), plan, context_shape=(2,)).double()
    perturb(flow, torch.Generator().manual_seed(0))
    y, context = data(), draw(50, 2)
    flow.initialize(y, context)
    is_standard(flow.normalize(y, context).T)
    last = flow.bijector.parts[3]  # type: ignore[union-attr]
    with torch.no_grad():
        is_standard(last.inverse(flow.bijector.parts[4].inverse(y, context), context).T)  # type: ignore[union-attr]


@NORMS
def test_started_again_it_forgets_what_it_was(norm: Any) -> None:
    bound = started(norm)
    perturb(bound, torch.Generator().manual_seed(0))
    other = 100.0 + 7.0 * data(seed=1)
    bound.initialize(other)
    with torch.no_grad():
        is_standard(bound.inverse(other).T)


@NORMS
def test_the_state_carries_what_it_was_started_with(norm: Any) -> None:
    bound, other = started(norm), norm().bind((3,)).double()
    y = data(seed=1)
    other.load_state_dict(bound.state_dict())
    for a, b in zip(bound.eval().inverse_and_log_det(y), other.eval().inverse_and_log_det(y), strict=True):
        assert torch.equal(a, b)
    flag = "initialized" if norm is ActNorm else "count"
    assert not norm().bind((3,)).state_dict()[flag] and bool(other.state_dict()[flag])


@NORMS
def test_a_channel_that_does_not_vary_is_named_and_the_state_left_as_it_was(norm: Any) -> None:
    bound = started(norm)
    before = {name: value.clone() for name, value in bound.state_dict().items()}
    # Constants such that the mean of fifty of them is not exact: the variance computed is not 0.
    constant = torch.tensor([123.456, 1.0 / 3.0, 123.456], dtype=torch.float64).expand(50, 3)
    assert bool((constant.T.reshape(3, -1) - constant.T.mean(1, keepdim=True)).any())
    varying = draw(50, 3)
    infinite = varying.clone()
    infinite[3, 1] = torch.inf
    for bad, words in (
        (torch.where(torch.tensor([True, False, True]), constant, varying), r"channel\(s\) 0, 2\."),
        (torch.where(torch.tensor([False, True, False]), constant, varying), r"channel\(s\) 1\."),
        (infinite, r"channel\(s\) 1\."),
        (varying[:1], r"channel\(s\) 0, 1, 2\."),
        (varying[:0], r"channel\(s\) 0, 1, 2\."),
    ):
        with pytest.raises(
            DomainError, match=rf"{norm.__name__}.initialize: .* variance in each of 3 .* got none in {words}"
        ):
            bound.initialize(bad)
        assert all(torch.equal(before[name], value) for name, value in bound.state_dict().items())
    flow = Flow(DiagNormal(3), Compose([norm(), Permute()])).double()
    with pytest.raises(DomainError, match=f"part 0.*{norm.__name__}"):
        flow.initialize(constant)


@NORMS
def test_scales_are_positive_and_it_explains_itself(norm: Any) -> None:
    assert norm().bind(()).sign == 1
    assert "started from data" in norm().explain()


def test_defaults() -> None:
    assert ActNorm() == ActNorm(dim=None) != ActNorm(dim=0)
    assert BatchNorm() == BatchNorm(dim=None, momentum=0.1, eps=1e-5)


# ActNorm ------------------------------------------------------------------------------------------------------------


def test_act_norm_is_affine_in_each_channel() -> None:
    bound: BoundActNorm = ActNorm(dim=0).bind((2, 3)).double()  # type: ignore[assignment]
    perturb(bound, torch.Generator().manual_seed(0))
    x = draw(5, 2, 3)
    y, log_det = bound.forward_and_log_det(x)
    torch.testing.assert_close(y[:, 1], bound.loc[1] + bound.log_scale[1].exp() * x[:, 1])
    torch.testing.assert_close(log_det, (3.0 * bound.log_scale.sum()).expand(5))


def test_act_norm_started_from_the_other_side_standardises_in_forward() -> None:
    bound, x = ActNorm().bind((3,)).double(), data()
    bound.initialize_forward(x)  # type: ignore[attr-defined]
    is_standard(bound.forward(x).detach().T)
    with pytest.raises(ShapeError, match="ActNorm.initialize: a tensor of shape"):
        bound.initialize_forward(torch.zeros(5, 4))  # type: ignore[attr-defined]


def test_act_norm_in_single_precision_is_started_well() -> None:
    bound, y = ActNorm().bind((1,)), (1e4 + draw(1000, 1)).float()
    bound.initialize(y)
    x = bound.inverse(y).detach()
    assert abs(float(x.mean())) < 1e-2 and abs(float(x.std()) - 1.0) < 1e-2


# BatchNorm ----------------------------------------------------------------------------------------------------------


def stepped(y: torch.Tensor, **options: Any) -> tuple[BoundBatchNorm, torch.Tensor, torch.Tensor]:
    """What a training step with the batch ``y`` gives, after a start from other data."""
    bound = started(BatchNorm, **options)
    x, log_det = bound.inverse_and_log_det(y)
    return bound, x, log_det


def test_a_training_step_normalises_by_the_batch_and_counts_it_in_the_log_det() -> None:
    y = 3.0 * data(seed=1)
    bound, x, log_det = stepped(y)
    is_standard(x.detach().T)
    torch.testing.assert_close(log_det, -y.std(0, correction=0).log().sum().expand(50))
    with torch.no_grad():
        bound.beta.fill_(0.5)
        bound.log_gamma.fill_(2.0)
    again = bound.inverse(y)
    torch.testing.assert_close(again, 0.5 + torch.tensor(2.0).double().exp() * x)


def test_gradients_of_a_training_step_go_through_the_statistics() -> None:
    leaf = data(seed=1).requires_grad_()
    _, x, log_det = stepped(leaf)
    weights = draw(50, 3)
    (got,) = torch.autograd.grad((x * weights).sum() + log_det.sum(), leaf)
    again = leaf.detach().requires_grad_()
    spread = again.std(0, correction=0)
    expected = ((again - again.mean(0)) / spread * weights).sum() - 50.0 * spread.log().sum()
    torch.testing.assert_close(got, torch.autograd.grad(expected, again)[0])
    # A batch moved or stretched is the same batch.
    torch.testing.assert_close((x * weights).sum(), (stepped(7.0 * leaf - 3.0)[1] * weights).sum())


@pytest.mark.parametrize("momentum", [0.1, 0.5])
def test_a_training_step_moves_the_running_statistics(momentum: float) -> None:
    first, y = data(), 3.0 * data((20,), seed=1)
    bound, _, _ = stepped(y, momentum=momentum)
    mean = (1.0 - momentum) * first.mean(0) + momentum * y.mean(0)
    var = (1.0 - momentum) * first.var(0, correction=0) + momentum * y.var(0)
    torch.testing.assert_close(bound.running_mean, mean)
    torch.testing.assert_close(bound.running_var, var)
    assert bound.count == 2


def test_running_statistics_come_to_be_those_of_the_data() -> None:
    bound = started(BatchNorm, torch.randn(10, 3, generator=torch.Generator().manual_seed(5)).double())
    for seed in range(300):
        bound.inverse(data((200,), seed=seed))
    y = data((5000,), seed=1000)
    with torch.no_grad():
        x = bound.inverse(y)
    assert x.mean(0).abs().max() < 0.1 and (x.std(0) - 1.0).abs().max() < 0.1


def test_outside_of_training_steps_it_is_a_function_and_leaves_no_trace() -> None:
    bound, y = started(BatchNorm), data((20,), seed=1)
    bound.inverse(y)
    before = {name: value.clone() for name, value in bound.state_dict().items()}

    def check() -> None:
        x, log_det = bound.inverse_and_log_det(y)
        back, forward = bound.forward_and_log_det(x)
        torch.testing.assert_close(back, y)
        torch.testing.assert_close(forward, -log_det)
        torch.testing.assert_close(x[3], bound.inverse(y[3]))
        assert (x.mean(0).abs() > 1e-3).any()  # not by its own statistics
        assert all(torch.equal(before[name], value) for name, value in bound.state_dict().items())

    with torch.no_grad():
        check()
    bound.eval()
    check()
    bound.train()
    bound.forward(y)
    mapped = torch.func.vmap(torch.func.grad(lambda v: bound.inverse(v).square().sum()))(y)
    scale = (-0.5 * before["running_var"].log()).exp()
    torch.testing.assert_close(mapped, 2.0 * scale**2 * (y - before["running_mean"]))
    assert all(torch.equal(before[name], value) for name, value in bound.state_dict().items())


@pytest.mark.parametrize("batch", [(), (1,), (0,), (1, 1)], ids=str)
def test_a_single_observation_is_normalised_by_the_running_statistics(batch: tuple[int, ...]) -> None:
    bound, y = started(BatchNorm), data(batch, seed=1)
    x = bound.inverse(y)
    assert bound.count == 1
    torch.testing.assert_close(x, bound.eval().inverse(y))


def test_positions_of_an_image_are_observations_of_its_channels() -> None:
    bound = BatchNorm(dim=0).bind((2, 3, 4)).double()
    bound.initialize(draw(10, 2, 3, 4))
    x, log_det = bound.inverse_and_log_det(2.0 + 3.0 * draw(1, 2, 3, 4, seed=1))
    is_standard(x.detach().reshape(2, -1))
    spread = (3.0 * draw(1, 2, 3, 4, seed=1)).reshape(2, 12).std(1, correction=0)
    torch.testing.assert_close(log_det, -12.0 * spread.log().sum()[None])


def test_a_channel_constant_in_a_batch_is_divided_by_the_least_variance() -> None:
    y = data((20,), seed=1)
    y[:, 1] = -2.0
    for eps in (1e-5, 1e-2):
        _, x, log_det = stepped(y, eps=eps)
        least = eps * data()[:, 1].var(correction=0)
        expected = -0.5 * (torch.stack([y[:, 0].var(correction=0), least, y[:, 2].var(correction=0)])).log().sum()
        torch.testing.assert_close(log_det, expected.expand(20))
        assert bool((x[:, 1].abs() < 1e-6).all()) and bool(x.isfinite().all())


def test_a_batch_with_nan_leaves_the_running_statistics_as_they_were() -> None:
    y = data((20,), seed=1)
    y[4, 1] = torch.nan
    bound, x, _ = stepped(y)
    assert bool(x[:, 1].isnan().all())
    torch.testing.assert_close(bound.running_mean[1], data()[:, 1].mean())
    assert bool((bound.running_mean[[0, 2]] != data().mean(0)[[0, 2]]).all())
    assert bool(bound.running_var.isfinite().all())


def test_training_steps_compile() -> None:
    eager, compiled = started(BatchNorm), started(BatchNorm)
    run = torch.compile(compiled.inverse_and_log_det, fullgraph=True, backend="eager")
    for seed in range(1, 4):
        y = data(seed=seed)
        for a, b in zip(run(y), eager.inverse_and_log_det(y), strict=True):
            torch.testing.assert_close(a, b)
    for name, value in eager.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value)


def test_it_helps_a_deep_flow_to_learn() -> None:
    y = data((500,)).float()

    def trained(norm: bool) -> float:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = DenseNN((16,))
            parts: list[Bijector] = [AffineCoupling(net), AffineCoupling(net, swap=True)]
            flow = Flow(DiagNormal(3), Compose([part for p in parts for part in ([p, BatchNorm()] if norm else [p])]))
            flow.initialize(y)
            optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
            for _ in range(50):
                optimizer.zero_grad()
                (-flow.log_prob(y[torch.randperm(500)[:100]]).mean()).backward()
                optimizer.step()
            with torch.no_grad():
                return float(flow.eval().log_prob(y).mean())

    assert trained(True) > trained(False) + 1.0
