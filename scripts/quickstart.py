"""Fits a spline flow to a table of numbers and shows the result: figures, one picture, a table of samples.

``scripts/quickstart`` makes the environment and runs this: three commands of ``flowtorch``, which it prints.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from flowtorch.cli import main as flowtorch

DEFAULT_TABLE = Path(__file__).parent / "data" / "household_power.csv.gz"
CREDIT = (
    "The table is a sample of: Hebrail, G. and Berard, A. (2006), Individual Household Electric Power Consumption,\n"
    "UCI Machine Learning Repository, https://doi.org/10.24432/C58K54, licence CC BY 4.0.\n"
)


def run(*words: str) -> None:
    """Runs a command; a failure ends the program with its exit code."""
    print(f"$ flowtorch {shlex.join(words)}", flush=True)
    code = flowtorch(words)
    if code:
        sys.exit(code)
    print(flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/quickstart", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("table", nargs="?", type=Path, default=DEFAULT_TABLE, help="household power, if left out")
    parser.add_argument("--out", type=Path, default=Path("quickstart-out"), help="where all files go (%(default)s)")
    parser.add_argument("--steps", type=int, help="how long to fit (2000; with --smoke 40)")
    parser.add_argument("--seed", type=int, default=0, help="where randomness starts (%(default)s)")
    parser.add_argument("--smoke", action="store_true", help="a run of seconds: does everything work?")
    given, others = parser.parse_known_args(arguments)
    if given.table == DEFAULT_TABLE:
        print(CREDIT)
    if given.out.exists() and not given.out.is_dir():
        parser.error(f"--out {given.out}: a folder is expected, not a file")
    given.out.mkdir(parents=True, exist_ok=True)
    model, held, samples, picture = (
        str(given.out / name) for name in ("model.flow", "held_out.csv", "samples.csv", "quickstart.png")
    )
    steps, seed = str(given.steps or (40 if given.smoke else 2000)), ("--seed", str(given.seed), "--force")
    # What cannot be fitted is left out, and said: the table may be anyone's.
    run("fit", str(given.table), "-o", model, "--hold-out-to", held, "--drop", "--max-steps", steps, *seed, *others)
    run("plot", model, held, "-o", picture, *seed)
    at = ("--given-file", held) if "--given" in others else ("-n", "1000" if given.smoke else "10000")
    run("sample", model, *at, "-o", samples, *seed)
    if given.smoke:
        print("smoke      a run to see that everything works; the figures mean nothing")


if __name__ == "__main__":
    main()
