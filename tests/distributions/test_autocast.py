"""Under ``torch.autocast`` the networks run in bfloat16, and everything after them in float32."""

from __future__ import annotations

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.testing import perturb
from tests.maps import LEARNABLE

MADE, NET = params.MADE((32, 32)), params.DenseNN((32, 32))


def make(plan: bij.Bijector, size: int = 4, context: int | None = None) -> dist.Flow:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        flow = dist.Flow(dist.DiagNormal(size), plan, context_shape=None if context is None else (context,))
    perturb(flow, torch.Generator().manual_seed(0))
    return flow


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def autocast() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize("name", LEARNABLE)
@pytest.mark.parametrize("family", [bij.Autoregressive, bij.Coupling])
def test_results_and_gradients_are_of_float32_and_close(name: str, family: type[bij.Autoregressive]) -> None:
    plan = LEARNABLE[name]
    kwargs = {"untouched": bij.Sigmoid()} if name == "temperature sigmoid" and family is bij.Coupling else {}
    bound = family(plan, MADE if family is bij.Autoregressive else NET, **kwargs).bind((4,))  # type: ignore[arg-type]
    perturb(bound, torch.Generator().manual_seed(0), scale=0.2)
    x = 0.3 * draw(64, 4)
    expected = bound.forward_and_log_det(x)
    with autocast():
        got = bound.forward_and_log_det(x)
        back, _ = bound.inverse_and_log_det(got[0])
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == torch.float32
        assert (a - b).abs().mean() < 0.03 * (1.0 + b.abs().mean())
    (got[0].sum() + got[1].sum()).backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in bound.parameters())
    # The networks see the same numbers in both directions of a coupling; step by step, sums are rounded otherwise.
    assert (back - x).abs().max() < (1e-4 if family is bij.Coupling else 0.3)


def test_networks_do_run_in_bfloat16() -> None:
    flow, seen = make(bij.AffineCoupling(NET)), []
    for module in flow.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with autocast():
        flow.log_prob(draw(8, 4))
    assert len(seen) > 1 and set(seen) == {torch.bfloat16}


@pytest.mark.parametrize("context", [None, 2])
def test_flows_score_and_sample_in_float32(context: int | None) -> None:
    flow = make(bij.Compose([bij.SplineCoupling(NET), bij.Invert(bij.AffineAutoregressive(MADE))]), context=context)
    x, given = draw(32, 4), None if context is None else draw(32, context, seed=1)
    with autocast():
        scores, (y, log_prob) = flow.log_prob(x, given), flow.rsample_and_log_prob((), given)
        again = flow.log_prob(y, given)
    assert scores.dtype == y.dtype == log_prob.dtype == torch.float32
    torch.testing.assert_close(scores, flow.log_prob(x, given), rtol=0.05, atol=0.2)
    torch.testing.assert_close(again, log_prob, rtol=0.05, atol=0.2)


def test_a_conditional_base_is_of_float32() -> None:
    base = dist.ConditionalNormal(3, 2)
    with autocast():
        normal = base.condition(draw(5, 2))
    assert normal.mean.dtype == normal.stddev.dtype == torch.float32


def test_training_under_autocast_and_compilation() -> None:
    flow = make(bij.SplineCoupling(NET))
    compiled = torch.compile(flow, fullgraph=True, backend="eager")
    with autocast():
        torch.testing.assert_close(compiled(draw(8, 4)), flow(draw(8, 4)), rtol=0.02, atol=0.1)
