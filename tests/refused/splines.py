"""What the plans of splines refuse: each message by its key words."""

from __future__ import annotations

from collections.abc import Callable

import flowtorch.bijectors as bij
from flowtorch.bijectors.circular_spline import CircularSpline
from flowtorch.bijectors.cubic_spline import CubicSpline
from flowtorch.bijectors.linear_spline import LinearSpline
from flowtorch.bijectors.quadratic_spline import QuadraticSpline
from flowtorch.errors import OptionError, OptionTypeError, ShapeError

# For each class of errors, the words of a message, in this order, and what raises it.
REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    OptionError: {
        "Spline: a bound (low, high) with low < high is expected; got (2.0, 2.0)": lambda: bij.Spline(bound=(2.0, 2.0)),
        "CubicSpline: a bound (low, high) ... got (1.0, 0.0)": lambda: CubicSpline(bound=(3.0, (1.0, 0.0))),
        "LinearSpline: bound is expected to lie in (0, inf); got -1.0": lambda: LinearSpline(bound=(1.0, -1.0, 2.0)),
        "QuadraticSpline: each side of bound ... got inf": lambda: QuadraticSpline(bound=(0.0, float("inf"))),
        "CircularSpline: min_bin_width times count_bins ... got 0.5 x 2": lambda: CircularSpline(
            count_bins=2, min_bin_width=0.5
        ),
        "LinearSpline: min_bin_height times count_bins": lambda: LinearSpline(count_bins=5, min_bin_height=0.2),
        "QuadraticSpline: min_derivative ... (0, 1); got 1.0": lambda: QuadraticSpline(min_derivative=1.0),
        "CubicSpline: tails is expected to be one of 'linear', None; got 'flat'": lambda: CubicSpline(tails="flat"),
        "CubicSpline: count_bins ... at least 1; got 0": lambda: CubicSpline(count_bins=0),
        "SplineCoupling: tails ... got 'none'": lambda: bij.SplineCoupling(tails="none"),
    },
    OptionTypeError: {
        "LinearSpline: bound is expected to be a number; got 'x'": lambda: LinearSpline(bound=("x", 1.0, 2.0)),
        "LinearSpline: bound: at least one number": lambda: LinearSpline(bound=()),
        "LinearSpline: bound: nested sequences must be rectangular": lambda: LinearSpline(bound=((1, 2, 3), (1, 2))),
        "QuadraticSpline: each side of bound ... got True": lambda: QuadraticSpline(bound=(True, 2.0)),
        "CircularSpline: count_bins ... integer; got 2.0": lambda: CircularSpline(count_bins=2.0),
    },
    ShapeError: {
        "CubicSpline: numbers for each coordinate of an event (2,) ... got numbers of shape (3,)": lambda: CubicSpline(
            bound=(1.0, 2.0, 3.0)
        ).bind((2,)),
    },
}
