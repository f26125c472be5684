"""scripts/bench: taking turns, ratios, tables, and flowtorch's own models. No peer is needed."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from bench import cases, peers, tables, worker  # noqa: E402
from bench.cases import MEASURES, MIDDLE, Job  # noqa: E402
from bench.model import NotOffered, TorchModel  # noqa: E402
from bench.runner import Result, Runner  # noqa: E402
from bench.timing import Budget, Failure, Ratio, Timing, interleave, local  # noqa: E402

TINY = MIDDLE.but(dim=4, batch=3, layers=2, hidden=(8,), bins=3)


class Fake:
    """A timer that says what it is told to, and writes down its turns."""

    def __init__(self, seconds, turns=None, name="", fails_at=None):
        self.seconds, self.turns, self.name, self.fails_at = seconds, turns, name, fails_at
        self.calls = []

    def __call__(self, number):
        self.calls.append(number)
        if self.turns is not None:
            self.turns.append(self.name)
        if self.fails_at is not None and len(self.calls) >= self.fails_at:
            raise RuntimeError("the second step fails\nwith details")
        return self.seconds


# Timing --------------------------------------------------------------------------------------------------------------


def test_contestants_take_turns_every_second_round_backwards():
    turns = []
    fakes = {name: Fake(0.1, turns, name) for name in "abc"}
    interleave(fakes, Budget(seconds=0.0, rounds=(4, 4)))
    assert "".join(turns) == "aabbcc" + "abc" + "cba" + "abc" + "cba"  # the first two of each are the warm-up


@pytest.mark.parametrize(("seconds", "rounds"), [(0.01, 101), (0.1, 15), (1.0, 7), (5.0, 3)])
def test_rounds_follow_the_budget(seconds, rounds):
    timing = interleave({"a": Fake(seconds)}, Budget(seconds=1.5, rounds=(7, 101), patience=15.0))["a"]
    assert len(timing.samples) == rounds
    assert timing.note == (f"rounds: {rounds}" if rounds < 7 else "")


def test_the_slowest_is_timed_once():
    fake = Fake(100.0)
    timing = interleave({"a": fake}, Budget(patience=15.0))["a"]
    assert len(fake.calls) == 1
    assert timing.samples == (100.0,)
    assert timing.note == "one repetition, the first"


def test_quick_ones_are_timed_several_at_a_time():
    fake = Fake(1e-4)
    timing = interleave({"a": fake}, Budget(seconds=0.02, sample=2e-3))["a"]
    assert timing.number == fake.calls[-1] == 20
    assert len(timing.samples) == 10


@pytest.mark.parametrize("fails_at", [1, 2, 5])
def test_one_that_raises_is_given_up_and_the_others_go_on(fails_at):
    results = interleave({"bad": Fake(0.1, fails_at=fails_at), "good": Fake(0.1)}, Budget(rounds=(7, 7)))
    assert results["bad"] == Failure("RuntimeError: the second step fails")
    assert len(results["good"].samples) == 7


def test_local_counts_each_repetition():
    calls = []
    assert local(lambda: calls.append(1), "cpu")(5) >= 0.0
    assert len(calls) == 5


def test_ratios_are_taken_within_rounds():
    # The machine becomes ten times slower half-way; medians alone would say 1.
    ours, other = Timing((1.0, 1.0, 10.0, 10.0, 10.0), 1), Timing((2.0, 2.0, 20.0, 20.0, 20.0, 3.0), 1)
    assert Ratio.of(other, ours) == Ratio(2.0, (2.0, 2.0))


def test_quartiles():
    assert Timing((1.0, 2.0, 3.0, 4.0, 5.0), 1).quartiles == (2.0, 4.0)
    assert Timing((3.0,), 1).quartiles == (3.0, 3.0)


# Cases ---------------------------------------------------------------------------------------------------------------


def test_the_grid_is_complete():
    sizes = {(job.case.flow, job.case.dim, job.case.batch) for job in cases.grid()}
    assert len(sizes) == 4 * 4 * 4
    assert {job.measures for job in cases.grid()} == {MEASURES}


def test_labels_tell_configurations_apart():
    everything = [job.case for make in (cases.grid, cases.growth, cases.maps) for job in make()]
    assert len({case.label for case in everything}) == len(set(everything))
    assert MIDDLE.but(bins=4).label == "rational quadratic spline, autoregressive, D = 16, batch 512, 4 bins"


def test_data_is_the_same_each_time_and_on_the_circle_for_angles():
    assert TINY.data().shape == (3, 4)
    torch.testing.assert_close(TINY.data(), TINY.data(), rtol=0, atol=0)
    assert TINY.but(map="circular", batch=1000).data().abs().max() < math.pi


# Models --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "structure"), cases.MAPS)
def test_flowtorch_has_every_map(name, structure):
    case = TINY.but(map=name, structure=structure)
    model = peers.build("flowtorch", case)
    for measure in ("train", "log_prob"):
        model.run(measure, case)()


@pytest.mark.parametrize("flow", cases.FLOWS, ids=lambda flow: flow.flow)
@pytest.mark.parametrize("library", ["flowtorch", "flowtorch, bfloat16", "matrix products"])
@pytest.mark.parametrize("direction", ["density", "sampling"])
def test_all_measures_run_in_both_directions(flow, library, direction):
    case = TINY.but(map=flow.map, structure=flow.structure, direction=direction)
    model = peers.build(library, case)
    for measure in MEASURES:
        run = model.run(measure, case)
        run()
        run()


@pytest.mark.parametrize("flow", cases.FLOWS, ids=lambda flow: flow.flow)
def test_the_limit_has_the_parameters_of_flowtorch(flow):
    counts = {library: peers.build(library, flow).parameter_count() for library in ("flowtorch", "matrix products")}
    assert counts["flowtorch"] == counts["matrix products"]


def test_a_model_starts_away_from_the_identity():
    model = peers.build("flowtorch", TINY)
    base = torch.distributions.Normal(0.0, 1.0).log_prob(TINY.data()).sum(-1)
    assert (model.log_prob(TINY.data()) - base).abs().max() > 1e-3


def test_a_training_step_moves_the_parameters_and_scoring_does_not():
    model = peers.build("flowtorch", TINY)

    def state():
        return torch.cat([p.detach().flatten().clone() for p in model.parameters])

    before = state()
    model.run("log_prob", TINY)()
    assert torch.equal(state(), before)
    model.run("train", TINY)()
    assert not torch.equal(state(), before)


@pytest.mark.parametrize(
    ("log_prob", "message"),
    [(lambda x: x, "shape .3,. is expected; got .3, 4."), (lambda x: x.sum(-1) / 0, "finite values are expected")],
)
def test_wrong_densities_are_caught_before_timing(log_prob, message):
    with pytest.raises(ValueError, match=message):
        TorchModel([], log_prob).check(TINY)


def test_what_a_library_cannot_do_is_not_offered():
    for measure in ("sample", "rsample"):
        with pytest.raises(NotOffered):
            TorchModel([], lambda x: x.sum(-1)).run(measure, TINY)


# The runner ----------------------------------------------------------------------------------------------------------


def linear_model(**parts):
    weight = torch.nn.Parameter(torch.ones(()))
    return TorchModel([weight], **{"log_prob": lambda x: (x * weight).sum(-1), **parts})


def run(monkeypatch, build, *, measures=("train",), case=TINY, budget=None):
    monkeypatch.setattr(peers, "build", build)
    made = Runner(["flowtorch", "zuko", "nflows"], budget or Budget(seconds=0.0, rounds=(2, 2), sample=0.0))
    results = made.run(Job("grid", case, measures))
    return made, {result.library: result for result in results}


def test_the_missing_the_failing_and_the_unable_do_not_stop_the_others(monkeypatch):
    def build(library, case):
        if library == "zuko":
            raise ImportError("No module named 'zuko'")
        if library == "nflows":
            raise ValueError("log_prob: finite values are expected; got nan")
        return linear_model()

    made, results = run(monkeypatch, build)
    assert made.missing == {"zuko": "No module named 'zuko'"}
    assert results["nflows"].status == "fails"
    assert results["nflows"].note == "ValueError: log_prob: finite values are expected; got nan"
    assert results["flowtorch"].ratio.median == 1.0
    assert results["flowtorch"].parameters == 1
    _, results = run(monkeypatch, lambda library, case: linear_model(), measures=("sample",))
    assert results == {}  # none of them can


def test_samples_are_differentiated_in_the_flow_that_samples_in_one_pass(monkeypatch):
    directions = []

    def build(library, case):
        directions.append(case.direction)
        return linear_model(rsample=lambda n: torch.ones(n, 4, requires_grad=True))

    run(monkeypatch, build, measures=("log_prob", "rsample"))
    assert directions == ["density"] * 3 + ["sampling"] * 3
    directions.clear()
    run(monkeypatch, build, measures=("log_prob", "rsample"), case=TINY.but(structure="coupling"))
    assert directions == ["density"] * 3


def test_what_was_too_slow_is_not_tried_at_larger_sizes(monkeypatch):
    budget = Budget(patience=0.0)
    made, _ = run(monkeypatch, lambda library, case: linear_model(), budget=budget)
    for changes, status in (({"batch": 4}, "skipped"), ({"dim": 2, "batch": 9}, "timed"), ({"map": "affine"}, "timed")):
        results = made.run(Job("grid", TINY.but(**changes), ("train",)))
        assert {result.status for result in results} == {status}


def test_a_process_of_its_own(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{SCRIPTS}{os.pathsep}{SCRIPTS.parent}")
    other = worker.Worker(threads=1)
    try:
        assert other.build("flowtorch", TINY) == peers.build("flowtorch", TINY).parameter_count()
        assert other.timer("flowtorch", TINY, "train")(2) > 0.0
        # A batch of 4,000 has activations of megabytes; one of 3 has none to speak of.
        peaks = []
        for batch in (3, 4000):
            case = TINY.but(batch=batch, hidden=(128,))
            other.build("flowtorch", case)
            peaks.append(other.peak("flowtorch", case, "train"))
        assert peaks[1] > peaks[0]
        assert peaks[1] > 4000 * 128 * 4
        with pytest.raises(NotOffered):
            other.build("matrix products", TINY.but(structure="elementwise", map="tanh"))
        with pytest.raises(RuntimeError, match="unknown"):
            other.build("flowtorch", TINY.but(map="unknown"))
    finally:
        other.close()


# Tables --------------------------------------------------------------------------------------------------------------


def result(library, milliseconds, measure="train", case=MIDDLE, ours=10.0, **fields):
    timing, reference = (Timing((ms / 1e3,) * 3, 1) for ms in (milliseconds, ours))
    return Result("middle", case, library, measure, "timed", timing=timing, ratio=Ratio.of(timing, reference), **fields)


FIELD = [
    result("flowtorch", 10.0, parameters=1234, peak=5 * 2**20),
    result("zuko", 25.0, parameters=1234, peak=12 * 2**20),
    Result("middle", MIDDLE, "nflows", "train", "fails", "ValueError: no"),
    result("pyro", 9.0, note="rounds: 3"),
    result("FlowJAX", 5.0),
    result("matrix products", 4.0),
]


def test_the_table_of_a_configuration():
    assert tables.case_table(FIELD) == (
        "| rational quadratic spline, autoregressive, D = 16, batch 512 | train step | peak memory, train step | "
        "parameters |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| flowtorch | 10 | 5 MB | 1,234 |\n"
        "| zuko | 25 (2.50) | 12 MB | 1,234 |\n"
        "| nflows | fails |  |  |\n"
        "| pyro | 9 (0.90)* |  |  |\n"
        "| FlowJAX | 5 (0.50) |  |  |\n"
        "| matrix products | 4 (0.40) |  |  |\n"
    )


def test_the_fastest_peer_is_a_library_for_pytorch():
    assert tables.fastest(FIELD).library == "pyro"
    assert tables.fastest(FIELD[:1]) is None


def test_the_summary_names_the_fastest_peer_flowjax_and_the_limit():
    row = tables.summary_table(FIELD).splitlines()[2]
    assert "**10**<br>pyro 0.90<br>FlowJAX 0.50<br>matrix products 0.40" in row
    assert "zuko" not in row


def test_the_maps_in_which_a_peer_is_faster_are_in_bold():
    assert "| **pyro 9 (0.90)*** |" in tables.maps_table(FIELD)
    assert "| zuko 25 (2.50) |" in tables.maps_table(FIELD[:2])


def test_where_others_are_faster_is_listed_peers_first():
    lines = tables.slower(FIELD).splitlines()
    assert [line.split(": ")[-1] for line in lines] == ["pyro takes 0.90 of the time", "FlowJAX takes 0.50 of the time"]
    assert tables.slower(FIELD[:2]) == "Nowhere.\n"


def test_a_ratio_that_may_be_noise_comes_with_its_quartiles():
    unsure = result("zuko", 9.9)
    unsure.ratio = Ratio(0.99, (0.9, 1.1))
    assert "(quartiles 0.90 to 1.10)" in tables.slower([FIELD[0], unsure])


def test_notes_name_what_is_missing_what_fails_and_what_was_rarely_repeated():
    text = tables.notes(FIELD, {"normflows": "No module named 'normflows'"})
    assert "normflows was not there: No module named 'normflows'" in text
    assert "nflows, train step: ValueError: no" in text
    assert "pyro, train step: rounds: 3" in text


def test_growth_is_shown_along_each_axis():
    along = [result("flowtorch", 10.0 * n, case=MIDDLE.but(layers=n), peak=n * 2**20) for n in (1, 5, 20)]
    text = tables.growth_tables(along)
    assert "| layers | 1 | 5 | 20 |" in text
    assert "| flowtorch | 10 | 50 | 200 |" in text
    assert "| flowtorch | 1.0 | 5.0 | 20.0 |" in text
    assert "| D |" not in text  # one value is no growth


@pytest.mark.parametrize(
    ("seconds", "text"), [(9.5931, "9593"), (0.1234, "123"), (0.01, "10"), (0.001234, "1.23"), (2.5e-5, "0.0250")]
)
def test_milliseconds(seconds, text):
    assert tables.milliseconds(seconds) == text


# The command line ----------------------------------------------------------------------------------------------------


def test_a_run_writes_its_files_and_prints_the_report(tmp_path):
    command = [sys.executable, "-m", "bench", "--libraries", "flowtorch,limit", "--only", "affine, coupling, D = 16,"]
    options = ["--seconds", "0.01", "--no-memory", "--measures", "train,log_prob", "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": f"{SCRIPTS}{os.pathsep}{SCRIPTS.parent}"}
    done = subprocess.run([*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (tmp_path / "tables.md").read_text().strip()
    assert "affine, coupling, D = 16" in (tmp_path / "summary.md").read_text()
    record = json.loads((tmp_path / "results.json").read_text())
    assert {"date", "commit", "cpu", "load average", "versions"} <= record["about"].keys()
    assert [(r["library"], r["measure"]) for r in record["results"]] == [
        (library, measure) for measure in ("train", "log_prob") for library in ("flowtorch", "matrix products")
    ]
    for one in record["results"]:
        assert len(one["timing"]["samples"]) >= 7
        assert one["timing"]["quartiles"][0] <= one["timing"]["median"] <= one["timing"]["quartiles"][1]
        assert one["parameters"] == 98_640
