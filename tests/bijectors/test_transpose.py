"""The axes of the event in another order: against ``torch.permute``."""

from __future__ import annotations

import itertools

import pytest
import torch

from flowtorch import domains
from flowtorch.bijectors.transpose import Transpose
from flowtorch.testing import autodiff_jacobian


def numbered(*shape: int) -> torch.Tensor:
    return torch.arange(1.0, torch.Size(shape).numel() + 1, dtype=torch.float64).reshape(shape)


@pytest.mark.parametrize("dims", list(itertools.permutations(range(3))), ids=str)
def test_it_is_the_permute_of_torch(dims: tuple[int, ...]) -> None:
    bound, x = Transpose(dims).bind((2, 3, 4)), numbered(5, 6, 2, 3, 4)
    y, log_det = bound.forward_and_log_det(x)
    assert torch.equal(y, x.permute(0, 1, *(2 + d for d in dims)))
    assert torch.equal(log_det, torch.zeros(5, 6, dtype=torch.float64))
    back, log_det = bound.inverse_and_log_det(y)
    assert torch.equal(back, x) and torch.equal(log_det, torch.zeros(5, 6, dtype=torch.float64))
    assert bound.out_shape == y.shape[2:] and bound.plan.inverse_shape(bound.out_shape) == (2, 3, 4)


def test_axes_in_front_stay() -> None:
    x = numbered(5, 2, 3, 4)
    assert torch.equal(Transpose((1, 0)).bind((2, 3, 4)).forward(x), x.transpose(-1, -2))


@pytest.mark.parametrize(
    ("dims", "shape"), [((1, 0), (2, 3)), ((1, 0), (3, 3)), ((1, 0), (3, 2, 2)), ((2, 0, 1), (2, 3, 2))], ids=str
)
def test_the_sign_is_that_of_the_jacobian(dims: tuple[int, ...], shape: tuple[int, ...]) -> None:
    bound = Transpose(dims).bind(shape)
    jacobian = autodiff_jacobian(bound.forward, numbered(1, *shape), bound.shape)[0]
    assert bound.sign == round(float(torch.linalg.det(jacobian)))


def test_sides_of_a_box_move_along() -> None:
    ends = numbered(2, 3)
    box = domains.intervals(ends.flatten().tolist(), (9.0,) * 6, torch.Size((2, 3)))
    image = Transpose((1, 0)).image(box, torch.Size((2, 3)))
    found = domains.box_of(image, torch.Size((3, 2)))
    assert found is not None and found.lower == tuple(ends.T.flatten().tolist())
    back = Transpose((1, 0)).preimage(image, torch.Size((2, 3)))
    assert back is not None and domains.region(back) == domains.region(box)
