"""Every registered type of base: rebuilt as it was, carried by states, ``.double()``, copies and pickles."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import distributions as td
from torch.distributions import constraints, transforms
from torch.distributions.constraints import Constraint

import flowtorch.bijectors as bij
from flowtorch.bijectors import Bijector, BoundBijector
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.distributions.base import _ARGUMENTS
from tests.distributions.helpers import close, same_draws


@dataclass(frozen=True)
class Swapped(Bijector):
    """The coordinates of a point of a simplex in reverse order: a plan for bases that live on one."""

    min_event_dim = 1
    domain: Constraint = constraints.simplex  # type: ignore[assignment]
    codomain: Constraint = constraints.simplex  # type: ignore[assignment]

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundSwapped:
        return BoundSwapped(self, shape, context_shape)


class BoundSwapped(BoundBijector[Swapped]):
    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        return x.flip(-1), x.new_zeros(x.shape[:-1])

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        return self._forward_and_log_det(y, context)


def t(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


TRIANGLE = torch.tensor([[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [-0.3, 0.7, 0.4]], dtype=torch.float64)

Make = Callable[[float], td.Distribution]
# A base with numbers that move with s.
BASES: dict[str, Make] = {
    "Normal": lambda s: td.Normal(s + t(1.0, 2.0), s * t(1.0, 2.0)),
    "Laplace": lambda s: td.Laplace(s + t(1.0, 2.0), s * t(1.0, 2.0)),
    "Cauchy": lambda s: td.Cauchy(s + t(1.0, 2.0), s * t(1.0, 2.0)),
    "Gumbel": lambda s: td.Gumbel(s + t(1.0, 2.0), s * t(1.0, 2.0)),
    "LogNormal": lambda s: td.LogNormal(s + t(1.0, 2.0), s * t(1.0, 2.0)),
    "LogisticNormal": lambda s: td.LogisticNormal(s + t(1.0, 2.0), s * t(1.0, 2.0)),
    "Beta": lambda s: td.Beta(s + t(1.0, 2.0), s * t(1.0, 2.0)),
    "Kumaraswamy": lambda s: td.Kumaraswamy(s + t(1.0, 2.0), s * t(1.0, 2.0)),
    "Gamma": lambda s: td.Gamma(s + t(1.0, 2.0), s * t(1.0, 2.0)),
    "InverseGamma": lambda s: td.InverseGamma(s + t(1.0, 2.0), s * t(1.0, 2.0)),
    "HalfNormal": lambda s: td.HalfNormal(s * t(1.0, 2.0)),
    "HalfCauchy": lambda s: td.HalfCauchy(s * t(1.0, 2.0)),
    "Uniform": lambda s: td.Uniform(-s * t(1.0, 2.0), t(3.0, 0.5)),
    "StudentT": lambda s: td.StudentT(s + t(2.0, 3.0), t(0.5, -1.0), s * t(1.0, 2.0)),
    "Chi2": lambda s: td.Chi2(s + t(2.0, 3.0)),
    "FisherSnedecor": lambda s: td.FisherSnedecor(s + t(2.0, 3.0), s * t(4.0, 5.0)),
    "Exponential": lambda s: td.Exponential(s * t(1.0, 2.0)),
    "Pareto": lambda s: td.Pareto(s * t(1.0, 2.0), s + t(2.0, 3.0)),
    "Weibull": lambda s: td.Weibull(s * t(1.0, 2.0), s + t(2.0, 3.0)),
    "VonMises": lambda s: td.VonMises(s * t(0.1, 0.2), s + t(2.0, 3.0)),
    "Dirichlet": lambda s: td.Dirichlet(s * t(1.0, 2.0, 3.0)),
    "MultivariateNormal": lambda s: td.MultivariateNormal(s + t(1.0, 2.0, 3.0), scale_tril=s * TRIANGLE),
    "LowRankMultivariateNormal": lambda s: td.LowRankMultivariateNormal(
        s + t(1.0, 2.0, 3.0), s * TRIANGLE[:, :2], s * t(1.0, 2.0, 0.3)
    ),
    "Independent": lambda s: td.Independent(td.Normal(torch.zeros(2, 3).double(), s * torch.ones(2, 3).double()), 2),
    "DiagNormal": lambda s: DiagNormal((2, 3), s * t(1.0, 2.0, 3.0), s * t(0.5)),
    "Categorical, MixtureSameFamily": lambda s: td.MixtureSameFamily(
        td.Categorical(t(1.0, 2.0 * s)), td.Independent(td.Normal(s * TRIANGLE[:2], 1.0 + TRIANGLE[:2].abs()), 1)
    ),
    "TransformedDistribution, AffineTransform": lambda s: td.TransformedDistribution(
        td.Gamma(s * t(2.0, 3.0), t(1.0)), [transforms.AffineTransform(t(1.0, -1.0), s * t(2.0, -3.0))]
    ),
    "PowerTransform, ComposeTransform, _InverseTransform, ExpTransform, SigmoidTransform": lambda s: (
        td.TransformedDistribution(
            td.LogNormal(t(0.0, 1.0), s * t(1.0)),
            [
                transforms.ComposeTransform([transforms.PowerTransform(s * t(2.0)), transforms.ExpTransform().inv]),
                transforms.AffineTransform(t(0.5), s * t(2.0)).inv,
                transforms.SigmoidTransform(),
            ],
        )
    ),
    "IndependentTransform, SoftplusTransform, TanhTransform": lambda s: td.TransformedDistribution(
        td.Normal(t(0.0, 1.0), t(1.0, 2.0)),
        [
            transforms.SoftplusTransform(),
            transforms.TanhTransform(),
            transforms.IndependentTransform(transforms.AffineTransform(0.5, s * t(2.0, 3.0)), 1),
        ],
    ),
    "mixture within mixture's transform": lambda s: td.TransformedDistribution(
        td.Independent(
            td.MixtureSameFamily(td.Categorical(TRIANGLE + s), td.Weibull(s + TRIANGLE.abs(), 2.0 + TRIANGLE.abs())),
            1,
        ),
        [transforms.AffineTransform(0.5, s * t(1.0, 2.0, 3.0), event_dim=1)],
    ),
}


def flow_of(base: td.Distribution) -> Flow:
    if not base.event_shape:
        base = td.Independent(base, 1)
    simplex = isinstance(base, td.Dirichlet | td.LogisticNormal)
    return Flow(base, Swapped() if simplex else bij.AffineFixed())


def undone(base: td.Distribution, y: torch.Tensor) -> torch.Tensor:
    return y.flip(-1) if isinstance(base, td.Dirichlet | td.LogisticNormal) else y


def test_every_registered_type_is_here() -> None:
    ours = {c for c in _ARGUMENTS if c.__module__.startswith("torch.")}
    # Not __name__: importing zuko changes that of one of torch's.
    assert {c.__qualname__ for c in ours} <= {w for name in BASES for w in name.split(", ")}


@pytest.mark.parametrize("name", BASES)
def test_rebuilt_with_the_same_density_and_the_same_draws(name: str) -> None:
    base = BASES[name](1.3)
    flow = flow_of(base)
    whole = base if base.event_shape else td.Independent(base, 1)
    assert type(flow.base_dist) is type(whole)
    assert (flow.base_dist.batch_shape, flow.base_dist.event_shape) == (whole.batch_shape, whole.event_shape)
    torch.manual_seed(1)
    y = flow.sample((6,))
    torch.manual_seed(1)
    close(undone(base, y), whole.sample((6,)))
    close(flow.log_prob(y), whole.log_prob(undone(base, y)))
    assert y.dtype == torch.float64 and flow.has_rsample == whole.has_rsample


@pytest.mark.parametrize("name", BASES)
def test_a_state_loaded_into_a_base_with_other_numbers(name: str) -> None:
    flow, other = flow_of(BASES[name](1.3)), flow_of(BASES[name](0.7))
    y = flow.sample((6,))
    assert not torch.allclose(other.log_prob(y), flow.log_prob(y))
    other.load_state_dict(flow.state_dict())
    close(other.log_prob(y), flow.log_prob(y))
    same_draws(other, flow)
    assert any(k.startswith("base.") for k in flow.state_dict())


@pytest.mark.parametrize("name", BASES)
def test_copies_and_pickles_own_their_tensors(name: str) -> None:
    flow = flow_of(BASES[name](1.3))
    y = flow.sample((6,))
    expected = flow.log_prob(y)
    for other in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        close(other.log_prob(y), expected)
        same_draws(other, flow)
        for mine, theirs in zip(flow.buffers(), other.buffers(), strict=True):
            assert mine.data_ptr() != theirs.data_ptr() or mine.numel() == 0


@pytest.mark.parametrize("name", BASES)
def test_it_follows_the_flow_to_another_dtype(name: str) -> None:
    flow = flow_of(BASES[name](1.3))
    expected = flow.sample((200,))
    single = copy.deepcopy(flow).float()
    assert all(b.dtype == torch.float32 for b in single.buffers() if b.is_floating_point())
    drawn = single.sample((6,))
    assert drawn.dtype == torch.float32 and single.log_prob(drawn).dtype == torch.float32
    inside = undone(BASES[name](1.3), expected).float()
    got, wanted = single.log_prob(expected.float()), flow.log_prob(expected)
    near = wanted.isfinite() & got.isfinite() & inside.isfinite().flatten(1).all(-1)
    assert float(near.double().mean()) > 0.9
    # Heavy tails magnify the rounding of the value itself: the median tells.
    assert float((got - wanted)[near].abs().median()) < 1e-4
    assert flow.double().sample((2,)).dtype == torch.float64


@pytest.mark.parametrize("name", BASES)
def test_the_users_distribution_is_left_alone(name: str) -> None:
    base = BASES[name](1.3)
    flow = flow_of(base)
    y = flow.sample((6,))
    with torch.no_grad():
        for b in flow.buffers():
            if b.is_floating_point():
                b.mul_(1.01)
    fresh = flow_of(base)
    expected = flow_of(BASES[name](1.3))
    close(fresh.log_prob(y), expected.log_prob(y))


def test_expanded_tensors_with_strides_of_zero_are_stored_in_full() -> None:
    loc, scale = t(0.5).expand(3), torch.ones((), dtype=torch.float64).expand(3)
    flow = Flow(td.Independent(td.Normal(loc, scale), 1), bij.AffineFixed())
    for b in (flow.base.base_distribution.loc, flow.base.base_distribution.scale):  # type: ignore[union-attr]
        assert b.is_contiguous() and b.shape == (3,) and b.untyped_storage().nbytes() == 24
    state = {k: v + torch.arange(3) if v.shape == (3,) else v for k, v in flow.state_dict().items()}
    flow.load_state_dict(state)  # each entry is its own
    assert flow.base_dist.mean.tolist() == [0.5, 1.5, 2.5]
    turned = Flow(td.Independent(td.Normal(TRIANGLE.T, 1.0), 2), bij.AffineFixed())
    assert turned.base.base_distribution.loc.is_contiguous()  # type: ignore[union-attr]
    close(turned.base_dist.mean, TRIANGLE.T)
    loc = t(0.0, 1.0, 2.0, 3.0)[::2]
    assert Flow(td.Independent(td.Normal(loc, 1.0), 1), bij.AffineFixed()).base_dist.mean.tolist() == [0.0, 2.0]


def test_a_matrix_given_in_another_form_is_carried_too() -> None:
    covariance = TRIANGLE @ TRIANGLE.T
    for base in (
        td.MultivariateNormal(t(1.0, 2.0, 3.0), covariance_matrix=covariance),
        td.MultivariateNormal(t(1.0, 2.0, 3.0), precision_matrix=covariance.inverse()),
    ):
        flow, y = Flow(base, bij.AffineFixed()), t(0.5, 0.5, 0.5)
        close(flow.log_prob(y), base.log_prob(y))


def test_a_float64_base_makes_the_whole_flow_float64() -> None:
    base = td.Independent(td.Normal(t(0.0, 1.0), t(1.0, 2.0)), 1)
    plan = bij.Compose([bij.AffineAutoregressive(), bij.Spline(), bij.Permute(), bij.AffineFixed(loc=0.1)])
    flow = Flow(base, plan, context_shape=3)
    tensors = [*flow.parameters(), *flow.buffers()]
    assert all(v.dtype == torch.float64 for v in tensors if v.is_floating_point())
    assert flow.bijector.parts[-1].loc.item() == 0.1  # type: ignore[union-attr]  # not its float32 rounding
    assert flow.sample((2,), torch.zeros(3).double()).dtype == torch.float64
    assert flow.log_prob(t(0.1, 0.2), torch.zeros(3).double()).dtype == torch.float64
    assert Flow(DiagNormal(2), plan).sample().dtype == torch.float32


def test_validation_of_the_base_is_replaced_by_that_of_the_flow() -> None:
    base = td.Independent(td.Exponential(t(1.0, 2.0), validate_args=True), 1, validate_args=True)
    flow = Flow(base, bij.AffineFixed())
    assert flow.log_prob(t(-1.0, 1.0)) == -torch.inf
    with pytest.raises(ValueError, match="support"):
        base.log_prob(t(-1.0, 1.0))
