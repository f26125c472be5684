"""A fit that several processes share, for the tests to start and to disturb.

    python -m tests.train.a_shared_run FOLDER CASE ... [--disturb RANK SIGNAL] [--timeout SECONDS]

Writes the gradients of each step and the weights to FOLDER, a file for each case and process.
"""

from __future__ import annotations

import argparse
import datetime
import os
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
from flowtorch.train import fit

CASES = ("plain", "conditional", "weighted")
ROWS, BATCH = 41, 20  # the last batch of an epoch is of one row: one of two processes gets none


class Gradients(Callback):
    """Notes the gradients before each step, as the optimiser will see them."""

    def __init__(self) -> None:
        self.found: list[torch.Tensor] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.found.append(torch.cat([p.grad.flatten().clone() for p in pl_module.flow.parameters()]))


class Disturb(Callback):
    """Sends one of the processes a signal at the third step, and notes when."""

    def __init__(self, folder: Path, rank: int, what: str) -> None:
        self.folder, self.rank, self.what = folder, rank, what

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 3 and trainer.global_rank == self.rank:
            (self.folder / "disturbed").write_text(str(time.time()))
            os.kill(os.getpid(), getattr(signal, self.what))


def train(case: str, trainer: dict[str, Any], steps: int = 8) -> tuple[list[torch.Tensor], dist.Flow]:
    """Fits, and returns the gradients of all steps."""
    torch.manual_seed(3)
    context = torch.randn(ROWS, 2) if case == "conditional" else None
    x = torch.randn(ROWS, 3) * torch.tensor([1.0, 0.5, 2.0])
    weights = torch.linspace(0.1, 3.0, ROWS) if case == "weighted" else None
    plan = bij.Compose([bij.SplineCoupling(), bij.AffineAutoregressive()])
    flow = dist.Flow(dist.DiagNormal(3), plan, context_shape=None if context is None else (2,))
    for p in flow.parameters():
        torch.nn.init.normal_(p, std=0.1)
    flow.double()  # so that what differs by rounding differs by little, and stays so
    gradients = Gradients()
    callbacks = [gradients, *trainer.pop("callbacks", [])]
    fit(
        flow,
        x,
        context,
        weights=weights,
        validation=(x, context, weights),
        batch_size=BATCH,
        max_steps=steps,
        learning_rate=1e-3,
        progress=False,
        trainer={"accelerator": "cpu", "callbacks": callbacks, **trainer},
    )
    return gradients.found, flow


def main() -> None:
    """Runs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("cases", nargs="+", choices=CASES)
    parser.add_argument("--devices", type=int, help="starts as many processes itself, without torchrun")
    parser.add_argument("--disturb", nargs=2, metavar=("RANK", "SIGNAL"))
    parser.add_argument("--timeout", type=float)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    trainer: dict[str, Any] = {} if options.devices is None else {"devices": options.devices, "strategy": "ddp"}
    if options.disturb:
        trainer["callbacks"] = [Disturb(options.folder, int(options.disturb[0]), options.disturb[1])]
    if options.timeout is not None:
        trainer["strategy"] = DDPStrategy(timeout=datetime.timedelta(seconds=options.timeout))
    rank = int(os.environ.get("LOCAL_RANK", 0))
    for case in options.cases:
        gradients, flow = train(case, dict(trainer), 100_000 if options.disturb else 8)
        torch.save(gradients, options.folder / f"{case}-gradients-{rank}.pt")
        torch.save(flow.state_dict(), options.folder / f"{case}-weights-{rank}.pt")


if __name__ == "__main__":
    main()
