"""What the two rational splines share: the bin of each point, and the way back to raw parameters; as _native/spline.h.

A program works on a block of elements times all bins, padded to a power of two, which lie along the first axis: threads
share out the elements, and the bins only where there are more than elements to keep them busy.
"""
# mypy: ignore-errors
# Functions decorated by triton.jit are of a language of their own, in which types of arguments are not written.

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import triton
import triton.language as tl

from .elements import at, load_bin, load_bins, store_bins
from .maths import clamp, divide, sigmoid, softplus


@dataclass(frozen=True)
class Box:
    """The options of an operator, and what follows from them; sizes of bins are least + scale * softmax(raw)."""

    bins: int
    ends: bool  # whether the derivatives at the ends of the box are given
    bound: float
    min_bin_width: float
    min_bin_height: float
    min_derivative: float
    min_lambda: float
    inverse: bool

    @property
    def padded(self) -> int:
        """The least power of two that is not less than the number of bins."""
        return 1 << (self.bins - 1).bit_length()

    @property
    def shift(self) -> float:
        """Where softplus is 1 less the least derivative."""
        return math.log(math.expm1(1.0 - self.min_derivative))

    @property
    def last(self) -> int:
        """The number of the last bin."""
        return self.bins - 1


class Shares(NamedTuple):
    """The softmax over the bins, not yet divided by its sum."""

    share: Any
    total: Any


class Bin(NamedTuple):
    """The bin of each point."""

    which: Any
    left: Any
    right: Any
    bottom: Any
    top: Any
    width: Any
    height: Any
    stretch: Any
    raw0: Any  # what the derivatives at the two knots are the softplus of, and they in units of the slope of the chord
    raw1: Any
    slope0: Any
    slope1: Any


class BinGradient(NamedTuple):
    """Gradients with respect to a bin, as the formulas of a spline give them."""

    left: Any
    right: Any
    bottom: Any
    top: Any
    slope0: Any
    slope1: Any


@triton.jit
def shares(raw, those, BOX: tl.constexpr):
    """Returns the shares of the bins of the box along one axis."""
    k = tl.arange(0, BOX.padded)[:, None]
    numbers = tl.where(k < BOX.bins, load_bins(raw, those, BOX.bins, BOX.padded), float("-inf"))
    share = tl.exp(numbers - tl.max(numbers, 0)[None, :])
    return Shares(share, tl.sum(share, 0))


@triton.jit
def _ends(those, LEAST: tl.constexpr, BOX: tl.constexpr):
    # Where the bins end along one axis.
    k = tl.arange(0, BOX.padded)[:, None]
    least: tl.constexpr = 2.0 * BOX.bound * LEAST
    scale: tl.constexpr = 2.0 * BOX.bound * (1.0 - BOX.bins * LEAST)
    size = least + those.share * divide(tl.full(those.total.shape, scale, those.total.dtype), those.total)[None, :]
    # Summed up from the beginning of the box, as in the reference form; from 0 on rounding would cost twice as much.
    end = tl.cumsum(tl.where(k == 0, size - BOX.bound, size), 0)
    return tl.where(k == BOX.last, BOX.bound, end)


@triton.jit
def _edges(end, which, BOX: tl.constexpr):
    # Where the bin of each point begins and ends.
    k = tl.arange(0, BOX.padded)[:, None]
    first = tl.sum(tl.where(k == which[None, :] - 1, end, 0.0), 0)
    second = tl.sum(tl.where(k == which[None, :], end, 0.0), 0)
    return tl.where(which == 0, -BOX.bound, first), second


@triton.jit
def _raw_derivative(derivatives, those, knot, BOX: tl.constexpr):
    # One of those at the knots; to read all of them and to select would move more.
    if BOX.ends:
        return load_bin(derivatives, those, knot, True) + BOX.shift
    else:  # at the ends of the box a raw 0, which is a derivative of 1
        return load_bin(derivatives, those, knot - 1, (knot > 0) & (knot < BOX.bins)) + BOX.shift


@triton.jit
def find_bin(points, widths, heights, derivatives, those, BOX: tl.constexpr):
    """Returns the points clipped to the box, and the bin of each; NaN is in the first. Takes shares, and an operand."""
    point = clamp(points, -BOX.bound, BOX.bound)
    end_x, end_y = _ends(widths, BOX.min_bin_width, BOX), _ends(heights, BOX.min_bin_height, BOX)
    k = tl.arange(0, BOX.padded)[:, None]
    if BOX.inverse:
        beyond = (point[None, :] >= end_y) & (k < BOX.last)
    else:
        beyond = (point[None, :] >= end_x) & (k < BOX.last)
    which = tl.sum(beyond.to(tl.int32), 0)
    left, right = _edges(end_x, which, BOX)
    bottom, top = _edges(end_y, which, BOX)
    width, height = right - left, top - bottom
    stretch = divide(width, height)
    raw0 = _raw_derivative(derivatives, those, which, BOX)
    raw1 = _raw_derivative(derivatives, those, which + 1, BOX)
    slope0 = (BOX.min_derivative + softplus(raw0)) * stretch
    slope1 = (BOX.min_derivative + softplus(raw1)) * stretch
    return point, Bin(which, left, right, bottom, top, width, height, stretch, raw0, raw1, slope0, slope1)


@triton.jit
def locate(points, widths, heights, derivatives, those, BOX: tl.constexpr):
    """Returns the shares of both axes, the points within the box, and the bin of each."""
    width_shares, height_shares = shares(widths, those, BOX), shares(heights, those, BOX)
    point, bin = find_bin(points, width_shares, height_shares, derivatives, those, BOX)
    return width_shares, height_shares, point, bin


@triton.jit
def _store_sizes(operand, those, sizes, which, first, second, LEAST: tl.constexpr, BOX: tl.constexpr):
    # The gradient by the raw sizes along one axis. The sizes of the bins before move both knots, that of the bin itself
    # only the second; the end of the box does not move.
    k = tl.arange(0, BOX.padded)[:, None]
    second = tl.where(which == BOX.last, 0.0, second)
    own = tl.where(k == which[None, :], second[None, :], 0.0)
    direct = tl.where(k < which[None, :], (first + second)[None, :], own)
    share_of = divide(1.0, sizes.total)
    mean = tl.sum(direct * sizes.share, 0) * share_of
    factor = share_of * (2.0 * BOX.bound * (1.0 - BOX.bins * LEAST))
    store_bins(operand, those, sizes.share * factor[None, :] * (direct - mean[None, :]), BOX.bins, BOX.padded)


@triton.jit
def _store_derivatives(operand, those, bin, by_slope0, by_slope1, BOX: tl.constexpr):
    first, second = by_slope0 * bin.stretch * sigmoid(bin.raw0), by_slope1 * bin.stretch * sigmoid(bin.raw1)
    knot = tl.arange(0, BOX.padded)[:, None]
    if not BOX.ends:
        knot += 1
    after = tl.where(knot == bin.which[None, :] + 1, second[None, :], 0.0)
    values = tl.where(knot == bin.which[None, :], first[None, :], after)
    if BOX.ends:
        store_bins(operand, those, values, BOX.bins, BOX.padded)
        last = tl.where(bin.which == BOX.last, second, 0.0)
        tl.store(at(operand, those) + BOX.bins * operand.bin, last, mask=those.here)
    else:
        store_bins(operand, those, values, BOX.last, BOX.padded)


@triton.jit
def store_gradients(by_widths, by_heights, by_derivatives, those, widths, heights, bin, g, BOX: tl.constexpr):
    """Stores the gradients of the raw sizes and derivatives in these operands. Takes the shares, and a BinGradient."""
    _store_sizes(by_widths, those, widths, bin.which, g.left, g.right, BOX.min_bin_width, BOX)
    _store_sizes(by_heights, those, heights, bin.which, g.bottom, g.top, BOX.min_bin_height, BOX)
    _store_derivatives(by_derivatives, those, bin, g.slope0, g.slope1, BOX)
