"""The inverse of an increasing map of each coordinate that has no inverse in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypedDict

import torch

from ..errors import OptionError
from ._modes import differentiating, plain_eager

if TYPE_CHECKING:  # in typing from Python 3.11 on
    from typing_extensions import Unpack

Function: TypeAlias = Callable[[torch.Tensor, tuple[torch.Tensor, ...]], tuple[torch.Tensor, torch.Tensor]]

TOLERANCE = 1e-10
STEPS = 40
EXPANSIONS = 24
_GROWTH = 4.0


class Search(TypedDict, total=False):
    """How a numerical inverse searches; every option may be left out.

    Args:
        bracket: Numbers known to enclose the solution; need not carry gradients.
        start: A first guess; the middle of the bracket, or 0, by default.
        tolerance: How small a Newton step, relative to :math:`1 + |x|`, ends the search; as it is still taken, and
            convergence is quadratic, errors are far smaller. At least 16 times the spacing of the dtype at 1.
        steps: How many steps.
        expansions: How many tries for a bracket.
    """

    bracket: tuple[torch.Tensor, torch.Tensor] | None
    start: torch.Tensor | None
    tolerance: float
    steps: int
    expansions: int


class InverseReport(NamedTuple):
    """What a numerical inverse found, and how well; all of one shape.

    Args:
        x: The solution.
        log_derivative: log|dx/dy| there.
        residual: The map at ``x`` less ``y``; without gradients.
        converged: Whether the last Newton step was within the tolerance, or ``x`` known to rounding.
        steps: How many steps were taken before that.
    """

    x: torch.Tensor
    log_derivative: torch.Tensor
    residual: torch.Tensor
    converged: torch.Tensor
    steps: torch.Tensor


def numerical_inverse(
    function: Function, y: torch.Tensor, params: tuple[torch.Tensor, ...] = (), **search: Unpack[Search]
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Solves :math:`f(x; \theta) = y` for each coordinate, where :math:`f` increases in :math:`x`.

    .. math::
        x = f^{-1}(y; \theta), \qquad \log \left|\frac{dx}{dy}\right| = -\log f'(x; \theta), \qquad
        dx = \frac{dy - \partial_\theta f(x; \theta) \, d\theta}{f'(x; \theta)}

    A bracket that is not given is searched for from ``start`` outwards, each try four times as far as the one before.
    Within it every step is Newton's where that stays inside and at least halves the step before the last, else a
    bisection. The solution is found without gradients; Newton steps of value zero then carry those of the implicit
    function theorem, right up to the second order, to ``y``, ``params`` and whatever else ``function`` closes over.

    The number of steps is fixed, and a coordinate that has converged is left alone by those that follow; only in eager
    mode, outside of functorch's transforms and compilation, the search ends once all have.

    Shapes: ``y``, the bracket and what ``function`` makes of ``params`` broadcast; both results have the broadcast
    shape.

    Args:
        function: Takes ``x`` and ``params``, and returns the value and the logarithm of its derivative by ``x``.
        y: The images.
        params: The parameters, handed on to ``function``.
        search: How to search, see :class:`Search`.

    Returns:
        The solution and :math:`\log|dx/dy|`. Where ``y`` is infinite the solution is ``y``.

    Raises:
        OptionError: If the tolerance is not positive or a number of steps is below 1.

    Example:
        >>> def cubic(x, params):
        ...     return x**3 + x, torch.log1p(3 * x**2)
        >>> numerical_inverse(cubic, torch.tensor([2.0, -10.0]))
        (tensor([ 1., -2.]), tensor([-1.3863, -2.5649]))
    """
    found = numerical_inverse_report(function, y, params, **search)
    return found.x, found.log_derivative


def numerical_inverse_report(
    function: Function, y: torch.Tensor, params: tuple[torch.Tensor, ...] = (), **search: Unpack[Search]
) -> InverseReport:
    r"""Solves as :func:`numerical_inverse` does, and says how well it went.

    .. math:: r = f(x; \theta) - y

    Shapes: all results have the shape that ``y``, the bracket and ``params`` broadcast to.

    Args:
        function: As for :func:`numerical_inverse`, as for all that follow.
        y: The images.
        params: The parameters.
        search: How to search.

    Returns:
        The solution, its log-derivative, residual, whether it converged, and the number of steps taken.

    Raises:
        OptionError: If the tolerance is not positive or a number of steps is below 1.

    Example:
        >>> def sinh(x, params):
        ...     return torch.sinh(x), torch.log(torch.cosh(x))
        >>> report = numerical_inverse_report(sinh, torch.tensor([1e6, 0.0]))
        >>> report.converged.tolist(), bool(report.residual.abs().max() < 1.0)
        ([True, True], True)
    """
    bracket, start = search.get("bracket"), search.get("start")
    tolerance, steps = search.get("tolerance", TOLERANCE), search.get("steps", STEPS)
    expansions = search.get("expansions", EXPANSIONS)
    if not 0.0 < tolerance < math.inf:
        raise OptionError(f"numerical_inverse: a positive, finite tolerance is expected; got {tolerance}.")
    if steps < 1 or expansions < 1:
        raise OptionError(
            f"numerical_inverse: at least one step and expansion are expected; got {steps}, {expansions}."
        )
    regular = torch.isfinite(y)
    target = torch.where(regular, y, torch.zeros_like(y))
    with torch.no_grad():
        fixed = tuple(p.detach() for p in params)
        aim = target.detach()
        if bracket is None:
            first = torch.zeros_like(aim) if start is None else start.detach()
            low, high = _expand(function, aim, fixed, first, expansions)
        else:
            low, high = bracket[0].detach(), bracket[1].detach()
            low, high = torch.minimum(low, high), torch.maximum(low, high)
        middle = low + 0.5 * (high - low)
        guess = middle if start is None or bracket is None else torch.clamp(start.detach(), low, high)
        x, converged, taken = _solve(function, aim, fixed, low, high, guess, tolerance, steps)
    x = x.detach()
    if differentiating():
        # Once for first derivatives. Twice for second ones too: Newton's error is of the fourth order by then.
        x = _carry_gradients(function, x, target, params)
        x = _carry_gradients(function, x, target, params)
    value, log_slope = function(x, params)
    residual = (value - target).detach()
    x = torch.where(regular, x, y)
    log_derivative = torch.where(torch.isnan(y), y, -log_slope)
    return InverseReport(x, log_derivative, residual, converged, taken)


def _all(mask: torch.Tensor) -> bool:
    """Returns whether all are known to be true: never so where values cannot be looked at."""
    if not plain_eager() or type(mask) is not torch.Tensor or mask.is_meta:
        return False
    return bool(mask.all())


def _reciprocal(log_slope: torch.Tensor) -> torch.Tensor:
    """Returns 1 / slope, kept finite: times a residual of zero, infinity is NaN."""
    limit = 0.45 * math.log(torch.finfo(log_slope.dtype).max)
    return torch.exp(-log_slope.clamp(-limit, limit))


def _carry_gradients(
    function: Function, x: torch.Tensor, y: torch.Tensor, params: tuple[torch.Tensor, ...]
) -> torch.Tensor:
    """Returns ``x`` with the gradients of a Newton step from it; the step itself is rounding, and left out."""
    value, log_slope = function(x, params)
    step = (value - y) * _reciprocal(log_slope)
    return x - (step - step.detach())


def _expand(
    function: Function, y: torch.Tensor, params: tuple[torch.Tensor, ...], start: torch.Tensor, expansions: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns a bracket: ``start`` and the points beyond it, in the direction of the solution."""
    value, _ = function(start, params)
    above = value <= y
    near = start.expand(above.shape)
    far = start + torch.where(above, torch.ones_like(value), -torch.ones_like(value))
    for _ in range(expansions):
        value, _ = function(far, params)
        enough = torch.where(above, value >= y, value <= y)
        near, far = torch.where(enough, near, far), torch.where(enough, far, start + _GROWTH * (far - start))
        if _all(enough):
            break
    # A little wider: Newton's steps to a solution at an end, such as one at the start, would be refused half the time.
    margin = 0.0625 * (far - near)
    near, far = near - margin, far + margin
    return torch.minimum(near, far), torch.maximum(near, far)


def _solve(
    function: Function,
    y: torch.Tensor,
    params: tuple[torch.Tensor, ...],
    low: torch.Tensor,
    high: torch.Tensor,
    x: torch.Tensor,
    tolerance: float,
    steps: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the solution, where it converged and after how many steps, by safeguarded Newton steps."""
    eps = torch.finfo(x.dtype).eps
    tolerance = max(tolerance, 16.0 * eps)
    last = before = high - low
    done = taken = torch.zeros((), dtype=torch.bool, device=x.device)
    for n in range(steps):
        value, log_slope = function(x, params)
        error = value - y
        if n == 0:
            done, taken = torch.zeros_like(error, dtype=torch.bool), torch.zeros_like(error, dtype=torch.int64)
        high, low = torch.where(error >= 0.0, x, high), torch.where(error <= 0.0, x, low)
        step = error * _reciprocal(log_slope)
        slack = tolerance * (1.0 + x.abs())
        newton, width = x - step, high - low
        # A solution at an end of the bracket: rounding may put Newton's just outside.
        inside = (newton >= low - slack) & (newton <= high + slack)
        small = inside & (step.abs() <= slack)
        take = small | (inside & (2.0 * step.abs() <= before))
        # At most one of these two where the function is not NaN: x stays within the bracket, which closes.
        new = torch.where(take, torch.minimum(torch.maximum(newton, low), high), low + 0.5 * width)
        known = (error.abs() <= 4.0 * eps * y.abs()) | (width <= 4.0 * eps * torch.maximum(low.abs(), high.abs()))
        x = torch.where(done, x, torch.where(known & ~take, x, new))
        before, last = last, torch.where(take, step.abs(), 0.5 * width)
        taken = taken + (~done).to(taken.dtype)
        done = done | small | known
        if _all(done):
            break
    return x, done, taken
