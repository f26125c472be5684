"""A flow is an ``nn.Module``: loops of one's own, with what torch has for them.

    python scripts/examples/plain_loops.py

Each function fits the same flow to the same data in another way and returns it. ``flow(x)`` is ``flow.log_prob(x)``;
call the flow wherever it is wrapped, as methods go past the wrapper. For several processes see distributed.py, and for
all of this in one line ``flowtorch.train.fit``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist


def make() -> tuple[dist.Flow, torch.Tensor]:
    """The flow, and data on an arc."""
    torch.manual_seed(0)
    z = torch.randn(2_000, 2)
    x = torch.stack([z[:, 0], z[:, 0] ** 2 + 0.3 * z[:, 1]], -1)
    return dist.Flow(dist.DiagNormal(2), bij.Compose([bij.SplineCoupling(), bij.AffineCoupling()])), x


def plain(steps: int) -> dist.Flow:
    """Nothing but an optimiser."""
    flow, x = make()
    optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3, fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = -flow.log_prob(x).mean()
        loss.backward()
        optimizer.step()
    return flow


def compiled(steps: int, backend: str = "inductor") -> dist.Flow:
    """``torch.compile``: the compiled flow is called, and shares its parameters with the flow."""
    flow, x = make()
    fast = torch.compile(flow, backend=backend)
    optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3, fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = -fast(x).mean()
        loss.backward()
        optimizer.step()
    return flow


def functional(steps: int) -> dist.Flow:
    """``torch.func``: the loss as a function of the parameters, its gradient, and a step by hand."""
    flow, x = make()
    parameters = {name: p.detach() for name, p in flow.named_parameters()}

    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return -torch.func.functional_call(flow, parameters, (x,)).mean()

    for _ in range(steps):
        gradients = torch.func.grad(loss)(parameters)
        parameters = {name: p - 0.02 * gradients[name] for name, p in parameters.items()}
    flow.load_state_dict(parameters, strict=False)  # buffers stay
    return flow


def autocast(steps: int, device: str = "cpu") -> dist.Flow:
    """Mixed precision: networks in bfloat16, log-densities in float32."""
    flow, x = make()
    flow, x = flow.to(device), x.to(device)
    optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3, fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16):
            loss = -flow(x).mean()
        loss.backward()
        optimizer.step()
    return flow


WAYS: dict[str, Callable[[int], dist.Flow]] = {
    "Adam": plain,
    "torch.compile": compiled,
    "torch.func": functional,
    "torch.autocast": autocast,
}


def main() -> None:
    """Runs all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    start, x = make()
    with torch.no_grad():
        print(f"{'start':15} loss {-start.log_prob(x).mean():.3f}")
    for name, way in WAYS.items():
        flow = way(options.steps)
        with torch.no_grad():
            print(f"{name:15} loss {-flow.log_prob(x).mean():.3f}")


if __name__ == "__main__":
    main()
