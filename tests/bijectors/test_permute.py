"""Permutations: against indexing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import flowtorch.bijectors as bij
from flowtorch.errors import ShapeError
from flowtorch.testing import autodiff_jacobian


def numbered(*shape: int) -> torch.Tensor:
    return torch.arange(1.0, torch.Size(shape).numel() + 1, dtype=torch.float64).reshape(shape)


@pytest.mark.parametrize("permutation", list(itertools.permutations(range(3))), ids=str)
def test_y_i_is_x_at_permutation_of_i(permutation: tuple[int, ...]) -> None:
    x = numbered(2, 4, 3)
    bound = bij.Permute(permutation).bind((3,))
    y, log_det = bound.forward_and_log_det(x)
    assert torch.equal(y, x[..., list(permutation)])
    assert torch.equal(log_det, torch.zeros(2, 4, dtype=torch.float64))
    back, log_det = bound.inverse_and_log_det(y)
    assert torch.equal(back, x)
    assert torch.equal(log_det, torch.zeros(2, 4, dtype=torch.float64))


def test_jacobian_is_the_permutation_matrix() -> None:
    bound = bij.Permute((2, 0, 3, 1)).bind((4,))
    jacobian = autodiff_jacobian(bound.forward, numbered(1, 4), bound.shape)[0]
    assert torch.equal(jacobian, torch.eye(4, dtype=torch.float64)[[2, 0, 3, 1]])


@pytest.mark.parametrize(
    ("shape", "dim"), [((2, 3), 0), ((2, 3), 1), ((2, 3), -1), ((2, 3), -2), ((4, 2, 3), 1), ((4, 2, 3), -3)], ids=str
)
def test_along_an_axis_slices_are_permuted(shape: tuple[int, ...], dim: int) -> None:
    order = torch.randperm(shape[dim], generator=torch.Generator().manual_seed(3))
    x = numbered(5, *shape)
    along = dim + 1 if dim >= 0 else dim
    bound = bij.Permute(tuple(order.tolist()), dim=dim).bind(shape)
    assert torch.equal(bound.forward(x), x.index_select(along, order))
    assert torch.equal(bound.inverse(bound.forward(x)), x)
    reverse = bij.Reverse(dim=dim).bind(shape)
    assert torch.equal(reverse.forward(x), x.flip(along))
    assert torch.equal(reverse.inverse(x), x.flip(along))
    assert reverse.forward_and_log_det(x)[1].shape == (5,)


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 1, 3)], ids=str)
def test_without_an_axis_the_flattened_event_is_permuted(shape: tuple[int, ...]) -> None:
    x = numbered(4, *shape)
    order = torch.randperm(x[0].numel(), generator=torch.Generator().manual_seed(1)).tolist()
    assert torch.equal(bij.Permute(order).bind(shape).forward(x), x.flatten(1)[:, order].reshape(x.shape))
    assert torch.equal(bij.Reverse().bind(shape).forward(x), x.flatten(1).flip(1).reshape(x.shape))


def test_a_drawn_permutation_is_kept_in_the_state_and_loads_into_another() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bound, other = (bij.Permute().bind((6,)) for _ in range(2))
    assert sorted(bound.permutation.tolist()) == list(range(6))
    assert bound.permutation.tolist() != other.permutation.tolist()
    assert list(bound.state_dict()) == ["permutation"]
    other.load_state_dict(bound.state_dict())
    x = numbered(6)
    assert torch.equal(other.forward(x), bound.forward(x))
    assert torch.equal(other.inverse(x), bound.inverse(x))


def test_each_binding_draws_its_own_and_a_given_one_draws_nothing() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = {tuple(bij.Permute().bind((7,)).permutation.tolist()) for _ in range(8)}
        before = torch.random.get_rng_state()
        bij.Permute((1, 0)).bind((2,))
        bij.Reverse().bind((2,))
        assert torch.equal(before, torch.random.get_rng_state())
    assert len(drawn) > 5


def test_draws_are_uniform() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = [tuple(bij.Permute().bind((3,)).permutation.tolist()) for _ in range(600)]
    counts = [drawn.count(p) for p in itertools.permutations(range(3))]
    assert sum((c - 100) ** 2 / 100 for c in counts) < 20.5  # chi-square with 5 degrees of freedom, 0.1%


def test_permutations_are_stored_as_tuples_whatever_they_came_as() -> None:
    plans = [bij.Permute(p) for p in ([1, 0, 2], (1, 0, 2), torch.tensor([1, 0, 2]), np.array([1, 0, 2]))]  # type: ignore[arg-type]
    assert len(set(plans)) == 1
    assert plans[0].permutation == (1, 0, 2)
    assert bij.Permute(range(3)).permutation == (0, 1, 2)


def test_an_axis_that_is_not_there_or_of_another_size_is_refused_at_bind() -> None:
    for dim in (2, -3):
        with pytest.raises(ShapeError, match=rf"an event with an axis dim={dim} is expected; got event shape \(2, 3\)"):
            bij.Reverse(dim=dim).bind((2, 3))
    with pytest.raises(ShapeError, match="permutation has 3 entries; got 2 coordinates to permute"):
        bij.Permute((1, 0, 2), dim=0).bind((2, 3))
