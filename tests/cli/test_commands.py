"""The commands on real tables: what they write, print and promise."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import flowtorch
from flowtorch.cli import main
from flowtorch.cli.columns import Columns, describe
from flowtorch.cli.model import (
    Model,
    NoisyLikelihood,
    build,
    dequantised,
    is_periodic,
    middles,
    open_model,
    working_type,
)
from flowtorch.cli.plans import READY_MADE, make_plan
from flowtorch.cli.plot import _edges
from tests.cli.tables import diabetes, iris, wine, written

SMALL = ("--set", "layers=1", "--set", "hidden_dims=8", "--max-steps", "30", "--no-progress")
Says = Callable[..., Any]


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str]) -> Says:
    """Runs a command that goes well, and returns what it printed: parsed, if that is JSON."""

    def run(*words: object) -> Any:
        code = main([str(word) for word in words])
        found = capsys.readouterr()
        assert code == 0, found.err
        return json.loads(found.out) if "--json" in words else found.out

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two columns given two others, the rows it did not see, and what its fit reported."""
    folder = tmp_path_factory.mktemp("model")
    table = written(diabetes(), folder / "diabetes.parquet")
    words = (
        f"fit {table} -o {folder / 'a.flow'} --columns target,bp --given age,bmi --bounds target=0:inf --hold-out 0.2"
    )
    assert main([*words.split(), "--hold-out-to", str(folder / "held.csv"), *SMALL]) == 0
    return folder


# Fit and score --------------------------------------------------------------------------------------------------------


def test_the_rows_held_out_score_what_fit_said(folder: Path, says: Says, tmp_path: Path) -> None:
    fitted = says("summary", folder / "a.flow", "--json")["fit"]
    found = says("score", folder / "a.flow", folder / "held.csv", "-o", tmp_path / "scores.csv", "--json")
    assert found["rows"] == fitted["rows_held_out"] == 88 and fitted["rows"] == 354
    assert found["mean_log_prob"] == pytest.approx(fitted["mean_log_prob"], abs=1e-12)
    rows = pd.read_csv(tmp_path / "scores.csv")
    assert rows["row"].tolist() == list(range(1, 89)) and rows["log_prob"].mean() == pytest.approx(
        found["mean_log_prob"]
    )
    assert found["standard_error"] == pytest.approx(rows["log_prob"].std() / math.sqrt(88))
    assert found["dequantised"] == {"target": 1.0, "bp": 0.01}


def test_the_held_out_rows_are_the_tables_and_the_others_were_learnt_from(folder: Path) -> None:
    held, table = pd.read_csv(folder / "held.csv"), diabetes()
    assert list(held.columns) == ["age", "bmi", "target", "bp"] and len(held) == 88
    merged = held.merge(table, on=list(held.columns))
    assert len(merged) >= 88


def test_the_file_is_an_ordinary_flow_in_the_tables_units(folder: Path) -> None:
    flow, model = flowtorch.load(folder / "a.flow"), open_model(folder / "a.flow")
    frame = pd.read_csv(folder / "held.csv")
    values, context = model.columns.values(frame, ""), model.columns.context(frame, "")
    noisy = torch.from_numpy(dequantised(model.columns, values, 0)).float()
    expected = flow.log_prob(noisy, torch.from_numpy(context).float())
    np.testing.assert_allclose(model.log_prob(values, context, 0), expected.detach().numpy(), atol=1e-5)
    assert flow.event_shape == flow.context_shape == (2,)
    assert bool((flow.sample((500,), torch.tensor([50.0, 26.0]))[:, 0] > 0).all())  # the bound is in the flow


def test_a_density_of_one_column_integrates_to_one(says: Says, tmp_path: Path) -> None:
    table = written(iris(), tmp_path / "iris.csv")
    words = ("--columns", "petal_length", "--continuous", "petal_length", "--bounds", "petal_length=0:10")
    says("fit", table, "-o", tmp_path / "a.flow", *words, *SMALL)
    grid = torch.linspace(0, 10, 20_001)[1:-1, None]
    density = flowtorch.load(tmp_path / "a.flow").log_prob(grid).exp().detach()
    assert float(density.sum() * 10 / 20_000) == pytest.approx(1, abs=1e-3)


def test_the_gaussian_beside_it_is_torchs(says: Says, tmp_path: Path) -> None:
    frame = wine()[["alcohol", "color_intensity", "proline"]]
    table = written(frame, tmp_path / "wine.csv")
    options = ("--continuous", "alcohol,color_intensity", "--given", "proline", "--hold-out", "0.25")
    found = says(
        "fit", table, "-o", tmp_path / "a.flow", *options, *SMALL, "--hold-out-to", tmp_path / "h.csv", "--json"
    )
    held = pd.read_csv(tmp_path / "h.csv")[list(frame.columns)].to_numpy()
    learnt = np.array([row for row in frame.to_numpy().tolist() if row not in held.tolist()])
    z, scale = torch.from_numpy(learnt), torch.from_numpy(learnt.std(0))

    def gaussian(columns: list[int]) -> torch.Tensor:
        some = z[:, columns] / scale[columns]
        law = torch.distributions.MultivariateNormal(
            some.mean(0), torch.cov(some.T, correction=0).reshape(2 * some.shape[1:])
        )
        log_prob: torch.Tensor = law.log_prob(torch.from_numpy(held[:, columns]) / scale[columns])
        return log_prob - scale[columns].log().sum()

    expected = (gaussian([0, 1, 2]) - gaussian([2])).mean()
    assert found["gaussian_mean_log_prob"] == pytest.approx(float(expected), abs=1e-6)
    assert found["difference"] == pytest.approx(found["mean_log_prob"] - float(expected), abs=1e-6)


def test_what_is_told_of_columns(says: Says, tmp_path: Path) -> None:
    frame = wine().assign(rain=lambda f: np.where(f.target == 0, 0.0, f.hue**1.7), twice=lambda f: 2 * f.proline + 1)
    said = says("fit", written(frame, tmp_path / "t.csv"), "-o", tmp_path / "a.flow", "--bounds", "hue=0:2", *SMALL)
    assert "178 rows, 16 columns" in said and "dequantised" in said and "step 0.1: alcalinity_of_ash" in said
    assert "hue in (0, 2)" in said and "'rain': 33% of the rows are exactly 0" in said
    assert "'proline', 'twice'" in said and "linear functions" in said and "singular" in said and "nan" not in said


def test_what_cannot_be_fitted_is_left_out_if_asked(says: Says, tmp_path: Path) -> None:
    frame = iris().assign(kind="iris", one=1.0, none=np.nan)
    frame.loc[[3, 5], "petal_width"] = np.nan
    found = says("fit", written(frame, tmp_path / "t.csv"), "-o", tmp_path / "a.flow", "--drop", *SMALL, "--json")
    assert found["columns"] == ["sepal_length", "sepal_width", "petal_length", "petal_width", "target"]
    assert found["rows"] + found["rows_held_out"] == 148
    said = says("fit", tmp_path / "t.csv", "-o", tmp_path / "a.flow", "--drop", "--force", *SMALL)
    assert "not numbers: 'kind', 'none'" in said and "2 of 150 rows" in said and "one value in all rows: 'one'" in said


def test_the_seed_decides_and_leaves_torchs_numbers_alone(says: Says, tmp_path: Path) -> None:
    table = written(iris(), tmp_path / "iris.csv")
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        says("fit", table, "-o", tmp_path / f"{name}.flow", "--seed", seed, *SMALL)
    drawn = [says("sample", tmp_path / f"{name}.flow", "-n", 5, "--seed", 1) for name in "abc"]
    assert drawn[0] == drawn[1] != drawn[2]
    assert says("sample", tmp_path / "a.flow", "-n", 5, "--seed", 2) != drawn[0]
    assert torch.equal(state, torch.get_rng_state()) and threads == torch.get_num_threads()


# Sample ---------------------------------------------------------------------------------------------------------------


def test_samples_are_rounded_bounded_and_given(folder: Path, says: Says, tmp_path: Path) -> None:
    said = says(
        "sample", folder / "a.flow", "-n", 400, "--given", "age=50", "--given", "bmi=26.5", "-o", tmp_path / "s.csv"
    )
    rows = pd.read_csv(tmp_path / "s.csv")
    assert "400 rows" in said and list(rows.columns) == ["age", "bmi", "target", "bp"]
    assert set(rows["age"]) == {50.0} and set(rows["bmi"]) == {26.5}
    assert rows["target"].dtype.kind == "i" and (rows["target"] >= 0).all() and rows["target"].nunique() > 20
    says("score", folder / "a.flow", tmp_path / "s.csv")  # takes them again


def test_samples_at_the_contexts_of_a_table(folder: Path, says: Says, tmp_path: Path) -> None:
    contexts = pd.DataFrame({"other": [0, 1], "bmi": [22.0, 31.0], "age": [30, 60]})
    table = written(contexts, tmp_path / "c.csv")
    says("sample", folder / "a.flow", "--given-file", table, "-n", 3, "-o", tmp_path / "s.npy")
    assert np.load(tmp_path / "s.npy")[:, :2].tolist() == [[30.0, 22.0]] * 3 + [[60.0, 31.0]] * 3
    assert len(says("sample", folder / "a.flow", "--given-file", table, "--json")["rows"]) == 2


def test_samples_without_a_file_are_printed(folder: Path, says: Says, capsys: pytest.CaptureFixture[str]) -> None:
    lines = says("sample", folder / "a.flow", "-n", 2, "--given", "age=50", "--given", "bmi=26").splitlines()
    assert lines[0] == "age,bmi,target,bp" and len(lines) == 3
    found = says("sample", folder / "a.flow", "-n", 2, "--given", "age=50", "--given", "bmi=26", "--json")
    assert [set(row) for row in found["rows"]] == [{"age", "bmi", "target", "bp"}] * 2
    main(["sample", str(folder / "a.flow"), "-n", "2", "--given", "age=5", "--given", "bmi=26"])
    assert "warning: 'age' was between 19 and 79" in capsys.readouterr().err


def test_samples_in_json_are_those_of_a_file_however_small(says: Says, tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(100, 2)) * (1e-13, 1e13)
    np.savetxt(tmp_path / "t.csv", table, delimiter=",", header="a,b")
    says("fit", tmp_path / "t.csv", "-o", tmp_path / "a.flow", *SMALL)
    says("sample", tmp_path / "a.flow", "-n", 5, "-o", tmp_path / "s.npy")
    found = pd.DataFrame(says("sample", tmp_path / "a.flow", "-n", 5, "--json")["rows"])
    np.testing.assert_array_equal(found, np.load(tmp_path / "s.npy"))


def test_a_circle_of_whole_degrees_is_360_degrees_long(says: Says, tmp_path: Path) -> None:
    degrees = np.random.default_rng(0).normal(0.0, 40.0, 500).round() % 360  # on both sides of where it begins
    table = written(pd.DataFrame({"direction": degrees}), tmp_path / "t.csv")
    says("fit", table, "-o", tmp_path / "a.flow", "--flow", "ncsf", "--bounds", "direction=0:360", *SMALL)
    model = open_model(tmp_path / "a.flow")
    (column,) = model.columns.chosen
    assert column.box == (0.0, 360.0)
    around = model.log_prob(np.array([[0.0], [359.0]]), None, 0)
    assert abs(around[0] - around[1]) < 0.5  # it is continuous there
    assert says("sample", tmp_path / "a.flow", "-n", 2000, "--json")["rows"][0]["direction"] in range(360)
    assert model.columns.frame(model.sample(2000, None, 0), None)["direction"].between(0, 359).all()


@pytest.mark.parametrize("name", READY_MADE)
def test_every_ready_made_flow_takes_a_table(name: str) -> None:
    values = iris()[["sepal_length", "petal_length"]].to_numpy()
    bounds = {"low": 0.0, "high": 9.0} if name == "ncsf" else {}
    columns = Columns(tuple(type(c)(c.name, c.least, c.most, **bounds) for c in describe(["a", "b"], values)))
    plan = make_plan(name, ["layers=1"])
    assert is_periodic(plan) == (name == "ncsf")
    model = Model(build(plan, columns, values, None, 0), columns, {})
    drawn = model.sample(200, None, 0)
    assert np.isfinite(model.log_prob(values, None, 0)).all() and np.isfinite(drawn).all()
    if name == "ncsf":
        assert drawn.min() >= 0 and drawn.max() <= 9 and np.ptp(drawn) > 8  # all around
    elif name != "bnaf":  # which starts far from the identity
        np.testing.assert_allclose(drawn.mean(0), values.mean(0), atol=1.0)  # in the table's units from the start


# Plot, summary, check -------------------------------------------------------------------------------------------------


def test_pictures(folder: Path, says: Says, tmp_path: Path) -> None:
    said = says("plot", folder / "a.flow", folder / "held.csv", "-o", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG") and "88 rows and as many samples" in said
    says("plot", folder / "a.flow", folder / "held.csv", "-o", tmp_path / "b.pdf", "--columns", "bp")
    says("plot", folder / "a.flow", "-o", tmp_path / "c.svg", "--losses")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.pdf", "c.svg"]
    assert (tmp_path / "b.pdf").read_bytes().startswith(b"%PDF") and b"<svg" in (tmp_path / "c.svg").read_bytes()


def test_a_summary(folder: Path, says: Says) -> None:
    said = says("summary", folder / "a.flow")
    for words in (
        "target",
        "0 to inf; step 1, dequantised",
        "given",
        "nsf",
        "nats a row",
        "ConstrainTo",
        "Standardize",
    ):
        assert words in said
    found = says("summary", folder / "a.flow", "--json")
    assert [c["name"] for c in found["columns"]["chosen"]] == ["target", "bp"]
    assert found["columns"]["chosen"][0]["high"] is None and found["layers"][0]["layer"] == "base: DiagNormal"


def test_a_plan_is_checked_without_data(says: Says, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("[{type: SplineCoupling, count_bins: 4}, Permute, Exp]")
    said = says("check", tmp_path / "plan.yaml", "--shape", "5", "--context-shape", "2")
    assert "from real, the base's side, to (0, inf), the data's" in said and "SplineCoupling" in said
    found = says("check", tmp_path / "plan.yaml", "--shape", "2,3", "--json")
    assert found["layers"][1]["shape"] == [2, 3] and found["parameters"] > 0
    assert (
        says("check", "maf", "--set", "layers=2", "--set", "nonlinearity=SiLU", "--shape", "3").count("Autoregressive")
        == 2
    )


def test_a_plan_of_ones_own_is_fitted(says: Says, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("type: AffineAutoregressive\nparams_fn: {type: MADE, hidden_dims: [8]}\n")
    table = written(iris(), tmp_path / "iris.csv")
    words = ("--max-steps", "20", "--no-progress", "--columns", "sepal_length,sepal_width")
    found = says("fit", table, "-f", tmp_path / "plan.yaml", "-o", tmp_path / "a.flow", *words, "--json")
    assert found["steps"] == 20 and found["best_step"] == 20 and len(found["losses"]["validation"]) == 1


# Noise and bounds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("low", [0.0, 1000.0])
def test_noise_stays_within_the_step_and_the_bounds(low: float) -> None:
    values = low + np.random.default_rng(0).poisson(0.3, size=(5000, 1)).astype(float)
    columns = Columns(tuple(type(c)(c.name, c.least, c.most, low, math.inf, _unit()) for c in describe(["n"], values)))
    noise = dequantised(columns, values, 0) - values
    assert noise.min() >= 0 and 0.99 < noise.max() < 1 and abs(noise.mean() - 0.5) < 0.02
    assert not np.array_equal(noise, dequantised(columns, values, 1) - values)
    flow = build(make_plan("nsf", ["layers=1"]), columns, values, None, 0)
    rows = torch.from_numpy(middles(columns, values)).float().repeat(100, 1)
    torch.manual_seed(0)
    first, second = (NoisyLikelihood(columns)(flow, rows, None, None).item() for _ in range(2))
    assert math.isfinite(first) and first != second and abs(first - second) < 0.02


@pytest.mark.parametrize(
    ("offset", "scale", "step", "dtype"),
    [
        (240.0, 3.0, 0.01, torch.float32),
        (0.0, 1e-9, 0.0, torch.float32),
        (1e9, 1.0, 0.0, torch.float64),
        (1.5e9, 1e7, 1.0, torch.float64),
        (0.0, 1e-35, 0.0, torch.float64),
    ],
)
def test_the_dtype_resolves_spread_and_step(offset: float, scale: float, step: float, dtype: torch.dtype) -> None:
    values = offset + scale * np.random.default_rng(0).normal(size=(2000, 1))
    assert working_type(values, np.array([step])) == dtype


def test_bins_hold_equally_many_points_of_a_rounded_column() -> None:
    values = np.arange(-1.0, 201.0)
    edges = _edges(replace(describe(["n"], values[:, None])[0], lattice=_unit()), values, 10_000)
    assert edges is not None and edges[0] <= -1 and edges[-1] >= 201
    np.testing.assert_allclose(np.diff(edges), 4.0)


def _unit() -> Any:
    from flowtorch.cli.lattice import find_lattice

    return find_lattice(np.arange(50.0))


# Files ----------------------------------------------------------------------------------------------------------------


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failure_while_writing_leaves_the_old_file_and_no_half(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: int) -> None:
        raise OSError("no space left")

    for name in ("s.csv", "p.png"):
        (tmp_path / name).write_text("old")
    monkeypatch.setattr(os, "fsync", fails)
    model, held = str(folder / "a.flow"), str(folder / "held.csv")
    given = ["--given", "age=50", "--given", "bmi=26"]
    assert main(["sample", model, *given, "-o", str(tmp_path / "s.csv"), "--force"]) == 1
    assert main(["plot", model, held, "-o", str(tmp_path / "p.png"), "--force"]) == 1
    assert main(["score", model, held, "-o", str(tmp_path / "new.parquet")]) == 1
    assert capsys.readouterr().err.count("no space left") == 3
    assert left(tmp_path) == ["p.png", "s.csv"] and (tmp_path / "s.csv").read_text() == "old"


def test_an_interrupt_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flowtorch.train.fit", interrupted)
    table = written(iris(), tmp_path / "iris.csv")
    assert main(["fit", str(table), "-o", str(tmp_path / "a.flow"), *SMALL]) == 130
    assert "nothing is written" in capsys.readouterr().err and left(tmp_path) == ["iris.csv"]
