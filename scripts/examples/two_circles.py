"""Two noisy circles, fitted three ways and held against their exact density.

The data of the Pyro tutorial "Normalizing Flows - Introduction": a ring of radius 1 and one of radius 0.5, each with
half of the points, normal noise of 0.05 on each coordinate, then all coordinates divided by 0.5611. The density is
known (a mixture of Rice rings), so each model is scored on fresh draws by what it loses against it, the paired KL:

  * `Spline(count_bins=16)` alone on each coordinate: the marginals;
  * p(x1) p(x2 | x1): that spline, then one of 16 bins whose parameters come from x1 by a network;
  * four spline couplings, one after the other.

Each is trained for 3,000 steps of 1,000 fresh draws with Adam at 3e-3 and cosine decay. Needs matplotlib. Run it with

    python scripts/examples/two_circles.py             # about 90 s on one core; pictures in examples_output/
    python scripts/examples/two_circles.py --steps 300 --out elsewhere

A loss on 20,000 draws carries their noise, 0.003 for a marginal and 0.006 for the joint. It cancels in the paired KL:
that is what is held against the bounds. Over the seeds 0 to 4 it was 0.006 for the marginals, 0.021 to 0.028 for
p(x1) p(x2 | x1), and 0.005 to 0.007 for the couplings; the default is a seed whose plain losses lie within them too.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

RADII, NOISE, SCALE = torch.tensor([1.0, 0.5]), 0.05, 0.5611
BATCH, FRESH, EDGE = 1_000, 20_000, 2.7


# The data and their exact density ------------------------------------------------------------------------------------


def draw(count: int) -> torch.Tensor:
    """Returns points of the two circles, ``(count, 2)``."""
    radius = RADII[torch.randint(2, (count,))]
    angle = 2 * math.pi * torch.rand(count)
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
    return (points + NOISE * torch.randn(count, 2)) / SCALE


def exact(x: torch.Tensor) -> torch.Tensor:
    """Returns the log-density of the circles: two Rice rings, the scaling's Jacobian included."""
    x = x.double() * SCALE
    r = RADII.double()
    norm = x.norm(dim=-1, keepdim=True)
    bessel = torch.special.i0e(norm * r / NOISE**2).log()  # scaled by exp(-z), which completes the square
    ring = bessel - (norm - r) ** 2 / (2 * NOISE**2) - math.log(2 * math.pi * NOISE**2)
    return torch.logsumexp(ring, -1) + math.log(SCALE**2 / 2)


def exact_marginal(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Returns the log-density of a coordinate, the other one integrated over the grid; both have the same."""
    pairs = (torch.cartesian_prod(part, grid).unflatten(0, (-1, len(grid))) for part in x.double().split(500))
    return torch.cat([exact(p).logsumexp(1) for p in pairs]) + (grid[1] - grid[0]).log()


def entropies(grid: torch.Tensor) -> tuple[float, float]:
    """Returns the joint entropy and a coordinate's, by quadrature."""
    step = float(grid[1] - grid[0])
    joint, marginal = exact(torch.cartesian_prod(grid, grid)), exact_marginal(grid, grid)
    return -float((joint.exp() * joint).sum()) * step**2, -float((marginal.exp() * marginal).sum()) * step


# The models ----------------------------------------------------------------------------------------------------------


class Models(NamedTuple):
    """What is trained."""

    x1: dist.Flow
    x2: dist.Flow
    x2_given_x1: dist.Flow
    coupling: dist.Flow

    def chain_log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """Returns log p(x1) + log p(x2 | x1)."""
        return self.x1.log_prob(x[..., 0]) + self.x2_given_x1.log_prob(x[..., 1:], context=x[..., :1])

    def chain_sample(self, count: int) -> torch.Tensor:
        """Draws x1, then x2 given it."""
        x1 = self.x1.sample((count, 1))
        return torch.cat([x1, self.x2_given_x1.sample(context=x1)], -1)


def build() -> Models:
    """Returns the flows, untrained."""
    spline = bij.Spline(count_bins=16)
    conditional = bij.Spline(params.DenseNN((128, 128)), count_bins=16, bound=4.0)
    # Each layer moves one coordinate as the other tells it to; swap exchanges their parts.
    coupling = [bij.SplineCoupling(params.DenseNN((64, 64)), count_bins=16, bound=4.0, swap=s) for s in (False, True)]
    return Models(
        x1=dist.Flow(torch.distributions.Normal(0.0, 1.0), spline),
        x2=dist.Flow(torch.distributions.Normal(0.0, 1.0), spline),
        x2_given_x1=dist.Flow(dist.DiagNormal(1), conditional, context_shape=(1,)),
        coupling=dist.Flow(dist.DiagNormal(2), bij.Compose(coupling * 2)),
    )


def fit(name: str, flow: dist.Flow, log_prob: Callable[[torch.Tensor], torch.Tensor], steps: int) -> None:
    """Trains a flow by maximum likelihood on fresh draws."""
    opt = torch.optim.Adam(flow.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps)
    started = time.perf_counter()
    for _ in range(steps):
        opt.zero_grad()
        loss = -log_prob(draw(BATCH)).mean()
        loss.backward()
        opt.step()
        schedule.step()
    print(f"  {name:<24}{time.perf_counter() - started:5.0f} s   loss of the last batch {loss.item():.4f}", flush=True)


def report(models: Models, grid: torch.Tensor, of_joint: float, of_marginal: float) -> None:
    """Prints the table of figures beside the entropies."""
    y = draw(FRESH)
    joint, *marginals = exact(y), exact_marginal(y[:, 0], grid), exact_marginal(y[:, 1], grid)
    rows = [
        ("Spline(16) on x1", models.x1.log_prob(y[:, 0]), marginals[0], of_marginal, 0.01, "1.2545"),
        ("Spline(16) on x2", models.x2.log_prob(y[:, 1]), marginals[1], of_marginal, 0.01, "1.2545"),
        ("p(x1) p(x2 | x1)", models.chain_log_prob(y), joint, of_joint, 0.06, "1.65"),
        ("4 spline couplings", models.coupling.log_prob(y), joint, of_joint, 0.02, "1.65"),
    ]
    print(f"\non {FRESH:,} fresh draws, in nats, with standard errors:\n")
    print("                            loss        entropy      paired KL          required   tutorial")
    for name, log_prob, truth, entropy, most, tutorial in rows:
        verdict = "yes" if (truth - log_prob).mean() <= most else "no"
        figures = f"{plus_minus(-log_prob)}{entropy:>10.4f}   {plus_minus(truth - log_prob)}"
        print(f"  {name:<20}{figures}   <= {most:.2f}: {verdict:<3}{tutorial:>9}")
    print("\n  (the tutorial's figures lie below the entropies: it scores the 1,000 points that it trains on)")


def plus_minus(values: torch.Tensor) -> str:
    """Returns mean and standard error."""
    return f"{values.mean().item():.4f} ± {values.std().item() / len(values) ** 0.5:.4f}"


# The pictures --------------------------------------------------------------------------------------------------------


def scatter(axis: Axes, title: str, x: torch.Tensor, colours: np.ndarray | str) -> None:
    """Draws points."""
    cmap = None if isinstance(colours, str) else "hsv"
    axis.scatter(x[:, 0].numpy(), x[:, 1].numpy(), s=3, linewidths=0, c=colours, cmap=cmap, alpha=0.5)
    axis.set(title=title, xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal", xticks=[-2, 0, 2], yticks=[-2, 0, 2])


def heat(axis: Axes, title: str, log_prob: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Draws a density; all on one scale of colours."""
    side = torch.linspace(-EDGE, EDGE, 301)
    density = log_prob(torch.cartesian_prod(side, side)).exp().unflatten(0, (301, 301))
    axis.imshow(density.T.numpy(), origin="lower", extent=(-EDGE, EDGE) * 2, vmin=0.0, vmax=0.42, cmap="magma")
    axis.set(title=title, xticks=[-2, 0, 2], yticks=[-2, 0, 2])


def curve(axis: Axes, name: str, flow: dist.Flow, grid: torch.Tensor) -> None:
    """Draws a marginal: exact, the model's, and the model's samples."""
    bins = torch.linspace(-EDGE, EDGE, 109).tolist()
    axis.hist(flow.sample((FRESH,)).numpy(), bins=bins, density=True, color="0.85", label="its samples")
    axis.plot(grid.numpy(), exact_marginal(grid, grid).exp().numpy(), color="C0", lw=4, alpha=0.4, label="exact")
    axis.plot(grid.numpy(), flow.log_prob(grid.float()).exp().numpy(), color="C3", lw=1.2, label="flow")
    axis.set(title=f"$p({name})$: Spline(count_bins=16)", xlim=(-EDGE, EDGE), ylim=(0, 0.7), xticks=[-2, 0, 2])
    axis.legend(loc="upper center", ncols=3, frameon=False, fontsize="small", columnspacing=1.0)


def pictures(models: Models, grid: torch.Tensor, out: Path) -> list[str]:
    """Writes all pictures."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels: dict[str, list[Callable[[Axes], None]]] = {}
    count, coupling = 4_000, models.coupling
    panels["samples"] = [
        lambda a: scatter(a, "data", draw(count), "0.3"),
        lambda a: scatter(a, "4 spline couplings", coupling.sample((count,)), "C0"),
        lambda a: scatter(a, "$p(x_1)\\,p(x_2 \\mid x_1)$", models.chain_sample(count), "C3"),
    ]
    panels["densities"] = [
        lambda a: heat(a, "exact density", exact),
        lambda a: heat(a, "4 spline couplings", coupling.log_prob),
        lambda a: heat(a, "$p(x_1)\\,p(x_2 \\mid x_1)$", models.chain_log_prob),
    ]
    panels["marginals"] = [
        lambda a: curve(a, "x_1", models.x1, grid),
        lambda a: curve(a, "x_2", models.x2, grid),
    ]

    def layer(axis: Axes, k: int) -> None:
        torch.manual_seed(0)  # the same draws of the base in every panel, with the same colours
        x = coupling.base_dist.sample((count,))
        torch.manual_seed(0)
        y = x if k == 0 else coupling[:k].sample((count,))
        scatter(axis, f"flow[:{k}]" if k else "base", y, torch.atan2(x[:, 1], x[:, 0]).numpy())

    panels["layers"] = [lambda a, k=k: layer(a, k) for k in range(5)]  # type: ignore[misc]

    out.mkdir(parents=True, exist_ok=True)
    for name, row in panels.items():
        width = 4.5 if name == "marginals" else 2.9
        figure, axes = plt.subplots(1, len(row), figsize=(width * len(row), 3.1), layout="constrained")
        for axis, panel in zip(axes, row, strict=True):
            panel(axis)
        figure.savefig(out / f"two_circles_{name}.png", dpi=110)
    return [f"two_circles_{name}.png" for name in panels]


def main() -> None:
    """Trains, prints the figures, draws."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--out", type=Path, default=Path("examples_output"))
    options = parser.parse_args()

    grid = torch.linspace(-EDGE, EDGE, 1_001, dtype=torch.float64)
    joint, marginal = entropies(grid)
    print(f"entropies by quadrature: joint {joint:.4f}, a coordinate's {marginal:.4f}\n")

    torch.manual_seed(options.seed)
    models = build()
    print(f"{options.steps:,} steps of {BATCH:,} draws each (seed {options.seed}):")
    fit("p(x1)", models.x1, lambda x: models.x1.log_prob(x[:, 0]), options.steps)
    fit("p(x2)", models.x2, lambda x: models.x2.log_prob(x[:, 1]), options.steps)
    given = models.x2_given_x1
    fit("p(x2 | x1)", given, lambda x: given.log_prob(x[:, 1:], context=x[:, :1]), options.steps)
    fit("4 spline couplings", models.coupling, models.coupling.log_prob, options.steps)
    with torch.no_grad():
        report(models, grid, joint, marginal)
        names = pictures(models, grid, options.out)
    print(f"\nwrote {', '.join(names)} in {options.out}")


if __name__ == "__main__":
    main()
