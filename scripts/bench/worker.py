"""A process that builds and times models on request: for libraries that need their own, and for peak memory.

Requests and answers are lines of JSON. Times are taken here, so what the pipe costs is not in them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from typing import Any

from . import memory
from .cases import Case, Measure
from .model import NotOffered
from .timing import Timer


class Worker:
    """The other end: starts the process, and stops it when closed."""

    def __init__(self, threads: int, clock: str = "wall", **environment: str) -> None:
        # XLA sizes its pool by PJRT_NPROC; a process confined to one core would have one thread all the same.
        flags = f"--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads={threads}"
        fixed = {
            "XLA_FLAGS": flags,
            "PJRT_NPROC": str(threads),
            "JAX_PLATFORMS": "cpu",
            "OMP_NUM_THREADS": str(threads),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker", str(threads), clock],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **fixed, **environment},
        )

    def ask(self, **request: object) -> Any:
        """Returns the answer; raises what was raised there."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with status {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            kinds = {"NotOffered": NotOffered, "ImportError": ImportError, "ModuleNotFoundError": ImportError}
            raise kinds.get(answer["kind"], RuntimeError)(answer["error"])
        return answer["value"]

    def build(self, library: str, case: Case) -> int:
        """Builds and checks a model there, in place of the one of the same library and direction; its parameters."""
        return int(self.ask(do="build", library=library, case=dataclasses.asdict(case)))

    def timer(self, library: str, case: Case, measure: Measure) -> Timer:
        """Returns a timer of what was built there."""
        key = f"{library} {case.direction}"
        self.ask(do="prepare", key=key, measure=measure)
        return lambda number: float(self.ask(do="time", key=key, measure=measure, number=number))

    def peak(self, library: str, case: Case, measure: Measure) -> int:
        """Returns the peak memory in bytes of one repetition of what was built there."""
        return int(self.ask(do="peak", key=f"{library} {case.direction}", measure=measure))

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def peak_in_new_process(library: str, case: Case, measure: Measure, threads: int) -> int:
    """Returns the peak memory in bytes of one repetition."""
    worker = Worker(threads, **memory.ENVIRONMENT)
    try:
        worker.build(library, case)
        return worker.peak(library, case, measure)
    finally:
        worker.close()


class _Server:
    def __init__(self, clock: str) -> None:
        self.clock = clock
        self.models: dict[str, tuple[Any, Case]] = {}
        self.timers: dict[tuple[str, str], Timer] = {}

    def answer(self, request: dict[str, Any]) -> object:
        from . import peers, timing

        if request["do"] == "build":
            fields = {**request["case"], "hidden": tuple(request["case"]["hidden"])}
            case = Case(**fields)
            key = f"{request['library']} {case.direction}"
            self.models.pop(key, None)
            self.timers = {k: t for k, t in self.timers.items() if k[0] != key}
            self.models[key] = peers.build(request["library"], case), case
            return self.models[key][0].parameter_count()
        key, measure = request["key"], request["measure"]
        model, case = self.models[key]
        if request["do"] == "prepare":
            run = model.run(measure, case)
            run()  # a jitted function is compiled now, not when it is timed
            self.timers[key, measure] = timing.local(run, self.clock)
            return None
        if request["do"] == "time":
            return self.timers[key, measure](request["number"])
        return memory.peak(lambda: model.run(measure, case))


def main() -> None:
    """Answers until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    import torch

    torch.set_num_threads(int(sys.argv[1]))
    memory.limit()
    server = _Server(sys.argv[2])
    for line in sys.stdin:
        try:
            answer = {"value": server.answer(json.loads(line))}
        except Exception as error:
            answer = {"kind": type(error).__name__, "error": str(error) or type(error).__name__}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
