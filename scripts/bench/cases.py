"""What is measured: the configurations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

Structure = Literal["autoregressive", "coupling", "elementwise"]
Measure = Literal["train", "log_prob", "sample", "rsample"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
MEASURE_NAMES = {"train": "train step", "log_prob": "log_prob", "sample": "sample", "rsample": "rsample + backward"}


@dataclass(frozen=True)
class Case:
    """A flow and a size. As it stands it is the middle configuration.

    ``direction`` says what takes one pass where not both do: ``"density"``, from data to base, or ``"sampling"``.
    """

    map: str = "rational_quadratic"
    structure: Structure = "autoregressive"
    dim: int = 16
    batch: int = 512
    layers: int = 5
    hidden: tuple[int, ...] = (128, 128)
    bins: int = 8
    direction: Literal["density", "sampling"] = "density"

    @property
    def flow(self) -> str:
        """Returns the name of the flow without its size."""
        name = self.map.replace("_", " ") + (" spline" if self.map in SPLINES else "")
        return f"{name}, {self.structure}"

    @property
    def label(self) -> str:
        """Returns the name of the flow and its size, with what differs from the middle configuration."""
        text = f"{self.flow}, D = {self.dim}, batch {self.batch}"
        for field in ("layers", "bins"):
            if getattr(self, field) != getattr(MIDDLE, field):
                text += f", {getattr(self, field)} {field}"
        return text

    def but(self, **changes: object) -> Case:
        """Returns the same with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def data(self) -> torch.Tensor:
        """Returns the batch that is scored: standard normal where the map allows."""
        generator = torch.Generator().manual_seed(0)
        if self.map in ("circular", "sum_of_squares"):
            # Angles; and what five layers of polynomials of degree 9 do not carry out of float32, as Pyro's would.
            width = 1.99 * math.pi if self.map == "circular" else 2.0
            return (torch.rand(self.batch, self.dim, generator=generator) - 0.5) * width
        return torch.randn(self.batch, self.dim, generator=generator)


SPLINES = ("rational_quadratic", "rational_linear", "linear", "quadratic", "cubic", "circular")
MIDDLE = Case()
DIMS, BATCHES = (2, 16, 64, 256), (1, 64, 512, 4096)
FLOWS = tuple(
    Case(map=name, structure=structure)
    for name in ("affine", "rational_quadratic")
    for structure in ("autoregressive", "coupling")
)

# Each map in the structure in which a peer has it; the affine and the rational quadratic one are in FLOWS too.
MAPS: tuple[tuple[str, Structure], ...] = (
    ("affine", "autoregressive"),
    ("affine", "coupling"),
    ("shift", "coupling"),
    ("signed_power", "autoregressive"),
    ("rational_quadratic", "autoregressive"),
    ("rational_quadratic", "coupling"),
    ("rational_linear", "autoregressive"),
    ("rational_linear", "coupling"),
    ("linear", "coupling"),
    ("quadratic", "autoregressive"),
    ("quadratic", "coupling"),
    ("cubic", "coupling"),
    ("circular", "autoregressive"),
    ("bernstein", "autoregressive"),
    ("sum_of_squares", "autoregressive"),
    ("deep_sigmoid", "autoregressive"),
    ("monotonic_network", "autoregressive"),
    ("unconstrained_monotonic", "autoregressive"),
    ("gaussian_mixture_cdf", "autoregressive"),
    ("exp", "elementwise"),
    ("sigmoid", "elementwise"),
    ("tanh", "elementwise"),
    ("softplus", "elementwise"),
    ("elu", "elementwise"),
    ("leaky_relu", "elementwise"),
    ("softclip", "elementwise"),
    ("normal_cdf", "elementwise"),
    ("cauchy_cdf", "elementwise"),
)


@dataclass(frozen=True)
class Job:
    """A configuration, what is measured of it, and the part of the report it belongs to."""

    part: Literal["middle", "maps", "grid", "growth"]
    case: Case
    measures: tuple[Measure, ...] = MEASURES
    memory: bool = False

    def measuring(self, wanted: Sequence[str]) -> Job:
        """Returns the same job with some of its measures."""
        return dataclasses.replace(self, measures=tuple(m for m in self.measures if m in wanted))


def middle() -> Iterator[Job]:
    """The flows at D = 16 and 64, with peak memory."""
    for flow in FLOWS:
        for dim in (16, 64):
            yield Job("middle", flow.but(dim=dim), memory=True)


def maps() -> Iterator[Job]:
    """A row for each elementwise map."""
    for name, structure in MAPS:
        for dim in (16, 64):
            yield Job("maps", Case(map=name, structure=structure, dim=dim), ("train", "log_prob"))


def grid() -> Iterator[Job]:
    """The flows at all sizes, smaller ones first: what takes too long there is left out later. Memory for one large."""
    for flow in FLOWS:
        for dim in DIMS:
            for batch in BATCHES:
                yield Job("grid", flow.but(dim=dim, batch=batch), memory=(dim, batch) == (64, 4096))


def growth() -> Iterator[Job]:
    """Time and memory along one axis at a time."""
    axes = {"dim": DIMS, "bins": (4, 8, 16, 32, 64), "layers": (1, 2, 5, 10, 20), "batch": BATCHES}
    # The middle configuration lies on all four and is measured once.
    for case in dict.fromkeys(MIDDLE.but(**{axis: value}) for axis, values in axes.items() for value in values):
        yield Job("growth", case, ("train",), memory=True)
