"""``FromTransform``: torch's transforms, and others', as plans."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any, cast

import pytest
import torch
from torch.distributions import Normal, constraints
from torch.distributions import transforms as tt

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
from flowtorch import domains
from flowtorch.bijectors.from_transform import FromTransform
from flowtorch.errors import SpecificationError
from flowtorch.testing import check_bijector

LOC, SCALE = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, -3.0, 0.5])
AFFINE = tt.AffineTransform(LOC, SCALE)


class Stretch(tt.Transform):
    """A transform of the user's own, with a number that is trained."""

    domain = codomain = cast(constraints.Constraint, constraints.real_vector)
    bijective = True

    def __init__(self) -> None:
        super().__init__(cache_size=1)
        self.log_scale = torch.tensor(0.3, requires_grad=True)

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.log_scale.exp()

    def _inverse(self, y: torch.Tensor) -> torch.Tensor:
        return y * (-self.log_scale).exp()

    def log_abs_det_jacobian(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x.shape[-1] * self.log_scale).expand(x.shape[:-1])


class Shift(tt.Transform, torch.nn.Module):
    """A transform that is a module, as those of Pyro are."""

    domain = codomain = cast(constraints.Constraint, constraints.real)
    bijective = True

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        tt.Transform.__init__(self)
        self.by = torch.nn.Parameter(torch.tensor(0.7))

    def __hash__(self) -> int:
        return torch.nn.Module.__hash__(self)

    def _call(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.by

    def _inverse(self, y: torch.Tensor) -> torch.Tensor:
        return y - self.by

    def log_abs_det_jacobian(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)


CASES: dict[str, tuple[tt.Transform, tuple[int, ...]]] = {
    "exp": (tt.ExpTransform(), (2, 3)),
    "tanh, cached, scalar": (tt.TanhTransform(cache_size=1), ()),
    "affine": (AFFINE, (2, 3)),
    "affine, of vectors": (tt.AffineTransform(LOC, SCALE.clone().requires_grad_(), event_dim=1), (2, 3)),
    "power": (tt.PowerTransform(torch.tensor(3.0)), (2,)),
    "inverse": (AFFINE.inv, (3,)),
    "composition": (
        tt.ComposeTransform(
            [AFFINE, tt.SigmoidTransform(), tt.IndependentTransform(tt.SigmoidTransform().inv, 1), tt.ExpTransform()]
        ),
        (3,),
    ),
    "cat": (tt.CatTransform([tt.ExpTransform(), tt.AffineTransform(0.0, SCALE[:1])], dim=-1, lengths=[1, 2]), (3,)),
    "stack": (tt.StackTransform([tt.ExpTransform(), tt.AffineTransform(0.0, SCALE[0])], dim=-1), (2,)),
    "distribution function": (tt.CumulativeDistributionTransform(Normal(0.1 * LOC, SCALE.abs() + 1.0)), (3,)),
    "one's own": (Stretch(), (3,)),
    "module": (Shift(), (2,)),
    "stick breaking": (tt.StickBreakingTransform(), (3,)),
    "correlations": (tt.CorrCholeskyTransform(), (3,)),
    "reshape": (tt.ReshapeTransform(torch.Size((6,)), torch.Size((2, 3))), (6,)),
}


@pytest.mark.parametrize("name", CASES)
def test_it_conforms(name: str) -> None:
    transform, shape = CASES[name]
    plan = FromTransform(transform)
    out = plan.forward_shape(torch.Size(shape))
    skip = () if out == shape else ("context",) if out.numel() == torch.Size(shape).numel() else ("context", "log_det")
    check_bijector(plan, shape, skip=skip)


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_transform(name: str) -> None:
    transform, shape = CASES[name]
    bound = FromTransform(transform).bind(shape)
    x = 0.5 * torch.rand(4, *shape, generator=torch.Generator().manual_seed(0)) + 0.1
    y, log_det = bound.forward_and_log_det(x)
    torch.testing.assert_close(y, transform(x))
    torch.testing.assert_close(bound.inverse(y), transform.inv(y))
    expected = transform.log_abs_det_jacobian(x, y)
    torch.testing.assert_close(log_det, expected.reshape(4, -1).sum(-1))
    torch.testing.assert_close(bound.inverse_and_log_det(y)[1], -log_det, rtol=1e-4, atol=1e-4)


def test_a_term_that_is_the_same_for_all_coordinates_counts_for_each() -> None:
    bound = FromTransform(tt.AffineTransform(0.0, 3.0)).bind((2, 5))
    log_det = bound.forward_and_log_det(torch.zeros(7, 2, 5))[1]
    torch.testing.assert_close(log_det, torch.full((7,), 10.0 * torch.tensor(3.0).log().item()))


def test_tensors_are_buffers_and_those_with_gradients_parameters() -> None:
    parts = [AFFINE, tt.AffineTransform(torch.zeros(3, requires_grad=True), 2.0), Shift()]
    bound = FromTransform(tt.ComposeTransform(parts)).bind((3,))
    assert set(bound.state_dict()) == {
        "held.parts.0.loc",
        "held.parts.0.scale",
        "held.parts.1.loc",
        "held.parts.2.by",
    }
    assert {n for n, _ in bound.named_parameters()} == {"held.parts.1.loc", "held.parts.2.by"}
    assert bound.double().forward(torch.zeros(3, dtype=torch.float64)).dtype == torch.float64
    state = {key: value + 1.0 for key, value in bound.state_dict().items()}
    before = bound.forward(torch.zeros(3, dtype=torch.float64))
    bound.load_state_dict(state)
    expected = (LOC + 1.0) * 2.0 + 1.0 + 1.7  # the scale of the second is a number
    torch.testing.assert_close(bound.forward(torch.zeros(3, dtype=torch.float64)), expected.double(), check_dtype=False)
    assert not torch.equal(before, bound.forward(torch.zeros(3, dtype=torch.float64)))


def test_bindings_and_the_plan_are_copies() -> None:
    loc = torch.zeros(2, requires_grad=True)
    plan = FromTransform(tt.AffineTransform(loc, 1.0))
    one, two = plan.bind((2,)), plan.bind((2,))
    with torch.no_grad():
        loc.add_(5.0)
        next(one.parameters()).add_(1.0)
    assert [b.forward(torch.zeros(2)).tolist() for b in (one, two, plan.bind((2,)))] == [
        [1.0, 1.0],
        [0.0, 0.0],
        [0.0, 0.0],
    ]


def test_what_is_used_twice_is_held_once() -> None:
    stretch = Stretch()
    bound = FromTransform(tt.ComposeTransform([stretch, stretch])).bind((2,))
    assert len(list(bound.parameters())) == 1
    torch.testing.assert_close(bound.forward(torch.ones(2)), torch.full((2,), 0.6).exp())


def test_a_cache_is_not_used() -> None:
    """A cached result belongs to the parameters as they were."""
    bound = FromTransform(Stretch()).bind((2,))
    x = torch.ones(2)
    before = bound.forward(x)
    with torch.no_grad():
        next(bound.parameters()).add_(1.0)
    torch.testing.assert_close(bound.forward(x), before * torch.tensor(1.0).exp())
    for _ in range(2):  # and a second backward pass through the same tensor does not fail
        bound.forward(x).sum().backward()


def test_plans_are_values() -> None:
    plan = FromTransform(AFFINE)
    for other in (FromTransform(tt.AffineTransform(LOC.clone(), SCALE.clone())), copy.deepcopy(plan)):
        assert other == plan and hash(other) == hash(plan)
    different = [
        tt.AffineTransform(LOC, SCALE + 1.0),
        tt.AffineTransform(LOC[:2], SCALE[:2]),
        tt.AffineTransform(1.0, 2.0),
        tt.AffineTransform(LOC, SCALE, event_dim=1),
        tt.AffineTransform(LOC.double(), SCALE),
        AFFINE.inv,
        tt.ExpTransform(),
    ]
    assert all(FromTransform(t) != plan for t in different)
    assert plan != bij.Exp() and FromTransform(Shift()) == FromTransform(Shift())
    # torch's own inverse loses what it inverts when it is copied.
    inverse = FromTransform(tt.ComposeTransform([AFFINE.inv]))
    for copied in (copy.deepcopy(inverse), pickle.loads(pickle.dumps(inverse))):
        assert copied == inverse
        torch.testing.assert_close(copied.bind((3,)).forward(LOC), torch.zeros(3))
    assert "AffineTransform" in plan.explain() and "AffineTransform" in plan.describe()


def test_it_has_no_json_form() -> None:
    with pytest.raises(SpecificationError, match=r"FromTransform.transform"):
        FromTransform(AFFINE).to_dict()


def test_domains_are_the_transform_s() -> None:
    plan = FromTransform(tt.ComposeTransform([tt.ExpTransform(), tt.PowerTransform(torch.tensor(2.0))]))
    assert domains.describe(plan.codomain) == "(0, inf)" and plan.min_event_dim == 0
    assert FromTransform(tt.CorrCholeskyTransform()).min_event_dim == 1
    bound = FromTransform(tt.ExpTransform()).bind((2,))
    x, log_det = bound.inverse_and_log_det(torch.tensor([[1.0, 2.0], [1.0, -1.0]]))
    assert log_det.isneginf().tolist() == [False, True] and bool(x.isfinite().all())
    assert bound.summary().rows[0].layer == "FromTransform(ExpTransform)"


def test_in_a_flow() -> None:
    plan = bij.Compose([bij.AffineCoupling(), FromTransform(tt.ComposeTransform([Stretch(), tt.ExpTransform()]))])
    flow = dist.Flow(dist.DiagNormal((3,)), plan)
    y = flow.sample((5,))
    assert bool((y > 0).all()) and flow.log_prob(y).shape == (5,)
    (-flow.log_prob(y).mean()).backward()
    assert all(p.grad is not None for n, p in flow.named_parameters() if "held" in n)
    buffer = io.BytesIO()
    torch.save(flow, buffer)
    buffer.seek(0)
    loaded: Any = torch.load(buffer, weights_only=False)
    torch.testing.assert_close(loaded.log_prob(y), flow.log_prob(y))
