"""What goes in and what comes out, coordinate by coordinate: sets are followed through every part of a composition."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Uniform
from torch.distributions import constraints as c

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
from flowtorch import domains
from flowtorch.domains import Box, Intervals, Joint, Undetermined, Within, box_of, includes, intervals, region
from flowtorch.errors import DomainError

INF = math.inf
PAIR = torch.Size((2,))
UNIT_THEN_POSITIVE = intervals((0.0, 0.0), (1.0, INF), PAIR)
REAL = c.independent(c.real, 1)


def uniform(*shape: int) -> Independent:
    return Independent(Uniform(torch.zeros(shape), torch.ones(shape)), len(shape))


def test_permutations_let_boxes_through() -> None:
    for moved in (bij.Permute(), bij.Permute((1, 0)), bij.Reverse()):
        plan = bij.Compose([bij.Sigmoid(), moved, bij.Logit()])
        bound = plan.bind((2,))
        assert domains.is_real(bound.domain) and domains.is_real(bound.codomain)
        flow = dist.Flow(uniform(2), bij.Compose([moved, bij.Logit()]))
        assert domains.is_real(flow.support) and bool(flow.log_prob(flow.sample((5,))).isfinite().all())


def test_the_density_of_a_uniform_base_is_that_of_logistics() -> None:
    flow = dist.Flow(uniform(2), bij.Compose([bij.Permute((1, 0)), bij.Logit()]))
    y = torch.tensor([[0.3, -2.0]])
    expected = (-y - 2 * torch.nn.functional.softplus(-y)).sum(-1)
    torch.testing.assert_close(flow.log_prob(y), expected)


def test_a_given_permutation_moves_the_sides_of_a_box() -> None:
    plan, size = bij.Permute((2, 0, 1)), torch.Size((3,))
    given = intervals((0.0, 1.0, 2.0), (INF, 5.0, 6.0), size)
    image = plan.image(given, size)
    x = torch.tensor([0.5, 1.5, 2.5])
    assert region(image) == Box((2.0, 0.0, 1.0), (6.0, INF, 5.0))
    assert bool(given.check(x)) and bool(image.check(plan.bind(size).forward(x)))
    back = plan.preimage(image, size)
    assert back is not None and region(back) == region(given)


def test_along_an_axis_slices_move() -> None:
    size = torch.Size((2, 3))
    given = intervals((0.0, 1.0, 2.0, 3.0, 4.0, 5.0), (INF,) * 6, size)
    assert region(bij.Reverse(dim=0).image(given, size)) == Box((3.0, 4.0, 5.0, 0.0, 1.0, 2.0), (INF,) * 6)
    assert region(bij.Reverse().image(given, size)) == Box((5.0, 4.0, 3.0, 2.0, 1.0, 0.0), (INF,) * 6)


def test_of_a_drawn_permutation_the_hull_and_what_fits_anywhere_are_known() -> None:
    image = bij.Permute().image(UNIT_THEN_POSITIVE, PAIR)
    assert isinstance(image, Within) and region(image.within) == Box((0.0,), (INF,))
    back = bij.Permute().preimage(UNIT_THEN_POSITIVE, PAIR)
    assert back is not None and region(back) == Box((0.0,), (1.0,))
    assert bij.Permute().preimage(intervals((0.0, 2.0), (1.0, 3.0), PAIR), PAIR) is None


def test_what_is_no_box_does_not_go_through_a_permutation() -> None:
    assert bij.Reverse().preimage(c.simplex, torch.Size((3,))) is None
    assert isinstance(bij.Reverse().image(c.simplex, torch.Size((3,))), Within)


def test_inverting_exchanges_image_and_preimage() -> None:
    plan = bij.Invert(bij.Permute((1, 0)))
    assert region(plan.image(UNIT_THEN_POSITIVE, PAIR)) == Box((0.0, 0.0), (INF, 1.0))
    back = plan.preimage(UNIT_THEN_POSITIVE, PAIR)
    assert back is not None and region(back) == Box((0.0, 0.0), (INF, 1.0))
    assert bij.Invert(bij.Permute()).preimage(UNIT_THEN_POSITIVE, PAIR) is None
    assert isinstance(bij.Invert(bij.Sigmoid()).image(c.interval(0.0, 0.5), torch.Size()), Within)
    assert isinstance(bij.Invert(bij.Sigmoid()).image(c.interval(0.0, 0.5), None), Within)


def test_a_part_of_the_domain_gives_a_part_of_the_codomain() -> None:
    assert isinstance(bij.Exp().image(c.positive, torch.Size()), Within)
    assert bij.Exp().preimage(c.unit_interval, torch.Size()) is None
    image = bij.Exp().image(c.real, torch.Size())
    assert region(image) == Box((0.0,), (INF,))


def test_a_narrower_domain_is_found_from_the_end() -> None:
    plan = bij.Compose([bij.Reverse(), bij.Logit()])
    assert region(plan.domain) == region(plan.bind((2,)).domain) == Box((0.0,), (1.0,))
    with pytest.raises(DomainError, match=r"first layer \(Reverse\).*\(0, 1\), got support real"):
        dist.Flow(dist.DiagNormal(2), plan)


def test_what_does_not_fit_is_named_across_a_permutation() -> None:
    with pytest.raises(DomainError, match=r"part 1 \(Permute\).*part 0 \(Exp\).*\(0, 1\), got codomain \(0, inf\)"):
        bij.Compose([bij.Exp(), bij.Permute(), bij.Logit()])


def test_until_shapes_are_known_an_undetermined_set_fits_anything() -> None:
    unknown = Undetermined(1)
    assert includes(unknown, c.positive) and includes(c.positive, unknown) and not domains.is_real(unknown)
    assert unknown.check(torch.zeros(4, 2)).tolist() == [True] * 4 and repr(unknown) == "Undetermined(1)"
    assert isinstance(bij.Reverse().image(UNIT_THEN_POSITIVE, None), Undetermined)


def test_intervals_check_whole_events() -> None:
    assert isinstance(UNIT_THEN_POSITIVE, Intervals) and UNIT_THEN_POSITIVE.event_dim == 1
    x = torch.tensor([[0.5, 7.0], [1.5, 7.0], [0.5, -1.0]])
    assert UNIT_THEN_POSITIVE.check(x).tolist() == [True, False, False]
    assert region(intervals((0.0, 0.0), (1.0, 1.0), PAIR)) == Box((0.0,), (1.0,))
    assert includes(c.independent(c.positive, 1), UNIT_THEN_POSITIVE) and not includes(UNIT_THEN_POSITIVE, REAL)
    assert region(intervals((-INF,), (2.0,), PAIR)) == Box((-INF,), (2.0,))
    assert repr(UNIT_THEN_POSITIVE) == "Intervals((0, 1) x (0, inf), shape=(2,))"


def test_joint_sets_are_boxes_coordinate_by_coordinate() -> None:
    size = torch.Size((2, 3))
    joint = Joint([c.unit_interval, c.independent(c.positive, 2)], [(0, 2), (1,)], size, dim=-1)
    assert region(joint) == Box((0.0,) * 6, (1.0, INF, 1.0) * 2)
    x = torch.full((2, 2, 3), 0.5)
    x[1, 1, 2] = 1.5
    assert joint.check(x).tolist() == [True, False]
    flat = Joint([c.positive, c.real], [(5,), (0, 1, 2, 3, 4)], size)
    assert flat.check(-torch.ones(3, 2, 3)).tolist() == [False] * 3
    assert region(flat) == Box((-INF,) * 5 + (0.0,), (INF,) * 6)


def test_joint_sets_of_what_is_no_box_are_named_by_their_parts() -> None:
    joint = Joint([c.simplex, c.positive], [(0, 1, 2), (3,)], torch.Size((4,)), dim=0)
    assert str(region(joint)) == "product of Simplex and (0, inf)"
    assert joint.check(torch.tensor([[0.2, 0.3, 0.5, 4.0], [0.2, 0.3, 0.6, 4.0]])).tolist() == [True, False]
    assert box_of(joint, torch.Size((4,))) is None and includes(joint, joint)


def test_numbers_for_the_last_axis_serve_every_row() -> None:
    assert box_of(UNIT_THEN_POSITIVE, torch.Size((2, 2))) == Box((0.0,) * 4, (1.0, INF, 1.0, INF))
    assert box_of(UNIT_THEN_POSITIVE, torch.Size((3,))) is None
