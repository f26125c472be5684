"""The command line: see ``scripts/flows_2d``."""

from __future__ import annotations

import argparse
import fnmatch
import os
import subprocess
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "scripts" / "bench" / ".venv" / "bin" / "python"
LIBRARIES = ("flowtorch", "zuko", "FlowJAX")  # as in runs.MADE_WITH, without importing torch


def _names(given: str | None, known: list[str], option: str) -> list[str]:
    if given is None:
        return known
    patterns = [p.strip() for p in given.split(";")]
    found = [name for name in known if any(fnmatch.fnmatchcase(name, p) for p in patterns)]
    if not found:
        raise SystemExit(f"{option}: expected some of {'; '.join(known)}; got {given}.")
    return found


def _train(options: argparse.Namespace) -> None:
    """Runs each library in a process of its own: JAX and PyTorch want different threads, zuko sets a global."""
    for library in _names(options.libraries, list(LIBRARIES), "--libraries"):
        python = sys.executable if library == "flowtorch" else str(PEERS)
        if not Path(python).exists():
            print(f"{library} is left out: scripts/bench/run --help installs it.", file=sys.stderr)
            continue
        arguments = [a for a in sys.argv[1:] if a != "train"]
        status = subprocess.run([python, "-m", __package__, "one", *arguments, "--libraries", library]).returncode
        if status:
            raise SystemExit(status)


def _one(options: argparse.Namespace) -> None:
    import torch

    from . import models, problems, runs

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    plans = _names(options.only, list(models.PLANS), "--only")
    targets = _names(options.targets, list(problems.PROBLEMS), "--targets")
    path = options.out / "results.jsonl"
    for plan in plans:
        for target in targets:
            key = (plan, options.libraries, target, options.steps, options.seed)
            if key in runs.load(path) and not options.again:
                continue
            try:
                run = runs.execute(options.out, key[1], plan, target, options.steps, options.seed)
            except models.NotOffered:
                break
            except Exception:
                print(f"{key}: failed\n{traceback.format_exc()}", file=sys.stderr, flush=True)
                continue
            runs.append(path, run)
            print(
                f"{run['library']:9} {plan:14} {target:9} KL {run['kl']:8.4f} +- {run['error']:.4f}  "
                f"{run['seconds']:6.1f} s  {run['parameters']} parameters",
                flush=True,
            )


def _table(options: argparse.Namespace) -> None:
    from . import page

    page.write(options.out, options.steps, options.seed, ROOT / "website")


def main() -> None:
    """Parses and runs."""
    parser = argparse.ArgumentParser(prog="scripts/flows_2d", description=__doc__)
    parser.add_argument("do", choices=("train", "table", "one"), help="one: train those of one library in this process")
    parser.add_argument("--only", help="plans, as patterns separated by semicolons: 'maf;nsf*'")
    parser.add_argument("--targets", help="targets, likewise")
    parser.add_argument("--libraries", help=f"some of {';'.join(LIBRARIES)}, likewise")
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="runs what has a result already, too")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-out" / "flows_2d", help="where results are kept")
    options = parser.parse_args()
    options.out = options.out.absolute()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    {"train": _train, "one": _one, "table": _table}[options.do](options)


if __name__ == "__main__":
    main()
