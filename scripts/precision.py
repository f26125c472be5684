"""Measures what float32 loses in every elementwise map, and writes the table of ``website/precision.md``.

Each map is bound 20 times with its parameters moved by N(0, 0.5) noise, and given 4,000 points: of a standard normal
(mapped into the domain where that is not the line), and where the domain has no end also far out, up to 1,000.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import flowtorch.bijectors as bij  # noqa: E402  # after the path to the checkout
from flowtorch import domains  # noqa: E402
from flowtorch.testing.sampling import perturb, sample_in  # noqa: E402
from tests.maps import FIXED, LEARNABLE  # noqa: E402

PAGE = ROOT / "website" / "precision.md"
COUNT, DRAWS = 4000, 20
MAPS: dict[str, bij.Elementwise] = {**LEARNABLE, **FIXED}
HEAD = """# Precision

What `float32` loses, measured by `scripts/precision` (torch {torch}, on a CPU): for every elementwise map, over {draws}
sets of parameters moved by N(0, 0.5) noise and {count} points of a standard normal each, the largest error of going
there and back, `|inverse(forward(x)) - x| / (1 + |x|)`; of going back and there; and of the log-derivative against
`float64`, `|error| / (1 + |exact|)`. *Far* is the first of these for points up to 1,000 away, where the domain has no
end. A float32 has a relative spacing of 1.2e-7.

An error of the way there and back can be large and unavoidable: where a map is flat, many numbers have one and the same
float32 image (the upper tail of a distribution function, a sigmoid), and no inverse can tell them apart.
The log-derivative does not suffer. Use `float64` where that matters.

| map | there and back | back and there | log-derivative | far |
|---|---|---|---|---|
"""


def measure(plan: bij.Elementwise) -> tuple[float, float, float, float | None]:
    """Returns the four figures of a row; the last is None where the domain ends."""
    back, there, slope, far = 0.0, 0.0, 0.0, 0.0
    box = domains.region(plan.domain)
    real = isinstance(box, domains.Box) and box.is_real
    for draw in range(DRAWS):
        generator = torch.Generator().manual_seed(draw)
        with torch.random.fork_rng():
            torch.manual_seed(draw)
            single = plan.bind((1,))
        perturb(single, generator)
        double = plan.bind((1,)).double()
        double.load_state_dict(single.state_dict())
        x = sample_in(plan.domain, torch.Size((COUNT, 1)), generator).float()
        with torch.no_grad():
            y, log_slope = single.forward_and_log_det(x)
            exact_y, exact_slope = double.forward_and_log_det(x.double())
            back = max(back, _worst(single.inverse(y), x))
            on_image = exact_y.float()
            there = max(there, _worst(single.forward(single.inverse(on_image)), on_image))
            slope = max(slope, _worst(log_slope, exact_slope))
            if real:
                away = 1e3 * torch.rand(COUNT, 1, generator=generator) * x.sign()
                image = single.forward(away)
                kept = image.isfinite() & (image.abs() < 1e30)
                found = torch.where(kept, single.inverse(torch.where(kept, image, 0.0)), away)
                far = max(far, _worst(found, away))
    return back, there, slope, far if real else None


def _worst(got: torch.Tensor, expected: torch.Tensor) -> float:
    got, expected = got.double(), expected.double()
    return float(((got - expected).abs() / (1.0 + expected.abs())).max())


def row(name: str, figures: tuple[float, float, float, float | None]) -> str:
    """Returns a line of the table."""
    return f"| {name} | " + " | ".join("" if v is None else f"{v:.0e}" for v in figures) + " |"


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(prog="scripts/precision", description=__doc__)
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write; website/precision.md by default")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    lines = [row(name, measure(plan)) for name, plan in MAPS.items()]
    head = HEAD.format(torch=torch.__version__.split("+")[0], draws=DRAWS, count=f"{COUNT:,}")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
