"""Every option of ``fit`` does what it says: each has a test that fails if it is ignored."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
from flowtorch.train import Fitted, fit

TESTS: dict[str, Callable[..., None]] = {}


def of(option: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Marks the test of an option."""

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        TESTS[option] = test
        return test

    return mark


class Record(Callback):
    """Notes learning rates, weights and batches of each step."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.weights: list[list[torch.Tensor]] = []
        self.rows: list[torch.Tensor] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.weights.append(weights_of(pl_module.flow))
        self.rows.append(batch.rows)


def weights_of(flow: dist.Flow) -> list[torch.Tensor]:
    return [p.detach().clone() for p in flow.parameters()]


def same(a: dist.Flow, b: dist.Flow) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@torch.no_grad()
def loss_of(flow: dist.Flow, x: torch.Tensor) -> float:
    return -float(flow.log_prob(x).mean())


def data(rows: int = 60) -> torch.Tensor:
    return 1 + torch.randn(rows, 2, generator=torch.Generator().manual_seed(7))


def new(plan: bij.Bijector | None = None, **options: Any) -> dist.Flow:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return dist.Flow(dist.DiagNormal(2), plan or bij.AffineCoupling(), **options)


def run(flow: dist.Flow | None = None, *data_: torch.Tensor, **changed: Any) -> tuple[Fitted, dist.Flow, Record]:
    """Two epochs of three steps."""
    flow, record = flow or new(), Record()
    options: dict[str, Any] = {"batch_size": 20, "max_epochs": 2, "validation": None, "progress": False}
    options["trainer"] = {"accelerator": "cpu", "callbacks": [record], **changed.pop("trainer", {})}
    found = fit(flow, *(data_ or (data(),)), **(options | changed))
    return found, flow, record


def step_of(**changed: Any) -> list[torch.Tensor]:
    """How the weights move in one step."""
    _, flow, record = run(max_steps=1, max_epochs=None, schedule="constant", **changed)
    return [after - before for after, before in zip(weights_of(flow), record.weights[0], strict=True)]


@of("flow")
def test_flow_is_trained_in_place() -> None:
    flow = new()
    before = loss_of(flow, data())
    run(flow, learning_rate=0.05)
    assert loss_of(flow, data()) < before - 0.05


@of("x")
def test_x_is_what_is_fitted() -> None:
    flow = new(bij.Affine())
    run(flow, 3 + 0 * data() + 0.5 * data(), max_epochs=100, learning_rate=0.1)
    torch.testing.assert_close(flow.sample((5000,)).mean(0), (3 + 0.5 * data()).mean(0), atol=0.05, rtol=0.0)


@of("context")
def test_context_is_given_row_by_row() -> None:
    context = torch.linspace(-2, 2, 60)[:, None]
    flow = new(bij.Affine(), context_shape=(1,))
    run(flow, data() + 3 * context, context, max_epochs=60, learning_rate=0.02)
    at = [flow.condition(torch.tensor([c])).sample((2000,)).mean() for c in (-1.0, 1.0)]
    assert float(at[1] - at[0]) > 4


@of("weights")
def test_weights_count_rows_as_if_they_were_there_so_often() -> None:
    twice = torch.where(torch.arange(60) < 30, 2.0, 1.0)
    doubled = torch.cat([data(), data()[:30]])
    weighted = step_of(weights=twice, batch_size=60, optimizer=lambda p: torch.optim.SGD(p, 1.0), clip_norm=None)
    _, flow, record = run(
        new(), doubled, batch_size=90, max_epochs=1, optimizer=lambda p: torch.optim.SGD(p, 1.0), clip_norm=None
    )
    moved = [after - before for after, before in zip(weights_of(flow), record.weights[0], strict=True)]
    torch.testing.assert_close(weighted, moved)


@of("validation")
def test_validation_is_a_part_of_the_rows_or_rows_of_its_own() -> None:
    found, _, _ = run()
    assert found.validation == () and found.best_loss is None and found.best_step is None
    found, _, record = run(validation=0.5)
    assert found.steps == 4 and len(found.validation) == 2  # 30 rows are left, two batches
    learnt = torch.cat(record.rows[:2])
    assert len(set(learnt.tolist())) == 30 and set(torch.cat(record.rows[2:]).tolist()) == set(learnt.tolist())
    other = data(70)[60:]
    for held in (other, (other,), (other, None, None)):
        found, flow, _ = run(validation=held)
        assert found.steps == 6
        assert found.best_loss == pytest.approx(loss_of(flow, other), abs=1e-5)
    found, flow, _ = run(validation=(other, None, torch.arange(10.0)))
    expected = -(flow.log_prob(other).detach() * torch.arange(10.0)).sum() / 45
    assert found.best_loss == pytest.approx(float(expected), abs=1e-5)


@of("loss")
def test_loss_is_what_is_minimised() -> None:
    def towards_three(
        flow: dist.Flow, x: torch.Tensor, context: torch.Tensor | None, weights: torch.Tensor | None
    ) -> torch.Tensor:
        return (flow.rsample(x.shape[:1]) - 3).square().mean()

    _, flow, _ = run(new(bij.Affine()), loss=towards_three, max_epochs=100, learning_rate=0.1)
    assert float((flow.sample((100,)) - 3).abs().max()) < 1


@of("batch_size")
def test_batch_size_is_the_rows_of_a_step() -> None:
    _, _, record = run(batch_size=25)
    assert [len(rows) for rows in record.rows] == [25, 25, 10] * 2


@of("max_epochs")
def test_max_epochs_is_how_often_the_data_are_gone_through() -> None:
    found, _, record = run(max_epochs=3)
    assert (found.steps, found.epochs) == (9, 3)
    for k in range(3):  # each in an order of its own
        assert sorted(torch.cat(record.rows[3 * k : 3 * k + 3]).tolist()) == list(range(60))
    assert not torch.equal(record.rows[0], record.rows[3])
    assert run(max_epochs=None)[0].epochs == 100


@of("max_steps")
def test_max_steps_is_how_many_are_taken() -> None:
    assert run(max_steps=4)[0].steps == 4
    assert run(max_steps=7, max_epochs=None)[0].steps == 7
    assert run(max_steps=50)[0].steps == 6


@of("learning_rate")
def test_learning_rate_is_adams_first_step() -> None:
    for rate, given in ((1e-3, {}), (0.03, {"learning_rate": 0.03})):
        moved = torch.cat([m.flatten() for m in step_of(clip_norm=None, **given)])
        assert float(moved.abs().max()) == pytest.approx(rate, rel=1e-3)


@of("optimizer")
def test_optimizer_makes_another() -> None:
    made: list[torch.optim.Optimizer] = []

    def make(parameters: Any) -> torch.optim.Optimizer:
        made.append(torch.optim.SGD(parameters, lr=0.25))
        return made[0]

    flow = new()
    loss = -flow.log_prob(data()).mean()
    gradients = torch.autograd.grad(loss, list(flow.parameters()))
    moved = step_of(optimizer=make, batch_size=60, clip_norm=None)
    assert len(made) == 1
    torch.testing.assert_close(moved, [-0.25 * g for g in gradients])


@of("schedule")
def test_schedule_is_how_the_learning_rate_goes() -> None:
    _, _, record = run(schedule="constant", learning_rate=0.01)
    assert record.rates == [0.01] * 6
    _, _, record = run(schedule="cosine", learning_rate=0.01)
    assert record.rates == pytest.approx([0.005 * (1 + math.cos(math.pi * k / 6)) for k in range(6)])
    assert run(learning_rate=0.01)[2].rates == record.rates
    _, _, record = run(max_steps=3, learning_rate=0.01)
    assert record.rates == pytest.approx([0.005 * (1 + math.cos(math.pi * k / 3)) for k in range(3)])


@of("warmup_steps")
def test_warmup_steps_are_those_over_which_the_rate_rises() -> None:
    _, _, record = run(schedule="constant", learning_rate=0.01, warmup_steps=3)
    assert record.rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01])
    _, _, record = run(learning_rate=0.01, warmup_steps=2)
    assert record.rates[2:] == pytest.approx([0.005 * (1 + math.cos(math.pi * k / 4)) for k in range(4)])


@of("patience")
def test_patience_ends_it_with_the_best_weights() -> None:
    far = data(70)[60:] - 6  # the better the rest is fitted, the worse these are
    found, flow, _ = run(validation=far, patience=3, max_epochs=50, learning_rate=0.01, schedule="constant")
    losses = [loss for _, loss in found.validation]
    best = losses.index(min(losses))
    assert found.stopped_early and found.epochs == best + 1 + 3 == len(losses) < 50
    assert found.best_step == 3 * (best + 1) and found.best_loss == losses[best]
    assert found.best_loss == pytest.approx(loss_of(flow, far), abs=1e-4)
    found, _, _ = run(validation=far, patience=None, max_epochs=30, learning_rate=0.01)
    assert not found.stopped_early and found.epochs == 30


@of("clip_norm")
def test_clip_norm_is_the_largest_norm_of_a_gradient() -> None:
    def norm(**options: Any) -> float:
        moved = step_of(optimizer=lambda p: torch.optim.SGD(p, lr=1.0), **options)
        return float(torch.cat([m.flatten() for m in moved]).norm())

    free = norm(clip_norm=None)
    assert free > 0.2
    assert norm(clip_norm=0.125) == pytest.approx(0.125, rel=1e-4)
    assert norm() == pytest.approx(min(free, 5.0), rel=1e-4)


@of("ema")
def test_ema_is_the_average_of_the_weights() -> None:
    expected = weights_of(new())
    _, plain, record = run(learning_rate=0.05)
    for t, weights in enumerate([*record.weights[1:], weights_of(plain)], 1):
        decay = min(0.3, (1 + t) / (10 + t))
        expected = [decay * a + (1 - decay) * w for a, w in zip(expected, weights, strict=True)]
    _, flow, _ = run(ema=0.3, learning_rate=0.05)
    torch.testing.assert_close(weights_of(flow), expected)
    # and it is what is validated, and kept if best
    found, flow, _ = run(ema=0.3, learning_rate=0.05, validation=data(70)[60:])
    assert found.best_step == 6 and found.best_loss == found.validation[-1][1]
    assert found.best_loss == pytest.approx(loss_of(flow, data(70)[60:]), abs=1e-5)
    torch.testing.assert_close(weights_of(flow), expected)


@of("precision")
def test_precision_is_that_of_the_networks() -> None:
    flow = new()
    seen: list[torch.dtype] = []
    hooks = [
        m.register_forward_hook(lambda m, i, out: seen.append(out.dtype))
        for m in flow.modules()
        if isinstance(m, torch.nn.Linear)
    ]
    assert hooks
    for precision, dtype in (("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)):
        seen.clear()
        _, trained, _ = run(flow, precision=precision, learning_rate=0.01)
        assert set(seen) == {dtype} and {p.dtype for p in trained.parameters()} == {torch.float32}
        assert bool(torch.cat([w.flatten() for w in weights_of(trained)]).isfinite().all())
    _, trained, _ = run(new(), precision="64-true")
    assert {p.dtype for p in trained.parameters()} == {torch.float64}
    _, trained, _ = run(new().double())  # the default takes a flow as it is
    assert {p.dtype for p in trained.parameters()} == {torch.float64}


@of("seed")
def test_seed_is_that_of_all_that_is_drawn() -> None:
    def noisy() -> dist.Flow:
        def network(i: int, o: int) -> torch.nn.Module:
            return torch.nn.Sequential(torch.nn.Linear(i, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, o))

        return new(bij.AffineCoupling(params_of(network)))

    torch.manual_seed(11)
    state = torch.get_rng_state()
    first, again, other = (run(noisy(), seed=s, validation=0.2, learning_rate=0.01)[1] for s in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert same(first, again) and not same(first, other)
    whole = [run(noisy(), seed=s, batch_size=60)[1] for s in (3, 4)]  # noise alone
    assert not same(*whole)
    orders = [run(seed=s)[2].rows[0] for s in (3, 4)]
    assert not torch.equal(*orders)
    held = [set(torch.cat(run(seed=s, validation=0.5)[2].rows).tolist()) for s in (3, 4)]
    assert held[0] != held[1]


def params_of(network: Callable[[int, int], torch.nn.Module]) -> Any:
    import flowtorch.parameters as params

    return params.Network(network)


@of("initialize")
def test_initialize_starts_layers_from_the_data() -> None:
    started = run(new(bij.ActNorm()), learning_rate=1e-9)[1]
    torch.testing.assert_close(started.sample((4000,)).mean(0), data().mean(0), atol=0.1, rtol=0.0)
    left = run(new(bij.ActNorm()), learning_rate=1e-9, initialize=False)[1]
    assert float(left.sample((4000,)).mean(0).abs().max()) < 0.1


@of("folder")
def test_folder_holds_a_run_that_goes_on(tmp_path: Path) -> None:
    found, flow, record = run(folder=tmp_path / "new" / "er", validation=0.2)
    assert [p.name for p in (tmp_path / "new" / "er").iterdir()] == ["last.ckpt"]
    again, other, later = run(new(), folder=str(tmp_path / "new" / "er"), validation=0.2)
    assert len(record.rates) == 6 and later.rates == []  # it had ended
    assert same(flow, other) and again.validation == found.validation and again.steps == 6


@of("checkpoint_every")
def test_checkpoint_every_so_many_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    save = Trainer.save_checkpoint

    def noting(self: Trainer, *args: Any, **kwargs: Any) -> None:
        written.append(self.global_step)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, "save_checkpoint", noting)
    for every, expected in ((2, [0, 2, 4, 6]), (4, [0, 4, 6])):
        written.clear()
        run(folder=tmp_path / str(every), checkpoint_every=every)
        assert written == expected
    written.clear()
    run(folder=tmp_path / "default")
    assert written == [0, 6]


@of("progress")
def test_progress_shows_a_bar(capfd: pytest.CaptureFixture[str]) -> None:
    run(progress=False, validation=0.2)
    assert capfd.readouterr() == ("", "")
    run(progress=True, validation=0.2)
    shown = "".join(capfd.readouterr())
    assert "Epoch 1" in shown and "train_loss" in shown and "validation_loss" in shown


@of("trainer")
def test_trainer_options_reach_the_trainer() -> None:
    found, _, _ = run(trainer={"limit_train_batches": 1})
    assert found.steps == 2
    found, _, record = run(trainer={"accumulate_grad_batches": 3})
    assert found.steps == 2 and len(record.rows) == 6
    found, _, _ = run(trainer={"val_check_interval": 1}, validation=0.2)
    assert [step for step, _ in found.validation] == list(range(1, found.steps + 1))
    one = Record()
    fit(new(), data(), max_epochs=1, progress=False, trainer={"callbacks": one, "accelerator": "cpu"})
    assert len(one.rates) == 1


def test_every_option_has_a_test() -> None:
    assert set(TESTS) == set(inspect.signature(fit).parameters)
    assert all(
        name in globals() and test is globals()[name] for name, test in ((t.__name__, t) for t in TESTS.values())
    )


def test_what_a_run_says_of_itself() -> None:
    found, _, _ = run(validation=0.2, max_epochs=3, learning_rate=0.01)
    assert [step for step, _ in found.train] == [3, 6, 9] == [step for step, _ in found.validation]
    assert found.train[0][1] > found.train[-1][1] and found.seconds > 0 and found.skipped == ()
    assert found.best_loss == min(loss for _, loss in found.validation)


def test_all_but_the_weights_is_left_as_it_was() -> None:
    flow = new()
    flow.eval()
    inner = next(m for m in flow.modules() if isinstance(m, torch.nn.Linear))
    inner.train()
    modes = [m.training for m in flow.modules()]
    x, kept = data(), data()
    run(flow, x, trainer={"callbacks": [Training()]})
    assert [m.training for m in flow.modules()] == modes
    assert torch.equal(x, kept) and all(p.grad is None and p.requires_grad for p in flow.parameters())
    copy.deepcopy(flow)


class Training(Callback):
    """Looks whether layers are trained in the mode for that."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        assert all(m.training for m in pl_module.flow.modules())
