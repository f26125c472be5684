"""``flowtorch`` and ``python -m flowtorch``: from the words typed to an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from ..errors import FlowTorchError, OptionError, OptionTypeError, SpecificationError
from .output import say, warn
from .parser import make_parser

_TYPED = (OptionError, OptionTypeError, SpecificationError)  # the others are the fault of a file


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command, and returns its exit code; ``flowtorch --help`` lists commands and codes.

    Args:
        arguments: the words after ``flowtorch``; those of the process by default.

    Returns:
        0 if all went well, 1 if a file was refused, 2 if what was typed was, 130 if it was interrupted.

    Example:
        >>> main(["check", "realnvp", "--set", "layers=2", "--shape", "3"])
        plan ...
        0
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    try:
        given = make_parser().parse_args(words)
        with _settings(given):
            importlib.import_module(f".{given.command}", __package__).run(given)
    except BrokenPipeError:  # a reader such as head that has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _failed(as_json, "interrupted, nothing is written.", 130)
    except (FlowTorchError, OSError, ImportError, MemoryError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        return _failed(as_json, message, 2 if isinstance(error, _TYPED) else 1)
    return 0


def _failed(as_json: bool, message: str, code: int) -> int:
    if as_json:
        say(True, {"error": message, "exit_code": code}, "")
    else:
        print(f"flowtorch: {message}", file=sys.stderr)
    return code


@contextmanager
def _settings(given: argparse.Namespace) -> Iterator[None]:
    """Sets what a command runs with, and puts it back: threads, random numbers, and warnings in a line."""
    threads = torch.get_num_threads()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.showwarning = lambda message, *_, **__: warn(" ".join(str(message).split()))
        # The tensors are small: where another program has one of the cores, threads wait for each other at every step.
        torch.set_num_threads(getattr(given, "threads", 1))
        try:
            yield
        finally:
            torch.set_num_threads(threads)
