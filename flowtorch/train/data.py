"""Tensors in memory as batches: slices of them, in an order that depends on seed and epoch alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from .. import options
from ..errors import OptionError, ShapeError
from .extra import LightningDataModule  # first of all: it says what is missing


class Batch(NamedTuple):
    """The rows of a step that fall to one process."""

    value: torch.Tensor
    context: torch.Tensor | None
    weights: torch.Tensor | None
    rows: torch.Tensor
    """Their numbers in the data."""
    share: float
    """Their part of the weight of the step, times the number of processes; 1 if there is one."""
    total: float
    """The weight of the step, over all processes."""


class Rows:
    """Events ``(n, *event)``, contexts ``(n, *context)`` and weights ``(n,)`` that belong together, row by row.

    Rows that weigh nothing are left out.

    Raises:
        ShapeError: if they are not of one length, or empty.
        OptionError: for weights that are negative, not finite, or all zero.
    """

    def __init__(
        self, value: torch.Tensor, context: torch.Tensor | None = None, weights: torch.Tensor | None = None
    ) -> None:
        if value.dim() == 0 or not len(value):
            raise ShapeError(f"Rows: at least one row is expected; got values of shape {tuple(value.shape)}.")
        for what, other in (("context", context), ("weights", weights)):
            if other is not None and other.shape[:1] != value.shape[:1]:
                raise ShapeError(
                    f"Rows: as many rows of {what} as of values, {len(value)}, are expected; got shape "
                    f"{tuple(other.shape)}."
                )
        self.value, self.context, self.weights = value, context, weights
        self.index = torch.arange(len(value))
        if weights is not None:
            if weights.dim() != 1 or not bool((weights.isfinite() & (weights >= 0)).all() and (weights > 0).any()):
                raise OptionError(
                    "Rows: weights (n,), finite, none negative, not all zero, are expected; got "
                    f"{options.short(weights)} with others."
                )
            if not bool((weights > 0).all()):
                some = self.take((weights > 0).nonzero().flatten())
                self.value, self.context, self.weights, self.index = some.value, some.context, some.weights, some.index

    def __len__(self) -> int:
        return len(self.value)

    def take(self, places: torch.Tensor) -> Rows:
        """Returns some of the rows, which keep their numbers."""
        pick = places.to(self.value.device)
        some = Rows.__new__(Rows)
        # In a quarter of the time that indexing takes.
        some.value, some.index = self.value.index_select(0, pick), self.index.index_select(0, places.cpu())
        some.context = None if self.context is None else self.context.index_select(0, pick)
        some.weights = None if self.weights is None else self.weights.index_select(0, pick)
        return some

    def batch(self, places: torch.Tensor, rank: int = 0, world: int = 1) -> Batch:
        """Returns what falls to one process of the rows of a step; with a share of zero if nothing does."""
        total = (
            float(len(places)) if self.weights is None else float(self.weights[places.to(self.weights.device)].sum())
        )
        mine = places[rank::world]
        some = self.take(mine if len(mine) else places[:1])  # layers that see no rows at all may give NaN
        part = float(len(mine)) if some.weights is None or not len(mine) else float(some.weights.sum())
        return Batch(some.value, some.context, some.weights, some.index, world * part / total, total)


class Batches:
    """A loader that slices; it has a state, and so a run goes on from where it was amid an epoch.

    Args:
        rows: the data.
        batch_size: how many rows a step, over all processes.
        seed: of the order of the rows, another one each epoch; None for the order they have.
        rank: which of the processes this is.
        world: how many there are.
        epoch: tells the epoch; counted from zero if not given.
    """

    def __init__(
        self,
        rows: Rows,
        batch_size: int,
        seed: int | None = None,
        *,
        rank: int = 0,
        world: int = 1,
        epoch: Callable[[], int] | None = None,
    ) -> None:
        self.rows, self.batch_size, self.seed, self.rank, self.world = rows, batch_size, seed, rank, world
        self.position = 0
        self._epoch, self._count, self._start = epoch, -1, 0

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        self._count += 1
        self.position, self._start = self._start, 0
        order = torch.arange(len(self.rows))
        if self.seed is not None:
            epoch = self._count if self._epoch is None else self._epoch()
            generator = torch.Generator().manual_seed(derived_seed(self.seed, "order", epoch))
            order = torch.randperm(len(self.rows), generator=generator)
        while self.position < len(self):
            start = self.position * self.batch_size
            self.position += 1
            yield self.rows.batch(order[start : start + self.batch_size], self.rank, self.world)

    def state_dict(self) -> dict[str, int]:
        """Returns how far it is in its epoch."""
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begins the next epoch there."""
        self._start = state["position"] % len(self)


class TensorData(LightningDataModule):
    """Tensors in memory for a Lightning ``Trainer``, batched by slicing and shared out over its processes.

    Args:
        train: the rows to learn from.
        validation: the rows to validate on, or None.
        batch_size: how many rows a step, over all processes.
        seed: of the order of the rows.

    Raises:
        OptionError, OptionTypeError: for options out of their range.

    Example:
        >>> data = TensorData(Rows(torch.randn(100, 2)), batch_size=40)
        >>> [len(batch.value) for batch in data.train_dataloader()]
        [40, 40, 20]
    """

    def __init__(self, train: Rows, validation: Rows | None = None, *, batch_size: int = 512, seed: int = 0) -> None:
        super().__init__()
        options.instance("TensorData", "train", train, Rows)
        if validation is not None:
            options.instance("TensorData", "validation", validation, Rows)
        options.integer("TensorData", "batch_size", batch_size, minimum=1)
        options.integer("TensorData", "seed", seed)
        self.train, self.validation, self.batch_size, self.seed = train, validation, batch_size, seed
        self.batches: Batches | None = None  # those to learn from
        self._state: dict[str, int] = {}

    def _loader(self, rows: Rows, size: int, seed: int | None) -> Batches:
        if self.trainer is None:
            return Batches(rows, size, seed)
        trainer = self.trainer
        return Batches(
            rows,
            size,
            seed,
            rank=trainer.global_rank,
            world=trainer.world_size,
            epoch=lambda: trainer.current_epoch,
        )

    def train_dataloader(self) -> Batches:
        """Returns the batches to learn from."""
        self.batches = self._loader(self.train, self.batch_size, self.seed)
        if self._state:
            self.batches.load_state_dict(self._state)
        return self.batches

    def val_dataloader(self) -> Batches | list[Batch]:
        """Returns the batches to validate on."""
        return [] if self.validation is None else self._loader(self.validation, max(self.batch_size, 4096), None)

    def state_dict(self) -> dict[str, int]:
        """Returns how far training is in its epoch."""
        return {} if self.batches is None else self.batches.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Begins there; Lightning gives the state to the batches as well, but not if it had made them before."""
        self._state = state_dict

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Moves a batch; the rows' numbers stay."""
        value, context, weights = (
            None if t is None else t.to(device, non_blocking=True) for t in (batch.value, batch.context, batch.weights)
        )
        assert value is not None
        return batch._replace(value=value, context=context, weights=weights)


def derived_seed(seed: int, *purpose: str | int) -> int:
    """Returns a seed of its own for each purpose."""
    return int.from_bytes(hashlib.sha256(repr((seed, purpose)).encode()).digest()[:7], "little")
