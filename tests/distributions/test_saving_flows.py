"""Every ready-made flow in a file: a fresh process gives the same densities and, under one seed, the same draws."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch import flows
from flowtorch.testing.sampling import perturb

SLOW = ("bnaf", "gf", "naf", "residual", "sylvester", "umnn")  # they draw by numerical inverses

PLANS: dict[str, Callable[[], bij.Bijector]] = {
    **{
        name: functools.partial(getattr(flows, name), layers=1 if name in SLOW else 2)
        for name in flows.__all__
        if name != "stack"
    },
    "nsf, coupling": functools.partial(flows.nsf, coupling=True, layers=2),
    "ncsf, coupling": functools.partial(flows.ncsf, coupling=True, layers=2),
    "realnvp, orders drawn": functools.partial(flows.realnvp, mixing="permute", layers=3),
    "maf, orders drawn": functools.partial(flows.maf, mixing="permute", layers=3),
    "nsf, matrices": functools.partial(flows.nsf, mixing="lu", layers=2, act_norm=True),
    "stack": lambda: flows.stack(bij.SplineCoupling(params.DenseNN((5,))), layers=3, mixing="orthogonal"),
}
NAMES = [*PLANS, *(f"{name}, with a context" for name in PLANS if name not in (*SLOW, "bpf", "sospf"))]

# What both processes do with a flow.
USE = """
import torch

def use(flow):
    torch.manual_seed(3)
    context = None if flow.context_shape is None else torch.linspace(-1, 1, 8).reshape(4, 2)
    draws = flow.sample((4,) if context is None else (), context)
    with torch.no_grad():
        scores = flow.log_prob(draws, context)
    return draws, scores, flow.log_prob(torch.full((4, 3), 0.25), context).detach()
"""
LOADING = """
import sys, pathlib, flowtorch
folder = pathlib.Path(sys.argv[1])
found = {path.stem: use(flowtorch.load(path)) for path in sorted(folder.glob("*.flow"))}
torch.save(found, folder / "found.pt")
"""


def made(name: str) -> dist.Flow:
    plan, told, _ = name.partition(", with a context")
    base = dist.UniformCircle(3) if name.startswith("ncsf") else dist.DiagNormal(3)
    flow = dist.Flow(base, PLANS[plan](), context_shape=(2,) if told else None)
    perturb(flow, torch.Generator().manual_seed(len(name)))
    return flow


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, tuple[torch.Tensor, ...]], ...]:
    """What each flow gave here, and in the one fresh process that loaded them all."""
    folder = tmp_path_factory.mktemp("flows")
    namespace: dict[str, Callable[[dist.Flow], tuple[torch.Tensor, ...]]] = {}
    exec(USE, namespace)
    here = {}
    with torch.random.fork_rng(devices=[]):
        for name in NAMES:
            torch.manual_seed(0)
            flow = made(name)
            flow.save(folder / f"{name}.flow")
            here[name] = namespace["use"](flow)
    subprocess.run([sys.executable, "-c", f"{USE}\n{LOADING}", folder], check=True)
    return here, torch.load(folder / "found.pt", weights_only=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_process_gives_equal_densities_and_draws(
    name: str, both: tuple[dict[str, tuple[torch.Tensor, ...]], ...]
) -> None:
    here, there = both
    assert all(torch.equal(a, b) and a.isfinite().all() for a, b in zip(here[name], there[name], strict=True))


def test_no_ready_made_flow_is_left_out() -> None:
    assert {name.split(",")[0] for name in PLANS} == set(flows.__all__)
