"""The splines that all properties are tested on, each with what it is in exact arithmetic, after the papers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import mpmath
import pytest
import torch

from flowtorch.ops import rational_linear_spline, rational_quadratic_spline
from flowtorch.ops.cubic_spline import cubic_spline
from flowtorch.ops.linear_spline import linear_spline
from flowtorch.ops.quadratic_spline import quadratic_spline

# All different, so that none can stand for another.
BOUND, WIDTH, HEIGHT, DERIVATIVE, LAMBDA = 2.5, 0.01, 0.02, 0.03, 0.1
Pair = tuple[Any, Any]


def exact_sizes(raw: list[float], least: float) -> list[Any]:
    """The sizes of bins, as fractions of the box."""
    total = mpmath.fsum(mpmath.exp(r) for r in raw)
    return [mpmath.mpf(least) + (1 - len(raw) * mpmath.mpf(least)) * mpmath.exp(r) / total for r in raw]


def exact_knots(sizes: list[Any]) -> list[Any]:
    """The knots between bins of these sizes."""
    return [BOUND * (2 * mpmath.fsum(sizes[:i]) - 1) for i in range(len(sizes) + 1)]


def exact_bin(x: float, knots: list[Any]) -> int:
    """The number of the bin of x."""
    return sum(x >= k for k in knots[1:-1])


def exact_rational(x: float, w: list[float], h: list[float], d: list[float]) -> tuple[int, list[Any], list[Any], Any]:
    """The bin of x, all knots and derivatives of a rational spline."""
    xs, ys = exact_knots(exact_sizes(w, WIDTH)), exact_knots(exact_sizes(h, HEIGHT))
    shift = mpmath.log(mpmath.expm1(1 - mpmath.mpf(DERIVATIVE)))
    ds = [DERIVATIVE + mpmath.log1p(mpmath.exp(r + shift)) for r in d]
    return exact_bin(x, xs), xs, ys, ds if len(d) > len(w) else [mpmath.mpf(1), *ds, mpmath.mpf(1)]


def exact_rational_quadratic(x: float, w: list[float], h: list[float], d: list[float]) -> Pair:
    """Equations 4 and 5 of Neural Spline Flows: y and dy/dx."""
    k, xs, ys, ds = exact_rational(x, w, h, d)
    s = (ys[k + 1] - ys[k]) / (xs[k + 1] - xs[k])
    xi = (x - xs[k]) / (xs[k + 1] - xs[k])
    beta = s + (ds[k + 1] + ds[k] - 2 * s) * xi * (1 - xi)
    y = ys[k] + (ys[k + 1] - ys[k]) * (s * xi**2 + ds[k] * xi * (1 - xi)) / beta
    return y, s**2 * (ds[k + 1] * xi**2 + 2 * s * xi * (1 - xi) + ds[k] * (1 - xi) ** 2) / beta**2


def exact_rational_linear(x: float, w: list[float], h: list[float], d: list[float], raw: list[float]) -> Pair:
    """The interpolant of Dolatabadi et al. in terms of its weights w_a, w_m and w_b, the first one 1: y and dy/dx."""
    k, xs, ys, ds = exact_rational(x, w, h, d)
    lam = LAMBDA + (1 - 2 * mpmath.mpf(LAMBDA)) / (1 + mpmath.exp(-raw[k]))
    width = xs[k + 1] - xs[k]
    w_a, w_b = mpmath.mpf(1), mpmath.sqrt(ds[k] / ds[k + 1])
    w_m = (lam * w_a * ds[k] + (1 - lam) * w_b * ds[k + 1]) * width / (ys[k + 1] - ys[k])
    y_m = ((1 - lam) * w_a * ys[k] + lam * w_b * ys[k + 1]) / ((1 - lam) * w_a + lam * w_b)
    phi = (x - xs[k]) / width
    if phi <= lam:
        q = w_a * (lam - phi) + w_m * phi
        return (w_a * ys[k] * (lam - phi) + w_m * y_m * phi) / q, lam * w_a * w_m * (y_m - ys[k]) / q**2 / width
    q = w_m * (1 - phi) + w_b * (phi - lam)
    y = (w_m * y_m * (1 - phi) + w_b * ys[k + 1] * (phi - lam)) / q
    return y, (1 - lam) * w_m * w_b * (ys[k + 1] - y_m) / q**2 / width


def exact_linear(x: float, h: list[float]) -> Pair:
    """Section 4.1 of Neural Importance Sampling: y and dy/dx."""
    heights = exact_sizes(h, HEIGHT)
    xs, ys = exact_knots([mpmath.mpf(1) / len(h)] * len(h)), exact_knots(heights)
    k = exact_bin(x, xs)
    slope = heights[k] * len(h)
    return ys[k] + (x - xs[k]) * slope, slope


def exact_quadratic(x: float, w: list[float], d: list[float]) -> Pair:
    """Section 4.2 of Neural Importance Sampling, with a least derivative: y and dy/dx."""
    widths = exact_sizes(w, WIDTH)
    density = [mpmath.exp(r) for r in d]

    def integral(values: list[Any]) -> Any:
        return mpmath.fsum(f * (a + b) / 2 for f, a, b in zip(widths, values[:-1], values[1:], strict=True))

    if len(d) > len(w):
        density = [v / integral(density) for v in density]
    else:
        of_ends = (widths[0] + widths[-1]) / 2
        density = [1, *((1 - of_ends) / integral([0, *density, 0]) * v for v in density), 1]
    ds = [DERIVATIVE + (1 - mpmath.mpf(DERIVATIVE)) * v for v in density]
    xs = exact_knots(widths)
    k = exact_bin(x, xs)
    slope = ds[k] + (ds[k + 1] - ds[k]) * (x - xs[k]) / (xs[k + 1] - xs[k])
    below = mpmath.fsum(2 * BOUND * widths[i] * (ds[i] + ds[i + 1]) / 2 for i in range(k))
    return -BOUND + below + (x - xs[k]) * (ds[k] + slope) / 2, slope


def exact_cubic(x: float, w: list[float], h: list[float], d: list[float] | None = None) -> Pair:
    """Equations 1 to 7 of Cubic-Spline Flows: y and dy/dx."""
    xs, ys = exact_knots(exact_sizes(w, WIDTH)), exact_knots(exact_sizes(h, HEIGHT))
    ws = [b - a for a, b in pairwise(xs)]
    s = [(b - a) / v for (a, b), v in zip(pairwise(ys), ws, strict=True)]
    p = [(s[i - 1] * ws[i] + s[i] * ws[i - 1]) / (ws[i - 1] + ws[i]) for i in range(1, len(w))]
    ds = [2 * min(s[i], s[i + 1], p[i] / 2) for i in range(len(p))]
    least = mpmath.mpf(DERIVATIVE)
    if d is None:
        ends = [min(1, (3 - least) * s[0]), min(1, (3 - least) * s[-1])]
    else:
        shift = mpmath.log((1 - least) / (2 - least))
        parts = [least + (3 - 2 * least) / (1 + mpmath.exp(-r - shift)) for r in d]
        ends = [parts[0] * s[0], parts[1] * s[-1]]
    ds = [ends[0], *ds, ends[1]]
    k = exact_bin(x, xs)
    t = x - xs[k]
    a3, a2 = (ds[k] + ds[k + 1] - 2 * s[k]) / ws[k] ** 2, (3 * s[k] - 2 * ds[k] - ds[k + 1]) / ws[k]
    return ys[k] + t * (ds[k] + t * (a2 + t * a3)), ds[k] + t * (2 * a2 + 3 * t * a3)


@dataclass(frozen=True)
class Case:
    """A spline with the options of this file, and its exact form."""

    plain: Callable[..., tuple[torch.Tensor, torch.Tensor]]
    options: dict[str, float]
    exact: Callable[..., Pair]
    sizes: tuple[str, ...]
    smooth: bool = field(default=True)  # whether its derivative is continuous
    level: bool = field(default=True)  # whether its derivative is 1 at the ends of the box

    @property
    def op(self) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
        """The op with the options of this file."""
        return partial(self.plain, **self.options)

    def draw(
        self, *shape: int, bins: int = 5, scale: float = 1.5, seed: int = 0, dtype: torch.dtype = torch.float64
    ) -> list[torch.Tensor]:
        """Parameters of coordinates of this shape, the same numbers for every dtype."""
        generator = torch.Generator().manual_seed(seed)
        lengths = [{"K": bins, "K - 1": bins - 1, "K + 1": bins + 1, "2": 2}[size] for size in self.sizes]
        drawn = [torch.randn(*shape, n, generator=generator, dtype=torch.float64) for n in lengths]
        return [(scale * p).to(dtype) for p in drawn]

    def knots(self, parameters: list[torch.Tensor]) -> tuple[list[float], list[float]]:
        """Where the knots of one coordinate are, and their images."""
        raw = [p.tolist() for p in parameters]
        bins = len(raw[0])
        xs = exact_knots([mpmath.mpf(1) / bins] * bins if len(raw) == 1 else exact_sizes(raw[0], WIDTH))
        ys = [self.exact(x, *raw)[0] for x in xs]
        return [float(x) for x in xs], [float(y) for y in ys]


BOX = {"bound": BOUND, "min_bin_width": WIDTH, "min_bin_height": HEIGHT, "min_derivative": DERIVATIVE}
_QUADRATIC = {name: BOX[name] for name in ("bound", "min_bin_width", "min_derivative")}
_LINEAR = {name: BOX[name] for name in ("bound", "min_bin_height")}
_CUT = BOX | {"min_lambda": LAMBDA}
K, INNER, ALL = "K", "K - 1", "K + 1"

CASES = {
    "rational quadratic": Case(rational_quadratic_spline, BOX, exact_rational_quadratic, (K, K, INNER)),
    "rational quadratic, ends": Case(
        rational_quadratic_spline, BOX, exact_rational_quadratic, (K, K, ALL), level=False
    ),
    "rational linear": Case(rational_linear_spline, _CUT, exact_rational_linear, (K, K, INNER, K)),
    "rational linear, ends": Case(rational_linear_spline, _CUT, exact_rational_linear, (K, K, ALL, K), level=False),
    "linear": Case(linear_spline, _LINEAR, exact_linear, (K,), smooth=False, level=False),
    "quadratic": Case(quadratic_spline, _QUADRATIC, exact_quadratic, (K, INNER)),
    "quadratic, ends": Case(quadratic_spline, _QUADRATIC, exact_quadratic, (K, ALL), level=False),
    "cubic": Case(cubic_spline, BOX, exact_cubic, (K, K), level=False),  # but for what keeps it monotone
    "cubic, ends": Case(cubic_spline, BOX, exact_cubic, (K, K, "2"), level=False),
}
every_spline = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])


def grid(count: int, dtype: torch.dtype = torch.float64, reach: float = 2.6) -> torch.Tensor:
    """Points from one side of the box to the other, most inside; none of them a knot."""
    return torch.linspace(-reach, reach + 0.01, count, dtype=dtype)
