"""What every conversion is asked: densities, samples from the same noise, dtypes, state, training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch

import flowtorch
from flowtorch.distributions import DiagNormal, Flow

Scores = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]


@dataclass
class Origin:
    """A flow of another library: what it scores, what it makes of noise, and how it is converted.

    Args:
        log_prob: of points and contexts.
        push: what it makes of noise.
        convert: makes the flow of ours.
        size: how many coordinates.
        context: how many features of the context; 0 for none.
    """

    log_prob: Scores
    push: Scores
    convert: Callable[[], Flow]
    size: int
    context: int = 0

    def draw(self, seed: int, count: int = 500, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
        """Noise, points far outside of any box among it, and contexts."""
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(count, self.size, generator=generator, dtype=dtype)
        z[: count // 10] *= 10.0
        return z, torch.randn(count, self.context, generator=generator, dtype=dtype)


def perturb(module: torch.nn.Module, by: float = 0.1) -> None:
    """Moves all parameters far from where they start, and buffers of variances away from 1."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=generator))
        for name, buffer in module.named_buffers():
            if name.endswith(("running_var", "moving_variance")):
                buffer.add_(torch.rand(buffer.shape, generator=generator))


def agrees(
    origin: Origin, tolerance: float = 1e-8, dtype: torch.dtype = torch.float64, samples: float | None = None
) -> Flow:
    """Densities and samples are the same; the latter to another tolerance where a peer's own inverse is less exact."""
    flow = origin.convert()
    assert {p.dtype for p in flow.parameters()} == {dtype}
    z, context = origin.draw(0, dtype=dtype)
    given = context if origin.context else None
    with torch.no_grad():
        x, found = origin.push(z, given), flow.bijector.forward(z, given)
        # Where affine scales have multiplied into thousands, roundings have too.
        near = x.abs().amax(-1) < 100.0
        assert near.double().mean() > 0.7
        loose = tolerance if samples is None else samples
        torch.testing.assert_close(found[near], x[near], rtol=loose, atol=loose)
        far = flow.normalize(3.0 * z, given).abs().amax(-1) < 100.0
        assert far.double().mean() > 0.5
        for points, kept in ((x, near), (3.0 * z, far)):
            at = None if given is None else given[kept]
            expected, got = origin.log_prob(points[kept], at), flow.log_prob(points[kept], at)
            torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)
    return flow


def is_a_flow_like_any_other(origin: Origin) -> None:
    """It is remade from its specification and state, shares nothing with its origin, conditions, samples and trains."""
    flow = origin.convert()
    z, context = origin.draw(1, 16)
    given = context if origin.context else None
    before = origin.log_prob(z, given).detach().clone()
    plan = flowtorch.plan_from_dict(flow.plan.to_dict())
    base = DiagNormal(origin.size, torch.zeros(origin.size, dtype=z.dtype), torch.ones(origin.size, dtype=z.dtype))
    again = Flow(base, plan, context_shape=flow.context_shape, embedding=copy.deepcopy(flow.embedding))
    again.load_state_dict(flow.state_dict())
    torch.testing.assert_close(again.log_prob(z, given), flow.log_prob(z, given))
    view = flow if given is None else flow.condition(given[0])
    assert view.sample((3,)).shape == (3, origin.size)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
    first = -flow.log_prob(z, given).mean()
    for _ in range(3):
        optimizer.zero_grad()
        loss = -flow.log_prob(z, given).mean()
        loss.backward()
        optimizer.step()
    assert -flow.log_prob(z, given).mean() < first
    torch.testing.assert_close(origin.log_prob(z, given).detach(), before)
