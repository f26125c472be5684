"""Runs the jobs."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from . import peers, timing
from .cases import Case, Job, Measure
from .model import NotOffered
from .timing import Budget, Failure, Ratio, Timing
from .worker import Worker, peak_in_new_process


@dataclass
class Result:
    """One measure of one library in one configuration."""

    part: str
    case: Case
    library: str
    measure: Measure
    status: Literal["timed", "fails", "skipped"]
    note: str = ""
    parameters: int | None = None
    timing: Timing | None = None
    ratio: Ratio | None = None  # to ours
    peak: int | None = None  # bytes

    def to_dict(self) -> dict[str, Any]:
        """Returns what goes into results.json."""
        record: dict[str, Any] = {**asdict(self), "label": self.case.label}
        if self.timing is not None:
            record["timing"].update(median=self.timing.median, quartiles=self.timing.quartiles)
        return record


@dataclass
class _Built:
    """A model in one direction, here or in the worker."""

    parameters: int
    timer: Callable[[Measure], timing.Timer]


def say(text: str) -> None:
    """Tells how far it is."""
    print(text, file=sys.stderr, flush=True)


class Runner:
    """Builds what takes part, times it interleaved, and remembers what is missing and what is too slow."""

    def __init__(
        self, libraries: Sequence[str], budget: Budget, threads: int = 1, *, clock: str = "wall", memory: bool = True
    ) -> None:
        self.libraries, self.budget, self.threads = list(libraries), budget, threads
        self.clock, self.memory = clock, memory
        self.missing: dict[str, str] = {}
        self._slow: dict[tuple[str, str, Measure], list[tuple[int, int]]] = {}  # (dim, batch) of each
        self._worker: Worker | None = None

    def run(self, job: Job) -> list[Result]:
        """Returns the results of a job, libraries in their order."""
        results: list[Result] = []
        built: dict[tuple[str, Case], _Built | Failure | None] = {}
        for measure in job.measures:
            # Where one direction only takes one pass, samples are differentiated in the flow that samples so.
            reverse = measure == "rsample" and job.case.structure == "autoregressive"
            case = job.case.but(direction="sampling") if reverse else job.case
            results += self._measure(job, case, measure, built)
        if job.memory and self.memory and "train" in job.measures:
            self._peaks([result for result in results if result.measure == "train" and result.status == "timed"])
        built.clear()
        gc.collect()
        return results

    def close(self) -> None:
        """Ends the worker."""
        if self._worker is not None:
            self._worker.close()

    def _measure(
        self, job: Job, case: Case, measure: Measure, built: dict[tuple[str, Case], _Built | Failure | None]
    ) -> list[Result]:
        results: dict[str, Result] = {}
        timers: dict[str, timing.Timer] = {}
        for library in self.libraries:
            if (library, case) not in built:
                built[library, case] = self._build(library, case)
            model = built[library, case]
            if model is None:
                continue
            result = Result(job.part, job.case, library, measure, "timed")
            if isinstance(model, Failure):
                result.status, result.note = "fails", model.reason
            else:
                result.parameters = model.parameters
                if self._too_slow(library, case, measure):
                    result.status, result.note = "skipped", "a smaller size took too long"
                else:
                    try:
                        timers[library] = model.timer(measure)
                    except NotOffered:
                        continue
                    except Exception as error:
                        result.status, result.note = "fails", Failure.of(error).reason
            results[library] = result
        for library, timed in timing.interleave(timers, self.budget).items():
            result = results[library]
            if isinstance(timed, Failure):
                result.status, result.note = "fails", timed.reason
            else:
                result.timing, result.note = timed, timed.note
                if timed.median > self.budget.patience / 3:
                    sizes = self._slow.setdefault((library, case.flow, measure), [])
                    sizes.append((case.dim, case.batch))
        ours = results.get(peers.OURS)
        for result in results.values():
            if result.timing is not None and ours is not None and ours.timing is not None:
                result.ratio = Ratio.of(result.timing, ours.timing)
            took = f"{1e3 * result.timing.median:10.3f} ms" if result.timing else result.status
            say(f"  {measure:9} {result.library:20} {took:>13}  {result.note}")
        return list(results.values())

    def _build(self, library: str, case: Case) -> _Built | Failure | None:
        if library in self.missing:
            return None
        try:
            if library in peers.REMOTE:
                if self._worker is None:
                    self._worker = Worker(self.threads, self.clock)
                worker = self._worker
                count = worker.build(library, case)
                return _Built(count, lambda measure: worker.timer(library, case, measure))
            model = peers.build(library, case)
            return _Built(model.parameter_count(), lambda measure: timing.local(model.run(measure, case), self.clock))
        except NotOffered:
            return None
        except ImportError as error:
            self.missing[library] = str(error)
            say(f"  {library} is missing and left out: {error}")
            return None
        except Exception as error:
            return Failure.of(error)

    def _too_slow(self, library: str, case: Case, measure: Measure) -> bool:
        return any(
            case.dim >= dim and case.batch >= batch for dim, batch in self._slow.get((library, case.flow, measure), ())
        )

    def _peaks(self, results: list[Result]) -> None:
        for result in results:
            try:
                result.peak = peak_in_new_process(result.library, result.case, result.measure, self.threads)
                say(f"  memory    {result.library:20} {result.peak / 2**20:10.1f} MB")
            except Exception as error:
                say(f"  memory    {result.library:20} {Failure.of(error).reason}")
