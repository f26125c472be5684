"""Columns whose values lie on a lattice, and values with a mass of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flowtorch.cli.lattice import Lattice, find_heavy, find_lattice

Array = np.ndarray[Any, Any]
N = 2000


def integers(most: int = 50) -> Array:
    return np.random.default_rng(1).integers(0, most, N).astype(float)


def gaussian() -> Array:
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
def test_lattices_are_found(values: Array, step: float, decimals: int | None) -> None:
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
def test_continuous_columns_are_not_lattices(values: Array) -> None:
    assert find_lattice(values) is None


def test_values_with_a_mass_of_their_own() -> None:
    rain = np.where(integers() < 20, 0, np.abs(gaussian()))
    found = find_heavy(rain, find_lattice(rain))
    assert found is not None
    assert found.value == 0
    assert found.share == pytest.approx(0.4, abs=0.05)
    # No value is heavy, but nearly all repeat, and on no lattice.
    logs = np.log1p(integers())
    repeated = find_heavy(logs, find_lattice(logs))
    assert repeated is not None and repeated.repeats > 0.9
    # Heavy, on a coarse lattice: spread over a step it is a bar of a histogram.
    counts = np.where(integers() < 40, 0, integers())
    assert find_heavy(counts, find_lattice(counts)) is None
    assert find_heavy(gaussian(), None) is None


def test_values_between_points_are_rounded_down_or_to_the_nearest() -> None:
    lattice = Lattice(0.002, 0.076, 3)
    values = np.array([0.0779, 0.0781, 0.0001, -0.0039])
    assert lattice.floor(values).tolist() == [0.076, 0.078, 0.0, -0.004]
    assert lattice.nearest(values).tolist() == [0.078, 0.078, 0.0, -0.004]
    third = Lattice(1 / 3, 0.0, None)
    assert third.floor(np.array([0.5])).item() == pytest.approx(1 / 3)
    assert str(lattice.floor(np.array([0.0015])).item()) == "0.0"  # no "-0.0"
