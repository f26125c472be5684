"""Flows among torch's distributions, and bound bijectors among its transforms: what they give, by other means."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import distributions as td
from torch.distributions import transforms as tt

import flowtorch.bijectors as bij
from flowtorch.distributions import Flow, FlowView
from flowtorch.errors import ContextError
from flowtorch.objectives import kl_divergence
from flowtorch.testing import perturb
from tests.distributions.helpers import MADE, NET, close, draw, follows, integral, make, normal

DEEP = bij.Compose([bij.AffineAutoregressive(MADE), bij.Permute(), bij.Spline(count_bins=3), bij.AffineCoupling(NET)])
LINE = bij.Compose([bij.Spline(count_bins=3), bij.Affine()])
POSITIVE = bij.Compose([bij.Spline(count_bins=3), bij.Exp()])


def bound(
    plan: bij.Bijector, *shape: int, context: int | None = None, seed: int = 0
) -> bij.BoundBijector[bij.Bijector]:
    made = plan.bind(torch.Size(shape), None if context is None else torch.Size([context])).double()
    perturb(made, torch.Generator().manual_seed(seed))
    return made


VECTOR, PAIR = bound(DEEP, 3), bound(bij.AffineCoupling(NET), 2, seed=1)
SPLINES, SCALAR = bound(bij.Spline(count_bins=4), 3), bound(bij.Spline(count_bins=4), seed=2)
AT = bound(bij.AffineAutoregressive(MADE), 3, context=2).condition(draw(2, seed=4))
EXP = tt.IndependentTransform(tt.ExpTransform(), 1)


def log_det_by_autodiff(f: tt.Transform, x: torch.Tensor, event_dim: int) -> torch.Tensor:
    """The log-determinants of the blocks, one an event, that the Jacobian of the whole is made of."""
    batch, event = x.shape[: x.dim() - event_dim], x.shape[x.dim() - event_dim :]
    n, d = batch.numel(), event.numel()
    whole = torch.autograd.functional.jacobian(f, x).reshape(n, d, n, d)
    blocks = whole.diagonal(dim1=0, dim2=2).movedim(-1, 0)
    assert whole.square().sum().isclose(blocks.square().sum())  # no event depends on another
    return torch.linalg.slogdet(blocks).logabsdet.reshape(batch)


def check_transform(transform: tt.Transform, x: torch.Tensor, event_dim: int) -> None:
    """Both ways, and the log-determinant of each event against that of its Jacobian."""
    y = transform(x)
    batch = x.shape[: x.dim() - event_dim]
    close(transform.inv(y), x)
    log_det = transform.log_abs_det_jacobian(x, y)
    assert log_det.shape == batch and transform.bijective
    close(log_det, log_det_by_autodiff(transform, x, event_dim))
    close(transform.inv.log_abs_det_jacobian(y, x), -log_det)
    assert bool(transform.domain.check(x).all()) and bool(transform.codomain.check(y).all())
    for other in (pickle.loads(pickle.dumps(transform)), copy.deepcopy(transform), transform.with_cache(1)):
        close(other(x), y)


# Bound bijectors among transforms

COMPOSED: dict[str, list[tt.Transform]] = {
    "before": [VECTOR, tt.ExpTransform()],
    "after": [tt.AffineTransform(1.0, 2.0), VECTOR, tt.SigmoidTransform()],
    "several": [VECTOR, SPLINES.inv, AT],
    "an inverse at a context": [AT.inv, tt.TanhTransform()],
    "scalars before vectors": [SCALAR, VECTOR],
    "to another shape": [VECTOR, tt.ReshapeTransform(torch.Size([3]), torch.Size([3, 1]))],
}


@pytest.mark.parametrize("name", COMPOSED)
def test_in_a_composition(name: str) -> None:
    x = draw(4, 2, 3)
    transform = tt.ComposeTransform(COMPOSED[name])
    if name == "to another shape":
        y = transform(x)
        assert y.shape == transform.forward_shape(x.shape) == (4, 2, 3, 1) and transform.domain.event_dim == 1
        close(transform.log_abs_det_jacobian(x, y), VECTOR.forward_and_log_det(x)[1])
        return
    check_transform(transform, x, 1)
    assert transform.domain.event_dim == transform.codomain.event_dim == 1
    assert transform.forward_shape(x.shape) == transform.inverse_shape(x.shape) == x.shape
    assert transform == tt.ComposeTransform(list(COMPOSED[name]))  # a part is equal to itself


def test_in_a_composition_of_scalars() -> None:
    check_transform(tt.ComposeTransform([tt.TanhTransform(), SCALAR, tt.ExpTransform()]), 0.3 * draw(4, 2), 0)


def test_a_composition_is_that_of_the_plans() -> None:
    parts = [bound(bij.AffineCoupling(NET), 3), bound(bij.Spline(count_bins=3), 3), bound(bij.Exp(), 3)]
    ours = bij.Compose([part.plan for part in parts]).bind(torch.Size([3])).double()
    ours.load_state_dict({f"parts.{i}.{k}": v for i, part in enumerate(parts) for k, v in part.state_dict().items()})
    x, theirs = draw(5, 3), tt.ComposeTransform(list(parts))
    y, log_det = ours.forward_and_log_det(x)
    close(theirs(x), y)
    close(theirs.log_abs_det_jacobian(x, y), log_det)


STACKED: dict[str, tuple[list[tt.Transform], int, torch.Tensor, int]] = {
    "scalars": ([SCALAR, tt.ExpTransform(), SCALAR.inv], -1, draw(4, 3), 0),
    "vectors": ([VECTOR, SPLINES, AT.inv], 0, draw(3, 5, 3), 1),
    "vectors among torch's": ([EXP, VECTOR], 1, draw(4, 2, 5, 3), 1),
}


@pytest.mark.parametrize("name", STACKED)
def test_in_a_stack(name: str) -> None:
    parts, dim, x, event_dim = STACKED[name]
    transform = tt.StackTransform(parts, dim)
    check_transform(transform, x, event_dim)
    for i, part in enumerate(parts):
        close(transform(x).select(dim, i), part(x.select(dim, i)))


CONCATENATED: dict[str, tuple[list[tt.Transform], list[int], int, torch.Tensor, int]] = {
    "vectors": ([VECTOR, PAIR], [3, 2], -1, draw(4, 2, 5), 1),
    "vectors among torch's": ([PAIR.inv, EXP, AT], [2, 4, 3], -1, draw(4, 9), 1),
    "scalars": ([SCALAR, tt.ExpTransform()], [3, 2], -1, draw(4, 5), 0),
    "along the batch": ([VECTOR, SPLINES], [3, 2], 0, draw(5, 4, 3), 1),
}


@pytest.mark.parametrize("name", CONCATENATED)
def test_in_a_concatenation(name: str) -> None:
    parts, lengths, dim, x, event_dim = CONCATENATED[name]
    transform = tt.CatTransform(parts, dim, lengths)
    assert transform.event_dim == event_dim
    y, log_det = transform(x), transform.log_abs_det_jacobian(x, transform(x))
    pieces = zip(parts, x.split(lengths, dim), y.split(lengths, dim), strict=True)
    found = [(part(a), part.log_abs_det_jacobian(a, b)) for part, a, b in pieces]
    close(torch.cat([v for v, _ in found], dim), y)
    together = event_dim > 0 and dim == -1  # pieces of one vector
    close(log_det, torch.stack([d for _, d in found]).sum(0) if together else torch.cat([d for _, d in found], dim))
    close(log_det, log_det_by_autodiff(transform, x, event_dim))
    close(transform.inv(y), x)
    assert bool(transform.domain.check(x).all()) and bool(transform.codomain.check(y).all())


@pytest.mark.parametrize(
    "around",
    [
        lambda f: tt.ComposeTransform([tt.TanhTransform(), f, tt.ExpTransform()]),
        lambda f: tt.StackTransform([f, f.inv], 0),
        lambda f: tt.StackTransform([f, f.inv], -2),  # where torch puts the log-determinants out of place
        lambda f: tt.CatTransform([f, f.inv], 0, [1, 1]),
        lambda f: tt.CatTransform([f, EXP], -1, [3, 1]),
        lambda f: tt.IndependentTransform(f, 1),
    ],
    ids=["compose", "stack", "stack of vectors", "cat", "cat of one vector", "independent"],
)
def test_it_is_taken_as_torchs_own_of_the_same_map(around: Callable[[tt.Transform], tt.Transform]) -> None:
    loc, scale = draw(3), draw(3, seed=1)
    ours = around(bij.AffineFixed(loc.tolist(), scale.tolist()).bind(torch.Size([3])).double())
    theirs = around(tt.AffineTransform(loc, scale, event_dim=1))
    x = draw(2, 2, 4 if isinstance(ours, tt.CatTransform) and ours.dim == -1 else 3)
    y = theirs(x)
    close(ours(x), y)
    close(ours.inv(y), theirs.inv(y))
    close(ours.log_abs_det_jacobian(x, y), theirs.log_abs_det_jacobian(x, y))
    assert torch.equal(ours.codomain.check(y), theirs.codomain.check(y))
    assert ours.domain.event_dim == theirs.domain.event_dim and ours.forward_shape(x.shape) == theirs.forward_shape(
        x.shape
    )


def test_gradients_reach_the_parameters_within() -> None:
    x = draw(4, 3)
    for around in (
        tt.ComposeTransform([tt.TanhTransform(), VECTOR]),
        tt.StackTransform([VECTOR, EXP], 0),
        tt.CatTransform([VECTOR, EXP], -1, [3, 2]),
    ):
        at = torch.stack([x, x]) if isinstance(around, tt.StackTransform) else x
        at = torch.cat([x, x[:, :2]], -1) if isinstance(around, tt.CatTransform) else at
        around.log_abs_det_jacobian(at, around(at)).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in VECTOR.parameters())
        VECTOR.zero_grad()


def test_a_density_through_torchs_transforms_is_that_of_a_flow() -> None:
    flow = make(normal(3), DEEP)
    y = flow.sample((5,))
    for transform in (flow.bijector, tt.ComposeTransform([flow.bijector]), flow.bijector.inv.inv):
        close(td.TransformedDistribution(normal(3), transform).log_prob(y), flow.log_prob(y))
    law = td.TransformedDistribution(normal(5), tt.CatTransform([VECTOR, PAIR], -1, [3, 2]))
    y = law.sample((6,))
    loc, scale = normal(5).base_dist.loc, normal(5).base_dist.scale
    parts = [(VECTOR, slice(0, 3)), (PAIR, slice(3, 5))]
    expected = [
        td.TransformedDistribution(td.Independent(td.Normal(loc[s], scale[s]), 1), f).log_prob(y[:, s])
        for f, s in parts
    ]
    close(law.log_prob(y), expected[0] + expected[1])


# Flows among distributions


def mixture_of_lines() -> td.MixtureSameFamily:
    components = make(normal(), LINE, context_shape=1).condition(draw(3, 1))
    return td.MixtureSameFamily(td.Categorical(torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)), components)


def line() -> Flow:
    return make(normal(), LINE)


UNIVARIATE: dict[str, Callable[[], td.Distribution]] = {
    "independent": lambda: td.Independent(line(), 0),
    "mixture": mixture_of_lines,
    "transformed": lambda: td.TransformedDistribution(line(), [tt.AffineTransform(1.0, -2.0)]),
    "transformed mixture": lambda: td.TransformedDistribution(mixture_of_lines(), [tt.AffineTransform(-1.0, 0.5)]),
}


@pytest.mark.parametrize("name", UNIVARIATE)
def test_densities_integrate_to_one_and_are_those_of_the_draws(name: str) -> None:
    law = UNIVARIATE[name]()
    assert abs(integral(law.log_prob, -60.0, 60.0, 100_001) - 1) < 1e-6
    drawn = law.sample((2000,))
    if name == "independent":
        law = law.base_dist  # torch gives Independent no cdf
    assert follows(law, drawn)


BOTH: dict[str, Callable[[], td.Distribution]] = {
    "independent": lambda: td.Independent(make(normal(3), DEEP).expand((4,)), 1),
    "independent, conditional": lambda: td.Independent(make(normal(3), DEEP, context_shape=2).condition(draw(4, 2)), 1),
    "mixture": lambda: td.MixtureSameFamily(
        td.Categorical(torch.ones(5, 4)), make(normal(3), DEEP, context_shape=2).condition(draw(4, 2)).expand((5, 4))
    ),
    "mixture of vectors of scalars": lambda: td.MixtureSameFamily(
        td.Categorical(torch.ones(4)), td.Independent(line().expand((4, 3)), 1)
    ),
    "to the simplex": lambda: td.TransformedDistribution(make(normal(3), DEEP), [tt.StickBreakingTransform()]),
    "reshaped": lambda: td.TransformedDistribution(
        make(normal(4), bij.AffineCoupling(NET)), [tt.ReshapeTransform(torch.Size([4]), torch.Size([2, 2]))]
    ),
    "positive": lambda: td.Independent(
        td.TransformedDistribution(make(normal(), POSITIVE).expand((2,)), [tt.PowerTransform(torch.tensor(2.0))]), 1
    ),
    "nested": lambda: td.Independent(
        td.TransformedDistribution(make(normal(3), DEEP).expand((2,)), [tt.ExpTransform()]), 1
    ),
}


@pytest.mark.parametrize("name", BOTH)
def test_shapes_support_copies_and_expansion(name: str) -> None:
    law = BOTH[name]()
    y = law.sample((6,))
    assert y.shape == (6, *law.batch_shape, *law.event_shape)
    log_prob = law.log_prob(y)
    assert log_prob.shape == (6, *law.batch_shape) and log_prob.requires_grad and bool(log_prob.isfinite().all())
    assert bool(law.support.check(y).all())
    wide = law.expand((2, *law.batch_shape))
    assert wide.sample((6,)).shape == (6, 2, *law.batch_shape, *law.event_shape)
    close(wide.log_prob(y.unsqueeze(1))[:, 0], log_prob)
    law = BOTH[name]()  # a graph that is kept would not copy
    for other in (pickle.loads(pickle.dumps(law)), copy.deepcopy(law)):
        close(other.log_prob(y), log_prob)
    if not isinstance(law, td.MixtureSameFamily):  # which torch cannot reparameterise
        assert law.has_rsample and law.rsample((2,)).requires_grad


def test_a_flow_that_needs_a_context_says_so_from_within() -> None:
    law = td.TransformedDistribution(make(normal(3), DEEP, context_shape=2), [tt.ExpTransform()])
    for call in (law.sample, lambda: law.log_prob(draw(4, 3).exp())):
        with pytest.raises(ContextError, match="a context of shape .* is expected; got none"):
            call()


# Divergences


def scaled(loc: float, scale: float) -> tuple[Flow, td.Distribution]:
    """A flow, and the normal distribution that it is."""
    plan = bij.AffineFixed([loc, 0.0], [scale, 1.0])
    of_torch = td.Independent(td.Normal(torch.tensor([loc, 0.0]).double(), torch.tensor([scale, 1.0]).double()), 1)
    return Flow(td.Independent(td.Normal(torch.zeros(2).double(), 1.0), 1), plan).double(), of_torch


def test_divergences_of_flows_within_others() -> None:
    torch.manual_seed(0)
    (p, exact_p), (q, exact_q) = scaled(0.3, 1.0), scaled(-0.2, 1.4)
    exact, error = td.kl_divergence(exact_p, exact_q), float(kl_divergence(p, q, 1024).error)
    assert isinstance(p.expand((4,)), FlowView)
    apart = td.kl_divergence(td.Independent(p.expand((4,)), 1), td.Independent(q.expand((4,)), 1))
    assert abs(apart - 4 * exact) < 5 * error * 2  # of four sets of draws
    to = [tt.ExpTransform()]
    through = td.kl_divergence(td.TransformedDistribution(p, to), td.TransformedDistribution(q, to))
    assert abs(through - exact) < 5 * error
    close(td.kl_divergence(p, p), torch.zeros(()).double())
    with pytest.raises(NotImplementedError, match="No KL"):
        td.kl_divergence(
            td.MixtureSameFamily(td.Categorical(torch.ones(4)), p.expand((4,))), td.TransformedDistribution(p, to)
        )


def test_flows_that_share_a_bijector_diverge_as_their_bases_do() -> None:
    p, other = make(normal(3), DEEP), td.Independent(td.Normal(draw(3), 1.5), 1)
    q = Flow(other, DEEP, learn_base=True)
    q.bijector = p.bijector
    exact = td.kl_divergence(normal(3), other)
    close(td.kl_divergence(p, q), exact)
    close(td.kl_divergence(p.expand((4,)), q), exact.expand(4))
    td.kl_divergence(p, q).backward()
    assert all(b.grad is not None for b in q.base.parameters()) and all(f.grad is None for f in p.parameters())
