"""What a peer is made into, and what is timed of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch

from .cases import Case, Measure

Run = Callable[[], object]  # one repetition of what is measured; returns when it is done


class NotOffered(Exception):
    """The library has no such flow, or cannot go in this direction."""


class Model(Protocol):
    """A flow of one library in one configuration."""

    def parameter_count(self) -> int:
        """Returns how many numbers are trained."""
        ...

    def check(self, case: Case) -> None:
        """Raises ValueError unless there is one finite log-density for each row."""
        ...

    def run(self, measure: Measure, case: Case) -> Run:
        """Returns one repetition of what is measured, with everything it needs ready."""
        ...


@dataclass
class TorchModel:
    """A flow of a library for PyTorch. ``rsample`` is None where there is no gradient through samples."""

    parameters: Iterable[torch.nn.Parameter]
    log_prob: Callable[[torch.Tensor], torch.Tensor]
    sample: Callable[[int], torch.Tensor] | None = None
    rsample: Callable[[int], torch.Tensor] | None = None

    def __post_init__(self) -> None:
        self.parameters = [p for p in self.parameters if p.requires_grad]

    def perturb(self) -> None:
        """Moves all parameters a little: what starts as the identity is no fair load."""
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in self.parameters:
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters)

    def check(self, case: Case) -> None:
        with torch.no_grad():
            value = self.log_prob(case.data())
        if value.shape != (case.batch,):
            raise ValueError(f"log_prob: shape ({case.batch},) is expected; got {tuple(value.shape)}")
        if not value.isfinite().all():
            raise ValueError(f"log_prob: finite values are expected; got {value[~value.isfinite()][0].item()}")

    def run(self, measure: Measure, case: Case) -> Run:
        return {"train": self._train, "log_prob": self._score, "sample": self._sample, "rsample": self._rsample}[
            measure
        ](case)

    def _train(self, case: Case) -> Run:
        x = case.data()
        self._drop_gradients()
        # A tiny rate: thousands of steps on one batch shall not change what is timed.
        optimizer = torch.optim.Adam(self.parameters, lr=1e-6, fused=True)

        def run() -> None:
            optimizer.zero_grad()
            loss = -self.log_prob(x).mean()
            loss.backward()
            optimizer.step()

        return run

    def _drop_gradients(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def _score(self, case: Case) -> Run:
        x = case.data()

        def run() -> None:
            with torch.no_grad():
                self.log_prob(x)

        return run

    def _sample(self, case: Case) -> Run:
        sample = self.sample
        if sample is None:
            raise NotOffered("it cannot be sampled from")

        def run() -> None:
            with torch.no_grad():
                sample(case.batch)

        return run

    def _rsample(self, case: Case) -> Run:
        rsample = self.rsample
        if rsample is None:
            raise NotOffered("it has no gradient through samples")
        self._drop_gradients()

        def run() -> None:
            self._drop_gradients()
            rsample(case.batch).square().mean().backward()

        return run


Call = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def fixed_model(call: Call, case: Case) -> TorchModel:
    """Returns a model around a map without parameters: a scale before it gives it something to train.

    ``call`` returns the value and the log-determinant, a number for each row.
    """
    scale = torch.nn.Parameter(torch.ones(case.dim))

    def log_prob(x: torch.Tensor) -> torch.Tensor:
        y, log_det = call(x * scale)
        return log_det - y.square().sum(-1)

    return TorchModel([scale], log_prob)
