"""``Repeat``: against the composition it is short for."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import constraints

import flowtorch
import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.bijectors import BoundCompose
from flowtorch.bijectors.repeat import Repeat
from flowtorch.testing import check_bijector, perturb

LAYER = bij.Compose([bij.AffineAutoregressive(params.MADE((8,), nonlinearity=torch.nn.Tanh)), bij.Permute()])
CASES = {
    "three couplings": (Repeat(bij.AffineCoupling(params.DenseNN((8,))), 3), (3,), (2,)),
    "one, of no dimensions": (Repeat(bij.Affine(), 1), (), None),
    "checkpoints": (Repeat(LAYER, 2, checkpoint=True), (2, 3), None),
    "inverted": (bij.Invert(Repeat(LAYER, 2)), (3,), None),
}


@pytest.mark.parametrize("name", CASES)
def test_it_conforms(name: str) -> None:
    check_bijector(*CASES[name])


def test_it_is_the_composition() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bound = Repeat(LAYER, 3).bind((4,)).double()
        full = bij.Compose([LAYER] * 3).bind((4,)).double()
    perturb(bound, torch.Generator().manual_seed(1))
    full.load_state_dict(bound.state_dict())  # by the same names
    x = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for direction in ("forward_and_log_det", "inverse_and_log_det"):
        for a, b in zip(getattr(bound, direction)(x), getattr(full, direction)(x), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_each_copy_has_parameters_and_permutations_of_its_own() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        bound = Repeat(LAYER, 3).bind((50,))
    one = sum(p.numel() for p in LAYER.bind((50,)).parameters())
    assert sum(p.numel() for p in bound.parameters()) == 3 * one == bound.summary().parameters
    orders = [v for k, v in bound.state_dict().items() if k.endswith("permutation")]
    assert len(orders) == 3 and not torch.equal(orders[0], orders[1])
    assert [row.layer for row in bound.summary().rows] == ["AffineAutoregressive", "Permute"] * 3


def test_slices_and_the_plan() -> None:
    plan = Repeat(LAYER, 3)
    bound = plan.bind((4,))
    assert isinstance(bound, BoundCompose) and bound.plan == plan and len(bound) == 3
    first = bound[:2]
    assert first.plan == bij.Compose([LAYER] * 2) and first.parts[0] is bound.parts[0]
    flow = dist.Flow(dist.DiagNormal((4,)), plan)
    assert flowtorch.plan_from_dict(plan.to_dict()) == plan == flow.bijector.plan
    assert flow[:1].log_prob(torch.zeros(2, 4)).shape == (2,)


def test_initialize_starts_every_copy() -> None:
    flow = dist.Flow(dist.DiagNormal((2,)), Repeat(bij.Compose([bij.Affine(), bij.ActNorm()]), 3))
    data = 5.0 + 3.0 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    flow.initialize(data)
    x = flow.bijector.inverse(data)
    torch.testing.assert_close(x.mean(0), torch.zeros(2), rtol=0, atol=1e-4)
    assert [bool(v) for k, v in flow.state_dict().items() if k.endswith("initialized")] == [True] * 3


def test_its_sets_are_those_of_the_composition() -> None:
    squashed, full = Repeat(bij.Sigmoid(), 2), bij.Compose([bij.Sigmoid(), bij.Sigmoid()])
    assert flowtorch.domains.describe(squashed.codomain) == flowtorch.domains.describe(full.codomain)
    assert Repeat(bij.Sigmoid(), 1).codomain is bij.Sigmoid().codomain
    plan = Repeat(bij.AffineAutoregressive(), 2)
    assert (plan.cheap, plan.exactness, plan.min_event_dim) == ("forward", "exact", 1)
    assert Repeat(bij.Softplus(), 2).domain is constraints.real


def test_explain_tells_of_one_copy() -> None:
    text = Repeat(bij.AffineCoupling(), 12).explain()
    assert text.startswith("Repeat: 12 copies") and text.count("AffineCoupling:") == 1
    assert "12 times" in Repeat(bij.Exp(), 12).describe()
