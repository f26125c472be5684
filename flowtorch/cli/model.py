"""A flow with the columns of the table that it was fitted to: its units, noise, scores and samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch.distributions import Distribution

from .. import bijectors as bij
from .. import distributions as dist
from .. import domains
from ..distributions import saving
from ..errors import FileError, FlowTorchError, OptionError, SpecificationError
from ..objectives import maximum_likelihood
from .columns import Columns, from_notes
from .extra import AnyArray, Array, np

CHUNK = 16_384  # rows at a time
Notes: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """A flow over the chosen columns, given the others; its densities are in the table's units."""

    flow: dist.Flow
    columns: Columns
    notes: Notes

    def tensor(self, values: Array) -> torch.Tensor:
        """Returns values in the flow's dtype."""
        return torch.from_numpy(np.ascontiguousarray(values)).to(_dtype(self.flow))

    def log_prob(self, values: Array, context: Array | None, seed: int) -> Array:
        """Returns the log-density of rows, dequantised where columns are rounded."""
        rows = _within(self.columns, self.tensor(dequantised(self.columns, values, seed)))
        parts = [t.split(CHUNK) for t in (rows, None if context is None else self.tensor(context)) if t is not None]
        with torch.no_grad():
            found = torch.cat([self.flow.log_prob(*some) for some in zip(*parts, strict=True)])
        return found.double().numpy()

    def sample(self, count: int, context: Array | None, seed: int) -> AnyArray:
        """Returns rows drawn from the flow, in its dtype: one a context, or ``count`` if there are none."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if context is None:
                return self.flow.sample((count,), chunk_size=CHUNK).numpy()
            return torch.cat([self.flow.sample((), some) for some in self.tensor(context).split(CHUNK)]).numpy()

    def save(self, path: Path) -> None:
        """Writes flow and columns to one file, which ``flowtorch.load`` reads as well."""
        saving.save(self.flow, path, notes={**self.notes, "columns": self.columns.notes()})


def open_model(path: Path) -> Model:
    """Returns the model in a file.

    Raises:
        FileError: for what is none that ``flowtorch fit`` wrote.
    """
    if not path.is_file():
        raise FileError(f"load: a model that `flowtorch fit` wrote is expected; got no file {str(path)!r}.")
    try:
        notes = saving.notes(path)
        columns = from_notes(notes.get("columns"), str(path))
        flow = saving.load(path)
    except SpecificationError as error:
        raise FileError(str(error)) from error  # the file's fault, not that of what was typed
    shapes = (torch.Size([len(columns.chosen)]), torch.Size([len(columns.given)]) if columns.given else None)
    if (flow.event_shape, flow.context_shape) != shapes:
        raise FileError(f"load: a flow of as many columns as its notes name is expected in {str(path)!r}; got others.")
    return Model(flow, columns, notes)


# Making one -----------------------------------------------------------------------------------------------------------


def build(plan: bij.Bijector, columns: Columns, values: Array, context: Array | None, seed: int) -> dist.Flow:
    """Returns a flow with a table's units in it: bounds and scales at its end, those of contexts in its embedding.

    Args:
        plan: what to put them on; on a normal base, or on a uniform one around the circle if it is a plan of angles.
        columns: what the values are.
        values: the rows to learn from.
        context: the given columns of them.
        seed: of what is drawn when the plan is bound.

    Raises:
        DomainError: for a column that does not vary.
        OptionError: for a plan that does not fit.
    """
    noisy = dequantised(columns, values, seed)
    count = len(columns.chosen)
    base: Distribution = dist.UniformCircle(count) if is_periodic(plan) else dist.DiagNormal(count)
    units = _around(columns) if is_periodic(plan) else _units(columns, torch.from_numpy(noisy))
    embedding, context_shape = None, None
    if context is not None:
        scale = bij.Standardize.from_data(torch.from_numpy(context), names=[c.name for c in columns.given])
        context_shape = torch.Size([context.shape[1]])
        embedding = bij.Invert(scale).bind(context_shape)
    parts = plan.parts if isinstance(plan, bij.Compose) and not plan.checkpoint else (plan,)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            flow = dist.Flow(base, bij.Compose([*parts, *units]), context_shape=context_shape, embedding=embedding)
    except FlowTorchError as error:
        raise OptionError(f"option --flow: a plan that fits {count} columns is expected; got this: {error}") from error
    return flow.to(working_type(noisy, columns.steps))


def is_periodic(plan: bij.Bijector) -> bool:
    """Returns whether a plan is one of angles."""
    circle = dist.UniformCircle(1).support
    return domains.includes(plan.domain, circle) and domains.includes(circle, plan.domain)


def _units(columns: Columns, noisy: torch.Tensor) -> list[bij.Bijector]:
    boxes = [column.box for column in columns.chosen]
    names = [column.name for column in columns.chosen]
    if not any(column.bounded for column in columns.chosen):
        return [bij.Standardize.from_data(noisy, names=names)]
    box = bij.ConstrainTo(("interval", tuple(low for low, _ in boxes), tuple(high for _, high in boxes)))
    free = box.bind(noisy.shape[1:]).double().inverse(noisy)
    return [bij.Standardize.from_data(free, names=names), box]


def _around(columns: Columns) -> list[bij.Bijector]:
    boxes = [column.box for column in columns.chosen]
    if not all(math.isfinite(end) for box in boxes for end in box):
        raise OptionError(
            "option --bounds: where the circle of each column begins and ends is expected; got half of them."
        )
    loc = tuple((low + high) / 2 for low, high in boxes)
    return [bij.AffineFixed(loc=loc, scale=tuple((high - low) / (2 * math.pi) for low, high in boxes))]


def working_type(values: Array, steps: Array) -> torch.dtype:
    """Returns float64 where float32 is too coarse for a column's spread or step, or has no such numbers."""
    largest, spread = np.abs(values).max(0), values.std(0)
    finest = np.where(steps > 0, np.minimum(spread, 20 * steps), spread)
    coarse = largest * float(np.finfo(np.float32).eps) > 1e-3 * finest
    return torch.float64 if bool((coarse | (largest > 1e30) | (spread < 1e-30)).any()) else torch.float32


# Noise ----------------------------------------------------------------------------------------------------------------


def dequantised(columns: Columns, values: Array, seed: int) -> Array:
    """Returns rows with uniform noise of one step added where columns are rounded."""
    return np.asarray(values + columns.steps * np.random.default_rng([seed, 1]).random(values.shape))


def middles(columns: Columns, values: Array) -> Array:
    """Returns rows with half a step added where columns are rounded."""
    return values + 0.5 * columns.steps


class NoisyLikelihood:
    """The negative mean log-likelihood of the middles of steps, with fresh noise each time."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def __call__(
        self, flow: dist.Flow, x: torch.Tensor, context: torch.Tensor | None, weights: torch.Tensor | None
    ) -> torch.Tensor:
        """Returns it."""
        steps = torch.from_numpy(self.columns.steps).to(x)
        noise = torch.rand_like(x).clamp(min=torch.finfo(x.dtype).eps) - 0.5
        return maximum_likelihood(flow, _within(self.columns, x + steps * noise), context, weights)


def _within(columns: Columns, x: torch.Tensor) -> torch.Tensor:
    """Returns rows strictly within their bounds, to which rounding may have moved them."""
    if not any(column.bounded for column in columns.chosen):
        return x
    low, high = torch.tensor([column.box for column in columns.chosen]).to(x).unbind(1)
    inf = torch.tensor(math.inf).to(x)
    return x.clamp(torch.nextafter(low, inf), torch.nextafter(high, -inf))


def _dtype(flow: dist.Flow) -> torch.dtype:
    tensors = (*flow.parameters(), *flow.buffers())
    return next((t.dtype for t in tensors if t.is_floating_point()), torch.get_default_dtype())
