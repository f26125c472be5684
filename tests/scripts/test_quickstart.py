"""scripts/quickstart: three commands of the command line, from a table to figures, a picture and samples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flowtorch.cli import tables
from flowtorch.cli.lattice import find_lattice

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import quickstart  # noqa: E402

FILES = ["held_out.csv", "model.flow", "quickstart.png", "samples.csv"]


def table(path: Path) -> str:
    chance = np.random.default_rng(0)
    frame = pd.DataFrame({"x": chance.normal(size=300), "n": chance.integers(0, 9, 300), "k": 5, "note": "text"})
    frame.loc[3, "x"] = np.nan
    frame.to_csv(path, index=False)
    return str(path)


def test_a_table_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, out = table(tmp_path / "t.csv"), tmp_path / "deep" / "out"
    small = ["--set", "layers=1", "--set", "hidden_dims=8", "--no-progress"]
    quickstart.main([mine, "--out", str(out), "--smoke", *small])
    assert sorted(path.name for path in out.iterdir()) == FILES
    rows = pd.read_csv(out / "samples.csv")
    assert list(rows.columns) == ["x", "n"] and len(rows) == 1000 and rows["n"].dtype.kind == "i"
    said = capsys.readouterr().out
    for words in ("$ flowtorch fit", "'note'", "1 of 300 rows", "'k'", "step 1: n", "Gaussian", "samples.csv", "smoke"):
        assert words in said
    quickstart.main(
        [mine, "--out", str(out), "--steps", "20", "--given", "x", *small]
    )  # again, in its own files' place
    assert len(pd.read_csv(out / "samples.csv")) == len(pd.read_csv(out / "held_out.csv")) == 30


def test_a_failure_ends_it_with_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    for words, code in (([str(tmp_path / "none.csv")], 1), ([table(tmp_path / "t.csv"), "--speed"], 2)):
        with pytest.raises(SystemExit) as raised:
            quickstart.main([*words, "--out", str(out)])
        assert raised.value.code == code and capsys.readouterr().err.startswith("flowtorch: ")
    with pytest.raises(SystemExit, match="2"):
        quickstart.main(["--out", str(tmp_path / "t.csv")])
    assert list(out.iterdir()) == []


def test_the_table_that_comes_with_it() -> None:
    assert quickstart.DEFAULT_TABLE.stat().st_size < 1_000_000
    frame = tables.read(quickstart.DEFAULT_TABLE)
    assert frame.shape == (160_000, 6)
    found = [find_lattice(frame[name].to_numpy(dtype=float)) for name in frame.columns]
    assert [lattice.step for lattice in found if lattice] == [0.002, 0.01, 1, 1, 1, 1]
    credit = (SCRIPTS / "data" / "README.md").read_text()
    assert "CC BY 4.0" in credit and "10.24432/C58K54" in credit


@pytest.mark.slow
def test_the_default_run_beats_the_gaussian_by_seven_and_a_half_nats(tmp_path: Path) -> None:
    words = [sys.executable, str(SCRIPTS / "quickstart.py"), "--out", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    difference = next(line for line in done.stdout.splitlines() if "difference" in line)
    assert float(difference.split()[1]) >= 7.5
