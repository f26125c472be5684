"""The command line."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench/run",
        description="Times flowtorch against its peers. Without --quick, --maps, --grid, --growth or --full: --quick.",
    )
    parts = parser.add_argument_group("what is measured")
    parts.add_argument("--quick", action="store_true", help="the middle configuration: some ten minutes")
    parts.add_argument("--maps", action="store_true", help="a row for each elementwise map: minutes")
    parts.add_argument("--grid", action="store_true", help="D of 2 to 256, batches of 1 to 4096: an hour or more")
    parts.add_argument("--growth", action="store_true", help="time and memory against D, bins, layers and batch")
    parts.add_argument("--full", action="store_true", help="all of these")
    parts.add_argument("--only", metavar="REGEX", default="", help="only configurations with such a label")
    parts.add_argument(
        "--libraries", metavar="A,B", help="only these; 'flowtorch, bfloat16' is spelt flowtorch_bfloat16"
    )
    parts.add_argument("--measures", metavar="A,B", help="only these: train, log_prob, sample, rsample")
    parts.add_argument("--no-memory", action="store_true", help="leaves peak memory out")
    parts.add_argument("--list", action="store_true", help="prints the labels and ends")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long each contestant is timed (1.5)")
    parser.add_argument("--patience", type=float, default=15.0, help="seconds granted to what is very slow (15)")
    parser.add_argument("--threads", type=int, default=1, help="threads, and cores to run on (1)")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu if others use the machine (wall)")
    parser.add_argument("--out", type=Path, default=Path("bench-out"), help="where results go (bench-out)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark."""
    options = _arguments(arguments)
    # Before torch and JAX start their threads. Both processes get the same cores: they never work at the same time.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.threads :])

    import torch

    import flowtorch  # noqa: F401  # if this fails, the run fails: it is not one of those that may be missing

    from . import cases, machine, memory, peers, tables
    from .runner import Result, Runner, say
    from .timing import Budget

    torch.set_num_threads(options.threads)
    chosen = [
        make
        for name, make in (
            ("quick", cases.middle),
            ("maps", cases.maps),
            ("grid", cases.grid),
            ("growth", cases.growth),
        )
        if options.full or getattr(options, name)
    ] or [cases.middle]
    jobs = [job for make in chosen for job in make() if re.search(options.only, f"{job.part}: {job.case.label}")]
    if options.measures:
        wanted = options.measures.split(",")
        jobs = [job.measuring(wanted) for job in jobs]
    if options.list:
        print("\n".join(f"{job.part}: {job.case.label}" for job in jobs))
        return 0
    libraries = list(peers.LIBRARIES)
    if options.libraries:
        files = options.libraries.split(",")
        libraries = [name for name, file in peers.LIBRARIES.items() if file in files or name in files]

    memory.limit()
    about = machine.describe(options.threads, options.clock)
    budget = Budget(options.seconds, patience=options.patience)
    runner = Runner(libraries, budget, options.threads, clock=options.clock, memory=not options.no_memory)
    results: list[Result] = []
    start = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        for index, job in enumerate(jobs, 1):
            say(f"[{index}/{len(jobs)}, {time.monotonic() - start:.0f} s] {job.part}: {job.case.label}")
            results += runner.run(job)
            # Written after each, so that what an interrupted run has found is not lost.
            record = {"about": about, "missing": runner.missing, "results": [r.to_dict() for r in results]}
            (options.out / "results.json").write_text(json.dumps(record, indent=1))
    finally:
        runner.close()
        foot = machine.sentence(about)
        text = tables.report(results, runner.missing, foot)
        (options.out / "tables.md").write_text(text)
        middle = [r for r in results if r.part == "middle"]
        (options.out / "summary.md").write_text(f"{tables.summary_table(middle)}\n{foot}\n")
    print(text)
    say(f"Written to {options.out}: results.json, tables.md, summary.md.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
