"""Couplings: which coordinates stay, which move, and by the formulas of the papers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.bijectors import BoundBijector, BoundCoupling, BoundElementwise
from flowtorch.errors import ShapeError
from flowtorch.testing import autodiff_jacobian, perturb

NET = params.DenseNN((8,), nonlinearity=torch.nn.Tanh)
T, F = True, False


def bind(plan: bij.Bijector, shape: tuple[int, ...], context: tuple[int, ...] | None = None) -> BoundBijector[Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bound = plan.bind(shape, context).double()
    perturb(bound, torch.Generator().manual_seed(0))
    return bound


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# What stays, as flat 0/1 for the event.
MASKS: dict[str, tuple[tuple[int, ...], dict[str, Any], list[int]]] = {
    "half, even": ((4,), {}, [1, 1, 0, 0]),
    "half, odd": ((5,), {}, [1, 1, 1, 0, 0]),
    "half, two": ((2,), {}, [1, 0]),
    "half, swapped": ((5,), {"swap": True}, [0, 0, 0, 1, 1]),
    "half, flattened": ((2, 3), {}, [1, 1, 1, 0, 0, 0]),
    "alternate": ((5,), {"mask": "alternate"}, [1, 0, 1, 0, 1]),
    "alternate, swapped": ((4,), {"mask": "alternate", "swap": True}, [0, 1, 0, 1]),
    "alternate, flattened": ((2, 3), {"mask": "alternate"}, [1, 0, 1, 0, 1, 0]),
    "booleans": ((4,), {"mask": (F, T, T, F)}, [0, 1, 1, 0]),
    "booleans, list": ((4,), {"mask": [F, T, T, F]}, [0, 1, 1, 0]),
    "booleans, swapped": ((4,), {"mask": (F, T, T, F), "swap": True}, [1, 0, 0, 1]),
    "nested": ((2, 3), {"mask": ((T, F, F), (F, T, T))}, [1, 0, 0, 0, 1, 1]),
    "nested deeper": ((2, 1, 2), {"mask": [[[T, F]], [[F, F]]]}, [1, 0, 0, 0]),
    "tensor": ((2, 2), {"mask": torch.tensor([[T, F], [F, T]])}, [1, 0, 0, 1]),
    "numpy": ((3,), {"mask": np.array([F, F, T])}, [0, 0, 1]),
    "split": ((5,), {"split": 1}, [1, 0, 0, 0, 0]),
    "split, swapped": ((5,), {"split": 4, "swap": True}, [0, 0, 0, 0, 1]),
    "split, flattened": ((2, 3), {"split": 4}, [1, 1, 1, 1, 0, 0]),
    "axis 0": ((3, 2), {"dim": 0}, [1, 1, 1, 1, 0, 0]),
    "axis 1": ((2, 3), {"dim": 1}, [1, 1, 0, 1, 1, 0]),
    "axis -1, alternate": ((2, 3), {"dim": -1, "mask": "alternate"}, [1, 0, 1, 1, 0, 1]),
    "axis 0, booleans": ((3, 2), {"dim": 0, "mask": (F, T, F)}, [0, 0, 1, 1, 0, 0]),
    "axis -2, split, swapped": ((2, 3, 2), {"dim": -2, "split": 2, "swap": True}, [0, 0, 0, 0, 1, 1] * 2),
    "axis 0 of three": ((2, 1, 3), {"dim": 0}, [1, 1, 1, 0, 0, 0]),
}
every_mask = pytest.mark.parametrize("name", MASKS)


@every_mask
@pytest.mark.parametrize("context", [None, (2,)], ids=str)
def test_what_the_mask_says_stays_and_drives_the_rest(name: str, context: tuple[int, ...] | None) -> None:
    shape, options, expected = MASKS[name]
    bound = bind(bij.AffineCoupling(NET, **options), shape, context)
    stays = torch.tensor(expected, dtype=torch.bool)
    given = None if context is None else draw(3, *context)
    x = draw(3, *shape)
    for value, direction in ((x, bound.forward), (bound.forward(x, given).detach(), bound.inverse)):
        out = direction(value, given)
        changed = (out != value).reshape(3, -1)
        assert torch.equal(changed, ~stays.expand(3, -1))
        jacobian = autodiff_jacobian(lambda v, f=direction: f(v, given), value, bound.shape) != 0
        diagonal = torch.eye(len(stays), dtype=torch.bool)
        assert torch.equal(jacobian, ((~stays[:, None] & stays[None, :]) | diagonal).expand(3, -1, -1))


@every_mask
def test_masks_are_values(name: str) -> None:
    _, options, _ = MASKS[name]
    plan = bij.AffineCoupling(NET, **options)
    assert plan == bij.AffineCoupling(NET, **options)
    hash(plan)


def test_affine_coupling_is_equations_4_to_8_of_real_nvp() -> None:
    bound = bind(bij.AffineCoupling(NET, split=2, scale_fn="exp", log_scale_max_clip=float("inf")), (2, 3), (2,))
    assert isinstance(bound, BoundCoupling)
    x, context = draw(4, 2, 3), draw(4, 2)
    kept, moved = x.flatten(1)[:, :2], x.flatten(1)[:, 2:]
    loc, raw = bound.params(kept, context)
    log_scale = torch.where(raw < 0, 5 * torch.tanh(raw / 5), raw)  # bounded below by default, here not above
    expected = torch.cat([kept, moved * log_scale.exp() + loc], 1).reshape(4, 2, 3)
    torch.testing.assert_close(
        bound.forward_and_log_det(x, context), (expected, log_scale.sum(-1)), rtol=1e-12, atol=1e-12
    )
    back = torch.cat([kept, (moved - loc) * (-log_scale).exp()], 1).reshape(4, 2, 3)
    torch.testing.assert_close(
        bound.inverse_and_log_det(x, context), (back, -log_scale.sum(-1)), rtol=1e-12, atol=1e-12
    )


def test_additive_coupling_is_that_of_nice_and_keeps_volumes() -> None:
    bound = bind(bij.AdditiveCoupling(NET, mask="alternate"), (5,))
    x = draw(4, 5)
    (shift,) = bound.params(x[:, ::2], None)
    y, log_det = bound.forward_and_log_det(x)
    torch.testing.assert_close(y[:, 1::2], x[:, 1::2] + shift, rtol=1e-14, atol=1e-14)
    assert torch.equal(log_det, torch.zeros(4, dtype=torch.float64))


def test_an_elementwise_map_moves_the_part_that_drives() -> None:
    """The driven part sees what came in, as in neural spline flows; both log-dets count."""
    spline = bij.Spline(count_bins=4, bound=2.0)
    bound = bind(bij.SplineCoupling(NET, count_bins=4, bound=2.0, untouched=spline), (5,), (2,))
    plain = bind(bij.SplineCoupling(NET, count_bins=4, bound=2.0), (5,), (2,))
    plain.load_state_dict({k: v for k, v in bound.state_dict().items() if not k.startswith("untouched")})
    x, context = draw(6, 5), draw(6, 2)
    y, log_det = bound.forward_and_log_det(x, context)
    of_driven, driven_log_det = plain.forward_and_log_det(x, context)
    of_kept, kept_log_det = bound.untouched.forward_and_log_det(x[:, :3], context)
    torch.testing.assert_close(y, torch.cat([of_kept, of_driven[:, 3:]], 1), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(log_det, driven_log_det + kept_log_det, rtol=1e-14, atol=1e-14)
    assert not torch.allclose(of_kept, x[:, :3])


def test_named_plans_are_the_family_over_their_map() -> None:
    gated: Any = {"scale_fn": "sigmoid", "gated": True}
    quadratic = bij.Spline(order="quadratic")
    pairs: list[tuple[bij.Bijector, bij.Bijector]] = [
        (bij.AffineCoupling(NET, **gated), bij.Coupling(bij.Affine(**gated), NET)),
        (bij.SplineCoupling(NET, order="quadratic", swap=True), bij.Coupling(quadratic, NET, swap=True)),
        (bij.AdditiveCoupling(NET, dim=0), bij.Coupling(bij.Shift(), NET, dim=0)),
    ]
    x = draw(4, 3, 2)
    for named, family in pairs:
        a, b = bind(named, (3, 2)), bind(family, (3, 2))
        assert type(a) is type(b) is BoundCoupling
        torch.testing.assert_close(a.forward_and_log_det(x), b.forward_and_log_det(x), rtol=0, atol=0)


@pytest.mark.parametrize("context", [None, (2,)], ids=str)
@pytest.mark.parametrize("plan", [NET, None, params.Tensor()], ids=str)
def test_one_coordinate_moves_by_itself_as_the_context_says(
    plan: params.Parameters | None, context: tuple[int, ...] | None
) -> None:
    bound = bind(bij.AffineCoupling(plan), (1,), context)
    assert isinstance(bound, BoundElementwise)
    given = None if context is None else draw(4, *context)
    x = draw(4, 1)
    y, log_det = bound.forward_and_log_det(x, given)
    expected = bind(bij.Affine(params.Tensor() if context is None else plan), (1,), context)
    torch.testing.assert_close((y, log_det), expected.forward_and_log_det(x, given), rtol=0, atol=0)
    varies = given is not None and not isinstance(plan, params.Tensor)
    assert varies == (given is not None and not torch.equal(bound.forward(x, given.flip(0)), y))


@pytest.mark.parametrize(
    ("options", "shape", "words"),
    [
        ({"mask": (T, F)}, (3,), r"a mask for 3 coordinates of an event \(3,\) is expected; got one of shape \(2,\)"),
        ({"mask": ((T, F), (F, T), (T, T))}, (2, 3), r"event \(2, 3\) is expected; got one of shape \(3, 2\)"),
        ({"mask": (T, F, T), "dim": 0}, (2, 3), "a mask for 2 coordinates"),
        ({"mask": (T, T)}, (2,), "drives others is expected; got 2 untouched of 2"),
        ({"mask": (F, F)}, (2,), "got 0 untouched of 2"),
        ({"split": 3}, (3,), "split=3 leaves nothing to drive; got 3 coordinates to split"),
        ({"dim": 1}, (3,), r"an axis dim=1 is expected; got event shape \(3,\)"),
    ],
    ids=str,
)
def test_masks_that_do_not_fit_are_refused_at_bind(options: Any, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        bij.AffineCoupling(NET, **options).bind(shape)
