"""Affine maps with given numbers: against torch's own; standardisation: against numpy and scipy."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch.distributions.transforms import AffineTransform

import flowtorch.bijectors as bij
from flowtorch.bijectors.affine_fixed import _quantile
from flowtorch.errors import DomainError, ShapeError


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("loc", "scale", "shape"),
    [
        (1.5, 2.0, ()),
        (1.5, -0.5, (2, 3)),
        (0.0, (0.5, -2.0, 3.0), (3,)),
        ((1.0, 2.0, 3.0), -4.0, (2, 3)),
        ((1.0, 2.0, 3.0), (0.5, -2.0, 3.0), (2, 3)),
        (((1.0, 2.0, 0.1), (3.0, 4.0, 0.2)), ((0.5, -2.0, 3.0), (4.0, 5.0, -6.0)), (2, 3)),
        ((1.0, 2.0, 3.0), ((0.5, -2.0, 3.0), (4.0, 5.0, 6.0)), (4, 2, 3)),
    ],
    ids=str,
)
@pytest.mark.parametrize("batch", [(), (5,), (2, 3)], ids=str)
def test_it_is_the_affine_transform_of_torch(
    loc: Any, scale: Any, shape: tuple[int, ...], batch: tuple[int, ...]
) -> None:
    bound = bij.AffineFixed(loc=loc, scale=scale).bind(shape).double()
    mean, deviation = (torch.tensor(v, dtype=torch.float64).expand(shape) for v in (loc, scale))
    oracle = AffineTransform(mean, deviation, event_dim=len(shape))
    x = draw(*batch, *shape)
    y, log_det = bound.forward_and_log_det(x)
    torch.testing.assert_close(y, oracle(x), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(log_det, oracle.log_abs_det_jacobian(x, y), rtol=1e-13, atol=1e-13)
    back, log_det = bound.inverse_and_log_det(y)
    torch.testing.assert_close(back, oracle.inv(y), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(log_det, -oracle.log_abs_det_jacobian(x, y), rtol=1e-13, atol=1e-13)
    assert bound.sign == int(torch.sign(deviation).prod())


CONVERSIONS: dict[str, Callable[[torch.nn.Module], torch.nn.Module]] = {
    "double": lambda m: m.double(),
    "to": lambda m: m.to(torch.float64),
    "float, double": lambda m: m.float().double(),
    "half, double": lambda m: m.half().double(),
    "bfloat16, to": lambda m: m.to(torch.bfloat16).to(torch.float64),
    "copied, double": lambda m: copy.deepcopy(m).double(),
    "of a container": lambda m: torch.nn.Sequential(m.half()).double()[0],
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_numbers_are_exact_whatever_dtypes_it_went_through(name: str) -> None:
    plan = bij.AffineFixed(loc=(0.1, 1e8 + 0.3), scale=(1 / 3, 0.7))
    bound: Any = CONVERSIONS[name](plan.bind((2,)))
    assert bound.loc.tolist() == [0.1, 1e8 + 0.3]
    assert bound.scale.tolist() == [1 / 3, 0.7]
    y, log_det = bound.forward_and_log_det(torch.tensor([2.0, 0.0], dtype=torch.float64))
    assert y.tolist() == [0.1 + 1 / 3 * 2.0, 1e8 + 0.3]
    assert log_det.item() == pytest.approx(math.log(0.7 / 3), rel=1e-15)


def test_float32_has_the_nearest_numbers_and_nothing_is_in_the_state() -> None:
    bound = bij.AffineFixed(loc=0.1, scale=1 / 3).bind((2,)).double().float()
    assert (bound.loc.item(), bound.scale.item()) == (float(np.float32(0.1)), float(np.float32(1 / 3)))
    assert not bound.state_dict() and not list(bound.parameters())


def test_numbers_are_stored_as_tuples_whatever_they_came_as() -> None:
    expected = bij.AffineFixed(loc=((1.0, 2.0), (3.0, 4.0)), scale=2.0)
    numbers = [[1, 2], [3, 4]]
    for given in (numbers, torch.tensor(numbers), np.array(numbers), [torch.tensor([1.0, 2.0]), (3, 4.0)]):
        plan = bij.AffineFixed(loc=given, scale=np.float32(2))  # type: ignore[arg-type]
        assert plan == expected and hash(plan) == hash(expected) and repr(plan) == repr(expected)
    assert expected.min_event_dim == 2
    assert bij.AffineFixed().min_event_dim == 0


# --- Standardize


def skewed(rows: int = 41) -> np.ndarray:
    """Rows of three columns of different units."""
    return np.random.default_rng(0).gamma(2.0, size=(rows, 3)) * [1.0, 30.0, 1e-4] + [0.0, -50.0, 1.0]


def test_moments_are_those_of_numpy() -> None:
    data = skewed()
    plan = bij.Standardize.from_data(torch.from_numpy(data))
    np.testing.assert_allclose(plan.loc, data.mean(0), rtol=1e-13)
    np.testing.assert_allclose(plan.scale, data.std(0), rtol=1e-9)  # a spread of 1e-4 about 1
    z, log_det = plan.bind((3,)).double().inverse_and_log_det(torch.from_numpy(data))
    np.testing.assert_allclose(z.numpy(), scipy.stats.zscore(data), rtol=0, atol=1e-8)
    np.testing.assert_allclose(log_det.numpy(), -np.log(data.std(0)).sum(), rtol=1e-9)


@pytest.mark.parametrize("rows", [2, 3, 4, 41, 100])
def test_quantiles_are_those_of_numpy_and_scipy(rows: int) -> None:
    data = skewed(rows)
    plan = bij.Standardize.from_data(torch.from_numpy(data), method="quantiles")
    np.testing.assert_allclose(plan.loc, np.median(data, 0), rtol=1e-12)
    np.testing.assert_allclose(plan.scale, scipy.stats.iqr(data, 0, scale="normal"), rtol=1e-8)


def test_outliers_move_moments_but_not_quantiles() -> None:
    data = torch.from_numpy(skewed())
    spoilt = data.clone()
    spoilt[data.argmax(0), torch.arange(3)] = 1e9
    before = bij.Standardize.from_data(data, method="quantiles")
    assert bij.Standardize.from_data(spoilt, method="quantiles") == before
    assert bij.Standardize.from_data(spoilt) != bij.Standardize.from_data(data)


def test_quantiles_of_more_rows_than_torch_quantile_takes() -> None:
    rows = 16_777_216 + 5
    ordered = torch.arange(rows, dtype=torch.float32)
    with pytest.raises(RuntimeError, match="too large"):
        torch.quantile(ordered, 0.5)
    columns = ordered.to(torch.float64)[:, None]
    for q in (0.0, 0.25, 0.5, 0.75, 1.0):
        assert _quantile(columns, q).item() == q * (rows - 1)


def test_events_of_two_dimensions_and_none() -> None:
    data = torch.from_numpy(np.random.default_rng(1).normal(size=(20, 2, 3)) * 3 + 1)
    plan = bij.Standardize.from_data(data)
    np.testing.assert_allclose(plan.loc, data.mean(0).numpy(), rtol=1e-12)
    np.testing.assert_allclose(plan.scale, data.numpy().std(0), rtol=1e-12)
    assert plan.min_event_dim == 2
    z = plan.bind((2, 3)).double().inverse(data)
    torch.testing.assert_close(z.mean(0), torch.zeros(2, 3, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(2, 3, dtype=torch.float64), rtol=1e-12, atol=0)
    scalar = bij.Standardize.from_data(data[:, 0, 0])
    assert (scalar.loc, scalar.min_event_dim) == (pytest.approx(data[:, 0, 0].mean().item()), 0)


def test_integers_and_float32_are_taken_in_float64() -> None:
    data = torch.tensor([[2**24 + 1, 0], [2**24 + 3, 4]])
    assert bij.Standardize.from_data(data) == bij.Standardize((2.0**24 + 2, 2.0), (1.0, 2.0))
    third = torch.tensor([[1.0], [2.0], [2.0]], dtype=torch.float32)
    assert bij.Standardize.from_data(third).scale == (pytest.approx(math.sqrt(2) / 3, rel=1e-15),)


@pytest.mark.parametrize("method", ["moments", "quantiles"])
def test_columns_without_spread_are_named(method: Any) -> None:
    data = torch.cat([draw(31, 1), torch.full((31, 1), 0.1, dtype=torch.float64), draw(31, 1) * 0 + 1e9], 1)
    with pytest.raises(DomainError, match=r"columns with spread .* zero spread in column 1, column 2\."):
        bij.Standardize.from_data(data, method=method)
    with pytest.raises(DomainError, match="zero spread in column 'volts', column 'site'"):
        bij.Standardize.from_data(data, method=method, names=["x", "volts", "site"])


def test_spread_of_rounding_is_none() -> None:
    data = torch.full((31, 1), 0.1, dtype=torch.float64)
    assert data.std(0, correction=0).item() > 0  # 0.1 summed 31 times and divided is not 0.1
    with pytest.raises(DomainError, match="zero spread in column 0"):
        bij.Standardize.from_data(data)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("method", ["moments", "quantiles"])
def test_values_that_are_not_finite_are_named_by_column(bad: float, method: Any) -> None:
    data = draw(5, 2, 3)
    data[3, 1, 0] = bad
    with pytest.raises(DomainError, match=r"finite values .* in column 3\."):
        bij.Standardize.from_data(data, method=method)
    with pytest.raises(DomainError, match="in column 'd'"):
        bij.Standardize.from_data(data, method=method, names="abcdef")


def test_many_bad_columns_are_counted() -> None:
    with pytest.raises(DomainError, match="column 0, column 1, column 2, column 3, column 4 and 3 more"):
        bij.Standardize.from_data(torch.ones(4, 8))


def test_names_for_all_columns_are_expected() -> None:
    with pytest.raises(ShapeError, match="names for 6 columns are expected; got 2"):
        bij.Standardize.from_data(draw(5, 2, 3), names=["a", "b"])


def test_data_is_left_alone() -> None:
    data = draw(6, 2).requires_grad_()
    before = data.detach().clone()
    bij.Standardize.from_data(data, method="quantiles")
    assert torch.equal(data, before)
