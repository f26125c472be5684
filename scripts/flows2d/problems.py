"""The targets, their draws, and what of the plane is drawn of each."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from flowtorch.distributions import targets

HELD_OUT = 20_000
BATCH = 256
DATA_SEED, HELD_OUT_SEED = 1_000, 2_000


@dataclass(frozen=True)
class Problem:
    """A target, its title, half of the square that is drawn of it, and how it is scaled to be wound around a torus."""

    make: Callable[[], torch.distributions.Distribution]
    title: str
    half: float
    centre: tuple[float, float]
    wound: float
    turns: tuple[int, int] = (1, 1)


PROBLEMS = {
    "funnel": Problem(targets.NealsFunnel, "Neal's funnel", 9.0, (0.0, 0.0), 0.3, (2, 16)),
    "moons": Problem(targets.TwoMoons, "two moons", 1.9, (0.5, 0.25), 1.2),
    "circles": Problem(targets.TwoCircles, "two circles", 1.5, (0.0, 0.0), 1.8),
    "eight": Problem(targets.EightGaussians, "eight normals", 4.2, (0.0, 0.0), 0.7),
    "board": Problem(targets.Checkerboard, "checkerboard", 4.6, (0.0, 0.0), math.pi / 4),
    "pinwheel": Problem(targets.Pinwheel, "pinwheel", 4.2, (0.0, 0.0), 0.6),
    "spirals": Problem(targets.Spirals, "spirals", 3.8, (0.0, 0.0), 0.7),
    "banana": Problem(targets.Banana, "banana", 5.5, (0.0, 2.0), 0.45),
    "mixture": Problem(targets.DiagNormalMixture, "mixture of normals", 5.0, (0.0, 0.0), 0.5),
}


class Wound(torch.distributions.Distribution):
    """A target in the plane, scaled and wound around the torus [-pi, pi)^2: a sum over its images."""

    arg_constraints = {}  # noqa: RUF012
    support = torch.distributions.constraints.independent(
        torch.distributions.constraints.interval(-math.pi, math.pi), 1
    )

    def __init__(self, problem: Problem) -> None:
        super().__init__(event_shape=torch.Size([2]), validate_args=False)
        self._plane, self._scale, self._turns = problem.make(), problem.wound, problem.turns

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = torch.Size()) -> torch.Tensor:  # noqa: B008
        x = self._plane.sample(torch.Size(sample_shape)) * self._scale
        return torch.remainder(x + math.pi, 2 * math.pi) - math.pi

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        a, b = (2 * math.pi * torch.arange(-n, n + 1, dtype=value.dtype) for n in self._turns)
        images = torch.cartesian_prod(a, b)
        parts = [self._plane.log_prob((value + image) / self._scale) for image in images]
        return torch.stack(parts).logsumexp(0) - 2 * math.log(self._scale)


def distribution(target: str, torus: bool) -> torch.distributions.Distribution:
    """Returns the target, wound around the torus for flows that live there."""
    problem = PROBLEMS[target]
    return Wound(problem) if torus else problem.make()


def training(target: str, torus: bool, steps: int, seed: int) -> torch.Tensor:
    """Returns fresh draws for each step, ``(steps, BATCH, 2)``: the same for all flows."""
    torch.manual_seed(DATA_SEED + seed)
    return distribution(target, torus).sample(torch.Size([steps, BATCH]))


@functools.cache
def held_out(target: str, torus: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns draws that no flow has seen, and the target's log-density there in double precision."""
    torch.manual_seed(HELD_OUT_SEED)
    p = distribution(target, torus)
    x = p.sample(torch.Size([HELD_OUT]))
    return x, torch.cat([p.log_prob(part.double()) for part in x.split(2_000)])


def lattice(target: str, torus: bool, count: int) -> torch.Tensor:
    """Returns the middles of ``count`` by ``count`` cells of the square that is drawn, ``(count, count, 2)``."""
    problem = PROBLEMS[target]
    at = ((torch.arange(count) + 0.5) / count) * 2 - 1
    half, (x, y) = (math.pi, (0.0, 0.0)) if torus else (problem.half, problem.centre)
    return torch.stack(torch.meshgrid(x + half * at, y + half * at, indexing="xy"), -1)
