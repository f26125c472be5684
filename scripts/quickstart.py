"""Fits a spline flow to a table of numbers and shows the result: figures, one picture, a table of samples.

``scripts/quickstart`` makes the environment and runs this.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

STARTED = time.perf_counter()  # before torch is imported, which takes seconds

import torch  # noqa: E402
from _quickstart import fit, picture, report  # noqa: E402
from _quickstart.lattice import find_heavy, find_lattice  # noqa: E402
from _quickstart.table import TableError, read_table  # noqa: E402

from flowtorch.errors import FlowTorchError  # noqa: E402

DEFAULT_TABLE = Path(__file__).parent / "data" / "household_power.csv.gz"
DEFAULT_OUT = Path("quickstart-out")
CREDIT = (
    "a sample of: Hebrail, G. and Berard, A. (2006), Individual Household Electric Power Consumption,",
    "UCI Machine Learning Repository, https://doi.org/10.24432/C58K54, licence CC BY 4.0",
)
SAMPLES = 10_000


class Parser(argparse.ArgumentParser):
    """Errors are one line."""

    def error(self, message: str) -> NoReturn:
        fail(f"{message}. Try --help.")


@dataclass(frozen=True)
class Options:
    table: Path
    out: Path
    seconds: float
    seed: int
    smoke: bool


def fail(message: str) -> NoReturn:
    """Says what is wrong in one line and ends the program with status 2."""
    print("quickstart: " + " ".join(message.split()), file=sys.stderr)
    raise SystemExit(2)


def parse(arguments: list[str] | None = None) -> Options:
    parser = Parser(prog="scripts/quickstart", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("table", nargs="?", type=Path, default=DEFAULT_TABLE, metavar="TABLE.csv", help=TABLE_HELP)
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, metavar="DIR", help="where both files go (%(default)s)"
    )
    parser.add_argument("--seconds", type=float, metavar="N", help="how long to fit (60; with --smoke 3)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="where randomness starts (%(default)s)")
    parser.add_argument("--smoke", action="store_true", help="a run of seconds on 2,000 rows: does everything work?")
    given = parser.parse_args(arguments)
    seconds = (3.0 if given.smoke else 60.0) if given.seconds is None else given.seconds
    if not (math.isfinite(seconds) and seconds > 0):
        parser.error(f"--seconds: a positive number is expected; got {given.seconds}")
    if not 0 <= given.seed < 2**32:
        parser.error(f"--seed: an integer from 0 to 2**32 - 1 is expected; got {given.seed}")
    return Options(given.table, given.out, seconds, given.seed, given.smoke)


TABLE_HELP = (
    "numbers in columns cut by commas, semicolons or tabs, with or without a header, maybe .gz, .bz2 or .xz "
    "(household electric power, if left out)"
)


def check_out(out: Path) -> None:
    """Refuses a folder that cannot be written to before the work is done, and makes nothing."""
    place = out.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        fail(f"--out {out}: a folder is expected; {place} is a file.")
    if not os.access(place, os.W_OK | os.X_OK):
        fail(f"--out {out}: {place} cannot be written to.")


def write_all(out: Path, files: dict[str, bytes]) -> None:
    """Writes all files beside their places and then moves them there, so that none is ever half-written."""
    out.mkdir(parents=True, exist_ok=True)
    waiting = {out / f".{name}.{os.getpid()}": out / name for name in files}
    try:
        for temporary, content in zip(waiting, files.values(), strict=True):
            temporary.write_bytes(content)
        for temporary, place in waiting.items():
            temporary.replace(place)
    finally:
        for temporary in waiting:
            temporary.unlink(missing_ok=True)


def run(options: Options) -> None:
    check_out(options.out)
    table = read_table(options.table)
    default = options.table == DEFAULT_TABLE
    lattices = [find_lattice(column) for column in table.values.T]
    heavy = [find_heavy(column, lattice) for column, lattice in zip(table.values.T, lattices, strict=True)]
    name = options.table.name
    print(report.about_table(table, name, CREDIT if default else ()), flush=True)
    print(report.about_columns(table.names, lattices, heavy), flush=True)

    split = fit.split_rows(table.values, options.seed, most=2000 if options.smoke else None)
    result = fit.fit(split, lattices, table.names, fit.Budget(options.seconds, options.seed))
    print(report.about_fit(result, table.names, options.smoke), flush=True)

    drawn = fit.sample(result, 1000 if options.smoke else SAMPLES, options.seed)
    data = fit.dequantise(split.train, lattices, options.seed)
    title = f"{name}: {len(table.values):,} rows"
    image = picture.draw(data, drawn, table.names, lattices, title, report.headline(result))
    rows = report.samples_csv(drawn, table, lattices, 9 if result.dtype == torch.float32 else 15)
    write_all(options.out, {"quickstart.png": image, "samples.csv": rows.encode()})
    print(report.about_files(options.out, table, lattices, drawn, picture.MAX_COLUMNS))
    print(f"time       {time.perf_counter() - STARTED:.0f} s in all")


def main(arguments: list[str] | None = None) -> None:
    # The tensors are small: a second thread makes a step 1.2 times as fast on an idle machine, and 30 times as slow
    # where another program has one of the cores, as the threads wait for each other at every operation.
    torch.set_num_threads(1)
    options = parse(arguments)
    try:
        run(options)
    except (TableError, FlowTorchError, OSError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        print("\nquickstart: interrupted, nothing is written.", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
