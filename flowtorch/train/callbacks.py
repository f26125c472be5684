"""What ``fit`` adds to a Trainer: best and averaged weights, checkpoints that survive a kill, seeds, the history."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from .data import Batches, TensorData, derived_seed


class Seeds(Callback):
    """Sets the random numbers of each step by seed, step and process alone, and those of all validations alike.

    So a run that is taken up again needs no state of them, and validations compare.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def _set(self, trainer: Trainer, pl_module: LightningModule, step: int) -> None:
        seed = derived_seed(self.seed, "noise", step, trainer.global_rank)
        torch.default_generator.manual_seed(seed)
        if pl_module.device.type != "cpu":
            torch.get_device_module(pl_module.device).manual_seed(seed)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """For a step: of the batches, of which several may make one of the optimiser's."""
        self._set(trainer, pl_module, trainer.fit_loop.total_batch_idx)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """For a validation."""
        self._set(trainer, pl_module, -1)


class Averages(Callback):
    r"""Keeps an exponential moving average of parameters and floating-point buffers, and validates it.

    .. math:: \bar\theta_t = d_t \bar\theta_{t-1} + (1 - d_t) \theta_t, \qquad
        d_t = \min\big(d, (1 + t) / (10 + t)\big),

    so that where training started is soon forgotten. Lightning's own has put the weights back by the time that
    validation has a loss, and :class:`KeepBest` would keep those.

    Args:
        decay: how much of the average a step leaves.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.average: list[torch.Tensor] | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins with the weights as they are, or those of a checkpoint."""
        if self.average is None:
            self.average = [t.clone() for t in _floats(pl_module)]
        self.average = [a.to(t.device, t.dtype) for a, t in zip(self.average, _floats(pl_module), strict=True)]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Takes the weights in, once for each of the optimiser's steps."""
        if trainer.global_step == self.steps:
            return
        assert self.average is not None
        self.steps = trainer.global_step
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.average, _floats(pl_module), 1 - decay)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the average in the weights' place."""
        self.swap(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the weights back."""
        self.swap(pl_module)

    @torch.no_grad()
    def swap(self, pl_module: LightningModule) -> None:
        """Exchanges weights and average."""
        assert self.average is not None
        for mine, other in zip(self.average, _floats(pl_module), strict=True):
            kept = mine.clone()
            mine.copy_(other)
            other.copy_(kept)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leaves the average in the flow."""
        self.swap(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps."""
        return {"steps": self.steps, "average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes it back."""
        self.steps, self.average = state_dict["steps"], state_dict["average"]


def _floats(pl_module: LightningModule) -> list[torch.Tensor]:
    tensors: Iterable[torch.Tensor] = (*pl_module.parameters(), *pl_module.buffers())
    return [t.detach() for t in tensors if t.is_floating_point()]


class KeepBest(Callback):
    """Keeps the weights of the lowest validation loss, in memory and in checkpoints, and puts them back at the end.

    It stands before :class:`Averages`, which puts the weights back at the end of a validation.

    Args:
        patience: after how many validations without a lower loss training stops; None for never.
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.best, self.step, self.waited = float("inf"), 0, 0
        self.weights: dict[str, torch.Tensor] | None = None
        self.stopped = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stays stopped, if a checkpoint says so."""
        trainer.should_stop = trainer.should_stop or self.stopped

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Has the last step validated, too, if it is amid an epoch."""
        if trainer.global_step == trainer.max_steps:
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the loss."""
        loss = _metric(trainer, "validation_loss")
        if loss is None:
            return
        if loss < self.best:
            self.best, self.step, self.waited = loss, trainer.global_step, 0
            self.weights = {k: v.detach().cpu().clone() for k, v in pl_module.state_dict().items()}
            return
        self.waited += 1
        if self.patience is not None and self.waited >= self.patience:
            self.stopped = trainer.should_stop = True

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Puts the best weights back when training is interrupted, too."""
        self.teardown(trainer, pl_module, "fit")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Puts the best weights back."""
        if self.weights is not None:
            pl_module.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps."""
        return {k: getattr(self, k) for k in ("best", "step", "waited", "weights", "stopped")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes it back."""
        self.__dict__.update(state_dict)


class Losses(Callback):
    """Keeps the losses: of training, the mean of those of an epoch's steps that are finite, and of each validation."""

    def __init__(self) -> None:
        self.train: list[tuple[int, float]] = []
        self.validation: list[tuple[int, float]] = []
        self._sum, self._count = 0.0, 0  # of the epoch's that are finite
        self._new: list[torch.Tensor] = []  # those to be looked at, together, so that nothing waits for a GPU

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Notes a step."""
        self._new.append(outputs["train_loss"])
        if len(self._new) == 1000:
            self._look()

    def _look(self) -> None:
        new = torch.stack(self._new).tolist() if self._new else []
        for loss in filter(math.isfinite, new):
            self._sum, self._count = self._sum + loss, self._count + 1
        self._new = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes an epoch."""
        self._look()
        self.train.append((trainer.global_step, self._sum / self._count if self._count else math.nan))
        self._sum, self._count = 0.0, 0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes a validation."""
        loss = _metric(trainer, "validation_loss")
        if loss is not None:
            self.validation.append((trainer.global_step, loss))

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps."""
        self._look()
        return {"train": self.train, "validation": self.validation, "epoch": (self._sum, self._count)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes it back."""
        self.train = [(step, loss) for step, loss in state_dict["train"]]
        self.validation = [(step, loss) for step, loss in state_dict["validation"]]
        self._sum, self._count = state_dict["epoch"]


def _metric(trainer: Trainer, name: str) -> float | None:
    found = None if trainer.sanity_checking else trainer.callback_metrics.get(name)
    return None if found is None else float(found)


class Checkpoints(Callback):
    """Writes a checkpoint every so many steps: whole under another name first, which then takes the old one's place.

    It is written when the next step is about to begin, after all that belongs to the last: average, validation, best
    weights. (Lightning's ``ModelCheckpoint`` writes before these, and a run taken up again goes another way.) It stands
    before all others there, as if they had not begun.

    Args:
        path: the file.
        every: how many steps.
        about: what tells this run from another, kept in the file.
        data: what the batches come from.
    """

    def __init__(self, path: Path, every: int, about: Mapping[str, str], data: TensorData) -> None:
        self.path, self.every, self.about, self.data = path, every, about, data
        self._written, self._amid = -1, False  # the first one holds what training began with

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Writes it, if it is time."""
        step = trainer.global_step
        if step % self.every == 0 and step != self._written:
            self._amid = True
            self.batches.position -= 1
            self._write(trainer)
            self.batches.position += 1
            self._amid = False

    @property
    def batches(self) -> Batches:
        """Those that are learnt from."""
        assert self.data.batches is not None  # training has begun
        return self.data.batches

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the last one."""
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        self._written = trainer.global_step
        new = self.path.with_name(self.path.name + ".part")
        trainer.save_checkpoint(new, weights_only=False)
        if trainer.is_global_zero:
            with new.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(new, self.path)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Says what run it is of, and that the batch at hand has not begun."""
        checkpoint["about"] = dict(self.about)
        if self._amid:
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
            for counts in (progress["total"], progress["current"]):
                counts["ready"] = counts["completed"]
            progress["is_last_batch"] = False
