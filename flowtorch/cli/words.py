"""Names in messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

SHOWN = 5  # so many are told one by one


def listed(names: Iterable[str], most: int = SHOWN) -> str:
    """Returns names in words."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """Returns a sentence with what was likely meant, or with what there is."""
    close = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=1)
    meant = next((n for n in names if [n.lower()] == close), None)
    return f" Did you mean {meant!r}?" if meant else f" There are {listed(names, 20)}."
