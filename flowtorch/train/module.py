"""A flow as a Lightning module: loss, optimiser, schedule, and steps that are left out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler

from .. import options
from ..distributions import Flow
from ..errors import DomainError, OptionTypeError
from ..objectives import maximum_likelihood
from .data import Batch
from .diagnosis import where_it_began

Schedule: TypeAlias = Literal["constant", "cosine"]
Loss: TypeAlias = Callable[[Flow, torch.Tensor, torch.Tensor | None, torch.Tensor | None], torch.Tensor]
MakeOptimizer: TypeAlias = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]

IN_A_ROW = 100  # so many steps left out one after the other end the run: it learns nothing


class FlowModule(LightningModule):
    r"""A flow with what Lightning's ``Trainer`` asks for, for people who have a Trainer of their own.

    .. math:: \min_\theta \; \frac{\sum_i w_i \, \ell_\theta(x_i, c_i)}{\sum_i w_i}, \qquad
        \ell_\theta = -\log p_\theta \text{ by default}

    It logs ``validation_loss``, and every tenth step, or as often as loggers ask, ``train_loss``. A step whose loss or
    gradient is not finite is left out, by all processes, and told of with the layer and the rows where it began; a
    hundred of them in a row are an error.

    Args:
        flow: the flow.
        loss: what to minimise: a mean over rows, of flow, values, contexts and weights (the last two None if there are
            none), such as those of ``flowtorch.objectives``. It calls the flow, ``flow(x, context)``, where it can.
        optimizer: makes the optimiser of the parameters; Adam by default.
        learning_rate: Adam's, if there is no other optimiser; 1e-3 by default.
        schedule: how the learning rate goes: ``"constant"``, or ``"cosine"`` to zero at the end of training.
        warmup_steps: over how many steps it rises from zero first.

    Raises:
        OptionError, OptionTypeError: for options out of their range.
        DomainError: in training, after a hundred steps in a row that are not finite.

    Example:
        >>> import flowtorch.bijectors as bij, flowtorch.distributions as dist
        >>> module = FlowModule(dist.Flow(dist.DiagNormal(2), bij.AffineCoupling()), learning_rate=5e-3)
        >>> module.flow.event_shape
        torch.Size([2])
    """

    def __init__(
        self,
        flow: Flow,
        *,
        loss: Loss = maximum_likelihood,
        optimizer: MakeOptimizer | None = None,
        learning_rate: float | None = None,
        schedule: Schedule = "constant",
        warmup_steps: int = 0,
    ) -> None:
        super().__init__()
        who = "FlowModule"
        options.instance(who, "flow", flow, Flow)
        options.one_of(who, "schedule", schedule, get_args(Schedule))
        options.integer(who, "warmup_steps", warmup_steps, minimum=0)
        for name, function in (("loss", loss), ("optimizer", optimizer)):
            if function is not None and not callable(function):
                raise OptionTypeError(f"{who}: {name} is expected to be a function; got {options.short(function)}.")
        if learning_rate is not None:
            options.number(who, "learning_rate", learning_rate, above=0.0)
            if optimizer is not None:
                raise OptionTypeError(
                    f"{who}: learning_rate is expected for Adam only; got it beside an optimizer, which has its own."
                )
        self.flow, self.loss, self.schedule, self.warmup_steps = flow, loss, schedule, warmup_steps
        self.make_optimizer, self.learning_rate = optimizer, learning_rate or 1e-3
        self.skipped: list[tuple[int, str]] = []
        self._last: Batch | None = None
        self._in_a_row = 0
        self._trained: list[torch.nn.Parameter] = []
        if not any(p.requires_grad for p in flow.parameters()):
            raise OptionTypeError(f"{who}: a flow with parameters to train is expected; got one without.")
        self._sums: list[torch.Tensor] = []

    def forward(self, value: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the log-density."""
        return self.flow.log_prob(value, context)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, torch.Tensor]:
        """Returns the loss of a batch, to differentiate and to show."""
        self._last = batch
        loss = self.loss(self.flow, batch.value, batch.context, batch.weights)
        shown = loss.detach()
        # DDP takes the mean over processes, and so each one's mean counts by its share of the rows.
        loss = loss if self.trainer.world_size == 1 else loss * batch.share
        # Not at every step, as it takes half as long as all else that Lightning does in one.
        every = math.gcd(int(self.trainer.log_every_n_steps), 10)  # type: ignore[attr-defined]  # set elsewhere
        if (self.global_step + 1) % every == 0 or self.trainer.is_last_batch:
            self.log("train_loss", shown, prog_bar=True, batch_size=len(batch.value))
        # A loss that is not finite may have finite gradients, zero where values were masked. This makes one entry NaN,
        # in all processes, and so all leave the step out.
        poison = torch.where(shown.isfinite(), 0.0, math.nan).to(loss.dtype)
        return {"loss": loss + poison * self._trained[self._smallest].sum(), "train_loss": shown}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leaves a step out whose gradient is not finite: what has no gradient, an optimiser lets be."""
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            return  # it leaves them out itself, and many of them while it looks for a scale
        # The norm that clipping takes; the largest entry would say the same, in ten times as long.
        if torch.nn.utils.get_total_norm([p.grad for p in self._trained if p.grad is not None]).isfinite():
            self._in_a_row = 0
            return
        batch = self._last
        assert batch is not None  # a step comes before
        reason = where_it_began(self.flow, batch.value, batch.context, batch.rows)
        self.skipped.append((self.global_step, reason))
        self._in_a_row += 1
        if self._in_a_row >= IN_A_ROW:
            raise DomainError(
                f"FlowModule: steps with a finite loss and gradient are expected; got {IN_A_ROW} in a row without, the "
                f"last one from {reason}"
            )
        if len(self.skipped) <= 3:
            text = f"FlowModule: step {self.global_step} is left out, its loss or gradient not being finite: {reason}"
            warnings.warn(text, stacklevel=2)
        optimizer.zero_grad(set_to_none=True)

    def on_validation_epoch_start(self) -> None:
        """Begins a sum."""
        self._sums = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds the loss of rows that are not learnt from."""
        loss = self.loss(self.flow, batch.value, batch.context, batch.weights)
        weight = batch.share * batch.total / self.trainer.world_size
        if weight > 0:
            self._sums.append(torch.stack([loss.double() * weight, loss.new_tensor(weight, dtype=torch.float64)]))

    def on_validation_epoch_end(self) -> None:
        """Logs the mean over all rows, each as much as it weighs."""
        zero = torch.zeros(2, dtype=torch.float64, device=self.device)
        total = self.trainer.strategy.reduce(sum(self._sums, zero), reduce_op="sum")
        assert isinstance(total, torch.Tensor)
        # The same in all processes; Lightning warns unless it may take the mean over them.
        self.log("validation_loss", (total[0] / total[1]).float(), prog_bar=True, sync_dist=True, batch_size=1)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Returns the optimiser and, where there is one, the schedule of its learning rate."""
        # Here, as a strategy may have put others in the place of those that there were.
        self._trained = [p for p in self.flow.parameters() if p.requires_grad]
        self._smallest = min(range(len(self._trained)), key=lambda i: self._trained[i].numel())
        optimizer = self._adam() if self.make_optimizer is None else self.make_optimizer(self._trained)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise OptionTypeError(
                f"FlowModule: optimizer is expected to return a torch optimizer; got {options.short(optimizer)}."
            )
        if self.schedule == "constant" and not self.warmup_steps:
            return optimizer
        total = self.trainer.estimated_stepping_batches if self.schedule == "cosine" else 0
        rate = Rate(self.schedule, self.warmup_steps, int(total))
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the steps left out."""
        checkpoint["skipped"] = {"steps": list(self.skipped), "in_a_row": self._in_a_row}

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Takes them back."""
        self.skipped = [(step, reason) for step, reason in checkpoint["skipped"]["steps"]]
        self._in_a_row = checkpoint["skipped"]["in_a_row"]

    def _adam(self) -> torch.optim.Optimizer:
        fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in self._trained)
        # In mixed precision Lightning does not clip gradients of a fused one.
        fused = fused and "mixed" not in str(self.trainer.precision)
        return torch.optim.Adam(self._trained, lr=self.learning_rate, fused=fused)


class Rate:
    """The learning rate at a step, as a part of its largest."""

    def __init__(self, schedule: Schedule, warmup_steps: int, total: int) -> None:
        self.schedule, self.warmup_steps, self.total = schedule, warmup_steps, total

    def __call__(self, step: int) -> float:
        """Returns it."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        if self.schedule == "constant":
            return 1.0
        done = (step - self.warmup_steps) / max(self.total - self.warmup_steps, 1)
        return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
