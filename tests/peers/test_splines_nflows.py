"""Splines with the parameters of other libraries' splines are those splines."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from flowtorch.ops import rational_linear_spline, rational_quadratic_spline
from flowtorch.ops.cubic_spline import cubic_spline
from flowtorch.ops.linear_spline import linear_spline
from flowtorch.ops.quadratic_spline import quadratic_spline

pytest.importorskip("nflows")
# What the peers do is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

BOUND, BINS, LEAST = 3.0, 8, 1e-3
Pair = tuple[torch.Tensor, torch.Tensor]
scales = pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])


def draw(*sizes: int, scale: float, count: int = 4000) -> list[torch.Tensor]:
    """Points, some of them outside of the box, and raw parameters."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(count, generator=generator, dtype=torch.float64) - 0.5) * 2.2 * BOUND
    return [x, *(scale * torch.randn(count, n, generator=generator, dtype=torch.float64) for n in sizes)]


def agree(ours: Callable[..., Pair], theirs: Callable[..., Pair], x: torch.Tensor, *, tolerance: float = 1e-6) -> None:
    """Values and log-derivatives agree, and so do the inverses wherever theirs gives back what went in."""
    y, log_derivative = ours(x, inverse=False)
    expected, expected_log = theirs(x, inverse=False)
    torch.testing.assert_close(y, expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(log_derivative, expected_log, rtol=tolerance, atol=tolerance)
    back, inverse_log = ours(expected, inverse=True)
    their_back, their_log = theirs(expected, inverse=True)
    torch.testing.assert_close(back, x, rtol=tolerance, atol=tolerance)
    # Those of nflows lose digits in places: the search for a bin moves the last knot, by 1e-6.
    good = (their_back - x).abs() < 1e-7
    assert good.double().mean() > 0.85
    torch.testing.assert_close(back[good], their_back[good], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(inverse_log[good], their_log[good], rtol=tolerance, atol=10 * tolerance)


def raw_sizes(fractions: torch.Tensor, least: float) -> torch.Tensor:
    """What gives bins of these sizes under a least size."""
    return torch.log((fractions - least) / (1.0 - fractions.shape[-1] * least))


def raw_derivatives(derivatives: torch.Tensor, least: float) -> torch.Tensor:
    """What gives these derivatives at the knots of a rational spline."""
    return torch.log(torch.expm1(derivatives - least)) - math.log(math.expm1(1.0 - least))


@scales
def test_linear_spline_of_nflows(scale: float) -> None:
    from nflows.transforms.splines.linear import unconstrained_linear_spline

    x, pdf = draw(BINS, scale=scale)
    ours = raw_sizes(pdf.softmax(-1), 1e-9)
    agree(
        lambda v, inverse: linear_spline(v, ours, bound=BOUND, min_bin_height=1e-9, inverse=inverse),
        lambda v, inverse: unconstrained_linear_spline(v, pdf, inverse=inverse, tail_bound=BOUND),
        x,
    )


@scales
def test_quadratic_spline_of_nflows_on_a_box(scale: float) -> None:
    from nflows.transforms.splines.quadratic import quadratic_spline as theirs

    x, widths, heights = draw(BINS, BINS + 1, scale=scale)
    x = x.clamp(-BOUND, BOUND) * 0.999
    box = {"left": -BOUND, "right": BOUND, "bottom": -BOUND, "top": BOUND}
    ours = torch.log(F.softplus(heights) + 1e-3)
    agree(
        lambda v, inverse: quadratic_spline(v, widths, ours, bound=BOUND, inverse=inverse),
        lambda v, inverse: theirs(v, widths, heights, inverse=inverse, **box),
        x,
    )


@scales
def test_quadratic_spline_of_nflows_with_tails(scale: float) -> None:
    from nflows.transforms.splines.quadratic import unconstrained_quadratic_spline

    x, widths, heights = draw(BINS, BINS - 1, scale=scale)
    inner = F.softplus(heights) + 1e-3
    w = LEAST + (1.0 - BINS * LEAST) * widths.softmax(-1)
    # Theirs takes the two end bins as half as wide here, so that its end slopes come out near 1, not 1.
    of_ends = 0.25 * (w[..., 0] * inner[..., 0] + w[..., -1] * inner[..., -1])
    between = (0.5 * (inner[..., 1:] + inner[..., :-1]) * w[..., 1:-1]).sum(-1)
    end = ((of_ends + between) / (1.0 - 0.25 * (w[..., 0] + w[..., -1])))[..., None]
    ours = torch.log(torch.cat((end, inner, end), -1))
    agree(
        lambda v, inverse: quadratic_spline(v, widths, ours, bound=BOUND, inverse=inverse),
        lambda v, inverse: unconstrained_quadratic_spline(v, widths, heights, inverse=inverse, tail_bound=BOUND),
        x,
    )


@scales
def test_cubic_spline_of_nflows(scale: float) -> None:
    from nflows.transforms.splines.cubic import unconstrained_cubic_spline

    x, widths, heights, left, right = draw(BINS, BINS, 1, 1, scale=scale)
    least = 1e-9
    part = (3.0 * torch.cat((left, right), -1).sigmoid() - least) / (3.0 - 2.0 * least)
    ends = part.logit() - math.log((1.0 - least) / (2.0 - least))
    agree(
        lambda v, inverse: cubic_spline(v, widths, heights, ends, bound=BOUND, min_derivative=least, inverse=inverse),
        lambda v, inverse: unconstrained_cubic_spline(
            v, widths, heights, left, right, inverse=inverse, tail_bound=BOUND
        ),
        x,
    )


@scales
def test_rational_quadratic_spline_of_nflows_with_tails(scale: float) -> None:
    from nflows.transforms.splines.rational_quadratic import unconstrained_rational_quadratic_spline as theirs

    x, widths, heights, derivatives = draw(BINS, BINS, BINS - 1, scale=scale)
    ours = derivatives - math.log(math.expm1(1.0 - LEAST))
    agree(
        lambda v, inverse: rational_quadratic_spline(v, widths, heights, ours, bound=BOUND, inverse=inverse),
        lambda v, inverse: theirs(v, widths, heights, derivatives, inverse=inverse, tail_bound=BOUND),
        x,
    )


@scales
def test_rational_quadratic_spline_of_nflows_on_a_box(scale: float) -> None:
    from nflows.transforms.splines.rational_quadratic import rational_quadratic_spline as theirs

    x, widths, heights, derivatives = draw(BINS, BINS, BINS + 1, scale=scale)
    x = x.clamp(-BOUND, BOUND) * 0.999
    box = {"left": -BOUND, "right": BOUND, "bottom": -BOUND, "top": BOUND}
    ours = derivatives - math.log(math.expm1(1.0 - LEAST))
    agree(
        lambda v, inverse: rational_quadratic_spline(v, widths, heights, ours, bound=BOUND, inverse=inverse),
        lambda v, inverse: theirs(v, widths, heights, derivatives, inverse=inverse, **box),
        x,
    )


@scales
def test_rational_quadratic_spline_of_zuko(scale: float) -> None:
    transforms = pytest.importorskip("zuko.transforms")
    x, widths, heights, derivatives = draw(BINS, BINS, BINS - 1, scale=scale)
    theirs = transforms.MonotonicRQSTransform(widths, heights, derivatives, bound=BOUND)
    least = 1e-9
    of_x, of_y = theirs.horizontal.diff(dim=-1) / (2.0 * BOUND), theirs.vertical.diff(dim=-1) / (2.0 * BOUND)
    raw = (
        raw_sizes(of_x, least),
        raw_sizes(of_y, least),
        raw_derivatives(theirs.derivatives[..., 1:-1], least),
    )
    minima = {"min_bin_width": least, "min_bin_height": least, "min_derivative": least}

    def call(v: torch.Tensor, inverse: bool) -> Pair:
        result = theirs.inv(v) if inverse else theirs(v)
        return result, -theirs.log_abs_det_jacobian(result, v) if inverse else theirs.log_abs_det_jacobian(v, result)

    agree(
        lambda v, inverse: rational_quadratic_spline(v, *raw, bound=BOUND, inverse=inverse, **minima),
        call,
        x,
    )


@scales
@pytest.mark.parametrize("order", ["linear", "quadratic"])
def test_rational_splines_of_pyro(order: str, scale: float) -> None:
    transforms = pytest.importorskip("pyro.distributions.transforms")
    theirs = transforms.Spline(4000, count_bins=BINS, bound=BOUND, order=order).double()
    x, *raw = draw(BINS, BINS, BINS - 1, BINS, scale=scale)
    names = ("widths", "heights", "derivatives", "lambdas")[: 4 if order == "linear" else 3]
    for name, value in zip(names, raw, strict=False):
        getattr(theirs, f"unnormalized_{name}").data = value
    widths, heights, derivatives, lambdas = raw
    # The end slopes of theirs are 0.999.
    slopes = F.pad(LEAST + F.softplus(derivatives), (1, 1), value=1.0 - LEAST)
    ours = (widths, heights, raw_derivatives(slopes, LEAST))

    def call(v: torch.Tensor, inverse: bool) -> Pair:
        with torch.no_grad():
            result, log_derivative = theirs.spline_op(v, inverse=inverse)
        return result, log_derivative

    def op(v: torch.Tensor, inverse: bool) -> Pair:
        if order == "linear":
            return rational_linear_spline(v, *ours, lambdas, bound=BOUND, inverse=inverse)
        return rational_quadratic_spline(v, *ours, bound=BOUND, inverse=inverse)

    agree(op, call, x)
