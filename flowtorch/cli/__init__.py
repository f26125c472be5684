"""The command line, ``flowtorch`` and ``python -m flowtorch`` (extra ``cli``)."""

from .main import main as main

__all__ = ["main"]
