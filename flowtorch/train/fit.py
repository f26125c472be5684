"""``fit``: from a flow and data to a fitted flow in one line."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback

from .. import options
from ..distributions import Flow
from ..errors import OptionError, OptionTypeError
from ..objectives import maximum_likelihood
from .around import as_it_was, interruptible, quiet
from .callbacks import Averages, Checkpoints, KeepBest, Losses, Seeds
from .checks import Validation, about, checked, checkpoint, split
from .data import TensorData, derived_seed
from .module import FlowModule, Loss, MakeOptimizer, Schedule

Precision: TypeAlias = Literal["32-true", "16-mixed", "bf16-mixed", "64-true", "16-true", "bf16-true"]

# What `trainer` may not say, as `fit` has an option for it or needs it as it is.
_OWN = {
    "enable_progress_bar": "progress",
    "gradient_clip_val": "clip_norm",
    "max_epochs": "max_epochs",
    "max_steps": "max_steps",
    "precision": "precision",
}
_INITIAL = 10_000  # so many rows start layers that are started from data


@dataclass(frozen=True)
class Fitted:
    """What came of a fit; the flow itself was trained in place."""

    steps: int
    """How many steps were taken, those before it was taken up again too."""
    epochs: int
    """How many times it began to go through the data."""
    seconds: float
    """How long it took, this time."""
    train: tuple[tuple[int, float], ...]
    """Steps, and the mean loss of the epoch that ended there."""
    validation: tuple[tuple[int, float], ...]
    """Steps, and the validation loss there."""
    best_loss: float | None
    """The lowest validation loss, whose weights the flow has now; None without validation."""
    best_step: int | None
    """The step of the lowest validation loss."""
    stopped_early: bool
    """Whether it ended as the validation loss had not fallen for so long."""
    skipped: tuple[tuple[int, str], ...]
    """Steps left out as something was not finite, and where that began."""


def fit(
    flow: Flow,
    x: torch.Tensor,
    context: torch.Tensor | None = None,
    *,
    weights: torch.Tensor | None = None,
    validation: Validation = 0.1,
    loss: Loss = maximum_likelihood,
    batch_size: int = 512,
    max_epochs: int | None = None,
    max_steps: int | None = None,
    learning_rate: float | None = None,
    optimizer: MakeOptimizer | None = None,
    schedule: Schedule = "cosine",
    warmup_steps: int = 0,
    patience: int | None = 20,
    clip_norm: float | None = 5.0,
    ema: float | None = None,
    precision: Precision = "32-true",
    seed: int = 0,
    initialize: bool = True,
    folder: str | Path | None = None,
    checkpoint_every: int = 1000,
    progress: bool = True,
    trainer: Mapping[str, Any] | None = None,
) -> Fitted:
    r"""Fits a flow to data by maximum likelihood, in place.

    .. math:: \min_\theta \; -\sum_i w_i \log p_\theta(x_i \mid c_i) \Big/ \sum_i w_i

    Under ``torchrun`` all its processes share the work, and each step takes ``batch_size`` rows over all of them. One
    that is killed ends them all; against one that hangs there is the timeout of the process group, half an hour unless
    ``trainer={"strategy": DDPStrategy(timeout=...)}`` says less.

    Args:
        flow: the flow.
        x: ``(n, *event_shape)``.
        context: ``(n, *context_shape)`` where the flow has one.
        weights: ``(n,)``, how much each row counts; all the same by default.
        validation: which part of the rows, drawn by the seed, to hold back, or the rows themselves: ``x``,
            ``(x, context)`` or ``(x, context, weights)``; None for none.
        loss: what to minimise, a mean over rows, of flow, values, contexts and weights.
        batch_size: how many rows a step, over all processes.
        max_epochs: how often to go through the data at most; 100 if no end is given.
        max_steps: how many steps to take at most.
        learning_rate: Adam's; 1e-3 by default.
        optimizer: makes another optimiser of the parameters, with a learning rate of its own.
        schedule: how the learning rate goes: ``"cosine"`` to zero, or ``"constant"``.
        warmup_steps: over how many steps it rises from zero first.
        patience: after how many validations without a lower loss to stop; None for never.
        clip_norm: the largest norm of the gradient; None for any.
        ema: averages weights over the last steps with this decay, such as 0.999, and validates the average.
        precision: ``"bf16-mixed"`` for mixed precision; a ``"...-true"`` converts the flow, but for the default, which
            leaves it as it is.
        seed: of the order of the rows, of what is held back, and of all that is drawn meanwhile; torch's own random
            numbers are left as they were.
        initialize: whether to start layers that are started from data.
        folder: where to keep checkpoints; a run that was killed goes on from there, to the same weights.
        checkpoint_every: how many steps from one to the next.
        progress: whether to show a bar.
        trainer: further options of Lightning's ``Trainer``: ``accelerator``, ``devices`` (1 by default), ``strategy``,
            ``num_nodes``, ``logger``, ``callbacks``, ``val_check_interval``...

    Returns:
        The losses, and how it went. The flow has the weights of the lowest validation loss.

    Raises:
        ShapeError, ContextError: if data, contexts and weights do not fit the flow and each other.
        DomainError: for rows that are not finite or outside the flow's support, by their numbers; or after a hundred
            steps in a row that are not finite.
        OptionError, OptionTypeError: for options out of their range.
        FileError: if the folder cannot be used, or has a checkpoint of another run.

    Example:
        >>> import flowtorch.bijectors as bij, flowtorch.distributions as dist
        >>> flow = dist.Flow(dist.DiagNormal(1), bij.Affine())
        >>> found = fit(flow, 5 + 2 * torch.randn(2000, 1), max_steps=400, learning_rate=0.1, progress=False)
        >>> abs(float(flow.sample((10_000,)).mean()) - 5) < 0.3
        True
    """
    _check(initialize, progress, seed, checkpoint_every, patience, max_epochs, max_steps, clip_norm, ema, precision)
    options.instance("fit", "flow", flow, Flow)
    given = _trainer_options(trainer)
    callbacks = given.pop("callbacks", None) or []
    module = FlowModule(
        flow,
        loss=loss,
        optimizer=optimizer,
        learning_rate=learning_rate,
        schedule=schedule,
        warmup_steps=warmup_steps,
    )
    train, held = split(flow, checked(flow, x, context, weights, "x"), validation, seed)
    data = TensorData(train, held, batch_size=batch_size, seed=seed)
    keep, losses = KeepBest(patience), Losses()
    own: list[Callback] = [Seeds(seed), losses, keep]
    if ema is not None:
        own.append(Averages(ema))  # after what looks at the weights of a validation
    resume: Path | None = None
    if folder is not None:
        run = about(
            train,
            held,
            flow,
            {
                "loss": loss,
                "batch_size": batch_size,
                "max_epochs": max_epochs,
                "max_steps": max_steps,
                "learning_rate": learning_rate,
                "optimizer": optimizer,
                "schedule": schedule,
                "warmup_steps": warmup_steps,
                "patience": patience,
                "clip_norm": clip_norm,
                "ema": ema,
                "precision": precision,
                "seed": seed,
            },
        )
        path, there = checkpoint(folder, run)
        resume = path if there else None
        own.insert(0, Checkpoints(path, checkpoint_every, run, data))

    start = time.monotonic()
    with as_it_was(flow), quiet():
        torch.manual_seed(derived_seed(seed, "initialize"))
        if initialize and resume is None:
            device = next(flow.parameters()).device
            some = (None if t is None else t[:_INITIAL].to(device) for t in (train.value, train.context))
            flow.initialize(*some)  # type: ignore[arg-type]  # the first of them is a tensor
        runner = Trainer(
            max_epochs=100 if max_epochs is None and max_steps is None else (-1 if max_epochs is None else max_epochs),
            max_steps=-1 if max_steps is None else max_steps,
            gradient_clip_val=clip_norm,
            precision=precision,
            enable_progress_bar=progress,
            callbacks=[*own, *(callbacks if isinstance(callbacks, list | tuple) else [callbacks])],
            **given,
        )
        with interruptible():
            runner.fit(module, data, ckpt_path=resume, weights_only=True)
    best = keep.weights is not None
    return Fitted(
        steps=runner.global_step,
        epochs=runner.current_epoch,
        seconds=time.monotonic() - start,
        train=tuple(losses.train),
        validation=tuple(losses.validation),
        best_loss=keep.best if best else None,
        best_step=keep.step if best else None,
        stopped_early=keep.stopped,
        skipped=tuple(module.skipped),
    )


def _check(
    initialize: bool,
    progress: bool,
    seed: int,
    checkpoint_every: int,
    patience: int | None,
    max_epochs: int | None,
    max_steps: int | None,
    clip_norm: float | None,
    ema: float | None,
    precision: str,
) -> None:
    options.boolean("fit", "initialize", initialize)
    options.boolean("fit", "progress", progress)
    options.integer("fit", "seed", seed)
    options.integer("fit", "checkpoint_every", checkpoint_every, minimum=1)
    for name, count in (("patience", patience), ("max_epochs", max_epochs), ("max_steps", max_steps)):
        if count is not None:
            options.integer("fit", name, count, minimum=1)
    if clip_norm is not None:
        options.number("fit", "clip_norm", clip_norm, above=0.0)
    if ema is not None:
        options.number("fit", "ema", ema, above=0.0, below=1.0)
    options.one_of("fit", "precision", precision, get_args(Precision))


def _trainer_options(trainer: Mapping[str, Any] | None) -> dict[str, Any]:
    if trainer is not None and not isinstance(trainer, Mapping):
        raise OptionTypeError(
            f"fit: trainer is expected to be a dict of options of Lightning's Trainer; got {options.short(trainer)}."
        )
    for theirs, ours in _OWN.items():
        if theirs in (trainer or {}):
            raise OptionError(f"fit: {ours}=... is expected to say {theirs}; got it within trainer.")
    own: dict[str, Any] = {
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
    }
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        own |= {"devices": local, "num_nodes": int(os.environ["WORLD_SIZE"]) // local, "strategy": "ddp"}
    return own | dict(trainer or {})
