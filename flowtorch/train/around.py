"""What stands around a run: the flow put back as it was, Ctrl-C, and a Lightning that keeps quiet."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import warnings
from collections.abc import Iterator

import torch

from ..distributions import Flow


@contextlib.contextmanager
def as_it_was(flow: Flow) -> Iterator[None]:
    """Trains a flow, and puts back all but its weights: modes, device, and torch's random numbers."""
    modes = {m: m.training for m in flow.modules()}
    devices = {t.device for t in (*flow.parameters(), *flow.buffers())}
    if not flow.training:
        flow.train()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            for m, training in modes.items():
                m.training = training
            flow.zero_grad(set_to_none=True)
            if len(devices) == 1:
                flow.to(devices.pop())


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Makes of Lightning's exit after Ctrl-C, which it may go on to ignore, the interrupt that it was."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        if main:
            signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leaves out what Lightning says of itself, and warnings of what it does and we cannot change."""
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = logger.level
    logger.setLevel(max(logging.WARNING, level))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*LeafSpec.*deprecated", FutureWarning)  # Lightning's use of torch
            for text in (
                ".*does not have many workers",
                ".*You defined a `validation_step` but have no `val_dataloader`",
                ".*Total length of `list` across ranks is zero",  # no rows to validate on
                ".*modules? in eval mode at the start of training",  # the user's choice
            ):
                warnings.filterwarnings("ignore", text)
            yield
    finally:
        logger.setLevel(level)
