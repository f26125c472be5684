"""Views of a bound bijector, and bound bijectors inside torch's own transforms and distributions."""

from __future__ import annotations

import copy
import pickle
import weakref
from typing import Any

import pytest
import torch
from torch import distributions as td
from torch.distributions import constraints
from torch.distributions import transforms as tt

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.bijectors import BoundBijector, TransformView
from flowtorch.errors import ContextError, ShapeError
from flowtorch.testing import autodiff_log_det, perturb

NET = params.DenseNN((8,), nonlinearity=torch.nn.Tanh)
MADE = params.MADE((8,), nonlinearity=torch.nn.Tanh)


def bind(
    plan: bij.Bijector, shape: tuple[int, ...], context: tuple[int, ...] | None = None, seed: int = 0
) -> BoundBijector[Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bound = plan.bind(shape, context).double()
    perturb(bound, torch.Generator().manual_seed(seed))
    return bound


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def close(got: Any, expected: Any) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


# --- views


def test_a_view_of_the_inverse_exchanges_everything() -> None:
    bound = bind(bij.Compose([bij.AffineCoupling(NET), bij.Exp()]), (3,), (2,))
    x, context = draw(4, 3), draw(4, 2)
    y, log_det = bound.forward_and_log_det(x, context)
    view = bound.inv
    assert isinstance(view, TransformView) and not isinstance(view, torch.nn.Module)
    close(view.forward_and_log_det(y, context), bound.inverse_and_log_det(y, context))
    close(view.inverse_and_log_det(x, context), (y, log_det))
    close(view(y, context), x)
    close(view.inverse(x, context), y)
    close(view.log_abs_det_jacobian(y, x, context), -log_det)
    assert (view.domain.event_dim, view.codomain.event_dim) == (1, 1)
    assert torch.equal(
        view.domain.check(torch.tensor([[1.0, 2.0, 3.0], [1.0, -2.0, 3.0]])), torch.tensor([True, False])
    )
    assert view.inv is bound
    assert view.with_cache(1) is view
    assert repr(view) == "Compose.inv"


def test_a_conditioned_view_holds_its_context() -> None:
    bound = bind(bij.AffineAutoregressive(MADE), (3,), (2,))
    x, context = draw(5, 3), draw(2)
    view = bound.condition(context)
    y, log_det = bound.forward_and_log_det(x, context)
    close(view.forward_and_log_det(x), (y, log_det))
    close(view.inverse(y), x)
    close(view.inv(y), x)
    close(view.inv.log_abs_det_jacobian(y, x), -log_det)
    close(view.inv.inv(x), y)
    close(bound.inv.condition(context)(y), x)
    other = draw(2, seed=9)
    close(view(x, other), bound.forward(x, other))  # one given at the call goes first
    close(view.condition(other)(x), bound.forward(x, other))
    assert repr(view.inv) == "AffineAutoregressive.inv.condition(...)"
    batched = bound.condition(draw(5, 2))
    close(batched(x[0]), bound.forward(x[0], draw(5, 2)))


def test_views_follow_the_parameters_and_own_nothing() -> None:
    bound = bind(bij.Affine(), (2,))
    view, x = bound.inv, draw(2)
    before = view(x)
    with torch.no_grad():
        for p in bound.parameters():
            p.add_(0.5)
    assert not torch.allclose(view(x), before)
    view(x).sum().backward()
    assert all(p.grad is not None for p in bound.parameters())


def test_views_are_copied_and_pickled_and_nothing_keeps_them_alive() -> None:
    bound = bind(bij.Affine(NET), (2,), (3,))
    x, context = draw(4, 2), draw(3)
    view = bound.inv.condition(context)
    expected = view(x)
    for other in (copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        close(other(x), expected)
        assert other.bound is not bound
    kept = weakref.ref(view)
    del view
    assert kept() is None  # no reference cycle, and the bijector does not hold it


def test_context_of_a_view_is_checked() -> None:
    plain, conditional = bind(bij.Affine(), (2,)), bind(bij.Affine(NET), (2,), (3,))
    with pytest.raises(ContextError, match=r"Affine.condition: no context is expected"):
        plain.condition(draw(3))
    with pytest.raises(ContextError, match=r"with context \(3,\) is expected; got \(2,\)"):
        conditional.condition(draw(2))
    with pytest.raises(ContextError, match="is expected; got none"):
        conditional.inv(draw(2))


def test_shapes_keep_what_stands_in_front() -> None:
    bound = bind(bij.AffineCoupling(NET), (2, 3))
    batch, event = torch.Size((5, 1)), torch.Size((2, 3))
    for t in (bound, bound.inv):
        assert t.forward_shape(batch + event) == t.inverse_shape(batch + event) == batch + event
        with pytest.raises(ShapeError, match=r"a shape ending in \(2, 3\) is expected; got \(3,\)"):
            t.forward_shape(torch.Size((3,)))


# --- within torch


def test_torch_composes_bound_bijectors_with_its_own() -> None:
    bound = bind(bij.AffineAutoregressive(MADE), (3,))
    conditional = bind(bij.AffineCoupling(NET), (3,), (2,)).condition(draw(2))
    chain = tt.ComposeTransform([tt.TanhTransform(), bound, bound.inv, bound, conditional, tt.ExpTransform()])
    x = draw(4, 3)
    y = conditional(bound.forward(x.tanh())).exp()
    close(chain(x), y)
    close(chain.inv(y), x)
    close(chain.log_abs_det_jacobian(x, y), autodiff_log_det(chain, x, torch.Size((3,))))
    close(chain.inv.log_abs_det_jacobian(y, x), -chain.log_abs_det_jacobian(x, y))
    assert chain.domain.event_dim == chain.codomain.event_dim == 1
    assert chain.forward_shape(torch.Size((4, 3))) == (4, 3)


@pytest.mark.parametrize("dim", [0, -1])
def test_torch_stacks_bound_bijectors(dim: int) -> None:
    parts = [bind(bij.Exp(), ()), bind(bij.Affine(), (), seed=3), bind(bij.Spline(count_bins=4), ()).inv]
    stacked = tt.StackTransform(parts, dim=dim)
    x = 0.5 * draw(3, 3)
    rows = [part(row) for part, row in zip(parts, x.unbind(dim), strict=True)]
    y = stacked(x)
    close(y, torch.stack(rows, dim))
    close(stacked.inv(y), x)
    expected = [p.log_abs_det_jacobian(a, b) for p, a, b in zip(parts, x.unbind(dim), rows, strict=True)]
    close(stacked.log_abs_det_jacobian(x, y), torch.stack(expected, dim))


def test_torch_concatenates_bound_bijectors() -> None:
    parts = [bind(bij.Affine(), ()), bind(bij.Sigmoid(), ())]
    joined = tt.CatTransform(parts, dim=-1, lengths=[2, 3])
    x = draw(4, 5)
    close(joined(x), torch.cat([parts[0](x[:, :2]), parts[1](x[:, 2:])], -1))
    close(joined.inv(joined(x)), x)


def test_transformed_distribution_has_the_density_of_the_change_of_variables() -> None:
    bound, given = bind(bij.SplineAutoregressive(MADE, count_bins=4), (2, 3), (2,)), draw(2)
    base = td.Independent(td.Normal(torch.zeros(2, 3).double(), torch.ones(2, 3).double()), 2)
    parts = [bound.condition(given), bind(bij.Exp(), (2, 3))]
    distribution = td.TransformedDistribution(base, parts)
    y = draw(4, 2, 3).exp()
    x = y.log()
    z, log_det = bound.inverse_and_log_det(x, given)
    close(distribution.log_prob(y), base.log_prob(z) + log_det - x.sum((1, 2)))
    assert (distribution.batch_shape, distribution.event_shape) == ((), (2, 3))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sample = distribution.rsample((5,))
    assert sample.shape == (5, 2, 3) and (sample > 0).all()
    sample.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in bound.parameters())


def test_transformed_distribution_of_one_coordinate_has_cdf_and_quantiles() -> None:
    """torch takes the sign of the Jacobian from the bijector: a decreasing one turns the order round."""
    base = td.Normal(torch.tensor(0.3).double(), torch.tensor(1.2).double())
    falling = bij.Compose([bij.Affine(), bij.AffineFixed(scale=-2.0), bij.Sigmoid()])
    bound = bind(falling, ())
    assert bound.sign == -1
    distribution = td.TransformedDistribution(base, [bound])
    grid = torch.linspace(1e-6, 1 - 1e-6, 200_001).double()
    by_sum = torch.cumulative_trapezoid(distribution.log_prob(grid).exp().detach(), grid)
    got = distribution.cdf(grid[1:]).detach()
    torch.testing.assert_close(got - got[0], by_sum - by_sum[0], rtol=0, atol=1e-6)
    close(distribution.icdf(got[::5000]), grid[1:][::5000])


def test_domains_are_over_the_whole_event() -> None:
    bound = bind(bij.Sigmoid(), (2, 3))
    assert bound.domain.event_dim == bound.codomain.event_dim == 2
    assert isinstance(bound.codomain, constraints.independent)
    inside = torch.full((2, 3), 0.5)
    outside = inside.clone()
    outside[1, 2] = 1.5
    assert bool(bound.codomain.check(inside)) and not bool(bound.codomain.check(outside))
    assert bound.bijective


def test_bound_bijectors_are_compared_and_hashed_by_identity() -> None:
    a, b = bij.Exp().bind((2,)), bij.Exp().bind((2,))
    assert a == a and a != b
    assert len({a, b, a}) == 2
    assert a.plan == b.plan


def test_hooks_run() -> None:
    """``nn.Module`` comes first among the bases: with ``Transform`` first, calls would go past the hooks."""
    bound, seen = bij.Exp().bind((2,)), []
    bound.register_forward_hook(lambda *_: seen.append(1))
    bound(torch.zeros(2))
    assert seen == [1]
