"""Whitening: against numpy and scipy; what is refused, by column; dtypes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from torch.distributions import MultivariateNormal

from flowtorch.bijectors import Compose, Standardize
from flowtorch.bijectors.lower_cholesky_affine import LowerCholeskyAffine
from flowtorch.bijectors.whiten import Whiten
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.errors import DomainError, OptionError, ShapeError

METHODS: Any = ["pca", "zca", "cholesky"]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def correlated(rows: int = 60) -> torch.Tensor:
    """Rows of four columns of different units."""
    units = torch.tensor([1.0, 30.0, 1e-3, 5.0], dtype=torch.float64)
    return (draw(rows, 4) @ draw(4, 4, seed=1) + 3.0) * units


def covariance(data: torch.Tensor) -> np.ndarray:
    return np.cov(data.numpy().T, bias=True)


@pytest.mark.parametrize("method", METHODS)
def test_data_is_whitened_and_restored(method: Any) -> None:
    data = correlated()
    bound = Whiten.from_data(data, method=method).bind((4,)).double()
    z, log_det = bound.inverse_and_log_det(data)
    torch.testing.assert_close(z.mean(0), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-11)
    torch.testing.assert_close(z.mT @ z / 60, torch.eye(4, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    expected = -0.5 * np.linalg.slogdet(covariance(data))[1]
    np.testing.assert_allclose(log_det.numpy(), np.full(60, expected), rtol=1e-10)
    back, log_det = bound.forward_and_log_det(z)
    torch.testing.assert_close(back, data, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(log_det.numpy(), np.full(60, -expected), rtol=1e-10)


def test_methods_are_those_of_scipy() -> None:
    data = correlated()
    c = covariance(data)
    values, vectors = scipy.linalg.eigh(c)
    values, vectors = values[::-1], vectors[:, ::-1]
    pca = np.array(Whiten.from_data(data).matrix)
    assert Whiten.from_data(data) == Whiten.from_data(data, method="pca")
    np.testing.assert_allclose(np.linalg.norm(pca, axis=0), np.sqrt(values), rtol=1e-6)  # theirs come from squares
    np.testing.assert_allclose(np.abs((pca / np.sqrt(values)).T @ vectors), np.eye(4), atol=1e-6)
    assert (pca[np.abs(pca).argmax(0), range(4)] > 0).all()
    zca = np.array(Whiten.from_data(data, method="zca").matrix)
    np.testing.assert_allclose(zca, scipy.linalg.sqrtm(c), rtol=1e-6, atol=1e-9)
    cholesky = np.array(Whiten.from_data(data, method="cholesky").matrix)
    np.testing.assert_allclose(cholesky, np.linalg.cholesky(c), rtol=1e-9, atol=1e-12)


def test_whitening_is_the_multivariate_normal_of_the_moments() -> None:
    data = correlated()
    for method in METHODS:
        flow = Flow(DiagNormal((4,)), Whiten.from_data(data, method=method)).double()
        oracle = MultivariateNormal(data.mean(0), torch.from_numpy(covariance(data)))
        torch.testing.assert_close(flow.log_prob(data), oracle.log_prob(data), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_shrinkage_reduces_correlations_and_keeps_variances(method: Any) -> None:
    data = correlated()
    matrix = np.array(Whiten.from_data(data, method=method, shrinkage=0.3).matrix)
    c = covariance(data)
    np.testing.assert_allclose(matrix @ matrix.T, 0.7 * c + 0.3 * np.diag(np.diag(c)), rtol=1e-9)


def test_shrinkage_takes_dependent_columns_and_few_rows() -> None:
    data = correlated()
    data = torch.cat([data, data[:, :1] + data[:, 1:2]], 1)
    for given in (data, data[:3]):
        z = Whiten.from_data(given, shrinkage=0.1).bind((5,)).double().inverse(given)
        assert bool(z.isfinite().all()) and float(z.abs().max()) < 20.0


def test_events_of_two_dimensions_and_vectors_along_an_axis() -> None:
    data = draw(50, 2, 3) @ draw(3, 3, seed=1) + 2.0
    flat = Whiten.from_data(data.flatten(1))
    assert Whiten.from_data(data) == flat
    z = flat.bind((2, 3)).double().inverse(data)
    torch.testing.assert_close(z.flatten(1), flat.bind((6,)).double().inverse(data.flatten(1)))
    last = Whiten.from_data(data, dim=-1)
    pooled = Whiten.from_data(data.reshape(100, 3))
    assert (last.loc, last.matrix, last.dim) == (pooled.loc, pooled.matrix, -1)
    bound = last.bind((2, 3)).double()
    z, log_det = bound.inverse_and_log_det(data)
    z = z.reshape(100, 3)
    torch.testing.assert_close(z.mT @ z / 100, torch.eye(3, dtype=torch.float64), rtol=1e-10, atol=1e-10)
    one = pooled.bind((3,)).double().inverse_and_log_det(data[:, 0])[1]
    torch.testing.assert_close(log_det, 2 * one, rtol=1e-12, atol=1e-12)
    first = Whiten.from_data(data, dim=0)
    np.testing.assert_allclose(first.loc, data.mean((0, 2)).numpy(), rtol=1e-12)


@pytest.mark.parametrize("data", [draw(4), torch.empty(0, 3), torch.empty(3, 0), [[1.0, 2.0]]], ids=str)
def test_rows_are_expected(data: Any) -> None:
    with pytest.raises(ShapeError, match=r"Whiten: data of shape \(rows, \*event\) is expected"):
        Whiten.from_data(data)


def test_rank_deficient_data_is_refused_by_column() -> None:
    x = draw(40, 3)
    data = torch.cat([x[:, :2], (2 * x[:, 0] - x[:, 1] + 5)[:, None], x[:, 2:], 0.1 * x[:, :1]], 1)
    for given in (data, data.float(), 1e6 * data + 1e8):
        with pytest.raises(DomainError, match=r"got rank 3 of 5 and linear comb.* in column 2, column 4\."):
            Whiten.from_data(given)
    with pytest.raises(DomainError, match="full rank or shrinkage above 0 is expected; .* in column 'c', column 'e'"):
        Whiten.from_data(data, names="abcde")
    with pytest.raises(DomainError, match="rank 3 of 5"):
        Whiten.from_data(draw(4, 5))
    # Shares that sum to one, each rounded: what is left of the last column is rounding alone.
    shares = torch.softmax(draw(1000, 4), 1)
    for given in (shares, shares.float()):
        with pytest.raises(DomainError, match="rank 3 of 4 .* column 3"):
            Whiten.from_data(given)


def test_columns_that_are_almost_dependent_are_whitened() -> None:
    x = draw(500, 2)
    data = torch.stack([x[:, 0], x[:, 0] + 1e-6 * x[:, 1]], 1)
    for method in METHODS:
        z = Whiten.from_data(data, method=method).bind((2,)).double().inverse(data)
        torch.testing.assert_close(z.mT @ z / 500, torch.eye(2, dtype=torch.float64), rtol=1e-6, atol=1e-6)


def test_a_small_spread_about_a_large_mean_is_no_dependence() -> None:
    data = torch.cat([draw(500, 1), 1e7 + draw(500, 1, seed=1)], 1).float()  # of the second hardly anything is left
    z = Whiten.from_data(data).bind((2,)).double().inverse(data.double())
    torch.testing.assert_close(z.mT @ z / 500, torch.eye(2, dtype=torch.float64), rtol=1e-8, atol=1e-8)


def test_other_bad_columns_are_named() -> None:
    data = correlated()
    data[3, 1] = math.nan
    with pytest.raises(DomainError, match=r"Whiten: finite values are expected; got others in column 1\."):
        Whiten.from_data(data)
    data[:, 1] = 0.1
    with pytest.raises(DomainError, match=r"Whiten: columns with spread .* zero spread in column 'b'\."):
        Whiten.from_data(data, names="abcd")
    with pytest.raises(DomainError, match="column 0, column 1, column 2, column 3, column 4 and 3 more"):
        Whiten.from_data(torch.ones(4, 8))
    with pytest.raises(ShapeError, match="Whiten: names for 4 columns are expected; got 2"):
        Whiten.from_data(data, names=["a", "b"])


def test_options_of_from_data_are_checked() -> None:
    data = correlated()
    with pytest.raises(OptionError, match="Whiten: method .* 'pca', 'zca', 'cholesky'; got 'svd'"):
        Whiten.from_data(data, method="svd")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"shrinkage .* \(-inf, 1\); got 1\.0"):
        Whiten.from_data(data, shrinkage=1.0)
    with pytest.raises(OptionError, match=r"shrinkage is expected to lie in \[0, 1\); got -0\.1"):
        Whiten.from_data(data, shrinkage=-0.1)
    with pytest.raises(ShapeError, match="an axis dim=1 is expected"):
        Whiten.from_data(data, dim=1)


def test_given_numbers_are_checked() -> None:
    with pytest.raises(OptionError, match=r"loc of shape \(D,\) .* got shapes \(2,\) and \(3, 3\)"):
        Whiten((0.0, 0.0), torch.eye(3))
    with pytest.raises(OptionError, match=r"got shapes \(\) and \(\)"):
        Whiten(0.0, 1.0)
    with pytest.raises(OptionError, match="finite numbers"):
        Whiten((0.0, math.inf), torch.eye(2))
    for singular in (((1.0, 2.0), (2.0, 4.0)), ((0.0, 0.0), (0.0, 1.0))):
        with pytest.raises(OptionError, match="an invertible matrix is expected; got one of rank 1 of 2"):
            Whiten((0.0, 0.0), singular)
    with pytest.raises(ShapeError, match="Whiten: vectors of 2 coordinates are expected; got 3"):
        Whiten((0.0, 0.0), torch.eye(2)).bind((3,))
    # Units alone make nothing singular.
    bound = Whiten((0.0, 0.0), ((1e-20, 0.0), (1e10, 1e20))).bind((2,)).double()
    assert float(bound.forward_and_log_det(torch.zeros(2, dtype=torch.float64))[1]) == pytest.approx(0.0, abs=1e-12)


def test_numbers_are_stored_as_tuples_whatever_they_came_as() -> None:
    expected = Whiten((1.0, 2.0), ((1.0, 0.5), (0.0, 2.0)))
    for matrix in ([[1, 0.5], [0, 2]], torch.tensor([[1.0, 0.5], [0.0, 2.0]]), np.array([[1.0, 0.5], [0.0, 2.0]])):
        plan = Whiten([1, 2], matrix)  # type: ignore[arg-type]
        assert plan == expected and hash(plan) == hash(expected) and repr(plan) == repr(expected)


CONVERSIONS: dict[str, Callable[[torch.nn.Module], torch.nn.Module]] = {
    "half, double": lambda m: m.half().double(),
    "bfloat16, to": lambda m: m.to(torch.bfloat16).to(torch.float64),
    "copied, double": lambda m: copy.deepcopy(m).double(),
    "of a container": lambda m: torch.nn.Sequential(m.half()).double()[0],
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_numbers_are_exact_whatever_dtypes_it_went_through(name: str) -> None:
    plan = Whiten((0.1, 1e8 + 0.3), ((1 / 3, 0.7), (-0.2, 1e-3)))
    bound: Any = CONVERSIONS[name](plan.bind((2,)))
    loc, matrix, inverse = bound.numbers()
    assert loc.tolist() == [0.1, 1e8 + 0.3]
    assert matrix.tolist() == [[1 / 3, 0.7], [-0.2, 1e-3]]
    torch.testing.assert_close(inverse, torch.linalg.inv(matrix), rtol=1e-13, atol=1e-13)
    assert not bound.state_dict() and not list(bound.parameters())


def test_float32_loses_no_more_than_the_condition_asks_for() -> None:
    data = correlated(500)
    for method in METHODS:
        plan = Compose([Whiten.from_data(data, method=method)])
        z = draw(500, 4).float()
        bound = plan.bind((4,))
        assert float((bound.inverse(bound.forward(z)) - z).abs().max()) < 2e-4
        scale = torch.tensor(Standardize.from_data(data).scale)
        y = data.float()
        error = (bound.forward(bound.inverse(y)) - y).abs().amax(0) / scale
        assert float(error.max()) < 1e-4


def test_a_learnable_map_goes_before_it() -> None:
    data = correlated()
    flow = Flow(DiagNormal((4,)), Compose([LowerCholeskyAffine(), Whiten.from_data(data)])).double()
    oracle = MultivariateNormal(data.mean(0), torch.from_numpy(covariance(data)))
    torch.testing.assert_close(flow.log_prob(data), oracle.log_prob(data), rtol=1e-8, atol=1e-8)


def test_explain_says_that_nothing_is_learnt() -> None:
    assert "no parameters: D + D^2 numbers are given, or taken from data" in Whiten((0.0,), ((1.0,),)).explain()


def test_data_is_left_alone() -> None:
    data = correlated().requires_grad_()
    before = data.detach().clone()
    Whiten.from_data(data, shrinkage=0.1)
    assert torch.equal(data, before)
