"""Which elements a program works on, and where they are in memory."""
# mypy: ignore-errors
# Functions decorated by triton.jit are of a language of their own, in which types of arguments are not written.

from typing import Any, NamedTuple

import triton
import triton.language as tl


class Operand(NamedTuple):
    """A tensor seen as rows and columns, and bins if it has any."""

    pointer: Any
    row: Any  # these are strides
    column: Any
    bin: Any = 0


class Elements(NamedTuple):
    """Those of one program."""

    row: Any
    column: Any
    here: Any  # whether there is such an element


@triton.jit
def elements(count, columns, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    """Returns the elements of this program, as many as ``BLOCK``; ``WIDE`` if their numbers do not fit into 32 bits."""
    if WIDE:
        index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    else:
        index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)  # a division of 64 bits takes long
    row = index // columns
    column = index - row * columns
    return Elements(row.to(tl.int64), column.to(tl.int64), index < count)


@triton.jit
def at(operand, those):
    """Returns pointers to elements, of their first bins if there are bins."""
    return operand.pointer + those.row * operand.row + those.column * operand.column


@triton.jit
def load(operand, those):
    """Returns numbers, one for each element."""
    return tl.load(at(operand, those), mask=those.here, other=0.0)


@triton.jit
def store(operand, those, values):
    """Stores numbers, one for each element."""
    tl.store(at(operand, those), values, mask=those.here)


@triton.jit
def load_bin(operand, those, number, here):
    """Returns the number of one bin of each element, 0 where it is not ``here``."""
    return tl.load(at(operand, those) + number * operand.bin, mask=those.here & here, other=0.0)


@triton.jit
def load_bins(operand, those, COUNT: tl.constexpr, PADDED: tl.constexpr):
    """Returns the numbers of all bins along the first axis, and 0 for those that pad it."""
    k = tl.arange(0, PADDED)[:, None]
    return tl.load(at(operand, those)[None, :] + k * operand.bin, mask=(k < COUNT) & those.here[None, :], other=0.0)


@triton.jit
def store_bins(operand, those, values, COUNT: tl.constexpr, PADDED: tl.constexpr):
    """Stores the numbers of all bins, which are along the first axis."""
    k = tl.arange(0, PADDED)[:, None]
    tl.store(at(operand, those)[None, :] + k * operand.bin, values, mask=(k < COUNT) & those.here[None, :])
