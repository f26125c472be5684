"""A run with all that resuming may get wrong, for the tests to kill; run by itself it prints what came of it.

python -m tests.train.a_run FOLDER [STEP HOOK]      ends by SIGKILL at a step, in a hook of Lightning's callbacks
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import warnings
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.train import Fitted, fit

HOOKS = (
    "on_train_batch_start",
    "on_before_optimizer_step",
    "on_train_batch_end",
    "on_validation_batch_end",
    "on_validation_end",
    "on_train_epoch_end",
    "writing",
)
STEPS = 22  # three epochs of seven steps and a piece


class Noisy(torch.nn.Sequential):
    """A network with dropout, and batch norm with its statistics."""

    def __init__(self, in_features: int, out_features: int) -> None:
        last = torch.nn.Linear(8, out_features)
        torch.nn.init.normal_(last.weight, std=0.01)
        layers = (torch.nn.Linear(in_features, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.3), torch.nn.Tanh())
        super().__init__(*layers, last)


def make(seed: int) -> tuple[dist.Flow, torch.Tensor, torch.Tensor]:
    """A conditional flow, with values and contexts."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        context = torch.randn(72, 2)
        x = context.sum(-1, keepdim=True) + torch.randn(72, 3)
        torch.manual_seed(seed)
        plan = bij.Compose([bij.AffineCoupling(params.Network(Noisy)), bij.ActNorm(), bij.SplineCoupling()])
        return dist.Flow(dist.DiagNormal(3), plan, context_shape=(2,)), x, context


def train(
    folder: object, flow_seed: int = 1, callbacks: tuple[Callback, ...] = (), **changed: Any
) -> tuple[Fitted, dist.Flow]:
    """Fits it, with everything turned on."""
    flow, x, context = make(flow_seed)
    options: dict[str, Any] = {
        "validation": 0.1,
        "batch_size": 10,
        "max_steps": STEPS,
        "learning_rate": 0.02,
        "warmup_steps": 3,
        "ema": 0.9,
        "patience": 50,
        "checkpoint_every": 1,
        "progress": False,
        "weights": torch.linspace(0.5, 2.0, len(x)),
        "trainer": {"callbacks": list(callbacks), "accelerator": "cpu", **changed.pop("trainer", {})},
    }
    return fit(flow, x, context, folder=folder, **(options | changed)), flow  # type: ignore[arg-type]


class At(Callback):
    """Does something at a step, in a hook."""

    def __init__(self, step: int, hook: str, act: Any) -> None:
        self.step, self.act = step, act
        if hook != "writing":
            setattr(self, hook, self._look)

    def _look(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step >= self.step:
            self.act()


def kill() -> None:
    """Ends this process, as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Runs, and perhaps dies."""
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    folder, *rest = sys.argv[1:]
    callbacks: tuple[Callback, ...] = ()
    if rest:
        step, hook = int(rest[0]), rest[1]
        callbacks = (At(step, hook, kill),)
        if hook == "writing":  # in the middle of a file
            save = torch.save

            def half(what: Any, file: Any, *args: Any, **kwargs: Any) -> None:
                if what["global_step"] >= step:
                    with open(f"{folder}/last.ckpt.part", "wb") as part:
                        part.write(b"PK" * 1000)
                    kill()
                save(what, file, *args, **kwargs)

            torch.save = half
    found, flow = train(folder, callbacks=callbacks)
    print(found.steps, found.best_step, flow_digest(flow))


def flow_digest(flow: dist.Flow) -> str:
    """A word for the weights, bit by bit."""
    digest = hashlib.sha256()
    for name, tensor in flow.state_dict().items():
        digest.update(name.encode() + tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
