"""What ``flowtorch.train`` refuses: each message by its key words."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributions as td

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
from flowtorch.errors import ContextError, DomainError, FileError, OptionError, OptionTypeError, ShapeError
from flowtorch.train import FlowModule, Rows, TensorData, fit

X = torch.linspace(-1, 1, 40).reshape(20, 2)
BAD = X.clone()
BAD[[3, 4, 8, 9, 11, 17]] = torch.nan


def flow(*plans: bij.Bijector, **options: Any) -> dist.Flow:
    return dist.Flow(dist.DiagNormal(2), bij.Compose([bij.Affine(), *plans]), **options)


def fitting(x: Any = X, *context: Any, of: dist.Flow | None = None, **options: Any) -> Callable[[], object]:
    options = {"max_steps": 1, "progress": False, "trainer": {"accelerator": "cpu"}} | options
    return lambda: fit(of or flow(), x, *context, **options)


def in_folder(prepare: Callable[[Path], object], **options: Any) -> Callable[[], object]:
    def call() -> object:
        with tempfile.TemporaryDirectory() as folder:
            prepare(Path(folder))
            return fitting(folder=Path(folder) / "run", **options)()

    return call


def infinite(flow: dist.Flow, x: torch.Tensor, *_: Any) -> torch.Tensor:
    return flow(x).mean() / 0


def hopeless() -> object:
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "FlowModule: step")
        return fitting(loss=infinite, max_steps=200, validation=None)()


def another_run(**options: Any) -> Callable[[], object]:
    return in_folder(lambda folder: fitting(folder=folder / "run")(), **options)


REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionTypeError: {
        "fit: flow is expected to be a Flow; got": lambda: fit(bij.Affine(), X),  # type: ignore[arg-type]
        "fit: x is expected to be a tensor; got list": fitting([[1.0, 2.0]]),
        "fit: context is expected to be a tensor; got int 3": fitting(X, 3),
        "fit: weights is expected to be a tensor; got list": fitting(weights=[1.0] * 20),
        "fit: validation is expected to be a tensor; got": fitting(validation=(None, X)),
        "fit: validation is expected to be a number; got 'all'": fitting(validation="all"),
        "fit: initialize is expected to be True or False": fitting(initialize=1),
        "fit: progress is expected to be True or False": fitting(progress="no"),
        "fit: seed is expected to be an integer": fitting(seed=None),
        "fit: max_steps is expected to be an integer; got 1.0": fitting(max_steps=1.0),
        "fit: trainer is expected to be a dict ... got list": fitting(trainer=[]),
        "FlowModule: flow is expected to be a Flow": lambda: FlowModule(X),  # type: ignore[arg-type]
        "FlowModule: loss is expected to be a function; got float": fitting(loss=1.0),
        "FlowModule: optimizer is expected to be a function; got str": fitting(optimizer="adam"),
        "FlowModule: optimizer is expected to return a torch optimizer; got dict": fitting(optimizer=lambda p: {}),
        "FlowModule: learning_rate is expected for Adam only; got": fitting(
            learning_rate=0.1, optimizer=torch.optim.SGD
        ),
        "FlowModule: a flow with parameters to train is expected; got": fitting(
            of=dist.Flow(dist.DiagNormal(2), bij.Permute((1, 0)))
        ),
        "TensorData: train is expected to be a Rows; got": lambda: TensorData(X),  # type: ignore[arg-type]
        "TensorData: validation is expected to be a Rows; got": lambda: TensorData(
            Rows(X),
            X,  # type: ignore[arg-type]
        ),
        "TensorData: seed is expected to be an integer; got": lambda: TensorData(Rows(X), seed=0.5),  # type: ignore[arg-type]
    },
    OptionError: {
        "fit: validation is expected to lie in (0, 1); got 1.0": fitting(validation=1.0),
        "fit: validation is expected to be x, (x, context) ... got 4 entries": fitting(validation=(X, X, X, X)),
        "fit: rows to learn from are expected beside validation=0.5; got 1": fitting(X[:1], validation=0.5),
        "fit: max_epochs is expected to be at least 1; got 0": fitting(max_epochs=0),
        "fit: max_steps is expected to be at least 1; got 0": fitting(max_steps=0),
        "fit: patience is expected to be at least 1; got 0": fitting(patience=0),
        "fit: checkpoint_every is expected to be at least 1; got 0": fitting(checkpoint_every=0),
        "fit: clip_norm is expected to lie in (0, inf); got 0.0": fitting(clip_norm=0.0),
        "fit: ema is expected to lie in (0, 1); got 1.0": fitting(ema=1.0),
        "fit: precision is expected to be one of '32-true' ... got '8-bit'": fitting(precision="8-bit"),
        "fit: max_epochs=... is expected to say max_epochs; got": fitting(trainer={"max_epochs": 3}),
        "fit: clip_norm=... is expected to say gradient_clip_val; got": fitting(trainer={"gradient_clip_val": 3}),
        "FlowModule: learning_rate is expected to lie in (0, inf); got -0.1": fitting(learning_rate=-0.1),
        "FlowModule: schedule is expected to be one of 'constant', 'cosine'; got 'step'": fitting(schedule="step"),
        "FlowModule: warmup_steps is expected to be at least 0; got -1": fitting(warmup_steps=-1),
        "TensorData: batch_size is expected to be at least 1; got 0": fitting(batch_size=0),
        "Rows: weights (n,), finite, none negative, not all zero, are expected; got": fitting(weights=-torch.ones(20)),
    },
    ShapeError: {
        "fit: x is expected to be of shape (n, 2), n at least 1; got (20, 3)": fitting(torch.ones(20, 3)),
        "fit: x is expected to be of shape (n, 2), n at least 1; got (0, 2)": fitting(X[:0]),
        "fit: x is expected to be of shape (n, 2), n at least 1; got (2,)": fitting(X[0]),
        "fit: validation is expected to be of shape (n, 2)": fitting(validation=torch.ones(20, 3)),
        "fit: a context for each of the 20 rows of x is expected; got shape (5, 1)": fitting(
            X, torch.ones(5, 1), of=flow(context_shape=(1,))
        ),
        "fit: a context for each of the 20 rows of x is expected; got shape (20, 1, 1)": fitting(
            X, X[:, None, :1], of=flow(context_shape=(1,))
        ),
        "fit: a flow without batch dimensions is expected; got batch (20,)": fitting(
            of=dist.Flow(td.Independent(td.Normal(torch.zeros(20, 2), 1.0), 1), bij.AffineCoupling())
        ),
        "fit: a context for each of the 20 rows of validation is expected; got shape (1,)": fitting(
            X, X[:, :1], of=flow(context_shape=(1,)), validation=(X, torch.ones(1))
        ),
        "Rows: as many rows of weights as of values, 20, are expected; got shape (3,)": fitting(weights=torch.ones(3)),
        "Rows: at least one row is expected; got": lambda: Rows(torch.ones(0, 2)),
    },
    ContextError: {
        "fit: a context of shape (*batch, *context) with context (1,) is expected; got none": fitting(
            of=flow(context_shape=(1,))
        ),
        "fit: no context is expected, as none was declared (context_shape=None); got one": fitting(X, X),
    },
    DomainError: {
        "fit: finite values in x are expected; got others in rows 3, 4, 8, 9, 11 and 1 more, of 20.": fitting(BAD),
        "fit: finite values in the context of x are expected; got others in rows 3, 4": fitting(
            X, BAD, of=flow(context_shape=(2,))
        ),
        "fit: finite values in validation are expected; got others in rows 3, 4": fitting(validation=BAD),
        "fit: x in the flow's support are expected; got others in rows 0, 1": fitting(of=flow(bij.Exp())),
        "FlowModule: steps with a finite loss and gradient are expected; got 100 in a row without": hopeless,
    },
    FileError: {
        "fit: a folder to write to is expected; got": in_folder(lambda folder: (folder / "run").write_text("a file")),
        "fit: a folder to write to is expected; got 3": fitting(folder=3),
        "fit: a checkpoint that fit wrote is expected in ... got another file": in_folder(
            lambda folder: ((folder / "run").mkdir(), (folder / "run" / "last.ckpt").write_bytes(b"PK nonsense"))
        ),
        "fit: the checkpoint of this run is expected in ... with another data, seed.": another_run(seed=1),
        "with another batch_size, learning_rate.": another_run(batch_size=5, learning_rate=0.1),
        "with another data.": another_run(x=X + 1),
        "with another data. Choose": another_run(weights=torch.arange(20.0)),
        "with another flow.": another_run(of=flow(bij.AffineCoupling())),
        "with another loss.": another_run(loss=infinite),
    },
}
