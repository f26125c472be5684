"""Handwritten digits: a variational autoencoder whose posterior is a conditional flow, beside normal ones.

1,797 images of 8 x 8 pixels that scikit-learn ships. A pixel counts the dark ones of 16 binary pixels of a larger
image, and so the decoder is a beta-binomial distribution of each: probabilities from z by a network, and for each pixel
how much more its counts vary than a binomial's. The posterior q(z | x) is a `Flow` whose context is the image and whose
`embedding` is the encoder; the loss is `reverse_kl` to z -> log p(x, z), with the decoder inside. Three posteriors,
each with a decoder of its own, all of the same encoder, decoder, steps and batches:

  * normal: a location and a scale for each latent coordinate;
  * correlated normal: a triangular matrix in place of the scales;
  * flow: the first after four spline couplings.

A third of the images is held out. On it: the bound that is trained, and importance-weighted log-likelihoods.
Needs scikit-learn and matplotlib. Run it with

    python scripts/examples/vae_digits.py              # about 5 minutes on one core; a picture in examples_output/
    python scripts/examples/vae_digits.py --steps 300 --seeds 1 --out elsewhere
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.flows as flows
import flowtorch.objectives as objectives
import flowtorch.parameters as params

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COUNT, PIXELS, WIDTH, BATCH = 16, 64, 128, 128
LINEAR = params.DenseNN(())  # a linear map of what the encoder makes of the image
NORMAL = bij.Affine(LINEAR)
POSTERIORS: dict[str, bij.Bijector] = {
    "normal": NORMAL,
    "correlated normal": bij.LowerCholeskyAffine(LINEAR),
    "flow": bij.Compose([*flows.nsf(coupling=True, layers=4).parts, NORMAL]),
}


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the images to learn from and those held out, ``(N, 64)``: counts from 0 to 16, in an order drawn once."""
    from sklearn.datasets import load_digits

    x = torch.tensor(load_digits().data, dtype=torch.float32)
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    return x[: len(x) * 2 // 3], x[len(x) * 2 // 3 :]


class Decoder(torch.nn.Module):
    """The model of an image: z ~ N(0, 1), x_i | z ~ beta-binomial(16, p_i(z), s_i)."""

    def __init__(self, latent: int, mean: torch.Tensor) -> None:
        super().__init__()
        self.prior = dist.DiagNormal(latent)
        last = torch.nn.Linear(WIDTH, PIXELS)
        self.net = network(latent, last)
        self.log_concentration = torch.nn.Parameter(torch.full((PIXELS,), 1.5))
        with torch.no_grad():  # starts at the mean image
            last.bias.copy_(torch.logit((mean + 0.1) / (COUNT + 0.2)))

    def dark(self, z: torch.Tensor) -> torch.Tensor:
        """Returns the probabilities p that a binary pixel is dark."""
        p: torch.Tensor = self.net(z).sigmoid()
        return p

    def log_joint(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Returns log p(x, z)."""
        log_prior: torch.Tensor = self.prior.log_prob(z)
        return self.log_likelihood(x, z).sum(-1) + log_prior

    def log_likelihood(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Returns log p(x_i | z) of each pixel."""
        p, s = self.dark(z), self.log_concentration.exp()
        a, b = s * p + 1e-3, s * (1 - p) + 1e-3  # positive where p rounds to 0 or 1
        return log_choose(x) + log_beta(x + a, COUNT - x + b) - log_beta(a, b)


def network(size: int, *last: torch.nn.Module) -> torch.nn.Sequential:
    """Returns two hidden layers, and what comes last."""
    hidden = [torch.nn.Linear(size, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU()]
    return torch.nn.Sequential(*hidden, *last)


def log_beta(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns the logarithm of the beta function."""
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


def log_choose(x: torch.Tensor) -> torch.Tensor:
    """Returns the logarithm of 16 over x."""
    return -log_beta(x + 1, COUNT - x + 1) - torch.log(torch.tensor(COUNT + 1.0))


class VAE(NamedTuple):
    """A model of images and its posterior."""

    decoder: Decoder
    posterior: dist.Flow


def fit(plan: bij.Bijector, x: torch.Tensor, latent: int, steps: int, rate: float = 2e-3) -> tuple[VAE, list[float]]:
    """Returns a model trained on images, and the losses."""
    decoder = Decoder(latent, x.mean(0))
    posterior = dist.Flow(dist.DiagNormal(latent), plan, context_shape=(PIXELS,), embedding=network(PIXELS))
    parameters = [*decoder.parameters(), *posterior.parameters()]
    optimizer = torch.optim.Adam(parameters, rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for _ in range(steps):
        batch = x[torch.randint(len(x), (BATCH,))]
        # The bound holds for any context. Noise keeps the encoder from learning its images by heart.
        context = seen(batch) + 0.1 * torch.randn_like(batch)
        optimizer.zero_grad()
        loss = objectives.reverse_kl(posterior, lambda z, batch=batch: decoder.log_joint(batch, z), context=context)  # type: ignore[misc]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 50.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return VAE(decoder, posterior), losses


def seen(x: torch.Tensor) -> torch.Tensor:
    """Returns images as the encoder sees them, from 0 to 1."""
    return x / COUNT


# Figures -------------------------------------------------------------------------------------------------------------


def score(vae: VAE, x: torch.Tensor, draws: int) -> objectives.ImportanceEstimate:
    """Returns what weighted draws of the posterior say of each image: ``log_z`` is its log-likelihood."""
    return objectives.importance_estimate(
        vae.posterior, lambda z: vae.decoder.log_joint(x, z), draws, context=seen(x), chunk_size=100
    )


def run(train: torch.Tensor, test: torch.Tensor, options: argparse.Namespace) -> VAE:
    """Trains each posterior with each seed, prints the table and returns the last flow."""
    bounds: dict[str, list[torch.Tensor]] = {name: [] for name in POSTERIORS}
    likelihoods: dict[str, list[torch.Tensor]] = {name: [] for name in POSTERIORS}
    print(f"{options.latent} latent coordinates, {options.steps:,} steps of {BATCH} images; nats an image, held out\n")
    print("                      seed     ELBO   log p(x)    gap   effective size   k > 0.7   processor")
    for seed in range(options.seeds):
        for name, plan in POSTERIORS.items():
            torch.manual_seed(seed)
            started = time.process_time()
            vae, _ = fit(plan, train, options.latent, options.steps)
            took = time.process_time() - started
            found = score(vae, test, options.draws)
            bounds[name].append(found.log_weights.mean(0))
            likelihoods[name].append(found.log_z)
            elbo, log_p = bounds[name][-1].mean().item(), found.log_z.mean().item()
            size, heavy = found.effective_size.median().item(), (found.pareto_k > 0.7).float().mean().item()
            figures = f"{seed:4} {elbo:8.2f} {log_p:10.2f} {log_p - elbo:6.2f} {size:9.0f} of {options.draws}"
            print(f"  {name:<20}{figures} {heavy:8.0%} {took:9.0f} s", flush=True)
    print("\n  above the normal posterior, means over seeds, with standard errors over images and over seeds:")
    for name in list(POSTERIORS)[1:]:
        elbo_text = gain(bounds[name], bounds["normal"])
        print(f"  {name:<20}ELBO {elbo_text}   log p(x) {gain(likelihoods[name], likelihoods['normal'])}")
    return vae


def gain(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> str:
    """Returns the mean difference of pairs, with its errors."""
    difference = torch.stack(ours) - torch.stack(theirs)  # (seeds, images)
    over = (error(difference.mean(0)), error(difference.mean(1)))
    return f"{difference.mean().item():+.2f} ± {over[0]:.2f} ± {over[1]:.2f}"


def error(values: torch.Tensor) -> float:
    """Returns the standard error of a mean; of one value, NaN."""
    return float(values.std().item() / len(values) ** 0.5) if len(values) > 1 else float("nan")


# The picture ---------------------------------------------------------------------------------------------------------


def mosaic(axis: Axes, title: str, x: torch.Tensor, columns: int = 8) -> None:
    """Draws images side by side."""
    tiles = torch.nn.functional.pad(x.reshape(-1, columns, 8, 8), (1, 1, 1, 1))
    axis.imshow(tiles.permute(0, 2, 1, 3).reshape(-1, columns * 10).numpy(), cmap="gray_r", vmin=0, vmax=COUNT)
    axis.set(title=title, xticks=[], yticks=[])


def plane(axis: Axes, title: str, vae: VAE, x: torch.Tensor) -> None:
    """Draws the exact posterior of an image on a grid of two latent coordinates, and the fitted one's contours."""
    found = score(vae, x[None], 4_000)
    shown = found.samples[:, 0].quantile(torch.tensor([0.005, 0.995]), 0)  # the fitted one's, and the exact one's
    spread = 4 * found.covariance[0].diagonal().sqrt()
    low, high = shown[0].minimum(found.mean[0] - spread), shown[1].maximum(found.mean[0] + spread)
    centre, reach = (low + high) / 2, float((high - low).amax()) / 2
    sides = [torch.linspace(float(c) - reach, float(c) + reach, 161) for c in centre]
    grid = torch.cartesian_prod(*sides)
    exact = vae.decoder.log_joint(x, grid).softmax(0)
    fitted = vae.posterior.log_prob(grid, seen(x)).softmax(0)
    extent = (float(sides[0][0]), float(sides[0][-1]), float(sides[1][0]), float(sides[1][-1]))
    shape = (161, 161)
    axis.imshow(exact.reshape(shape).T.numpy(), origin="lower", extent=extent, cmap="Blues", aspect="auto")
    levels = [level_of(fitted, mass) for mass in (0.95, 0.5)]
    axis.contour(sides[0].numpy(), sides[1].numpy(), fitted.reshape(shape).T.numpy(), levels=levels, colors="C3")
    axis.set(title=title, xlabel="$z_1$", ylabel="$z_2$")


def level_of(density: torch.Tensor, mass: float) -> float:
    """Returns the level above which a density, on a grid, has this mass."""
    ordered = density.sort(descending=True).values
    return float(ordered[(ordered.cumsum(0) < mass).sum().clamp(max=len(ordered) - 1)])


def picture(vae: VAE, train: torch.Tensor, test: torch.Tensor, steps: int, out: Path) -> Path:
    """Writes images, reconstructions and samples, and the posterior of one image in two latent coordinates."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    pairs = []
    for name in ("normal", "flow"):
        torch.manual_seed(0)
        pairs.append((f"{name} posterior", fit(POSTERIORS[name], train, 2, steps)[0]))
    figure, axes = plt.subplots(1, 5, figsize=(16, 3.5), layout="constrained")
    with torch.no_grad():
        shown = test[:64]
        mosaic(axes[0], "held out", shown)
        mosaic(axes[1], "decoded from the posterior", COUNT * vae.decoder.dark(vae.posterior.sample((), seen(shown))))
        mosaic(axes[2], "decoded from the prior", COUNT * vae.decoder.dark(vae.decoder.prior.sample((64,))))
        gaps = score(pairs[0][1], train, 200)
        gap = gaps.log_z - gaps.log_weights.mean(0)
        image = train[gap.argsort()[len(gap) * 9 // 10]]  # one that was learned; a tenth have a larger gap
        for axis, (name, two) in zip(axes[3:], pairs, strict=True):
            plane(axis, f"2 latent, {name}", two, image)
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "vae_digits.png", dpi=90)
    plt.close(figure)
    return out / "vae_digits.png"


def main(arguments: list[str] | None = None) -> None:
    """Trains, prints the figures, draws."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--latent", type=int, default=8)
    parser.add_argument("--draws", type=int, default=500, help="of the posterior of each image")
    parser.add_argument("--out", type=Path, default=Path("examples_output"))
    options = parser.parse_args(arguments)
    train, test = images()
    vae = run(train, test, options)
    print(f"\nwrote {picture(vae, train, test, options.steps, options.out)}")


if __name__ == "__main__":
    main()
