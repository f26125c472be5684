"""Compositions and inverses: against torch's ``ComposeTransform``, and against the parts themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.distributions import transforms as tt

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.bijectors import BoundBijector, BoundCompose
from flowtorch.errors import DomainError, NotSupportedError, ShapeError
from flowtorch.testing import perturb
from flowtorch.testing.check import Case
from tests.cases import CASES

NET = params.MADE((8,), nonlinearity=torch.nn.Tanh)


def bind(
    plan: bij.Bijector, shape: tuple[int, ...], context: tuple[int, ...] | None = None, seed: int = 0
) -> BoundBijector[bij.Bijector]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bound = plan.bind(shape, context).double()
    perturb(bound, torch.Generator().manual_seed(seed))
    return bound


def composed(parts: list[bij.Bijector], shape: tuple[int, ...], context: tuple[int, ...] | None = None) -> BoundCompose:
    bound = bind(bij.Compose(parts), shape, context)
    assert isinstance(bound, BoundCompose)
    return bound


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_composition_of_torch() -> None:
    loc, scale = torch.tensor([1.0, -2.0, 0.5]).double(), torch.tensor([2.0, 0.5, -3.0]).double()
    oracle = tt.ComposeTransform(
        [
            tt.TanhTransform(),
            tt.AffineTransform(loc, scale, event_dim=1),
            tt.SigmoidTransform(),
            tt.SigmoidTransform().inv,
        ]
    )
    oracle = tt.ComposeTransform([oracle, tt.ExpTransform()])
    plan = bij.Compose(
        [
            bij.Compose([bij.Tanh(), bij.AffineFixed(loc, scale), bij.Sigmoid(), bij.Invert(bij.Sigmoid())]),
            bij.Exp(),
        ]
    )
    bound, x = bind(plan, (3,)), draw(2, 4, 3)
    y, log_det = bound.forward_and_log_det(x)
    torch.testing.assert_close(y, oracle(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_det, oracle.log_abs_det_jacobian(x, y), rtol=1e-10, atol=1e-10)
    back, log_det = bound.inverse_and_log_det(y)
    torch.testing.assert_close(back, x, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_det, oracle.inv.log_abs_det_jacobian(y, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("context", [None, (2,)], ids=str)
def test_first_part_first_and_log_dets_add_up(context: tuple[int, ...] | None) -> None:
    """Parts of different event dimensions: scalars, vectors, an axis of a matrix."""
    bound = composed(
        [bij.Affine(), bij.AffineAutoregressive(NET), bij.Permute(dim=0), bij.LeakyReLU(0.3)], (2, 3), context
    )
    x, given = draw(5, 2, 3), None if context is None else draw(5, *context)
    y, total = x, torch.zeros(5, dtype=torch.float64)
    for part in bound.parts:
        y, log_det = part.forward_and_log_det(y, given)
        assert log_det.shape == (5,)
        total = total + log_det
    got = bound.forward_and_log_det(x, given)
    torch.testing.assert_close(got, (y, total), rtol=1e-14, atol=1e-14)
    x2, total = y, torch.zeros(5, dtype=torch.float64)
    for part in reversed(bound.parts):
        x2, log_det = part.inverse_and_log_det(x2, given)
        total = total + log_det
    torch.testing.assert_close(bound.inverse_and_log_det(y, given), (x2, total), rtol=1e-14, atol=1e-14)


def test_nesting_changes_nothing() -> None:
    parts: list[bij.Bijector] = [bij.Affine(), bij.AffineAutoregressive(NET), bij.AffineCoupling(), bij.Affine()]
    flat = composed(parts, (3,))
    nested = bind(bij.Compose([bij.Compose(parts[:1]), bij.Compose([parts[1], bij.Compose(parts[2:])])]), (3,), seed=5)
    # Both hold the same tensors in the same order, under names of their own.
    nested.load_state_dict(dict(zip(nested.state_dict(), flat.state_dict().values(), strict=True)))
    x = draw(4, 3)
    torch.testing.assert_close(nested.forward_and_log_det(x), flat.forward_and_log_det(x), rtol=1e-14, atol=1e-14)
    assert len(nested.summary().rows) == len(flat.summary().rows) == 4


def test_slices_share_parameters() -> None:
    bound = composed([bij.Affine(), bij.AffineAutoregressive(NET), bij.Permute(), bij.Affine()], (3,), (2,))
    x, context = draw(4, 3), draw(4, 2)
    first, rest = bound[:2], bound[2:]
    assert (len(bound), len(first), len(rest)) == (4, 2, 2)
    assert isinstance(first, BoundCompose) and first.plan == bij.Compose(bound.plan.parts[:2])
    middle, log_det = first.forward_and_log_det(x, context)
    y, more = rest.forward_and_log_det(middle, context)
    expected = bound.forward_and_log_det(x, context)
    torch.testing.assert_close((y, log_det + more), expected, rtol=1e-14, atol=1e-14)
    assert {id(p) for p in (*first.parameters(), *rest.parameters())} == {id(p) for p in bound.parameters()}
    with torch.no_grad():
        next(bound.parts[0].parameters()).add_(1.0)
    assert not torch.allclose(first.forward(x, context), middle)
    for index in (slice(-1, None), slice(None, None, 2), slice(None)):
        assert [a is b for a, b in zip(bound[index].parts, list(bound.parts)[index], strict=True)]


def test_slices_that_do_not_fit_together_are_refused() -> None:
    bound = composed([bij.Exp(), bij.Invert(bij.Exp()), bij.Sigmoid(), bij.Invert(bij.Sigmoid())], (2,))
    with pytest.raises(DomainError, match=r"part 1 \(Invert\(Sigmoid\)\) is expected to take all that part 0 \(Exp\)"):
        bound[::3]


def test_one_plan_several_times_is_bound_on_its_own_each_time() -> None:
    layer = bij.AffineAutoregressive(NET)
    bound = composed([layer] * 3, (4,))
    once = layer.bind((4,))
    numbers = [sum(p.numel() for p in part.parameters()) for part in bound.parts]
    assert numbers == [sum(p.numel() for p in once.parameters())] * 3
    assert len({id(p) for p in bound.parameters()}) == 3 * len(list(once.parameters()))
    assert bound.summary().parameters == sum(numbers)


def test_error_of_a_part_names_its_index_and_class() -> None:
    nested = bij.Compose([bij.Exp(), bij.Compose([bij.Affine(), bij.Invert(bij.Permute((1, 0)))])])
    with pytest.raises(
        ShapeError, match=r"^Compose part 1 \(Compose\): Compose part 1 \(Invert\(Permute\)\): Permute: "
    ):
        nested.bind((3,))


def test_domain_of_a_part_is_checked_up_to_its_ends() -> None:
    bij.Compose([bij.Sigmoid(), bij.Power()])  # (0, 1) lies in (0, inf)
    bij.Compose([bij.ELU(), bij.Tanh()])
    message = r"part 1 \(Power\) .* part 0 \(ELU\) gives; its domain is \(0, inf\), got codomain \(-1, inf\)"
    with pytest.raises(DomainError, match=message):
        bij.Compose([bij.ELU(), bij.Power()])
    with pytest.raises(DomainError, match=r"\(0, 1\), got codomain \(-1, 1\)"):
        bij.Compose([bij.Tanh(), bij.Invert(bij.Sigmoid())])


def test_shapes_domains_and_costs_follow_from_the_parts() -> None:
    plan = bij.Compose([bij.Exp(), bij.Power(), bij.Invert(bij.Softplus()), bij.Sigmoid()])
    assert (plan.min_event_dim, plan.cheap, plan.exactness) == (0, "both", "exact")
    assert torch.equal(plan.codomain.check(torch.tensor([-0.5, 0.5, 1.5])), torch.tensor([False, True, False]))
    made, inverted = bij.AffineAutoregressive(), bij.Invert(bij.AffineAutoregressive())
    assert bij.Compose([made, bij.Exp()]).cheap == "forward"
    assert bij.Compose([inverted, bij.Exp()]).cheap == "inverse"
    assert bij.Compose([inverted, made]).cheap == "forward"
    assert bij.Compose([bij.Exp(), bij.Invert(bij.Permute((1, 0)))]).min_event_dim == 1
    assert bij.Compose([bij.AffineFixed(((1.0, 2.0),)), bij.Exp()]).domain.event_dim == 2


def test_sign_is_the_product() -> None:
    flip = bij.AffineFixed(scale=-1.0)
    assert composed([flip, bij.Exp(), flip, flip], ()).sign == -1
    assert composed([flip, bij.Exp(), flip, flip], (2,)).sign == 1
    assert composed([bij.Exp(), bij.Power(-1.0)], (3,)).sign == -1
    with pytest.raises(NotSupportedError, match="Permute: the sign of the Jacobian"):
        _ = composed([flip, bij.Permute()], (2,)).sign


def test_initialize_goes_from_data_to_base(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, torch.Tensor]] = []
    bound = composed([bij.Affine(), bij.Exp(), bij.AffineFixed(1.0, 2.0)], (2,))
    for part in bound.parts:
        name = type(part.plan).__name__
        monkeypatch.setattr(part, "initialize", lambda y, context, name=name: seen.append((name, y)))
    y = 1.5 + draw(4, 2).exp()
    bound.initialize(y)
    assert [name for name, _ in seen] == ["AffineFixed", "Exp", "Affine"]
    expected = [y, (y - 1.0) / 2.0, ((y - 1.0) / 2.0).log()]
    torch.testing.assert_close([value for _, value in seen], expected)


# --- Invert


@pytest.mark.parametrize("name", CASES)
def test_the_inverse_of_everything_exchanges_the_pair(name: str) -> None:
    plan, shape, context_shape = CASES[name]
    context = None if context_shape is None else torch.Size(context_shape)
    case = Case(plan, torch.Size(shape), context, tolerance=1e-8, seed=0)
    inverted: Any = Case(bij.Invert(plan), case.bound.out_shape, context, tolerance=1e-8, seed=9).bound
    inverted.bijector.load_state_dict(case.bound.state_dict())
    bound, given = case.bound, case.context((16,))
    x, y = case.x((16,)), case.y((16,))
    torch.testing.assert_close(
        inverted.forward_and_log_det(y, given), bound.inverse_and_log_det(y, given), rtol=0, atol=0
    )
    torch.testing.assert_close(
        inverted.inverse_and_log_det(x, given), bound.forward_and_log_det(x, given), rtol=0, atol=0
    )
    torch.testing.assert_close(
        inverted.log_abs_det_jacobian(y, inverted.forward(y, given), given),
        bound.inverse_and_log_det(y, given)[1],
        rtol=1e-8,
        atol=1e-8,
    )
    assert (inverted.domain.event_dim, inverted.codomain.event_dim) == (len(bound.out_shape), len(shape))
    assert inverted.plan.cheap == {"forward": "inverse", "inverse": "forward", "both": "both"}[plan.cheap]
    if given is not None and any(True for _ in bound.parameters()) and "Tensor()" not in repr(plan):
        other = torch.flip(given, (0,))
        assert not torch.allclose(inverted.forward(y, other), inverted.forward(y, given))


def test_inverse_of_an_inverse_is_the_plan() -> None:
    plan = bij.Compose([bij.Exp(), bij.Invert(bij.Softplus())])
    assert plan.inv == bij.Invert(plan)
    assert plan.inv.inv is plan
    assert bij.Invert(bij.Invert(plan)).inv == bij.Invert(plan)


def test_inverse_of_a_composition_lists_its_layers_last_first() -> None:
    rows = bij.Invert(bij.Compose([bij.AffineAutoregressive(NET), bij.Exp()])).check((3,)).rows
    assert [row.layer for row in rows] == ["Invert(Exp)", "Invert(AffineAutoregressive)"]
    assert [row.cheap for row in rows] == ["both", "inverse"]


def test_the_codomain_of_a_composition_that_is_not_onto_is_not_taken_for_all_of_the_last_ones() -> None:
    halved = bij.Compose([bij.Sigmoid(), bij.AffineFixed(scale=0.5)])  # onto (0, 0.5), a part of the real line
    with pytest.raises(DomainError, match="a part of real"):
        dist.Flow(torch.distributions.Normal(0.0, 1.0), bij.Invert(halved))
    with pytest.raises(DomainError, match="part 1"):
        bij.Compose([bij.Affine(), bij.Invert(halved)])
    bij.Compose([halved, bij.Affine()])  # but what takes all of the line takes a part of it


def step(plan: bij.Bijector) -> tuple[list[torch.Tensor], int]:
    """Values, log-dets and gradients of both directions, and how many numbers are kept for the backward passes."""
    bound, x, context = bind(plan, (3,), (2,)), draw(50, 3).requires_grad_(), draw(50, 2, seed=2)
    kept: dict[int, int] = {}

    def pack(t: torch.Tensor) -> torch.Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        results = [*bound.forward_and_log_det(x, context), *bound.inverse_and_log_det(x, context)]
        most = sum(kept.values())
    total = sum(r.square().sum() for r in results)
    assert isinstance(total, torch.Tensor)
    return [*results, *torch.autograd.grad(total, [x, *bound.parameters()])], most


def test_checkpoints_keep_less_and_change_nothing() -> None:
    parts = [bij.SplineCoupling(params.DenseNN((8,)), swap=bool(i % 2)) for i in range(4)]
    results, kept = step(bij.Compose(parts))
    again, kept_by_checkpoints = step(bij.Compose(parts, checkpoint=True))
    for a, b in zip(results, again, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert kept_by_checkpoints < kept / 5, (kept_by_checkpoints, kept)


def test_slices_keep_checkpoints() -> None:
    bound = bij.Compose([bij.Exp(), bij.Log()], checkpoint=True).bind((2,))
    assert isinstance(bound, BoundCompose) and bound[:1].plan.checkpoint
