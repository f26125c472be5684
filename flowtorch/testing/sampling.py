"""Inputs for checks: points within a domain, and parameters away from where they start."""

from __future__ import annotations

import torch
from torch.distributions.constraint_registry import biject_to
from torch.distributions.constraints import Constraint

from .. import domains
from ..types import numel


def sample_in(
    constraint: Constraint, shape: torch.Size, generator: torch.Generator, scale: float = 1.0
) -> torch.Tensor:
    """Returns float64 points of ``shape`` in the interior of a set, spread about as widely as standard normals are.

    Example:
        >>> from torch.distributions.constraints import unit_interval
        >>> x = sample_in(unit_interval, torch.Size((5,)), torch.Generator().manual_seed(0))
        >>> bool(((x > 0) & (x < 1)).all())
        True
    """
    x = scale * torch.randn(shape, dtype=torch.float64, generator=generator)
    box = domains.region(constraint)
    if not isinstance(box, domains.Box):
        return torch.as_tensor(biject_to(constraint)(x))
    if box.is_real:
        return x
    lower, upper = (torch.tensor(b, dtype=torch.float64) for b in (box.lower, box.upper))
    if len(box.lower) > 1 or len(box.upper) > 1:
        event = shape[len(shape) - constraint.event_dim :]
        lower, upper = (b.expand(numel(event)).reshape(event) for b in (lower, upper))
    one_sided = torch.where(lower.isfinite(), lower + x.exp(), upper - x.exp())
    both = lower + (upper - lower) * torch.sigmoid(x)
    return torch.where(lower.isfinite() & upper.isfinite(), both, torch.where(box_is_open(lower, upper), x, one_sided))


def box_is_open(lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
    """Returns where a coordinate is not bounded on either side."""
    return lower.isneginf() & upper.isposinf()


def perturb(module: torch.nn.Module, generator: torch.Generator, scale: float = 0.5) -> None:
    """Adds noise to all parameters: at their initial values many maps are the identity, which hides mistakes.

    Weights get less the more inputs they sum over, so that outputs stay of the order of ``scale``.

    Example:
        >>> from flowtorch.bijectors import Affine
        >>> bound = Affine().bind((2,))
        >>> perturb(bound, torch.Generator().manual_seed(0))
        >>> torch.equal(bound.forward(torch.ones(2)), torch.ones(2))
        False
    """
    with torch.no_grad():
        for name, p in module.named_parameters():
            inputs = p.shape[-1] if name.endswith("weight") and p.dim() > 1 else 1
            noise = torch.randn(p.shape, dtype=torch.float64, generator=generator)
            p.add_((scale / max(inputs, 1) ** 0.5 * noise).to(p))
