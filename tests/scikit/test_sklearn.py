"""The scikit-learn estimators: scikit-learn's own checks, densities against closed forms, and its tools around them."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from sklearn.base import clone, is_classifier
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_dataframe_column_names_consistency, estimator_checks_generator

import flowtorch
import flowtorch.bijectors as bij
import flowtorch.flows as flows
import flowtorch.parameters as params
from flowtorch.sklearn import ConditionalFlowDensity, FlowDensity

LINEAR = bij.AffineAutoregressive(params.MADE((), nonlinearity=torch.nn.Tanh))  # holds every normal distribution
SMALL: dict[str, Any] = {"flow": LINEAR, "max_epochs": 2, "random_state": 0}
ESTIMATORS = {
    "density": FlowDensity(**SMALL),
    "of y": ConditionalFlowDensity(**SMALL),
    "of X": ConditionalFlowDensity(given="y", **SMALL),
}
DEFAULTS = {"density": FlowDensity(), "of y": ConditionalFlowDensity()}
# The checks of score_samples with X alone, which a conditional density has no meaning for.
NOT_OF_X_ALONE = {
    "check_array_api_input",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
}
RNG = np.random.default_rng
MEAN, COVARIANCE = np.array([100.0, -3.0, 0.5]), np.array([[4.0, 1.2, 0.1], [1.2, 1.0, 0.0], [0.1, 0.0, 0.04]])
LAW = scipy.stats.multivariate_normal(MEAN, COVARIANCE)
X = LAW.rvs(2000, random_state=0)
# y given x is normal, with a mean that is linear in x; and so is x given y.
Y = X @ [1.0, -2.0, 5.0] + 0.5 * RNG(1).normal(size=len(X))
TRAINED: dict[str, Any] = {
    "flow": LINEAR,
    "learning_rate": 0.03,
    "batch_size": 450,
    "max_epochs": 60,
    "random_state": 0,
}


@pytest.fixture(autouse=True)
def _global_numbers() -> Iterator[None]:
    state = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        yield
    np.random.set_state(state)


@pytest.fixture(scope="module")
def density() -> FlowDensity:
    return FlowDensity(**TRAINED).fit(X)


@pytest.fixture(scope="module")
def regression() -> ConditionalFlowDensity:
    return ConditionalFlowDensity(**TRAINED).fit(X, Y)


# scikit-learn's own checks


def checks(estimators: dict[str, Any]) -> Any:
    found = [(n, check) for n, e in estimators.items() for _, check in estimator_checks_generator(e)]
    return pytest.mark.parametrize(("name", "check"), found, ids=[f"{n}-{c.func.__name__}" for n, c in found])


def run(estimator: Any, check: partial[None]) -> None:
    if isinstance(estimator, FlowDensity) or check.func.__name__ not in NOT_OF_X_ALONE:
        return check(estimator)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
        check(estimator)


@checks(ESTIMATORS)
def test_scikit_learns_checks(name: str, check: partial[None]) -> None:
    run(ESTIMATORS[name], check)


@pytest.mark.slow
@checks(DEFAULTS)
def test_scikit_learns_checks_with_the_options_by_default(name: str, check: partial[None]) -> None:
    run(DEFAULTS[name], check)


def test_names_of_columns_are_compared() -> None:
    check_dataframe_column_names_consistency("FlowDensity", ESTIMATORS["density"])


# Densities


def test_a_density_is_that_of_the_data_in_their_units(density: FlowDensity) -> None:
    held = LAW.rvs(2000, random_state=5)
    found, exact = density.score_samples(held), LAW.logpdf(held)
    assert found.dtype == np.float64 and found.shape == (2000,)
    assert np.abs(found - exact).mean() < 0.1
    assert density.score(held) == found.mean() and exact.mean() - 0.01 < density.score(held) < exact.mean() + 0.01
    assert isinstance(density.score(held), float)


def test_draws_are_of_the_density(density: FlowDensity) -> None:
    drawn = density.sample(20_000, random_state=0)
    assert drawn.dtype == np.float64
    assert (np.abs(drawn.mean(0) - MEAN) < 5 * np.sqrt(np.diag(COVARIANCE) / 2000)).all()
    np.testing.assert_allclose(np.cov(drawn.T), COVARIANCE, rtol=0.1, atol=0.03)


def test_a_density_integrates_to_one() -> None:
    x = RNG(0).lognormal(size=(400, 1))
    density = FlowDensity(max_epochs=20, random_state=0).fit(x)
    grid = np.linspace(-40, 60, 200_001)
    assert abs(np.trapezoid(np.exp(density.score_samples(grid[:, None])), grid) - 1) < 1e-3


def test_numbers_far_from_zero_lose_nothing() -> None:
    # In single precision 1.7e9 and a second later are one number.
    far = X[:500] * [1.0, 1e-3, 1e6] + [1.7e9, 1.0, 0.0]
    a = FlowDensity(**SMALL).fit(X[:500]).score_samples(X[:500])
    b = FlowDensity(**SMALL).fit(far).score_samples(far)
    np.testing.assert_allclose(b, a - np.log(1e-3 * 1e6), atol=1e-3)


def test_without_standardize_the_flow_sees_data_as_they_are() -> None:
    positive = np.exp(RNG(0).normal(size=(2000, 1)))
    plan = bij.Compose([bij.Affine(), bij.Exp()])
    options = TRAINED | {"flow": plan, "standardize": False}
    density = FlowDensity(**options).fit(positive)
    law = scipy.stats.lognorm(1.0)
    assert density.flow_.plan == plan
    assert abs(density.score(positive) - law.logpdf(positive).mean()) < 0.01
    assert density.score_samples([[-1.0]]) == -np.inf and (density.sample(100, 0) > 0).all()


def test_the_flow_is_a_torch_distribution_in_the_datas_units(density: FlowDensity) -> None:
    found = density.flow_.log_prob(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(found, density.score_samples(X), rtol=1e-10)
    assert not density.flow_.training and isinstance(density.flow_.plan.parts[-1], bij.Standardize)


def test_rows_in_several_chunks_are_those_in_one(density: FlowDensity, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, drawn = density.score_samples(X[:50]), density.sample(50, 3)
    monkeypatch.setattr("flowtorch.sklearn.estimator.CHUNK", 16)
    np.testing.assert_allclose(density.score_samples(X[:50]), scores, rtol=1e-10)
    np.testing.assert_allclose(density.sample(50, 3), drawn, rtol=1e-10)


# Conditional densities


def test_the_density_of_y_at_X(regression: ConditionalFlowDensity) -> None:
    exact = scipy.stats.norm(X @ [1.0, -2.0, 5.0], 0.5).logpdf(Y)
    assert np.abs(regression.score_samples(X, Y) - exact).mean() < 0.15
    assert exact.mean() - 0.05 < regression.score(X, Y) < exact.mean() + 0.05
    drawn = regression.sample(X[:5], 2000, random_state=0)
    assert drawn.shape == (2000, 5)
    np.testing.assert_allclose(drawn.mean(0), X[:5] @ [1.0, -2.0, 5.0], atol=0.3)
    np.testing.assert_allclose(drawn.std(0), 0.5, atol=0.1)


def test_the_density_of_X_at_labels() -> None:
    labels = np.array(["a", "b", "c"])[RNG(0).integers(3, size=2000)]
    centres = {"a": [0.0, 0.0], "b": [5.0, 0.0], "c": [0.0, 50.0]}
    rows = np.stack([centres[k] for k in labels]) + RNG(1).normal(size=(2000, 2))
    density = ConditionalFlowDensity(given="y", **TRAINED).fit(rows, labels)
    assert density.classes_.tolist() == ["a", "b", "c"] and not is_classifier(density)
    drawn = density.sample(["b", "c"], 1000, random_state=0)
    assert drawn.shape == (1000, 2, 2)
    np.testing.assert_allclose(drawn.mean(0), [centres["b"], centres["c"]], atol=0.5)
    exact = scipy.stats.norm(np.stack([centres[k] for k in labels])).logpdf(rows).sum(1)
    assert abs(density.score(rows, labels) - exact.mean()) < 0.1
    codes = np.searchsorted(density.classes_, labels)  # integers are labels, too
    np.testing.assert_allclose(
        ConditionalFlowDensity(given="y", **TRAINED).fit(rows, codes).score(rows, codes), density.score(rows, labels)
    )


def test_the_density_of_X_at_numbers() -> None:
    density = ConditionalFlowDensity(given="y", **TRAINED).fit(X, Y)
    assert density.classes_ is None and density.sample(Y[:4]).shape == (4, 3)
    # x and y together are normal, and so p(x | y) = p(x) p(y | x) / p(y).
    w = np.array([1.0, -2.0, 5.0])
    at = scipy.stats.norm(X @ w, 0.5).logpdf(Y) - scipy.stats.norm(MEAN @ w, np.sqrt(w @ COVARIANCE @ w + 0.25)).logpdf(
        Y
    )
    assert abs(density.score(X, Y) - (LAW.logpdf(X) + at).mean()) < 0.05


@pytest.mark.parametrize("given", ["X", "y"])
def test_several_targets_keep_their_layout(given: Any) -> None:
    targets = np.stack([Y, X[:, 0] ** 2], 1)[:100]
    density = ConditionalFlowDensity(given=given, **SMALL).fit(X[:100], targets)
    assert density.score_samples(X[:7], targets[:7]).shape == (7,)
    condition, columns = (X, 2) if given == "X" else (targets, 3)
    assert density.sample(condition[:7]).shape == (7, columns)
    assert density.sample(condition[:7], 1).shape == (1, 7, columns)


def test_contexts_of_the_flow_are_in_the_datas_units(regression: ConditionalFlowDensity) -> None:
    found = regression.flow_.log_prob(torch.from_numpy(Y[:, None]), torch.from_numpy(X))
    np.testing.assert_allclose(found.detach().numpy(), regression.score_samples(X, Y), rtol=1e-10)
    constant = np.column_stack([X[:100], np.full(100, 1e7)])  # a feature that says nothing is no harm here
    assert np.isfinite(ConditionalFlowDensity(**SMALL).fit(constant, Y[:100]).score(constant, Y[:100]))


def test_the_flow_can_be_saved_with_its_units(regression: ConditionalFlowDensity, tmp_path: Path) -> None:
    regression.flow_.save(tmp_path / "y.flow")
    x, y = torch.from_numpy(X), torch.from_numpy(Y[:, None])
    again = flowtorch.load(tmp_path / "y.flow")
    assert torch.equal(again.log_prob(y, x), regression.flow_.log_prob(y, x))


# scikit-learn's tools


@pytest.mark.parametrize("name", ESTIMATORS)
def test_clones_and_copies(name: str) -> None:
    estimator = clone(ESTIMATORS[name])
    assert estimator.get_params() == ESTIMATORS[name].get_params() and not hasattr(estimator, "flow_")
    given = () if name == "density" else (np.round(Y[:100]) if name == "of y" else Y[:100] > 0,)
    estimator.fit(X[:100], *given)
    expected = estimator.score_samples(X[:100], *given)
    for other in (
        pickle.loads(pickle.dumps(estimator)),
        copy.deepcopy(estimator),
        clone(estimator).fit(X[:100], *given),
    ):
        np.testing.assert_array_equal(other.score_samples(X[:100], *given), expected)


def test_in_a_pipeline_and_a_search() -> None:
    wide = np.column_stack([X, X @ RNG(0).normal(size=(3, 3))])[:400]
    pipeline = make_pipeline(StandardScaler(), PCA(3), FlowDensity(**SMALL))
    grid = {"flowdensity__flow": [LINEAR, flows.maf(layers=1), "gf"], "flowdensity__learning_rate": [1e-3, 0.1]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(wide)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all() and len(set(scores)) == 6 and search.best_score_ == scores.max()
    best = search.best_estimator_
    np.testing.assert_allclose(search.score_samples(wide), best[-1].score_samples(best[:-1].transform(wide)))
    assert cross_val_score(ConditionalFlowDensity(**SMALL), X[:100], Y[:100], cv=2, error_score="raise").shape == (2,)


def test_numbers_of_numpy_are_numbers() -> None:
    grid = {"max_epochs": np.arange(1, 2), "learning_rate": np.geomspace(1e-3, 1e-1, 1), "batch_size": np.array([25])}
    grid |= {"standardize": np.array([True, False])}
    search = GridSearchCV(FlowDensity(**SMALL), grid, cv=2, error_score="raise").fit(X[:100])
    assert search.best_estimator_.sample(np.int64(3)).shape == (3, 3)


def test_a_search_finds_the_better_flow() -> None:
    bent = np.column_stack([X[:600, 1], X[:600, 1] ** 2 + 0.1 * RNG(0).normal(size=600)])
    options = TRAINED | {"learning_rate": 0.01, "max_epochs": 30}
    grid = {"flow": [LINEAR, flows.nsf(layers=2, hidden_dims=(32,))]}
    assert GridSearchCV(FlowDensity(**options), grid, cv=2).fit(bent).best_index_ == 1


def test_data_frames_and_names() -> None:
    frame = pd.DataFrame(X[:100], columns=["a", "b", "c"])
    density = FlowDensity(**SMALL).fit(frame)
    assert density.feature_names_in_.tolist() == ["a", "b", "c"] and density.n_features_in_ == 3
    plain = FlowDensity(**SMALL).fit(X[:100])
    np.testing.assert_allclose(density.score_samples(frame), plain.score_samples(X[:100]), rtol=1e-6)
    assert isinstance(density.score_samples(frame), np.ndarray) and not hasattr(plain, "feature_names_in_")
    series = pd.Series(Y[:100], name="y")
    conditional = ConditionalFlowDensity(**SMALL).fit(frame, series)
    assert conditional.feature_names_in_.tolist() == ["a", "b", "c"]
    plain = ConditionalFlowDensity(**SMALL).fit(X[:100], Y[:100])
    np.testing.assert_allclose(conditional.score(frame, series), plain.score(X[:100], Y[:100]), rtol=1e-6)
    labelled = ConditionalFlowDensity(given="y", **SMALL).fit(frame, pd.Series(["u", "v"] * 50, dtype="category"))
    assert labelled.classes_.tolist() == ["u", "v"]


# Random numbers, and options


def test_random_states() -> None:
    a, b = (FlowDensity(**SMALL).fit(X[:100]) for _ in range(2))
    other = FlowDensity(**SMALL | {"random_state": 1}).fit(X[:100])
    assert a.score(X) == b.score(X) != other.score(X)
    generator = FlowDensity(**SMALL | {"random_state": np.random.RandomState(3)})
    assert generator.fit(X[:100]).score(X) != generator.fit(X[:100]).score(X)
    assert (a.sample(5, 0) == b.sample(5, random_state=0)).all() and (a.sample(5, 0) != a.sample(5, 1)).all()
    assert (a.sample(5) != a.sample(5)).all()
    np.random.seed(0)  # where none is given, numpy's global generator decides, as in KernelDensity
    first = a.sample(5)
    np.random.seed(0)
    assert (a.sample(5) == first).all()
    assert KernelDensity().fit(X).sample(5, random_state=0).shape == a.sample(5).shape


def test_what_could_not_be_fitted_is_not_fitted() -> None:
    for estimator in (FlowDensity("nope"), ConditionalFlowDensity("nope")):
        with pytest.raises(ValueError, match="flow is expected to be one of"):
            estimator.fit(X, Y)
        with pytest.raises(NotFittedError):
            estimator.sample(X)


def test_torchs_random_numbers_stay_as_they_were() -> None:
    before = torch.get_rng_state()
    FlowDensity(**SMALL).fit(X[:50]).sample(3)
    assert torch.equal(torch.get_rng_state(), before)


def test_options_reach_the_training(capsys: pytest.CaptureFixture[str]) -> None:
    data = X[:100]

    def history(**options: Any) -> Any:
        return FlowDensity(**SMALL | options).fit(data).history_

    plain = history()
    assert (plain.epochs, plain.steps, len(plain.validation)) == (2, 2, 2)
    assert history(max_epochs=3).epochs == 3
    assert history(batch_size=30).steps == 6
    assert history(learning_rate=0.1).train[-1] != plain.train[-1]
    assert (
        history(validation_fraction=None).validation == ()
        and history(validation_fraction=0.5, batch_size=25).steps == 4
    )
    assert history(learning_rate=100.0, patience=1, max_epochs=50).stopped_early
    assert history(fit_options={"max_steps": 1}).steps == 1
    assert capsys.readouterr().out == ""
    history(verbose=True)
    assert "Epoch" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["nsf", "maf", "realnvp", "gf"])
def test_flows_by_name(name: str) -> None:
    density = FlowDensity(name, max_epochs=1, random_state=0).fit(X[:64])
    assert density.flow_.plan.parts[0] == getattr(flows, name)()
    assert np.isfinite(density.score(X)) and density.sample(2).shape == (2, 3)


MISSING = """
import sys
sys.modules["sklearn"] = None
try:
    import flowtorch.sklearn
except ImportError as error:
    print(error)
"""


def test_the_core_needs_no_scikit_learn_and_an_error_names_the_extra() -> None:
    ran = subprocess.run([sys.executable, "-c", MISSING], capture_output=True, text=True, check=True)
    expected = "flowtorch.sklearn: scikit-learn is expected; pip install 'flowtorch[sklearn]' installs it.\n"
    assert ran.stdout == expected


# What it is for


@pytest.mark.slow
def test_two_moons_are_learnt_about_as_well_as_by_kernels_of_the_best_bandwidth() -> None:
    from sklearn.datasets import make_moons

    train, held = make_moons(2000, noise=0.1, random_state=0)[0], make_moons(5000, noise=0.1, random_state=1)[0]
    kernels = GridSearchCV(KernelDensity(), {"bandwidth": np.geomspace(0.02, 0.5, 12)}).fit(train)
    density = FlowDensity(random_state=0).fit(train)
    assert density.score(held) > kernels.score(held) / len(held) - 0.1  # nats; in the plane kernels are at their best
