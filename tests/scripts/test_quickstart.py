"""scripts/quickstart: the fit, the report, the picture, and a run from end to end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")

import torch  # noqa: E402

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import quickstart  # noqa: E402
from _quickstart import fit, picture, report  # noqa: E402
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


N = 2000


def integers(most=50):
    return np.random.default_rng(1).integers(0, most, N).astype(float)


def gaussian():
    return np.random.default_rng(2).normal(size=N)


# The fit -----------------------------------------------------------------------------------------------------------


def test_rows_are_cut_without_overlap_and_noise_stays_within_a_step():
    values = np.arange(1000.0)[:, None]
    split = fit.split_rows(values, 0)
    assert (len(split.train), len(split.stop), len(split.test)) == (800, 100, 100)
    assert sorted(np.concatenate([split.train, split.stop, split.test])[:, 0]) == values[:, 0].tolist()
    assert not np.array_equal(split.test, fit.split_rows(values, 1).test)
    noise = fit.dequantise(values, [Lattice(0.5, 0.0, 1)], 0) - values
    assert 0 <= noise.min() and 0.49 < noise.max() < 0.5
    assert not np.array_equal(fit.dequantise(values, [Lattice(0.5, 0.0, 1)], 1) - values, noise)
    np.testing.assert_array_equal(fit.dequantise(values, [None], 0), values)


def test_the_gaussian_is_torchs():
    rng = np.random.default_rng(0)
    train = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3)) * [1e9, 1.0, 1e-9] + [0, 5, 1]
    scores, dependent = fit.gaussian(train, train[:50])
    expected = torch.distributions.MultivariateNormal(
        torch.from_numpy(train.mean(0) / [1e9, 1, 1e-9]),
        torch.from_numpy(np.cov((train / [1e9, 1, 1e-9]).T, bias=True)),
    ).log_prob(torch.from_numpy(train[:50] / [1e9, 1, 1e-9]))
    np.testing.assert_allclose(scores, expected.numpy(), rtol=1e-5)
    assert dependent == []


def test_columns_that_are_functions_of_each_other_have_no_gaussian():
    x = gaussian()
    scores, dependent = fit.gaussian(np.stack([x, integers(), 1 - 2 * x], 1), np.zeros((4, 3)))
    assert np.isnan(scores).all()
    assert dependent == [0, 2]


@pytest.mark.parametrize(
    ("offset", "scale", "step", "kind"),
    [
        (240.0, 3.0, 0.01, torch.float32),
        (0.0, 1e-9, 0.0, torch.float32),
        (1e9, 1.0, 0.0, torch.float64),
        (1.5e9, 1e7, 1.0, torch.float64),
        (0.0, 1e-35, 0.0, torch.float64),
    ],
)
def test_the_working_type_resolves_spread_and_step(offset, scale, step, kind):
    assert fit.working_type((offset + scale * gaussian())[:, None], np.array([step])) == kind


def test_a_column_with_one_value_in_the_rows_drawn_is_named():
    split = fit.split_rows(np.stack([gaussian(), np.zeros(N)], 1), 0)
    with pytest.raises(TableError, match="one value in all rows drawn for training: b"):
        fit.fit(split, [None, None], ["a", "b"], fit.Budget(1.0, 0))


# Report and picture ------------------------------------------------------------------------------------------------


def result(gaussian_score=-20.75, dependent=()):
    flow = fit.dist.Flow(fit.dist.DiagNormal((2,)), fit.make_plan(np.stack([gaussian(), integers()], 1), ["a", "b"]))
    return fit.Result(flow, torch.float32, -12.5, gaussian_score, 0.03, (80, 10, 10), 7, 1.0, True, list(dependent))


def test_what_is_said_of_columns():
    rain = np.where(integers() < 20, 0, np.abs(gaussian()))
    said = report.about_columns(
        ["a", "b", "rain"], [Lattice(0.002, 0, 3), Lattice(0.002, 1, 3), None], [None, None, find_heavy(rain, None)]
    )
    assert "dequantised" in said and "step 0.002: a, b" in said
    assert "'rain': 4" in said and "exactly 0" in said and "spikes" in said
    assert "no column's values lie on a lattice" in report.about_columns(["a"], [None], [None])


def test_what_is_said_of_the_fit():
    said = report.about_fit(result(), ["a", "b"], smoke=True)
    for words in ("7 steps", "-12.500", "-20.750", "+8.250", "standard error 0.030", "dequantised", "mean nothing"):
        assert words in said
    assert "Standardize" in said  # the units are a part of the flow
    assert "below the Gaussian" in report.about_fit(result(-10.0), ["a", "b"], smoke=False)
    said = report.about_fit(result(float("nan"), [0, 1]), ["a", "b"], smoke=False)
    assert "'a', 'b': some are linear functions" in said and "singular" in said and "nan" not in said
    assert "\N{MINUS SIGN}12.50" in report.headline(result()) and "(+8.25)" in report.headline(result())
    assert "nan" not in report.headline(result(float("nan")))


def test_samples_take_the_form_of_the_table(tmp_path):
    table = read_table(
        write(tmp_path, "x,k,n\n" + "".join(f"{float(x)!r},3,{i % 7}\n" for i, x in enumerate(gaussian()[:99])))
    )
    lattices = [find_lattice(column) for column in table.values.T]
    text = report.samples_csv(np.array([[0.123456789123, 2.9], [-1.0, -0.1]]), table, lattices, 9)
    assert text == "x,k,n\n0.123456789,3,2\n-1,3,-1\n"
    said = report.about_files(tmp_path, table, lattices, np.array([[0.0, 2.9], [0.0, -0.1]]), 1)
    assert "rounded down" in said and "50.0%" in said and "the first 1 of 2 columns" in said


def test_bins_hold_equally_many_points_of_a_lattice():
    edges = picture.bins(-1.5, 200.0, Lattice(1.0, 0.0, 0))
    np.testing.assert_allclose(np.diff(edges), 4.0)
    assert edges[0] <= -1.5 and edges[-1] >= 200.0
    assert len(picture.bins(0.0, 1.0, None)) == 61


@pytest.mark.parametrize("columns", [1, 2, 8])
def test_pictures_of_few_and_many_columns(columns):
    data = np.random.default_rng(0).normal(size=(200, columns))
    data[:, 0] = np.round(data[:, 0])
    names = ["a name with $\\bad{ $signs$, 温度 & a length beyond all measure_in_nm"] * columns
    lattices = [Lattice(1.0, 0.0, 0)] + [None] * (columns - 1)
    image = picture.draw(data, data + 1e3, names, lattices, "title $x_{$", "subtitle")
    assert image.startswith(b"\x89PNG")


# From end to end ---------------------------------------------------------------------------------------------------


@pytest.fixture
def one_thread_restored():
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as raised:
        quickstart.main([str(a) for a in arguments])
    assert raised.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and message.startswith("quickstart: ")
    return message


@pytest.mark.usefixtures("one_thread_restored")
def test_a_run_writes_both_files_and_nothing_else(tmp_path, capsys):
    table = write(tmp_path, "x,n,k\n" + "".join(f"{float(x)!r},{i % 7},5\n" for i, x in enumerate(gaussian()[:300])))
    out = tmp_path / "deep" / "out"
    quickstart.main([str(table), "--out", str(out), "--seconds", "2", "--smoke"])
    assert sorted(path.name for path in out.iterdir()) == ["quickstart.png", "samples.csv"]
    lines = (out / "samples.csv").read_text().splitlines()
    assert lines[0] == "x,n,k" and len(lines) == 1001
    assert all(float(n) == int(n) and k == "5" for n, k in (line.split(",")[1:] for line in lines[1:]))
    said = capsys.readouterr().out
    for words in ("300 rows, 2 columns", "'k' = 5", "step 1: n", "full-covariance Gaussian", "samples.csv", "in all"):
        assert words in said


@pytest.mark.usefixtures("one_thread_restored")
def test_errors_are_one_line_and_leave_nothing(tmp_path, capsys):
    out = tmp_path / "out"
    table = write(tmp_path, "a,x\n" + "u,1\n" * ROWS)
    assert "'a'" in refused(capsys, table, "--out", out)
    good = write(tmp_path, numbers(), "good.csv")
    assert "is a file" in refused(capsys, good, "--out", good)
    assert "--seconds" in refused(capsys, good, "--out", out, "--seconds", "0")
    assert "--seconds" in refused(capsys, good, "--out", out, "--seconds", "soon")
    assert "--seed" in refused(capsys, good, "--out", out, "--seed", "-1")
    assert "unrecognized" in refused(capsys, good, "--out", out, "--speed")
    assert not out.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert "cannot be written to" in refused(capsys, "--out", tmp_path / "out")


def test_a_failure_while_writing_leaves_no_half(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        quickstart.write_all(tmp_path, {"a": b"1", "b": b"2"})
    assert list(tmp_path.iterdir()) == []


def test_the_table_that_comes_with_it():
    assert quickstart.DEFAULT_TABLE.stat().st_size < 1_000_000
    table = read_table(quickstart.DEFAULT_TABLE)
    assert table.values.shape == (160_000, 6)
    steps = [find_lattice(column).step for column in table.values.T]
    assert steps == [0.002, 0.01, 1, 1, 1, 1]
    credit = (SCRIPTS / "data" / "README.md").read_text()
    assert "CC BY 4.0" in credit and "10.24432/C58K54" in credit


@pytest.mark.slow
def test_the_default_run_beats_the_gaussian_by_seven_and_a_half_nats(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPTS / "quickstart.py", "--out", tmp_path], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    difference = next(line for line in done.stdout.splitlines() if "difference" in line)
    assert float(difference.split()[1]) >= 7.5
