"""The conformance kit finds mistakes: each way to get a bijector wrong fails the check that is for it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from flowtorch.testing import check_bijector
from flowtorch.testing.check import CHECKS
from flowtorch.types import TensorPair
from tests.testing.stretch import MISTAKES, BoundStretch, Stretch

EXPECTED: dict[str, tuple[str, ...]] = {}  # the checks that are to fail for each


def mistake(name: str, *checks: str) -> Any:
    """Registers a bound form with a mistake and the checks that are to find it."""

    def add(cls: type[BoundStretch]) -> type[BoundStretch]:
        MISTAKES[name], EXPECTED[name] = cls, checks
        return cls

    return add


class Changed(BoundStretch):
    """Changes what comes out of both directions."""

    def change(self, value: torch.Tensor, log_det: torch.Tensor) -> TensorPair:
        """Returns what comes out instead."""
        raise NotImplementedError

    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self.change(*super()._forward_and_log_det(x, context))

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return self.change(*super()._inverse_and_log_det(y, context))


@mistake("has the wrong sign", "log_det", "integrates_to_one")
class WrongSign(Changed):
    def change(self, value: torch.Tensor, log_det: torch.Tensor) -> TensorPair:
        return value, -log_det


@mistake("sums over the batch", "log_det", "batches")
class SumsOverTheBatch(Changed):
    def change(self, value: torch.Tensor, log_det: torch.Tensor) -> TensorPair:
        return value, log_det.sum()


@mistake("does not sum over the event", "log_det", "batches")
class DoesNotSum(BoundStretch):
    def total(self, log_derivative: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return log_derivative.expand_as(like)


@mistake("forgets the batch of what has no batch", "log_det", "batches")
class ForgetsTheBatch(BoundStretch):
    def total(self, log_derivative: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return log_derivative.sum()


@mistake("rounds to float32", "round_trip")
class RoundsToFloat32(BoundStretch):
    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        x, log_det = super()._inverse_and_log_det(y, context)
        return x.float().to(x), log_det.float().to(x)


@mistake("gives float64 whatever comes", "float32")
class AlwaysDouble(Changed):
    def change(self, value: torch.Tensor, log_det: torch.Tensor) -> TensorPair:
        return value.double(), log_det.double()


@mistake("inverts wrongly", "round_trip")
class InvertsWrongly(BoundStretch):
    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        log_scale, shift = self.both(context)
        return y * (-log_scale).exp() - shift, self.total(-log_scale, y)


@mistake("does not negate the log-det of the inverse", "round_trip", "log_det")
class DoesNotNegate(BoundStretch):
    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        x, log_det = super()._inverse_and_log_det(y, context)
        return x, -log_det


@mistake("scores samples wrongly", "round_trip", "log_det", "single_methods")
class ScoresSamplesWrongly(BoundStretch):
    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        y, log_det = super()._forward_and_log_det(x, context)
        return y, log_det + 1e-4

    def log_abs_det_jacobian(
        self, x: torch.Tensor, y: torch.Tensor, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        return -self.inverse_and_log_det(y, context)[1]


@mistake("ignores the context", "gradients")
class IgnoresTheContext(BoundStretch):
    def both(self, context: torch.Tensor | None) -> TensorPair:
        return super().both(None)


@mistake("ignores the context when inverting", "round_trip")
class IgnoresTheContextInOneDirection(BoundStretch):
    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        return super()._inverse_and_log_det(y, None)


@mistake("takes a context's batch for its own", "context")
class TakesOnlyFullContexts(BoundStretch):
    def both(self, context: torch.Tensor | None) -> TensorPair:
        log_scale, shift = super().both(context)
        return (log_scale, shift) if context is None or context.dim() > 1 else (log_scale.detach() * 0, shift)


@mistake("has a parameter that does nothing", "gradients")
class HasAnIdleParameter(BoundStretch):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.idle = torch.nn.Parameter(torch.zeros(1))


@mistake("cuts the gradient", "gradients")
class CutsTheGradient(BoundStretch):
    def both(self, context: torch.Tensor | None) -> TensorPair:
        log_scale, shift = super().both(context)
        return log_scale, shift.detach()


@mistake("writes into its input", "round_trip")
class WritesIntoItsInput(BoundStretch):
    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        y, log_det = super()._forward_and_log_det(x, context)
        with torch.no_grad():
            x.data.mul_(0.5)
        return y, log_det


@mistake("has state that is in no state_dict", "state")
class HidesItsState(BoundStretch):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.register_buffer("turn", torch.rand(()) + 1.0, persistent=False)

    def both(self, context: torch.Tensor | None) -> TensorPair:
        log_scale, shift = super().both(context)
        return log_scale * self.turn, shift


ONE_FOR_ALL = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))


@mistake("shares a parameter between bindings", "state")
class SharesAParameter(BoundStretch):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.log_scale = ONE_FOR_ALL


@mistake("keeps a tensor with its graph", "copies")
class KeepsAGraph(BoundStretch):
    def both(self, context: torch.Tensor | None) -> TensorPair:
        log_scale, shift = super().both(context)
        self.last = log_scale * 1.0
        return log_scale, shift


@mistake("draws noise", "single_methods", "batches")
class DrawsNoise(BoundStretch):
    calls = itertools.count(1)

    def both(self, context: torch.Tensor | None) -> TensorPair:
        log_scale, shift = super().both(context)
        return log_scale, shift + 1e-3 * next(self.calls)


@mistake("leaves the codomain", "codomain")
class LeavesTheCodomain(BoundStretch):
    pass


@mistake("is nan outside", "outside")
class IsNanOutside(BoundStretch):
    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        y, log_det = super()._forward_and_log_det(x, context)
        return y.exp(), log_det + self.total(y, x)

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        x, log_det = super()._inverse_and_log_det(y.log(), context)
        return x, log_det - self.total(y.log(), y)


@mistake("takes one batch dimension", "batches")
class TakesOneBatchDimension(Changed):
    def change(self, value: torch.Tensor, log_det: torch.Tensor) -> TensorPair:
        return value, log_det.reshape(value.shape[0])


@mistake("looks at the numbers", "compile", "vmap_grad")
class LooksAtTheNumbers(Changed):
    def change(self, value: torch.Tensor, log_det: torch.Tensor) -> TensorPair:
        return (value, log_det) if value.sum().item() > -1e9 else (value + 1, log_det)


@mistake("looks at the numbers when bound", "meta")
class LooksWhenBound(BoundStretch):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        assert self.log_scale.sum().item() == 0.0


@mistake("has an inverse of torch's", "inverse_view")
class HasAnInverseOfTorch(BoundStretch):
    @property
    def inv(self) -> Any:
        return torch.distributions.transforms._InverseTransform(self)


@mistake("forgets the batch in forward_shape", "shapes")
class ForgetsTheBatchOfShapes(BoundStretch):
    def forward_shape(self, shape: torch.Size) -> torch.Size:
        return self.out_shape


CASES = [(name, check) for name, checks in EXPECTED.items() for check in checks]


@pytest.mark.parametrize(("name", "check"), CASES, ids=[f"{name}: {check}" for name, check in CASES])
def test_a_mistake_fails_the_check_that_is_for_it(name: str, check: str) -> None:
    with pytest.raises(AssertionError, match=f"check_bijector: {check} fails for Stretch"):
        check_bijector(Stretch(name), (2,), (3,), only=[check])


@pytest.mark.parametrize("name", EXPECTED)
def test_all_checks_together_find_it(name: str) -> None:
    with pytest.raises(AssertionError, match="check_bijector: "):
        check_bijector(Stretch(name), (2,), (3,), skip=["compile"])


def test_every_check_has_a_mistake_that_it_finds() -> None:
    found = {check for checks in EXPECTED.values() for check in checks}
    elsewhere = {"plan_is_a_value", "specification", "transform", "zero_pattern"}  # in test_check_bijector.py
    assert found | elsewhere == set(CHECKS) and not found & elsewhere
