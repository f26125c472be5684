"""scripts/flows_2d: what is trained, how it is scored, what is kept, and the page. No peer is needed."""

from __future__ import annotations

import inspect
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from flows2d import __main__ as command  # noqa: E402
from flows2d import models, page, problems, runs  # noqa: E402

from flowtorch import flows  # noqa: E402
from flowtorch.distributions import DiagNormal  # noqa: E402


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(problems, "HELD_OUT", 500)
    monkeypatch.setattr(problems, "BATCH", 16)
    monkeypatch.setattr(runs, "CELLS", 12)
    monkeypatch.setattr(runs, "SAMPLES", 50)
    problems.held_out.cache_clear()
    with torch.random.fork_rng(devices=[]):
        yield
    problems.held_out.cache_clear()


class Fixed:
    """A model that is a distribution."""

    def __init__(self, distribution: torch.distributions.Distribution) -> None:
        self.distribution = distribution

    def parameter_count(self) -> int:
        return 0

    def train(self, batches: torch.Tensor) -> float:
        return 0.0

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        return self.distribution.log_prob(x)

    def sample(self, count: int) -> torch.Tensor:
        return self.distribution.sample(torch.Size([count]))


def test_every_ready_made_plan_is_trained() -> None:
    made = {name for name in flows.__all__ if inspect.isfunction(getattr(flows, name))}
    assert {name for name, _ in models.PLANS.values()} == made - {"stack"}


@pytest.mark.parametrize("name", models.PLANS)
def test_each_is_built_and_takes_a_step(name: str) -> None:
    model = models.build("flowtorch", name, 0)
    loss = model.train(problems.training("mixture", name in models.TORUS, 2, 0))
    x = problems.training("mixture", name in models.TORUS, 1, 1)[0]
    assert math.isfinite(loss) and model.parameter_count() > 0
    assert model.log_prob(x).isfinite().all() and model.sample(3).shape == (3, 2)


def test_all_are_trained_on_the_same_draws() -> None:
    first, again, other = (problems.training("moons", False, 3, seed) for seed in (0, 0, 1))
    assert first.shape == (3, 16, 2) and torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(problems.held_out("moons", False)[0][:16], first[0])


def test_the_learning_rate_falls_to_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []
    step = torch.optim.Adam.step

    def recorded(self: torch.optim.Adam, *args: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", recorded)
    models.build("flowtorch", "planar", 0).train(problems.training("moons", False, 4, 0))
    expected = [0.5 * models.LEARNING_RATE * (1 + math.cos(math.pi * k / 4)) for k in range(4)]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize("target", problems.PROBLEMS)
@pytest.mark.parametrize("torus", [False, True])
def test_a_target_is_no_distance_from_itself(target: str, torus: bool) -> None:
    p = problems.distribution(target, torus)
    found = runs.score(Fixed(p), target, torus)
    assert found["bad"] == 0 and abs(found["kl"]) < 1e-3  # log p is taken in double precision
    if torus:
        x = problems.held_out(target, True)[0]
        assert x.abs().max() <= math.pi + 1e-5


@pytest.mark.parametrize("target", [name for name in problems.PROBLEMS if name != "funnel"])
def test_what_is_wound_around_the_torus_integrates_to_one(target: str) -> None:
    x = problems.lattice(target, True, 120).double()
    p = problems.distribution(target, True)
    total = sum(float(p.log_prob(line).exp().sum()) for line in x) * (2 * math.pi / 120) ** 2
    assert abs(total - 1.0) < 1e-4


def test_the_divergence_from_a_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    made = problems.Problem(lambda: DiagNormal(2, 0.0, 1.0), "normal", 3.0, (0.0, 0.0), 0.5)
    monkeypatch.setitem(problems.PROBLEMS, "normal", made)
    found = runs.score(Fixed(DiagNormal(2, 0.0, 2.0)), "normal", False)
    assert abs(found["kl"] - 2 * (math.log(2.0) + 0.5 * (0.25 - 1.0))) < 4 * found["error"] < 0.2


def test_a_draw_without_a_density_is_infinitely_far() -> None:
    found = runs.score(Fixed(problems.distribution("board", False)), "banana", False)
    assert found["kl"] == math.inf and found["bad"] > 0


def test_the_last_result_of_a_run_counts(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert runs.load(path) == {}
    run = {"plan": "maf", "library": "zuko", "target": "moons", "steps": 5, "seed": 0, "kl": 1.0}
    for kl in (1.0, 0.5):
        runs.append(path, run | {"kl": kl})
    runs.append(path, run | {"target": "board"})
    with path.open("a") as file:
        file.write(json.dumps(run)[:20])  # cut off
    assert [r["kl"] for r in runs.load(path).values()] == [0.5, 1.0]


def test_the_page_says_what_was_found(tmp_path: Path) -> None:
    for plan in ("planar", "ncsf"):
        runs.append(tmp_path / "results.jsonl", runs.execute(tmp_path, "flowtorch", plan, "mixture", 2, 0))
    ours = runs.load(tmp_path / "results.jsonl")["planar", "flowtorch", "mixture", 2, 0]
    for kl, library in ((ours["kl"] + 1.0, "zuko"), (math.inf, "FlowJAX")):
        runs.append(tmp_path / "results.jsonl", ours | {"library": library, "kl": kl, "versions": {library: "1"}})
    website = tmp_path / "website"
    page.write(tmp_path, 2, 0, website)
    text = (website / "flows.md").read_text()
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    found = {row[1]: row[10] for row in rows if row[0] in ("`planar`", "")}
    assert found == {"flowtorch": f"**{ours['kl']:.3f}**", "zuko": f"{ours['kl'] + 1:.3f}", "FlowJAX": "none"}
    assert "smaller in 1 of 1 comparisons with zuko" in text and "(pictures/flows_mixture.png)" in text
    assert (website / "pictures" / "flows_mixture.png").stat().st_size < 300_000


def test_without_results_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="No results of 2000 steps"):
        page.write(tmp_path, 2_000, 0, tmp_path)


def test_what_the_command_chooses() -> None:
    assert command._names("nsf*;maf", list(models.PLANS), "--only") == ["maf", "nsf", "nsf, coupling"]
    assert command._names(None, ["a", "b"], "--only") == ["a", "b"]
    with pytest.raises(SystemExit, match="--only: expected some of .* got nope"):
        command._names("nope", list(models.PLANS), "--only")
    assert set(command.LIBRARIES) == set(runs.MADE_WITH)
