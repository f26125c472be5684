"""Two processes: the same gradients as one, and an end, not a hang, if one of them is lost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from . import a_shared_run

ROOT = Path(__file__).parents[2]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="gloo is not built in"),
]


def start(folder: Path, *arguments: str, torchrun: bool = True) -> tuple[subprocess.CompletedProcess[str], float]:
    """Runs it to its end, and returns how long that took after it was disturbed."""
    command = [sys.executable, *(TORCHRUN if torchrun else ()), "-m", "tests.train.a_shared_run", str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=600
    )
    ended, disturbed = time.time(), folder / "disturbed"
    return found, ended - float(disturbed.read_text()) if disturbed.exists() else 0.0


@pytest.mark.parametrize(
    ("torchrun", "cases"), [(True, a_shared_run.CASES), (False, ("weighted",))], ids=["torchrun", "strategy"]
)
def test_gradients_and_weights_are_those_of_one_process(torchrun: bool, cases: tuple[str, ...], tmp_path: Path) -> None:
    found, _ = start(tmp_path, *cases, *(() if torchrun else ("--devices", "2")), torchrun=torchrun)
    assert found.returncode == 0, found.stderr[-3000:]
    torch.set_num_threads(1)
    for case in cases:
        expected, flow = a_shared_run.train(case, {})
        for rank in (0, 1):
            gradients = torch.load(tmp_path / f"{case}-gradients-{rank}.pt")
            assert len(gradients) == len(expected) == 8  # two of them are of one row, which one process gets none of
            torch.testing.assert_close(gradients, expected, atol=1e-6, rtol=0.0)
            weights = torch.load(tmp_path / f"{case}-weights-{rank}.pt")
            torch.testing.assert_close(weights, dict(flow.state_dict()), atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize("torchrun", [True, False], ids=["torchrun", "strategy"])
def test_a_process_that_is_killed_ends_them_all(rank: str, torchrun: bool, tmp_path: Path) -> None:
    arguments = ("plain", "--disturb", rank, "SIGKILL", *(() if torchrun else ("--devices", "2")))
    found, seconds = start(tmp_path, *arguments, torchrun=torchrun)
    assert found.returncode != 0 and 0 < seconds < 60
    assert [path.name for path in tmp_path.iterdir()] == ["disturbed"]


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_process_that_hangs_ends_them_all_after_the_timeout(rank: str, tmp_path: Path) -> None:
    found, seconds = start(tmp_path, "plain", "--disturb", rank, "SIGSTOP", "--timeout", "12")
    assert found.returncode != 0
    assert re.search("timed out|timeout", found.stderr, re.IGNORECASE), found.stderr[-6000:]
    assert 8 < seconds < 90  # torchrun waits half a minute for the one that does not answer
    assert [path.name for path in tmp_path.iterdir()] == ["disturbed"]


def test_the_examples_run_on_two_processes(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "examples" / "distributed.py"
    command = [sys.executable, *TORCHRUN, str(script), "--steps", "20"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
    assert found.returncode == 0, found.stderr[-3000:]
    assert found.stdout.count("the same on all 2 processes") == 3, found.stdout
    losses = dict(re.findall(r"^(\w+) +loss (\S+),", found.stdout, re.MULTILINE))
    assert set(losses) == {"fit", "DDP", "FSDP"} and losses["DDP"] == losses["FSDP"]  # the same rows, the same steps
