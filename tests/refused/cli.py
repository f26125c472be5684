"""What the command line refuses: each message by its key words."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
from flowtorch import container
from flowtorch.cli.columns import Columns, describe
from flowtorch.cli.parser import make_parser
from flowtorch.distributions.saving import save
from flowtorch.errors import FileError, OptionError

X, Y = np.arange(40) % 7, np.sqrt(np.arange(40))
GOOD = "x,y\n" + "".join(f"{x},{y!r}\n" for x, y in zip(X.tolist(), Y.tolist(), strict=True))
NOTES = Columns(describe(["x", "y"], np.stack([X, Y], 1).astype(float))).notes()
GIVEN = {**NOTES, "given": [{**NOTES["chosen"][0], "name": "c"}]}


def run(folder: Path, *words: str) -> None:
    """What ``main`` does with the words, without making an exit code of an error."""
    import importlib

    given = make_parser().parse_args([word.replace("@", f"{folder}/") for word in words])
    importlib.import_module(f"flowtorch.cli.{given.command}").run(given)


def typed(
    *words: str, table: str | bytes = GOOD, prepare: Callable[[Path], Any] = lambda _: None
) -> Callable[[], object]:
    """A call in a folder with a table ``t.csv``; ``@`` stands for the folder."""

    def call() -> object:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "t.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
            prepare(folder)
            return run(folder, *words)

    return call


def fit(*words: str, table: str | bytes = GOOD, output: str = "@a.flow", **others: Any) -> Callable[[], object]:
    return typed("fit", "@t.csv", "-o", output, "--max-steps", "1", *words, table=table, **others)


def model(notes: Any = NOTES, context: int | None = None, **others: Any) -> Callable[[Path], None]:
    """Writes a model ``a.flow`` of columns x and y."""

    def prepare(folder: Path) -> None:
        flow = dist.Flow(dist.DiagNormal(2), bij.Affine(), context_shape=None if context is None else (context,))
        save(flow, folder / "a.flow", notes={"columns": notes, **others})

    return prepare


def changed(**fields: Any) -> Any:
    return {"chosen": [{**NOTES["chosen"][0], **fields}, NOTES["chosen"][1]], "given": []}


def unregistered(folder: Path) -> None:
    """A model whose plan has a name that nobody registered; its check sums are right."""
    model()(folder)
    content = (folder / "a.flow").read_bytes()
    length = struct.unpack("<Q", content[16:24])[0]
    described = json.loads(content[56 : 56 + length])
    described["flow"]["plan"] = {"type": "os.system"}
    text = json.dumps(described).encode()
    head = container._HEAD.pack(container.MAGIC, 1, len(text), container._digest(len(text), text))
    (folder / "a.flow").write_bytes(head + text + content[56 + length :])


def sample(*words: str, prepare: Callable[[Path], Any] | None = None) -> Callable[[], object]:
    return typed("sample", "@a.flow", *words, prepare=prepare or model(GIVEN, 1))


def score(notes: Any = NOTES, table: str | bytes = GOOD, **others: Any) -> Callable[[], object]:
    return typed("score", "@a.flow", "@t.csv", table=table, prepare=model(notes, **others))


def vector(folder: Path) -> None:
    np.save(folder / "v.npy", Y)


CONSTANT = GOOD.replace("x,y", "x,y,k").replace("\n", ",3\n").replace("k,3", "k")

REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionError: {
        "flowtorch: options as in --help are expected; got this: ... invalid choice: 'fti'": typed("fti"),
        "flowtorch fit: options ... required: -o/--output": typed("fit", "@t.csv"),
        "flowtorch: options ... unrecognized arguments: --speed": fit("--speed"),
        "--seed: -1 (a whole number from 0 is expected)": fit("--seed", "-1"),
        "--max-steps: 0 (a whole number from 1 is expected)": fit("--max-steps", "0"),
        "--learning-rate: -0.1 (a positive number is expected)": fit("--learning-rate=-0.1"),
        "--hold-out: 1.0 (a part from 0 to 0.9 is expected)": fit("--hold-out", "1.0"),
        "--batch-size: invalid": fit("--batch-size", "many"),
        "option --output: a new file is expected, or --force to replace it; got": fit(output="@t.csv"),
        "option --hold-out-to: a new file is expected, or --force to replace it; got": fit("--hold-out-to", "@t.csv"),
        "option --output: the name of a file is expected; got": fit(output="@"),
        "option --output: a name that ends in .csv, ... is expected; got": sample("-o", "@s.xlsx"),
        "option --output: a name that ends in .png, .pdf, .svg is expected; got": typed(
            "plot", "@a.flow", "@t.csv", "-o", "@p.gif", prepare=model()
        ),
        "option --hold-out-to: rows that are held out are expected; got --hold-out 0": fit(
            "--hold-out", "0", "--hold-out-to", "@h.csv"
        ),
        "option --flow: a ready-made flow, or a plan in a .yaml file, ... got 'nfs'. Did you mean 'nsf'?": fit(
            "-f", "nfs"
        ),
        "option --flow: a plan that fits 2 columns is expected; got this: ": fit(
            "-f", "@p.yaml", prepare=lambda f: (f / "p.yaml").write_text("type: Permute\npermutation: [1, 0, 2]\n")
        ),
        "option --set: a ready-made flow is expected with it; got": fit("-f", "@p.yaml", "--set", "layers=3"),
        "option --set: name=value is expected; got 'layers'": fit("--set", "layers"),
        "option --set: an option of nsf is expected; got 'layrs'. Did you mean 'layers'?": fit("--set", "layrs=3"),
        "option --columns: a column of the table is expected; got 'price'. There are 'x', 'y'": fit(
            "--columns", "x,price"
        ),
        "option --columns: each column is expected once; got 'x' twice": fit("--columns", "x,y,x"),
        "option --columns: columns other than those of --given are expected; got 'x' in both": fit(
            "--columns", "x,y", "--given", "x"
        ),
        "option --columns: columns other than those of --given are expected; got none left": fit("--given", "x,y"),
        "option --bounds: NAME=LOW:HIGH of a column that is fitted is expected; got 'Y=0:1'. Did you mean 'y'?": fit(
            "--bounds", "Y=0:1"
        ),
        "option --bounds: NAME=LOW:HIGH, two numbers in order, is expected; got 'y=1:0'": fit("--bounds", "y=1:0"),
        "option --bounds: NAME=LOW:HIGH, two numbers in order, is expected; got 'y=low'": fit("--bounds", "y=low"),
        "option --bounds: where the circle of each column begins and ends is expected; got": fit(
            "-f", "ncsf", "--bounds", "x=0:inf", "--bounds", "y=-1:9"
        ),
        "sample: --given, or --given-file, with 'c' is expected of this model; got none.": sample(),
        "sample: --given, or ... got both.": sample("--given", "c=1", "--given-file", "@t.csv"),
        "sample: no --given or --given-file is expected of this model; got one.": sample(
            "--given", "c=1", prepare=model()
        ),
        "option --given: name=value of a column ... got 'C=1'. Did you mean 'c'?": sample("--given", "C=1"),
        "option --given: a number for 'c' is expected; got 'warm'.": sample("--given", "c=warm"),
        "option --given: a number for 'c' is expected; got 'inf'.": sample("--given", "c=inf"),
        "option --given: a value of each of 'c', 'd' is expected; got none of 'd'.": sample(
            "--given",
            "c=1",
            prepare=model({**GIVEN, "given": [*GIVEN["given"], {**NOTES["chosen"][0], "name": "d"}]}, 2),
        ),
        "plot: a table, or --losses, is expected; got neither.": typed(
            "plot", "@a.flow", "-o", "@p.png", prepare=model()
        ),
        "plot: a table, or --losses, is expected; got both.": typed(
            "plot", "@a.flow", "@t.csv", "--losses", "-o", "@p.png", prepare=model()
        ),
        "check: a plan that fits events of shape (3,) is expected; got this: ": typed(
            "check",
            "@p.yaml",
            "--shape",
            "3",
            prepare=lambda f: (f / "p.yaml").write_text("type: Permute\npermutation: [1, 0]\n"),
        ),
    },
    FileError: {
        "table: a file is expected; got ... which is not there": typed("fit", "@none.csv", "-o", "@a.flow"),
        "table: a file that ends in .csv, ... is expected; got": typed(
            "fit", "@a.xlsx", "-o", "@a.flow", prepare=lambda f: (f / "a.xlsx").write_text("")
        ),
        "table: a table is expected in ... got a file that is no text.": fit(table=b"PK\x03\x04\x00\x00"),
        "table: a table is expected in ... got text that is not in UTF-8, UTF-16 or cp1252.": fit(
            table=b"\x81\x8d,y\n1,2\n"
        ),
        "table: a table is expected in ... got No columns to parse from file.": fit(table=""),
        "table: a table is expected in ... got an array of shape (40,), not (rows, columns).": typed(
            "fit", "@v.npy", "-o", "@a.flow", prepare=vector
        ),
        "table: columns of different names are expected in ... got 'x' twice.": fit(table=GOOD.replace("x,y", "x,x")),
        "table: at least one row is expected in ... got none.": fit(table="x,y\n"),
        "table: at least 20 rows are expected in ... got 2.": fit(table="x,y\n1,2\n2,3\n"),
        "table: numbers are expected in ... got 'red' in row 4 of column 'y'.": fit(
            table=GOOD.replace(repr(float(Y[3])), "red")
        ),
        "table: numbers are expected in ... got nothing in row 4 of column 'y'.": fit(
            table=GOOD.replace(repr(float(Y[3])), "")
        ),
        "table: values strictly between 0 and 9 are expected in ... got 0.0 in row 1 of column 'y'.": fit(
            "--bounds", "y=0:9"
        ),
        "table: values between 1 and inf are expected in ... got 0 in row 1 of column 'x', 0 in row 8 ... more.": fit(
            "--bounds", "x=1:inf"
        ),
        "table: columns that vary are expected in ... got one value in all rows of 'k'. Leave": fit(table=CONSTANT),
        "table: columns that vary are expected in ... got this: Standardize: ... 'k'": fit(
            "--given", "k", "--seed", "4", table=CONSTANT[:-2] + "4\n"
        ),
        "table: a column of numbers that vary is expected in ... got none.": fit("--drop", table="x\n" + "1\n" * 30),
        "table: columns 'x', 'y' are expected in ... got no 'y'. Did you mean 'Y'?": score(
            table=GOOD.replace("x,y", "x,Y")
        ),
        "table: values in steps of 1, as the model was fitted to, are expected ... 1.5 in row 2 of column 'x'": score(
            changed(lattice={"step": 1.0, "offset": 0.0, "decimals": 0}), GOOD.replace("1,1.0", "1.5,1.0")
        ),
        "option --output: a folder that can be written to is expected; got": fit(output="@none/a.flow"),
        "option --flow: a plan in YAML is expected in ... got ... No such file": fit("-f", "@none.yaml"),
        "load: a model that `flowtorch fit` wrote is expected; got no file": typed("summary", "@a.flow"),
        "load: a file that flowtorch saved is expected in": typed("summary", "@t.csv"),
        "load: a model that `flowtorch fit` wrote is expected in ... got a file without a table's columns.": score(
            None
        ),
        "plan_from_dict: a registered plan is expected; got type 'os.system'": typed(
            "summary", "@a.flow", prepare=unregistered
        ),
        "load: a flow of as many columns as its notes name is expected in ... got others.": score(GIVEN),
        "plot: a model with the losses of its fit is expected; got": typed(
            "plot", "@a.flow", "--losses", "-o", "@p.png", prepare=model()
        ),
    },
}
