"""Interleaved timing: all take turns, so that whatever else the machine does falls on all alike."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter, process_time

Timer = Callable[[int], float]  # seconds a repetition takes, the mean over so many

# On a machine that others use too, processor time tells more than the wall clock, as long as there is one thread.
CLOCKS: dict[str, Callable[[], float]] = {"wall": perf_counter, "cpu": process_time}


@dataclass(frozen=True)
class Timing:
    """What one contestant took, in seconds a repetition, a sample for each round."""

    samples: tuple[float, ...]
    number: int  # repetitions a sample
    note: str = ""

    @property
    def median(self) -> float:
        """Returns the median over the rounds."""
        return statistics.median(self.samples)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Returns the first and the third quartile."""
        return _quartiles(self.samples)


@dataclass(frozen=True)
class Ratio:
    """How many times as long as the reference: the median of the rounds, and its quartiles."""

    median: float
    quartiles: tuple[float, float]

    @classmethod
    def of(cls, timing: Timing, reference: Timing) -> Ratio:
        """Returns the ratio of two that took turns, from the rounds that both were in."""
        ratios = tuple(a / b for a, b in zip(timing.samples, reference.samples, strict=False))
        return cls(statistics.median(ratios), _quartiles(ratios))


def _quartiles(samples: tuple[float, ...]) -> tuple[float, float]:
    if len(samples) < 2:
        return samples[0], samples[0]
    first, _, third = statistics.quantiles(samples, n=4, method="inclusive")
    return first, third


@dataclass(frozen=True)
class Failure:
    """Why there is no timing."""

    reason: str

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Returns the error's kind and the first line of its text."""
        lines = str(error).strip().splitlines() or [""]
        return cls(f"{type(error).__name__}: {lines[0]}"[:300])


@dataclass(frozen=True)
class Budget:
    """How long timing may take."""

    seconds: float = 1.5  # for each contestant
    rounds: tuple[int, int] = (7, 101)  # at least, if it takes no more than `patience`; at most
    patience: float = 15.0  # seconds for a contestant that `rounds` would need longer for
    sample: float = 2e-3  # repetitions that are quicker are timed several at a time


def local(run: Callable[[], object], clock: str = "wall") -> Timer:
    """Returns the timer of what runs in this process."""
    now = CLOCKS[clock]

    def timer(number: int) -> float:
        start = now()
        for _ in range(number):
            run()
        return (now() - start) / number

    return timer


def interleave(timers: Mapping[str, Timer], budget: Budget) -> dict[str, Timing | Failure]:
    """Times all in turn, round by round, every second round backwards.

    One that takes longer than the patience lasts gets fewer rounds, and a note that says so. One that raises, in the
    warm-up of two repetitions or later, is given up with its reason.
    """
    results: dict[str, Timing | Failure] = {}
    plans: dict[str, tuple[int, int]] = {}  # repetitions a sample, rounds
    samples: dict[str, list[float]] = {name: [] for name in timers}
    for name, timer in timers.items():
        try:
            once = timer(1)
            if once > budget.patience:
                results[name] = Timing((once,), 1, "one repetition, the first")
                continue
            once = min(once, timer(1))
            if budget.sample > once:  # too short to be judged by one repetition
                once = timer(math.ceil(budget.sample / once))
        except Exception as error:
            results[name] = Failure.of(error)
            continue
        number = max(1, math.ceil(budget.sample / once))
        fewest, most = budget.rounds
        rounds = min(max(int(budget.seconds / (once * number)), fewest), most)
        plans[name] = number, max(1, min(rounds, int(budget.patience / (once * number))))

    for index in range(max((rounds for _, rounds in plans.values()), default=0)):
        for name in list(plans) if index % 2 == 0 else list(plans)[::-1]:
            number, rounds = plans[name]
            if index < rounds and name not in results:
                try:
                    samples[name].append(timers[name](number))
                except Exception as error:
                    results[name] = Failure.of(error)
    for name, (number, rounds) in plans.items():
        if name not in results:
            note = f"rounds: {rounds}" if rounds < budget.rounds[0] else ""
            results[name] = Timing(tuple(samples[name]), number, note)
    return {name: results[name] for name in timers}
