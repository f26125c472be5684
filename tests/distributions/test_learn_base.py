"""``learn_base=True``: the base's arguments as parameters, trained, within their constraints."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import distributions as td
from torch.distributions import transforms

import flowtorch.bijectors as bij
from flowtorch.distributions import DiagNormal, Flow, register_base
from flowtorch.errors import BaseError, OptionTypeError
from tests.distributions.helpers import NET, close, draw, make, same_draws


def t(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


TRIANGLE = torch.tensor([[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [-0.3, 0.7, 0.4]], dtype=torch.float64)

# A base, and how many numbers are learnt.
BASES: dict[str, tuple[Callable[[], td.Distribution], int]] = {
    "normal": (lambda: td.Normal(t(0.5, 1.0, 2.0), t(1.0, 2.0, 0.3)), 6),
    "independent": (lambda: td.Independent(td.Normal(t(0.5, 1.0, 2.0), t(1.0, 2.0, 0.3)), 1), 6),
    "diag normal": (lambda: DiagNormal(3, t(0.5, 1.0, 2.0), t(0.7)), 6),
    "multivariate": (lambda: td.MultivariateNormal(t(0.5, 1.0, 2.0), scale_tril=TRIANGLE), 12),
    "low rank": (lambda: td.LowRankMultivariateNormal(t(0.5, 1.0, 2.0), TRIANGLE[:, :2], t(1.0, 0.5, 2.0)), 12),
    "student": (lambda: td.StudentT(t(3.0, 4.0, 5.0), t(0.5, 1.0, 2.0), t(1.0, 2.0, 0.3)), 9),
    "mixture": (
        lambda: td.MixtureSameFamily(
            td.Categorical(t(1.0, 2.0, 3.0)), td.Independent(td.Normal(TRIANGLE, 0.5 + TRIANGLE.abs()), 1)
        ),
        21,
    ),
    "mixture of multivariate": (
        lambda: td.MixtureSameFamily(
            td.Categorical(t(1.0, 2.0)), td.MultivariateNormal(TRIANGLE[:2], scale_tril=TRIANGLE.expand(2, 3, 3))
        ),
        26,
    ),
    "transformed": (
        lambda: td.TransformedDistribution(
            td.Independent(td.Laplace(t(0.5, 1.0, 2.0), t(1.0, 2.0, 0.3)), 1),
            [transforms.AffineTransform(t(1.0), t(2.0), event_dim=1), transforms.TanhTransform()],
        ),
        6,
    ),
    "gamma": (lambda: td.Independent(td.Gamma(t(1.5, 1.0, 2.0), t(1.0, 2.0, 0.3)), 1), 6),
    "beta": (lambda: td.Independent(td.Beta(t(1.5, 1.0, 2.0), t(1.0, 2.0, 0.3)), 1), 6),
}


def learnt(name: str) -> Flow:
    return make_plain(BASES[name][0]())


def make_plain(base: td.Distribution) -> Flow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = Flow(base, bij.AffineCoupling(NET), learn_base=True)
    return flow


@pytest.mark.parametrize("name", BASES)
def test_it_starts_where_the_base_is(name: str) -> None:
    base, count = BASES[name]
    flow = learnt(name)
    assert sum(p.numel() for p in flow.base.parameters()) == count
    fixed = Flow(base(), bij.AffineCoupling(NET))
    fixed.bijector.load_state_dict(flow.bijector.state_dict())
    y = fixed.sample((6,))
    close(flow.log_prob(y), fixed.log_prob(y))
    same_draws(flow, fixed)
    assert not list(fixed.base.parameters())


@pytest.mark.parametrize("name", BASES)
def test_gradients_reach_all_of_it(name: str) -> None:
    flow = learnt(name)
    flow.log_prob(flow.sample((20,))).square().sum().backward()
    for key, p in flow.base.named_parameters():
        assert p.grad is not None and bool(p.grad.any()), key
    if flow.has_rsample and name != "beta":  # the draws of a beta depend on its concentrations by a series
        flow.zero_grad()
        flow.rsample((20,)).sin().sum().backward()
        assert all(p.grad is not None and bool(p.grad.any()) for p in flow.base.parameters())


@pytest.mark.parametrize("size", [3.0, 30.0])
@pytest.mark.parametrize("name", BASES)
def test_constraints_hold_after_big_steps(name: str, size: float) -> None:
    flow = learnt(name)
    with torch.no_grad():
        for i, p in enumerate(flow.base.parameters()):
            p.add_(size * draw(*p.shape, seed=i))

    def check(d: td.Distribution) -> None:
        for argument, constraint in type(d).arg_constraints.items():  # type: ignore[attr-defined]
            if argument in ("loc", "scale", "scale_tril", "logits", "concentration", "df", "cov_diag"):
                assert bool(constraint.check(getattr(d, argument)).all()), argument
        for part in ("base_dist", "mixture_distribution", "component_distribution"):
            if type(d).__module__.split(".")[-1] in ("independent", "mixture_same_family", "transformed_distribution"):
                if hasattr(d, part):
                    check(getattr(d, part))

    check(flow.base_dist)
    if size < 10:
        assert not flow.log_prob(flow.sample((5,))).isnan().any()


def test_maximum_likelihood_finds_the_moments_of_the_data() -> None:
    data = t(1.0, -2.0) + draw(500, 2) @ torch.tensor([[1.5, 0.6], [0.0, 0.4]], dtype=torch.float64)
    flow = Flow(td.MultivariateNormal(t(0.0, 0.0), torch.eye(2).double()), bij.AffineFixed(), learn_base=True)
    optimizer = torch.optim.LBFGS(flow.parameters(), max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-12)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = -flow.log_prob(data).mean()
        value.backward()
        return value

    optimizer.step(loss)
    close(flow.base_dist.mean.detach(), data.mean(0), 1e-5)  # as far as the optimiser goes
    close(flow.base_dist.covariance_matrix.detach(), data.T.cov(correction=0), 1e-5)


def test_training_changes_the_density_at_once() -> None:
    flow, y = learnt("normal"), draw(5, 3)
    view = flow.expand((2, 5))
    before = flow.log_prob(y).detach()
    optimizer = torch.optim.SGD(flow.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (-flow.log_prob(y).mean()).backward()
        optimizer.step()
    after = flow.log_prob(y).detach()
    assert float(after.mean()) > float(before.mean())
    close(view.log_prob(y).detach(), after.expand(2, 5))


@pytest.mark.parametrize("name", BASES)
def test_states_copies_and_pickles(name: str) -> None:
    flow = learnt(name)
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.1)
    other = learnt(name)
    other.load_state_dict(flow.state_dict())
    y = flow.sample((4,))
    for copied in (other, copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        close(copied.log_prob(y), flow.log_prob(y))
        same_draws(copied, flow)
    copied = copy.deepcopy(flow).float()
    assert copied.sample().dtype == torch.float32 and all(p.dtype == torch.float32 for p in copied.parameters())


def test_numbers_and_bases_with_a_batch_are_learnt_too() -> None:
    scalar = Flow(td.Normal(0.5, 2.0), bij.Exp(), learn_base=True)
    assert [p.shape for p in scalar.parameters()] == [(), ()]
    batch = Flow(td.Normal(draw(4, 3), 1.0), bij.AffineCoupling(NET), learn_base=True)
    assert batch.batch_shape == (4,) and sum(p.numel() for p in batch.base.parameters()) == 24
    assert batch.sample((2,)).shape == (2, 4, 3)


def test_the_transforms_of_a_base_stay_as_they_are() -> None:
    flow = learnt("transformed")
    assert {k for k, _ in flow.base.named_parameters()} == {
        f"base_distribution.base_distribution.{k}" for k in ("loc", "scale")
    }
    assert {k for k, _ in flow.base.named_buffers()} == {"transforms_0.loc", "transforms_0.scale"}


@pytest.mark.parametrize(
    "base",
    [lambda: td.Uniform(t(0.0, 1.0), t(1.0, 2.0)), lambda: td.Independent(td.Uniform(t(0.0, 1.0), t(1.0, 2.0)), 1)],
    ids=["uniform", "independent"],
)
def test_arguments_whose_constraints_depend_on_each_other_are_refused(base: Callable[[], td.Distribution]) -> None:
    with pytest.raises(BaseError, match=r"constraints of their own; got Uniform.low, whose constraint depends on oth"):
        Flow(base(), bij.AffineCoupling(), learn_base=True)
    assert Flow(base(), bij.AffineCoupling()).event_shape == (2,)


class Own(td.Normal):
    """A type that nobody registered."""


class Odd(td.Normal):
    """A type with a constraint that cannot be turned into free parameters."""

    arg_constraints = {"loc": td.constraints.symmetric, "scale": td.constraints.positive}  # noqa: RUF012


def test_types_that_are_not_registered_are_refused_with_the_remedy() -> None:
    words = r"learn_base=True is expected with a registered type of base; got Own. Register it: .*register_base\(Own"
    with pytest.raises(BaseError, match=words):
        Flow(Own(0.0, 1.0), bij.Affine(), learn_base=True)


@pytest.mark.usefixtures("_registry")
def test_constraints_that_have_no_free_form_are_refused() -> None:
    register_base(Odd, "loc", "scale")
    base = Odd(torch.eye(2), 1.0, validate_args=False)
    with pytest.raises(BaseError, match=r"Odd.loc is expected to have a constraint of its own to be learnt; got Symm"):
        Flow(base, bij.AffineCoupling(), learn_base=True)


@pytest.mark.parametrize("learn_base", [False, True])
def test_tensors_that_require_gradients_are_refused_with_the_hint(learn_base: bool) -> None:
    leaf = torch.zeros(2, requires_grad=True)
    for loc in (leaf, 2 * leaf, torch.nn.Parameter(torch.zeros(2))):
        for base in (td.Normal(loc, 1.0), td.Independent(td.Normal(loc, 1.0), 1), DiagNormal(2, loc)):
            words = r"Normal.loc is expected to be a plain tensor; got one that requires gradients.*learn_base=True"
            with pytest.raises(BaseError, match=words):
                Flow(base, bij.AffineCoupling(), learn_base=learn_base)


def test_learn_base_is_true_or_false() -> None:
    with pytest.raises(OptionTypeError, match="learn_base is expected to be True or False; got 1"):
        Flow(DiagNormal(2), bij.Affine(), learn_base=1)  # type: ignore[arg-type]


def test_make_perturbs_the_base_as_well() -> None:
    flow = make(DiagNormal(3, t(0.0, 0.0, 0.0)), bij.AffineCoupling(NET), learn_base=True)
    assert bool((flow.base_dist.mean != 0).all())
