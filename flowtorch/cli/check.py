"""``flowtorch check``: what a plan amounts to, without data."""

from __future__ import annotations

import argparse
import dataclasses

import torch

from .. import domains
from ..errors import FlowTorchError, OptionError
from .output import say
from .plans import make_plan


def run(given: argparse.Namespace) -> None:
    """Prints what the plan maps to what, and the table of its layers.

    Raises:
        OptionError: for a plan that such events do not fit.
    """
    plan = make_plan(given.flow, given.set)
    try:
        table = plan.check(given.shape, given.context_shape)
        sets = plan.domain_at(torch.Size(given.shape)), plan.codomain
    except FlowTorchError as error:
        raise OptionError(
            f"check: a plan that fits events of shape {given.shape} is expected; got this: {error}"
        ) from error
    domain, codomain = map(domains.describe, sets)
    layers = [dataclasses.asdict(row) for row in table.rows]
    found = {"domain": domain, "codomain": codomain, "parameters": table.parameters, "layers": layers}
    say(
        given.json,
        found,
        f"plan       {given.flow}: from {domain}, the base's side, to {codomain}, the data's\n\n{table}",
    )
