"""Where results go: files that are not overwritten unasked, a report in words or in JSON."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import FileError, OptionError

INDENT = 11


def check(path: Path, force: bool, endings: Sequence[str] = (), *, option: str = "--output") -> None:
    """Refuses a file that could not, or shall not, be written, before the work is done.

    Raises:
        OptionError: if it is there, or its ending says nothing.
        FileError: if its folder is not there or cannot be written to.
    """
    if endings and not str(path).lower().endswith(tuple(endings)):
        raise OptionError(f"option {option}: a name that ends in {', '.join(endings)} is expected; got {str(path)!r}.")
    if path.exists() and not path.is_file():
        raise OptionError(f"option {option}: the name of a file is expected; got {str(path)!r}, which is none.")
    if path.exists() and not force:
        raise OptionError(f"option {option}: a new file is expected, or --force to replace it; got {str(path)!r}.")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise FileError(f"option {option}: a folder that can be written to is expected; got {str(path.parent)!r}.")


def report(lines: Sequence[tuple[str, str]]) -> str:
    """Returns labels and texts as a page: labels on the left, texts beside them."""
    out = []
    for label, text in lines:
        for i, line in enumerate(text.splitlines() or [""]):
            out.append(f"{'' if i else label:<{INDENT - 1}} {line}".rstrip())
    return "\n".join(out)


def say(as_json: bool, found: Mapping[str, Any], text: str) -> None:
    """Prints a report: one line of JSON for a machine, or words."""
    print(json.dumps(_plain(found), allow_nan=False, ensure_ascii=False) if as_json else text, flush=True)


def warn(text: str) -> None:
    """Prints a warning beside the report."""
    print(f"flowtorch: warning: {text}", file=sys.stderr)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
