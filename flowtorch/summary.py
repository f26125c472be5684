"""The table that ``flow.summary()`` and ``plan.check(shape)`` return."""

from __future__ import annotations

from dataclasses import dataclass

from .types import Direction, Exactness


@dataclass(frozen=True)
class Row:
    """One layer of a flow."""

    layer: str
    shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    parameters: int
    conditioner: str
    cheap: Direction
    inverse: Exactness


@dataclass(frozen=True)
class Summary:
    """What a plan amounts to for a given event shape; ``str()`` of it is a table.

    Args:
        rows: one per layer, base to data.
        parameters: how many numbers are learnt in all, which counts what several layers share once.
    """

    rows: tuple[Row, ...]
    parameters: int

    def __str__(self) -> str:
        head = ("", "layer", "in", "out", "parameters", "conditioner", "cheap", "inverse")
        body = [
            (
                str(i),
                r.layer,
                _shape(r.shape),
                _shape(r.out_shape),
                f"{r.parameters:,}",
                r.conditioner,
                r.cheap,
                r.inverse,
            )
            for i, r in enumerate(self.rows)
        ]
        widths = [max(len(row[k]) for row in (head, *body)) for k in range(len(head))]
        right = (0, 4)
        lines = [
            "  ".join(
                c.rjust(w) if k in right else c.ljust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in (head, tuple("-" * w for w in widths), *body)
        ]
        return "\n".join(
            line.rstrip() for line in (*lines, f"{self.parameters:,} parameters in {len(self.rows)} layers")
        )


def _shape(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
