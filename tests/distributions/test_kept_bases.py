"""Bases of types that nobody registered: kept, with a warning that says what to do; and registering them."""

from __future__ import annotations

import copy
import math
import pickle
import warnings

import pytest
import torch
from torch import distributions as td
from torch.distributions import constraints, transforms

import flowtorch.bijectors as bij
from flowtorch.distributions import ConditionalNormal, DiagNormal, Flow, register_base
from flowtorch.errors import BaseError, OptionTypeError
from tests.distributions.helpers import NET, close, draw, same_draws


class Logistic(td.Distribution):
    """A distribution of the user's own."""

    arg_constraints = {"centre": constraints.real, "width": constraints.positive}  # noqa: RUF012
    support = constraints.real
    has_rsample = True

    def __init__(self, centre: torch.Tensor, width: torch.Tensor, validate_args: bool | None = None) -> None:
        self.centre, self.spread = torch.broadcast_tensors(centre, width)
        super().__init__(self.centre.shape, torch.Size(), validate_args=validate_args)

    @property
    def width(self) -> torch.Tensor:
        return self.spread

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> Logistic:
        return Logistic(self.centre.expand(batch_shape), self.spread.expand(batch_shape), validate_args=False)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> torch.Tensor:  # noqa: B008
        u = torch.rand(self._extended_shape(sample_shape), dtype=self.centre.dtype)
        return self.centre + self.spread * (u.log() - (-u).log1p())

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        if self._validate_args:
            self._validate_sample(value)
        z = (value - self.centre) / self.spread
        return -z - 2 * torch.nn.functional.softplus(-z) - self.spread.log()


class OwnGamma(td.Gamma):
    """A subclass of a registered type is not registered."""


def t(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def logistic() -> Logistic:
    return Logistic(t(0.5, -1.0, 2.0), t(1.0, 2.0, 0.5))


def kept(base: td.Distribution, plan: bij.Bijector | None = None) -> Flow:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Flow(base, plan or bij.AffineCoupling(NET)).double()


REGISTRATION = r"Register it with flowtorch.distributions.register_base\(Logistic, \*names of its constructor's argum"


def test_the_warning_names_the_type_and_the_registration_and_points_to_the_callers_line() -> None:
    for base in (
        Logistic(t(0.5), t(1.0)),
        td.Independent(logistic(), 1),
        td.Independent(
            td.MixtureSameFamily(td.Categorical(torch.ones(3, 3)), Logistic(t(0.5).expand(3, 3), t(1.0))), 1
        ),
    ):
        with pytest.warns(
            UserWarning, match=r"the base's Logistic is not of a registered type.*" + REGISTRATION
        ) as got:
            Flow(base, bij.AffineCoupling() if base.event_shape or base.batch_shape[0] > 1 else bij.Reverse())
        assert len(got) == 1 and got[0].filename == __file__


def test_it_is_used_as_it_is() -> None:
    base = td.Independent(logistic(), 1)
    flow = kept(base)
    y = flow.sample((5,))
    x, log_det = flow.bijector.inverse_and_log_det(y)
    close(flow.log_prob(y), base.log_prob(x) + log_det)
    assert flow.has_rsample and flow.rsample((2,)).requires_grad
    assert flow.expand((4,)).sample((2,)).shape == (2, 4, 3)
    assert [k for k in flow.state_dict() if k.startswith("base")] == []
    for other in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        close(other.log_prob(y), flow.log_prob(y))
        same_draws(other, flow)


@pytest.mark.filterwarnings("ignore:Flow. the base's:UserWarning")
def test_the_flow_takes_its_dtype() -> None:
    flow = Flow(Logistic(t(0.5)[0], t(1.0)[0]), bij.Spline())
    assert all(p.dtype == torch.float64 for p in flow.parameters())


def test_its_gradients_are_its_owners() -> None:
    centre = t(0.5, -1.0, 2.0).requires_grad_()
    flow = kept(Logistic(centre, t(1.0)))
    flow.log_prob(draw(3)).sum().backward()
    assert centre.grad is not None and bool(centre.grad.any())


def test_outside_and_nan_are_as_with_any_base_and_the_users_object_keeps_its_validation() -> None:
    base = OwnGamma(t(2.0)[0], t(1.0)[0], validate_args=True)
    flow = kept(base, bij.AffineFixed(loc=1.0))
    close(flow.log_prob(t(math.nan, 0.5, 2.0)), t(math.nan, -math.inf, -1.0))
    assert base._validate_args
    inside = kept(td.Independent(OwnGamma(t(2.0, 2.0), t(1.0, 1.0), validate_args=True), 1))
    assert inside.log_prob(t(math.nan, 1.0)).isnan()


def test_transforms_that_hold_tensors_or_modules_are_told_of_as_well() -> None:
    class Scaled(transforms.AffineTransform):
        """A transform that nobody registered."""

    normal = td.Normal(torch.zeros(2), 1.0)
    bound = bij.AffineCoupling(NET).bind((2,))
    for transform, name in (
        (Scaled(torch.zeros(2), 2.0), "Scaled"),
        (transforms.CatTransform([transforms.AffineTransform(torch.zeros(1), 2.0)], dim=-1), "CatTransform"),
        (bound.inv, "TransformView"),
    ):
        with pytest.warns(UserWarning, match=f"the base's {name} is not of a registered type"):
            Flow(td.TransformedDistribution(normal, [transform]), bij.AffineCoupling())


def test_transforms_without_tensors_and_bound_bijectors_need_no_registration() -> None:
    bound = bij.AffineCoupling(NET).bind((2,)).double()
    base = td.TransformedDistribution(td.Normal(t(0.0, 1.0), t(1.0)), [transforms.SoftplusTransform(), bound])
    flow = Flow(base, bij.AffineCoupling(NET))
    y = flow.sample((4,))
    close(flow.log_prob(y), base.log_prob(flow.normalize(y)) + flow.bijector.inverse_and_log_det(y)[1])
    assert {id(p) for p in bound.parameters()} <= {id(p) for p in flow.parameters()}


@pytest.mark.usefixtures("_registry")
def test_a_registered_type_is_carried_and_learnt() -> None:
    register_base(Logistic, "centre", width="spread")
    base = logistic()
    flow = Flow(base, bij.AffineCoupling(NET))
    assert set(flow.base.state_dict()) == {"base_distribution.centre", "base_distribution.width"}
    y = flow.sample((5,))
    other = Flow(Logistic(t(0.0, 0.0, 0.0), t(1.0)), bij.AffineCoupling(NET))
    other.load_state_dict(flow.state_dict())
    close(other.log_prob(y), flow.log_prob(y))
    assert flow.float().sample().dtype == torch.float32
    learnt = Flow(base, bij.AffineCoupling(NET), learn_base=True)
    learnt.log_prob(y).sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in learnt.base.parameters())
    with torch.no_grad():
        for p in learnt.base.parameters():
            p.sub_(40.0)
    assert bool((learnt.base_dist.base_dist.spread > 0).all())  # type: ignore[attr-defined]


@pytest.mark.usefixtures("_registry")
def test_a_registered_subclass_is_rebuilt_as_itself() -> None:
    register_base(OwnGamma, "concentration", "rate")
    flow = Flow(td.Independent(OwnGamma(t(2.0, 3.0), t(1.0)), 1), bij.Power())
    assert type(flow.base_dist.base_dist) is OwnGamma  # type: ignore[attr-defined]


def test_only_distributions_and_transforms_can_be_registered() -> None:
    for bad in (torch.nn.Linear, int, "Normal", td.Normal(0.0, 1.0)):
        with pytest.raises(BaseError, match="register_base: a class of distributions or transforms is expected; got"):
            register_base(bad, "loc")  # type: ignore[arg-type]


def test_what_is_no_base_is_refused() -> None:
    plan = bij.Affine()
    with pytest.raises(OptionTypeError, match="a base distribution is expected; got the class Normal"):
        Flow(td.Normal, plan)  # type: ignore[arg-type]
    with pytest.raises(OptionTypeError, match="a base distribution is expected; got the class ConditionalNormal"):
        Flow(ConditionalNormal, plan)  # type: ignore[arg-type]
    for bad in (torch.zeros(2), None, torch.nn.Linear(2, 2), transforms.ExpTransform(), plan):
        with pytest.raises(OptionTypeError, match="a torch.distributions.Distribution is expected as base; got"):
            Flow(bad, plan)  # type: ignore[arg-type]
    assert Flow(DiagNormal(2), plan).event_shape == (2,)
