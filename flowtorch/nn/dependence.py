"""Which coordinates each part of a masked network may see."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import torch


class Dependence:
    r"""Which coordinates, and which features of a context, may drive each coordinate; they stand in order of steps.

    A hidden unit is of a *kind*: one of the different sets :math:`S_k` that coordinates may see. It is known at the
    step before which all of its set has come, and kinds are sorted by that step, so that what is known at a step is
    always a prefix. With :math:`k(u)` the kind of a unit, and :math:`k(i)` that of what drives coordinate :math:`i`,

    .. math:: j \to u \text{ if } j \in S_{k(u)}, \qquad u \to u' \text{ if } S_{k(u)} \subseteq S_{k(u')}, \qquad
              u \to i \text{ if } S_{k(u)} \subseteq S_{k(i)}

    leave every coordinate nothing but its set to see, in networks of any depth.

    Args:
        sees: for each coordinate a set as the bits of an integer: bit ``j`` is coordinate ``j`` and bit ``n + c``, for
            ``n`` coordinates, feature ``c`` of the context.
        step_sizes: how many of the coordinates each step covers; they see none of their own step or later.
        block: how many numbers a coordinate is.
        context_features: the length of the context; 0 where there is none.
    """

    def __init__(self, sees: Sequence[int], step_sizes: Sequence[int], block: int, context_features: int) -> None:
        self.step_sizes, self.block, self.context_features = tuple(step_sizes), block, context_features
        self.size = len(sees)
        ends = [sum(step_sizes[: s + 1]) for s in range(len(step_sizes))]
        coordinates = (1 << self.size) - 1

        def known(kind: int) -> int:  # the step before which the last of its coordinates has come
            last = (kind & coordinates).bit_length() - 1
            return 0 if last < 0 else bisect_right(ends, last) + 1

        self.kinds = sorted(set(sees), key=lambda kind: (known(kind), kind))
        self.known = [known(kind) for kind in self.kinds]
        number = {kind: k for k, kind in enumerate(self.kinds)}
        self.drives = [number[kind] for kind in sees]

    def hidden(self, width: int) -> list[int]:
        """Returns the kinds of ``width`` hidden units, in ascending order, spread evenly over all kinds.

        Units that see nothing are learnable constants, and there are few of them, but some: driven by a bare bias, a
        coordinate that sees nothing would move by no more than the learning rate at each step, long after all others.
        """
        count, empty = len(self.kinds), self.kinds[0] == 0
        if not empty or count == 1:
            return [i * count // width for i in range(width)]
        constants = min(width, max(1, width // (8 * count)))
        return [0] * constants + [1 + i * (count - 1) // (width - constants) for i in range(width - constants)]

    def known_units(self, kinds: Sequence[int]) -> list[int]:
        """Returns how many units of these kinds are known at each step."""
        known = [self.known[k] for k in kinds]
        return [bisect_right(known, step) for step in range(len(self.step_sizes))]

    def inputs(self, kinds: Sequence[int]) -> torch.Tensor:
        """Returns which inputs units of these kinds see, ``(units, size * block)``."""
        return self._bits(kinds, 0, self.size).repeat_interleave(self.block, 1)

    def context(self, kinds: Sequence[int]) -> torch.Tensor:
        """Returns which features of the context units of these kinds see, ``(units, context_features)``."""
        return self._bits(kinds, self.size, self.context_features)

    def between(self, kinds: Sequence[int], below: Sequence[int]) -> torch.Tensor:
        """Returns which units of kinds ``below`` those of ``kinds`` may see."""
        rows, columns = sorted(set(kinds)), sorted(set(below))
        table = torch.tensor([[self.kinds[c] & ~self.kinds[r] == 0 for c in columns] for r in rows])
        return table.index_select(0, _places(kinds, rows)).index_select(1, _places(below, columns))

    def _bits(self, kinds: Sequence[int], first: int, count: int) -> torch.Tensor:
        present = sorted(set(kinds))
        # A number's binary digits as text, the lowest first: faster than shifting numbers of a thousand bits.
        digits = [format(self.kinds[k] >> first, f"0{count}b")[::-1][:count] for k in present]
        table = torch.tensor([[d == "1" for d in text] for text in digits]).reshape(len(present), count)
        return table.index_select(0, _places(kinds, present))


def _places(kinds: Sequence[int], present: list[int]) -> torch.Tensor:
    return torch.tensor([present.index(k) for k in kinds])
