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
    if isinstance(constraint, domains.Joint) and not isinstance(domains.region(constraint), domains.Box):
        return _sample_pieces(constraint, shape, generator, scale)
    box = domains.region(constraint)
    if not isinstance(box, domains.Box):
        free = biject_to(constraint)
        x = scale * torch.randn(free.inverse_shape(shape), dtype=torch.float64, generator=generator)
        return torch.as_tensor(free(x))
    x = scale * torch.randn(shape, dtype=torch.float64, generator=generator)
    if box.is_real:
        return x
    lower, upper = ends(constraint, shape[len(shape) - constraint.event_dim :])
    one_sided = torch.where(lower.isfinite(), lower + x.exp(), upper - x.exp())
    both = lower + (upper - lower) * torch.sigmoid(x)
    return torch.where(lower.isfinite() & upper.isfinite(), both, torch.where(box_is_open(lower, upper), x, one_sided))


def _sample_pieces(joint: domains.Joint, shape: torch.Size, generator: torch.Generator, scale: float) -> torch.Tensor:
    x = torch.zeros(shape, dtype=torch.float64)
    place = torch.arange(numel(joint.shape)).reshape(joint.shape)
    flat = x.reshape(-1, numel(joint.shape))
    for part, where in zip(joint.parts, joint.pieces(place), strict=True):
        drawn = sample_in(part, torch.Size((*flat.shape[:1], *where.shape)), generator, scale)
        flat[:, where.flatten()] = drawn.reshape(flat.shape[0], -1)
    return flat.reshape(shape)


def ends(constraint: Constraint, event: torch.Size) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the lower and upper ends of a box, in a shape that broadcasts with events; infinite for what is none."""
    box = domains.box_of(constraint, event) or domains.Box()
    lower, upper = (torch.tensor(b, dtype=torch.float64) for b in (box.lower, box.upper))
    if len(lower) == len(upper) == 1:
        return lower[0], upper[0]
    return lower.expand(numel(event)).reshape(event), upper.expand(numel(event)).reshape(event)


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
