"""The table of float32 errors in the documentation is that of the maps as they are."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("precision", ROOT / "scripts" / "precision.py")
assert spec is not None and spec.loader is not None
precision = importlib.util.module_from_spec(spec)
spec.loader.exec_module(precision)


@pytest.fixture(scope="module")
def table() -> dict[str, list[float | None]]:
    lines = [line for line in precision.PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: [float(v) if v else None for v in figures] for name, *figures in cells}


def test_every_map_has_its_row(table: dict[str, list[float | None]]) -> None:
    assert list(table) == list(precision.MAPS), "run scripts/precision"


@pytest.mark.parametrize("name", precision.MAPS)
def test_figures_are_those_of_today(name: str, table: dict[str, list[float | None]]) -> None:
    for written, measured in zip(table[name], precision.measure(precision.MAPS[name]), strict=True):
        if written is None or measured is None:
            assert written is measured
        else:  # another processor rounds other sums
            assert written / 5.0 - 1e-7 < measured < 5.0 * written + 1e-6, (written, measured)
