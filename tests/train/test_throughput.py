"""scripts/bench/fit.py runs; what it finds is for a machine that does nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench" / "fit.py"


def test_the_throughput_of_fit_is_measured_beside_a_loop_by_hand(tmp_path: Path) -> None:
    names, table = np.array(["a", "b", "c"]), np.random.default_rng(0).normal(size=(300, 3))
    np.savez(tmp_path / "table.npz", names=names, x=table)
    command = [sys.executable, str(SCRIPT), "--batch", "64", "--steps", "3", "--rounds", "2"]
    command += ["--data", str(tmp_path / "table.npz")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    head, *rows = found.stdout.strip().splitlines()[-4:]  # after the bars
    assert head.startswith("300 rows of 3 columns")
    assert [row.split("  ")[0] for row in rows] == ["by hand", "fit", "fit, with its bar"]
    assert rows[0].count("100.0 %") == 2
