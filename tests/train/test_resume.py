"""Runs that are killed go on to bitwise the same weights."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import flowtorch.distributions as dist
from flowtorch.errors import FileError
from flowtorch.train import Fitted

from . import a_run

ROOT = Path(__file__).parents[2]


class Stop(Exception):
    """What ends a run in these tests."""


def stop() -> None:
    raise Stop


def stopped(folder: Path, step: int, hook: str, **options: Any) -> None:
    """Begins a run that ends at a step."""
    with contextlib.suppress(Stop):
        a_run.train(folder, callbacks=(a_run.At(step, hook, stop),), **options)


def assert_same(one: tuple[Fitted, dist.Flow], other: tuple[Fitted, dist.Flow]) -> None:
    assert a_run.flow_digest(one[1]) == a_run.flow_digest(other[1])
    for name in ("steps", "epochs", "train", "validation", "best_loss", "best_step", "stopped_early", "skipped"):
        assert getattr(one[0], name) == getattr(other[0], name), name


@pytest.fixture(scope="module")
def whole() -> tuple[Fitted, dist.Flow]:
    torch.set_num_threads(1)
    return a_run.train(None)


@pytest.mark.parametrize("hook", [h for h in a_run.HOOKS if h != "writing"])
def test_a_run_goes_on_to_the_same_weights(hook: str, whole: tuple[Fitted, dist.Flow], tmp_path: Path) -> None:
    # At the last step of an epoch, and in the last epoch, which max_steps cuts short.
    for step in (6, 21):
        stopped(tmp_path / str(step), step, hook)
        assert_same(a_run.train(tmp_path / str(step), flow_seed=2), whole)


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 3, 7, 100])
@pytest.mark.parametrize("hook", [h for h in a_run.HOOKS if h != "writing"])
def test_a_run_stopped_at_any_step_goes_on(
    hook: str, every: int, whole: tuple[Fitted, dist.Flow], tmp_path: Path
) -> None:
    for step in range(a_run.STEPS):
        stopped(tmp_path / str(step), step, hook, checkpoint_every=every)
        assert_same(a_run.train(tmp_path / str(step), flow_seed=2, checkpoint_every=every), whole)


OTHERS: dict[str, dict[str, Any]] = {
    "validations amid an epoch": {"trainer": {"val_check_interval": 2}},
    "validations every 5 steps": {"trainer": {"val_check_interval": 5, "check_val_every_n_epoch": None}},
    "two batches a step": {"trainer": {"accumulate_grad_batches": 2}, "max_steps": 12},
    "parts of epochs": {"trainer": {"limit_train_batches": 4}},
    "one batch an epoch": {"batch_size": 100, "max_steps": 9},
    "epochs": {"max_steps": None, "max_epochs": 3},
    "early stopping": {"patience": 1, "max_steps": None, "max_epochs": 40, "learning_rate": 0.3, "ema": None},
    "no validation": {"validation": None, "patience": None},
    "mixed precision": {"precision": "bf16-mixed"},
    "momentum": {"learning_rate": None, "optimizer": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)},
}


@pytest.mark.parametrize("name", OTHERS)
def test_runs_with_other_options_go_on_too(name: str, tmp_path: Path) -> None:
    options = OTHERS[name]
    whole = a_run.train(None, **options)
    if name == "early stopping":
        assert whole[0].stopped_early
    for step, hook in ((4, "on_train_batch_start"), (8, "on_train_batch_end")):
        stopped(tmp_path, step, hook, **options)
    assert_same(a_run.train(tmp_path, flow_seed=2, **options), whole)
    assert_same(a_run.train(tmp_path, flow_seed=3, **options), whole)  # it had ended


def test_a_run_goes_on_however_often_it_is_stopped(whole: tuple[Fitted, dist.Flow], tmp_path: Path) -> None:
    for step, hook in zip((0, 2, 3, 7, 13, 14, 20), itertools.cycle(a_run.HOOKS[:4])):
        stopped(tmp_path, step, hook)
    assert_same(a_run.train(tmp_path, flow_seed=2), whole)


def test_what_a_kill_leaves_of_a_file_breaks_nothing(whole: tuple[Fitted, dist.Flow], tmp_path: Path) -> None:
    stopped(tmp_path, 9, "on_train_batch_end")
    (tmp_path / "last.ckpt.part").write_bytes((tmp_path / "last.ckpt").read_bytes()[:1000])
    assert_same(a_run.train(tmp_path, flow_seed=2), whole)
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    stopped(tmp_path, 9, "on_train_batch_end")
    for changed in ({"seed": 1}, {"learning_rate": 0.01}, {"ema": None}, {"max_steps": 30}, {"clip_norm": 1.0}):
        with pytest.raises(FileError, match=f"another .*{next(iter(changed))}"):
            a_run.train(tmp_path, **changed)
    path = tmp_path / "last.ckpt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FileError, match="damaged"):
        a_run.train(tmp_path)


# By SIGKILL, in processes of their own --------------------------------------------------------------------------------


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.train.a_run", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(20))
def test_a_run_that_is_killed_goes_on_to_the_same_weights(
    number: int, whole: tuple[Fitted, dist.Flow], tmp_path: Path
) -> None:
    draw = random.Random(number)
    step, hook = draw.randrange(1, a_run.STEPS), a_run.HOOKS[number % len(a_run.HOOKS)]
    dead = run(tmp_path, step, hook)
    assert dead.returncode == -signal.SIGKILL, dead.stderr[-2000:]
    if hook == "writing":
        assert (tmp_path / "last.ckpt.part").stat().st_size == 2000
    again = run(tmp_path)
    assert again.returncode == 0, again.stderr[-2000:]
    found, flow = whole
    assert again.stdout.split() == [str(found.steps), str(found.best_step), a_run.flow_digest(flow)]
