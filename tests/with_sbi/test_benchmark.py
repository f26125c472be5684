"""``scripts/examples/sbi_benchmark.py``: its simulators, the files it reads, its score, and a short run of it."""

from __future__ import annotations

import bz2
import importlib.util
import math
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

PATH = Path(__file__).parents[2] / "scripts" / "examples" / "sbi_benchmark.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scripts_examples_sbi_benchmark", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_moons_is_a_half_ring_that_the_parameters_move(script: ModuleType) -> None:
    theta = torch.tensor([0.3, -0.7]).expand(20_000, 2)
    x = script.moon(theta)
    ring = x - torch.tensor([0.25 - 0.4 / math.sqrt(2), -1.0 / math.sqrt(2)])
    assert (ring[:, 0] > 0).all()
    radius = ring.norm(dim=-1)
    torch.testing.assert_close(radius.mean(), torch.tensor(0.1), rtol=0, atol=1e-3)
    torch.testing.assert_close(radius.std(), torch.tensor(0.01), rtol=0, atol=1e-3)
    # The signs of both parameters, exchanged: the same observation.
    torch.manual_seed(0)
    one = script.moon(theta)
    torch.manual_seed(0)
    torch.testing.assert_close(script.moon(-theta.flip(-1)), one)


def test_gaussian_linear_has_variances_of_a_tenth(script: ModuleType) -> None:
    prior = script.TASKS["gaussian_linear"].prior
    theta = prior.sample((50_000,))
    noise = script.shifted(theta) - theta
    for values in (theta, noise):
        torch.testing.assert_close(values.var(0), torch.full((10,), 0.1), rtol=0.05, atol=0)


def test_the_score_is_half_for_the_same_and_one_for_others(script: ModuleType) -> None:
    x, y = torch.randn(600, 2), torch.randn(600, 2)
    assert abs(script.score(x, y) - 0.5) < 0.05
    assert script.score(x, y + 6) > 0.99


def wheel(path: Path, at: np.ndarray, draws: np.ndarray) -> Path:
    """Laid out as the benchmark's."""

    def text(rows: np.ndarray) -> bytes:
        lines = [",".join(map(str, row)) for row in rows.tolist()]
        return "\n".join(["one,two", *lines, ""]).encode()

    folder = "sbibm/tasks/two_moons/files/num_observation_3"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{folder}/observation.csv", text(at[None]))
        file.writestr(f"{folder}/reference_posterior_samples.csv.bz2", bz2.compress(text(draws)))
    return path


def test_it_reads_the_wheel_and_files_of_numpys(script: ModuleType, tmp_path: Path) -> None:
    at, draws = np.float32([0.5, -0.25]), np.float32([[1, 2], [3, 4], [5, 6]])
    np.savez(tmp_path / "draws.npz", two_moons_obs=at, two_moons_ref=draws)
    for path, observation in ((wheel(tmp_path / "b.whl", at, draws), 3), (tmp_path / "draws.npz", 1)):
        found = script.given(path, "two_moons", observation)
        assert [t.tolist() for t in found] == [at.tolist(), draws.tolist()]
    with pytest.raises(SystemExit, match="the first observation only"):
        script.given(tmp_path / "draws.npz", "two_moons", 2)


@pytest.mark.slow
def test_a_short_run(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "draws.npz", two_moons_obs=np.zeros(2, "f4"), two_moons_ref=np.eye(2, dtype="f4")[[0, 1] * 100])
    arguments = [str(tmp_path / "draws.npz"), "--tasks", "two_moons", "--seeds", "0", "--simulations", "400"]
    monkeypatch.setattr(sys, "argv", ["sbi_benchmark.py", *arguments])
    script.main()
    text = capsys.readouterr().out
    assert "two_moons, 400 simulations: C2ST" in text and "NOT within" in text
