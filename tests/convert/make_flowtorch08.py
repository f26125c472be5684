"""Writes ``flowtorch08.json``: run it with FlowTorch 0.8, in an environment of its own, as it has our name.

pip install flowtorch==0.8 torch
python -I make_flowtorch08.py flowtorch08.json
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params

SIZE, POINTS = 3, 12
net: Any = params.DenseAutoregressive
old: Any = bij
PLANS = {
    "autoregressive": old.Compose(
        [
            old.AffineAutoregressive(net(hidden_dims=(7, 5)), log_scale_max_clip=0.5),
            old.SplineAutoregressive(net(hidden_dims=(6,)), count_bins=4),
            old.Permute(permutation=torch.tensor([2, 0, 1])),
        ]
    ),
    "quadratic": old.SplineAutoregressive(
        net(hidden_dims=(6,), nonlinearity=torch.nn.Tanh), count_bins=3, bound=2.0, order="quadratic"
    ),
    "one layer": old.AffineAutoregressive(net(hidden_dims=(4,))),
    "elementwise affine": old.Affine(),
    "elementwise spline": old.Spline(count_bins=4),
    "inverse": old.Invert(old.AffineAutoregressive(net(hidden_dims=(4,)))),
}


def record(plan: Any, inside: bool) -> dict[str, Any]:
    """A flow's state, points, their images and densities; quadratic splines of 0.8 fail outside of their box."""
    base = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(SIZE), torch.ones(SIZE)), 1)
    flow: Any = dist.Flow(base, plan)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
        x = 2.0 * (2.0 * torch.rand(POINTS, SIZE) - 1.0) if inside else 2.0 * torch.randn(POINTS, SIZE)
        y = torch.tensor(flow.bijector.forward(x).tolist())  # a plain tensor: it would keep what it came from
        state = {key: value.tolist() for key, value in flow.state_dict().items()}
        return {"state": state, "x": x.tolist(), "y": y.tolist(), "log_prob": flow.log_prob(y).tolist()}


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    found = {}
    for seed, (name, plan) in enumerate(PLANS.items()):
        torch.manual_seed(seed)
        found[name] = record(plan, inside=name == "quadratic")
    with open(sys.argv[1], "w") as file:
        json.dump(found, file)
