"""``AutoFlow``: a flow as the guide of any Pyro model, with all that Pyro's own guides can do."""

from __future__ import annotations

from pathlib import Path

import pyro
import pyro.distributions as pd
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, JitTrace_ELBO, Predictive, RenyiELBO, Trace_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoDelta, AutoGuideList
from pyro.infer.importance import vectorized_importance_weights
from pyro.infer.reparam import NeuTraReparam
from torch.distributions import biject_to

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch import flows, objectives
from flowtorch.errors import NotSupportedError
from flowtorch.pyro import AutoFlow
from tests.with_pyro.models import DATA, SITES, SUPPORTS, exact, many_kinds, regression

NET = params.DenseNN((16, 16))
PLAN = bij.Compose([bij.AffineCoupling(NET), bij.Permute(), bij.LowerCholeskyAffine()])


def perturb(guide: AutoFlow) -> None:
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


# What it draws -------------------------------------------------------------------------------------------------------


def test_every_site_gets_a_value_of_its_shape_in_its_support() -> None:
    guide = AutoFlow(many_kinds, PLAN)
    found = guide(DATA)
    assert {name: tuple(value.shape) for name, value in found.items()} == SITES
    assert all(SUPPORTS[name].check(value).all() for name, value in found.items())
    assert guide.flow.event_shape == (1 + 2 + 2 + 6,)


def test_its_trace_is_the_flows_density_in_the_sites_coordinates() -> None:
    guide = AutoFlow(many_kinds, PLAN)
    guide(DATA)
    perturb(guide)
    trace = poutine.trace(guide).get_trace(DATA)
    latent = trace.nodes["_AutoFlow_latent"]["value"]
    expected, pieces = guide.flow.log_prob(latent), []
    for name in trace.nodes:
        if name in SITES:
            value = trace.nodes[name]["value"]
            transform = biject_to(SUPPORTS[name])
            x = transform.inv(value)
            pieces.append(x.flatten())
            expected = expected - transform.log_abs_det_jacobian(x, value).sum()
    torch.testing.assert_close(torch.cat(pieces), latent, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(trace.log_prob_sum(), expected, atol=1e-4, rtol=1e-4)


def test_particles_are_drawn_at_once() -> None:
    guide = AutoFlow(many_kinds, PLAN)
    guide(DATA)
    with pyro.plate("particles", 7, dim=-3):
        found = guide(DATA)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "scale": (7, 1, 1),
        "share": (7, 1, 1, 3),
        "level": (7, 1, 2),
        "rate": (7, 3, 2),
    }


def test_it_starts_where_it_is_told_to() -> None:
    start = pyro.infer.autoguide.initialization.init_to_value(values={"b": torch.tensor([1.0, 2.0, 3.0])})
    guide = AutoFlow(regression, bij.AffineCoupling(NET), init_loc_fn=start, init_scale=0.01)
    b = torch.stack([guide()["b"] for _ in range(200)])
    torch.testing.assert_close(b.mean(0), torch.tensor([1.0, 2.0, 3.0]), atol=0.01, rtol=0)
    torch.testing.assert_close(b.std(0), torch.full((3,), 0.01), atol=0.002, rtol=0)


def test_it_is_of_the_models_dtype() -> None:
    def model() -> None:
        pyro.sample("x", pd.Normal(torch.zeros(2).double(), 1.0).to_event(1))

    guide = AutoFlow(model, PLAN)
    assert guide()["x"].dtype == torch.float64
    assert all(parameter.dtype == torch.float64 for parameter in guide.parameters())


# Medians and quantiles -----------------------------------------------------------------------------------------------


def test_medians_and_quantiles_are_those_of_each_coordinate() -> None:
    guide = AutoFlow(many_kinds, PLAN, init_scale=0.5)
    guide(DATA)
    found = guide.quantiles([0.1, 0.5, 0.9], DATA)
    assert {name: tuple(value.shape) for name, value in found.items()} == {n: (3, *s) for n, s in SITES.items()}
    # At the start each unconstrained coordinate is normal about Pyro's own start, with deviation 0.5.
    normal = torch.distributions.Normal(guide._init_loc(), 0.5)
    for level, values in zip((0.1, 0.5, 0.9), zip(*found.values(), strict=True), strict=True):
        latent = torch.cat([SUPPORTED[name](v).flatten() for name, v in zip(found, values, strict=True)])
        expected = normal.icdf(torch.tensor(level))
        mask = torch.cat([torch.full((max(v[0].numel() - (n == "share"), 1),), n != "share") for n, v in found.items()])
        torch.testing.assert_close(latent[mask], expected[mask], atol=0.05, rtol=0)
    median = guide.median(DATA)
    assert {name: tuple(value.shape) for name, value in median.items()} == SITES
    torch.testing.assert_close(median["scale"], found["scale"][1], atol=0.05, rtol=0)


SUPPORTED = {name: biject_to(support).inv for name, support in SUPPORTS.items()}


def test_quantiles_agree_with_torchs() -> None:
    guide = AutoFlow(regression, PLAN, draws=501)
    guide()
    torch.manual_seed(1)
    found = guide.quantiles(torch.tensor([0.0, 0.333, 1.0]))["b"]
    torch.manual_seed(1)
    draws = guide.get_posterior().sample((501,))
    torch.testing.assert_close(found, draws.quantile(torch.tensor([0.0, 0.333, 1.0]), 0))


def test_before_it_is_called_there_is_no_flow() -> None:
    with pytest.raises(NotSupportedError, match="called once"):
        AutoFlow(regression, PLAN).median()


# Training ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "elbo",
    [
        Trace_ELBO(16, vectorize_particles=True),
        Trace_ELBO(2),
        TraceMeanField_ELBO(16, vectorize_particles=True),
        TraceGraph_ELBO(2),
        RenyiELBO(0.5, num_particles=16, vectorize_particles=True),
        JitTrace_ELBO(ignore_jit_warnings=True),
    ],
    ids=lambda elbo: type(elbo).__name__,
)
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning", "ignore:.torch.jit:FutureWarning")
def test_it_trains_by_every_bound_of_pyros(elbo: pyro.infer.elbo.ELBO) -> None:
    guide = AutoFlow(regression, PLAN)
    svi = SVI(regression, guide, pyro.optim.Adam({"lr": 0.01}), elbo)
    guide()
    before = [parameter.detach().clone() for parameter in guide.parameters()]
    for _ in range(3):
        assert svi.step() > 0
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(before, guide.parameters(), strict=True))


def test_it_finds_an_exact_posterior_and_its_evidence() -> None:
    guide = AutoFlow(regression, bij.LowerCholeskyAffine())
    schedule = {"optimizer": torch.optim.Adam, "optim_args": {"lr": 0.1}, "T_max": 200}
    optimizer = pyro.optim.CosineAnnealingLR(schedule)
    svi = SVI(regression, guide, optimizer, Trace_ELBO(4, vectorize_particles=True))
    for _ in range(200):
        svi.step()
        optimizer.step()
    mean, covariance, evidence = exact()
    # It contains the posterior, and the path derivative has no noise there.
    torch.testing.assert_close(guide.flow.bijector.forward(torch.zeros(3)), mean, atol=5e-3, rtol=0)
    jacobian = torch.func.jacrev(guide.flow.bijector)(torch.zeros(3))
    torch.testing.assert_close(jacobian @ jacobian.mT, covariance, atol=5e-3, rtol=0)
    assert abs(svi.evaluate_loss() + evidence.item()) < 5e-3


def test_importance_weights_and_predictions_are_as_of_pyros_guides() -> None:
    guide = AutoFlow(regression, PLAN, laplace=True)
    guide()
    mean, covariance, evidence = exact()
    log_weights, _, _ = vectorized_importance_weights(regression, guide, num_samples=500, max_plate_nesting=0)
    # Laplace's approximation is exact here.
    torch.testing.assert_close(log_weights, evidence.expand(500), atol=1e-3, rtol=0)
    drawn = Predictive(regression, guide=guide, num_samples=4_000, parallel=True, return_sites=("b",))()["b"]
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.mT.cov(), covariance, atol=0.05, rtol=0)


def test_it_is_a_part_of_a_list_of_guides() -> None:
    guide = AutoGuideList(many_kinds)
    guide.append(AutoDelta(poutine.block(many_kinds, expose=["rate"])))
    guide.append(AutoFlow(poutine.block(many_kinds, hide=["rate", "data"]), PLAN))
    svi = SVI(many_kinds, guide, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO())
    svi.step(DATA)
    assert set(guide(DATA)) == set(SITES) == set(guide.median(DATA))
    flow = guide[1].flow
    assert {f"AutoGuideList.1._flow$$${n}" for n, _ in flow.named_parameters()} < set(pyro.get_param_store())


def test_neural_transport_has_the_same_posterior_in_other_coordinates() -> None:
    guide = AutoFlow(regression, PLAN)
    guide()
    perturb(guide)
    neutra = NeuTraReparam(guide.requires_grad_(False))
    trace = poutine.trace(neutra.reparam(regression)).get_trace()
    latent = trace.nodes["b_shared_latent"]["value"]
    x, log_det = guide.flow.bijector.forward_and_log_det(latent)
    torch.testing.assert_close(trace.log_prob_sum(), guide.log_density()(x) + log_det, atol=1e-4, rtol=1e-4)


# The param store -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [PLAN, flows.maf(layers=2)], ids=["coupling", "autoregressive"])
def test_a_param_store_that_is_loaded_restores_it(plan: bij.Bijector, tmp_path: Path) -> None:
    guide = AutoFlow(regression, plan)
    guide()
    perturb(guide)
    x = torch.randn(5, 3)
    expected, store = guide.flow.log_prob(x), pyro.get_param_store()
    store.save(str(tmp_path / "store"))
    store.clear()
    store.load(str(tmp_path / "store"))
    torch.manual_seed(5)
    again = AutoFlow(regression, plan)
    again()
    torch.testing.assert_close(again.flow.log_prob(x), expected)
    svi = SVI(regression, again, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO())
    svi.step()
    assert not torch.allclose(again.flow.log_prob(x), expected)
    # Another time, while it is there: what is loaded last holds.
    store.load(str(tmp_path / "store"))
    again.median()
    torch.testing.assert_close(again.flow.log_prob(x), expected)


def test_its_parameters_are_its_own_when_pyro_is_told_so() -> None:
    with pyro.settings.context(module_local_params=True):
        guide = AutoFlow(regression, PLAN)
        elbo = Trace_ELBO()(regression, guide)
        elbo().backward()
        assert not pyro.get_param_store()
        assert all(parameter.grad is not None for parameter in guide.parameters())


def test_its_state_can_be_loaded_into_another() -> None:
    guide, other, x = AutoFlow(regression, PLAN), AutoFlow(regression, PLAN), torch.randn(5, 3)
    guide()
    perturb(guide)
    pyro.clear_param_store()
    other()
    other.load_state_dict(guide.state_dict())
    torch.testing.assert_close(other.flow.log_prob(x), guide.flow.log_prob(x))


# The model's density -------------------------------------------------------------------------------------------------


def test_the_models_density_is_that_of_its_trace() -> None:
    guide = AutoFlow(many_kinds, PLAN)
    guide(DATA)
    trace = poutine.trace(guide).get_trace(DATA)
    latent = trace.nodes["_AutoFlow_latent"]["value"]
    model = poutine.trace(poutine.replay(many_kinds, trace=trace)).get_trace(DATA)
    expected = model.log_prob_sum() - trace.log_prob_sum() + guide.flow.log_prob(latent)
    log_density = guide.log_density(DATA)
    torch.testing.assert_close(log_density(latent), expected, atol=1e-4, rtol=1e-5)
    many = torch.randn(2, 5, 11)
    rows = torch.stack([log_density(x) for x in many.flatten(0, 1)]).reshape(2, 5)
    torch.testing.assert_close(log_density(many), rows, atol=1e-4, rtol=1e-5)


def test_objectives_take_it() -> None:
    guide = AutoFlow(regression, PLAN, laplace=True)
    guide()
    found = objectives.importance_estimate(guide.flow, guide.log_density(), 1_000)
    assert abs(found.log_z.item() - exact()[2].item()) < 1e-3
    objectives.renyi(guide.flow, guide.log_density(), 8).backward()


def test_laplace_starts_at_the_mode_with_its_curvature() -> None:
    guide = AutoFlow(regression, bij.AffineCoupling(NET), laplace=True)
    with torch.no_grad():  # as Predictive does
        guide()
    mean, covariance, _ = exact()
    torch.testing.assert_close(guide.flow.bijector.forward(torch.zeros(3)), mean, atol=1e-4, rtol=0)
    jacobian = torch.func.jacrev(guide.flow.bijector)(torch.zeros(3))
    torch.testing.assert_close(jacobian @ jacobian.mT, covariance, atol=1e-4, rtol=0)


# Losses of one's own -------------------------------------------------------------------------------------------------


def test_a_loss_is_made_of_traces() -> None:
    guide = AutoFlow(regression, PLAN, laplace=True)
    guide()

    def loss(model: object, guide: AutoFlow, *args: object) -> torch.Tensor:
        """The importance-weighted bound of 8 draws, by hand."""
        log_weights = []
        for _ in range(8):
            drawn = poutine.trace(guide).get_trace(*args)
            scored = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(*args)
            log_weights.append(scored.log_prob_sum() - drawn.log_prob_sum())
        return torch.tensor(8.0).log() - torch.stack(log_weights).logsumexp(0)

    svi = SVI(regression, guide, pyro.optim.Adam({"lr": 1e-3}), loss=loss)
    assert svi.step() == pytest.approx(-exact()[2].item(), abs=1e-3)
    before = [parameter.detach().clone() for parameter in guide.parameters()]
    svi.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, guide.parameters(), strict=True))


def test_a_torch_optimiser_trains_it_on_a_differentiable_loss() -> None:
    guide = AutoFlow(regression, PLAN)
    guide()
    optimizer = torch.optim.Adam(guide.parameters(), 0.05)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = Trace_ELBO(8, vectorize_particles=True).differentiable_loss(regression, guide)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5
