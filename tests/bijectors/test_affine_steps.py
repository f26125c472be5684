"""The inverse of an affine autoregressive map as one operator: the numbers of its steps, one after the other."""

from __future__ import annotations

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.nn.fused_steps import FusedSteps
from flowtorch.testing import perturb
from tests.ops.fused_cases import needs_kernels

pytestmark = needs_kernels
GRAPH = [[False] * 3, [True, False, False], [False] * 3]
# A plan, an event, a context, and whether the operator knows it.
CASES: dict[str, tuple[bij.Bijector, tuple[int, ...], tuple[int, ...] | None, bool]] = {
    "softplus": (bij.AffineAutoregressive(params.MADE((9, 7))), (5,), None, True),
    "exp": (bij.AffineAutoregressive(params.MADE((9,)), scale_fn="exp"), (5,), None, True),
    "sigmoid": (bij.AffineAutoregressive(params.MADE((9,)), scale_fn="sigmoid", sigmoid_bias=1.3), (5,), None, True),
    "gated": (bij.AffineAutoregressive(params.MADE((9,)), scale_fn="sigmoid", gated=True), (5,), None, True),
    "clamped": (
        bij.AffineAutoregressive(params.MADE((9,)), clamp_values=True, log_scale_max_clip=0.1),
        (5,),
        None,
        True,
    ),
    "bounded": (bij.AffineAutoregressive(params.MADE((9,)), log_scale_min_clip=-0.3), (5,), None, True),
    "no hidden layer": (bij.AffineAutoregressive(params.MADE(())), (5,), None, True),
    "context": (bij.AffineAutoregressive(params.MADE((9, 7), nonlinearity=torch.nn.Tanh)), (5,), (2,), True),
    "residual": (bij.AffineAutoregressive(params.MADE((8, 8), residual=True)), (5,), (2,), True),
    "skip": (bij.AffineAutoregressive(params.MADE((9,), skip_connections=True)), (5,), None, True),
    "skip and context": (bij.AffineAutoregressive(params.MADE((9,), skip_connections=True)), (5,), (2,), False),
    "two passes": (bij.AffineAutoregressive(params.MADE((9,), passes=2)), (5,), None, True),
    "graph": (bij.AffineAutoregressive(params.MADE((9,), adjacency=GRAPH)), (3,), None, True),
    "matrix": (bij.AffineAutoregressive(params.MADE((9,))), (2, 3), None, True),
    "along an axis": (bij.AffineAutoregressive(params.MADE((9,)), dim=-1), (2, 3), None, True),
    "GELU": (bij.AffineAutoregressive(params.MADE((9,), nonlinearity=torch.nn.GELU)), (5,), None, False),
    "in parallel": (bij.AffineAutoregressive(params.MADE((9,)), inversion="parallel"), (5,), None, False),
    "many coordinates": (bij.AffineAutoregressive(params.MADE((64,))), (300,), None, True),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [(), (4,), (2, 40), (0,), (700,)], ids=str)
def test_it_is_the_inverse_step_by_step(name: str, batch: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    plan, shape, context_shape, known = CASES[name]
    bound = plan.bind(torch.Size(shape), None if context_shape is None else torch.Size(context_shape)).double()
    perturb(bound, torch.Generator().manual_seed(1), 0.4)
    y = torch.randn(*batch, *shape, dtype=torch.float64)
    context = None if context_shape is None else torch.randn(*batch, *context_shape, dtype=torch.float64)
    x, log_det = bound.inverse_and_log_det(y, context)  # with gradients: step by step
    found = []
    plain = FusedSteps.invert_affine

    def watched(*arguments: object) -> object:
        found.append(plain(*arguments))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(FusedSteps, "invert_affine", watched)
    with torch.no_grad():
        fused_x, fused_log_det = bound.inverse_and_log_det(y, context)
    assert [f is not None for f in found if f is not None or known] == ([True] if known else [])
    tolerance = 1e-6 if name == "in parallel" else 1e-12
    torch.testing.assert_close(fused_x, x, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(fused_log_det, log_det, rtol=tolerance, atol=tolerance)


def test_samples_of_a_trained_flow_score_as_they_were_drawn() -> None:
    plan = bij.Compose([bij.Invert(bij.AffineAutoregressive(params.MADE((32, 32)))) for _ in range(3)])
    flow = dist.Flow(dist.DiagNormal(20), plan)
    perturb(flow, torch.Generator().manual_seed(0), 0.3)
    with torch.no_grad():
        x, log_prob = flow.rsample_and_log_prob((500,))
        torch.testing.assert_close(flow.log_prob(x), log_prob, rtol=1e-4, atol=1e-3)


def test_what_is_not_finite_stays_with_its_point() -> None:
    bound = bij.AffineAutoregressive(params.MADE((9, 7), permutation="identity")).bind(torch.Size((5,)))
    perturb(bound, torch.Generator().manual_seed(1), 0.4)
    y = torch.randn(50, 5)
    y[7, 2] = torch.nan
    with torch.no_grad():
        x, log_det = bound.inverse_and_log_det(y)
    assert x[7].isnan().any() and log_det[7].isnan()
    assert x[:7].isfinite().all() and x[8:].isfinite().all() and log_det[8:].isfinite().all()
