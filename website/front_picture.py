"""Trains the flow of the front page and writes the picture's data, ``static/flow_picture_data.js``.

Six spline couplings, of which each moves one coordinate only; the same draws of the base after each of them.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params

POINTS, COUPLINGS, STEPS, SCALE = 900, 6, 1500, 200
TARGET = Path(__file__).parent / "static" / "flow_picture_data.js"


def main() -> None:
    torch.manual_seed(0)
    target = dist.Pinwheel()
    unit = target.sample((10_000,)).std()
    parts = [
        bij.SplineCoupling(params.DenseNN((64, 64)), count_bins=12, bound=4.0, order="quadratic", swap=i % 2 == 1)
        for i in range(COUPLINGS)
    ]
    flow = dist.Flow(dist.DiagNormal(2), bij.Compose(parts))
    optimizer = torch.optim.Adam(flow.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        loss = -flow.log_prob(target.sample((512,)) / unit).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    print(f"loss {loss.item():.3f}")

    x = torch.randn(POINTS, 2)
    with torch.no_grad():
        frames = [x, *(flow.bijector[: k + 1].forward(x) for k in range(COUPLINGS))]
    data = {
        "scale": SCALE,
        "quadrant": (2 * (x[:, 0] > 0).long() + (x[:, 1] > 0).long()).tolist(),
        "frames": [(frame * SCALE).round().long().flatten().tolist() for frame in frames],
    }
    TARGET.write_text(f"window.flowPicture = {json.dumps(data, separators=(',', ':'))};\n", encoding="utf-8")


if __name__ == "__main__":
    main()
