"""Exit codes: 0 done, 1 a file is refused, 2 what was typed is, 130 interrupted; one line says why, nothing is left."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from flowtorch.cli import main
from tests.cli.tables import iris, wine, written

FAST = ("--set", "layers=1", "--set", "hidden_dims=8", "--max-steps", "1", "--no-progress")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of flowers, and a model of it."""
    folder = tmp_path_factory.mktemp("files")
    table = written(iris(), folder / "iris.csv")
    assert main(["fit", str(table), "-o", str(folder / "iris.flow"), *FAST]) == 0
    return folder


def with_cell(row: int, column: str, value: object) -> Callable[[Path], object]:
    def prepare(folder: Path) -> None:
        frame = iris().astype(object)
        frame.loc[row - 1, column] = value
        written(frame, folder / "t.csv")

    return prepare


def text(content: str, name: str = "t.csv") -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def truncated(folder: Path) -> None:
    content = (folder / "iris.flow").read_bytes()
    (folder / "t.flow").write_bytes(content[: len(content) // 2])


def plan(content: str) -> Callable[[Path], object]:
    return text(content, "plan.yaml")


# The words, "@" standing for the folder; the exit code; the message; what to put there first.
BAD: dict[str, tuple[str, int, str, Callable[[Path], object] | None]] = {
    "a file that is not there": ("fit @none.csv -o @a.flow", 1, "a file is expected; got", None),
    "a file that is no table": ("fit @t.csv -o @a.flow", 1, "rows of more cells than its header", text("a\n1,2,3\n")),
    "a column of text": (
        "fit @t.csv -o @a.flow",
        1,
        "got 'setosa' in row 1 of column 'target'",
        lambda f: written(iris().assign(target="setosa"), f / "t.csv"),
    ),
    "a missing value": (
        "fit @t.csv -o @a.flow",
        1,
        "got nothing in row 17 of column 'petal_width'",
        with_cell(17, "petal_width", None),
    ),
    "a constant column": (
        "fit @t.csv -o @a.flow",
        1,
        "got one value in all rows of 'sepal_width'",
        lambda f: written(iris().assign(sepal_width=3), f / "t.csv"),
    ),
    "a value out of bounds": (
        "fit @iris.csv -o @a.flow --bounds petal_length=0:6",
        1,
        "between 0 and 6 are expected in",
        None,
    ),
    "a column that is not there": (
        "fit @iris.csv -o @a.flow --columns sepal_lenght",
        2,
        "Did you mean 'sepal_length'?",
        None,
    ),
    "an unknown flow": ("fit @iris.csv -o @a.flow --flow spline", 2, "a ready-made flow", None),
    "an option that the flow has not": ("fit @iris.csv -o @a.flow --set layrs=3", 2, "Did you mean 'layers'?", None),
    "an option's bad value": (
        "fit @iris.csv -o @a.flow --set layers=none",
        2,
        "layers is expected to be an integer",
        None,
    ),
    "an unknown option": ("fit @iris.csv -o @a.flow --speed", 2, "unrecognized arguments: --speed", None),
    "no such command": ("train @iris.csv", 2, "invalid choice: 'train'", None),
    "YAML that is none": ("fit @iris.csv -o @a.flow --flow @plan.yaml", 2, "YAML is expected", plan("type: [")),
    "a plan that does not fit": (
        "fit @iris.csv -o @a.flow --flow @plan.yaml",
        2,
        "a plan that fits 5 columns is expected",
        plan("{type: Permute, permutation: [1, 0]}"),
    ),
    "a plan that does not fit a shape": (
        "check @plan.yaml --shape 5",
        2,
        "a plan that fits events of shape (5,)",
        plan("{type: Permute, permutation: [1, 0]}"),
    ),
    "an output that is there": ("fit @iris.csv -o @iris.flow", 2, "a new file is expected, or --force", None),
    "no folder for the output": ("fit @iris.csv -o @none/a.flow", 1, "a folder that can be written to", None),
    "a model cut off": ("score @t.flow @iris.csv", 1, "a file cut off", truncated),
    "a model that is none": ("sample @iris.csv -o @s.csv", 1, "a file that flowtorch saved is expected", None),
    "a table of other columns": (
        "score @iris.flow @t.csv -o @s.csv",
        1,
        "got no 'sepal_length'",
        lambda f: written(wine(), f / "t.csv"),
    ),
    "values that are not rounded as the model's": (
        "score @iris.flow @t.csv -o @s.csv",
        1,
        "got 1.55 in row 2 of column 'petal_length'",
        with_cell(2, "petal_length", 1.55),
    ),
    "a value to condition on that the model has not": ("sample @iris.flow --given target=1", 2, "no --given", None),
    "a picture of an unknown kind": ("plot @iris.flow @iris.csv -o @p.bmp", 2, "ends in .png, .pdf, .svg", None),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("as_json", [False, True], ids=["words", "json"])
def test_bad_input(name: str, as_json: bool, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, code, message, prepare = BAD[name]
    if prepare:
        prepare(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main([*words.replace("@", f"{folder}/").split(), *["--json"] * as_json]) == code
    said = capsys.readouterr()
    if as_json:
        found = json.loads(said.out)
        assert message in found["error"] and found["exit_code"] == code and not said.err
    else:
        assert message in said.err and said.err.startswith("flowtorch: ") and said.err.count("\n") == 1 and not said.out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_force_replaces_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = ["sample", str(folder / "iris.flow"), "-n", "3", "-o", str(folder / "s.csv")]
    (folder / "s.csv").write_text("old")
    assert main(sample) == 2 and main([*sample, "--force"]) == 0
    assert len(pd.read_csv(folder / "s.csv")) == 3
    capsys.readouterr()


def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for module in [name for name in sys.modules if name.startswith(("flowtorch.cli.", "pandas"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert main(["summary", "a.flow"]) == 1
    assert "pip install 'flowtorch[cli]' installs it" in capsys.readouterr().err


def test_the_module_runs_and_exits_with_the_code() -> None:
    ran = subprocess.run([sys.executable, "-m", "flowtorch", "summary", "none.flow"], capture_output=True, text=True)
    assert ran.returncode == 1 and ran.stderr.startswith("flowtorch: load: ") and not ran.stdout


def test_a_reader_that_has_enough(folder: Path) -> None:
    command = f"{sys.executable} -m flowtorch sample {folder / 'iris.flow'} -n 50000 | head -1"
    ran = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert ran.stdout.startswith("sepal_length,") and not ran.stderr


@pytest.mark.parametrize("words", [["--help"], ["fit", "--help"], ["--version"]])
def test_help_tells_the_exit_codes(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as info:
        main(words)
    assert info.value.code == 0
    said = capsys.readouterr().out
    assert (
        said.startswith("flowtorch ")
        if words == ["--version"]
        else "exit codes:" in said and "130  interrupted" in said
    )
