"""Importing the Pyro part: quiet, without traces in torch, and with a word on what is missing."""

from __future__ import annotations

from tests.fresh import run, said_without

IMPORTS = """
import copy, pickle, torch
torch.distributions.Distribution.set_default_validate_args(False)
import flowtorch.bijectors as bij, flowtorch.distributions as dist, flowtorch.pyro
assert torch.distributions.Distribution._validate_args is False

# Pyro replaces a method of torch's transforms, by which they are pickled.
plan = bij.Compose([bij.AffineCoupling(), bij.FromTransform(torch.distributions.ExpTransform())])
flow = dist.Flow(dist.DiagNormal(2), plan)
x = flow.sample((5,))
for again in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
    assert torch.equal(again.log_prob(x), flow.log_prob(x))
"""


def test_it_warns_of_nothing_leaves_torchs_checks_as_they_were_and_flows_can_be_pickled() -> None:
    run(IMPORTS)


def test_without_pyro_the_error_says_how_to_get_it() -> None:
    assert (
        said_without("pyro", "flowtorch.pyro")
        == "flowtorch.pyro: Pyro is expected; pip install 'flowtorch[pyro]' installs it.\n"
    )
