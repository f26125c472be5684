"""The commands and their options."""

from __future__ import annotations

import argparse
import importlib.metadata
import math
from pathlib import Path
from typing import NoReturn

from ..errors import OptionError

EXIT_CODES = """\
exit codes:
  0    done
  1    a file is refused: a table, a model, a plan that cannot be read, a folder that cannot be written to
  2    what was typed is refused: an option, a name, a plan that does not fit, an output that is there already
  130  interrupted
Whatever is not 0 leaves no output behind. With --json, the result, or the error, is one line of JSON."""


class Parser(argparse.ArgumentParser):
    """Raises an error of ours where argparse would exit."""

    def error(self, message: str) -> NoReturn:
        """Refuses the arguments.

        Raises:
            OptionError: always.
        """
        raise OptionError(f"{self.prog}: options as in --help are expected; got this: {message}.")


def make_parser() -> Parser:
    """Returns the parser of ``flowtorch``."""
    parser = Parser(
        prog="flowtorch",
        description="Fits normalizing flows to tables, draws from them, scores rows, and shows what came of it.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"flowtorch {importlib.metadata.version('flowtorch')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, words: str) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=words, description=words, epilog=EXIT_CODES, allow_abbrev=False)
        found.formatter_class = argparse.RawDescriptionHelpFormatter
        found.add_argument("--json", action="store_true", help="print one line of JSON instead of words")
        return found

    _fit(command("fit", "Fits a flow to the columns of a table, and writes it to a file."))
    _sample(command("sample", "Draws rows from a model."))
    _score(command("score", "Scores the rows of a table: their log-likelihoods under a model."))
    _plot(
        command(
            "plot", "Draws a table beside samples of a model, a page of columns by columns, or the losses of its fit."
        )
    )
    _check(command("check", "Shows what a plan amounts to, without data: shapes, domains, parameters."))
    summary = command("summary", "Shows what a model's file holds: columns, how it was fitted, layers.")
    summary.add_argument("model", type=Path, help="what fit wrote")
    return parser


def _fit(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("table", type=Path, help="a table: .csv, .tsv, .txt (also .gz, .bz2, .xz), .parquet or .npy")
    _output(parser, "the model's file", required=True)
    _plan(parser)
    columns = parser.add_argument_group("columns")

    def names(option: str, words: str) -> None:
        columns.add_argument(option, action="append", default=[], metavar="NAMES", help=words)

    names("--columns", "the columns to fit, a,b,c (all but those of --given)")
    names("--given", "the columns to condition on")
    columns.add_argument(
        "--bounds",
        action="append",
        default=[],
        metavar="NAME=LOW:HIGH",
        help="between what a column lies, such as price=0:inf; for a flow of angles, where the circle begins and ends",
    )
    names("--continuous", "columns not to dequantise, though they are rounded")
    columns.add_argument(
        "--drop",
        action="store_true",
        help="leave out, and say so, rows with missing values, and columns that are text or constant, which are "
        "refused otherwise",
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--hold-out", type=_part, default=0.1, metavar="PART", help="which part of the rows to score at the end (0.1)"
    )
    training.add_argument("--hold-out-to", type=Path, metavar="FILE", help="write these rows to a table")
    training.add_argument(
        "--max-steps",
        type=_count,
        metavar="N",
        help="how many steps at most (100 epochs; at least 2000, at most 20000)",
    )
    training.add_argument("--batch-size", type=_count, metavar="N", help="rows a step (an eighth of all; 32 to 512)")
    training.add_argument("--learning-rate", type=_positive, default=1e-3, metavar="RATE", help="Adam's (0.001)")
    training.add_argument(
        "--patience",
        type=_count,
        default=15,
        metavar="N",
        help="after how many of 50 looks at rows that are not learnt from, none of them the best, to stop (15)",
    )
    training.add_argument(
        "--progress", action=argparse.BooleanOptionalAction, help="show a bar (if this is a terminal)"
    )
    _seed(training)


def _sample(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="what fit wrote")
    _output(parser, "a table (printed as .csv if there is none)")
    parser.add_argument(
        "-n", "--count", type=_count, metavar="N", help="how many rows (1000), or how many a row of --given-file (1)"
    )
    parser.add_argument(
        "--given", action="append", default=[], metavar="NAME=VALUE", help="the columns that it is conditioned on"
    )
    parser.add_argument("--given-file", type=Path, metavar="TABLE", help="a table of them, one row after the other")
    _seed(parser)


def _score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="what fit wrote")
    parser.add_argument("table", type=Path, help="a table with the model's columns")
    _output(parser, "a table of the scores row by row (only their mean is printed if there is none)")
    _seed(parser)


def _plot(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="what fit wrote")
    parser.add_argument("table", type=Path, nargs="?", help="a table with the model's columns, held out at best")
    _output(parser, "the picture: .png, .pdf or .svg", required=True)
    parser.add_argument(
        "--columns", action="append", default=[], metavar="NAMES", help="the columns to draw (the first six)"
    )
    parser.add_argument("--losses", action="store_true", help="draw the losses of the fit, which needs no table")
    _seed(parser)


def _check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("flow", metavar="PLAN", help="a plan in a .yaml file, or the name of a ready-made one")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="an option of a ready-made one"
    )
    parser.add_argument("--shape", type=_shape, required=True, metavar="N,...", help="the shape of an event: 3, or 2,3")
    parser.add_argument("--context-shape", type=_shape, metavar="N,...", help="the shape of a context")


def _plan(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("flow")
    group.add_argument(
        "-f",
        "--flow",
        default="nsf",
        help="a ready-made flow such as nsf, maf, realnvp, or a plan in a .yaml file (nsf)",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of a ready-made flow: layers=6, hidden_dims=128,128, coupling=true",
    )


def _output(parser: argparse.ArgumentParser, words: str, required: bool = False) -> None:
    parser.add_argument("-o", "--output", type=Path, required=required, metavar="FILE", help=words)
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def _seed(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--seed", type=_whole, default=0, metavar="N", help="where randomness starts (0)")
    parser.add_argument("--threads", type=_count, default=1, metavar="N", help="how many of torch's (1)")


# Values: argparse turns these errors into its own ---------------------------------------------------------------------


def _whole(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**32:
        raise argparse.ArgumentTypeError(f"{text} (a whole number from 0 is expected)")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} (a whole number from 1 is expected)")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} (a positive number is expected)")
    return number


def _part(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 0.9:
        raise argparse.ArgumentTypeError(f"{text} (a part from 0 to 0.9 is expected)")
    return number


def _shape(text: str) -> tuple[int, ...]:
    return tuple(_count(part) for part in text.split(","))
