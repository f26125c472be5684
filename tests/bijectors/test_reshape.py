"""Events in another shape: against torch's ``ReshapeTransform``."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import constraints
from torch.distributions import transforms as tt

import flowtorch.bijectors as bij
from flowtorch import domains
from flowtorch.bijectors.reshape import Flatten, Reshape
from flowtorch.errors import DomainError, ShapeError

Shape = tuple[int, ...]


def numbered(*shape: int) -> torch.Tensor:
    return torch.arange(1.0, torch.Size(shape).numel() + 1, dtype=torch.float64).reshape(shape)


@pytest.mark.parametrize("batch", [(), (5,), (2, 5), (0, 5)], ids=str)
@pytest.mark.parametrize(
    ("before", "after"), [((6,), (2, 3)), ((2, 6), (4, 3)), ((2, 3, 2), (12,)), ((), (1,)), ((1, 1), ())], ids=str
)
def test_it_is_the_reshape_of_torch(before: Shape, after: Shape, batch: Shape) -> None:
    oracle = tt.ReshapeTransform(torch.Size(before), torch.Size(after))
    bound, x = Reshape(before, after).bind(before), numbered(*batch, *before)
    y, log_det = bound.forward_and_log_det(x)
    assert torch.equal(y, oracle(x)) and torch.equal(log_det, oracle.log_abs_det_jacobian(x, y).double())
    back, log_det = bound.inverse_and_log_det(y)
    assert torch.equal(back, x) and torch.equal(log_det, torch.zeros(batch, dtype=torch.float64))
    assert (bound.domain.event_dim, bound.codomain.event_dim) == (len(before), len(after))


@pytest.mark.parametrize(
    ("plan", "shape", "after"),
    [
        (Reshape(-1, (3, -1)), (12,), (3, 4)),
        (Reshape((3, -1), -1), (3, 4), (12,)),
        (Reshape((2, -1), (-1, 2)), (2, 5), (5, 2)),
        (Reshape(6, (2, 3)), (6,), (2, 3)),
        (Reshape((-1, 2), (3, -1)), (6, 2), (3, 4)),
        (Reshape((4, 2), -1), (5, 4, 2), (5, 8)),  # axes in front stay
        (Reshape((), 1), (3,), (3, 1)),
        (Flatten(), (2, 3, 2), (12,)),
        (Flatten((2, 3)), (2, 3), (6,)),
        (Flatten(()), (), (1,)),
    ],
    ids=repr,
)
def test_open_lengths_are_worked_out_both_ways(plan: Reshape | Flatten, shape: Shape, after: Shape) -> None:
    assert plan.forward_shape(torch.Size(shape)) == after
    if plan != Flatten():
        assert plan.inverse_shape(torch.Size(after)) == shape
    bound, x = plan.bind(shape), numbered(4, *shape)
    assert torch.equal(bound.forward(x), x.reshape(4, *after))
    assert torch.equal(bound.inverse(bound.forward(x)), x)


def test_a_length_that_follows_from_the_other_shape_is_filled_in() -> None:
    assert Reshape(-1, (2, 3)) == Reshape(6, [2, 3]) == Reshape((6,), (2, -1))
    assert Reshape((2, -1), (2, -1)).before == (2, -1)


@pytest.mark.parametrize(
    ("plan", "shape"),
    [
        (Reshape(6, (2, 3)), (7,)),
        (Reshape(6, (2, 3)), ()),
        (Reshape(-1, (3, -1)), (7,)),
        (Reshape((4, -1), -1), (3, 4)),
    ],
    ids=repr,
)
def test_an_event_that_does_not_fit_is_refused(plan: Reshape, shape: Shape) -> None:
    with pytest.raises(ShapeError, match=r"can be made|at least 1 dimension"):
        plan.bind(shape)


def test_nothing_moves() -> None:
    assert Reshape((2, 3), (3, 2)).bind((2, 3)).sign == 1
    assert Flatten().bind((2, 3)).sign == 1


def test_boxes_are_followed_coordinate_by_coordinate() -> None:
    into = bij.Sigmoid()
    scale = bij.AffineFixed(scale=((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)))
    box = domains.intervals((0.0, 1.0, 2.0, 3.0, 4.0, 5.0), (9.0,) * 6, torch.Size((6,)))
    plan = Reshape(-1, (2, -1))
    image = plan.image(box, torch.Size((6,)))
    assert domains.box_of(image, torch.Size((2, 3))) == domains.box_of(box, torch.Size((6,)))
    back = plan.preimage(image, torch.Size((6,)))
    assert back is not None and domains.region(back) == domains.region(box)
    assert (image.event_dim, back.event_dim) == (2, 1)
    bound = bij.Compose([into, Reshape((2, 3), -1), bij.Invert(bij.Sigmoid()), Reshape(6, (2, 3)), scale]).bind((2, 3))
    assert domains.is_real(bound.codomain)
    with pytest.raises(DomainError, match=r"part 1 \(Reshape\) .* domain is \(0, 1\)"):
        bij.Compose([bij.Affine(), Reshape((2, 3), -1), bij.Invert(bij.Sigmoid())])
    assert not domains.includes(plan.image(constraints.positive, torch.Size((6,))), constraints.real)
