"""Flows to export, and how their functions are compared with what was exported."""

from __future__ import annotations

from collections.abc import Sequence

import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.export.program import Function
from flowtorch.testing.sampling import perturb

NET = params.DenseNN((8,))
MADE = params.MADE((8,))

AFFINE = bij.Compose([bij.AffineCoupling(NET), bij.AffineCoupling(NET, swap=True)])
SPLINE = bij.Compose([bij.AffineCoupling(NET), bij.SplineCoupling(NET, swap=True, count_bins=4)])
LINEAR = bij.Compose(
    [
        *(bij.LU(bias=True), bij.LowerCholeskyAffine(), bij.QR(), bij.SVD(), bij.Householder(), bij.Orthogonal()),
        *(bij.MatrixExponential(), bij.DiagonalPlusLowRank(), bij.Permute()),
    ]
)


def make(
    plan: bij.Bijector,
    shape: tuple[int, ...] = (3,),
    context: bool = False,
    base: torch.distributions.Distribution | None = None,
) -> dist.Flow:
    """A flow with other parameters than it starts with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = dist.Flow(base or dist.DiagNormal(shape), plan, context_shape=(2,) if context else None)
    perturb(flow, torch.Generator().manual_seed(0), 0.2)
    return flow.eval()


def inputs(flow: dist.Flow, function: Function, count: int, seed: int = 0) -> list[torch.Tensor]:
    """Points within (0, 1), where all maps are defined, and contexts."""
    generator = torch.Generator().manual_seed(seed)
    shape = flow.bijector.shape if function == "forward" else flow.event_shape
    found = [0.05 + 0.9 * torch.rand(count, *shape, generator=generator)]
    if flow.context_shape is not None:
        found.append(torch.randn(count, *flow.context_shape, generator=generator))
    return found


def wanted(flow: dist.Flow, function: Function, given: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """What the flow itself gives."""
    bound = flow.bijector
    with torch.no_grad():
        if function == "log_prob":
            return (flow.log_prob(*given),)
        return (bound.forward_and_log_det if function == "forward" else bound.inverse_and_log_det)(*given)


def furthest(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """The largest difference, of equally many tensors of equal shapes."""
    assert [f.shape for f in found] == [e.shape for e in expected]
    return max(float((f - e).detach().abs().max()) for f, e in zip(found, expected, strict=True))
