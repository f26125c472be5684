"""Plans for coordinates by their indices: against indexing by hand, and events of mixed kinds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch import domains
from flowtorch.bijectors import BoundBijector
from flowtorch.bijectors.concatenate import Concatenate
from flowtorch.bijectors.indexed import Indexed, Partial
from flowtorch.bijectors.pieces import BoundPieces
from flowtorch.errors import DomainError, ShapeError
from flowtorch.testing import autodiff_jacobian, perturb

NET = params.DenseNN((8,), nonlinearity=torch.nn.Tanh)
MADE = params.MADE((8,), nonlinearity=torch.nn.Tanh)
AUTOREGRESSIVE = bij.AffineAutoregressive(MADE)
Shape = tuple[int, ...]


def bind(plan: bij.Bijector, shape: Shape, context: Shape | None = None) -> BoundPieces:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bound: BoundBijector[bij.Bijector] = plan.bind(shape, context).double()
    perturb(bound, torch.Generator().manual_seed(0))
    assert isinstance(bound, BoundPieces)
    return bound


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("context", [None, (2,)], ids=str)
@pytest.mark.parametrize("rest", [None, bij.AffineCoupling(NET)], ids=["kept", "moved"])
@pytest.mark.parametrize("first", [(3, 1), (1, 2), (-1, 0), (4,)], ids=str)
def test_each_part_moves_the_coordinates_that_are_named(
    first: Shape, rest: bij.Bijector | None, context: Shape | None
) -> None:
    """In their order, whether they are contiguous (views, no gathering) or not."""
    size = 7
    taken = [i % size for i in first]
    second = next(i for i in range(size) if i not in taken)
    left = [i for i in range(size) if i not in (*taken, second)]
    bound = bind(Indexed({first: AUTOREGRESSIVE, second: bij.Exp()}, rest=rest), (size,), context)
    x, given = draw(2, 4, size), None if context is None else draw(4, *context)
    y, total = x.clone(), torch.zeros(2, 4, dtype=torch.float64)
    for part, index in zip(bound.parts, [taken, [second], left], strict=rest is not None):
        y[..., index], log_det = part.forward_and_log_det(x[..., index], given)
        total = total + log_det
    got = bound.forward_and_log_det(x, given)
    torch.testing.assert_close(got, (y, total), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(bound.inverse_and_log_det(y, given), (x, -total), rtol=1e-8, atol=1e-8)
    pieces = [taken, [second], *([] if rest is None else [left])]
    assert (bound.order is None) == all(p == list(range(p[0], p[0] + len(p))) for p in pieces)


@pytest.mark.parametrize("dim", [0, 1, -1], ids=str)
@pytest.mark.parametrize("indices", [(2, 0), (0, 1), -1], ids=str)
def test_along_an_axis_slices_are_moved(indices: Shape | int, dim: int) -> None:
    bound, x = bind(Partial(AUTOREGRESSIVE, indices, dim=dim), (3, 4, 3)), draw(5, 3, 4, 3)
    at = [indices] if isinstance(indices, int) else list(indices)
    first = x.movedim(dim % 3 + 1, 0)
    y, log_det = bound.parts[0].forward_and_log_det(first[at].movedim(0, dim % 3 + 1))
    expected = first.clone()
    expected[at] = y.movedim(dim % 3 + 1, 0)
    got = bound.forward_and_log_det(x)
    torch.testing.assert_close(got, (expected.movedim(0, dim % 3 + 1), log_det), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(bound.inverse(got[0]), x, rtol=1e-8, atol=1e-8)


def test_without_an_axis_the_flattened_event_is_indexed() -> None:
    x = draw(4, 2, 3)
    y, log_det = Partial(bij.Exp(), (0, 4)).bind((2, 3)).forward_and_log_det(x)
    expected = x.clone()
    expected[:, [0, 1], [0, 1]] = x[:, [0, 1], [0, 1]].exp()
    torch.testing.assert_close((y, log_det), (expected, x[:, 0, 0] + x[:, 1, 1]), rtol=1e-14, atol=1e-14)


def test_partial_is_indexed_with_one_part() -> None:
    one, other = bind(Partial(AUTOREGRESSIVE, (4, 1)), (5,), (2,)), bind(Indexed({(4, 1): AUTOREGRESSIVE}), (5,), (2,))
    x, context = draw(3, 5), draw(3, 2)
    torch.testing.assert_close(one.forward_and_log_det(x, context), other.forward_and_log_det(x, context))
    assert one.parts[0].shape == (2,)


def test_contiguous_pieces_are_concatenated() -> None:
    parts: list[bij.Bijector] = [AUTOREGRESSIVE, bij.Exp(), bij.AffineCoupling(NET)]
    side_by_side = bind(Concatenate(parts, sizes=(2, 1, 2)), (5,))
    by_index = bind(Indexed({(3, 4): parts[2], 2: parts[1]}, rest=parts[0]), (5,))
    names = {"0.": "2.", "1.": "1.", "2.": "0."}
    state = {f"parts.{names[k[6:8]]}{k[8:]}": v for k, v in side_by_side.state_dict().items()}
    by_index.load_state_dict(state)
    x = draw(3, 5)
    torch.testing.assert_close(by_index.forward_and_log_det(x), side_by_side.forward_and_log_det(x))


def test_what_stays_is_not_touched() -> None:
    x = draw(4, 5)
    y = bind(Partial(AUTOREGRESSIVE, (3, 1)), (5,)).forward(x)
    assert torch.equal(y[:, [0, 2, 4]], x[:, [0, 2, 4]])


@pytest.mark.parametrize("indices", [(0, 1, 2), (2, 0, 1)], ids=str)
def test_nothing_need_be_left(indices: Shape) -> None:
    x = draw(4, 3)
    y, log_det = bij.AffineFixed(loc=(1.0, 2.0, 3.0), scale=2.0).bind((3,)).forward_and_log_det(x[:, list(indices)])
    got = Partial(bij.AffineFixed(loc=(1.0, 2.0, 3.0), scale=2.0), indices).bind((3,)).forward_and_log_det(x)
    torch.testing.assert_close((got[0][:, list(indices)], got[1]), (y, log_det), rtol=1e-14, atol=1e-14)
    plan = Indexed({i: bij.Exp() for i in range(3)})
    assert domains.describe(plan.bind((3,)).codomain) == "(0, inf)"
    torch.testing.assert_close(plan.bind((3,)).forward(x), x.exp())


def test_indices_are_stored_as_tuples_whatever_they_came_as() -> None:
    plans = [
        Indexed({(0, 1): bij.Exp(), 3: bij.Tanh()}),
        Indexed({range(2): bij.Exp(), (3,): bij.Tanh()}),
        Indexed([((0, 1), bij.Exp()), (3, bij.Tanh())]),
        Indexed([(np.array([0, 1]), bij.Exp()), (torch.tensor([3]), bij.Tanh())]),
    ]
    assert len(set(plans)) == 1
    assert plans[0].parts == (((0, 1), bij.Exp()), ((3,), bij.Tanh()))
    assert Partial(bij.Exp(), [1, 0]) == Partial(bij.Exp(), torch.tensor([1, 0]))  # type: ignore[arg-type]
    assert Partial(bij.Exp(), 2).indices == (2,)


def test_the_sign_is_the_product_wherever_pieces_lie() -> None:
    flip = bij.AffineFixed(scale=-1.0)
    for plan, shape in (
        (Partial(flip, (2, 0)), (4,)),
        (Partial(flip, 1, dim=-1), (3, 2)),
        (Indexed({(2, 0): bij.Exp(), 3: flip}, rest=flip), (5,)),
    ):
        bound = bind(plan, shape)
        jacobian = autodiff_jacobian(bound.forward, draw(1, *shape), bound.shape)[0]
        assert bound.sign == int(torch.linalg.slogdet(jacobian)[0])


def test_sets_are_followed_coordinate_by_coordinate() -> None:
    plan = Indexed({(3, 1): bij.Sigmoid(), 0: bij.Exp()})
    bound = plan.bind((4,))
    found = domains.box_of(bound.codomain, torch.Size((4,)))
    assert found is not None
    assert found.lower == (0.0, 0.0, -math.inf, 0.0) and found.upper == (math.inf, 1.0, math.inf, 1.0)
    # What one of them makes the other takes, coordinate by coordinate; what stays keeps what it had.
    back = Indexed({(1, 3): bij.Invert(bij.Sigmoid()), 0: bij.Log()})
    assert domains.is_real(bij.Compose([plan, back]).bind((4,)).codomain)
    everything = bij.Compose([bij.Sigmoid(), Partial(bij.Invert(bij.Sigmoid()), 1)]).bind((2,))
    assert domains.describe(everything.codomain) == "(0, 1) x (-inf, inf)"
    # Of a coordinate that stays, more is asked of what comes in.
    found = domains.box_of(bij.Compose([plan, Partial(bij.Log(), (0, 2))]).bind((4,)).domain, torch.Size((4,)))
    assert found is not None and found.lower == (-math.inf, -math.inf, 0.0, -math.inf)
    with pytest.raises(
        DomainError, match=r"Compose: part 1 \(Partial\) .* part 0 \(Indexed\) .* \(0, inf\) x \(0, 1\)"
    ):
        bij.Compose([plan, Partial(bij.Invert(bij.Sigmoid()), (0, 1))]).bind((4,))


def test_rows_explanations_and_errors_say_which_part() -> None:
    plan = Indexed({0: bij.Exp(), (2, 1): AUTOREGRESSIVE}, rest=bij.Affine())
    assert [row.layer for row in plan.check((5,)).rows] == [
        "Indexed part 0: Exp",
        "Indexed part 1: AffineAutoregressive",
        "Indexed rest: Affine",
    ]
    assert plan.explain().startswith("Indexed: part 0 moves 0, part 1 moves 2, 1, rest moves the others.\npart 0: Exp")
    assert (
        Partial(bij.Exp(), 1, dim=0)
        .explain()
        .startswith("Partial: the plan moves 1, the others stay as they are along axis 0.\nplan: Exp")
    )
    with pytest.raises(ShapeError, match=r"^Indexed rest \(Permute\): Permute: "):
        Indexed({0: bij.Exp()}, rest=bij.Permute((1, 0))).bind((4,))
    with pytest.raises(ShapeError, match=r"^Partial plan \(Compose\): Compose part 1 \(Permute\): Permute: "):
        Partial(bij.Compose([bij.Exp(), bij.Permute((1, 0))]), (0, 1, 2)).bind((4,))


def test_every_part_is_started_from_its_coordinates() -> None:
    bound = bind(Indexed({(3, 0): bij.ActNorm(), 1: bij.Compose([bij.ActNorm(), bij.Exp()])}), (4,))
    y = 3 + 2 * draw(50, 4)
    y[:, 1] = y[:, 1].exp()
    bound.initialize(y)
    x = bound.inverse(y)
    assert torch.equal(x[:, 2], y[:, 2])
    torch.testing.assert_close(x[:, [0, 1, 3]].mean(0), torch.zeros(3).double(), rtol=0, atol=1e-6)


# Events of mixed kinds -----------------------------------------------------------------------------------------------

MIXED = Indexed({0: bij.Sigmoid(), 1: bij.Exp(), 2: bij.Compose([bij.Tanh(), bij.AffineFixed(scale=math.pi)])})


def test_a_flow_over_a_fraction_a_rate_an_angle_and_a_number() -> None:
    base = Independent(Normal(torch.zeros(4), torch.ones(4)), 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = dist.Flow(base, bij.Compose([bij.AffineAutoregressive(MADE), MIXED]), context_shape=(2,))
        context = torch.randn(500, 2)
        y = flow.sample((), context)
    assert bool(((y[:, 0] > 0) & (y[:, 0] < 1) & (y[:, 1] > 0) & (y[:, 2].abs() < math.pi)).all())
    assert bool((y[:, 3] < 0).any())
    assert flow.log_prob(y, context).isfinite().all()
    for i, bad in ((0, 1.5), (1, -1.0), (2, 4.0)):
        outside = y.clone()
        outside[7, i] = bad
        log_prob = flow.log_prob(outside, context)
        assert torch.isneginf(log_prob[7]) and log_prob[:7].isfinite().all()


def test_each_coordinate_of_a_base_of_several_parts_moves_in_its_own_way() -> None:
    base = dist.Product([dist.BoxUniform(1), dist.UniformCircle(2), dist.DiagNormal(2)])
    kinds = Indexed(
        {0: bij.Spline(count_bins=3, bound=(0.0, 1.0), tails=None), (1, 2): bij.CircularSpline(), -1: bij.Exp()}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = dist.Flow(base, kinds)
        perturb(flow, torch.Generator().manual_seed(0))
        y = flow.sample((200,))
    assert domains.describe(flow.support).startswith("(0, 1) x (-3.14159, 3.14159) x")
    assert bool(flow.support.check(y).all()) and bool(flow.log_prob(y).isfinite().all())
    x, log_det = flow.bijector.inverse_and_log_det(y)
    torch.testing.assert_close(flow.log_prob(y), base.log_prob(x) + log_det)
    for i, bad in ((0, -0.1), (2, 3.5), (4, -1.0)):
        outside = y.clone()
        outside[:, i] = bad
        assert bool(torch.isneginf(flow.log_prob(outside)).all()) and not bool(flow.support.check(outside).any())
    with pytest.raises(DomainError, match=r"first layer \(Indexed\) .* base \(Product\)"):
        dist.Flow(base, Indexed({0: bij.CircularSpline(), 1: bij.Logit()}))


def test_such_a_flow_is_trained_on_such_data() -> None:
    """Coordinates that depend on one another: the fit comes close to the entropy of what the data are drawn from."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(500, 4, generator=generator)
    z = torch.stack([z[:, 0], z[:, 0] + 0.3 * z[:, 1], 0.5 * z[:, 2], z[:, 3] - z[:, 2]], 1)
    y = MIXED.bind((4,)).forward(z)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = dist.Flow(dist.DiagNormal(4), bij.Compose([bij.LowerCholeskyAffine(), MIXED]))
    optimizer = torch.optim.Adam(flow.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        loss = -flow.log_prob(y).mean()
        loss.backward()
        optimizer.step()
    latent = torch.distributions.MultivariateNormal(torch.zeros(4), z.T.cov())
    truth = -(latent.log_prob(z) - MIXED.bind((4,)).forward_and_log_det(z)[1]).mean()
    assert abs(float(loss.detach() - truth)) < 0.02
