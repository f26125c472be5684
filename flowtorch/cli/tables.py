"""Tables in files: reading one, and what is wrong with it by row and column; writing one."""

from __future__ import annotations

import bz2
import gzip
import lzma
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..container import replacing
from ..errors import FileError, OptionError
from .extra import AnyArray, Array, np, pd
from .words import SHOWN, did_you_mean, listed

ENDINGS = (".csv", ".csv.gz", ".tsv", ".txt", ".parquet", ".npy")
FORMATS = ".csv, .tsv, .txt (also with .gz, .bz2, .xz), .parquet or .npy"
_DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


# Reading --------------------------------------------------------------------------------------------------------------


def read(path: Path) -> pd.DataFrame:
    """Returns a table, its columns named: x1, x2, ... where the file has no names.

    Args:
        path: delimited text, Parquet, or a two-dimensional array of NumPy's.

    Raises:
        FileError: for what is no such file.
    """
    if not path.is_file():
        raise FileError(
            f"table: a file is expected; got {str(path)!r}, which is {'none' if path.exists() else 'not there'}."
        )
    readers = {".npy": _read_npy, ".parquet": _read_parquet, **dict.fromkeys(_DELIMITERS, _read_text)}
    reader = readers.get(kind(path))
    if reader is None:
        raise FileError(f"table: a file that ends in {FORMATS} is expected; got {str(path)!r}.")
    try:
        frame = reader(path)
    except Exception as error:  # what pandas and NumPy make of files that are none may be anything
        longer = isinstance(error, pd.errors.ParserWarning)
        reason = "rows of more cells than its header" if longer else (str(error).strip() or type(error).__name__)
        reason = reason.splitlines()[0].rstrip(".")
        raise FileError(f"table: a table is expected in {str(path)!r}; got {reason}.") from error
    names = [str(name).strip() for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FileError(f"table: columns of different names are expected in {str(path)!r}; got {listed(twice)} twice.")
    if frame.empty:
        raise FileError(f"table: at least one row is expected in {str(path)!r}; got none.")
    frame.columns = pd.Index(names)
    return frame


def kind(path: Path) -> str:
    """Returns the ending of a file's name that says what it holds, or nothing."""
    packed = path.suffix.lower() in _OPENERS
    ending = (path.with_suffix("") if packed else path).suffix.lower()
    return ending if ending in _DELIMITERS or (ending in (".npy", ".parquet") and not packed) else ""


def _read_npy(path: Path) -> pd.DataFrame:
    # Mapped, its size is compared with that of the file before anything is allocated.
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim == 1 and array.dtype.names:
        return pd.DataFrame({name: np.array(array[name]) for name in array.dtype.names})
    if array.ndim != 2:
        raise FileError(f"an array of shape {array.shape}, not (rows, columns)")
    return pd.DataFrame(np.array(array), columns=_numbered(array.shape[1]))


def _read_parquet(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path, engine="pyarrow").reset_index(drop=True)


def _read_text(path: Path) -> pd.DataFrame:
    opener = _OPENERS.get(path.suffix.lower(), open)
    with opener(path, "rb") as file:
        head = file.read(1 << 16)
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    if b"\x00" in head and not wide:
        raise FileError("a file that is no text")
    for encoding in ["utf-16"] if wide else ["utf-8-sig", "cp1252"]:
        try:
            with opener(path, "rt", encoding=encoding) as file:
                first = next((line for line in file if line.strip()), "")
            return _parse(path, encoding, first)
        except UnicodeDecodeError:
            continue
    raise FileError("text that is not in UTF-8, UTF-16 or cp1252")


def _parse(path: Path, encoding: str, first: str) -> pd.DataFrame:
    delimiter = max("\t;,", key=first.count)  # of two as frequent, the first
    if delimiter not in first:
        delimiter = r"\s+" if len(first.split()) > 1 and _DELIMITERS[kind(path)] == "\t" else ","
    given: dict[str, Any] = {"sep": delimiter, "encoding": encoding, "skipinitialspace": True}
    header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, **given).iloc[0]
    names = [str(name).strip() for name in header]
    headless = any(names) and all(_is_number(name) for name in names)
    names[0] = names[0].removeprefix("#").strip()  # as numpy.savetxt marks a header
    numbered = _numbered(len(names))

    def parsed(decimal: str) -> pd.DataFrame:
        with warnings.catch_warnings():
            # Of rows that are all longer than the first the end would be lost, with a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            places = range(len(names))  # as names, two of which may be equal yet
            options: dict[str, Any] = {"header": None if headless else 0, "names": places, "index_col": False}
            found: pd.DataFrame = pd.read_csv(
                path, na_values=["?"], decimal=decimal, low_memory=False, **options, **given
            )
            return found

    frame = parsed(".")
    if delimiter != "," and _count_text(frame):
        frame = min(frame, parsed(","), key=_count_text)
    frame.columns = pd.Index(numbered if headless else [n or numbered[i] for i, n in enumerate(names)])
    return frame


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return not text
    return True


def _count_text(frame: pd.DataFrame) -> int:
    return sum(not pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes)


def _numbered(count: int) -> list[str]:
    return [f"x{i}" for i in range(1, count + 1)]


# Columns --------------------------------------------------------------------------------------------------------------


def choose(option: str, given: Sequence[str], names: Sequence[str]) -> list[str]:
    """Returns the columns that an option names: one a word, or several cut at commas.

    Raises:
        OptionError: for names that no column has, or that are there twice.
    """
    found: list[str] = []
    for word in given:
        found += [word] if word in names else [part.strip() for part in word.split(",")]
    for name in found:
        if name not in names:
            raise OptionError(f"{option}: a column of the table is expected; got {name!r}.{did_you_mean(name, names)}")
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise OptionError(f"{option}: each column is expected once; got {listed(twice)} twice.")
    return found


def numbers(frame: pd.DataFrame, names: Sequence[str], source: str) -> Array:
    """Returns columns as numbers, ``(rows, columns)``.

    Args:
        frame: the table.
        names: the columns.
        source: what to call the table in a message.

    Raises:
        FileError: for a column that is not there, and a cell that is missing or no finite number, by row and column.
    """
    missing = [name for name in names if name not in frame.columns]
    if missing:
        hint = did_you_mean(missing[0], list(frame.columns))
        raise FileError(f"table: columns {listed(names)} are expected in {source!r}; got no {listed(missing)}.{hint}")
    values = np.stack([as_numbers(frame[name]) for name in names], 1)
    refuse_cells(~np.isfinite(values), frame, names, "numbers", source)
    return values


def as_numbers(cells: pd.Series[Any]) -> Array:
    """Returns a column as numbers, NaN where there are none."""
    kind = cells.dtype
    if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind):
        return cells.to_numpy(dtype=np.float64, na_value=np.nan)
    if not (pd.api.types.is_object_dtype(kind) or pd.api.types.is_string_dtype(kind)):
        return np.full(len(cells), np.nan)  # dates too, of which pandas would make numbers
    return pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def refuse_cells(bad: AnyArray, frame: pd.DataFrame, names: Sequence[str], expected: str, source: str) -> None:
    """Refuses a table for some cells ``(rows, columns)``, telling the first of them; rows are counted from 1.

    Raises:
        FileError: if there are any.
    """
    places = np.argwhere(bad)
    if not len(places):
        return
    told = []
    for row, column in places[:SHOWN].tolist():
        cell = frame[names[column]].iloc[row]
        shown = "nothing" if pd.isna(cell) else repr(cell) if isinstance(cell, str) else str(cell)
        told.append(f"{shown:.40} in row {frame.index[row] + 1} of column {names[column]!r}")
    more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    raise FileError(f"table: {expected} are expected in {source!r}; got {', '.join(told)}{more}.")


# Writing --------------------------------------------------------------------------------------------------------------


def write(path: Path, frame: pd.DataFrame) -> None:
    """Writes a table whole or not at all, as the ending of its name says.

    Raises:
        OSError: if it cannot be written.
    """
    with replacing(path) as file:
        if kind(path) == ".npy":
            np.save(file, frame.to_numpy(dtype=np.float64))
        elif kind(path) == ".parquet":
            frame.to_parquet(file, engine="pyarrow", index=False)
        else:
            packed: Any = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz"}.get(path.suffix.lower())
            frame.to_csv(file, mode="wb", sep=_DELIMITERS[kind(path)], index=False, compression=packed)
