"""Tables in files: whatever form they have, the same numbers; and what is wrong with one, by row and column."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flowtorch.cli import tables
from flowtorch.errors import FileError

VALUES = np.random.default_rng(0).normal(size=(30, 2)).round(6)


def text(delimiter: str = ",", header: str = "length [m]{}mass\n", end: str = "\n", decimal: str = ".") -> str:
    rows = [delimiter.join(repr(float(v)).replace(".", decimal) for v in row) for row in VALUES]
    return (header.format(delimiter) + "\n".join(rows) + "\n").replace("\n", end)


def put(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path) -> tuple[list[str], np.ndarray[Any, Any]]:
    frame = tables.read(path)
    return list(frame.columns), tables.numbers(frame, list(frame.columns), path.name)


def array(folder: Path) -> Path:
    np.save(folder / "t.npy", VALUES)
    return folder / "t.npy"


def fields(folder: Path) -> Path:
    both = np.zeros(30, dtype=[("length [m]", "f8"), ("mass", "f4")])
    both["length [m]"], both["mass"] = VALUES.T
    np.save(folder / "t.npy", both)
    return folder / "t.npy"


def parquet(folder: Path) -> Path:
    frame = pd.DataFrame(VALUES, columns=["length [m]", "mass"], index=range(7, 37))
    frame["mass"] = [Decimal(repr(v)) for v in frame["mass"].tolist()]
    frame.to_parquet(folder / "t.parquet")
    return folder / "t.parquet"


NAMED: dict[str, Callable[[Path], Path]] = {
    "commas": lambda f: put(f, text()),
    "semicolons": lambda f: put(f, text(";")),
    "tabs": lambda f: put(f, text("\t"), "t.tsv"),
    "tabs in a .csv": lambda f: put(f, text("\t")),
    "decimal commas": lambda f: put(f, text(";", decimal=",")),
    "lines of Windows": lambda f: put(f, text(end="\r\n")),
    "empty lines": lambda f: put(f, "\n" + text().replace("mass\n", "mass\n\n")),
    "spaces": lambda f: put(f, text(", ")),
    "a byte-order mark": lambda f: put(f, b"\xef\xbb\xbf" + text().encode()),
    "utf-16": lambda f: put(f, text().encode("utf-16")),
    "gzip": lambda f: put(f, gzip.compress(text().encode()), "t.csv.gz"),
    "quotes": lambda f: put(f, text(header='"length [m]"{}"mass"\n')),
    "the mark of numpy.savetxt": lambda f: put(f, text(header="# length [m]{}mass\n")),
    "Parquet": parquet,
    "an array of fields": fields,
}
NUMBERED: dict[str, Callable[[Path], Path]] = {
    "no header": lambda f: put(f, text(header="")),
    "columns in spaces": lambda f: put(f, text("  ", header=""), "t.txt"),
    "an array": array,
    "names left out": lambda f: put(f, text(header="{}\n")),
}


@pytest.mark.parametrize("name", [*NAMED, *NUMBERED])
def test_the_same_numbers_in_whatever_form(name: str, tmp_path: Path) -> None:
    names, values = read((NAMED | NUMBERED)[name](tmp_path))
    assert names == (["length [m]", "mass"] if name in NAMED else ["x1", "x2"])
    np.testing.assert_allclose(values, VALUES, rtol=1e-6 if name == "an array of fields" else 0)


def test_names_in_another_alphabet(tmp_path: Path) -> None:
    assert read(put(tmp_path, text(header="größe{}温度\n")))[0] == ["größe", "温度"]
    assert read(put(tmp_path, text(header="größe{}y\n").encode("cp1252")))[0] == ["größe", "y"]


def test_a_single_column_and_truth_values(tmp_path: Path) -> None:
    assert read(put(tmp_path, "x\n1\n2.5\n"))[1].tolist() == [[1.0], [2.5]]
    assert read(put(tmp_path, "x\nTrue\nFalse\n"))[1].tolist() == [[1.0], [0.0]]


def dates(folder: Path) -> Path:
    pd.DataFrame({"day": pd.to_datetime(["2020-01-01", "2020-01-02"])}).to_parquet(folder / "t.parquet")
    return folder / "t.parquet"


def objects(folder: Path) -> Path:
    np.save(folder / "t.npy", np.array([{}]), allow_pickle=True)
    return folder / "t.npy"


def cut_off(folder: Path) -> Path:
    path = array(folder)
    path.write_bytes(path.read_bytes()[:-8])
    return path


REFUSED: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "no file": ("a file is expected; got .*not there", lambda f: f / "none.csv"),
    "a folder": ("a file is expected; got", lambda f: f),
    "an unknown ending": ("ends in .csv, .* is expected", lambda f: put(f, "x\n1\n", "t.xlsx")),
    "an empty file": ("got an empty file|No columns", lambda f: put(f, "")),
    "a header alone": ("at least one row", lambda f: put(f, "x,y\n")),
    "binary": ("got a file that is no text", lambda f: put(f, b"PK\x03\x04\x00\x00")),
    "no gzip": ("got", lambda f: put(f, "x\n1\n", "t.csv.gz")),
    "two names alike": ("different names.*got 'x', 'y' twice", lambda f: put(f, "x,y,x,y,z\n1,2,3,4,5\n")),
    "one row too long": ("Expected 2 fields in line 3, saw 3", lambda f: put(f, "x,y\n1,2\n3,4,5\n6,7\n")),
    "all rows too long": ("rows of more cells than its header", lambda f: put(f, "x,y\n1,2,3\n3,4,5\n")),
    "a row too short": ("got nothing in row 2 of column 'y'", lambda f: put(f, "x,y\n1,2\n3\n5,6\n")),
    "text": ("got 'red' in row 2 of column 'y', 'blue' in row 3", lambda f: put(f, "x,y\n1,2\n3,red\n4,blue\n")),
    "a mark for missing": ("got nothing in row 2 of column 'y'", lambda f: put(f, "x,y\n1,2\n3,?\n")),
    "many bad cells": ("and 15 more", lambda f: put(f, "x,y\n" + "1,a\n" * 20)),
    "infinity": ("got inf in row 2 of column 'x'", lambda f: put(f, "x,y\n1,2\ninf,3\n")),
    "underscores": ("got '1_000' in row 1", lambda f: put(f, "x\n1_000\n")),
    "dates": ("got 2020-01-01 .* in row 1 of column 'day'", dates),
    "pickled objects": ("Python objects", objects),
    "an array cut off": ("got", cut_off),
    "an array of another shape": (
        "not \\(rows, columns\\)",
        lambda f: (np.save(f / "t.npy", VALUES[0]), f / "t.npy")[1],
    ),
    "another encoding": ("not in UTF-8", lambda f: put(f, b"gr\x81\x8d\xff,y\n1,2\n")),
    "a gigantic array": (
        "got",
        lambda f: put(f, array(f).read_bytes().replace(b"(30, 2), }" + b" " * 8, b"(3000000000, 2), }"), "t.npy"),
    ),
    "a Parquet file that is none": ("got", lambda f: put(f, "x,y\n1,2\n", "t.parquet")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_that_cannot_be_used_is_refused_in_these_words(name: str, tmp_path: Path) -> None:
    words, make = REFUSED[name]
    with pytest.raises(FileError, match=f"(?s)table: .*{words}"):
        read(make(tmp_path))


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv", "t.parquet", "t.npy"])
def test_what_is_written_is_read_again(name: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"a b": VALUES[:, 0], "n": np.arange(30)})
    tables.write(tmp_path / name, frame)
    names, values = read(tmp_path / name)
    np.testing.assert_array_equal(values, frame.to_numpy())
    assert names == (["x1", "x2"] if name == "t.npy" else ["a b", "n"])
    assert [path.name for path in tmp_path.iterdir()] == [name]
