"""The walk-through of website/command_line.md: its commands run, and print what the page says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowtorch.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "website" / "command_line.md").read_text()
BLOCKS = re.findall(r"^```(bash|text|yaml)\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


def steps() -> Iterator[tuple[list[str], str]]:
    """The commands of each block, and what the page says that they print."""
    for (kind, code), (after, words) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
        if kind == "bash":
            yield code.strip().splitlines(), words if after == "text" else ""


def run(commands: list[str], capsys: pytest.CaptureFixture[str], few_steps: bool = False) -> str:
    """What the commands print."""
    said = ""
    for command in commands:
        if few_steps:
            command = re.sub(r"--max-steps \d+", "--max-steps 20", command)
        program, *words = shlex.split(command)
        if program == "python":
            exec(words[1], {})
        else:
            code = main(words)
            found = capsys.readouterr()
            assert (code, found.err != "") in ((0, False), (2, True)), found.err
            said += found.out + found.err
    return said + capsys.readouterr().out


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    (tmp_path / "plan.yaml").write_text(next(code for kind, code in BLOCKS if kind == "yaml"))
    return tmp_path


def masked(text: str) -> list[str]:
    """The words of a text: numbers depend on the machine."""
    return re.sub(r"[-+]?\d[\d,.]*(e[-+]\d+)?", "#", text).split()


def test_its_commands_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for commands, words in steps():
        said = run(commands, capsys, few_steps=True)
        assert bool(words.strip()) == bool(said.strip())
    made = {path.name for path in folder.iterdir()}
    assert made >= {"diabetes.flow", "held_out.csv", "scores.csv", "power.png", "power.flow", "evening.csv"}
    assert "other.flow" not in made


@pytest.mark.slow
def test_its_commands_print_what_the_page_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for commands, words in steps():
        assert masked(run(commands, capsys)) == masked(words)
