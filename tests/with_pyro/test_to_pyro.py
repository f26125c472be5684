"""``to_pyro``: a flow is a distribution of Pyro's, in models and in guides."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pyro
import pyro.distributions as pd
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.pyro import PyroDistribution, to_pyro

NET, MADE = params.DenseNN((8, 8)), params.MADE((8, 8), permutation=(1, 0))


def flow(context: int | None = None, plan: bij.Bijector | None = None) -> dist.Flow:
    """A flow away from the identity."""
    plan = plan or bij.Compose([bij.AffineCoupling(NET), bij.Permute((1, 0)), bij.AffineAutoregressive(MADE)])
    made = dist.Flow(dist.DiagNormal(2), plan, context_shape=context)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


def count_passes(of: dist.Flow, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts the calls of both directions of a flow's bijector."""
    counts = {"forward": 0, "inverse": 0}
    for direction in counts:
        real = getattr(of.bijector, f"_{direction}_and_log_det")

        def counted(*args: object, real: Callable[..., object] = real, direction: str = direction) -> object:
            counts[direction] += 1
            return real(*args)

        monkeypatch.setattr(of.bijector, f"_{direction}_and_log_det", counted)
    return counts


def test_a_flow_alone_is_refused_by_pyro() -> None:
    with pytest.raises(TypeError):
        pyro.sample("x", flow())


def test_a_draw_is_the_flows_and_has_its_density() -> None:
    of = flow()
    trace = poutine.trace(lambda: pyro.sample("x", to_pyro(of))).get_trace()
    torch.testing.assert_close(trace.log_prob_sum(), of.log_prob(trace.nodes["x"]["value"]))
    torch.manual_seed(3)
    x = to_pyro(of)((4,))
    torch.manual_seed(3)
    torch.testing.assert_close(x, of.rsample((4,)))
    assert to_pyro(of).batch_shape == of.batch_shape and to_pyro(of).event_shape == of.event_shape
    assert to_pyro(of).shape((4,)) == (4, 2)
    assert to_pyro(of).support.event_dim == 1


def test_what_is_pyros_already_is_taken() -> None:
    of = flow()
    again = to_pyro(to_pyro(of))
    assert again.law is of


@pytest.mark.parametrize("obs", [None, torch.randn(3, 4, 2)], ids=["drawn", "observed"])
def test_plates_draw_and_score_each_row_on_its_own(obs: torch.Tensor | None) -> None:
    of = flow()

    def model() -> None:
        with pyro.plate("rows", 3, dim=-2), pyro.plate("columns", 4, dim=-1):
            pyro.sample("x", to_pyro(of), obs=obs)

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    site = trace.nodes["x"]
    x = site["value"]
    assert x.shape == (3, 4, 2) and site["log_prob"].shape == (3, 4)
    assert len(x.reshape(12, 2).unique(dim=0)) == 12
    torch.testing.assert_close(site["log_prob"], of.log_prob(x))


def test_a_subsampled_plate_scales_the_density() -> None:
    of, x = flow(), torch.randn(10, 2)

    def model() -> None:
        with pyro.plate("rows", 10, subsample_size=5) as rows:
            pyro.sample("x", to_pyro(of), obs=x[rows])

    trace = poutine.trace(model).get_trace()
    torch.testing.assert_close(trace.log_prob_sum(), 2 * of.log_prob(trace.nodes["x"]["value"]).sum())


def test_a_conditioned_flow_has_a_distribution_for_each_context() -> None:
    of, context = flow(3), torch.randn(4, 3)

    def model() -> torch.Tensor:
        with pyro.plate("particles", 6, dim=-2), pyro.plate("rows", 4):
            return pyro.sample("x", to_pyro(of.condition(context)))

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    x = trace.nodes["x"]["value"]
    assert x.shape == (6, 4, 2)
    torch.testing.assert_close(trace.nodes["x"]["log_prob"], of.log_prob(x, context))


def test_a_flow_can_be_a_prior_at_which_pyro_conditions() -> None:
    of, x = flow(), torch.tensor([0.3, -0.2])

    def model() -> torch.Tensor:
        z = pyro.sample("z", to_pyro(of))
        return pyro.sample("y", pd.Normal(z, 0.5).to_event(1))

    trace = poutine.trace(poutine.condition(model, data={"z": x, "y": x + 1})).get_trace()
    expected = of.log_prob(x) + torch.distributions.Normal(x, 0.5).log_prob(x + 1).sum()
    torch.testing.assert_close(trace.log_prob_sum(), expected)


def test_wrappers_of_pyros_take_it() -> None:
    of, x = flow(), torch.randn(5, 2)
    torch.testing.assert_close(to_pyro(of).expand([5]).to_event(1).log_prob(x), of.log_prob(x).sum())
    mask = torch.tensor([True, False, True, True, False])
    torch.testing.assert_close(to_pyro(of).expand([5]).mask(mask).log_prob(x), of.log_prob(x) * mask)
    torch.testing.assert_close(to_pyro(of).expand_by([5]).log_prob(x[0]), of.log_prob(x[0]).expand(5))
    with poutine.scale(scale=3.0):
        trace = poutine.trace(lambda: pyro.sample("x", to_pyro(of), obs=x[0])).get_trace()
    torch.testing.assert_close(trace.log_prob_sum(), 3 * of.log_prob(x[0]))


OTHERS: dict[str, Callable[[], torch.distributions.Distribution]] = {
    "a flow stopped half-way": lambda: flow()[:1],
    "a base": lambda: dist.DiagNormal(2),
    "a mixture of flows": lambda: dist.MixtureOfFlows([flow(), flow()]),
    "a truncated base": lambda: dist.Truncated(dist.DiagNormal(2), low=-1.0, high=1.0),
    "a target": dist.TwoMoons,
    "torch's own": lambda: torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_distributions_are_taken_as_well(name: str) -> None:
    law = OTHERS[name]()

    def model() -> None:
        with pyro.plate("rows", 5):
            pyro.sample("x", to_pyro(law))

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    x = trace.nodes["x"]["value"]
    assert x.shape == (5, 2)
    torch.testing.assert_close(trace.nodes["x"]["log_prob"], law.log_prob(x))


def test_means_and_quantiles_come_from_the_distribution() -> None:
    base = dist.DiagNormal(2, loc=torch.tensor([1.0, 2.0]))
    assert to_pyro(base).mean.tolist() == [1.0, 2.0] and to_pyro(base).variance.tolist() == [1.0, 1.0]
    one = dist.Flow(torch.distributions.Normal(0.0, 1.0), bij.AffineFixed(1.0, 2.0))
    half = torch.tensor(0.5)
    assert to_pyro(one).icdf(half).item() == pytest.approx(1.0)
    assert to_pyro(one).cdf(torch.tensor(1.0)).item() == pytest.approx(0.5)


def test_bounded_flows_say_where_they_live() -> None:
    made = to_pyro(flow(plan=bij.Compose([bij.AffineCoupling(NET), bij.Exp()])))
    assert made.support.check(torch.tensor([[1.0, 2.0], [1.0, -2.0]])).tolist() == [True, False]
    x = torch.distributions.biject_to(made.support)(torch.randn(3, 2))
    assert made.log_prob(x).isfinite().all()


# A draw and its density take one pass --------------------------------------------------------------------------------


def test_a_guide_takes_one_pass_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    of = flow()
    counts = count_passes(of, monkeypatch)
    poutine.trace(lambda: pyro.sample("x", to_pyro(of))).get_trace().compute_log_prob()
    assert counts == {"forward": 1, "inverse": 0}


def test_the_densitys_gradients_are_those_of_a_density_anew() -> None:
    of = flow()
    made = to_pyro(of)
    torch.manual_seed(0)
    x = made()
    kept = torch.autograd.grad(made.log_prob(x) + x.sum(), list(of.parameters()))
    torch.manual_seed(0)
    x = of.rsample()
    for a, b in zip(kept, torch.autograd.grad(of.log_prob(x) + x.sum(), list(of.parameters())), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def change_a_parameter(of: dist.Flow, x: torch.Tensor) -> None:
    with torch.no_grad():
        next(of.parameters()).add_(1.0)


def replace_a_parameter(of: dist.Flow, x: torch.Tensor) -> None:
    name, _ = next(iter(of.named_parameters()))
    owner = of.get_submodule(name.rpartition(".")[0])
    getattr(owner, name.rpartition(".")[0], owner)._parameters[name.rpartition(".")[2]] = torch.nn.Parameter(
        next(of.parameters()).detach() + 1.0
    )


def change_the_draw(of: dist.Flow, x: torch.Tensor) -> None:
    with torch.no_grad():
        x.add_(1.0)


@pytest.mark.parametrize("change", [change_a_parameter, replace_a_parameter, change_the_draw])
def test_nothing_stale_is_kept(change: Callable[[dist.Flow, torch.Tensor], None]) -> None:
    of = flow()
    made = to_pyro(of)
    x = made()
    before = of.log_prob(x).item()
    change(of, x)
    now = of.log_prob(x).item()
    assert made.log_prob(x).item() == pytest.approx(now, abs=1e-5) and now != pytest.approx(before, abs=1e-3)


def test_a_draw_without_gradients_has_a_density_with_them() -> None:
    of = flow()
    made = to_pyro(of)
    with torch.no_grad():
        x = made()
    assert made.log_prob(x).requires_grad
    with torch.inference_mode():
        assert not made.log_prob(made()).requires_grad


def test_training_twice_on_one_draw_takes_a_graph_of_its_own() -> None:
    made = to_pyro(flow())
    x = made.sample((5,))
    for _ in range(2):
        made.log_prob(x).sum().backward()
    y = made.rsample((5,))
    made.log_prob(y).sum().backward(retain_graph=True)
    made.log_prob(y).sum().backward()


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_it_is_copied_and_pickled_after_a_draw(how: Callable[[PyroDistribution], PyroDistribution]) -> None:
    made = to_pyro(flow(3).condition(torch.randn(4, 3)))
    x = made()
    torch.testing.assert_close(how(made).log_prob(x.detach()), made.log_prob(x))


def test_draws_can_be_taken_without_reparameterisation() -> None:
    made = to_pyro(flow()).has_rsample_(False)
    with pyro.plate("rows", 3):
        trace = poutine.trace(lambda: pyro.sample("x", made)).get_trace()
    assert not trace.nodes["x"]["value"].requires_grad
    parts = made.score_parts(made())
    assert parts.entropy_term == 0 and parts.score_function.requires_grad


# The param store -----------------------------------------------------------------------------------------------------


def by_name(of: dist.Flow) -> Callable[[], object]:
    return lambda: pyro.sample("x", to_pyro(of, name="q"))


def by_module(of: dist.Flow) -> Callable[[], object]:
    def guide() -> object:
        pyro.module("q", of)
        return pyro.sample("x", to_pyro(of))

    return guide


def as_an_attribute(of: dist.Flow) -> Callable[[], object]:
    class Guide(pyro.nn.PyroModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__("q")
            self.law = of

        def forward(self) -> object:
            return pyro.sample("x", to_pyro(self.law))

    made: Callable[[], object] = Guide()
    return made


def target() -> object:
    return pyro.sample("x", pd.Normal(torch.tensor([1.0, -1.0]), 0.5).to_event(1))


@pytest.mark.parametrize("how", [by_name, by_module, as_an_attribute])
def test_svi_trains_what_is_registered(how: Callable[[dist.Flow], Callable[[], object]]) -> None:
    of = dist.Flow(dist.DiagNormal(2), bij.AffineAutoregressive(MADE))
    svi = SVI(target, how(of), pyro.optim.Adam({"lr": 0.05}), Trace_ELBO(64, vectorize_particles=True))
    losses = [svi.step() for _ in range(150)]
    store = pyro.get_param_store()
    assert {name.partition("$$$")[2] for name in store} == {name for name, _ in of.named_parameters()}
    assert losses[0] > 1 and sum(losses[-20:]) / 20 < 0.02  # a divergence from a normalised target
    x = of.sample((10_000,))
    torch.testing.assert_close(x.mean(0), torch.tensor([1.0, -1.0]), atol=0.2, rtol=0)


def test_a_store_that_is_loaded_is_taken_over(tmp_path: object) -> None:
    of, x = flow(), torch.randn(5, 2)
    store = pyro.get_param_store()
    to_pyro(of, name="q")
    expected = of.log_prob(x)
    store.save(f"{tmp_path}/store")
    store.clear()
    store.load(f"{tmp_path}/store")
    other = flow()
    assert not torch.allclose(other.log_prob(x), expected)
    torch.testing.assert_close(to_pyro(other.expand((5,)), name="q").log_prob(x), expected)
    assert all(store[f"q$$${name}"] is parameter for name, parameter in other.named_parameters())


def test_every_parameter_of_a_flow_is_registered_itself() -> None:
    # Pyro copies what is not contiguous, and would train the copy.
    of = dist.Flow(dist.DiagNormal(2), bij.Compose([bij.SplineAutoregressive(), bij.LU(), bij.Sylvester()]))
    to_pyro(of, name="q")
    store = pyro.get_param_store()
    assert all(store[f"q$$${name}"] is parameter for name, parameter in of.named_parameters())


# Wider ---------------------------------------------------------------------------------------------------------------


def test_a_guide_that_depends_on_the_data_reaches_every_rows_posterior() -> None:
    # z ~ N(0, 1), x ~ N(z, 1): z given x is N(x / 2, 1 / 2).
    data = torch.linspace(-2, 2, 21)[:, None]
    of = dist.Flow(dist.DiagNormal(1), bij.Affine(), context_shape=1)

    def model() -> None:
        with pyro.plate("rows", 21):
            z = pyro.sample("z", pd.Normal(0.0, 1.0).expand([1]).to_event(1))
            pyro.sample("x", pd.Normal(z, 1.0).to_event(1), obs=data)

    def guide() -> None:
        with pyro.plate("rows", 21):
            pyro.sample("z", to_pyro(of.condition(data), name="q", path_derivative=True))

    adam = pyro.optim.Adam({"lr": 5e-3})
    svi = SVI(model, guide, adam, Trace_ELBO(16, vectorize_particles=True))
    for _ in range(300):
        loss = svi.step()
    exact = -torch.distributions.Normal(0.0, 2**0.5).log_prob(data).sum().item()
    assert abs(loss - exact) < 0.1
    z = of.condition(data).sample((4_000,))
    torch.testing.assert_close(z.mean(0), data / 2, atol=0.1, rtol=0)
    torch.testing.assert_close(z.std(0), torch.full((21, 1), 0.5**0.5), atol=0.06, rtol=0)


def test_the_path_derivative_has_no_noise_at_the_optimum() -> None:
    of = dist.Flow(dist.DiagNormal(2), bij.AffineFixed(0.0, 1.0), learn_base=True)

    def gradients(path: bool) -> torch.Tensor:
        of.zero_grad()
        guide = poutine.trace(lambda: pyro.sample("x", to_pyro(of, name="q", path_derivative=path)))
        model = lambda: pyro.sample("x", pd.Normal(torch.zeros(2), 1.0).to_event(1))  # noqa: E731
        Trace_ELBO().differentiable_loss(model, guide).backward()
        return torch.cat([p.grad.flatten() for p in of.parameters() if p.grad is not None])

    assert gradients(True).abs().max() < 1e-6 < 1e-2 < gradients(False).abs().max()


def test_nuts_runs_with_a_flow_as_the_prior() -> None:
    of = flow(plan=bij.Compose([bij.AffineCoupling(NET), bij.Exp()])).requires_grad_(False)

    def model() -> None:
        z = pyro.sample("z", to_pyro(of))
        pyro.sample("x", pd.Normal(z.log(), 0.3).to_event(1), obs=torch.tensor([0.5, -0.5]))

    mcmc = pyro.infer.MCMC(pyro.infer.NUTS(model), num_samples=30, warmup_steps=30, disable_progbar=True)
    mcmc.run()
    z = mcmc.get_samples()["z"]
    assert z.shape == (30, 2) and (z > 0).all() and (z.log().mean(0) - torch.tensor([0.5, -0.5])).abs().max() < 0.4


def test_it_says_what_it_is() -> None:
    assert repr(to_pyro(flow())) == "PyroDistribution(Flow)"
    assert repr(to_pyro(flow(3).condition(torch.zeros(4, 3)))).startswith("PyroDistribution(FlowView(Compose")
