"""A mixture of Gaussians by a flow in Pyro: by the evidence lower bound and by a loss made of traces, layer by layer.

The model draws from four normal distributions in the plane, of unequal weights and widths; the guide is a spline flow.
``Trace_ELBO`` draws from the guide and scores by the model: the reverse divergence, which may settle on some of the
modes. The other loss draws from the model and scores by the guide, and has to cover them all. Needs pyro-ppl and
matplotlib (``pip install -e '.[plot,pyro]'``).

    python scripts/examples/pyro_mixture.py            # writes examples_output/pyro_mixture*.png
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyro
import pyro.distributions as pd
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.pyro import to_pyro

WEIGHTS = torch.tensor([0.4, 0.3, 0.2, 0.1])
MEANS = torch.tensor([[2.0, 2.0], [-2.0, 2.0], [-2.0, -2.0], [2.0, -2.0]])
SCALES = torch.tensor([[0.7, 0.4], [0.4, 0.7], [0.6, 0.6], [0.4, 0.4]])
BATCH = 256
NET = params.DenseNN((64, 64))
PLAN = bij.Compose([bij.SplineCoupling(NET, bound=5.0, swap=k % 2 == 1) for k in range(6)])


def target() -> pd.MixtureSameFamily:
    """Returns the mixture."""
    return pd.MixtureSameFamily(pd.Categorical(WEIGHTS), pd.Normal(MEANS, SCALES).to_event(1))


def model() -> None:
    """Draws from the mixture."""
    with pyro.plate("draws", BATCH):
        pyro.sample("x", target())


def guide_of(flow: dist.Flow) -> Callable[[], None]:
    """Returns a guide that draws from a flow."""

    def guide() -> None:
        with pyro.plate("draws", BATCH):
            pyro.sample("x", to_pyro(flow, name="flow", path_derivative=True))

    return guide


def forward(model: Callable[[], None], guide: Callable[[], None]) -> torch.Tensor:
    """The forward divergence but for the model's entropy, from traces: the model's draws, scored by the guide."""
    with torch.no_grad():
        drawn = poutine.trace(model).get_trace()
    scored = poutine.trace(poutine.replay(guide, trace=drawn)).get_trace()
    return -scored.log_prob_sum()


LOSSES = {"Trace_ELBO": Trace_ELBO(), "forward, from traces": forward}


class Figures(NamedTuple):
    """Both divergences, and the share of the flow's draws nearest to each mean."""

    reverse: float
    forward: float
    shares: torch.Tensor


def fit(loss: Trace_ELBO | Callable[..., torch.Tensor], steps: int) -> dist.Flow:
    """Returns a flow trained by SVI."""
    pyro.clear_param_store()
    flow = dist.Flow(dist.DiagNormal(2), PLAN)
    adam = {"optimizer": torch.optim.Adam, "optim_args": {"lr": 3e-3}, "T_max": steps}
    optimizer = pyro.optim.CosineAnnealingLR(adam)
    svi = SVI(model, guide_of(flow), optimizer, loss)
    for _ in range(steps):
        svi.step()
        optimizer.step()
    return flow


@torch.no_grad()
def measure(flow: dist.Flow, count: int = 20_000) -> Figures:
    """Returns what draws of the flow and of the target say."""
    x, log_prob = flow.rsample_and_log_prob((count,))
    y = target().sample((count,))
    nearest = torch.cdist(x, MEANS).argmin(-1)
    return Figures(
        (log_prob - target().log_prob(x)).mean().item(),
        (target().log_prob(y) - flow.log_prob(y)).mean().item(),
        torch.bincount(nearest, minlength=4) / count,
    )


def draw(folder: Path, fitted: dict[str, dist.Flow]) -> None:
    """Writes the pictures: densities, and the draws after each layer."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    side = torch.linspace(-4.5, 4.5, 161)
    points = torch.cartesian_prod(side, side)
    laws = {"target": target(), **{f"flow by {name}": flow for name, flow in fitted.items()}}
    figure, axes = plt.subplots(1, len(laws), figsize=(4 * len(laws), 4.5), layout="constrained")
    for axis, (name, law) in zip(axes, laws.items(), strict=True):
        with torch.no_grad():
            density = law.log_prob(points).exp().unflatten(0, (161, 161)).T
        axis.imshow(density.sqrt().numpy(), origin="lower", extent=(-4.5, 4.5, -4.5, 4.5), cmap="viridis")
        axis.set(title=name, xlabel="$x_1$")
    axes[0].set(ylabel="$x_2$")
    figure.savefig(folder / "pyro_mixture_densities.png", dpi=110)

    # The same draws of the base after each layer, coloured by the mode where they end.
    flow = fitted["forward, from traces"]
    passes = []
    for k in range(len(flow.bijector.parts) + 1):
        torch.manual_seed(0)
        law = to_pyro(flow[:k] if k else flow.base_dist)
        passes.append(law.sample((4_000,)))
    ends = torch.cdist(passes[-1], MEANS).argmin(-1)
    figure, axes = plt.subplots(1, len(passes), figsize=(2.6 * len(passes), 2.9), layout="constrained", sharey=True)
    for k, (axis, x) in enumerate(zip(axes, passes, strict=True)):
        axis.scatter(*x.T.numpy(), s=3, linewidths=0, alpha=0.5, c=[f"C{end}" for end in ends.tolist()])
        axis.set(title=f"flow[:{k}]" if k else "base", xlim=(-4.5, 4.5), ylim=(-4.5, 4.5), aspect="equal")
    figure.savefig(folder / "pyro_mixture_layers.png", dpi=110)


def main() -> None:
    """Trains by both losses, prints the figures, draws."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1_500)
    parser.add_argument("--out", type=Path, default=Path("examples_output"))
    options = parser.parse_args()
    pyro.set_rng_seed(options.seed)
    print(f"{options.steps:,} steps of {BATCH} draws each (seed {options.seed}); divergences in nats, shares of modes:")
    print(f"  {'':<22} KL(flow, target)   KL(target, flow)   shares {' '.join(f'{w:.2f}' for w in WEIGHTS)}")
    fitted = {}
    for name, loss in LOSSES.items():
        started = time.perf_counter()
        fitted[name] = fit(loss, options.steps)
        found = measure(fitted[name])
        shares = " ".join(f"{w:.2f}" for w in found.shares)
        print(f"  {name:<22}{found.reverse:17.4f}  {found.forward:17.4f}          {shares}", end="   ")
        print(f"{time.perf_counter() - started:.0f} s", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    draw(options.out, fitted)
    print(f"wrote pyro_mixture_densities.png, pyro_mixture_layers.png in {options.out}")


if __name__ == "__main__":
    main()
