"""The modules behind ``fit``: batches and their shares, steps that are left out, and a Trainer of one's own."""

from __future__ import annotations

import csv
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
from flowtorch.errors import DomainError
from flowtorch.objectives import maximum_likelihood, reverse_kl
from flowtorch.train import Batches, FlowModule, Rows, TensorData, fit, where_it_began

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "enable_progress_bar": False,
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:.*Total length of `list` across ranks is zero"),
]


def flow(*plans: bij.Bijector, **options: Any) -> dist.Flow:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        made = dist.Flow(dist.DiagNormal(2), bij.Compose(plans or (bij.AffineCoupling(),)), **options)
        for p in made.parameters():
            torch.nn.init.normal_(p, std=0.3)
        return made


def data(rows: int = 40) -> torch.Tensor:
    return torch.randn(rows, 2, generator=torch.Generator().manual_seed(3))


# Batches --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [2, 3, 5])
@pytest.mark.parametrize("case", ["plain", "weighted", "conditional"])
def test_the_processes_gradients_average_to_those_of_one(case: str, world: int) -> None:
    # 11 rows a step: uneven shares; the last batch has 1 row, which most processes get none of
    context = torch.randn(34, 1) if case == "conditional" else None
    weights = torch.linspace(0, 2, 34) if case == "weighted" else None
    model = flow(bij.AffineCoupling(), context_shape=None if context is None else (1,)).double()
    context, weights = (None if t is None else t.double() for t in (context, weights))
    rows = Rows(data(34).double(), context, weights)

    def gradients(rank: int, of: int) -> list[torch.Tensor]:
        found = []
        for batch in Batches(rows, 11, seed=0, rank=rank, world=of):
            loss = batch.share * maximum_likelihood(model, batch.value, batch.context, batch.weights)
            found.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]))
        return found

    parts = [torch.stack(gradients(rank, world)) for rank in range(world)]
    torch.testing.assert_close(torch.stack(parts).mean(0), torch.stack(gradients(0, 1)), atol=1e-9, rtol=1e-9)


def test_batches_are_all_rows_once_in_an_order_of_seed_and_epoch() -> None:
    batches = Batches(Rows(data(10)), 4, seed=5)
    first, second = ([b.rows for b in batches] for _ in range(2))
    assert [len(rows) for rows in first] == [4, 4, 2] and len(batches) == 3
    assert sorted(torch.cat(first).tolist()) == list(range(10)) and not torch.equal(torch.cat(first), torch.cat(second))
    again = Batches(Rows(data(10)), 4, seed=5)
    assert torch.equal(torch.cat([b.rows for b in again]), torch.cat(first))
    assert torch.cat([b.rows for b in Batches(Rows(data(10)), 4)]).tolist() == list(range(10))
    for batch in again:
        assert torch.equal(batch.value, data(10)[batch.rows])


def test_batches_go_on_amid_an_epoch() -> None:
    batches = Batches(Rows(data(10)), 3, seed=5)
    iterator = iter(batches)
    next(iterator), next(iterator)
    other = Batches(Rows(data(10)), 3, seed=5)
    other.load_state_dict(batches.state_dict())
    assert [b.rows.tolist() for b in other] == [b.rows.tolist() for b in iterator]
    assert len(list(other)) == 4  # the next epoch is whole


def test_rows_without_weight_are_left_out() -> None:
    x = data(6)
    x[4] = torch.nan
    rows = Rows(x, None, torch.tensor([1.0, 0.0, 2.0, 1.0, 0.0, 1.0]))
    assert len(rows) == 4 and rows.index.tolist() == [0, 2, 3, 5] and torch.equal(rows.value, x[[0, 2, 3, 5]])


# Steps that are left out ----------------------------------------------------------------------------------------------


class Break(torch.autograd.Function):
    """Hands values on, and a gradient that is not a number for one row."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, row: int) -> torch.Tensor:
        ctx.row = row
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient = gradient.clone()
        if ctx.row < len(gradient):
            gradient[ctx.row] = torch.nan
        return gradient, None


class Leak(torch.autograd.Function):
    """Adds nothing, with a gradient by a parameter that is infinite if there is a large value."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        ctx.gradient = torch.full_like(weight, torch.inf if bool((y.abs() > 20).any()) else 0.0)
        return y.new_zeros(len(y))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.gradient, None


def weights_of(model: dist.Flow) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_step_that_is_not_finite_is_left_out_and_told_of(bad: float) -> None:
    model = flow(bij.AffineCoupling(), bij.Exp())
    before: list[list[torch.Tensor]] = []
    optimizers: list[torch.optim.Optimizer] = []

    def spoilt(
        flow: dist.Flow, x: torch.Tensor, context: torch.Tensor | None, weights: torch.Tensor | None
    ) -> torch.Tensor:
        before.append(weights_of(flow))
        if len(before) == 3:
            x = x.clone()
            x[5] = bad
        return maximum_likelihood(flow, x, context, weights)

    def adam(parameters: Any) -> torch.optim.Optimizer:
        optimizers.append(torch.optim.Adam(parameters, 0.01))
        return optimizers[0]

    with pytest.warns(UserWarning, match=r"FlowModule: step 2 is left out, .* not being finite") as told:
        found = fit(
            model,
            data().exp(),
            loss=spoilt,
            optimizer=adam,
            batch_size=10,
            max_epochs=2,
            validation=None,
            progress=False,
        )
    assert len(told) == 1 and [step for step, _ in found.skipped] == [2] and found.steps == 8
    assert all(torch.equal(a, b) for a, b in zip(before[2], before[3], strict=True))  # left out
    assert not all(torch.equal(a, b) for a, b in zip(before[3], before[4], strict=True))  # and gone on
    assert {int(state["step"]) for state in optimizers[0].state.values()} == {7}
    assert all(bool(w.isfinite().all()) for w in weights_of(model))
    assert all(torch.tensor(loss).isfinite() for _, loss in found.train)


def test_a_loss_without_a_gradient_that_shows_it_is_left_out_too() -> None:
    model = flow()
    before = weights_of(model)

    def masked(flow: dist.Flow, x: torch.Tensor, *_: Any) -> torch.Tensor:
        return torch.where(torch.ones(len(x), dtype=torch.bool), torch.inf, flow(x)).mean()

    with pytest.warns(UserWarning, match="left out"):
        found = fit(model, data(), loss=masked, max_steps=1, validation=None, progress=False)
    assert len(found.skipped) == 1 and all(torch.equal(a, b) for a, b in zip(before, weights_of(model), strict=True))


def test_a_gradient_that_is_not_finite_is_told_with_its_layer_and_row() -> None:
    model = flow(bij.AffineCoupling(), bij.AffineCoupling(), bij.AffineCoupling())
    layer = model.bijector.parts[1]
    inverse = layer._inverse_and_log_det
    layer._inverse_and_log_det = lambda y, context: inverse(Break.apply(y, 7), context)
    with pytest.warns(UserWarning, match=r"the gradient of layer 1 \(AffineCoupling\), from row \d+\."):
        found = fit(model, data(), max_steps=1, validation=None, progress=False)
    assert len(found.skipped) == 1


def test_where_it_began_names_data_context_parameters_layers_and_the_base() -> None:
    x = data(8).exp()
    model = flow(bij.AffineCoupling(), bij.Exp())
    assert where_it_began(model, x).startswith("the loss or its gradient")
    x[6] = torch.nan
    assert where_it_began(model, x) == "the data, from row 6."
    assert where_it_began(model, x, index=torch.arange(100, 108)) == "the data, from row 106."
    conditional = flow(bij.AffineCoupling(), context_shape=(1,))
    context = torch.zeros(8, 1)
    context[2:] = torch.inf
    assert where_it_began(conditional, data(8), context) == "the context, from rows 2, 3, 4, 5, 6 and 1 more."
    outside = data(8).exp()
    outside[[1, 3]] = -1.0
    assert where_it_began(model, outside) == "layer 1 (Exp), from rows 1, 3."
    broken = flow(bij.AffineCoupling(), bij.Affine())
    assert "from row" in where_it_began(broken, torch.where(torch.arange(8)[:, None] == 4, 3e38, data(8)))
    with torch.no_grad():
        next(model.bijector.parts[0].parameters()).fill_(torch.nan)
    assert where_it_began(model, data(8).exp()).startswith("the parameter bijector.parts.0.")


def test_a_gradient_by_parameters_alone_is_found_by_row() -> None:
    model = flow(bij.AffineCoupling(), bij.AffineCoupling())
    layer = model.bijector.parts[0]
    inverse = layer._inverse_and_log_det
    weight = next(layer.parameters())

    def spoilt(y: torch.Tensor, context: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        x, log_det = inverse(y, context)
        return x, log_det + Leak.apply(weight, y)

    layer._inverse_and_log_det = spoilt
    x = torch.zeros(50, 2)
    x[33] = 60.0
    inside = model.bijector.parts[1].inverse_and_log_det(x)[0]
    assert (inside.abs().amax(-1) > 20).nonzero().tolist() == [[33]]
    assert where_it_began(model, x) == "the gradient of layer 0 (AffineCoupling), from row 33."


def test_a_hundred_steps_in_a_row_end_it() -> None:
    def bad(flow: dist.Flow, x: torch.Tensor, *_: Any) -> torch.Tensor:
        return flow(x).mean() * torch.nan

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(DomainError, match="100 in a row"):
            fit(flow(), data(), loss=bad, batch_size=2, validation=None, progress=False)
    assert sum("left out" in str(w.message) for w in told) == 3


# Objectives, and a Trainer of one's own -------------------------------------------------------------------------------


def test_objectives_for_densities_are_losses_too() -> None:
    target = torch.distributions.Independent(torch.distributions.Normal(torch.tensor([2.0, -1.0]), 0.5), 1)
    model = dist.Flow(dist.DiagNormal(2), bij.Affine())
    module = FlowModule(model, loss=lambda f, *_: reverse_kl(f, target.log_prob, 64), learning_rate=0.05)
    Trainer(max_steps=300, **QUIET).fit(module, TensorData(Rows(torch.zeros(300, 2)), batch_size=1, seed=0))
    torch.testing.assert_close(model.sample((4000,)).mean(0), torch.tensor([2.0, -1.0]), atol=0.06, rtol=0.0)


def test_a_trainer_of_ones_own_trains_validates_and_resumes(tmp_path: Any) -> None:
    def run(folder: Any, path: Any = None) -> tuple[dist.Flow, Trainer]:
        model = flow()
        module = FlowModule(model, learning_rate=0.01, schedule="constant", warmup_steps=2)
        keep = ModelCheckpoint(dirpath=folder, filename="{epoch}-{step}", every_n_train_steps=1, save_top_k=-1)
        trainer = Trainer(max_epochs=3, callbacks=[keep], **(QUIET | {"enable_checkpointing": True}))
        trainer.fit(module, TensorData(Rows(data()), Rows(data(7)), batch_size=15, seed=4), ckpt_path=path)
        return model, trainer

    torch.manual_seed(0)
    whole, trainer = run(tmp_path / "whole")
    expected = -float(whole.log_prob(data(7)).detach().mean())
    assert float(trainer.callback_metrics["validation_loss"]) == pytest.approx(expected, abs=1e-5)
    assert trainer.global_step == 9
    middle = next(p for p in (tmp_path / "whole").iterdir() if "step=4" in p.name)  # amid the second epoch
    again, _ = run(tmp_path / "again", middle)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(whole), weights_of(again), strict=True))


@pytest.mark.parametrize("every", [3, 10])
def test_a_logger_gets_the_loss_as_often_as_it_asks(every: int, tmp_path: Path) -> None:
    options = {"logger": CSVLogger(tmp_path), "log_every_n_steps": every, "accelerator": "cpu"}
    fit(flow(), data(), batch_size=4, max_epochs=6, validation=data(7), progress=False, trainer=options)
    (path,) = tmp_path.rglob("metrics.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    steps = [int(row["step"]) for row in rows if row["train_loss"]]
    assert steps == [step for step in range(60) if (step + 1) % every == 0]
    assert sum(bool(row["validation_loss"]) for row in rows) == 6


class Interrupt(Callback):
    """Ctrl-C at a step, and the weights of the only validation before."""

    weights: list[torch.Tensor]

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.weights = weights_of(pl_module.flow)

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 5:
            raise KeyboardInterrupt


def test_an_interrupt_is_one_and_leaves_the_best_weights() -> None:
    import signal

    handler = signal.getsignal(signal.SIGINT)
    model, interrupt = flow(), Interrupt()
    with pytest.raises(KeyboardInterrupt):
        options = {"callbacks": [interrupt], "accelerator": "cpu"}
        fit(model, data(), batch_size=12, learning_rate=0.01, progress=False, trainer=options)
    assert signal.getsignal(signal.SIGINT) is handler
    assert all(torch.equal(a, b) for a, b in zip(weights_of(model), interrupt.weights, strict=True))
    assert all(p.grad is None for p in model.parameters())


def test_without_lightning_the_extra_is_named_and_flowtorch_does_without() -> None:
    code = (
        "import sys; sys.modules['lightning'] = sys.modules['lightning.pytorch'] = None\n"
        "import flowtorch, flowtorch.distributions, flowtorch.bijectors, flowtorch.objectives\n"
        "try:\n    import flowtorch.train\n"
        "except ImportError as error:\n    print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("flowtorch.train: Lightning is expected") and "flowtorch[train]" in found.stdout
