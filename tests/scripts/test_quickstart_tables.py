"""scripts/quickstart: reading tables, finding lattices."""

import gzip
import sys
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from _quickstart.lattice import Lattice, find_heavy, find_lattice  # noqa: E402
from _quickstart.table import TableError, read_table  # noqa: E402

ROWS = 30


def write(folder, text, name="t.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def numbers(delimiter=",", columns=2, rows=ROWS):
    values = np.random.default_rng(0).normal(size=(rows, columns))
    return "".join(delimiter.join(repr(float(v)) for v in row) + "\n" for row in values)


# Tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", [True, False])
def test_delimiters_and_headers(tmp_path, delimiter, header):
    head = f"length [m]{delimiter}mass\n" if header else ""
    table = read_table(write(tmp_path, head + numbers(delimiter)))
    assert table.has_header is header
    assert table.names == (["length [m]", "mass"] if header else ["column 1", "column 2"])
    np.testing.assert_array_equal(table.values, np.random.default_rng(0).normal(size=(ROWS, 2)))


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_single_column_and_line_ends(tmp_path, line_end):
    table = read_table(write(tmp_path, ("x\n\n" + numbers(columns=1)).replace("\n", line_end)))
    assert table.names == ["x"]
    assert table.values.shape == (ROWS, 1)


@pytest.mark.parametrize(
    "raw",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("cp1252"),
    ],
    ids=["byte-order mark", "utf-16", "cp1252"],
)
def test_encodings(tmp_path, raw):
    assert read_table(write(tmp_path, raw("größe,y\n" + numbers()))).names == ["größe", "y"]


def test_compressed_files_quoted_cells_and_decimal_commas(tmp_path):
    text = '"a, b";c\n' + numbers(";").replace(".", ",")
    table = read_table(write(tmp_path, gzip.compress(text.encode()), "t.csv.gz"))
    assert table.names == ["a, b", "c"]
    np.testing.assert_array_equal(table.values, np.random.default_rng(0).normal(size=(ROWS, 2)))


def test_a_header_with_numbers_above_columns_of_numbers(tmp_path):
    assert read_table(write(tmp_path, "site,2019,2020\n" + numbers(columns=3))).names == ["site", "2019", "2020"]
    with pytest.raises(TableError, match="'column 1'.*line 1: 'red'"):
        read_table(write(tmp_path, "red,1,2\nblue,2,3\n" * ROWS))


def test_unnamed_columns_and_the_mark_of_savetxt(tmp_path):
    assert read_table(write(tmp_path, "# x,,z\n" + numbers(columns=3))).names == ["x", "column 2", "z"]


def test_missing_values_empty_and_constant_columns_are_reported_by_name(tmp_path):
    text = "x,y,k,e\n" + numbers(",").replace("\n", ",3,\n") + "NA,1,3,\n1,inf,3,\nnan,?,3,\n,1,3,\n"
    table = read_table(write(tmp_path, text))
    assert table.names == ["x", "y"]
    assert table.header == ["x", "y", "k"]
    assert table.constants == {"k": 3.0}
    assert len(table.values) == ROWS
    said = "\n".join(table.notes)
    assert "empty columns, left out: 'e'" in said
    assert "missing values by column: 'x' 3, 'y' 2; 4 of 34 rows" in said
    assert "constant columns" in said and "'k' = 3" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("x,y\n", "no numbers below the header"),
        ("x,y\n" + "1,2\n3,4\n" * 5, "at least 20 rows.*10 of 10 are left"),
        ("x,y\n" + "1,2\n3,\n" * 15, "at least 20 rows.*15 of 30 are left.*'y' 15"),
        ("x,y,x,y,z\n" + "1,2,3,4,5\n" * ROWS, "duplicated.*'x' in columns 1, 3; 'y' in columns 2, 4"),
        ("x,y\n" + "1,2\n" * ROWS + "1,2,3\n4\n", "line 32 has 3, line 33 has 1"),
        ("x,y\n" + "1,2\n" * 300 + "1\n" * 9, "line 302 has 1.*and 4 more lines"),
        ("a,x,b\n" + "u,1,2020-01-01\n" * ROWS, "not numbers: 'a' \\(30 of 30.*'u'\\); 'b' .*'2020-01-01'"),
        ("x\n" + "1_000\n" * ROWS, "not numbers: 'x'.*'1_000'"),
        ("x\n1\n2\n" + "z" * 40 + "\n" + numbers(columns=1), "1 of 33 cells, line 4: 'zzz.*\\.\\.\\.'"),
        ("x,y\n" + "1,2\n" * ROWS, "at least one column that varies.*'x' = 1, 'y' = 2"),
        ("x\n" + "".join(f"{i}e120\n" for i in range(ROWS)), "1e100.*change the unit of 'x'"),
        (b"PK\x03\x04\x00\x00", "binary"),
        ('x\n"1\n' + "2" * 140_000, "line .* cannot be read"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, words):
    with pytest.raises(TableError, match=words):
        read_table(write(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(TableError, match="no such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(TableError, match="not a directory"):
        read_table(tmp_path)
    with pytest.raises(TableError, match="cannot be read"):
        read_table(write(tmp_path, "x\n1\n", "t.csv.gz"))


# Lattices ----------------------------------------------------------------------------------------------------------

N = 2000


def integers(most=50):
    return np.random.default_rng(1).integers(0, most, N).astype(float)


def gaussian():
    return np.random.default_rng(2).normal(size=N)


@pytest.mark.parametrize(
    ("values", "step", "decimals"),
    [
        (integers(), 1, 0),
        (2 * integers() + 1, 2, 0),
        (1e9 * integers(), 1e9, 0),
        (1e-9 * integers(), 1e-9, 9),
        (-integers() * 0.25, 0.25, 2),
        (np.round(gaussian(), 3), 0.001, 3),
        (np.round(gaussian() * 500) * 0.002, 0.002, 3),
        (integers() * 0.5, 0.5, 1),
        (0.3 + 0.5 * integers(), 0.5, 1),
        (np.pi + 0.5 * integers(), 0.5, None),
        (integers() / 3, 1 / 3, None),
        (np.round(integers(300) / 3, 6), 1 / 3, None),
        (2000 + integers() / 12, 1 / 12, None),
        (integers() / 64, 1 / 64, 6),
        ((0.1 * integers()).astype("f4").astype(float), 0.1, 1),
        ((1000 + np.round(gaussian(), 2)).astype("f4").astype(float), 0.01, 2),
        (np.array([float(f"{x:.10g}") for x in (0.1 * integers()).astype("f4")]), 0.1, 1),
        (np.array([0.123] * 50 + [0.777] * 50), 0.654, 3),
        (np.arange(40.0), 1, 0),
    ],
)
def test_lattices_are_found(values, step, decimals):
    found = find_lattice(values)
    assert found is not None
    assert found.step == pytest.approx(step, rel=1e-9 if decimals is not None else 1e-5)
    assert found.decimals == decimals
    index = (values - found.offset) / found.step
    np.testing.assert_allclose(index, np.rint(index), atol=0.05)


@pytest.mark.parametrize(
    "values",
    [
        gaussian(),
        1e80 * gaussian(),
        1e-40 * gaussian(),
        gaussian().astype("f4").astype(float),
        np.random.default_rng(3).random(N, dtype="f4").astype(float),
        np.round(np.random.default_rng(3).random(N), 6),
        np.round(np.random.default_rng(3).random(20), 3),
        np.repeat([float(f"{x:.9g}") for x in gaussian()[:99]], 20),
        np.where(integers() < 20, 0, np.abs(gaussian())),
        np.log1p(integers()),
    ],
)
def test_continuous_columns_are_not_lattices(values):
    assert find_lattice(values) is None


def test_values_with_a_mass_of_their_own():
    rain = np.where(integers() < 20, 0, np.abs(gaussian()))
    found = find_heavy(rain, find_lattice(rain))
    assert found is not None
    assert found.value == 0
    assert found.share == pytest.approx(0.4, abs=0.05)
    # No value is heavy, but nearly all repeat, and on no lattice.
    logs = np.log1p(integers())
    assert find_heavy(logs, find_lattice(logs)).repeats > 0.9
    # Heavy, on a coarse lattice: spread over a step it is a bar of a histogram.
    counts = np.where(integers() < 40, 0, integers())
    assert find_heavy(counts, find_lattice(counts)) is None
    assert find_heavy(gaussian(), None) is None


def test_flooring_and_text_of_a_lattice():
    lattice = Lattice(0.002, 0.076, 3)
    values = lattice.floor(np.array([0.0779, 0.0781, 0.0001, -0.0039]))
    assert [lattice.text(v) for v in values.tolist()] == ["0.076", "0.078", "0.000", "-0.004"]
    third = Lattice(1 / 3, 0.0, None)
    assert third.text(third.floor(np.array([0.5])).item()) == "0.333333333"
